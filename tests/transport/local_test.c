#include "services/transport/local.h"

#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

/*
 * So many torrents are named at once, and the messages of some minutes are counted, with how often
 * each torrent was in one, least and most. After them as many torrents of another lb-swarm may be
 * named.
 */
static const struct row {
    const char *what;
    unsigned torrents, others;
    uint64_t minutes;
    unsigned messages_least, messages_most;
    unsigned each_least, each_most;
} rows[] = {
    { "nothing is said of nothing", 0, 0, 60, 0, 0, 0, 0 },
    { "one torrent is announced soon", 1, 0, 1, 1, 1, 1, 1 },
    { "and then about every five minutes", 1, 0, 60, 11, 14, 11, 14 },
    { "twenty share a message", 20, 0, 4, 1, 1, 1, 1 },
    { "twenty-one take two", 21, 0, 4, 2, 2, 1, 1 },
    { "eighty go out at once", 80, 0, 1, 4, 4, 1, 1 },
    { "no more than one message a minute in the long run", 1000, 0, 60, 60, 64, 1, 2 },
    { "a thousand are all announced in an hour", 1000, 0, 50, 50, 54, 1, 2 },
    { "those of two processes do not share one", 1, 1, 1, 2, 2, 1, 1 },
    { "and both have their turn", 1000, 20, 60, 60, 64, 1, 12 },
};

static void hash_of(unsigned which, uint8_t ret_hash[LSD_HASH_SIZE])
{
    memset(ret_hash, 0, LSD_HASH_SIZE);
    memcpy(ret_hash, &which, sizeof(which));
}

static bool name(struct local *local, uint32_t owner, unsigned first, unsigned count,
                 uint64_t now_ms)
{
    uint8_t *hashes = calloc(count + 1, LSD_HASH_SIZE);
    bool taken;

    for (unsigned i = 0; i < count; i++)
        hash_of(first + i, hashes + i * LSD_HASH_SIZE);
    taken = local_set(local, owner, (uint16_t)(7000 + owner), hashes, count, now_ms);
    free(hashes);
    return taken;
}

static unsigned count_message(const struct row *row, const struct lsd_message *message,
                              unsigned *times)
{
    for (size_t i = 0; i < message->hashes_count; i++) {
        unsigned which;

        memcpy(&which, message->hashes[i], sizeof(which));
        assert_true(which < row->torrents + row->others);
        assert_int_equal(message->port, which < row->torrents ? 7001 : 7002);
        times[which]++;
    }
    return 1;
}

static void is_announced(void **state)
{
    const struct row *row = *state;
    unsigned *times = calloc(row->torrents + row->others + 1, sizeof(*times)), messages = 0;
    uint64_t now_ms = 5000, end_ms = now_ms + row->minutes * 60000;
    struct lsd_message message;
    struct local local;
    struct random random;

    random_init(&random, 1);
    local_init(&local, &random);
    assert_true(name(&local, 1, 0, row->torrents, now_ms));
    assert_true(name(&local, 2, row->torrents, row->others, now_ms));
    while (local_deadline_ms(&local) < end_ms) {
        if (local_deadline_ms(&local) > now_ms) {
            assert_false(local_next(&local, local_deadline_ms(&local) - 1, &message));
            now_ms = local_deadline_ms(&local);
        }
        assert_true(local_next(&local, now_ms, &message));
        messages += count_message(row, &message, times);
    }
    assert_in_range(messages, row->messages_least, row->messages_most);
    for (unsigned i = 0; i < row->torrents + row->others; i++)
        assert_in_range(times[i], row->each_least, row->each_most);
    free(times);
    local_done(&local);
}

static void naming_again_keeps_the_time(void **state)
{
    struct lsd_message message;
    struct local local;
    struct random random;
    uint8_t hash[LSD_HASH_SIZE];

    (void)state;
    random_init(&random, 1);
    local_init(&local, &random);
    assert_true(name(&local, 1, 0, 2, 1000));
    assert_true(local_next(&local, 3000, &message));
    assert_int_equal(message.hashes_count, 2);
    assert_true(name(&local, 1, 1, 2, 4000));
    assert_true(local_next(&local, 6000, &message));
    hash_of(2, hash);
    assert_int_equal(message.hashes_count, 1);
    assert_memory_equal(message.hashes[0], hash, sizeof(hash));
    assert_true(local_has(&local, 1, hash));
    assert_false(local_has(&local, 2, hash));
    hash_of(0, hash);
    assert_false(local_has(&local, 1, hash));
    assert_true(name(&local, 1, 0, 0, 7000));
    assert_int_equal(local_deadline_ms(&local), UINT64_MAX);
    local_done(&local);
}

static void owners_are_bounded(void **state)
{
    struct local local;
    struct random random;

    (void)state;
    random_init(&random, 1);
    local_init(&local, &random);
    for (uint32_t i = 0; i < LOCAL_OWNERS_MAX; i++)
        assert_true(name(&local, i, i, 1, 1000));
    assert_false(name(&local, 99, 99, 1, 1000));
    assert_true(name(&local, 99, 99, 0, 1000));
    assert_true(name(&local, 3, 0, 0, 1000));
    assert_true(name(&local, 99, 99, 1, 1000));
    assert_true(name(&local, 98, 0, 0, 1000));
    local_done(&local);
}

int main(void)
{
    const struct CMUnitTest others[] = {
        cmocka_unit_test(naming_again_keeps_the_time),
        cmocka_unit_test(owners_are_bounded),
    };

    return RUN_ROWS(rows, is_announced) + cmocka_run_group_tests(others, NULL, NULL);
}
