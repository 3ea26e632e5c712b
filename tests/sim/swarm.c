#include "tests/sim/swarm.h"

#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define US_PER_MS 1000u
#define US_PER_S  1000000u
#define PORT      6881u

static const uint8_t info[] = "d4:name5:swarme";

uint64_t swarm_now_us(const struct swarm *self)
{
    return net_now_us(self->net);
}

static uint64_t now_ms(const struct swarm *self)
{
    return SWARM_START_MS + swarm_now_us(self) / US_PER_MS;
}

static struct address address_of(uint32_t member)
{
    return address_v4(10, (uint8_t)(member >> 16), (uint8_t)(member >> 8), (uint8_t)member, PORT);
}

static uint32_t member_at(const struct address *address)
{
    return (uint32_t)address->ip[13] << 16 | (uint32_t)address->ip[14] << 8 | address->ip[15];
}

/* ---- its connections ---- */

static struct net_end **end_of(struct swarm_member *member, uint32_t peer)
{
    const uint32_t slot = peer % TORRENT_SLOTS;

    if (slot >= member->ends_count || member->ends[slot] == NULL ||
        member->ends[slot]->user != peer) {
        return NULL;
    }
    return &member->ends[slot];
}

static void keep_end(struct swarm_member *member, struct net_end *end, uint32_t peer)
{
    const uint32_t slot = peer % TORRENT_SLOTS;

    if (slot >= member->ends_count) {
        const uint32_t count = slot < 8 ? 8 : 2 * slot;
        member->ends = xrealloc(member->ends, count * sizeof(struct net_end *));
        memset(member->ends + member->ends_count, 0,
               (count - member->ends_count) * sizeof(struct net_end *));
        member->ends_count = count;
    }
    if (member->ends[slot] != NULL) {
        net_close(member->swarm->net, &member->ends[slot]);
    }
    member->ends[slot] = end;
    end->user = peer;
}

static struct wire_handshake handshake_of(const struct swarm_member *member)
{
    struct wire_handshake hello = { .fast = true, .extended = true };

    memcpy(hello.peer_id, member->torrent.options.peer_id, sizeof(hello.peer_id));
    return hello;
}

static void on_hello(void *ctx, struct net_end *end)
{
    struct swarm *self = ctx;
    struct swarm_member *member = self->members[end->host];
    const struct wire_handshake hello = handshake_of(self->members[net_other(end)]);
    const struct address address = address_of(net_other(end));
    const struct torrent_hello join = {
        .address = address,
        .outgoing = end->outgoing,
        .handshake = &hello,
    };
    uint32_t peer;

    if (!end->outgoing) {
        net_hello(self->net, end);
    }
    if (torrent_join(&member->torrent, &join, now_ms(self), &peer) != LB_OK) {
        net_close(self->net, &end);
        return;
    }
    keep_end(member, end, peer);
}

static void on_message(void *ctx, struct net_end *end, const struct wire_message *message,
                       bool spoilt)
{
    struct swarm *self = ctx;
    struct swarm_member *member = self->members[end->host];

    if (end->user == NET_NOBODY) {
        return;
    }
    if (torrent_message(&member->torrent, end->user, message, now_ms(self)) != TORRENT_TAKE) {
        return;
    }
    if (member->first_us == SWARM_NEVER) {
        member->first_us = swarm_now_us(self);
    }
    if (spoilt) {
        bitfield_set(member->spoilt, message->piece);
    }
}

static void on_taken(void *ctx, struct net_end *end, const struct wire_message *block)
{
    struct swarm *self = ctx;
    struct swarm_member *member = self->members[end->host];

    torrent_sent(&member->torrent, end->user, block, true, now_ms(self));
}

static void on_closed(void *ctx, struct net_end *end)
{
    struct swarm *self = ctx;
    struct swarm_member *member = self->members[end->host];

    if (end->user != NET_NOBODY) {
        member->ends[end->user % TORRENT_SLOTS] = NULL;
        torrent_left(&member->torrent, end->user, now_ms(self));
    } else if (end->outgoing) {
        const struct address address = address_of(net_other(end));
        torrent_connect_failed(&member->torrent, &address, now_ms(self));
    }
}

/* ---- what follows later: of a life that may have ended meanwhile ---- */

static void settle(struct swarm_member *member);

static uint64_t cookie_of(const struct swarm_member *member, uint32_t piece)
{
    return (uint64_t)member->life << 32 | piece;
}

static struct swarm_member *alive(struct swarm *self, uint32_t host, uint64_t cookie)
{
    struct swarm_member *member = self->members[host];

    return member->up && member->life == cookie >> 32 ? member : NULL;
}

static void on_verified(void *ctx, uint32_t host, uint64_t cookie)
{
    struct swarm *self = ctx;
    struct swarm_member *member = alive(self, host, cookie);
    const uint32_t piece = (uint32_t)cookie;

    if (member == NULL) {
        return;
    }
    const bool good = !bitfield_has(member->spoilt, piece);
    bitfield_clear(member->spoilt, piece);
    torrent_verified(&member->torrent, piece, good ? LB_OK : LB_CORRUPT, now_ms(self));
    settle(member);
}

static void verify(struct swarm_member *member, uint32_t piece)
{
    struct swarm *self = member->swarm;
    const uint64_t bytes = picker_piece_size(&member->torrent.picker, piece);
    uint64_t at_us = swarm_now_us(self) + SWARM_VERIFY_US + bytes * US_PER_S / SWARM_HASH_RATE;

    if (member->options.disk > 0) {
        if (member->disk_free_us < swarm_now_us(self)) {
            member->disk_free_us = swarm_now_us(self);
        }
        member->disk_free_us += bytes * US_PER_S / member->options.disk;
        if (at_us < member->disk_free_us) {
            at_us = member->disk_free_us;
        }
    }
    net_call(self->net, at_us, on_verified, self, member->index, cookie_of(member, piece));
}

static void give_addresses(struct swarm_member *member)
{
    struct swarm *self = member->swarm;
    const uint32_t most = self->options.discovered;

    /* The first `most` places of `known` become a sample of it. */
    for (uint32_t i = 0; i < most && i < self->known_count; i++) {
        const uint32_t k = i + (uint32_t)random_below(&self->random, self->known_count - i);
        const uint32_t drawn = self->known[k];
        self->known[k] = self->known[i];
        self->known[i] = drawn;
        if (drawn == member->index) {
            continue;
        }
        const struct address address = address_of(drawn);
        torrent_add_address(&member->torrent, &address, false, now_ms(self));
    }
}

static void on_announced(void *ctx, uint32_t host, uint64_t cookie)
{
    struct swarm *self = ctx;
    struct swarm_member *member = alive(self, host, cookie);

    if (member == NULL) {
        return;
    }
    give_addresses(member);
    if (!member->announced) {
        member->announced = true;
        self->known[self->known_count++] = member->index;
    }
    torrent_announced(&member->torrent, 8, now_ms(self));
    settle(member);
}

static void announce(struct swarm_member *member)
{
    struct swarm *self = member->swarm;
    const uint64_t delay_us =
        SWARM_ANNOUNCE_US + random_below(&self->random, SWARM_ANNOUNCE_MOST_US - SWARM_ANNOUNCE_US);

    net_call(self->net, swarm_now_us(self) + delay_us, on_announced, self, member->index,
             cookie_of(member, 0));
}

/* ---- actions ---- */

static void complete(struct swarm_member *member)
{
    if (member->options.poisons || member->completed_us != SWARM_NEVER) {
        return;
    }
    member->completed_us = swarm_now_us(member->swarm);
    member->swarm->complete_count++;
}

static void act(struct swarm_member *member, const struct torrent_action *action)
{
    struct swarm *self = member->swarm;
    struct net_end **end = end_of(member, action->peer);

    switch (action->kind) {
    case TORRENT_SEND_BLOCK:
        torrent_block_ready(&member->torrent, action->peer, now_ms(self));
        /* fall through */
    case TORRENT_SEND:
        if (end != NULL) {
            net_send(self->net, *end, &action->message, member->options.poisons);
        }
        break;
    case TORRENT_CONNECT:
        net_connect(self->net, member->index, member_at(&action->address));
        break;
    case TORRENT_DISCONNECT:
        if (end != NULL) {
            net_close(self->net, end);
        }
        break;
    case TORRENT_VERIFY:
        verify(member, action->message.piece);
        break;
    case TORRENT_FORGET:
        bitfield_clear(member->spoilt, action->message.piece);
        break;
    case TORRENT_LAYERS:
    case TORRENT_GIVE_HASHES:
        break; /* nothing here is of v2 */
    case TORRENT_COMPLETE:
        complete(member);
        break;
    case TORRENT_ANNOUNCE:
        announce(member);
        break;
    case TORRENT_METADATA: /* it has it */
        break;
    }
}

static void on_timer(void *ctx, uint32_t host, uint64_t cookie)
{
    struct swarm *self = ctx;
    struct swarm_member *member = self->members[host];

    if (!member->up || member->timer_us != cookie) {
        return;
    }
    member->timer_us = SWARM_NEVER;
    torrent_turn(&member->torrent, now_ms(self));
    settle(member);
}

static void arm(struct swarm_member *member)
{
    struct swarm *self = member->swarm;
    const uint64_t deadline_ms = torrent_deadline_ms(&member->torrent);

    if (deadline_ms == UINT64_MAX) {
        return;
    }
    uint64_t at_us = (deadline_ms - SWARM_START_MS) * US_PER_MS;
    if (at_us < swarm_now_us(self)) {
        at_us = swarm_now_us(self);
    }
    if (at_us < member->timer_us) {
        member->timer_us = at_us;
        net_call(self->net, at_us, on_timer, self, member->index, at_us);
    }
}

static void settle(struct swarm_member *member)
{
    struct torrent_action action;

    while (torrent_next(&member->torrent, now_ms(member->swarm), &action)) {
        act(member, &action);
    }
    arm(member);
}

static void on_settle(void *ctx, uint32_t host)
{
    struct swarm *self = ctx;

    settle(self->members[host]);
}

/* ---- life ---- */

struct swarm *swarm_new(const struct swarm_options *options)
{
    struct swarm *self = xcalloc(1, sizeof(*self));
    const struct net_options net = {
        .latency_us = options->latency_us,
        .kernel_bytes = options->kernel_bytes,
        .block_bytes = options->shape.block_size,
    };
    const struct net_events events = {
        .ctx = self,
        .hello = on_hello,
        .message = on_message,
        .taken = on_taken,
        .closed = on_closed,
        .settle = on_settle,
    };

    self->options = *options;
    self->net = net_new(&net, &events);
    random_init(&self->random, options->seed);
    return self;
}

static void begin_torrent(struct swarm_member *member)
{
    struct swarm *self = member->swarm;
    struct torrent_options options = {
        .port = PORT,
        .peers_max = self->options.peers_max,
        .peers_wanted = self->options.peers_wanted,
        .upload_slots = self->options.upload_slots,
        .announce_interval_ms = 600000,
        .version = "Littlebird",
        .mode = self->options.mode,
        .super_seeding = self->options.super_seeding,
    };

    random_init(&member->random, random_u64(&self->random));
    random_bytes(&self->random, options.peer_id, sizeof(options.peer_id));
    torrent_init(&member->torrent, &options, &member->random, now_ms(self));
    torrent_begin(&member->torrent, bytes_of(info, sizeof(info) - 1), self->options.shape,
                  member->have, now_ms(self));
}

void swarm_start(struct swarm *self, uint32_t index)
{
    struct swarm_member *member = self->members[index];

    assert(!member->up);
    member->up = true;
    member->life++;
    member->timer_us = SWARM_NEVER;
    member->disk_free_us = 0;
    memset(member->spoilt, 0, bitfield_size(self->options.shape.pieces));
    net_set_up(self->net, index, true);
    begin_torrent(member);
    settle(member);
}

static void on_start(void *ctx, uint32_t host, uint64_t cookie)
{
    (void)cookie;
    swarm_start(ctx, host);
}

uint32_t swarm_add(struct swarm *self, const struct swarm_member_options *options)
{
    struct swarm_member *member = xcalloc(1, sizeof(*member));
    const size_t size = bitfield_size(self->options.shape.pieces);

    if (self->members_count == self->members_capacity) {
        self->members_capacity = self->members_capacity == 0 ? 64 : 2 * self->members_capacity;
        self->members =
            xrealloc(self->members, self->members_capacity * sizeof(struct swarm_member *));
        self->known = xrealloc(self->known, self->members_capacity * sizeof(uint32_t));
    }
    *member = (struct swarm_member){
        .swarm = self,
        .options = *options,
        .index = net_add(self->net, options->up, options->down),
        .have = xcalloc(size, 1),
        .spoilt = xcalloc(size, 1),
        .first_us = SWARM_NEVER,
        .completed_us = SWARM_NEVER,
    };
    if (options->is_origin || options->poisons) {
        bitfield_set_all(member->have, self->options.shape.pieces);
    }
    assert(member->index == self->members_count);
    self->members[self->members_count++] = member;
    net_set_up(self->net, member->index, false);
    if (options->is_origin) { /* it shared before anybody else came */
        member->announced = true;
        self->known[self->known_count++] = member->index;
    }
    if (options->starts_us != SWARM_NEVER) {
        net_call(self->net, options->starts_us, on_start, self, member->index, 0);
    }
    return member->index;
}

static void end_torrent(struct swarm_member *member)
{
    struct torrent_stats stats;

    torrent_get_stats(&member->torrent, &stats);
    member->received_bytes += stats.received_bytes;
    member->sent_bytes += stats.sent_bytes;
    member->wasted_bytes += stats.wasted_bytes;
    torrent_done(&member->torrent);
    free(member->ends);
    member->ends = NULL;
    member->ends_count = 0;
}

void swarm_kill(struct swarm *self, uint32_t index)
{
    struct swarm_member *member = self->members[index];

    if (!member->up) {
        return;
    }
    memset(member->have, 0, bitfield_size(self->options.shape.pieces));
    for (uint32_t i = 0; i < self->options.shape.pieces; i++) {
        if (picker_has(&member->torrent.picker, i)) {
            bitfield_set(member->have, i);
        }
    }
    member->up = false;
    net_set_up(self->net, index, false);
    end_torrent(member);
}

void swarm_free(struct swarm **self)
{
    struct swarm *freed = *self;

    *self = NULL;
    if (freed == NULL) {
        return;
    }
    net_free(&freed->net);
    for (uint32_t i = 0; i < freed->members_count; i++) {
        struct swarm_member *member = freed->members[i];
        if (member->up) {
            end_torrent(member);
        }
        free(member->have);
        free(member->spoilt);
        free(member);
    }
    free(freed->members);
    free(freed->known);
    free(freed);
}

void swarm_run(struct swarm *self, uint64_t until_us)
{
    while (net_step(self->net, until_us)) {
    }
}

/* ---- looking ---- */

bool swarm_is_complete(const struct swarm *self, uint32_t member)
{
    return self->members[member]->completed_us != SWARM_NEVER;
}

uint64_t swarm_have_bytes(const struct swarm *self, uint32_t index)
{
    const struct swarm_member *member = self->members[index];

    if (member->options.poisons) {
        return 0;
    }
    return member->up ? torrent_have_bytes(&member->torrent)
                      : (uint64_t)bitfield_count(member->have, self->options.shape.pieces) *
                            self->options.shape.piece_size;
}

uint64_t swarm_sent_bytes(const struct swarm *self, uint32_t index)
{
    const struct swarm_member *member = self->members[index];

    return member->sent_bytes + (member->up ? member->torrent.sent.total : 0);
}

uint64_t swarm_received_bytes(const struct swarm *self, uint32_t index)
{
    const struct swarm_member *member = self->members[index];

    return member->received_bytes + (member->up ? member->torrent.received.total : 0);
}

uint64_t swarm_wasted_bytes(const struct swarm *self, uint32_t index)
{
    const struct swarm_member *member = self->members[index];

    return member->wasted_bytes + (member->up ? member->torrent.stats.wasted_bytes : 0);
}

static bool has(const struct swarm_member *member, uint32_t piece)
{
    return member->up && !member->options.poisons && picker_has(&member->torrent.picker, piece);
}

uint32_t swarm_only_at(const struct swarm *self, uint32_t member)
{
    uint32_t count = 0;

    for (uint32_t piece = 0; piece < self->options.shape.pieces; piece++) {
        bool found = false;
        for (uint32_t i = 0; i < self->members_count && !found; i++) {
            found = i != member && has(self->members[i], piece);
        }
        count += !found;
    }
    return count;
}

void swarm_check(struct swarm *self, uint32_t most)
{
    for (uint32_t i = 0; i < most && i < self->members_count; i++) {
        const uint32_t drawn = most >= self->members_count
                                   ? i
                                   : (uint32_t)random_below(&self->random, self->members_count);
        if (self->members[drawn]->up) {
            torrent_check(&self->members[drawn]->torrent);
        }
    }
}
