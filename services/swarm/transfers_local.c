#include "libcommon/actor.h"
#include "libcommon/config.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "proto/transport.pb-c.h"
#include "services/swarm/transfers_inside.h"

#include <stdlib.h>
#include <string.h>

#define ASK_MS       60000u /* the answer comes after 30 s at the latest */
#define TORRENTS_MAX 1000u  /* proto/transport.proto; more are not announced */

/* One question under way. */
struct local_ask {
    struct transfers *owner;
    uint32_t serial;
};

static bool is_public(const struct transfer *transfer)
{
    return transfer->running && (transfer->metainfo == NULL || !transfer->metainfo->is_private);
}

static void learn(struct transfers *self, const Lb__Transport__LocalPeer *peer)
{
    struct address address;
    if (peer->infohash.len != 20 ||
        address_from_compact(bytes_of(peer->address.data, peer->address.len), &address) != LB_OK ||
        transfers_is_own(self, &address))
        return;
    struct transfer *transfer = transfers_get(self, peer->infohash.data);
    if (transfer == NULL || !is_public(transfer))
        return;
    torrent_add_address(&transfer->torrent, &address, false, transfers_now_ms(self));
    transfers_touch(transfer);
}

static void on_local_peers(void *ctx, lb_err err, const char *reason, const void *message)
{
    struct local_ask *ask = ctx;
    struct transfers *self = ask->owner;
    const Lb__Transport__Reply *reply = message;
    const bool last = ask->serial == self->local_asks;
    free(ask);
    if (self->stopping)
        return;
    if (err == LB_OK && reply->body_case == LB__TRANSPORT__REPLY__BODY_LOCAL_PEERS)
        for (size_t i = 0; i < reply->local_peers->n_peers; i++)
            learn(self, reply->local_peers->peers[i]);
    if (!last || self->local_told == 0)
        return;
    if (err == LB_OK || err == LB_TIMEOUT || err == LB_UNAVAILABLE || err == LB_CANCELLED) {
        transfers_local_changed(self); /* ask again */
        return;
    }
    log_info("torrents are not announced on the local net: %s", reason);
    self->transport = NULL;
}

static void ask_local(struct transfers *self)
{
    Lb__Transport__LocalTorrents torrents = LB__TRANSPORT__LOCAL_TORRENTS__INIT;
    Lb__Transport__Request request = LB__TRANSPORT__REQUEST__INIT;
    uint8_t *hashes = xcalloc(2 * self->count + 1, 20);
    size_t count = 0;
    for (size_t i = 0; i < self->count && count < TORRENTS_MAX; i++)
        if (is_public(self->items[i]))
            memcpy(hashes + 20 * count++, self->items[i]->infohash, 20);
    /* A hybrid has a name in either swarm. */
    for (size_t i = 0; i < self->count && count < TORRENTS_MAX; i++)
        if (is_public(self->items[i]) && self->items[i]->has_v1 && self->items[i]->has_v2)
            memcpy(hashes + 20 * count++, self->items[i]->infohash_v2, 20);
    if (count == 0 && self->local_told == 0) {
        free(hashes);
        return;
    }
    self->local_told = count;
    torrents.swarm = actor_instance(self->actor);
    torrents.port = self->port;
    torrents.infohashes = (ProtobufCBinaryData){ .len = 20 * count, .data = hashes };
    request.body_case = LB__TRANSPORT__REQUEST__BODY_LOCAL_TORRENTS;
    request.local_torrents = &torrents;
    struct local_ask *ask = xcalloc(1, sizeof *ask);
    *ask = (struct local_ask){ .owner = self, .serial = ++self->local_asks };
    link_call(self->transport, &request.base, ASK_MS, on_local_peers, ask);
    free(hashes);
}

void transfers_local_open(struct transfers *self)
{
    /* BEP 14 is multicast in the clear: it would tell everybody on the net which torrents there
     * are, and their peers are found through the DHT of the network, which is encrypted. */
    if (self->network == NULL &&
        config_number(actor_config(self->actor), CONFIG_SWARM_LOCAL_DISCOVERY))
        self->transport =
            actor_link(self->actor, SERVICE_TRANSPORT, 0, &lb__transport__reply__descriptor);
}

void transfers_local_changed(struct transfers *self)
{
    self->local_stale = true;
    if (self->connections != NULL)
        connections_wake(self->connections);
}

void transfers_local_settle(struct transfers *self)
{
    if (!self->local_stale || self->transport == NULL || self->stopping)
        return;
    self->local_stale = false;
    ask_local(self);
}
