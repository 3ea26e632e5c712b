#include "services/gateway/dedupe.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct dedupe dedupe;

static int set_up(void **state)
{
    (void)state;
    dedupe_init(&dedupe);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dedupe_done(&dedupe);
    assert_int_equal(dedupe.bytes, 0);
    return 0;
}

static enum dedupe_verdict offer(const char *key, uint64_t fingerprint, uint64_t now_ms,
                                 uint32_t *ret_entry)
{
    return dedupe_offer(&dedupe, bytes_of_text(key), fingerprint, now_ms, ret_entry);
}

static void answer(uint32_t entry, const char *payload, uint64_t now_ms)
{
    struct answer ok = answer_ok(bytes_of_text(payload));

    dedupe_answer(&dedupe, entry, &ok, now_ms);
}

static void the_first_answer_is_given_again(void **state)
{
    uint32_t first, again;

    (void)state;
    assert_int_equal(offer("k", 7, 1000, &first), DEDUPE_NEW);
    assert_int_equal(offer("k", 7, 1001, &again), DEDUPE_JOIN);
    assert_int_equal(again, first);
    answer(first, "stored", 2000);
    assert_int_equal(offer("k", 7, 3000, &again), DEDUPE_KNOWN);
    assert_true(bytes_equal_text(dedupe_known(&dedupe, again)->payload, "stored"));
    assert_int_equal(dedupe_known(&dedupe, again)->code, CODE_OK);
    assert_int_equal(offer("other", 7, 3000, &again), DEDUPE_NEW);
}

static void an_answer_is_kept_for_ten_minutes(void **state)
{
    uint32_t entry;

    (void)state;
    assert_int_equal(offer("k", 7, 1000, &entry), DEDUPE_NEW);
    /* Under way it is kept as long as it takes. */
    assert_int_equal(offer("k", 7, 1000 + 2 * DEDUPE_KEEP_MS, &entry), DEDUPE_JOIN);
    answer(entry, "x", 5000);
    assert_int_equal(offer("k", 7, 5000 + DEDUPE_KEEP_MS - 1, &entry), DEDUPE_KNOWN);
    assert_int_equal(offer("k", 7, 5000 + DEDUPE_KEEP_MS, &entry), DEDUPE_NEW);
}

static void a_key_stands_for_one_call(void **state)
{
    uint32_t entry;

    (void)state;
    assert_int_equal(offer("k", 7, 0, &entry), DEDUPE_NEW);
    assert_int_equal(offer("k", 8, 0, &entry), DEDUPE_MISMATCH);
    answer(entry, "x", 0);
    assert_int_equal(offer("k", 8, 0, &entry), DEDUPE_MISMATCH);
    assert_true(dedupe_fingerprint(bytes_of_text("Put"), bytes_of_text("a")) !=
                dedupe_fingerprint(bytes_of_text("Put"), bytes_of_text("b")));
    assert_true(dedupe_fingerprint(bytes_of_text("Put"), bytes_of_text("a")) !=
                dedupe_fingerprint(bytes_of_text("Puta"), bytes_of_text("")));
}

static const struct keep_row {
    const char *what;
    lb_err err;
    enum dedupe_verdict again;
} keep_rows[] = {
    { "that there is none is an answer", LB_NOT_FOUND, DEDUPE_KNOWN },
    { "a conflict is an answer", LB_CONFLICT, DEDUPE_KNOWN },
    { "a refusal is an answer", LB_INVALID, DEDUPE_KNOWN },
    { "no service there is none", LB_UNAVAILABLE, DEDUPE_NEW },
    { "no answer in time is none", LB_TIMEOUT, DEDUPE_NEW },
    { "a limit reached is none", LB_FULL, DEDUPE_NEW },
};

static void what_will_pass_is_not_kept(void **state)
{
    const struct keep_row *row = *state;
    struct answer error = answer_error(row->err, "because");
    uint32_t entry;

    set_up(NULL);
    assert_int_equal(offer("k", 7, 0, &entry), DEDUPE_NEW);
    dedupe_answer(&dedupe, entry, &error, 0);
    assert_int_equal(offer("k", 7, 0, &entry), row->again);
    if (row->again == DEDUPE_KNOWN)
        assert_string_equal(dedupe_known(&dedupe, entry)->text, "because");
    tear_down(NULL);
}

static void many(uint64_t now_ms, uint32_t count, bool answered)
{
    char key[16];
    uint32_t entry;

    for (uint32_t i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "%u", (unsigned)i);
        assert_int_equal(offer(key, i, now_ms + i, &entry), DEDUPE_NEW);
        if (answered)
            answer(entry, "x", now_ms + i);
    }
}

static void the_oldest_answer_gives_way(void **state)
{
    uint32_t entry;

    (void)state;
    many(1000, DEDUPE_MAX, true);
    assert_int_equal(offer("new", 1, 5000, &entry), DEDUPE_NEW);
    assert_int_equal(offer("0", 0, 5000, &entry), DEDUPE_NEW); /* it took the place of "1" */
    assert_int_equal(offer("2", 2, 5000, &entry), DEDUPE_KNOWN);
}

static void calls_under_way_never_give_way(void **state)
{
    uint32_t entry;

    (void)state;
    many(1000, DEDUPE_MAX, false);
    assert_int_equal(offer("new", 1, 5000, &entry), DEDUPE_FULL);
    assert_int_equal(offer("5", 5, 5000, &entry), DEDUPE_JOIN);
}

static void bytes_are_bounded(void **state)
{
    const size_t size = DEDUPE_BYTES_MAX / 4;
    char *big = malloc(size + 1);
    uint32_t entry;
    char key[2] = "a";

    (void)state;
    assert_non_null(big);
    memset(big, 'x', size);
    big[size] = '\0';
    for (int i = 0; i < 6; i++, key[0]++) {
        assert_int_equal(offer(key, 1, (uint64_t)i, &entry), DEDUPE_NEW);
        answer(entry, big, (uint64_t)i);
        assert_true(dedupe.bytes <= DEDUPE_BYTES_MAX);
    }
    assert_int_equal(offer("b", 1, 10, &entry), DEDUPE_NEW);
    assert_int_equal(offer("f", 1, 10, &entry), DEDUPE_KNOWN);
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_answer_is_given_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_answer_is_kept_for_ten_minutes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_stands_for_one_call, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_oldest_answer_gives_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(calls_under_way_never_give_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_are_bounded, set_up, tear_down),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed + RUN_ROWS(keep_rows, what_will_pass_is_not_kept);
}
