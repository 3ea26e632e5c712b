/* Peers come and go: whom we call, who may join, what is left of who leaves. */
#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/torrent_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static_assert(TORRENT_PEERS_MAX <= TORRENT_SLOTS, "a slot fits its part of a number");

struct peer *torrent_find(const struct torrent *self, uint32_t number)
{
    const uint32_t slot = number % TORRENT_SLOTS;
    if (slot >= self->slots || self->peers[slot] == NULL || self->peers[slot]->number != number)
        return NULL;
    return self->peers[slot];
}

const struct peer *torrent_peer(const struct torrent *self, uint32_t peer)
{
    return torrent_find(self, peer);
}

void torrent_connect_more(struct torrent *self, uint64_t now_ms)
{
    if (self->paused)
        return;
    struct address address;
    while (self->candidates.connecting < TORRENT_CONNECTING_MAX &&
           self->peers_count + self->candidates.connecting < self->options.peers_wanted &&
           candidates_next(&self->candidates, self->complete, self->random, now_ms, &address)) {
        const struct torrent_action action = { .kind = TORRENT_CONNECT, .address = address };
        torrent_push(self, &action);
    }
}

void torrent_add_address(struct torrent *self, const struct address *address, bool seed,
                         uint64_t now_ms)
{
    if (candidates_add(&self->candidates, address, seed))
        torrent_connect_more(self, now_ms);
}

void torrent_call_address(struct torrent *self, const struct address *address, uint64_t now_ms)
{
    (void)candidates_add(&self->candidates, address, false);
    struct candidate *item = candidates_find(&self->candidates, address);
    if (item == NULL)
        return;
    item->failures = 0;
    item->next_try_ms = now_ms;
    item->seed = false;
    torrent_connect_more(self, now_ms);
}

void torrent_connect_failed(struct torrent *self, const struct address *address, uint64_t now_ms)
{
    candidates_left(&self->candidates, address, 0, now_ms);
    torrent_connect_more(self, now_ms);
}

static struct peer *find_id(const struct torrent *self, const uint8_t *peer_id)
{
    for (uint32_t i = 0; i < self->slots; i++)
        if (self->peers[i] != NULL &&
            memcmp(self->peers[i]->peer_id, peer_id, sizeof self->peers[i]->peer_id) == 0)
            return self->peers[i];
    return NULL;
}

/* A second connection to the same peer; true: the new one is to replace the old. */
static bool new_one_stays(const struct torrent *self, const struct peer *old,
                          const struct torrent_hello *hello)
{
    if (old->outgoing == hello->outgoing)
        return false;
    /* Both called each other: both ends keep the call of the greater peer id. */
    const bool ours_wins =
        memcmp(self->options.peer_id, hello->handshake->peer_id, sizeof self->options.peer_id) > 0;
    return hello->outgoing == ours_wins;
}

/* The address we called is where `peer`, whom we have already, can be reached. */
static void learn_address(struct torrent *self, struct peer *peer, const struct address *address)
{
    if (peer->listens.port == 0) {
        peer->listens = *address;
        (void)candidates_add(&self->candidates, address, false);
    }
    if (address_equal(&peer->listens, address))
        candidates_connected(&self->candidates, address);
    else
        candidates_remove(&self->candidates, address);
}

/*
 * When all places are taken: the one longest here of those that exchanged nothing, neither wanted
 * nor offered anything for a moment, or did not make use of it for a while. NULL: all are of use.
 */
static struct peer *find_idle(const struct torrent *self, uint64_t now_ms)
{
    struct peer *found = NULL;
    for (uint32_t i = 0; i < self->slots; i++) {
        struct peer *peer = self->peers[i];
        if (peer == NULL || peer->received.total > 0 || peer->sent.total > 0)
            continue;
        const bool wanted = peer->interested || peer->am_interested;
        if (now_ms - peer->joined_ms < (wanted ? TORRENT_UNUSED_MS : TORRENT_UNWANTED_MS))
            continue;
        if (found == NULL || peer->joined_ms < found->joined_ms)
            found = peer;
    }
    return found;
}

static lb_err may_join(struct torrent *self, const struct torrent_hello *hello, uint64_t now_ms)
{
    const uint8_t *peer_id = hello->handshake->peer_id;
    if (memcmp(peer_id, self->options.peer_id, sizeof self->options.peer_id) == 0) {
        candidates_own(&self->candidates, &hello->address);
        return LB_DENIED;
    }
    if (candidates_is_banned(&self->candidates, &hello->address, peer_id)) {
        candidates_remove(&self->candidates, &hello->address);
        return LB_DENIED;
    }
    struct peer *old = find_id(self, peer_id);
    if (old != NULL && !new_one_stays(self, old, hello)) {
        if (hello->outgoing)
            learn_address(self, old, &hello->address);
        return LB_EXISTS;
    }
    if (old != NULL)
        torrent_drop(self, &old, "a second connection to it stays", now_ms);
    struct peer *idle =
        self->peers_count >= self->options.peers_max ? find_idle(self, now_ms) : NULL;
    if (idle != NULL)
        torrent_drop(self, &idle, "another is given its place", now_ms);
    if (self->peers_count >= self->options.peers_max) {
        if (hello->outgoing)
            candidates_left(&self->candidates, &hello->address, 0, now_ms);
        return LB_FULL;
    }
    return LB_OK;
}

static uint32_t free_slot(struct torrent *self)
{
    for (uint32_t i = 0; i < self->slots; i++)
        if (self->peers[i] == NULL)
            return i;
    const uint32_t old = self->slots;
    self->slots = old == 0 ? 8 : 2 * old;
    if (self->slots > TORRENT_SLOTS)
        self->slots = TORRENT_SLOTS;
    self->peers = xrealloc(self->peers, self->slots * sizeof(struct peer *));
    self->hungry = xrealloc(self->hungry, self->slots * sizeof *self->hungry);
    memset(self->peers + old, 0, (self->slots - old) * sizeof(struct peer *));
    return old;
}

void torrent_tell_pieces(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    const uint32_t pieces = self->picker.shape.pieces;
    uint8_t *bits = xcalloc(bitfield_size(pieces), 1);
    for (uint32_t i = 0; i < pieces; i++)
        if (picker_has(&self->picker, i))
            bitfield_set(bits, i);
    const struct wire_message message = {
        .kind = WIRE_BITFIELD,
        .payload = bytes_of(bits, bitfield_size(pieces)),
    };
    torrent_send(self, peer, &message, now_ms);
    free(bits);
}

/* The first thing a peer hears: what we have (BEP 3, BEP 6), then what we can (BEP 10). */
static void greet(struct torrent *self, struct peer *peer, bool dht, uint64_t now_ms)
{
    const struct picker *picker = &self->picker;
    peer->hidden = torrent_reveal_hides(self);
    const bool nothing = !self->has_metainfo || picker->have == 0 || peer->hidden;
    if (nothing && peer->fast) {
        torrent_send_kind(self, peer, WIRE_HAVE_NONE, now_ms);
    } else if (!nothing && picker_has_all(picker) && peer->fast) {
        torrent_send_kind(self, peer, WIRE_HAVE_ALL, now_ms);
    } else if (!nothing) {
        torrent_tell_pieces(self, peer, now_ms);
    }
    torrent_give_grant(self, peer, now_ms);
    if (peer->extended)
        torrent_exchange_hello(self, peer, now_ms);
    if (dht && self->options.dht_port != 0 && !self->is_private) {
        const struct wire_message port = { .kind = WIRE_PORT, .port = self->options.dht_port };
        torrent_send(self, peer, &port, now_ms);
    }
}

lb_err torrent_join(struct torrent *self, const struct torrent_hello *hello, uint64_t now_ms,
                    uint32_t *ret_peer)
{
    const lb_err err = may_join(self, hello, now_ms);
    if (err != LB_OK)
        return err;
    const uint32_t slot = free_slot(self);
    struct peer *peer = peer_new(hello->handshake, &hello->address, hello->outgoing, now_ms);
    peer->number = self->serial++ % (UINT32_MAX / TORRENT_SLOTS) * TORRENT_SLOTS + slot;
    if (self->has_metainfo)
        peer->block_size = self->picker.shape.block_size;
    self->peers[slot] = peer;
    limits_flow_init(&peer->receiving, self->options.limits, peer->number, LIMITS_RECEIVE,
                     &peer->address);
    limits_flow_init(&peer->sending, self->options.limits, peer->number, LIMITS_SEND,
                     &peer->address);
    if (self->peers_count++ == 0)
        self->next_turn_ms = now_ms + TORRENT_TURN_MS;
    if (hello->outgoing)
        candidates_connected(&self->candidates, &hello->address);
    peer->v2 = hello->v2;
    greet(self, peer, hello->handshake->dht, now_ms);
    torrent_hashes_joined(self, peer, now_ms);
    *ret_peer = peer->number;
    return LB_OK;
}

static void remember_departed(struct torrent *self, const struct peer *peer, uint64_t now_ms)
{
    if (peer->listens.port == 0)
        return;
    self->departed[self->departed_count++ % TORRENT_LEFT_MAX] =
        (struct torrent_departed){ .address = peer->listens, .left_ms = now_ms };
}

static void forget_peer(struct torrent *self, struct peer **peer, uint64_t now_ms)
{
    const uint32_t slot = (*peer)->number % TORRENT_SLOTS;
    const bool gave_place = !(*peer)->am_choking;
    torrent_fetch_release(self, *peer);
    torrent_upload_left(self, *peer, now_ms);
    torrent_fetch_uncount(self, *peer);
    torrent_exchange_left(self, *peer);
    torrent_suspect_left(self, *peer);
    torrent_plan_left(self, *peer);
    torrent_report_left(self, *peer, now_ms);
    torrent_hashes_left(self, *peer);
    remember_departed(self, *peer, now_ms);
    if ((*peer)->listens.port != 0) {
        struct candidate *item = candidates_find(&self->candidates, &(*peer)->listens);
        if (item != NULL)
            item->seed = (*peer)->everything || (*peer)->upload_only;
        candidates_left(&self->candidates, &(*peer)->listens, now_ms - (*peer)->joined_ms, now_ms);
    }
    struct peer *gone = *peer;
    self->peers[slot] = NULL;
    *peer = NULL;
    peer_free(&gone);
    self->peers_count--;
    if (gave_place)
        torrent_give_fill(self, now_ms);
    if (self->peers_count == 0 && !self->complete)
        torrent_announce_soon(self, now_ms);
}

void torrent_drop(struct torrent *self, struct peer **peer, const char *reason, uint64_t now_ms)
{
    const struct torrent_action action = {
        .kind = TORRENT_DISCONNECT,
        .peer = (*peer)->number,
        .address = (*peer)->address,
        .reason = reason,
    };
    torrent_push(self, &action);
    forget_peer(self, peer, now_ms);
}

void torrent_ban(struct torrent *self, struct peer **peer, const char *reason, uint64_t now_ms)
{
    const struct address address = (*peer)->listens.port != 0 ? (*peer)->listens : (*peer)->address;
    candidates_ban(&self->candidates, &address, (*peer)->peer_id);
    self->stats.banned++;
    torrent_drop(self, peer, reason, now_ms);
}

void torrent_left(struct torrent *self, uint32_t number, uint64_t now_ms)
{
    struct peer *peer = torrent_find(self, number);
    if (peer != NULL)
        forget_peer(self, &peer, now_ms);
}
