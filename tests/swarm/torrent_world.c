#include "tests/swarm/torrent_world.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"

#include <stdlib.h>
#include <string.h>

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

struct address world_address(unsigned node)
{
    return address_v4(10, 0, 0, (uint8_t)(node + 1), 6881);
}

void world_init(struct world *world, uint32_t pieces, uint32_t blocks)
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

struct node *node_start(struct world *world, unsigned index, bool knows, const char *have)
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
    struct address back = world_address(from);
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
        torrent_block_ready(&node->torrent, action->peer, world->now_ms);
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

void world_drain(struct world *world)
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

void world_run(struct world *world, uint64_t ms)
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
        world_drain(world);
    }
    for (unsigned i = 0; i < NODES_MAX; i++)
        if (world->nodes[i].running)
            torrent_check(&world->nodes[i].torrent);
}

void node_stop(struct world *world, unsigned index)
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

void world_done(struct world *world)
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

void world_meet(struct world *world, unsigned who, unsigned whom)
{
    const struct address address = world_address(whom);
    torrent_add_address(&world->nodes[who].torrent, &address, false, world->now_ms);
    world_drain(world);
}

struct torrent_stats world_stats(const struct world *world, unsigned index)
{
    struct torrent_stats stats;
    torrent_get_stats(&world->nodes[index].torrent, &stats);
    return stats;
}
