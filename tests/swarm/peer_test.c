/* One peer: its windows, queues and patience, on a virtual clock. */
#include "services/swarm/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define START_MS 5000u

static struct peer *new_peer(void)
{
    const struct wire_handshake hello = { .fast = true };
    const struct address address = address_v4(10, 0, 0, 1, 6881);
    return peer_new(&hello, &address, true, START_MS);
}

static struct picker_ask ask(uint32_t block)
{
    return (struct picker_ask){ .piece = 1, .block = block };
}

/* Give it so many blocks a second for a while; returns the window it ends with. */
static uint32_t window_at(uint32_t blocks_per_s, unsigned seconds)
{
    struct peer *peer = new_peer();
    peer->asks_limit = PEER_ASKS_MAX;
    for (unsigned second = 1; second <= seconds; second++) {
        for (uint32_t i = 0; i < blocks_per_s; i++)
            peer_block_came(peer, WIRE_BLOCK_SIZE, 0, START_MS + second * 1000 - 1);
        (void)peer_turn(peer, START_MS + second * 1000);
    }
    const uint32_t window = peer->asks_target;
    peer_free(&peer);
    return window;
}

static void test_window_follows_the_rate(void **state)
{
    (void)state;
    assert_int_equal(window_at(0, 10), PEER_ASKS_MIN);
    assert_int_equal(window_at(1, 10), PEER_ASKS_MIN);
    assert_in_range(window_at(100, 20), 90, 110);
    assert_int_equal(window_at(5000, 5), PEER_ASKS_MAX);
}

/* Snubbed and then quick again: what was given back to the picker is still in its queue. */
static void test_late_requests_count_for_its_limit(void **state)
{
    (void)state;
    struct peer *peer = new_peer();
    peer->asks_limit = 20;
    peer->asks_target = 20;
    for (uint32_t i = 0; i < 20; i++)
        peer_ask(peer, ask(i), START_MS);
    peer->asks_late = peer->asks_count;
    assert_int_equal(peer_answered(peer, ask(0)), PEER_LATE);
    peer_block_came(peer, WIRE_BLOCK_SIZE, 0, START_MS + 1);
    assert_int_equal(peer_asks_wanted(peer), 1);
    peer_free(&peer);
}

static void test_window_keeps_its_limit(void **state)
{
    (void)state;
    struct peer *peer = new_peer();
    peer->asks_limit = 20;
    for (int i = 0; i < 1000; i++)
        peer_block_came(peer, WIRE_BLOCK_SIZE, 0, START_MS + 1);
    (void)peer_turn(peer, START_MS + 1000);
    assert_int_equal(peer_asks_wanted(peer), 20);
    peer_ask(peer, ask(0), START_MS + 1000);
    assert_int_equal(peer_asks_wanted(peer), 19);
    peer_free(&peer);
}

static void test_answers(void **state)
{
    (void)state;
    struct peer *peer = new_peer();
    for (uint32_t i = 0; i < 100; i++)
        peer_ask(peer, ask(i), START_MS);
    assert_int_equal(peer_answered(peer, ask(0)), PEER_ASKED);
    assert_int_equal(peer_answered(peer, ask(0)), PEER_UNASKED);
    /* Out of order. */
    assert_int_equal(peer_answered(peer, ask(50)), PEER_ASKED);
    assert_true(peer_cancel_ask(peer, ask(99)));
    assert_false(peer_cancel_ask(peer, ask(99)));
    assert_int_equal(peer_answered(peer, ask(99)), PEER_CANCELLED);
    assert_int_equal(peer_answered(peer, ask(99)), PEER_UNASKED);
    assert_int_equal(peer->asks_count, 97);
    assert_int_equal(peer_asks(peer)[0].block, 1);
    /* What was given back counts as late, and only that. */
    peer->asks_late = 2;
    assert_int_equal(peer_answered(peer, ask(2)), PEER_LATE);
    assert_int_equal(peer->asks_late, 1);
    assert_int_equal(peer_answered(peer, ask(3)), PEER_ASKED);
    assert_int_equal(peer->asks_late, 1);
    for (uint32_t i = 100; i < 400; i++) {
        peer_ask(peer, ask(i), START_MS);
        assert_int_equal(peer_answered(peer, peer_asks(peer)[0]),
                         i == 100 ? PEER_LATE : PEER_ASKED);
    }
    assert_int_equal(peer->asks_count, 95);
    peer_free(&peer);
}

static void test_wishes(void **state)
{
    (void)state;
    struct peer *peer = new_peer();
    for (uint32_t i = 0; i < PEER_WISHES_MAX; i++)
        assert_true(peer_wish_add(peer, &(struct peer_wish){ i, 0, 1 }));
    assert_false(peer_wish_add(peer, &(struct peer_wish){ 9999, 0, 1 }));
    assert_true(peer_wish_remove(peer, &(struct peer_wish){ 3, 0, 1 }));
    assert_false(peer_wish_remove(peer, &(struct peer_wish){ 3, 0, 1 }));
    struct peer_wish wish;
    for (uint32_t i = 0; i < PEER_WISHES_MAX; i++) {
        if (i == 3)
            continue;
        assert_true(peer_wish_next(peer, &wish));
        assert_int_equal(wish.piece, i);
    }
    assert_false(peer_wish_next(peer, &wish));
    peer_free(&peer);
}

/* Rows: what happened until then, and what a turn says. */
static const struct health_row {
    const char *what;
    uint64_t received_ago_ms, block_ago_ms, sent_ago_ms;
    bool asked;
    bool sent; /* it sent blocks before */
    enum peer_health health;
} health_rows[] = {
    { "all well", 1000, 1000, 1000, true, true, PEER_WELL },
    { "the first block takes its time", 1000, 3999, 1000, true, false, PEER_WELL },
    { "the first block is late", 1000, 4000, 1000, true, false, PEER_SNUBBED },
    { "a later one is waited for", 1000, 14999, 1000, true, true, PEER_WELL },
    { "nothing asked, nothing owed", 1000, 90000, 1000, false, true, PEER_WELL },
    { "a block is late", 1000, 15000, 1000, true, true, PEER_SNUBBED },
    { "a block will never come", 1000, 60000, 1000, true, true, PEER_DEAD },
    { "not a byte for two minutes", 120000, 1000, 1000, false, true, PEER_DEAD },
    { "it has not heard from us", 1000, 1000, 100000, false, true, PEER_KEEPALIVE_DUE },
};

static void test_health(void **state)
{
    const struct health_row *row = *state;
    struct peer *peer = new_peer();
    const uint64_t now_ms = START_MS + 1000000;
    if (row->asked)
        peer_ask(peer, ask(0), START_MS);
    if (row->sent)
        peer_block_came(peer, 1, 0, START_MS);
    peer->received_ms = now_ms - row->received_ago_ms;
    peer->block_ms = now_ms - row->block_ago_ms;
    peer->sent_ms = now_ms - row->sent_ago_ms;
    assert_int_equal(peer_turn(peer, now_ms), row->health);
    assert_int_equal(peer->snubbed, row->health == PEER_SNUBBED);
    if (row->health == PEER_SNUBBED) {
        peer->asks_late = peer->asks_count;
        assert_int_equal(peer_turn(peer, now_ms), PEER_WELL); /* said once */
        assert_int_equal(peer_asks_wanted(peer), 1);
        /* On trial: asked for one more, which is not to wait for it as long. */
        peer_ask(peer, ask(1), now_ms);
        assert_int_equal(peer_turn(peer, now_ms + 1000), PEER_SNUBBED);
        peer->asks_late = peer->asks_count;
        assert_int_equal(peer_turn(peer, now_ms + PEER_BLOCK_MS), PEER_DEAD);
        peer_block_came(peer, 1, 0, now_ms);
        assert_false(peer->snubbed);
    }
    peer_free(&peer);
}

/* Rows: what its blocks took, how long ago the last was asked for, and how long it takes yet. */
static const struct left_row {
    const char *what;
    uint32_t took_ms, age_ms;
    uint64_t left_ms;
} left_rows[] = {
    { "the usual time, when it was just asked for", 100, 0, 100 },
    { "what is left of it", 100, 70, 30 },
    { "none, when it is due", 100, 100, 0 },
    { "as long again as it is late", 100, 160, 60 },
    { "for ever, as long as it never sent any", 0, 40, UINT64_MAX },
};

static void test_left(void **state)
{
    const struct left_row *row = *state;
    struct peer *peer = new_peer();
    peer_ask(peer, ask(0), START_MS);
    assert_int_equal(peer_ask_age_ms(peer, ask(0), START_MS + row->took_ms), row->took_ms);
    if (row->took_ms > 0) {
        assert_int_equal(peer_answered(peer, ask(0)), PEER_ASKED);
        peer_block_came(peer, 1, row->took_ms, START_MS + row->took_ms);
    }
    peer_ask(peer, ask(1), START_MS + 1000);
    assert_int_equal(peer_left_ms(peer, START_MS + 1000 + row->age_ms), row->left_ms);
    peer_free(&peer);
}

static void test_pieces_before_metainfo(void **state)
{
    (void)state;
    struct peer *peer = new_peer();
    assert_true(peer_set_piece(peer, 9, 0));
    assert_false(peer_set_piece(peer, 9, 0));
    assert_true(peer_set_piece(peer, 2, 0));
    assert_true(peer_has(peer, 9) && peer_has(peer, 2) && !peer_has(peer, 3));
    assert_false(peer_has(peer, 4000));
    assert_false(peer_fit_pieces(peer, 9)); /* there is no piece 9 */
    peer_free(&peer);

    peer = new_peer();
    assert_true(peer_set_piece(peer, 9, 0));
    assert_true(peer_fit_pieces(peer, 10));
    assert_int_equal(peer->pieces_count, 1);
    peer_free(&peer);

    peer = new_peer();
    peer_set_pieces(peer, bytes_of("\xff\xff\xff", 3));
    assert_false(peer_fit_pieces(peer, 16)); /* too long */
    assert_true(peer_fit_pieces(peer, 24));
    assert_int_equal(peer->pieces_count, 24);
    peer_free(&peer);
}

static void test_lost_piece(void **state)
{
    (void)state;
    struct peer *peer = new_peer();
    peer->everything = true;
    peer->pieces_count = 10;
    peer_clear_piece(peer, 3, 10);
    assert_false(peer->everything);
    assert_int_equal(peer->pieces_count, 9);
    assert_true(peer_has(peer, 2) && !peer_has(peer, 3) && peer_has(peer, 9));
    peer_clear_piece(peer, 9, 10);
    assert_int_equal(peer->pieces_count, 8);
    assert_true(peer_set_piece(peer, 3, 10));
    peer_free(&peer);
}

static void test_send_ahead(void **state)
{
    (void)state;
    struct peer *peer = new_peer();
    assert_int_equal(peer_send_ahead(peer), PEER_SEND_AHEAD_MAX);
    for (unsigned second = 1; second < 20; second++) {
        peer_rate_add(&peer->sent, 1000000);
        (void)peer_turn(peer, START_MS + second * 1000);
    }
    assert_in_range(peer_send_ahead(peer), 240000, 260000);
    (void)peer_turn(peer, START_MS + 100000);
    assert_int_equal(peer_send_ahead(peer), PEER_SEND_AHEAD_MIN);
    peer_free(&peer);
}

int main(void)
{
    enum {
        ROWS = sizeof health_rows / sizeof health_rows[0],
        LEFT_ROWS = sizeof left_rows / sizeof left_rows[0],
        OTHERS = 8
    };
    struct CMUnitTest tests[ROWS + LEFT_ROWS + OTHERS];
    size_t count = 0;
    for (size_t i = 0; i < ROWS; i++)
        tests[count++] = (struct CMUnitTest){ health_rows[i].what, test_health, NULL, NULL,
                                              (void *)(uintptr_t)&health_rows[i] };
    for (size_t i = 0; i < LEFT_ROWS; i++)
        tests[count++] = (struct CMUnitTest){ left_rows[i].what, test_left, NULL, NULL,
                                              (void *)(uintptr_t)&left_rows[i] };
    const struct CMUnitTest others[OTHERS] = {
        cmocka_unit_test(test_window_follows_the_rate),
        cmocka_unit_test(test_window_keeps_its_limit),
        cmocka_unit_test(test_late_requests_count_for_its_limit),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_wishes),
        cmocka_unit_test(test_pieces_before_metainfo),
        cmocka_unit_test(test_lost_piece),
        cmocka_unit_test(test_send_ahead),
    };
    for (size_t i = 0; i < OTHERS; i++)
        tests[count++] = others[i];
    return _cmocka_run_group_tests("peer", tests, count, NULL, NULL);
}
