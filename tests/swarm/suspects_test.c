/*
 * Suspects: a piece of six blocks fails, perhaps again, and passes. Each row draws what came: for
 * each block its sender (A to F) and, below, what it sent ('.' the good block, others bad ones).
 */
#include "services/swarm/suspects.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BLOCKS 6u
#define PIECE  7u

static const struct row {
    const char *what;
    const char *first_from, *first_sent;   /* the first failure */
    const char *second_from, *second_sent; /* NULL: there was none */
    const char *convicted;
} rows[] = {
    { "one bad block of one peer", "ABCABC", ".x....", NULL, NULL, "B" },
    { "several bad blocks of one peer", "ABCABC", ".x..x.", NULL, NULL, "B" },
    { "two bad peers", "ABCABC", "x...x.", NULL, NULL, "AB" },
    { "all of it bad", "ABCDEF", "xxxxxx", NULL, NULL, "ABCDEF" },
    { "a single sender", "AAAAAA", "...x..", NULL, NULL, "A" },
    { "bad the second time only", "ABCABC", "x.....", "BBBCCC", "....x.", "AC" },
    { "bad both times, in other blocks", "ABCABC", "x.....", "BBBBAA", ".....x", "A" },
    { "bad both times, in the same block alike", "ABCABC", "x.....", "BBBCCC", "x.....", "AB" },
    { "its good blocks do not save it", "AAAAAB", "....x.", NULL, NULL, "A" },
    { "good blocks beside bad ones of all others", "ABBBBB", ".xxxxx", NULL, NULL, "B" },
    { "a sender nobody knows is not judged", "-BCABC", "x.....", NULL, NULL, "" },
    { "a piece that failed on our side alone", "ABCABC", "......", NULL, NULL, "" },
};

static void digests_of(const char *sent, uint8_t digests[BLOCKS * SUSPECTS_DIGEST_SIZE])
{
    memset(digests, 0, BLOCKS * SUSPECTS_DIGEST_SIZE);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        digests[i * SUSPECTS_DIGEST_SIZE] = (uint8_t)(i + 1);
        digests[(i + 1) * SUSPECTS_DIGEST_SIZE - 1] = (uint8_t)sent[i]; /* the last byte counts */
    }
}

static void senders_of(const char *from, uint32_t senders[BLOCKS])
{
    for (uint32_t i = 0; i < BLOCKS; i++)
        senders[i] = from[i] == '-' ? SUSPECTS_NOBODY : (uint32_t)from[i];
}

static bool fails(struct suspects *self, uint32_t piece, const char *from, const char *sent)
{
    uint8_t digests[BLOCKS * SUSPECTS_DIGEST_SIZE];
    uint32_t senders[BLOCKS];
    digests_of(sent, digests);
    senders_of(from, senders);
    const bool kept = suspects_failed(self, piece, digests, senders, BLOCKS);
    suspects_check(self);
    return kept;
}

static size_t passes(struct suspects *self, uint32_t piece, uint32_t ret_numbers[26])
{
    uint8_t digests[BLOCKS * SUSPECTS_DIGEST_SIZE];
    digests_of("......", digests);
    const size_t count = suspects_passed(self, piece, digests, BLOCKS, ret_numbers, 26);
    suspects_check(self);
    return count;
}

static void test_row(void **state)
{
    const struct row *row = *state;
    struct suspects self;
    uint32_t numbers[26];
    char convicted[27] = "";
    suspects_init(&self);
    assert_false(suspects_wants(&self, PIECE));
    assert_true(fails(&self, PIECE, row->first_from, row->first_sent));
    if (row->second_from != NULL)
        assert_true(fails(&self, PIECE, row->second_from, row->second_sent));
    assert_true(suspects_wants(&self, PIECE));
    assert_int_equal(suspects_doubts(&self, 'B'), strchr(row->first_from, 'B') != NULL);
    assert_false(suspects_doubts(&self, 'Z'));
    const size_t count = passes(&self, PIECE, numbers);
    for (char who = 'A'; who <= 'Z'; who++)
        for (size_t i = 0; i < count; i++)
            if (numbers[i] == (uint32_t)who)
                convicted[strlen(convicted)] = who;
    assert_string_equal(convicted, row->convicted);
    assert_int_equal(count, strlen(row->convicted));
    assert_false(suspects_wants(&self, PIECE));
    assert_int_equal(self.failures_count, 0);
    suspects_done(&self);
}

static void test_another_piece_tells_nothing(void **state)
{
    (void)state;
    struct suspects self;
    uint32_t numbers[26];
    suspects_init(&self);
    assert_true(fails(&self, 1, "ABCABC", "x....."));
    assert_true(fails(&self, 2, "DDDEEE", "x....."));
    assert_int_equal(passes(&self, 3, numbers), 0);
    assert_int_equal(passes(&self, 2, numbers), 1);
    assert_int_equal(numbers[0], 'D');
    assert_true(suspects_doubts(&self, 'A'));
    suspects_forget(&self, 1);
    assert_false(suspects_doubts(&self, 'A'));
    suspects_done(&self);
}

static void test_failures_are_bounded(void **state)
{
    (void)state;
    struct suspects self;
    uint32_t numbers[26];
    suspects_init(&self);
    for (uint32_t i = 0; i < SUSPECTS_FAILURES_MAX; i++)
        assert_true(fails(&self, i, "AAABBB", "x....."));
    assert_false(fails(&self, 1000, "CCCDDD", "x....."));
    assert_false(suspects_wants(&self, 1000));
    assert_int_equal(passes(&self, 5, numbers), 1);
    assert_true(fails(&self, 1000, "CCCDDD", "x....."));
    suspects_done(&self);
}

static void test_blocks_are_bounded(void **state)
{
    (void)state;
    enum { MANY = SUSPECTS_BLOCKS_MAX / 2 + 1 };
    struct suspects self;
    suspects_init(&self);
    uint8_t *digests = calloc(MANY, SUSPECTS_DIGEST_SIZE);
    uint32_t *from = calloc(MANY, sizeof *from);
    assert_true(suspects_failed(&self, 1, digests, from, MANY));
    assert_false(suspects_failed(&self, 2, digests, from, MANY));
    suspects_check(&self);
    suspects_forget(&self, 1);
    assert_true(suspects_failed(&self, 2, digests, from, MANY));
    free(digests);
    free(from);
    suspects_done(&self);
}

static void test_who_left_is_remembered(void **state)
{
    (void)state;
    struct suspects self;
    suspects_init(&self);
    assert_null(suspects_find(&self, 1));
    for (uint32_t i = 1; i <= SUSPECTS_PEERS_MAX + 1; i++) {
        const struct suspect peer = { .number = i,
                                      .address = address_v4(10, 0, 0, 1, (uint16_t)i) };
        suspects_left(&self, &peer);
    }
    assert_null(suspects_find(&self, 1));
    assert_null(suspects_find(&self, SUSPECTS_NOBODY));
    assert_int_equal(suspects_find(&self, 2)->address.port, 2);
    assert_int_equal(suspects_find(&self, SUSPECTS_PEERS_MAX + 1)->address.port,
                     SUSPECTS_PEERS_MAX + 1);
    suspects_done(&self);
}

int main(void)
{
    enum { ROWS = sizeof rows / sizeof rows[0] };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_another_piece_tells_nothing),
        cmocka_unit_test(test_failures_are_bounded),
        cmocka_unit_test(test_blocks_are_bounded),
        cmocka_unit_test(test_who_left_is_remembered),
    };
    enum { OTHERS = sizeof others / sizeof others[0] };
    struct CMUnitTest tests[ROWS + OTHERS];
    size_t count = 0;
    for (size_t i = 0; i < ROWS; i++)
        tests[count++] =
            (struct CMUnitTest){ rows[i].what, test_row, NULL, NULL, (void *)(uintptr_t)&rows[i] };
    for (size_t i = 0; i < OTHERS; i++)
        tests[count++] = others[i];
    return _cmocka_run_group_tests("suspects", tests, count, NULL, NULL);
}
