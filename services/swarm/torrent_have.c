/*
 * Telling peers what has come. A HAVE alone is a packet of which nine tenths are headers, and which
 * costs another to acknowledge it, one for each piece and peer: of small pieces that is 5 % and
 * more of a link. Of those we cooperate with only who waits for it is told at once: seeds, of what
 * they alone had, and of what nobody else has whose turn it is (wave.h). The others hear of it with
 * the next block or message we send them, or a while later together with what came meanwhile, and
 * not at all if they have it by then, as most do. How long a while follows from how much of our
 * link the headers may take (HAVE_SHARE): 1 s of 31 peers at 12.5 Mbit/s, but 50 ms of 80 peers at
 * 1 Gbit/s, where a second would be a good part of the whole.
 */
#include "services/swarm/torrent_inside.h"

/* A seed is told all the same: what it gave may have come from another. */
static bool is_news(const struct torrent *self, const struct peer *peer, uint32_t piece)
{
    return picker_has(&self->picker, piece) &&
           (!peer->cooperates || peer->everything || !peer_has(peer, piece));
}

static void forget_old_news(const struct torrent *self, struct peer *peer)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < peer->haves_count; i++)
        if (is_news(self, peer, peer->haves[i]))
            peer->haves[kept++] = peer->haves[i];
    peer->haves_count = kept;
}

static uint64_t delay_ms(const struct torrent *self)
{
    if (self->received_best == 0)
        return HAVE_DELAY_NEW_MS;
    const uint64_t ms =
        (uint64_t)self->peers_count * HAVE_COST * HAVE_SHARE * 1000 / self->received_best;
    return ms < HAVE_DELAY_LEAST_MS  ? HAVE_DELAY_LEAST_MS
           : ms > HAVE_DELAY_MOST_MS ? HAVE_DELAY_MOST_MS
                                     : ms;
}

void torrent_have_tell(struct torrent *self, struct peer *peer, uint32_t piece, uint64_t now_ms)
{
    if (peer->haves_count == PEER_HAVES_MAX)
        forget_old_news(self, peer);
    if (peer->haves_count == PEER_HAVES_MAX)
        torrent_have_flush(self, peer, now_ms);
    peer->haves[peer->haves_count++] = piece;
    if (!peer->cooperates || torrent_plan_waits(self, peer, piece, now_ms))
        torrent_have_flush(self, peer, now_ms);
    else if (now_ms + delay_ms(self) < self->haves_due_ms)
        self->haves_due_ms = now_ms + delay_ms(self);
}

void torrent_have_flush(struct torrent *self, struct peer *peer, uint64_t now_ms)
{
    forget_old_news(self, peer);
    const uint32_t count = peer->haves_count;
    peer->haves_count = 0; /* so that sending does not flush them again */
    if (peer->cooperates && count > 1) {
        torrent_plan_tell(self, peer, PLAN_MESSAGE_HAVE, peer->haves, count, now_ms);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct wire_message have = { .kind = WIRE_HAVE, .piece = peer->haves[i] };
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
