/*
 * Mirrors: a complete torrent in demand is seeded by every worker, so that one file is served by
 * all cores of a machine.
 *
 * Its owner decides: it is hot when somebody wants it and it is sent faster than swarm.hot_rate.
 * Then the owner asks the others, once a second, to seed it too, from the same files and read-only,
 * and tells them who wants it; each is a peer of its own there, with its own port and peer id, and
 * calls those it was told. Being asked is a lease: when the owner says nothing more, mirrors end. A
 * torrent with a limit of its own, on a device, or of which not all is here, has none. Mirrors
 * never write, neither the files nor the catalogue, and one that finds a file changed ends.
 */
#include "libcommon/actor.h"
#include "libcommon/config.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "proto/swarm.pb-c.h"
#include "services/swarm/catalogue_shared.h"
#include "services/swarm/workers_inside.h"

#include <stdlib.h>
#include <string.h>

#define COOL_MS 30000u /* a torrent stays hot so long after it was */
#define SEED_MS 5000u

/* ---- the owner ---- */

static bool may_be_mirrored(const struct transfer *self)
{
    return self->place == OWNERSHIP_HELD && self->running && self->opened && self->device == NULL &&
           self->torrent.complete && !self->torrent.paused &&
           picker_has_all(&self->torrent.picker) && self->share.bucket[LIMITS_SEND].rate == 0 &&
           !self->syncing && !self->reading_back && self->state == TRANSFER_SEEDING;
}

/* Those who want it, where they can be called. */
static size_t find_takers(const struct transfer *self, struct passed_peers *ret_peers)
{
    const struct torrent *torrent = &self->torrent;
    size_t count = 0;
    ret_peers->count = 0;
    for (uint32_t i = 0; i < torrent->slots; i++) {
        const struct peer *peer = torrent->peers[i];
        if (peer == NULL || !peer->interested)
            continue;
        count++;
        if (peer->listens.port != 0)
            passed_peers_add(ret_peers, &peer->listens);
    }
    return count;
}

struct seeding {
    struct workers *workers;
    uint8_t infohash[20];
};

static void on_seeding(void *ctx, lb_err err, const char *reason, const void *message)
{
    struct seeding *seeding = ctx;
    struct transfer *transfer = workers_find(seeding->workers, seeding->infohash);
    const Lb__Swarm__Reply *reply = message;
    (void)reason;
    free(seeding);
    if (err == LB_OK && transfer != NULL && reply->body_case == LB__SWARM__REPLY__BODY_SEEDING)
        transfer->others_rate += reply->seeding->send_rate;
}

static void ask_others(struct workers *self, struct transfer *transfer, struct passed_peers *peers)
{
    Lb__Swarm__Seed seed = LB__SWARM__SEED__INIT;
    Lb__Swarm__Request request = LB__SWARM__REQUEST__INIT;
    seed.infohash.data = transfer->infohash;
    seed.infohash.len = sizeof transfer->infohash;
    seed.peers = peers->peers;
    seed.n_peers = peers->count;
    request.body_case = LB__SWARM__REQUEST__BODY_SEED;
    request.seed = &seed;
    for (unsigned i = 0; i < self->active; i++) {
        if (i == self->instance)
            continue;
        struct seeding *seeding = xcalloc(1, sizeof *seeding);
        seeding->workers = self;
        memcpy(seeding->infohash, transfer->infohash, sizeof seeding->infohash);
        link_call(workers_link(self, i), &request.base, SEED_MS, on_seeding, seeding);
    }
}

static void look_at_heat(struct workers *self, struct transfer *transfer, uint64_t now_ms)
{
    const struct config *config = actor_config(self->transfers->actor);
    const uint64_t hot_rate = config_number(config, CONFIG_SWARM_HOT_RATE);
    struct passed_peers peers;
    const bool was_hot = now_ms < transfer->hot_until_ms;
    const uint64_t rate = transfer->torrent.sent.per_second + transfer->others_rate;
    transfer->others_rate = 0;
    if (find_takers(transfer, &peers) > 0 && rate >= (was_hot ? hot_rate / 2 : hot_rate))
        transfer->hot_until_ms = now_ms + COOL_MS;
    if (now_ms >= transfer->hot_until_ms)
        return;
    if (!was_hot)
        transfer_log(transfer, "is seeded by all workers");
    ask_others(self, transfer, &peers);
}

void workers_unseed(struct workers *self, const struct transfer *transfer)
{
    Lb__Swarm__Unseed unseed = LB__SWARM__UNSEED__INIT;
    Lb__Swarm__Request request = LB__SWARM__REQUEST__INIT;
    if (transfers_now_ms(self->transfers) >= transfer->hot_until_ms + TRANSFERS_MIRROR_MS)
        return;
    unseed.infohash.data = (uint8_t *)(uintptr_t)transfer->infohash;
    unseed.infohash.len = sizeof transfer->infohash;
    request.body_case = LB__SWARM__REQUEST__BODY_UNSEED;
    request.unseed = &unseed;
    for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++)
        if (i != self->instance && self->links[i] != NULL)
            link_tell(self->links[i], &request.base);
}

/* ---- the mirror ---- */

static void drop(struct workers *self, struct transfer *mirror)
{
    transfer_log(mirror, "is not seeded here any more");
    transfers_take_out(self->transfers, mirror);
}

void workers_drop_mirrors(struct workers *self)
{
    struct transfers *transfers = self->transfers;
    for (size_t i = transfers->count; i > 0; i--)
        if (transfers->items[i - 1]->place == OWNERSHIP_MIRROR)
            drop(self, transfers->items[i - 1]);
}

static bool is_over(const struct transfer *mirror, uint64_t now_ms)
{
    return now_ms >= mirror->mirror_until_ms || mirror->state == TRANSFER_FAILED ||
           mirror->state == TRANSFER_PAUSED;
}

void workers_look_at_mirrors(struct workers *self, uint64_t now_ms)
{
    struct transfers *transfers = self->transfers;
    for (size_t i = transfers->count; i > 0; i--) {
        struct transfer *transfer = transfers->items[i - 1];
        if (transfer->place == OWNERSHIP_MIRROR && is_over(transfer, now_ms))
            drop(self, transfer);
        else if (self->active > 1 && may_be_mirrored(transfer))
            look_at_heat(self, transfer, now_ms);
    }
}

/* As its owner's records say: complete, so that nothing is hashed. */
static struct transfer *begin(struct workers *self, const uint8_t infohash[20])
{
    struct transfers *transfers = self->transfers;
    struct transfer *mirror = NULL;
    struct order *order = xcalloc(1, sizeof *order);
    if (catalogue_peek(transfers->catalogue, infohash, order) == LB_OK &&
        order->device[0] == '\0') {
        order->kind = ORDER_SHARE;
        order->has_seed_for = false;
        order->select[0] = '\0';
        mirror = transfers_load_one(transfers, order, OWNERSHIP_MIRROR);
        transfer_log(mirror, "is seeded here too");
    }
    free(order);
    return mirror;
}

uint64_t transfers_seed(struct transfers *transfers, const uint8_t infohash[20],
                        const struct address *peers, size_t peers_count)
{
    struct workers *self = transfers->workers;
    struct transfer *mirror = workers_find(self, infohash);
    const uint64_t now_ms = transfers_now_ms(transfers);
    if (self->instance >= self->active || transfers->stopping ||
        workers_owner(self, infohash) == self->instance)
        return 0;
    if (mirror == NULL && catalogue_find(transfers->catalogue, infohash) == NULL)
        mirror = begin(self, infohash);
    if (mirror == NULL || mirror->place != OWNERSHIP_MIRROR)
        return 0;
    mirror->mirror_until_ms = now_ms + TRANSFERS_MIRROR_MS;
    workers_look_in(self, WORKERS_LOOK_MS);
    if (!mirror->running && mirror->calls == NULL && peers_count > 0) {
        mirror->calls = xmemdup(peers, peers_count * sizeof *peers);
        mirror->calls_count = peers_count;
    }
    if (!mirror->running)
        return 0;
    for (size_t i = 0; i < peers_count; i++)
        if (!transfers_is_own(transfers, &peers[i]))
            torrent_add_address(&mirror->torrent, &peers[i], false, now_ms);
    transfers_touch(mirror);
    return mirror->torrent.sent.per_second;
}

void transfers_unseed(struct transfers *transfers, const uint8_t infohash[20])
{
    struct workers *self = transfers->workers;
    struct transfer *mirror = workers_find(self, infohash);
    if (mirror != NULL && mirror->place == OWNERSHIP_MIRROR)
        drop(self, mirror);
}

const struct transfer *transfers_mirror(const struct transfers *transfers,
                                        const uint8_t infohash[20])
{
    const struct transfer *found = workers_find(transfers->workers, infohash);
    return found != NULL && found->place == OWNERSHIP_MIRROR ? found : NULL;
}
