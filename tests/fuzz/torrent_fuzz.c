/*
 * Four peers at one torrent, in any order of messages, answers, departures and verdicts, chosen by
 * the input two bytes at a time. The first of them is honest: it sends what it was asked for and
 * says nothing odd. Whatever the others do, the invariants hold after each step, and the honest one
 * is never banned.
 */
#include "libcommon/random.h"
#include "services/swarm/torrent.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PIECES       12u
#define BLOCKS       4u
#define PEERS        4u
#define REQUESTS_MAX 64u

static const uint8_t info[20000];
static const uint8_t zeros[PICKER_BLOCK_SIZE];

/* A piece on its way in, as the disk keeps it: a block that is here is not taken again. */
struct store {
    bool here[BLOCKS];
    uint8_t value[BLOCKS]; /* 0: good, else who spoilt it */
    bool checking;
};

struct remote {
    bool joined;
    uint32_t number;
    uint32_t serial; /* how often it came: a new peer id each time, but for the honest one */
    struct wire_message requests[REQUESTS_MAX]; /* of it, not answered; a ring */
    uint32_t requests_head, requests_count;
};

struct world {
    struct random random;
    struct torrent torrent;
    uint64_t now_ms;
    struct store stores[PIECES];
    uint32_t to_verify[PIECES];
    uint32_t to_verify_count;
    struct remote remotes[PEERS];
    bool begun;
};

static struct address address_of(uint32_t who)
{
    return address_v4(10, 0, (uint8_t)who, 1, 6881);
}

/* ---- what the torrent does ---- */

static struct remote *remote_of(struct world *world, uint32_t number)
{
    for (uint32_t i = 0; i < PEERS; i++)
        if (world->remotes[i].joined && world->remotes[i].number == number)
            return &world->remotes[i];
    return NULL;
}

static void keep_request(struct world *world, const struct torrent_action *action)
{
    struct remote *remote = remote_of(world, action->peer);
    if (remote == NULL || action->message.kind != WIRE_REQUEST ||
        remote->requests_count == REQUESTS_MAX)
        return;
    remote->requests[(remote->requests_head + remote->requests_count++) % REQUESTS_MAX] =
        action->message;
}

static void perform(struct world *world, const struct torrent_action *action)
{
    struct remote *remote = NULL;
    switch (action->kind) {
    case TORRENT_SEND:
        keep_request(world, action);
        break;
    case TORRENT_SEND_BLOCK:
        torrent_sent(&world->torrent, action->peer, &action->message, action->message.piece % 2,
                     world->now_ms);
        break;
    case TORRENT_CONNECT:
        torrent_connect_failed(&world->torrent, &action->address, world->now_ms);
        break;
    case TORRENT_DISCONNECT:
        remote = remote_of(world, action->peer);
        if (remote != NULL)
            remote->joined = false;
        break;
    case TORRENT_VERIFY:
        assert(world->to_verify_count < PIECES);
        assert(!world->stores[action->message.piece].checking);
        world->stores[action->message.piece].checking = true;
        world->to_verify[world->to_verify_count++] = action->message.piece;
        break;
    case TORRENT_FORGET:
        assert(!world->stores[action->message.piece].checking);
        world->stores[action->message.piece] = (struct store){ 0 };
        break;
    case TORRENT_METADATA:
        abort(); /* no metadata has this hash, and it is not of v2 */
        break;
    case TORRENT_LAYERS:
    case TORRENT_GIVE_HASHES:
    case TORRENT_COMPLETE:
        break;
    case TORRENT_ANNOUNCE:
        torrent_announced(&world->torrent, 1, world->now_ms);
        break;
    }
}

static void drain(struct world *world)
{
    struct torrent_action action;
    while (torrent_next(&world->torrent, world->now_ms, &action))
        perform(world, &action);
}

static void verify_next(struct world *world)
{
    uint8_t digests[BLOCKS * SUSPECTS_DIGEST_SIZE] = { 0 };
    bool good = true;
    bool whole = true;
    if (world->to_verify_count == 0)
        return;
    const uint32_t piece = world->to_verify[0];
    struct store *store = &world->stores[piece];
    memmove(world->to_verify, world->to_verify + 1,
            --world->to_verify_count * sizeof world->to_verify[0]);
    for (uint32_t i = 0; i < picker_block_count(&world->torrent.picker, piece); i++) {
        digests[i * SUSPECTS_DIGEST_SIZE] = store->value[i];
        good &= store->value[i] == 0;
        whole &= store->here[i];
    }
    *store = (struct store){ 0 };
    const lb_err result = !whole ? LB_IO : good ? LB_OK : LB_CORRUPT;
    assert(whole); /* what the torrent has asked for and taken, the disk has */
    torrent_judged(&world->torrent, piece, result, whole ? digests : NULL, world->now_ms);
}

/* ---- what the peers do ---- */

static void say(struct world *world, uint32_t who, const struct wire_message *message)
{
    const struct remote *remote = &world->remotes[who];
    if (!remote->joined ||
        torrent_message(&world->torrent, remote->number, message, world->now_ms) != TORRENT_TAKE)
        return;
    assert(message->piece < PIECES && message->offset / PICKER_BLOCK_SIZE < BLOCKS);
    struct store *store = &world->stores[message->piece];
    const uint32_t block = message->offset / PICKER_BLOCK_SIZE;
    if (store->here[block] || store->checking)
        return;
    store->here[block] = true;
    store->value[block] = message->extended; /* nobody reads it of a PIECE */
}

static void say_kind(struct world *world, uint32_t who, enum wire_kind kind)
{
    say(world, who, &(struct wire_message){ .kind = kind });
}

static void join(struct world *world, uint32_t who)
{
    struct remote *remote = &world->remotes[who];
    if (remote->joined) {
        torrent_left(&world->torrent, remote->number, world->now_ms);
        remote->joined = false;
        return;
    }
    struct wire_handshake handshake = { .fast = who != 2, .extended = who != 3 };
    handshake.peer_id[0] = (uint8_t)(1 + who);
    if (who != 0)
        handshake.peer_id[1] = (uint8_t)++remote->serial;
    const struct torrent_hello hello = { .address = address_of(who),
                                         .outgoing = remote->serial % 2 == 1,
                                         .handshake = &handshake };
    remote->requests_count = 0;
    remote->joined = torrent_join(&world->torrent, &hello, world->now_ms, &remote->number) == LB_OK;
    if (who == 0) {
        say_kind(world, 0, WIRE_HAVE_ALL);
        say_kind(world, 0, WIRE_UNCHOKE);
    }
}

static void answer(struct world *world, uint32_t who, bool spoilt)
{
    struct remote *remote = &world->remotes[who];
    if (remote->requests_count == 0)
        return;
    const struct wire_message *request = &remote->requests[remote->requests_head];
    const struct wire_message block = {
        .kind = WIRE_PIECE,
        .piece = request->piece,
        .offset = request->offset,
        .length = request->length,
        .extended = spoilt ? (uint8_t)who : 0,
        .payload = { zeros, request->length },
    };
    remote->requests_head = (remote->requests_head + 1) % REQUESTS_MAX;
    remote->requests_count--;
    say(world, who, &block);
}

static const enum wire_kind kinds[] = {
    WIRE_CHOKE,   WIRE_UNCHOKE,      WIRE_INTERESTED, WIRE_NOT_INTERESTED, WIRE_HAVE,
    WIRE_REQUEST, WIRE_PIECE,        WIRE_CANCEL,     WIRE_PORT,           WIRE_SUGGEST,
    WIRE_REJECT,  WIRE_ALLOWED_FAST, WIRE_HAVE_ALL,   WIRE_HAVE_NONE,      WIRE_KEEPALIVE,
    WIRE_UNKNOWN, WIRE_BITFIELD,     WIRE_EXTENDED,
};

/* Rows of what extension messages are about; the fuzzer of those has the rest. */
static const char *const payloads[] = {
    "d1:md11:lt_donthavei3e11:ut_metadatai1e6:ut_pexi2ee13:metadata_sizei20000e4:reqqi9ee",
    "d8:msg_typei0e5:piecei0ee",
    "d8:msg_typei2e5:piecei0ee",
    "d5:added6:abcdef7:added.f1:27:dropped6:abcdefe",
};

static void say_anything(struct world *world, uint32_t who, uint8_t how)
{
    static const uint8_t some[2] = { 0xa5, 0xf0 };
    struct wire_message message = {
        .kind = kinds[how % (sizeof kinds / sizeof kinds[0])],
        .piece = how / 16u,
        .offset = (how % 8u) * PICKER_BLOCK_SIZE,
        .length = how % 5 == 0 ? 77 : PICKER_BLOCK_SIZE,
        .extended = (uint8_t)who,
    };
    if (message.kind == WIRE_BITFIELD)
        message.payload = bytes_of(some, sizeof some);
    if (message.kind == WIRE_PIECE)
        message.payload = bytes_of(zeros, message.length);
    if (message.kind == WIRE_EXTENDED) {
        const uint8_t donthave[4] = { 0, 0, 0, how / 16u };
        const char *text = payloads[how / 16u % (sizeof payloads / sizeof payloads[0])];
        message.extended = how / 16u % 5;
        message.payload =
            message.extended == EXTENSION_DONTHAVE ? bytes_of(donthave, 4) : bytes_of_text(text);
        say(world, who, &message);
        return;
    }
    say(world, who, &message);
}

/* ---- the world ---- */

static void begin(struct world *world)
{
    const struct picker_shape shape = {
        .pieces = PIECES,
        .piece_size = BLOCKS * PICKER_BLOCK_SIZE,
        .total_size = (uint64_t)PIECES * BLOCKS * PICKER_BLOCK_SIZE - 20000,
    };
    const uint8_t have[2] = { 0x10, 0 };
    if (world->begun)
        return;
    world->begun = true;
    torrent_begin(&world->torrent, bytes_of(info, sizeof info), shape, have, world->now_ms);
}

static void happen(struct world *world, uint8_t what, uint8_t how)
{
    const uint32_t piece = how % PIECES;
    switch (what % 8) {
    case 0:
        world->now_ms += 10u * how;
        torrent_turn(&world->torrent, world->now_ms);
        break;
    case 1:
        world->now_ms += 500u * how;
        torrent_turn(&world->torrent, world->now_ms);
        break;
    case 2:
        begin(world);
        break;
    case 3:
        if (world->begun)
            torrent_lost(&world->torrent, piece, world->now_ms);
        break;
    case 4:
        if (world->begun && !world->stores[piece].checking) {
            world->stores[piece] = (struct store){ 0 };
            torrent_abandon(&world->torrent, piece);
        }
        break;
    case 5:
        torrent_pause(&world->torrent, how % 2, world->now_ms);
        break;
    default:
        verify_next(world);
        break;
    }
}

static void step(struct world *world, uint8_t what, uint8_t how)
{
    const uint32_t who = what % PEERS;
    what /= PEERS;
    switch (what % 8) {
    case 0:
        join(world, who);
        break;
    case 1:
    case 2:
        answer(world, who, who != 0 && what % 8 == 2);
        break;
    case 3:
        for (uint32_t i = 0; i < how % BLOCKS + 1u; i++)
            answer(world, who, who != 0 && how >= 128);
        break;
    case 4:
        say_kind(world, who, who == 0 ? WIRE_UNCHOKE : WIRE_HAVE_ALL);
        say_kind(world, who, WIRE_UNCHOKE);
        break;
    case 5:
    case 6:
        if (who != 0)
            say_anything(world, who, how);
        break;
    default:
        happen(world, what / 8, how);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    struct torrent_options options = {
        .peer_id = "ourselves",
        .port = 6881,
        .peers_max = 4,
        .peers_wanted = 4,
        .upload_slots = 2,
        .announce_interval_ms = 60000,
        .version = "fuzz",
    };
    const struct address honest = address_of(0);
    if (size < 1)
        return 0;
    memset(&world, 0, sizeof world);
    world.now_ms = 1000;
    options.mode = (enum cooperate_mode)(data[0] >> 1 & 1);
    random_init(&world.random, data[0]);
    torrent_init(&world.torrent, &options, &world.random, world.now_ms);
    if (data[0] % 2 == 0)
        begin(&world);
    for (size_t i = 1; i + 1 < size; i += 2) {
        step(&world, data[i], data[i + 1]);
        drain(&world);
        torrent_check(&world.torrent);
        assert(!candidates_is_banned(&world.torrent.candidates, &honest, NULL));
    }
    torrent_done(&world.torrent);
    return 0;
}
