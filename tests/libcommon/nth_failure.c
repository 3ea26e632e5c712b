#include "tests/libcommon/nth_failure.h"

#include "tests/libcommon/failing_io.h"

#include <errno.h>
#include <stdbool.h>

#define NTH_MAX 400u
#define ROWS    4u

static const struct row {
    const char *what;
    enum failing_io_kind kind;
    int error, error_of_open;
} rows[ROWS] = {
    { "one call is an I/O error, or finds no descriptor", FAILING_ONCE, EIO, EMFILE },
    { "from one call on all are", FAILING_FROM_ON, EIO, EMFILE },
    { "one call finds no room", FAILING_ONCE, ENOSPC, ENOSPC },
    { "from one call on there is no room", FAILING_FROM_ON, ENOSPC, ENOSPC },
};

struct nth_failure {
    const char *what;
    const struct row *row;
    nth_failure_round *round;
    unsigned calls_min;
    unsigned nth;
    enum { SET_UP, ARMED, DISARMED } step;
    bool failed; /* in the last round */
};

void nth_failure_arm(struct nth_failure *self)
{
    const struct failing_io plan = { .kind = self->row->kind,
                                     .nth = self->nth,
                                     .error = self->row->error,
                                     .error_of_open = self->row->error_of_open };

    assert_int_equal(self->step, SET_UP);
    self->step = ARMED;
    failing_io_arm(&plan);
}

void nth_failure_disarm(struct nth_failure *self)
{
    self->failed = failing_io_disarm();
    assert_int_equal(self->step, ARMED);
    self->step = DISARMED;
}

static void test_rounds(void **state)
{
    struct nth_failure self = *(const struct nth_failure *)*state;

    do {
        self.nth++;
        assert_true(self.nth <= NTH_MAX);
        self.step = SET_UP;
        self.round(&self);
        assert_int_equal(self.step, DISARMED);
    } while (self.failed);
    assert_true(self.nth > self.calls_min);
}

int nth_failure_run(const char *group, nth_failure_round *round, unsigned calls_min)
{
    struct nth_failure tests[ROWS];

    for (unsigned i = 0; i < ROWS; i++)
        tests[i] = (struct nth_failure){
            .what = rows[i].what, .row = &rows[i], .round = round, .calls_min = calls_min
        };
    return run_rows(group, tests, ROWS, sizeof tests[0], test_rounds);
}
