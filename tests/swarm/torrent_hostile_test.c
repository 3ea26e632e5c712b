/* Whole transfers among peers that poison, flood, or say nothing. */
#include "tests/swarm/torrent_world.h"

#include <string.h>

static void test_poisoner_is_banned(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 30, 4);
    node_start(&world, 0, true, "all");
    node_start(&world, 1, true, "all")->poisons = true;
    node_start(&world, 2, true, "all");
    node_start(&world, 3, true, NULL);
    for (unsigned i = 0; i < 3; i++)
        world_meet(&world, 3, i);
    world_run(&world, 60000);
    assert_int_equal(world.nodes[3].completed, 1);
    assert_int_equal(world_stats(&world, 3).banned, 1);
    const struct address bad = world_address(1);
    const struct address good = world_address(0);
    assert_true(candidates_is_banned(&world.nodes[3].torrent.candidates, &bad, NULL));
    assert_false(candidates_is_banned(&world.nodes[3].torrent.candidates, &good, NULL));
    world_done(&world);
}

/* Without digests each of the senders must show a piece of its own. */
static void test_poisoner_is_banned_without_digests(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 30, 4);
    for (unsigned i = 0; i < 3; i++)
        node_start(&world, i, true, "all")->poisons = i == 1;
    node_start(&world, 3, true, NULL)->blind = true;
    for (unsigned i = 0; i < 3; i++)
        world_meet(&world, 3, i);
    world_run(&world, 60000);
    assert_int_equal(world.nodes[3].completed, 1);
    assert_int_equal(world_stats(&world, 3).banned, 1);
    world_done(&world);
}

/*
 * Rows: one fetches from twenty that have everything, some of them poisoners. Pieces of 64 blocks,
 * so that each is put together from several peers.
 */
static const struct poison_row {
    const char *what;
    uint32_t pieces;
    uint32_t blocks;
    unsigned poisoners;
    uint32_t bad_pieces_max; /* when the last of them was banned */
} poison_rows[] = {
    { "one poisoner of twenty, pieces of 1 MiB", 60, 64, 1, 2 },
    { "one poisoner of twenty, pieces of 256 KiB", 240, 16, 1, 2 },
    { "one poisoner of twenty, pieces of 64 KiB", 960, 4, 1, 2 },
    { "one poisoner of twenty, pieces of 32 KiB", 1920, 2, 1, 2 },
    { "three poisoners of twenty", 60, 64, 3, 6 },
    { "nineteen poisoners of twenty", 60, 64, 19, 38 },
};

static void test_poison(void **state)
{
    const struct poison_row *row = *state;
    struct world world;
    world_init(&world, row->pieces, row->blocks);
    for (unsigned i = 0; i < 20; i++)
        node_start(&world, i, true, "all")->poisons = i < row->poisoners;
    node_start(&world, 20, true, NULL);
    for (unsigned i = 0; i < 20; i++)
        world_meet(&world, 20, 19 - i);
    world_run(&world, 120000);
    const struct torrent_stats stats = world_stats(&world, 20);
    assert_int_equal(world.nodes[20].completed, 1);
    assert_int_equal(stats.banned, row->poisoners);
    assert_in_range(world.nodes[20].bad_at_ban, 1, row->bad_pieces_max);
    for (unsigned i = 0; i < 20; i++) {
        const struct address address = world_address(i);
        assert_int_equal(candidates_is_banned(&world.nodes[20].torrent.candidates, &address, NULL),
                         i < row->poisoners);
    }
    world_done(&world);
}

static void test_three_poisoners_beside_one_honest(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 30, 4);
    for (unsigned i = 0; i < 4; i++)
        node_start(&world, i, true, "all")->poisons = i > 0;
    node_start(&world, 4, true, NULL);
    for (unsigned i = 0; i < 4; i++)
        world_meet(&world, 4, i);
    world_run(&world, 60000);
    assert_int_equal(world.nodes[4].completed, 1);
    assert_int_equal(world_stats(&world, 4).banned, 3);
    world_done(&world);
}

static void test_flooders_beside_one_honest(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 30, 16);
    for (unsigned i = 0; i < 4; i++)
        node_start(&world, i, true, "all")->floods = i > 0;
    node_start(&world, 4, true, NULL);
    for (unsigned i = 0; i < 4; i++)
        world_meet(&world, 4, i);
    world_run(&world, 60000);
    assert_int_equal(world.nodes[4].completed, 1);
    world_done(&world);
}

static void test_mute_peer_holds_nothing_up(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 30, 4);
    node_start(&world, 0, true, "all")->mute = true;
    node_start(&world, 1, true, "all");
    node_start(&world, 2, true, NULL);
    world_meet(&world, 2, 0);
    world_run(&world, 1000);
    world_meet(&world, 2, 1);
    world_run(&world, 30000);
    assert_int_equal(world.nodes[2].completed, 1);
    assert_true(world.nodes[2].done_ms < 1000000 + 5000);
    world_done(&world);
}

/* Each takes over from the other in the end game, until a block is asked for often enough. */
static void test_mute_peers_do_not_lock_the_end(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 4, 4);
    for (unsigned i = 0; i < 5; i++)
        node_start(&world, i, true, "all")->mute = i < 4;
    node_start(&world, 5, true, NULL);
    for (unsigned i = 0; i < 4; i++)
        world_meet(&world, 5, i);
    world_run(&world, 1000);
    world_meet(&world, 5, 4);
    world_run(&world, 30000);
    assert_int_equal(world.nodes[5].completed, 1);
    assert_true(world.nodes[5].done_ms < 1000000 + PEER_SNUB_NEW_MS + 3000);
    world_done(&world);
}

static void test_mute_peer_alone_is_left(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 30, 4);
    node_start(&world, 0, true, "all")->mute = true;
    node_start(&world, 1, true, NULL);
    world_meet(&world, 1, 0);
    world_run(&world, PEER_SNUB_MS + 2000);
    assert_int_equal(world_stats(&world, 1).peers, 1);
    world_run(&world, PEER_BLOCK_MS + 2000);
    assert_int_equal(world.nodes[1].connects, 2);
    world_done(&world);
}

/* Sockets that say hello and nothing more do not keep others out. */
static void test_silent_peers_make_room(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 20, 4);
    struct node *node = node_start(&world, 0, true, "all");
    for (uint32_t i = 0; i < 100; i++) {
        struct wire_handshake hello = { .fast = true };
        memcpy(hello.peer_id, &i, sizeof i);
        const struct torrent_hello join = { .address = address_v4(10, 9, 9, (uint8_t)(i + 1), 99),
                                            .handshake = &hello };
        uint32_t peer = 0;
        assert_int_equal(torrent_join(&node->torrent, &join, world.now_ms, &peer), LB_OK);
    }
    world_drain(&world);
    node_start(&world, 1, true, NULL);
    world_meet(&world, 1, 0);
    world_run(&world, 1000);
    assert_int_equal(world.nodes[1].completed, 0);
    world_run(&world, 6000);
    assert_int_equal(world.nodes[1].completed, 1);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poisoner_is_banned),
        cmocka_unit_test(test_poisoner_is_banned_without_digests),
        cmocka_unit_test(test_three_poisoners_beside_one_honest),
        cmocka_unit_test(test_flooders_beside_one_honest),
        cmocka_unit_test(test_mute_peer_holds_nothing_up),
        cmocka_unit_test(test_mute_peers_do_not_lock_the_end),
        cmocka_unit_test(test_mute_peer_alone_is_left),
        cmocka_unit_test(test_silent_peers_make_room),
    };

    return RUN_ROWS(poison_rows, test_poison) +
           cmocka_run_group_tests_name("torrent_hostile", tests, NULL, NULL);
}
