#include "services/swarm/outcomes.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOUR_S 3600u

static struct outcome outcome_of(uint32_t number, uint64_t finished_ms)
{
    struct outcome outcome = {
        .address = address_v4(10, 0, (uint8_t)(number >> 8), (uint8_t)number, 6881),
        .client = "Littlebird 0.1",
        .received_bytes = number,
        .sent_bytes = 1000u + number,
        .finished_ms = finished_ms,
        .verified = number % 2 == 0,
        .cooperative = true,
    };

    snprintf(outcome.host, sizeof(outcome.host), "pc%u", number);
    return outcome;
}

/* The machine was started an hour ago; then again, and is up for ten seconds. */
static const struct outcomes_clock before = { .now_ms = HOUR_S * 1000, .wall_s = 1000000 };
static const struct outcomes_clock after = { .now_ms = 10000, .wall_s = 1000000 + 2 * HOUR_S };

static void what_is_kept_comes_back(void **state)
{
    struct outcomes outcomes = { 0 }, again = { 0 };
    const struct outcome one = outcome_of(1, before.now_ms - 60000);
    const struct outcome two = outcome_of(2, before.now_ms);
    uint8_t *data;
    size_t size;

    (void)state;
    outcomes_add(&outcomes, &one);
    outcomes_add(&outcomes, &two);
    assert_true(outcomes.changed);
    outcomes_encode(&outcomes, &before, &data, &size);
    assert_int_equal(outcomes_parse(&again, bytes_of(data, size), &after), LB_OK);
    assert_int_equal(again.count, 2);
    assert_true(address_equal(&again.items[0].address, &one.address));
    assert_string_equal(again.items[0].host, "pc1");
    assert_string_equal(again.items[0].client, "Littlebird 0.1");
    assert_int_equal(again.items[0].received_bytes, 1);
    assert_int_equal(again.items[0].sent_bytes, 1001);
    assert_false(again.items[0].verified);
    assert_true(again.items[1].verified && again.items[1].cooperative);
    /* Two hours and a minute ago by the wall clock, though the steady one was not there then. */
    assert_int_equal(after.now_ms - again.items[0].finished_ms, (2 * HOUR_S + 60) * 1000);
    free(data);
    outcomes_done(&outcomes);
    outcomes_done(&again);
}

static void the_newest_are_kept(void **state)
{
    struct outcomes outcomes = { 0 }, again = { 0 };
    struct outcome one;
    uint8_t *data;
    size_t size;

    (void)state;
    for (uint32_t i = 0; i < OUTCOMES_MAX + 3; i++) {
        one = outcome_of(i, 1000);
        outcomes_add(&outcomes, &one);
    }
    outcomes_encode(&outcomes, &before, &data, &size);
    assert_true(size < 1536u * 1024);
    assert_int_equal(outcomes_parse(&again, bytes_of(data, size), &after), LB_OK);
    assert_int_equal(again.count, OUTCOMES_MAX);
    assert_int_equal(again.items[0].received_bytes, 3);
    assert_int_equal(again.items[OUTCOMES_MAX - 1].received_bytes, OUTCOMES_MAX + 2);
    free(data);
    outcomes_done(&outcomes);
    outcomes_done(&again);
}

#define ONE                                                                                        \
    "d7:address6:"                                                                                 \
    "\n\1\1\1\1\1"

static const struct row {
    const char *what, *record;
    lb_err err;
    uint32_t count;
} rows[] = {
    { "nobody", "d8:outcomesle7:versioni1ee", LB_OK, 0 },
    { "an address is enough", "d8:outcomesl" ONE "ee7:versioni1ee", LB_OK, 1 },
    { "without one it is nobody", "d8:outcomesld6:clienti1eee7:versioni1ee", LB_OK, 0 },
    { "what is no dictionary is passed over", "d8:outcomesli1e" ONE "ee7:versioni1ee", LB_OK, 1 },
    { "a later version", "d8:outcomesl" ONE "ee7:versioni2ee", LB_CORRUPT, 0 },
    { "no record", "i1e", LB_CORRUPT, 0 },
    { "cut", "d8:outcomesl" ONE, LB_CORRUPT, 0 },
    { "empty", "", LB_CORRUPT, 0 },
};

static void test_record(void **state)
{
    const struct row *row = *state;
    struct outcomes outcomes = { 0 };

    assert_int_equal(outcomes_parse(&outcomes, bytes_of(row->record, strlen(row->record)), &after),
                     row->err);
    assert_int_equal(outcomes.count, row->count);
    outcomes_done(&outcomes);
}

int main(void)
{
    static const struct CMUnitTest tests[] = { cmocka_unit_test(what_is_kept_comes_back),
                                               cmocka_unit_test(the_newest_are_kept) };

    return RUN_ROWS(rows, test_record) + cmocka_run_group_tests(tests, NULL, NULL);
}
