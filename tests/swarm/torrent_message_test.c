/* What one message, or a flood of one, does to a torrent: its peer is the test's own. */
#include "tests/swarm/torrent_world.h"

/* A peer of the test's own; what the torrent does is looked at by hand. */
static uint32_t join_by_hand(struct node *node, struct address address)
{
    struct wire_handshake hello = { .fast = true, .extended = true, .peer_id = "Z" };
    const struct torrent_hello join = { .address = address, .handshake = &hello };
    uint32_t peer = 0;
    assert_int_equal(torrent_join(&node->torrent, &join, node->world->now_ms, &peer), LB_OK);
    return peer;
}

static void say(struct node *node, uint32_t peer, struct wire_message message)
{
    (void)torrent_message(&node->torrent, peer, &message, node->world->now_ms);
    torrent_check(&node->torrent);
}

/* The actions of this kind and message, counted; the last of them is given. */
static size_t take_actions(struct node *node, enum torrent_action_kind kind, enum wire_kind message,
                           struct wire_message *ret_last)
{
    struct torrent_action action;
    size_t count = 0;
    while (torrent_next(&node->torrent, node->world->now_ms, &action)) {
        if (action.kind != kind || action.message.kind != message)
            continue;
        *ret_last = action.message;
        count++;
    }
    return count;
}

static void test_suggestions_are_taken_up(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 100, 4);
    struct node *node = node_start(&world, 0, true, NULL);
    const uint32_t peer = join_by_hand(node, world_address(9));
    struct wire_message asked = { 0 };
    say(node, peer, (struct wire_message){ .kind = WIRE_HAVE_ALL });
    say(node, peer, (struct wire_message){ .kind = WIRE_SUGGEST, .piece = 77 });
    say(node, peer,
        (struct wire_message){ .kind = WIRE_SUGGEST, .piece = 100 }); /* there is none */
    (void)take_actions(node, TORRENT_SEND, WIRE_REQUEST, &asked);
    say(node, peer, (struct wire_message){ .kind = WIRE_UNCHOKE });
    assert_int_equal(take_actions(node, TORRENT_SEND, WIRE_REQUEST, &asked), PEER_ASKS_MIN);
    assert_int_equal(node->torrent.picker.state[77], PICKER_OPEN);
    world_done(&world);
}

/* Before it is known how many pieces there are, and how large. */
static void test_anything_before_the_metainfo(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 4, 4);
    struct node *node = node_start(&world, 0, false, NULL);
    const uint32_t peer = join_by_hand(node, world_address(9));
    const uint8_t bytes[4] = { 0 };
    for (int kind = WIRE_CHOKE; kind <= WIRE_EXTENDED; kind++)
        say(node, peer,
            (struct wire_message){ .kind = (enum wire_kind)kind,
                                   .length = BLOCK,
                                   .extended = EXTENSION_DONTHAVE,
                                   .payload = bytes_of(bytes, sizeof bytes) });
    assert_non_null(torrent_peer(&node->torrent, peer));
    world_done(&world);
}

static void test_allowed_while_choked(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 100, 4);
    struct node *node = node_start(&world, 0, true, "all");
    struct wire_message last = { 0 };
    /* Neighbours are granted nothing: all of a subnet would be granted the same. */
    (void)join_by_hand(node, world_address(9));
    assert_int_equal(take_actions(node, TORRENT_SEND, WIRE_ALLOWED_FAST, &last), 0);
    node_stop(&world, 0);
    node = node_start(&world, 0, true, "all");
    const uint32_t peer = join_by_hand(node, address_v4(80, 4, 4, 200, 6881));
    assert_int_equal(take_actions(node, TORRENT_SEND, WIRE_ALLOWED_FAST, &last), FAST_SET_SIZE);
    const struct wire_message granted = {
        .kind = WIRE_REQUEST,
        .piece = last.piece,
        .length = BLOCK,
    };
    say(node, peer, granted);
    assert_int_equal(take_actions(node, TORRENT_SEND_BLOCK, WIRE_PIECE, &last), 1);
    assert_int_equal(last.piece, granted.piece);
    /* Each block of them once, all in all. */
    for (uint32_t i = 1; i < 4 * FAST_SET_SIZE; i++)
        say(node, peer, granted);
    (void)take_actions(node, TORRENT_SEND, WIRE_REJECT, &last);
    say(node, peer, granted);
    assert_int_equal(take_actions(node, TORRENT_SEND, WIRE_REJECT, &last), 1);
    assert_int_equal(last.piece, granted.piece);
    world_done(&world);
}

/* Rows: one message from a peer that has said nothing yet, and whether it costs the connection. */
static const struct fault_row {
    const char *what;
    struct wire_message message;
    bool dropped;
} fault_rows[] = {
    { "a piece there is not", { .kind = WIRE_HAVE, .piece = 20 }, true },
    { "the last piece there is", { .kind = WIRE_HAVE, .piece = 19 }, false },
    { "a request beyond the last piece", { .kind = WIRE_REQUEST, .piece = 20, .length = 9 }, true },
    { "a request of nothing", { .kind = WIRE_REQUEST, .length = 0 }, true },
    { "a request of too much", { .kind = WIRE_REQUEST, .length = BLOCK + 1 }, true },
    { "a request across the end",
      { .kind = WIRE_REQUEST, .offset = 4 * BLOCK - 1, .length = 2 },
      true },
    { "a request that overflows",
      { .kind = WIRE_REQUEST, .offset = UINT32_MAX, .length = 2 },
      true },
    { "a request while choked", { .kind = WIRE_REQUEST, .length = BLOCK }, false },
    { "a cancel of nothing", { .kind = WIRE_CANCEL, .length = BLOCK }, false },
    { "one block nobody asked for", { .kind = WIRE_PIECE, .length = BLOCK }, false },
    { "a bitfield that is too short",
      { .kind = WIRE_BITFIELD, .payload = { (const uint8_t *)"\0", 1 } },
      true },
    { "a bitfield with spare bits",
      { .kind = WIRE_BITFIELD, .payload = { (const uint8_t *)"\0\0\1", 3 } },
      true },
    { "a bitfield",
      { .kind = WIRE_BITFIELD, .payload = { (const uint8_t *)"\1\0\x10", 3 } },
      false },
    { "an extension that makes no sense",
      { .kind = WIRE_EXTENDED, .payload = { (const uint8_t *)"x", 1 } },
      false },
    { "a message of a later day", { .kind = WIRE_UNKNOWN }, false },
    { "a reject of nothing", { .kind = WIRE_REJECT, .piece = 9999 }, false },
    { "allowed-fast of nothing", { .kind = WIRE_ALLOWED_FAST, .piece = UINT32_MAX }, false },
};

static void test_fault(void **state)
{
    const struct fault_row *row = *state;
    struct world world;
    world_init(&world, 20, 4);
    struct node *node = node_start(&world, 0, true, "##..................");
    const uint32_t peer = join_by_hand(node, world_address(9));
    assert_int_equal(torrent_message(&node->torrent, peer, &row->message, world.now_ms),
                     TORRENT_DONE);
    torrent_check(&node->torrent);
    assert_int_equal(torrent_peer(&node->torrent, peer) == NULL, row->dropped);
    world_drain(&world);
    world_done(&world);
}

/* Rows: one message over and over, all at once; and what is less than that is borne. */
static const struct flood_row {
    const char *what;
    struct wire_message message;
} flood_rows[] = {
    { "a flood of keepalives", { .kind = WIRE_KEEPALIVE } },
    { "a flood of a piece it has", { .kind = WIRE_HAVE, .piece = 3 } },
    { "a flood of requests while choked", { .kind = WIRE_REQUEST, .length = BLOCK } },
    { "a flood of cancels", { .kind = WIRE_CANCEL, .length = BLOCK } },
    { "a flood of rejects", { .kind = WIRE_REJECT, .length = BLOCK } },
    { "a flood of interest", { .kind = WIRE_INTERESTED } },
    { "a flood of chokes", { .kind = WIRE_CHOKE } },
    { "a flood of suggestions", { .kind = WIRE_SUGGEST, .piece = 1 } },
    { "a flood of allowed pieces", { .kind = WIRE_ALLOWED_FAST, .piece = 1 } },
    { "a flood of what it has as a whole", { .kind = WIRE_HAVE_ALL } },
    { "a flood of blocks nobody asked for", { .kind = WIRE_PIECE, .length = BLOCK } },
    { "a flood of messages of a later day", { .kind = WIRE_UNKNOWN } },
    { "a flood of extension messages",
      { .kind = WIRE_EXTENDED, .extended = 99, .payload = { (const uint8_t *)"de", 2 } } },
    { "a flood of extension handshakes",
      { .kind = WIRE_EXTENDED, .payload = { (const uint8_t *)"de", 2 } } },
};

static bool is_dropped(const struct flood_row *row, uint32_t count, uint64_t gap_ms)
{
    struct world world;
    world_init(&world, 20, 4);
    struct node *node = node_start(&world, 0, true, "##..................");
    const uint32_t peer = join_by_hand(node, world_address(9));
    const struct wire_message have = { .kind = WIRE_HAVE, .piece = 3 };
    (void)torrent_message(&node->torrent, peer, &have, world.now_ms);
    for (uint32_t i = 0; i < count; i++) {
        (void)torrent_message(&node->torrent, peer, &row->message, world.now_ms);
        world.now_ms += gap_ms;
        world_drain(&world);
    }
    const bool dropped = torrent_peer(&node->torrent, peer) == NULL;
    world_done(&world);
    return dropped;
}

static void test_flood(void **state)
{
    const struct flood_row *row = *state;
    assert_true(is_dropped(row, 2 * PEER_TALK_MAX, 0));
    /* Those that are counted by themselves cost the connection sooner. */
    const bool counted = row->message.kind == WIRE_HAVE_ALL || row->message.kind == WIRE_PIECE;
    if (!counted)
        assert_false(is_dropped(row, 2 * PEER_TALK_MAX, 1000 / PEER_TALK_PER_S + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suggestions_are_taken_up),
        cmocka_unit_test(test_allowed_while_choked),
        cmocka_unit_test(test_anything_before_the_metainfo),
    };

    return RUN_ROWS(fault_rows, test_fault) + RUN_ROWS(flood_rows, test_flood) +
           cmocka_run_group_tests_name("torrent_message", tests, NULL, NULL);
}
