#include "services/transport/lan.h"

#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "proto/transport.pb-c.h"
#include "services/transport/service.h"

#include <stdlib.h>
#include <string.h>

/* ---- answers ---- */

static void answer(struct lan_asker *asker)
{
    Lb__Transport__LocalPeers peers = LB__TRANSPORT__LOCAL_PEERS__INIT;
    Lb__Transport__Reply reply = LB__TRANSPORT__REPLY__INIT;
    Lb__Transport__LocalPeer list[LAN_FOUND_MAX], *pointers[LAN_FOUND_MAX];
    uint8_t compact[LAN_FOUND_MAX][ADDRESS_COMPACT_V6];

    for (size_t i = 0; i < asker->found_count; i++) {
        lb__transport__local_peer__init(&list[i]);
        list[i].infohash.len = LSD_HASH_SIZE;
        list[i].infohash.data = asker->found[i].hash;
        list[i].address.len = address_to_compact(&asker->found[i].address, compact[i]);
        list[i].address.data = compact[i];
        pointers[i] = &list[i];
    }
    peers.n_peers = asker->found_count;
    peers.peers = pointers;
    reply.body_case = LB__TRANSPORT__REPLY__BODY_LOCAL_PEERS;
    reply.local_peers = &peers;
    call_reply(&asker->call, &reply.base);
    asker->found_count = 0;
}

/* ---- asking ---- */

static struct lan_asker *asker_of(struct lan *self, uint32_t number)
{
    struct lan_asker *free_one = NULL;

    if (!self->askers)
        self->askers = xcalloc(LOCAL_OWNERS_MAX, sizeof(*self->askers));
    for (unsigned i = 0; i < LOCAL_OWNERS_MAX; i++) {
        if (self->askers[i].used && self->askers[i].number == number)
            return &self->askers[i];
        if (!self->askers[i].used && !free_one)
            free_one = &self->askers[i];
    }
    if (free_one)
        *free_one = (struct lan_asker){ .number = number };
    return free_one;
}

static bool has_ports(const struct lan *self)
{
    for (unsigned i = 0; self->transport && i < LAN_FAMILIES; i++) {
        if (self->ports[i].fd >= 0)
            return true;
    }
    return false;
}

void lan_torrents_on_ask(void *ctx, struct call *call, const void *body)
{
    struct lan *self = &((struct transport *)ctx)->lan;
    const Lb__Transport__LocalTorrents *ask = body;
    struct lan_asker *asker;
    uint64_t now_ms;

    if (((struct transport *)ctx)->stopping) {
        call_fail(&call, LB_UNAVAILABLE, "the service ends");
        return;
    }
    if (!has_ports(self)) {
        call_fail(&call, LB_UNSUPPORTED, "no multicast here");
        return;
    }
    if (ask->port == 0 || ask->port > UINT16_MAX || ask->infohashes.len % LSD_HASH_SIZE != 0 ||
        ask->infohashes.len > LOCAL_MAX * LSD_HASH_SIZE) {
        call_fail(&call, LB_INVALID, "a port and at most %u infohashes are wanted", LOCAL_MAX);
        return;
    }
    now_ms = uv_now(self->timer.loop);
    asker = asker_of(self, ask->swarm);
    if (!asker || !local_set(&self->local, ask->swarm, (uint16_t)ask->port, ask->infohashes.data,
                             ask->infohashes.len / LSD_HASH_SIZE, now_ms)) {
        call_fail(&call, LB_FULL, "too many ask");
        return;
    }
    if (asker->call)
        answer(asker);
    call_lasts(call); /* until somebody is heard, or for half a minute */
    asker->used = true;
    asker->call = call;
    asker->answer_ms = now_ms + LAN_ANSWER_MS;
    asker->forget_ms = now_ms + LAN_LIST_MS;
    if (asker->found_count > 0)
        answer(asker);
    lan_arm(self);
}

/* ---- hearing ---- */

static void found(struct lan_asker *asker, const uint8_t hash[LSD_HASH_SIZE],
                  const struct address *from)
{
    struct lan_found *to = &asker->found[asker->found_count];

    for (size_t i = 0; i < asker->found_count; i++) {
        if (memcmp(asker->found[i].hash, hash, LSD_HASH_SIZE) == 0 &&
            address_equal(&asker->found[i].address, from))
            return;
    }
    if (asker->found_count == LAN_FOUND_MAX)
        return;
    memcpy(to->hash, hash, LSD_HASH_SIZE);
    to->address = *from;
    asker->found_count++;
}

void lan_torrents_hear(struct lan *self, const struct address *from,
                       const struct lsd_message *message)
{
    for (unsigned i = 0; i < LOCAL_OWNERS_MAX && self->askers; i++) {
        struct lan_asker *asker = &self->askers[i];

        for (size_t k = 0; k < message->hashes_count && asker->used; k++) {
            if (local_has(&self->local, asker->number, message->hashes[k]))
                found(asker, message->hashes[k], from);
        }
        if (asker->call && asker->found_count > 0)
            answer(asker);
    }
}

/* ---- time ---- */

static void turn_asker(struct lan *self, struct lan_asker *asker, uint64_t now_ms)
{
    if (asker->call && now_ms >= asker->answer_ms)
        answer(asker);
    if (asker->call || now_ms < asker->forget_ms)
        return;
    (void)local_set(&self->local, asker->number, 0, NULL, 0, now_ms);
    asker->used = false;
}

void lan_torrents_turn(struct lan *self, uint64_t now_ms)
{
    struct lsd_message message;

    for (unsigned i = 0; i < LOCAL_OWNERS_MAX && self->askers; i++) {
        if (self->askers[i].used)
            turn_asker(self, &self->askers[i], now_ms);
    }
    while (local_next(&self->local, now_ms, &message))
        (void)lan_multicast(self, &message);
}

uint64_t lan_torrents_deadline_ms(const struct lan *self)
{
    uint64_t due_ms = local_deadline_ms(&self->local);

    for (unsigned i = 0; i < LOCAL_OWNERS_MAX && self->askers; i++) {
        const struct lan_asker *asker = &self->askers[i];
        uint64_t asker_ms = asker->call ? asker->answer_ms : asker->forget_ms;

        if (asker->used && asker_ms < due_ms)
            due_ms = asker_ms;
    }
    return due_ms;
}

void lan_torrents_done(struct lan *self)
{
    for (unsigned i = 0; i < LOCAL_OWNERS_MAX && self->askers; i++) {
        if (self->askers[i].call)
            call_fail(&self->askers[i].call, LB_CANCELLED, "the service ends");
    }
    free(self->askers);
    self->askers = NULL;
    local_done(&self->local);
}
