/*
 * Seeds of sim-nemesis that fail when what they found is undone, each named for it.
 */
#include "tests/sim/nemesis.h"

#include "tests/libcommon/cmocka_row.h"

#include <inttypes.h>

static const struct row {
    const char *what;
    uint64_t seed;
} rows[] = {
    { "an address tried in vain for one id is not asked for another", 84 },
    { "nor when somebody else answered at the next one", 160 },
};

static void holds(void **state)
{
    const struct row *row = *state;
    struct nemesis_report report;

    nemesis_run(row->seed, false, &report);
    if (report.problem != NULL) {
        fail_msg("seed %" PRIu64 ", node %u: %s", row->seed, report.node, report.problem);
    }
}

static void one_seed_is_one_trace(void **state)
{
    struct nemesis_report report, again;

    (void)state;
    nemesis_run(1, false, &report);
    nemesis_run(1, false, &again);
    assert_true(report.hash == again.hash);
    nemesis_run(2, false, &again);
    assert_true(report.hash != again.hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(one_seed_is_one_trace) };

    return RUN_ROWS(rows, holds) + cmocka_run_group_tests(tests, NULL, NULL);
}
