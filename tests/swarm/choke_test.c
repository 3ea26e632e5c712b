/*
 * Choking, one letter a peer. Peers: 'i' interested, '-' not. Rates: one digit each, what it gives
 * us. Before and after: 'U' has a place, '.' has none; '?' afterwards: either may be.
 */
#include "libcommon/random.h"
#include "services/swarm/choke.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define NOW_MS 1000000u

static const struct row {
    const char *what;
    bool seeding;
    uint32_t slots;
    const char *interested, *rates, *before, *after;
} rows[] = {
    { "all interested have room", false, 4, "iii", "000", "...", "UUU" },
    { "who is not interested gets no place", false, 4, "i-i", "090", ".U.", "U.U" },
    { "who gives most keeps a place", false, 3, "iiiii", "13952", ".....", "??UU?" },
    { "one place is for luck, so the best but one are sure", false, 3, "iiii", "9810", "....",
      "UU??" },
    { "of equals those who have it keep it", false, 3, "iiii", "5555", ".UU.", "?UU?" },
    { "with one place there is no luck", false, 1, "iii", "129", "U..", "..U" },
    { "a seed has no luck to give", true, 2, "iii", "000", "UU.", "UU." },
};

static struct choke_peer peer(uint32_t number)
{
    return (struct choke_peer){
        .peer = number,
        .interested = true,
        .unchoked_ms = NOW_MS - 1000,
    };
}

static const struct choke_peer *find(const struct choke_peer *peers, size_t count, uint32_t number)
{
    for (size_t i = 0; i < count; i++)
        if (peers[i].peer == number)
            return &peers[i];
    return NULL;
}

static size_t places(const struct choke_peer *peers, size_t count)
{
    size_t taken = 0;
    for (size_t i = 0; i < count; i++)
        taken += peers[i].unchoked;
    return taken;
}

static void test_row(void **state)
{
    const struct row *row = *state;
    const size_t count = strlen(row->interested);
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct random random;
        struct choke choke;
        struct choke_peer peers[16];
        random_init(&random, seed);
        choke_init(&choke, row->slots);
        size_t interested = 0;
        for (size_t i = 0; i < count; i++) {
            peers[i] = peer((uint32_t)i);
            peers[i].interested = row->interested[i] == 'i';
            peers[i].received_rate = (uint64_t)(row->rates[i] - '0') * 1000;
            peers[i].unchoked = row->before[i] == 'U';
            interested += peers[i].interested;
        }
        choke_round(&choke, row->seeding ? &choke_by_turns : &choke_rate_for_rate, peers, count,
                    &random, NOW_MS);
        for (size_t i = 0; i < count; i++)
            if (row->after[i] != '?')
                assert_int_equal(find(peers, count, (uint32_t)i)->unchoked, row->after[i] == 'U');
        assert_int_equal(places(peers, count), interested < row->slots ? interested : row->slots);
        assert_int_equal(choke_deadline_ms(&choke), NOW_MS + CHOKE_ROUND_MS);
    }
}

static void test_optimistic_stays_its_time(void **state)
{
    (void)state;
    struct random random;
    struct choke choke;
    struct choke_peer peers[6];
    random_init(&random, 5);
    choke_init(&choke, 2);
    for (uint32_t i = 0; i < 6; i++) {
        peers[i] = peer(i);
        peers[i].received_rate = i == 0 ? 1000 : 0;
    }
    choke_round(&choke, &choke_rate_for_rate, peers, 6, &random, NOW_MS);
    const uint32_t first = choke.optimistic;
    assert_int_not_equal(first, CHOKE_NOBODY);
    for (uint64_t at = CHOKE_ROUND_MS; at < CHOKE_OPTIMISTIC_MS; at += CHOKE_ROUND_MS) {
        choke_round(&choke, &choke_rate_for_rate, peers, 6, &random, NOW_MS + at);
        assert_int_equal(choke.optimistic, first);
        assert_true(find(peers, 6, first)->unchoked);
        assert_int_equal(places(peers, 6), 2);
    }
    bool moved = false;
    for (uint64_t i = 1; i < 20 && !moved; i++) {
        choke_round(&choke, &choke_rate_for_rate, peers, 6, &random,
                    NOW_MS + i * CHOKE_OPTIMISTIC_MS);
        moved = choke.optimistic != first;
    }
    assert_true(moved);
}

static void test_snubbing_peer_loses_its_place(void **state)
{
    (void)state;
    struct random random;
    struct choke choke;
    struct choke_peer peers[3];
    random_init(&random, 5);
    choke_init(&choke, 1);
    for (uint32_t i = 0; i < 3; i++)
        peers[i] = peer(i);
    peers[1].received_rate = 9000;
    peers[1].snubbed = true;
    peers[1].unchoked = true;
    peers[2].received_rate = 10;
    choke_round(&choke, &choke_rate_for_rate, peers, 3, &random, NOW_MS);
    assert_true(find(peers, 3, 2)->unchoked);
    assert_false(find(peers, 3, 1)->unchoked);
}

/* A seed serves all in turn: in time everybody had about as much. */
static void test_seed_serves_by_turns(void **state)
{
    (void)state;
    struct random random;
    struct choke choke;
    struct choke_peer peers[8];
    random_init(&random, 5);
    choke_init(&choke, 2);
    for (uint32_t i = 0; i < 8; i++)
        peers[i] = peer(i);
    uint64_t now_ms = NOW_MS;
    for (int round = 0; round < 80; round++, now_ms += CHOKE_ROUND_MS) {
        bool before[8];
        for (uint32_t i = 0; i < 8; i++)
            before[peers[i].peer] = peers[i].unchoked;
        choke_round(&choke, &choke_by_turns, peers, 8, &random, now_ms);
        assert_int_equal(places(peers, 8), 2);
        for (uint32_t i = 0; i < 8; i++) {
            if (!peers[i].unchoked)
                continue;
            if (!before[peers[i].peer]) {
                peers[i].unchoked_ms = now_ms;
                peers[i].sent_bytes = 0;
            }
            peers[i].sent_bytes += 10u << 20;
            peers[i].sent_total += 10u << 20;
        }
    }
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    for (uint32_t i = 0; i < 8; i++) {
        least = peers[i].sent_total < least ? peers[i].sent_total : least;
        most = peers[i].sent_total > most ? peers[i].sent_total : most;
    }
    assert_true(least > 0);
    assert_in_range(most - least, 0, 60u << 20);
}

static void test_nobody(void **state)
{
    (void)state;
    struct random random;
    struct choke choke;
    random_init(&random, 5);
    choke_init(&choke, 1);
    choke_round(&choke, &choke_by_turns, NULL, 0, &random, NOW_MS);
    assert_true(choke_has_room(&choke, 0));
    assert_false(choke_has_room(&choke, 1));
}

int main(void)
{
    enum { ROWS = sizeof rows / sizeof rows[0], OTHERS = 4 };
    struct CMUnitTest tests[ROWS + OTHERS];
    size_t count = 0;
    for (size_t i = 0; i < ROWS; i++)
        tests[count++] =
            (struct CMUnitTest){ rows[i].what, test_row, NULL, NULL, (void *)(uintptr_t)&rows[i] };
    const struct CMUnitTest others[OTHERS] = {
        cmocka_unit_test(test_optimistic_stays_its_time),
        cmocka_unit_test(test_snubbing_peer_loses_its_place),
        cmocka_unit_test(test_seed_serves_by_turns),
        cmocka_unit_test(test_nobody),
    };
    for (size_t i = 0; i < OTHERS; i++)
        tests[count++] = others[i];
    return _cmocka_run_group_tests("choke", tests, count, NULL, NULL);
}
