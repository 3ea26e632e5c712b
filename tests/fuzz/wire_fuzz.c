/*
 * A peer that says anything: the first byte chooses what we know and have, the second the size of
 * reads; the rest is its stream, read by the wire reader and taken by a whole torrent.
 */
#include "libcommon/random.h"
#include "services/swarm/torrent.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PIECES 40u
#define BLOCKS 3u

static const uint8_t info[20000];

struct world {
    struct random random;
    struct torrent torrent;
    uint64_t now_ms;
    uint32_t peer;
};

static void drain(struct world *world)
{
    struct torrent_action action;
    while (torrent_next(&world->torrent, world->now_ms, &action)) {
        if (action.kind == TORRENT_VERIFY)
            torrent_verified(&world->torrent, action.message.piece,
                             action.message.piece % 3 == 0 ? LB_CORRUPT : LB_OK, world->now_ms);
        else if (action.kind == TORRENT_SEND_BLOCK)
            torrent_sent(&world->torrent, action.peer, &action.message,
                         action.message.piece % 2 == 0, world->now_ms);
        else if (action.kind == TORRENT_CONNECT)
            torrent_connect_failed(&world->torrent, &action.address, world->now_ms);
        else if (action.kind == TORRENT_ANNOUNCE)
            torrent_announced(&world->torrent, 1, world->now_ms);
    }
}

static void begin(struct world *world, uint8_t how)
{
    struct torrent_options options = {
        .peer_id = "ourselves",
        .port = 6881,
        .peers_max = 4,
        .peers_wanted = 4,
        .upload_slots = 2,
        .announce_interval_ms = 60000,
        .version = "fuzz",
    };
    const struct picker_shape shape = {
        .pieces = PIECES,
        .piece_size = BLOCKS * PICKER_BLOCK_SIZE,
        .total_size = (uint64_t)PIECES * BLOCKS * PICKER_BLOCK_SIZE - 77,
    };
    uint8_t have[5];
    memset(have, (how & 2) != 0 ? 0xaa : 0, sizeof have);
    world->now_ms = 1000;
    random_init(&world->random, how);
    torrent_init(&world->torrent, &options, &world->random, world->now_ms);
    if ((how & 1) != 0)
        torrent_begin(&world->torrent, (struct bytes){ info, sizeof info }, shape, have,
                      world->now_ms);
    const struct wire_handshake handshake = { .fast = (how & 4) == 0,
                                              .extended = (how & 8) == 0,
                                              .peer_id = "a peer" };
    const struct torrent_hello hello = { .address = address_v4(10, 0, 0, 1, 5000),
                                         .v2 = (how & 32) == 0,
                                         .handshake = &handshake };
    const lb_err err = torrent_join(&world->torrent, &hello, world->now_ms, &world->peer);
    assert(err == LB_OK);
    drain(world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct world world;
    begin(&world, data[0]);
    const size_t step = 1 + (size_t)data[1] * 7;
    struct wire_reader reader;
    wire_reader_init(&reader);
    reader.handshaken = (data[0] & 16) == 0;
    size_t at = 2;
    bool good = true;
    while (at < size && good) {
        size_t left = size - at < step ? size - at : step;
        uint8_t *room = NULL;
        size_t in_room = wire_reader_room(&reader, &room);
        if (in_room > left)
            in_room = left;
        if (in_room > 0)
            memcpy(room, data + at, in_room);
        wire_reader_filled(&reader, in_room);
        struct bytes rest = { data + at + in_room, left - in_room };
        at += left;
        struct wire_message message;
        struct wire_handshake handshake;
        enum wire_verdict verdict = WIRE_MORE;
        while ((verdict = wire_reader_next(&reader, &rest, &message, &handshake)) != WIRE_MORE) {
            good = verdict != WIRE_BAD;
            if (!good)
                break;
            if (verdict == WIRE_MESSAGE)
                (void)torrent_message(&world.torrent, world.peer, &message, world.now_ms);
            drain(&world);
        }
        world.now_ms += 700;
        torrent_turn(&world.torrent, world.now_ms);
        drain(&world);
    }
    torrent_check(&world.torrent);
    wire_reader_done(&reader);
    torrent_done(&world.torrent);
    return 0;
}
