/* Allowances: each row is how many of a number of tries, so far apart, are allowed. */
#include "services/swarm/allowance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct row {
    const char *what;
    uint32_t most, per_second;
    uint64_t rest_ms; /* after one try, before the others */
    uint32_t tries;
    uint64_t gap_ms; /* between these */
    uint32_t allowed;
} rows[] = {
    { "a burst is allowed up to the maximum", 100, 10, 0, 500, 0, 99 },
    { "a steady rate is allowed for good", 10, 10, 0, 1000, 100, 1000 },
    { "twice the rate is allowed by half", 10, 10, 0, 1009, 50, 513 },
    { "a rest fills it again", 100, 10, 10000, 500, 0, 100 },
    { "a rest fills it to the maximum only", 100, 10, 1000000000, 500, 0, 100 },
    { "parts of one are not lost", 1, 3, 0, 3000, 1, 8 },
    { "one a second, tried each ms", 1, 1, 1000, 10001, 1, 11 },
};

static void test_row(void **state)
{
    const struct row *row = *state;
    struct allowance self;
    uint64_t now_ms = 77;
    uint32_t allowed = 0;
    allowance_init(&self, row->most, row->per_second, now_ms);
    assert_true(allowance_take(&self, now_ms));
    now_ms += row->rest_ms;
    for (uint32_t i = 0; i < row->tries; i++) {
        allowed += allowance_take(&self, now_ms);
        now_ms += row->gap_ms;
    }
    assert_in_range(allowed, row->allowed, row->allowed + 1);
}

int main(void)
{
    enum { ROWS = sizeof rows / sizeof rows[0] };
    struct CMUnitTest tests[ROWS];
    for (size_t i = 0; i < ROWS; i++)
        tests[i] =
            (struct CMUnitTest){ rows[i].what, test_row, NULL, NULL, (void *)(uintptr_t)&rows[i] };
    return _cmocka_run_group_tests("allowance", tests, ROWS, NULL, NULL);
}
