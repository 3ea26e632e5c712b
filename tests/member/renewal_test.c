/* When a certificate is renewed: on real time for its life, on monotonic time for the pauses. */
#include "services/member/renewal.h"
#include "tests/libcommon/cmocka_row.h"

#define DAY   86400u
#define BEGIN 1000000u                /* not before; issued 300 s later */
#define END   (BEGIN + 300 + 7 * DAY) /* not after */
#define DUE   (BEGIN + 300 + 7 * DAY * 2 / 3)
#define LAST  (DUE + 7 * DAY / 20) /* with the spread */

static struct renewal seven_days(uint64_t seed)
{
    struct renewal renewal;
    struct random random;

    random_init(&random, seed);
    renewal_set(&renewal, BEGIN, END, &random);
    return renewal;
}

static const struct row {
    const char *what;
    uint64_t now_s;
    unsigned failures;
    bool begins;
    enum renewal_health health;
} rows[] = {
    { "a fresh one is left alone", BEGIN + 300, 0, false, RENEWAL_WELL },
    { "so is one at half its life", BEGIN + DAY * 7 / 2, 0, false, RENEWAL_WELL },
    { "and a moment before two thirds", DUE - 1, 0, false, RENEWAL_WELL },
    { "after two thirds and the spread it is time", LAST, 0, true, RENEWAL_WELL },
    { "a failure with days left is no reason to worry", LAST, 3, true, RENEWAL_WELL },
    { "a failure with a day left is one", END - DAY, 9, true, RENEWAL_LATE },
    { "without a failure nothing is late", END - DAY, 0, true, RENEWAL_WELL },
    { "one that has ended is still renewed", END, 9, true, RENEWAL_ENDED },
    { "after three weeks of holidays too", END + 21 * DAY, 9, true, RENEWAL_ENDED },
    { "until 90 days have gone by", END + 90 * DAY - 1, 9, true, RENEWAL_ENDED },
    { "then nobody renews it", END + 90 * DAY, 9, false, RENEWAL_LOST },
    { "a clock 25 hours late finds it not begun", BEGIN + 300 - 25 * 3600, 0, false,
      RENEWAL_EARLY },
    { "a clock 5 minutes late does not", BEGIN + 300 - 300, 0, false, RENEWAL_WELL },
    { "a clock 25 hours ahead changes nothing on the first day", BEGIN + 300 + 25 * 3600, 0, false,
      RENEWAL_WELL },
};

static void test_row(void **state)
{
    const struct row *row = *state;
    struct renewal renewal = seven_days(1);

    renewal.failures = row->failures;
    assert_int_equal(renewal_health(&renewal, row->now_s), row->health);
    assert_int_equal(renewal_begin(&renewal, row->now_s, 5000), row->begins);
}

/* A class of 1000 that joined in one minute does not come back in one. */
static void renewals_are_spread(void **state)
{
    uint64_t first = UINT64_MAX;
    uint64_t last = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        struct renewal renewal = seven_days(seed);

        first = renewal.due_s < first ? renewal.due_s : first;
        last = renewal.due_s > last ? renewal.due_s : last;
    }
    assert_true(first >= DUE && last < LAST && last - first > 7 * 3600);
}

static void pauses_grow_to_an_hour(void **state)
{
    struct renewal renewal = seven_days(7);
    struct random random;
    uint64_t now_ms = 1000;
    uint64_t pause_ms = 0;

    (void)state;
    random_init(&random, 3);
    for (unsigned i = 0; i < 20; i++) {
        uint64_t most = i < 7 ? UINT64_C(30000) << i : 3600000;

        assert_true(renewal_begin(&renewal, LAST, now_ms));
        assert_false(renewal_begin(&renewal, LAST, now_ms)); /* one at a time */
        renewal_failed(&renewal, LAST, now_ms, &random);
        pause_ms = renewal.retry_ms - now_ms;
        assert_true(pause_ms >= (most < 3600000 ? most : 3600000) / 2 && pause_ms <= 3600000);
        assert_false(renewal_begin(&renewal, LAST, renewal.retry_ms - 1));
        now_ms = renewal.retry_ms;
    }
    assert_true(pause_ms >= 1800000);
}

/* The class is there before its coordinator. */
static void one_that_has_ended_is_asked_for_every_two_minutes(void **state)
{
    struct renewal renewal = seven_days(7);
    struct random random;
    uint64_t now_ms = 1000;

    (void)state;
    random_init(&random, 3);
    for (unsigned i = 0; i < 20; i++) {
        assert_true(renewal_begin(&renewal, END + 21 * DAY, now_ms));
        renewal_failed(&renewal, END + 21 * DAY, now_ms, &random);
        assert_true(renewal.retry_ms - now_ms <= 120000);
        now_ms = renewal.retry_ms;
    }
}

static void who_asks_for_it_waits_for_nothing(void **state)
{
    struct renewal renewal = seven_days(7);
    struct random random;

    (void)state;
    random_init(&random, 3);
    renewal_want(&renewal);
    assert_true(renewal_begin(&renewal, BEGIN + DAY, 10)); /* days before it is due */
    renewal_failed(&renewal, LAST, 10, &random);
    assert_false(renewal_begin(&renewal, BEGIN + DAY, 20));
    renewal_want(&renewal);
    assert_true(renewal_begin(&renewal, BEGIN + DAY, 20)); /* and before the pause is over */
    renewal_failed(&renewal, LAST, 20, &random);
    renewal_want(&renewal);
    assert_true(renewal_begin(&renewal, END + 91 * DAY, 30)); /* even one that is lost */
}

static void a_new_certificate_ends_it(void **state)
{
    struct renewal renewal = seven_days(7);
    struct random random;

    (void)state;
    random_init(&random, 3);
    assert_true(renewal_begin(&renewal, LAST, 10));
    renewal_failed(&renewal, LAST, 10, &random);
    renewal_set(&renewal, LAST - 300, LAST + 7 * DAY, &random);
    assert_int_equal(renewal.failures, 0);
    assert_false(renewal_begin(&renewal, LAST + 1, 1000000));
    assert_int_equal(renewal_health(&renewal, LAST), RENEWAL_WELL);
}

static void a_life_of_seconds_is_renewed_too(void **state)
{
    struct renewal renewal;
    struct random random;

    (void)state;
    random_init(&random, 3);
    renewal_set(&renewal, 1000, 1330, &random); /* 30 s after the 300 before it was issued */
    assert_false(renewal_begin(&renewal, 1319, 0));
    assert_true(renewal_begin(&renewal, 1321, 0));
    renewal_failed(&renewal, 1321, 0, &random);
    assert_true(renewal.retry_ms <= 500);
    renewal_set(&renewal, 1000, 900, &random); /* nonsense does not divide by zero */
    assert_true(renewal_health(&renewal, 1000) == RENEWAL_ENDED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renewals_are_spread),
        cmocka_unit_test(pauses_grow_to_an_hour),
        cmocka_unit_test(one_that_has_ended_is_asked_for_every_two_minutes),
        cmocka_unit_test(who_asks_for_it_waits_for_nothing),
        cmocka_unit_test(a_new_certificate_ends_it),
        cmocka_unit_test(a_life_of_seconds_is_renewed_too),
    };

    return RUN_ROWS(rows, test_row) + cmocka_run_group_tests(tests, NULL, NULL);
}
