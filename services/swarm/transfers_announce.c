#include "libcommon/actor.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/owner.h"
#include "proto/storage.pb-c.h"
#include "services/swarm/transfers_inside.h"

#include <stdlib.h>
#include <string.h>

/* One question under way; the transfer may be gone when its answer comes. */
struct announcement {
    struct transfers *owner;
    uint8_t infohash[20]; /* the transfer's key */
    bool second;          /* of a hybrid, by its v2 hash */
};

static void ask(struct transfers *self, struct transfer *transfer);

static void ask_waiting(struct transfers *self)
{
    for (size_t i = 0; i < self->count && self->announcing < TRANSFERS_ANNOUNCES_MAX; i++)
        if (self->items[i]->announce_wanted)
            ask(self, self->items[i]);
}

static void learn_peers(struct transfer *transfer, const Lb__Storage__Announced *announced)
{
    const uint64_t now_ms = transfers_now_ms(transfer->owner);
    for (size_t i = 0; i < announced->n_peers; i++) {
        struct address address;
        const struct bytes compact = bytes_of(announced->peers[i].data, announced->peers[i].len);
        if (address_from_compact(compact, &address) == LB_OK &&
            !transfers_is_own(transfer->owner, &address))
            torrent_add_address(&transfer->torrent, &address, false, now_ms);
    }
}

static void on_announced(void *ctx, lb_err err, const char *reason, const void *message)
{
    struct announcement *announcement = ctx;
    struct transfers *self = announcement->owner;
    struct transfer *transfer = transfers_get(self, announcement->infohash);
    const Lb__Storage__Reply *reply = message;
    const bool second = announcement->second;
    uint32_t acknowledged = 0;
    free(announcement);
    self->announcing--;
    if (err != LB_OK)
        log_debug("announce failed: %s", reason != NULL ? reason : lb_err_text(err));
    if (transfer != NULL && transfer->running) {
        if (err == LB_OK && reply->body_case == LB__STORAGE__REPLY__BODY_ANNOUNCED) {
            learn_peers(transfer, reply->announced);
            acknowledged = reply->announced->acknowledged;
        }
        if (!second) {
            torrent_announced(&transfer->torrent, acknowledged, transfers_now_ms(self));
            transfer_was_announced(transfer);
        }
        transfers_touch(transfer);
    }
    if (!self->stopping)
        ask_waiting(self);
}

static void announce(struct transfers *self, struct transfer *transfer, bool second)
{
    Lb__Storage__Announce body = LB__STORAGE__ANNOUNCE__INIT;
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    body.infohash.data = second ? transfer->infohash_v2 : transfer->infohash;
    body.infohash.len = sizeof transfer->infohash;
    body.port = self->port;
    body.seed = transfer->torrent.complete;
    request.body_case = LB__STORAGE__REQUEST__BODY_ANNOUNCE;
    request.announce = &body;
    struct announcement *announcement = xcalloc(1, sizeof *announcement);
    announcement->owner = self;
    announcement->second = second;
    memcpy(announcement->infohash, transfer->infohash, sizeof announcement->infohash);
    self->announcing++;
    struct node_id infohash = node_id_from(body.infohash.data);
    struct link *storage =
        instances_pick(&self->storages, owner_of(&infohash, self->storages.active));
    link_call(storage, &request.base, TRANSFERS_ANNOUNCE_MS, on_announced, announcement);
}

/* A hybrid takes part in both swarms, and each has a name of its own in the DHT. */
static void ask(struct transfers *self, struct transfer *transfer)
{
    transfer->announce_wanted = false;
    if (!transfer->running)
        return;
    if (transfer->torrent.is_private) {
        torrent_announced(&transfer->torrent, 1, transfers_now_ms(self));
        return;
    }
    announce(self, transfer, false);
    if (transfer->has_v1 && transfer->has_v2)
        announce(self, transfer, true);
}

void transfers_announce(struct transfers *self, struct transfer *transfer)
{
    transfer->announce_wanted = true;
    ask_waiting(self);
}
