#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/swarm/torrent_inside.h"

#include <assert.h>
#include <stdlib.h>

/* ---- places ---- */

static void unchoke(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    peer->am_choking = false;
    peer->unchoked_ms = now_ms;
    peer->unchoked_total = peer->sent.total;
    torrent_send_kind(self, peer, WIRE_UNCHOKE, now_ms);
}

/* ---- pieces for who is choked (BEP 6) ---- */

/*
 * So that who has nothing gets something to give. Not in a local net: there all neighbours of a
 * subnet would be granted the same pieces, and the origin would send these again and again.
 */
void torrent_give_grant(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    if (!self->has_metainfo || !peer->fast || peer->granted_count > 0 ||
        address_is_private(&peer->address))
        return;
    const uint32_t pieces = self->picker.shape.pieces;
    peer->granted_count = (uint32_t)fast_set(self->options.infohash, &peer->address, pieces,
                                             peer->granted, FAST_SET_SIZE);
    peer->granted_bytes = (uint64_t)peer->granted_count * self->picker.shape.piece_size;
    for (uint32_t i = 0; i < peer->granted_count; i++) {
        const struct wire_message allowed = { .kind = WIRE_ALLOWED_FAST,
                                              .piece = peer->granted[i] };
        torrent_send(self, peer, &allowed, now_ms);
    }
}

static bool is_granted(const struct peer *peer, uint32_t piece)
{
    for (uint32_t i = 0; i < peer->granted_count; i++)
        if (peer->granted[i] == piece)
            return true;
    return false;
}

/* Once each, and while it has no more pieces than it was granted. */
static bool takes_granted(struct peer *peer, const struct peer_wish *wish)
{
    if (!is_granted(peer, wish->piece) || peer->pieces_count > peer->granted_count ||
        peer->granted_bytes < wish->length)
        return false;
    peer->granted_bytes -= wish->length;
    return true;
}

static void choke(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    peer->am_choking = true;
    torrent_send_kind(self, peer, WIRE_CHOKE, now_ms);
    struct peer_wish wish;
    for (uint32_t left = peer->wishes_count; left > 0 && peer_wish_next(peer, &wish); left--) {
        if (is_granted(peer, wish.piece))
            (void)peer_wish_add(peer, &wish);
        else
            torrent_give_reject(self, peer, &wish, now_ms);
    }
}

static bool waits(const struct peer *peer)
{
    return peer != NULL && peer->interested && peer->am_choking && !peer->cooperates;
}

static size_t places_taken(const struct torrent *self)
{
    size_t taken = 0;
    for (uint32_t i = 0; i < self->slots; i++)
        taken +=
            self->peers[i] != NULL && !self->peers[i]->am_choking && !self->peers[i]->cooperates;
    return taken;
}

/* Free places go at once to those who wait, drawn at random. */
void torrent_give_fill(struct torrent *self, uint64_t now_ms)
{
    if (!self->has_metainfo)
        return;
    for (size_t taken = places_taken(self); choke_has_room(&self->choke, taken); taken++) {
        struct peer *chosen = NULL;
        uint64_t seen = 0;
        for (uint32_t i = 0; i < self->slots; i++)
            if (waits(self->peers[i]) && random_below(self->random, ++seen) == 0)
                chosen = self->peers[i];
        if (chosen == NULL)
            return;
        unchoke(self, chosen, now_ms);
    }
}

void torrent_give_interested(struct torrent *self, struct peer *peer, bool interested,
                             uint64_t now_ms)
{
    peer->interested = interested;
    if (!interested && !peer->am_choking && !peer->cooperates)
        choke(self, peer, now_ms);
    torrent_give_fill(self, now_ms);
}

void torrent_give_always(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    if (peer->am_choking && self->has_metainfo)
        unchoke(self, peer, now_ms);
}

void torrent_give_round(struct torrent *self, uint64_t now_ms)
{
    struct choke_peer *peers = xcalloc(self->slots == 0 ? 1 : self->slots, sizeof *peers);
    size_t count = 0;
    for (uint32_t i = 0; i < self->slots; i++) {
        const struct peer *peer = self->peers[i];
        if (peer == NULL || peer->cooperates)
            continue;
        peers[count++] = (struct choke_peer){
            .peer = peer->number,
            .interested = peer->interested,
            .snubbed = peer->snubbed,
            .unchoked = !peer->am_choking,
            .received_rate = peer->received.per_second,
            .sent_rate = peer->sent.per_second,
            .sent_bytes = peer->sent.total - peer->unchoked_total,
            .sent_total = peer->sent.total,
            .unchoked_ms = peer->unchoked_ms,
        };
    }
    const struct choke_policy *policy =
        self->complete ? self->options.seed_policy : self->options.fetch_policy;
    choke_round(&self->choke, policy, peers, count, self->random, now_ms);
    for (size_t i = 0; i < count; i++) {
        struct peer *peer = torrent_find(self, peers[i].peer);
        assert(peer != NULL);
        if (!peers[i].unchoked && !peer->am_choking)
            choke(self, peer, now_ms);
        else if (peers[i].unchoked && peer->am_choking && self->has_metainfo)
            unchoke(self, peer, now_ms);
    }
    free(peers);
}

/* ---- blocks ---- */

void torrent_give_reject(struct torrent *self, struct peer *peer, const struct peer_wish *wish,
                         uint64_t now_ms)
{
    if (!peer->fast)
        return;
    const struct wire_message reject = {
        .kind = WIRE_REJECT,
        .piece = wish->piece,
        .offset = wish->offset,
        .length = wish->length,
    };
    torrent_send(self, peer, &reject, now_ms);
}

const char *torrent_give_request(struct torrent *self, struct peer *peer,
                                 const struct wire_message *message, uint64_t now_ms)
{
    const struct peer_wish wish = {
        .piece = message->piece,
        .offset = message->offset,
        .length = message->length,
    };
    if (message->length == 0 || message->length > peer->block_size)
        return "it asks for no block";
    if (self->has_metainfo) {
        if (wish.piece >= self->picker.shape.pieces)
            return "it asks for a piece there is not";
        const uint32_t size = picker_padded_size(&self->picker, wish.piece);
        if (wish.offset >= size || wish.length > size - wish.offset)
            return "it asks beyond a piece";
    }
    if (!self->has_metainfo || !picker_has(&self->picker, wish.piece) ||
        (peer->am_choking && !takes_granted(peer, &wish)) || !peer_wish_add(peer, &wish)) {
        torrent_give_reject(self, peer, &wish, now_ms);
        return NULL;
    }
    torrent_plan_asked(self, peer, wish.piece, now_ms);
    torrent_give_pump(self, peer, now_ms);
    return NULL;
}

void torrent_give_cancel(struct torrent *self, struct peer *peer,
                         const struct wire_message *message, uint64_t now_ms)
{
    const struct peer_wish wish = {
        .piece = message->piece,
        .offset = message->offset,
        .length = message->length,
    };
    if (peer_wish_remove(peer, &wish))
        torrent_give_reject(self, peer, &wish, now_ms);
}

void torrent_give_pump(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    torrent_upload_add(self, peer);
    torrent_upload_run(self, now_ms);
}

void torrent_block_ready(struct torrent *self, uint32_t number, uint64_t now_ms)
{
    struct peer *peer = torrent_find(self, number);
    if (peer != NULL)
        torrent_have_flush(self, peer, now_ms);
}

void torrent_sent(struct torrent *self, uint32_t number, const struct wire_message *block,
                  bool sent, uint64_t now_ms)
{
    struct peer *peer = torrent_find(self, number);
    if (sent)
        peer_rate_add(&self->sent, block->length);
    if (peer == NULL)
        return;
    assert(peer->sending_bytes >= block->length);
    torrent_upload_sent(self, peer, block, now_ms);
    if (sent) {
        peer->sent_ms = now_ms;
        peer_rate_add(&peer->sent, block->length);
    } else {
        limits_give_back(&peer->sending, block->length);
        const struct peer_wish wish = { block->piece, block->offset, block->length };
        torrent_give_reject(self, peer, &wish, now_ms);
    }
    torrent_give_pump(self, peer, now_ms);
}
