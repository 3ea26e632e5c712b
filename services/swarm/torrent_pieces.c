/* What becomes of pieces: good, bad, found on disk, lost. */
#include "libcommon/memory.h"
#include "services/swarm/torrent_inside.h"

#include <stdlib.h>

/* was_wanted: it was among what is wanted of the peers that have it. */
static void piece_is_here(struct torrent *self, uint32_t piece, bool was_wanted, uint64_t now_ms)
{
    self->held_ms[piece] = (uint32_t)now_ms;
    for (uint32_t i = 0; i < self->slots; i++) {
        struct peer *peer = self->peers[i];
        if (peer == NULL)
            continue;
        /* Of those we cooperate with, seeds want to know what has come through (plan.h); who has
         * the piece has no use for it. */
        if (peer->cooperates ? peer->everything || !peer_has(peer, piece) : !peer->everything)
            torrent_have_tell(self, peer, piece, now_ms);
        if (was_wanted && peer_has(peer, piece)) {
            peer->wanted--;
            torrent_fetch_interest(self, peer, now_ms);
        }
    }
    if (!self->complete && picker_is_complete(&self->picker))
        torrent_become_complete(self, now_ms);
}

bool torrent_wants_digests(const struct torrent *self, uint32_t piece)
{
    return suspects_wants(&self->suspects, piece);
}

void torrent_verified(struct torrent *self, uint32_t piece, lb_err result, uint64_t now_ms)
{
    torrent_judged(self, piece, result, NULL, now_ms);
}

static void piece_is_bad(struct torrent *self, uint32_t piece, const uint8_t *digests,
                         const uint32_t *from, uint64_t now_ms)
{
    self->stats.bad_pieces++;
    self->stats.wasted_bytes += picker_piece_size(&self->picker, piece);
    torrent_suspect_bad(self, piece, digests, from, now_ms);
}

void torrent_judged(struct torrent *self, uint32_t piece, lb_err result, const uint8_t *digests,
                    uint64_t now_ms)
{
    if (!self->has_metainfo || piece >= self->picker.shape.pieces ||
        self->picker.state[piece] != PICKER_CHECKING)
        return;
    uint32_t *from = xcalloc(picker_block_count(&self->picker, piece), sizeof *from);
    picker_senders(&self->picker, piece, from);
    picker_verified(&self->picker, piece, result == LB_OK);
    self->refill |= result != LB_OK;
    self->endgame &= result == LB_OK;
    if (result == LB_OK) {
        torrent_suspect_good(self, piece, digests, from, now_ms);
        piece_is_here(self, piece, true, now_ms);
    } else if (result == LB_CORRUPT) {
        piece_is_bad(self, piece, digests, from, now_ms);
    }
    free(from);
}

void torrent_found(struct torrent *self, uint32_t piece, uint64_t now_ms)
{
    if (!self->has_metainfo || piece >= self->picker.shape.pieces ||
        (self->picker.state[piece] != PICKER_MISSING &&
         self->picker.state[piece] != PICKER_UNSELECTED))
        return;
    const bool was_wanted = picker_wants(&self->picker, piece);
    picker_set_have(&self->picker, piece);
    suspects_forget(&self->suspects, piece);
    piece_is_here(self, piece, was_wanted, now_ms);
}

void torrent_lost(struct torrent *self, uint32_t piece, uint64_t now_ms)
{
    if (!self->has_metainfo || !picker_has(&self->picker, piece))
        return;
    picker_lose(&self->picker, piece);
    torrent_plan_review(self);
    torrent_exchange_donthave(self, piece, now_ms);
    if (!picker_wants(&self->picker, piece))
        return;
    self->complete = false;
    self->endgame = false;
    self->refill = true;
    for (uint32_t i = 0; i < self->slots; i++) {
        struct peer *peer = self->peers[i];
        if (peer != NULL && peer_has(peer, piece)) {
            peer->wanted++;
            torrent_fetch_interest(self, peer, now_ms);
        }
    }
}

void torrent_abandon(struct torrent *self, uint32_t piece)
{
    if (!self->has_metainfo)
        return;
    torrent_suspect_unhold(self, piece);
    picker_abandon(&self->picker, piece);
    self->endgame = false;
    self->refill = true;
}
