/* The outbox: whatever pieces it is written in, the same bytes go out in the same order. */
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
    memset(outbox_reserve(outbox, count), value, count);
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
    (void)outbox_reserve(&outbox, 10);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_clear),
    };
    return cmocka_run_group_tests_name("outbox", tests, NULL, NULL);
}
