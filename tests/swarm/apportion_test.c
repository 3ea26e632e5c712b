#include "services/swarm/apportion.h"

#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <string.h>

/* A limit of 1200 and up to three workers; each uses so much, + means that more would have gone. */
static const struct row {
    const char *what;
    uint64_t used[3];
    const char *waits;
    uint64_t holds[3]; /* in the end, when all have asked often enough */
} rows[] = {
    { "nobody needs it: equal parts", { 0, 0, 0 }, "...", { 400, 400, 400 } },
    { "one alone needs it: nearly all", { 0, 0, 0 }, "+..", { 1100, 50, 50 } },
    { "another alone", { 0, 0, 0 }, ".+.", { 50, 1100, 50 } },
    { "two need it: halves of the rest", { 0, 0, 0 }, "++.", { 575, 575, 50 } },
    { "all need it: equal parts", { 0, 0, 0 }, "+++", { 400, 400, 400 } },
    { "who uses a little keeps that and a quarter", { 0, 160, 0 }, "+..", { 950, 200, 50 } },
    { "what is not needed is spread", { 320, 160, 0 }, "...", { 583, 383, 233 } },
    { "who uses more than its part and does not wait has an equal part beside who waits",
      { 1000, 0, 0 },
      ".+.",
      { 575, 575, 50 } },
};

static void ask_all(uint64_t limit, struct apportion_claim *claims, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        claims[i].holds = apportion(limit, claims, count, i);
}

static void test_parts(void **state)
{
    const struct row *row = *state;
    struct apportion_claim claims[3] = { { .holds = 1200 } };

    for (unsigned i = 0; i < 3; i++) {
        claims[i].used = row->used[i];
        claims[i].waits = row->waits[i] == '+';
    }
    for (unsigned round = 0; round < 3; round++)
        ask_all(1200, claims, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(claims[i].holds, row->holds[i]);
}

static void no_limit_is_no_limit(void **state)
{
    struct apportion_claim claims[2] = { { .used = 5, .waits = true } };

    (void)state;
    assert_int_equal(apportion(0, claims, 2, 0), 0);
}

static void one_worker_has_all_of_it(void **state)
{
    const struct apportion_claim claims[1] = { { .used = 3 } };

    (void)state;
    assert_int_equal(apportion(1200, claims, 1, 0), 1200);
}

static void together_they_never_hold_more(void **state)
{
    struct random random;

    (void)state;
    random_init(&random, 5);
    for (unsigned run = 0; run < 200; run++) {
        struct apportion_claim claims[APPORTION_WORKERS_MAX] = { { 0 } };
        const unsigned count = 1 + (unsigned)random_below(&random, APPORTION_WORKERS_MAX);
        const uint64_t limit = 100 + random_below(&random, 1000000000);

        claims[0].holds = limit;
        for (unsigned turn = 0; turn < 100; turn++) {
            const unsigned asker = (unsigned)random_below(&random, count);
            uint64_t sum = 0;

            claims[asker].waits = random_below(&random, 2) == 0;
            claims[asker].used = random_below(&random, claims[asker].holds + 1);
            claims[asker].holds = apportion(limit, claims, count, asker);
            assert_true(claims[asker].holds > 0);
            for (unsigned i = 0; i < count; i++)
                sum += claims[i].holds;
            /* Nothing is left for a newcomer at first: it crawls, at a byte a second. */
            assert_true(sum <= limit + count);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_limit_is_no_limit),
        cmocka_unit_test(one_worker_has_all_of_it),
        cmocka_unit_test(together_they_never_hold_more),
    };

    return RUN_ROWS(rows, test_parts) + cmocka_run_group_tests(tests, NULL, NULL);
}
