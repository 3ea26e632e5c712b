/*
 * Telling peers what has come. A HAVE alone is a packet of which nine tenths are headers, one for
 * each piece and peer: of small pieces that is 3 % and more of a link. A peer we cooperate with is
 * told at once of what hardly anybody has, so that it spreads; of the rest with the next message to
 * it, or a moment later, and not at all if it has it by then.
 */
#include "services/swarm/torrent_inside.h"

void torrent_have_tell(struct torrent *self, struct peer *peer, uint32_t piece, uint64_t now_ms)
{
    if (peer->haves_count == PEER_HAVES_MAX)
        torrent_have_flush(self, peer, now_ms);
    peer->haves[peer->haves_count++] = piece;
    const bool rare = self->picker.available[piece] < HAVE_RARE;
    if (!peer->cooperates || peer->everything || rare)
        torrent_have_flush(self, peer, now_ms);
    else if (now_ms + HAVE_DELAY_MS < self->haves_due_ms)
        self->haves_due_ms = now_ms + HAVE_DELAY_MS;
}

void torrent_have_flush(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    const uint32_t count = peer->haves_count;
    peer->haves_count = 0; /* so that sending does not flush them again */
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t piece = peer->haves[i];
        if (!picker_has(&self->picker, piece) ||
            (peer->cooperates && !peer->everything && peer_has(peer, piece)))
            continue;
        const struct wire_message have = { .kind = WIRE_HAVE, .piece = piece };
        torrent_send(self, peer, &have, now_ms);
    }
}

void torrent_have_turn(struct torrent *self, uint64_t now_ms)
{
    if (now_ms < self->haves_due_ms)
        return;
    self->haves_due_ms = UINT64_MAX;
    for (uint32_t i = 0; i < self->slots; i++)
        if (self->peers[i] != NULL)
            torrent_have_flush(self, self->peers[i], now_ms);
}
