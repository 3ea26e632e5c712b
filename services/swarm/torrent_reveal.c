/*
 * Super-seeding (BEP 16), where it is asked for: towards strangers. While there are pieces that
 * only we have, a stranger that joins is told of none; those that the plan would give it (plan.h)
 * are revealed to it, several at a time, as many as our uplink needs, so that nobody waits for a
 * start. When every piece is out once, or another seed is here, all is revealed to all. A peer that
 * turns out to be one we cooperate with is told everything at once: it has a plan of its own.
 */
#include "services/swarm/torrent_inside.h"

static bool is_only_here(const struct torrent *self)
{
    if (self->picker.seeds > 0)
        return false;
    for (uint32_t i = 0; i < self->picker.shape.pieces; i++)
        if (self->picker.available[i] == 0)
            return true;
    return false;
}

bool torrent_reveal_hides(const struct torrent *self)
{
    return self->options.super_seeding && self->has_metainfo &&
           self->picker.shape.pieces <= REVEAL_PIECES_MAX && picker_has_all(&self->picker) &&
           is_only_here(self);
}

/* Who is choked cannot ask for it; but the first makes it interested. */
bool torrent_reveal_may(const struct peer *peer)
{
    return !peer->everything && !peer->upload_only && (!peer->am_choking || peer->gift_ms == 0);
}

void torrent_reveal(struct torrent *self, struct peer *peer, uint32_t piece, uint64_t now_ms)
{
    const struct wire_message have = { .kind = WIRE_HAVE, .piece = piece };
    torrent_send(self, peer, &have, now_ms);
}

void torrent_reveal_all(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    peer->hidden = false;
    if (peer->cooperates && peer->fast && picker_has_all(&self->picker)) {
        torrent_send_kind(self, peer, WIRE_HAVE_ALL, now_ms);
        return;
    }
    for (uint32_t i = 0; i < self->picker.shape.pieces; i++)
        if (picker_has(&self->picker, i) && !peer_has(peer, i))
            torrent_reveal(self, peer, i, now_ms);
}
