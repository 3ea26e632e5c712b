/*
 * The outbox: whatever pieces it is written in, the same bytes go out in the same order, but for
 * what is put soon.
 */
#include "libcommon/random.h"
#include "services/swarm/outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include <cmocka.h>

struct block {
    uint8_t content[300];
    int sent;
    int unsent;
};

static void on_done(void *block, bool sent)
{
    struct block *self = block;
    if (sent)
        self->sent++;
    else
        self->unsent++;
}

static void put(struct outbox *outbox, uint8_t *expected, size_t *size, uint8_t value, size_t count)
{
    memset(outbox_reserve(outbox, count, OUTBOX_IN_TURN), value, count);
    memset(expected + *size, value, count);
    *size += count;
}

static void test_order(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        static uint8_t expected[100000];
        static uint8_t written[100000];
        static struct block blocks[40];
        struct random random;
        struct outbox outbox;
        size_t queued = 0;
        size_t out = 0;
        random_init(&random, seed);
        outbox_init(&outbox, on_done);
        memset(blocks, 0, sizeof blocks);
        for (unsigned i = 0; i < 40; i++) {
            put(&outbox, expected, &queued, (uint8_t)i, 1 + random_below(&random, 700));
            memset(blocks[i].content, (int)(100 + i), sizeof blocks[i].content);
            outbox_point(&outbox, blocks[i].content, 100, NULL);
            outbox_point(&outbox, blocks[i].content + 100, 200, &blocks[i]);
            memset(expected + queued, (int)(100 + i), 300);
            queued += 300;
            struct iovec parts[5];
            size_t size = 0;
            const int count = outbox_gather(&outbox, parts, 5, 900, &size);
            size_t take = random_below(&random, size + 1);
            outbox_consume(&outbox, 0);
            for (int k = 0, left = (int)take; k < count && left > 0; k++) {
                const size_t part =
                    parts[k].iov_len < (size_t)left ? parts[k].iov_len : (size_t)left;
                memcpy(written + out, parts[k].iov_base, part);
                out += part;
                left -= (int)part;
            }
            outbox_consume(&outbox, take);
        }
        while (!outbox_is_empty(&outbox)) {
            struct iovec parts[3];
            size_t size = 0;
            const int count = outbox_gather(&outbox, parts, 3, SIZE_MAX, &size);
            for (int k = 0; k < count; k++) {
                memcpy(written + out, parts[k].iov_base, parts[k].iov_len);
                out += parts[k].iov_len;
            }
            outbox_consume(&outbox, size);
        }
        assert_int_equal(out, queued);
        assert_memory_equal(written, expected, queued);
        assert_int_equal(outbox_small_bytes(&outbox), 0);
        for (unsigned i = 0; i < 40; i++)
            assert_true(blocks[i].sent == 1 && blocks[i].unsent == 0);
        outbox_clear(&outbox);
    }
}

static void test_clear(void **state)
{
    (void)state;
    struct outbox outbox;
    struct block block = { .sent = 0 };
    struct iovec parts[4];
    size_t size = 0;
    outbox_init(&outbox, on_done);
    assert_int_equal(outbox_gather(&outbox, parts, 4, 100, &size), 0);
    (void)outbox_reserve(&outbox, 10, OUTBOX_HEAD);
    outbox_point(&outbox, block.content, 300, &block);
    assert_int_equal(outbox_small_bytes(&outbox), 10);
    assert_int_equal(outbox_gather(&outbox, parts, 4, SIZE_MAX, &size), 2);
    assert_int_equal(size, 310);
    outbox_consume(&outbox, 309);
    outbox_clear(&outbox);
    assert_true(block.sent == 0 && block.unsent == 1);
    assert_true(outbox_is_empty(&outbox));
    outbox_clear(&outbox);
}

/*
 * What is put and what goes out, a letter a step. Small letters are messages of 4 bytes in turn,
 * capitals are put soon, a digit is a block (a head of 4 bytes and two parts of 4), and - takes out
 * 4 bytes.
 */
static const struct row {
    const char *what;
    const char *steps;
    const char *out; /* all that goes out in the end */
} rows[] = {
    { "without blocks all goes in turn", "aBcD", "aBcD" },
    { "what is put soon overtakes a block that waits", "1A", "A111" },
    { "and keeps its order", "1AB", "AB111" },
    { "but not what waits before the block", "a1B", "aB111" },
    { "nor a block that is begun", "12-A", "111A222" },
    { "nor one of which only the head is out", "1-A", "111A" },
    { "nor one that is almost out", "12--A", "111A222" },
    { "what is in turn behind blocks is overtaken", "1aB", "B111a" },
    { "later ones stay behind earlier ones when the blocks are gone", "12-A--B", "111AB222" },
    { "blocks put later do not come between", "A1B2C", "ABC111222" },
};

static void step(struct outbox *outbox, char letter, struct block *blocks, char *out)
{
    if (letter == '-') {
        struct iovec part;
        size_t size = 0;
        assert_int_equal(outbox_gather(outbox, &part, 1, 1, &size), 1);
        out[strlen(out)] = *(const char *)part.iov_base;
        outbox_consume(outbox, 4);
        return;
    }
    const bool is_block = letter >= '0' && letter <= '9';
    const enum outbox_place other = letter >= 'A' && letter <= 'Z' ? OUTBOX_SOON : OUTBOX_IN_TURN;
    memset(outbox_reserve(outbox, 4, is_block ? OUTBOX_HEAD : other), letter, 4);
    if (!is_block)
        return;
    struct block *block = &blocks[letter - '0'];
    memset(block->content, letter, 8);
    outbox_point(outbox, block->content, 4, NULL);
    outbox_point(outbox, block->content + 4, 4, block);
}

static void test_soon(void **state)
{
    const struct row *row = *state;
    struct outbox outbox;
    struct block blocks[10] = { { .sent = 0 } };
    char out[100] = "";
    outbox_init(&outbox, on_done);
    for (const char *at = row->steps; *at != '\0'; at++)
        step(&outbox, *at, blocks, out);
    while (!outbox_is_empty(&outbox))
        step(&outbox, '-', blocks, out);
    assert_string_equal(out, row->out);
    assert_int_equal(outbox_small_bytes(&outbox), 0);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(blocks[i].sent, strchr(row->steps, (int)('0' + i)) != NULL);
    outbox_clear(&outbox);
}

int main(void)
{
    struct CMUnitTest tests[2 + sizeof rows / sizeof *rows] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_clear),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        tests[2 + i] = (struct CMUnitTest){
            .name = rows[i].what,
            .test_func = test_soon,
            .initial_state = (void *)(uintptr_t)&rows[i],
        };
    return cmocka_run_group_tests_name("outbox", tests, NULL, NULL);
}
