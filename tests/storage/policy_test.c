#include "services/storage/policy.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <string.h>

#define MIB (1024ull * 1024)
#define GIB (1024ull * MIB)

/* ---- who is counted together ---- */

static const struct source_row {
    const char *what, *a, *b;
    bool together;
} source_rows[] = {
    { "two ports of one address", "8.8.8.8:1", "8.8.8.8:2", true },
    { "two addresses of a public /24", "8.8.8.8:1", "8.8.8.9:1", true },
    { "two public /24", "8.8.8.8:1", "8.8.9.8:1", false },
    { "two addresses of a class in one /24", "192.168.1.5:1", "192.168.1.6:1", false },
    { "two ports of a private address", "192.168.1.5:1", "192.168.1.5:2", true },
    { "two addresses of loopback", "127.0.0.1:1", "127.0.0.2:1", false },
    { "two addresses of a public /56", "[2a00:1:2:300::1]:1", "[2a00:1:2:3ff::9]:1", true },
    { "two public /56", "[2a00:1:2:300::1]:1", "[2a00:1:2:400::1]:1", false },
    { "two unique local addresses", "[fd00::1]:1", "[fd00::2]:1", false },
    { "a private and a public one", "10.0.0.1:1", "8.0.0.1:1", false },
};

static struct policy_key key_of(enum policy_kind kind, const char *text)
{
    struct record_source source = { 0 };

    assert_int_equal(address_parse(text, &source.address), LB_OK);
    return policy_source_key(kind, &source);
}

static void sources_are_counted(void **state)
{
    const struct source_row *row = *state;
    struct policy_key a = key_of(POLICY_ITEMS_OF_SOURCE, row->a);
    struct policy_key b = key_of(POLICY_ITEMS_OF_SOURCE, row->b);

    assert_int_equal(a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0, row->together);
    assert_in_range(a.size, 1, POLICY_KEY_MAX);
}

static void our_own_programs_are_not_counted(void **state)
{
    const struct record_source self = { .is_self = true };
    struct policy_key key = policy_source_key(POLICY_ITEMS_OF_SOURCE, &self);
    const struct quota_record used = { .count = UINT32_MAX, .bytes = GIB };

    (void)state;
    assert_int_equal(key.size, 0);
    assert_true(policy_allows(&key, &used, 1000, GIB));
}

static void publishers_are_counted_by_their_key(void **state)
{
    const struct record_source source = { .address = address_v4(8, 8, 8, 8, 1) };
    struct item item = { .is_mutable = true, .salt = bytes_of_text("a") };

    (void)state;
    assert_int_equal(policy_publisher_key(&item, &source).size, 1 + ED25519_KEY_SIZE);
    item.salt = bytes_of(NULL, 0);
    assert_int_equal(policy_publisher_key(&item, &source).size, 0);
    item.is_mutable = false;
    assert_int_equal(policy_publisher_key(&item, &source).size, 0);
}

/* ---- shares ---- */

static const struct share_row {
    const char *what;
    enum policy_kind kind;
    const char *source;
    uint64_t used, more, map_bytes;
    bool allowed;
} share_rows[] = {
    { "a public source, a little", POLICY_ITEMS_OF_SOURCE, "8.8.8.8:1", MIB, 1000, GIB, true },
    { "a public source, more than its 32nd", POLICY_ITEMS_OF_SOURCE, "8.8.8.8:1", 20 * MIB, 1000,
      GIB, false },
    { "the same inside the site", POLICY_ITEMS_OF_SOURCE, "10.0.0.1:1", 20 * MIB, 1000, GIB, true },
    { "one machine of the site, more than its quarter", POLICY_ITEMS_OF_SOURCE, "10.0.0.1:1",
      160 * MIB, 1000, GIB, false },
    { "the smallest store gives everyone something", POLICY_ITEMS_OF_SOURCE, "8.8.8.8:1", 60000,
      1000, MIB, true },
    { "one publisher, within its eighth", POLICY_ITEMS_OF_KEY, "8.8.8.8:1", 70 * MIB, 1000, GIB,
      true },
    { "one publisher, more than its eighth", POLICY_ITEMS_OF_KEY, "8.8.8.8:1", 80 * MIB, 1000, GIB,
      false },
    { "no more inside the site", POLICY_ITEMS_OF_KEY, "10.0.0.1:1", 80 * MIB, 1000, GIB, false },
    { "peers of a public source", POLICY_PEERS_OF_SOURCE, "8.8.8.8:1", 999, 1, GIB, true },
    { "too many peers of a public source", POLICY_PEERS_OF_SOURCE, "8.8.8.8:1", 1000, 1, GIB,
      false },
    { "a thousand peers behind one address of the site", POLICY_PEERS_OF_SOURCE, "127.0.0.1:1",
      1000, 1, GIB, true },
};

static void shares_are_kept(void **state)
{
    const struct share_row *row = *state;
    struct policy_key key = key_of(row->kind, row->source);
    const struct quota_record used = { .count = row->used, .bytes = row->used };

    assert_int_equal(policy_allows(&key, &used, row->more, row->map_bytes), row->allowed);
}

/* ---- giving way ---- */

/*
 * Our own id is all zero bits, so an id's first hex digit says how far it is: f farthest, 1 near.
 * A candidate is a digit and its age rank, a oldest. "F: fb ea 7a" is F offered to these three.
 */
static const struct victim_row {
    const char *what;
    char offered;
    const char *candidates;
    int victim; /* -1: none */
    bool own_known;
} victim_rows[] = {
    { "the farthest gives way to a near one", '1', "fb 7a 3a", 0, true },
    { "among the equally far the oldest", '1', "fb ea 9c", 1, true },
    { "nothing gives way to a farther one", 'f', "7a 3a ea", -1, true },
    { "only what is farther gives way", '7', "3a fb 5a", 1, true },
    { "an equal one does not give way", '7', "7a", -1, true },
    { "without an own id the oldest gives way", 'f', "7b 3a ec", 1, false },
    { "no candidates", '1', "", -1, true },
};

static struct node_id id_of(char digit)
{
    struct node_id id = { 0 };
    char text[3] = { digit, '0', '\0' };

    assert_int_equal(hex_decode(text, id.bytes, 1), LB_OK);
    return id;
}

static void something_gives_way(void **state)
{
    const struct victim_row *row = *state;
    const struct node_id own_id = { 0 };
    struct node_id offered = id_of(row->offered);
    struct policy_candidate candidates[8];
    size_t count = 0;
    size_t victim;

    for (const char *at = row->candidates; *at != '\0'; at += at[2] == ' ' ? 3 : 2, count++) {
        candidates[count].target = id_of(at[0]);
        candidates[count].stored_s = (uint64_t)(at[1] - 'a');
    }
    victim = policy_victim(row->own_known ? &own_id : NULL, &offered, candidates, count);
    assert_int_equal(victim, row->victim < 0 ? SIZE_MAX : (size_t)row->victim);
}

/* ---- times ---- */

static const struct again_row {
    const char *what;
    unsigned acknowledged, tries;
    uint64_t item_ttl_s;
    uint64_t least_s, most_s;
} again_rows[] = {
    { "enough hold it: hourly", 8, 0, 7200, 48 * 60, 3600 },
    { "few hold it: after a minute", 1, 0, 7200, 48, 60 },
    { "still few: after two", 1, 1, 7200, 96, 120 },
    { "still few after an hour: hourly", 3, 6, 7200, 48 * 60, 3600 },
    { "never later than half its life", 8, 0, 600, 240, 300 },
    { "never in a rush", 0, 0, 4, 8, 10 },
    { "a long life is refreshed hourly all the same", 8, 9, 604800, 48 * 60, 3600 },
};

static void it_is_put_again(void **state)
{
    const struct again_row *row = *state;

    for (uint64_t random = 0; random < 5000; random += 7)
        assert_in_range(
            policy_republish_s(row->acknowledged, 8, row->tries, row->item_ttl_s, random),
            row->least_s, row->most_s);
}

static void things_expire(void **state)
{
    (void)state;
    assert_false(policy_is_expired(100, 10, 110));
    assert_true(policy_is_expired(100, 10, 111));
    assert_false(policy_is_expired(100, 10, 50)); /* a clock that was set back keeps things */
    assert_false(policy_is_over(100, 100));
    assert_true(policy_is_over(100, 101));
}

static void numbers_outlive_their_items(void **state)
{
    (void)state;
    assert_int_equal(policy_seen_until_s(100, 200), 200 + POLICY_SEEN_S);
    assert_int_equal(policy_seen_until_s(100 + POLICY_SEEN_S, 50), 100 + POLICY_SEEN_S);
    assert_int_equal(policy_seen_max(GIB), POLICY_SEEN_MAX);
    assert_in_range(policy_seen_max(MIB), 100, 1000); /* a small store is not filled with them */
}

static void space_is_kept_free(void **state)
{
    (void)state;
    assert_int_equal(policy_reserve_bytes(2 * MIB), MIB / 4);
    assert_int_equal(policy_reserve_bytes(GIB), GIB / 20);
    assert_int_equal(policy_reserve_bytes(1000 * GIB), 256 * MIB);
    assert_true(policy_item_pages(256) < policy_all_pages(256));
    assert_true(policy_all_pages(256) < 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_own_programs_are_not_counted),
        cmocka_unit_test(publishers_are_counted_by_their_key),
        cmocka_unit_test(things_expire),
        cmocka_unit_test(numbers_outlive_their_items),
        cmocka_unit_test(space_is_kept_free),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    failed += RUN_ROWS(source_rows, sources_are_counted);
    failed += RUN_ROWS(share_rows, shares_are_kept);
    failed += RUN_ROWS(victim_rows, something_gives_way);
    return failed + RUN_ROWS(again_rows, it_is_put_again);
}
