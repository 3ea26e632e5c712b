/*
 * Whole torrents, joined by an in-memory wire with a virtual clock: every message takes one step of
 * 10 ms. A piece of content is a number; blocks carry whether their sender spoilt them.
 */
#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/torrent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NODES_MAX 24
#define LINKS_MAX 1024
#define STEP_MS   10u
#define BLOCK     PICKER_BLOCK_SIZE

/* One message under way. */
struct parcel {
    struct parcel *next;
    uint64_t due_ms;
    uint32_t link;
    unsigned to; /* 0 or 1: which end of the link */
    struct wire_message message;
    bool spoilt;
    bool hangup;
    uint8_t payload[];
};

struct node {
    struct world *world;
    unsigned index;
    struct random random;
    struct torrent torrent;
    bool running;
    bool poisons; /* its blocks are bad */
    bool mute;    /* takes requests and answers none */
    bool floods;  /* sends a block nobody asked for with each message */
    bool *spoilt; /* of each block: a bad one came */
    bool blind;   /* its disk gives no digests */
    uint32_t banned;
    uint32_t bad_at_ban; /* pieces that had failed when it banned somebody last */
    uint32_t completed;
    uint32_t announced;
    uint32_t connects;
    uint64_t done_ms;
};

struct link {
    bool up;
    struct {
        unsigned node;
        uint32_t peer;
    } end[2];
};

struct world {
    uint64_t now_ms;
    uint8_t info[20000]; /* more than one part of metadata */
    uint8_t infohash[20];
    struct picker_shape shape;
    struct node nodes[NODES_MAX];
    struct link links[LINKS_MAX];
    uint32_t links_count;
    struct parcel *first;
    struct parcel **last;
    uint64_t requests; /* sent, all together */
};

static struct address address_of(unsigned node)
{
    return address_v4(10, 0, 0, (uint8_t)(node + 1), 6881);
}

static void world_init(struct world *world, uint32_t pieces, uint32_t blocks)
{
    memset(world, 0, sizeof *world);
    world->now_ms = 1000000;
    world->shape = (struct picker_shape){ pieces, blocks * BLOCK,
                                          (uint64_t)pieces * blocks * BLOCK - 1000, 0, NULL };
    for (size_t i = 0; i < sizeof world->info; i++)
        world->info[i] = (uint8_t)(i * 7);
    sha1(bytes_of(world->info, sizeof world->info), world->infohash);
    world->last = &world->first;
}

/* Of a piece; the last one has as many. */
static uint32_t blocks_of(const struct world *world)
{
    return world->shape.piece_size / BLOCK;
}

static struct node *node_start(struct world *world, unsigned index, bool knows, const char *have)
{
    struct node *node = &world->nodes[index];
    struct torrent_options options = {
        .port = 6881,
        .peers_max = 100,
        .peers_wanted = 80,
        .upload_slots = 4,
        .announce_interval_ms = 600000,
        .version = "test",
    };
    *node = (struct node){ .world = world, .index = index, .running = true };
    random_init(&node->random, index + 1);
    memcpy(options.infohash, world->infohash, 20);
    memset(options.peer_id, 'A' + (int)index, 20);
    node->spoilt = xcalloc((size_t)world->shape.pieces * blocks_of(world), sizeof *node->spoilt);
    torrent_init(&node->torrent, &options, &node->random, world->now_ms);
    if (!knows)
        return node;
    uint8_t bits[512] = { 0 };
    for (uint32_t i = 0; have != NULL && have[i] != '\0'; i++)
        if (have[i] == '#')
            bitfield_set(bits, i);
    if (have != NULL && strcmp(have, "all") == 0)
        bitfield_set_all(bits, world->shape.pieces);
    torrent_begin(&node->torrent, bytes_of(world->info, sizeof world->info), world->shape, bits,
                  world->now_ms);
    return node;
}

static void post(struct world *world, uint32_t link, unsigned to,
                 const struct wire_message *message, bool spoilt, bool hangup)
{
    struct parcel *parcel = xcalloc(1, sizeof *parcel + message->payload.size);
    parcel->due_ms = world->now_ms + STEP_MS;
    parcel->link = link;
    parcel->to = to;
    parcel->message = *message;
    parcel->spoilt = spoilt;
    parcel->hangup = hangup;
    if (message->payload.size > 0) {
        memcpy(parcel->payload, message->payload.data, message->payload.size);
        parcel->message.payload.data = parcel->payload;
    }
    *world->last = parcel;
    world->last = &parcel->next;
}

static uint32_t link_of(const struct world *world, unsigned node, uint32_t peer, unsigned *ret_end)
{
    for (uint32_t i = 0; i < world->links_count; i++)
        for (unsigned end = 0; end < 2; end++)
            if (world->links[i].up && world->links[i].end[end].node == node &&
                world->links[i].end[end].peer == peer) {
                *ret_end = end;
                return i;
            }
    return UINT32_MAX;
}

static void hang_up(struct world *world, uint32_t link)
{
    if (link == UINT32_MAX || !world->links[link].up)
        return;
    world->links[link].up = false;
    for (unsigned end = 0; end < 2; end++) {
        struct node *node = &world->nodes[world->links[link].end[end].node];
        if (node->running)
            torrent_left(&node->torrent, world->links[link].end[end].peer, world->now_ms);
    }
}

static void connect_to(struct world *world, unsigned from, const struct address *address)
{
    const unsigned to = address->ip[15] - 1u;
    struct node *a = &world->nodes[from];
    struct node *b = to < NODES_MAX ? &world->nodes[to] : NULL;
    a->connects++;
    if (b == NULL || !b->running) {
        torrent_connect_failed(&a->torrent, address, world->now_ms);
        return;
    }
    struct wire_handshake hello_a = { .fast = true, .extended = true };
    struct wire_handshake hello_b = hello_a;
    memset(hello_a.peer_id, 'A' + (int)from, 20);
    memset(hello_b.peer_id, 'A' + (int)to, 20);
    struct address back = address_of(from);
    back.port = (uint16_t)(50000 + world->links_count);
    const struct torrent_hello in = { .address = back, .handshake = &hello_a };
    const struct torrent_hello out = { .address = *address,
                                       .outgoing = true,
                                       .handshake = &hello_b };
    assert_true(world->links_count < LINKS_MAX);
    struct link *link = &world->links[world->links_count];
    link->end[0].node = from;
    link->end[1].node = to;
    if (torrent_join(&b->torrent, &in, world->now_ms, &link->end[1].peer) != LB_OK) {
        torrent_connect_failed(&a->torrent, address, world->now_ms);
        return;
    }
    if (torrent_join(&a->torrent, &out, world->now_ms, &link->end[0].peer) != LB_OK) {
        torrent_left(&b->torrent, link->end[1].peer, world->now_ms);
        return;
    }
    link->up = true;
    world->links_count++;
}

/* As the disk does: digests after a failure, and else when they are wanted. */
static void verify(struct node *node, uint32_t piece)
{
    const uint32_t blocks = blocks_of(node->world);
    bool *spoilt = node->spoilt + piece * blocks;
    uint8_t digests[64 * SUSPECTS_DIGEST_SIZE] = { 0 };
    bool bad = false;
    assert_true(blocks <= 64);
    for (uint32_t i = 0; i < blocks; i++) {
        digests[i * SUSPECTS_DIGEST_SIZE] = spoilt[i];
        bad |= spoilt[i];
        spoilt[i] = false;
    }
    const bool told = !node->blind && (bad || torrent_wants_digests(&node->torrent, piece));
    torrent_judged(&node->torrent, piece, bad ? LB_CORRUPT : LB_OK, told ? digests : NULL,
                   node->world->now_ms);
    if (node->torrent.stats.banned > node->banned) {
        node->banned = node->torrent.stats.banned;
        node->bad_at_ban = node->torrent.stats.bad_pieces;
    }
}

static void perform(struct node *node, const struct torrent_action *action)
{
    struct world *world = node->world;
    unsigned end = 0;
    uint32_t link = UINT32_MAX;
    switch (action->kind) {
    case TORRENT_SEND:
        world->requests += action->message.kind == WIRE_REQUEST;
        link = link_of(world, node->index, action->peer, &end);
        if (link != UINT32_MAX)
            post(world, link, 1 - end, &action->message, false, false);
        if (link != UINT32_MAX && node->floods) {
            const struct wire_message junk = { .kind = WIRE_PIECE, .length = BLOCK };
            post(world, link, 1 - end, &junk, true, false);
        }
        break;
    case TORRENT_SEND_BLOCK:
        if (node->mute)
            break;
        link = link_of(world, node->index, action->peer, &end);
        if (link != UINT32_MAX)
            post(world, link, 1 - end, &action->message, node->poisons, false);
        torrent_sent(&node->torrent, action->peer, &action->message, true, world->now_ms);
        break;
    case TORRENT_CONNECT:
        connect_to(world, node->index, &action->address);
        break;
    case TORRENT_DISCONNECT:
        /* What was sent before still arrives. */
        link = link_of(world, node->index, action->peer, &end);
        if (link != UINT32_MAX)
            post(world, link, 1 - end, &action->message, false, true);
        break;
    case TORRENT_VERIFY:
        verify(node, action->message.piece);
        break;
    case TORRENT_FORGET:
        memset(node->spoilt + action->message.piece * blocks_of(world), 0, blocks_of(world));
        break;
    case TORRENT_METADATA:
        assert_int_equal(action->message.payload.size, sizeof world->info);
        assert_memory_equal(action->message.payload.data, world->info, sizeof world->info);
        torrent_begin(&node->torrent, bytes_of(world->info, sizeof world->info), world->shape, NULL,
                      world->now_ms);
        break;
    case TORRENT_LAYERS:
    case TORRENT_GIVE_HASHES:
        break; /* nothing here is of v2 */
    case TORRENT_COMPLETE:
        node->completed++;
        node->done_ms = world->now_ms;
        break;
    case TORRENT_ANNOUNCE:
        node->announced++;
        torrent_announced(&node->torrent, 3, world->now_ms);
        break;
    }
}

static void drain(struct world *world)
{
    bool busy = true;
    while (busy) {
        busy = false;
        for (unsigned i = 0; i < NODES_MAX; i++) {
            struct torrent_action action;
            while (world->nodes[i].running &&
                   torrent_next(&world->nodes[i].torrent, world->now_ms, &action)) {
                busy = true;
                perform(&world->nodes[i], &action);
            }
        }
    }
}

static void deliver(struct world *world, struct parcel *parcel)
{
    const struct link *link = &world->links[parcel->link];
    struct node *node = &world->nodes[link->end[parcel->to].node];
    if (!link->up || !node->running)
        return;
    if (parcel->hangup) {
        hang_up(world, parcel->link);
        return;
    }
    if (torrent_message(&node->torrent, link->end[parcel->to].peer, &parcel->message,
                        world->now_ms) == TORRENT_TAKE &&
        parcel->spoilt)
        node->spoilt[parcel->message.piece * blocks_of(world) + parcel->message.offset / BLOCK] =
            true;
}

static void run(struct world *world, uint64_t ms)
{
    const uint64_t end = world->now_ms + ms;
    while (world->now_ms < end) {
        world->now_ms += STEP_MS;
        while (world->first != NULL && world->first->due_ms <= world->now_ms) {
            struct parcel *parcel = world->first;
            world->first = parcel->next;
            if (world->first == NULL)
                world->last = &world->first;
            deliver(world, parcel);
            free(parcel);
        }
        for (unsigned i = 0; i < NODES_MAX; i++)
            if (world->nodes[i].running &&
                world->now_ms >= torrent_deadline_ms(&world->nodes[i].torrent))
                torrent_turn(&world->nodes[i].torrent, world->now_ms);
        drain(world);
    }
    for (unsigned i = 0; i < NODES_MAX; i++)
        if (world->nodes[i].running)
            torrent_check(&world->nodes[i].torrent);
}

static void node_stop(struct world *world, unsigned index)
{
    struct node *node = &world->nodes[index];
    for (uint32_t i = 0; i < world->links_count; i++)
        if (world->links[i].up &&
            (world->links[i].end[0].node == index || world->links[i].end[1].node == index))
            hang_up(world, i);
    node->running = false;
    torrent_done(&node->torrent);
    free(node->spoilt);
    node->spoilt = NULL;
}

static void world_done(struct world *world)
{
    for (unsigned i = 0; i < NODES_MAX; i++)
        if (world->nodes[i].running)
            node_stop(world, i);
    while (world->first != NULL) {
        struct parcel *parcel = world->first;
        world->first = parcel->next;
        free(parcel);
    }
}

static void meet(struct world *world, unsigned who, unsigned whom)
{
    const struct address address = address_of(whom);
    torrent_add_address(&world->nodes[who].torrent, &address, false, world->now_ms);
    drain(world);
}

static struct torrent_stats stats_of(const struct world *world, unsigned index)
{
    struct torrent_stats stats;
    torrent_get_stats(&world->nodes[index].torrent, &stats);
    return stats;
}

/* ---- the tests ---- */

static void test_one_to_one(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 20, 4);
    node_start(&world, 0, true, "all");
    node_start(&world, 1, true, NULL);
    meet(&world, 1, 0);
    run(&world, 3000);
    assert_int_equal(world.nodes[1].completed, 1);
    assert_int_equal(torrent_have_bytes(&world.nodes[1].torrent), world.shape.total_size);
    assert_int_equal(stats_of(&world, 1).received_bytes, world.shape.total_size);
    assert_int_equal(stats_of(&world, 1).wasted_bytes, 0);
    assert_int_equal(stats_of(&world, 0).sent_bytes, world.shape.total_size);
    /* Both have everything: they part, and do not call each other again. */
    assert_int_equal(stats_of(&world, 0).peers, 0);
    run(&world, 60000);
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
    meet(world, 1, 0);
    run(world, 5000);
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
    meet(&world, 1, 0);
    run(&world, 5000);
    meet(&world, 2, 0);
    run(&world, 8000);
    const struct torrent *origin = &world.nodes[0].torrent;
    assert_int_equal(one->completed + other->completed, 2);
    assert_int_equal(origin->outcomes.count, 1);
    assert_string_equal(origin->outcomes.items[0].host, "pc1");
    assert_int_equal(origin->outcomes.items[0].sent_bytes, world.shape.total_size);
    assert_int_equal(origin->peers_count, 1);
    torrent_tell(&other->torrent, &(struct torrent_facts){ .verify = true, .verified = true });
    run(&world, 3000);
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
    const struct address wanted = address_of(1);
    world_init(&world, 20, 4);
    node_start(&world, 0, true, "all");
    node_start(&world, 1, true, "all")->torrent.options.host = "pc1";
    world.nodes[1].torrent.options.port = wanted.port;
    meet(&world, 1, 0);
    run(&world, 5000);
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
    meet(&world, 1, 0);
    meet(&world, 2, 1); /* who learns the metadata later, and tells it then */
    run(&world, 3000);
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
    meet(&world, 1, 0);
    run(&world, 3000);
    assert_int_equal(node->completed, 1);
    assert_true(node->torrent.complete);
    assert_int_equal(torrent_have_bytes(&node->torrent), 4 * world.shape.piece_size);
    assert_int_equal(stats_of(&world, 1).received_bytes, 4 * world.shape.piece_size);
    /* A partial seed serves what it has, and is no seed. */
    node_start(&world, 2, true, NULL);
    meet(&world, 2, 1);
    run(&world, 3000);
    assert_int_equal(torrent_have_bytes(&world.nodes[2].torrent), 4 * world.shape.piece_size);
    assert_int_equal(stats_of(&world, 2).seeds, 0);
    torrent_select(&node->torrent, NULL, world.now_ms);
    drain(&world);
    assert_false(node->torrent.complete);
    run(&world, 10000);
    assert_int_equal(node->completed, 2);
    assert_int_equal(world.nodes[2].completed, 1);
    assert_int_equal(stats_of(&world, 1).wasted_bytes, 0);
    world_done(&world);
}

static void test_partial_peers_complete_each_other(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 8, 2);
    node_start(&world, 0, true, "####....");
    node_start(&world, 1, true, "....####");
    meet(&world, 0, 1);
    run(&world, 3000);
    assert_int_equal(world.nodes[0].completed, 1);
    assert_int_equal(world.nodes[1].completed, 1);
    assert_int_equal(stats_of(&world, 0).wasted_bytes, 0);
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
    meet(&world, 1, 0);
    meet(&world, 2, 0);
    meet(&world, 2, 1);
    run(&world, 3000);
    assert_int_equal(world.nodes[1].torrent.picker.have, 5);
    assert_int_equal(world.nodes[2].torrent.picker.have, 5);
    node_start(&world, 3, true, "all");
    meet(&world, 1, 3);
    meet(&world, 2, 3);
    run(&world, 3000);
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
            meet(&world, i, k);
    run(&world, 30000);
    for (unsigned i = 2; i < 5; i++)
        assert_int_equal(world.nodes[i].completed, 1);
    const uint64_t sent = stats_of(&world, 0).sent_bytes + stats_of(&world, 1).sent_bytes;
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
        meet(&world, i, 0);
    node_stop(&world, 0);
    run(&world, 10000);
    for (unsigned i = 1; i < 9; i++)
        assert_int_equal(world.nodes[i].completed, 0);
    node_start(&world, 0, true, "....####");
    for (unsigned i = 1; i < 9; i++) {
        const struct address first = address_of(0);
        torrent_call_address(&world.nodes[i].torrent, &first, world.now_ms);
    }
    run(&world, 20000);
    for (unsigned i = 0; i < 9; i++)
        assert_int_equal(world.nodes[i].completed, 1);
    assert_true(stats_of(&world, 2).sent_bytes > 0 || stats_of(&world, 1).sent_bytes > 0);
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
            meet(&world, i, k);
    for (int i = 0; i < 3000 && !all_out(&world, 1, 6); i++)
        run(&world, STEP_MS);
    node_stop(&world, 0);
    run(&world, 60000);
    for (unsigned i = 1; i < 6; i++)
        assert_int_equal(world.nodes[i].completed, 1);
    world_done(&world);
}

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
        meet(&world, 3, i);
    run(&world, 60000);
    assert_int_equal(world.nodes[3].completed, 1);
    assert_int_equal(stats_of(&world, 3).banned, 1);
    const struct address bad = address_of(1);
    const struct address good = address_of(0);
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
        meet(&world, 3, i);
    run(&world, 60000);
    assert_int_equal(world.nodes[3].completed, 1);
    assert_int_equal(stats_of(&world, 3).banned, 1);
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
        meet(&world, 20, 19 - i);
    run(&world, 120000);
    const struct torrent_stats stats = stats_of(&world, 20);
    assert_int_equal(world.nodes[20].completed, 1);
    assert_int_equal(stats.banned, row->poisoners);
    assert_in_range(world.nodes[20].bad_at_ban, 1, row->bad_pieces_max);
    for (unsigned i = 0; i < 20; i++) {
        const struct address address = address_of(i);
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
        meet(&world, 4, i);
    run(&world, 60000);
    assert_int_equal(world.nodes[4].completed, 1);
    assert_int_equal(stats_of(&world, 4).banned, 3);
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
        meet(&world, 4, i);
    run(&world, 60000);
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
    meet(&world, 2, 0);
    run(&world, 1000);
    meet(&world, 2, 1);
    run(&world, 30000);
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
        meet(&world, 5, i);
    run(&world, 1000);
    meet(&world, 5, 4);
    run(&world, 30000);
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
    meet(&world, 1, 0);
    run(&world, PEER_SNUB_MS + 2000);
    assert_int_equal(stats_of(&world, 1).peers, 1);
    run(&world, PEER_BLOCK_MS + 2000);
    assert_int_equal(world.nodes[1].connects, 2);
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
    const struct address to_1 = address_of(1);
    const struct address to_0 = address_of(0);
    torrent_add_address(&world.nodes[0].torrent, &to_1, false, world.now_ms);
    torrent_add_address(&world.nodes[1].torrent, &to_0, false, world.now_ms);
    drain(&world);
    run(&world, 50);
    assert_int_equal(stats_of(&world, 0).peers, 1);
    assert_int_equal(stats_of(&world, 1).peers, 1);
    run(&world, 3000);
    assert_int_equal(world.nodes[1].completed, 1);
    world_done(&world);
}

static void test_ourselves(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 4, 4);
    node_start(&world, 0, true, NULL);
    meet(&world, 0, 0);
    run(&world, 120000);
    assert_int_equal(stats_of(&world, 0).peers, 0);
    assert_in_range(world.nodes[0].connects, 1, 9);
    world_done(&world);
}

static void test_announces(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 4, 4);
    node_start(&world, 0, true, NULL);
    run(&world, 20000);
    /* At once, then after 2, 5 and 10 s. */
    assert_int_equal(world.nodes[0].announced, 4);
    node_start(&world, 1, true, "all");
    run(&world, 100000);
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
    const struct address to_0 = address_of(0);
    torrent_call_address(&world.nodes[1].torrent, &to_0, world.now_ms);
    run(&world, 5000);
    assert_int_equal(torrent_have_bytes(&world.nodes[1].torrent), 0);
    torrent_pause(&world.nodes[1].torrent, false, world.now_ms);
    run(&world, 5000);
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
    meet(&world, 1, 0);
    torrent_lost(&world.nodes[0].torrent, 7, world.now_ms);
    run(&world, 2000);
    assert_int_equal(torrent_have_bytes(&world.nodes[1].torrent),
                     world.shape.total_size - 4 * BLOCK);
    node_start(&world, 2, true, "all");
    meet(&world, 1, 2);
    run(&world, 3000);
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
    meet(&world, 1, 0);
    torrent_pause(&world.nodes[1].torrent, true, world.now_ms);
    run(&world, 1000);
    assert_true(peer_has(peer_at(&world, 1, 0), 7));
    torrent_lost(&world.nodes[0].torrent, 7, world.now_ms);
    run(&world, 100);
    assert_false(peer_has(peer_at(&world, 1, 0), 7));
    assert_true(peer_has(peer_at(&world, 1, 0), 8));
    torrent_pause(&world.nodes[1].torrent, false, world.now_ms);
    run(&world, 2000);
    assert_int_equal(peer_at(&world, 1, 0)->rejected_ms, 0);
    assert_int_equal(torrent_have_bytes(&world.nodes[1].torrent),
                     world.shape.total_size - 4 * BLOCK);
    world_done(&world);
}

/* A peer of the test's own; what the torrent does is looked at by hand. */
static uint32_t join_by_hand(struct node *node, struct address address, bool fast)
{
    struct wire_handshake hello = { .fast = fast, .extended = true, .peer_id = "Z" };
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
    const uint32_t peer = join_by_hand(node, address_of(9), true);
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
    const uint32_t peer = join_by_hand(node, address_of(9), true);
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
    (void)join_by_hand(node, address_of(9), true);
    assert_int_equal(take_actions(node, TORRENT_SEND, WIRE_ALLOWED_FAST, &last), 0);
    node_stop(&world, 0);
    node = node_start(&world, 0, true, "all");
    const uint32_t peer = join_by_hand(node, address_v4(80, 4, 4, 200, 6881), true);
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
    drain(&world);
    node_start(&world, 1, true, NULL);
    meet(&world, 1, 0);
    run(&world, 1000);
    assert_int_equal(world.nodes[1].completed, 0);
    run(&world, 6000);
    assert_int_equal(world.nodes[1].completed, 1);
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
    struct wire_handshake hello = { .fast = true, .extended = true, .peer_id = "Z" };
    const struct torrent_hello join = { .address = address_of(9), .handshake = &hello };
    uint32_t peer = 0;
    assert_int_equal(torrent_join(&node->torrent, &join, world.now_ms, &peer), LB_OK);
    assert_int_equal(torrent_message(&node->torrent, peer, &row->message, world.now_ms),
                     TORRENT_DONE);
    torrent_check(&node->torrent);
    assert_int_equal(torrent_peer(&node->torrent, peer) == NULL, row->dropped);
    drain(&world);
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
    struct wire_handshake hello = { .fast = true, .extended = true, .peer_id = "Z" };
    const struct torrent_hello join = { .address = address_of(9), .handshake = &hello };
    const struct wire_message have = { .kind = WIRE_HAVE, .piece = 3 };
    uint32_t peer = 0;
    assert_int_equal(torrent_join(&node->torrent, &join, world.now_ms, &peer), LB_OK);
    (void)torrent_message(&node->torrent, peer, &have, world.now_ms);
    for (uint32_t i = 0; i < count; i++) {
        (void)torrent_message(&node->torrent, peer, &row->message, world.now_ms);
        world.now_ms += gap_ms;
        drain(&world);
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
    enum { ROWS = sizeof fault_rows / sizeof fault_rows[0] };
    enum { POISONS = sizeof poison_rows / sizeof poison_rows[0] };
    const struct CMUnitTest others[] = {
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
        cmocka_unit_test(test_poisoner_is_banned),
        cmocka_unit_test(test_poisoner_is_banned_without_digests),
        cmocka_unit_test(test_three_poisoners_beside_one_honest),
        cmocka_unit_test(test_flooders_beside_one_honest),
        cmocka_unit_test(test_mute_peer_holds_nothing_up),
        cmocka_unit_test(test_mute_peers_do_not_lock_the_end),
        cmocka_unit_test(test_mute_peer_alone_is_left),
        cmocka_unit_test(test_both_call_each_other),
        cmocka_unit_test(test_ourselves),
        cmocka_unit_test(test_announces),
        cmocka_unit_test(test_interrupted_pause),
        cmocka_unit_test(test_seed_that_lost_a_piece),
        cmocka_unit_test(test_lost_piece_is_told),
        cmocka_unit_test(test_suggestions_are_taken_up),
        cmocka_unit_test(test_allowed_while_choked),
        cmocka_unit_test(test_anything_before_the_metainfo),
        cmocka_unit_test(test_silent_peers_make_room),
    };
    enum { OTHERS = sizeof others / sizeof others[0] };
    enum { FLOODS = sizeof flood_rows / sizeof flood_rows[0] };
    struct CMUnitTest tests[ROWS + POISONS + FLOODS + OTHERS];
    for (size_t i = 0; i < FLOODS; i++)
        tests[ROWS + POISONS + OTHERS + i] =
            (struct CMUnitTest){ flood_rows[i].what, test_flood, NULL, NULL,
                                 (void *)(uintptr_t)&flood_rows[i] };
    size_t count = 0;
    for (size_t i = 0; i < ROWS; i++)
        tests[count++] = (struct CMUnitTest){ fault_rows[i].what, test_fault, NULL, NULL,
                                              (void *)(uintptr_t)&fault_rows[i] };
    for (size_t i = 0; i < POISONS; i++)
        tests[count++] = (struct CMUnitTest){ poison_rows[i].what, test_poison, NULL, NULL,
                                              (void *)(uintptr_t)&poison_rows[i] };
    for (size_t i = 0; i < OTHERS; i++)
        tests[count++] = others[i];
    return _cmocka_run_group_tests("torrent", tests, count + FLOODS, NULL, NULL);
}
