/* Whole transfers among torrents: who gets what from whom, how soon, and what each is told. */
#include "libcommon/memory.h"
#include "tests/swarm/torrent_world.h"

#include <stdlib.h>

static void test_one_to_one(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 20, 4);
    node_start(&world, 0, true, "all");
    node_start(&world, 1, true, NULL);
    world_meet(&world, 1, 0);
    world_run(&world, 3000);
    assert_int_equal(world.nodes[1].completed, 1);
    assert_int_equal(torrent_have_bytes(&world.nodes[1].torrent), world.shape.total_size);
    assert_int_equal(world_stats(&world, 1).received_bytes, world.shape.total_size);
    assert_int_equal(world_stats(&world, 1).wasted_bytes, 0);
    assert_int_equal(world_stats(&world, 0).sent_bytes, world.shape.total_size);
    /* Both have everything: they part, and do not call each other again. */
    assert_int_equal(world_stats(&world, 0).peers, 0);
    world_run(&world, 60000);
    assert_int_equal(world.nodes[1].connects, 1);
    assert_int_equal(world.nodes[0].connects, 0);
    world_done(&world);
}

/* The simulator's: a block is as large as the shape says, in what is asked and what is given. */
static void test_larger_blocks(void **state)
{
    (void)state;
    struct world *world = xcalloc(1, sizeof *world);
    world_init(world, 10, 8);
    world->shape.block_size = 4 * BLOCK;
    node_start(world, 0, true, "all");
    node_start(world, 1, true, NULL);
    world_meet(world, 1, 0);
    world_run(world, 5000);
    assert_int_equal(world->nodes[1].completed, 1);
    assert_int_equal(world->requests, 20);
    world_done(world);
    free(world);
}

/* Who finished is remembered, and stays until it has read back what it wrote. */
static void test_the_origin_hears_how_it_went(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 20, 4);
    node_start(&world, 0, true, "all");
    struct node *one = node_start(&world, 1, true, NULL);
    struct node *other = node_start(&world, 2, true, NULL);
    one->torrent.options.host = "pc1";
    other->torrent.options.host = "pc2";
    torrent_tell(&other->torrent, &(struct torrent_facts){ .verify = true });
    world_meet(&world, 1, 0);
    world_run(&world, 5000);
    world_meet(&world, 2, 0);
    world_run(&world, 8000);
    const struct torrent *origin = &world.nodes[0].torrent;
    assert_int_equal(one->completed + other->completed, 2);
    assert_int_equal(origin->outcomes.count, 1);
    assert_string_equal(origin->outcomes.items[0].host, "pc1");
    assert_int_equal(origin->outcomes.items[0].sent_bytes, world.shape.total_size);
    assert_int_equal(origin->peers_count, 1);
    torrent_tell(&other->torrent, &(struct torrent_facts){ .verify = true, .verified = true });
    world_run(&world, 3000);
    assert_int_equal(origin->peers_count, 0);
    assert_int_equal(origin->outcomes.count, 2);
    assert_true(origin->outcomes.items[1].verified);
    assert_false(origin->outcomes.items[0].verified);
    world_done(&world);
}

/* It says that it has all before it says who it is; both sides know the port it listens on. */
static void test_a_seed_that_connects_is_remembered_by_its_name(void **state)
{
    (void)state;
    struct world world;
    const struct address wanted = world_address(1);
    world_init(&world, 20, 4);
    node_start(&world, 0, true, "all");
    node_start(&world, 1, true, "all")->torrent.options.host = "pc1";
    world.nodes[1].torrent.options.port = wanted.port;
    world_meet(&world, 1, 0);
    world_run(&world, 5000);
    const struct torrent *origin = &world.nodes[0].torrent;
    assert_int_equal(origin->peers_count, 0);
    assert_int_equal(origin->outcomes.count, 1);
    assert_string_equal(origin->outcomes.items[0].host, "pc1");
    assert_true(address_equal(&origin->outcomes.items[0].address, &wanted));
    world_done(&world);
}

static void test_by_magnet(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 20, 4);
    node_start(&world, 0, true, "all");
    node_start(&world, 1, false, NULL);
    node_start(&world, 2, false, NULL);
    world_meet(&world, 1, 0);
    world_meet(&world, 2, 1); /* who learns the metadata later, and tells it then */
    world_run(&world, 3000);
    assert_int_equal(world.nodes[1].completed, 1);
    assert_int_equal(world.nodes[2].completed, 1);
    world_done(&world);
}

/* Two want a part of it each: complete with these, they still serve; then both want all. */
static void test_what_is_selected_alone(void **state)
{
    (void)state;
    struct world world;
    uint8_t bits[1] = { 0xf0 };
    world_init(&world, 8, 4);
    node_start(&world, 0, true, "all");
    struct node *node = node_start(&world, 1, true, NULL);
    torrent_select(&node->torrent, bits, world.now_ms);
    world_meet(&world, 1, 0);
    world_run(&world, 3000);
    assert_int_equal(node->completed, 1);
    assert_true(node->torrent.complete);
    assert_int_equal(torrent_have_bytes(&node->torrent), 4 * world.shape.piece_size);
    assert_int_equal(world_stats(&world, 1).received_bytes, 4 * world.shape.piece_size);
    /* A partial seed serves what it has, and is no seed. */
    node_start(&world, 2, true, NULL);
    world_meet(&world, 2, 1);
    world_run(&world, 3000);
    assert_int_equal(torrent_have_bytes(&world.nodes[2].torrent), 4 * world.shape.piece_size);
    assert_int_equal(world_stats(&world, 2).seeds, 0);
    torrent_select(&node->torrent, NULL, world.now_ms);
    world_drain(&world);
    assert_false(node->torrent.complete);
    world_run(&world, 10000);
    assert_int_equal(node->completed, 2);
    assert_int_equal(world.nodes[2].completed, 1);
    assert_int_equal(world_stats(&world, 1).wasted_bytes, 0);
    world_done(&world);
}

static void test_partial_peers_complete_each_other(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 8, 2);
    node_start(&world, 0, true, "####....");
    node_start(&world, 1, true, "....####");
    world_meet(&world, 0, 1);
    world_run(&world, 3000);
    assert_int_equal(world.nodes[0].completed, 1);
    assert_int_equal(world.nodes[1].completed, 1);
    assert_int_equal(world_stats(&world, 0).wasted_bytes, 0);
    world_done(&world);
}

/* Who has all it wants is no seed by that: it gives what it has, and plans nothing. */
static void test_a_selection_is_no_plan(void **state)
{
    (void)state;
    struct world world;
    uint8_t first[1] = { 0xf0 };
    world_init(&world, 8, 2);
    node_start(&world, 0, true, "####....");
    torrent_select(&world.nodes[0].torrent, first, world.now_ms);
    assert_true(world.nodes[0].torrent.complete);
    node_start(&world, 1, true, "....#...");
    node_start(&world, 2, true, NULL);
    world_meet(&world, 1, 0);
    world_meet(&world, 2, 0);
    world_meet(&world, 2, 1);
    world_run(&world, 3000);
    assert_int_equal(world.nodes[1].torrent.picker.have, 5);
    assert_int_equal(world.nodes[2].torrent.picker.have, 5);
    node_start(&world, 3, true, "all");
    world_meet(&world, 1, 3);
    world_meet(&world, 2, 3);
    world_run(&world, 3000);
    assert_int_equal(world.nodes[1].completed, 1);
    assert_int_equal(world.nodes[2].completed, 1);
    world_done(&world);
}

/* Two seeds give the pieces to three others, and hardly any twice. */
static void test_two_seeds_share_the_work(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 100, 4);
    for (unsigned i = 0; i < 5; i++)
        node_start(&world, i, true, i < 2 ? "all" : NULL);
    for (unsigned i = 2; i < 5; i++)
        for (unsigned k = 0; k < i; k++)
            world_meet(&world, i, k);
    world_run(&world, 30000);
    for (unsigned i = 2; i < 5; i++)
        assert_int_equal(world.nodes[i].completed, 1);
    const uint64_t sent = world_stats(&world, 0).sent_bytes + world_stats(&world, 1).sent_bytes;
    assert_in_range(sent, world.shape.total_size, world.shape.total_size * 13 / 10);
    world_done(&world);
}

static void test_peers_are_told_of_each_other(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 8, 4);
    node_start(&world, 0, true, "....####");
    node_start(&world, 1, true, "####....");
    for (unsigned i = 2; i < 9; i++)
        node_start(&world, i, i % 2 == 0, NULL);
    /* Each knows the first alone, which has half of it. */
    for (unsigned i = 1; i < 9; i++)
        world_meet(&world, i, 0);
    node_stop(&world, 0);
    world_run(&world, 10000);
    for (unsigned i = 1; i < 9; i++)
        assert_int_equal(world.nodes[i].completed, 0);
    node_start(&world, 0, true, "....####");
    for (unsigned i = 1; i < 9; i++) {
        const struct address first = world_address(0);
        torrent_call_address(&world.nodes[i].torrent, &first, world.now_ms);
    }
    world_run(&world, 20000);
    for (unsigned i = 0; i < 9; i++)
        assert_int_equal(world.nodes[i].completed, 1);
    assert_true(world_stats(&world, 2).sent_bytes > 0 || world_stats(&world, 1).sent_bytes > 0);
    world_done(&world);
}

static bool all_out(const struct world *world, unsigned first, unsigned end)
{
    for (uint32_t piece = 0; piece < world->shape.pieces; piece++) {
        bool out = false;
        for (unsigned i = first; i < end; i++)
            out |= picker_has(&world->nodes[i].torrent.picker, piece);
        if (!out)
            return false;
    }
    return true;
}

static void test_origin_leaves(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 120, 32);
    node_start(&world, 0, true, "all");
    for (unsigned i = 1; i < 6; i++)
        node_start(&world, i, true, NULL);
    for (unsigned i = 1; i < 6; i++)
        for (unsigned k = 0; k < i; k++)
            world_meet(&world, i, k);
    for (int i = 0; i < 3000 && !all_out(&world, 1, 6); i++)
        world_run(&world, STEP_MS);
    node_stop(&world, 0);
    world_run(&world, 60000);
    for (unsigned i = 1; i < 6; i++)
        assert_int_equal(world.nodes[i].completed, 1);
    world_done(&world);
}

static void test_both_call_each_other(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 100, 16);
    node_start(&world, 0, true, "all");
    node_start(&world, 1, true, NULL);
    /* As if both calls crossed: neither knew of the other's when it was made. */
    const struct address to_1 = world_address(1);
    const struct address to_0 = world_address(0);
    torrent_add_address(&world.nodes[0].torrent, &to_1, false, world.now_ms);
    torrent_add_address(&world.nodes[1].torrent, &to_0, false, world.now_ms);
    world_drain(&world);
    world_run(&world, 50);
    assert_int_equal(world_stats(&world, 0).peers, 1);
    assert_int_equal(world_stats(&world, 1).peers, 1);
    world_run(&world, 3000);
    assert_int_equal(world.nodes[1].completed, 1);
    world_done(&world);
}

static void test_ourselves(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 4, 4);
    node_start(&world, 0, true, NULL);
    world_meet(&world, 0, 0);
    world_run(&world, 120000);
    assert_int_equal(world_stats(&world, 0).peers, 0);
    assert_in_range(world.nodes[0].connects, 1, 9);
    world_done(&world);
}

static void test_announces(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 4, 4);
    node_start(&world, 0, true, NULL);
    world_run(&world, 20000);
    /* At once, then after 2, 5 and 10 s. */
    assert_int_equal(world.nodes[0].announced, 4);
    node_start(&world, 1, true, "all");
    world_run(&world, 100000);
    assert_int_equal(world.nodes[1].announced, 1);
    world_done(&world);
}

static void test_interrupted_pause(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 40, 4);
    node_start(&world, 0, true, "all");
    node_start(&world, 1, true, NULL);
    torrent_pause(&world.nodes[1].torrent, true, world.now_ms);
    const struct address to_0 = world_address(0);
    torrent_call_address(&world.nodes[1].torrent, &to_0, world.now_ms);
    world_run(&world, 5000);
    assert_int_equal(torrent_have_bytes(&world.nodes[1].torrent), 0);
    torrent_pause(&world.nodes[1].torrent, false, world.now_ms);
    world_run(&world, 5000);
    assert_int_equal(world.nodes[1].completed, 1);
    world_done(&world);
}

/* A seed whose file lost a piece rejects it; the rest still comes from it, without delay. */
static void test_seed_that_lost_a_piece(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 20, 4);
    node_start(&world, 0, true, "all");
    node_start(&world, 1, true, NULL);
    world_meet(&world, 1, 0);
    torrent_lost(&world.nodes[0].torrent, 7, world.now_ms);
    world_run(&world, 2000);
    assert_int_equal(torrent_have_bytes(&world.nodes[1].torrent),
                     world.shape.total_size - 4 * BLOCK);
    node_start(&world, 2, true, "all");
    world_meet(&world, 1, 2);
    world_run(&world, 3000);
    assert_int_equal(world.nodes[1].completed, 1);
    world_done(&world);
}

static const struct peer *peer_at(const struct world *world, unsigned node, unsigned other)
{
    for (uint32_t i = 0; i < world->links_count; i++)
        for (unsigned end = 0; end < 2; end++)
            if (world->links[i].up && world->links[i].end[end].node == node &&
                world->links[i].end[1 - end].node == other)
                return torrent_peer(&world->nodes[node].torrent, world->links[i].end[end].peer);
    return NULL;
}

/* It says so (BEP 54), and nobody asks it in vain. */
static void test_lost_piece_is_told(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 20, 4);
    node_start(&world, 0, true, "all");
    node_start(&world, 1, true, NULL);
    world_meet(&world, 1, 0);
    torrent_pause(&world.nodes[1].torrent, true, world.now_ms);
    world_run(&world, 1000);
    assert_true(peer_has(peer_at(&world, 1, 0), 7));
    torrent_lost(&world.nodes[0].torrent, 7, world.now_ms);
    world_run(&world, 100);
    assert_false(peer_has(peer_at(&world, 1, 0), 7));
    assert_true(peer_has(peer_at(&world, 1, 0), 8));
    torrent_pause(&world.nodes[1].torrent, false, world.now_ms);
    world_run(&world, 2000);
    assert_int_equal(peer_at(&world, 1, 0)->rejected_ms, 0);
    assert_int_equal(torrent_have_bytes(&world.nodes[1].torrent),
                     world.shape.total_size - 4 * BLOCK);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_to_one),
        cmocka_unit_test(test_larger_blocks),
        cmocka_unit_test(test_the_origin_hears_how_it_went),
        cmocka_unit_test(test_a_seed_that_connects_is_remembered_by_its_name),
        cmocka_unit_test(test_by_magnet),
        cmocka_unit_test(test_what_is_selected_alone),
        cmocka_unit_test(test_partial_peers_complete_each_other),
        cmocka_unit_test(test_a_selection_is_no_plan),
        cmocka_unit_test(test_two_seeds_share_the_work),
        cmocka_unit_test(test_peers_are_told_of_each_other),
        cmocka_unit_test(test_origin_leaves),
        cmocka_unit_test(test_both_call_each_other),
        cmocka_unit_test(test_ourselves),
        cmocka_unit_test(test_announces),
        cmocka_unit_test(test_interrupted_pause),
        cmocka_unit_test(test_seed_that_lost_a_piece),
        cmocka_unit_test(test_lost_piece_is_told),
    };

    return cmocka_run_group_tests_name("torrent", tests, NULL, NULL);
}
