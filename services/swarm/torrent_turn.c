/* Time: announcements, what each peer is due, and when to look again. */
#include "services/swarm/torrent_inside.h"

/* While there are no peers, or no node took the announcement, look again after these. */
static const uint32_t announce_again_ms[] = { 2000, 5000, 10000, 30000 };
#define ANNOUNCE_STEPS  (sizeof announce_again_ms / sizeof announce_again_ms[0])
#define ANNOUNCE_FEW_MS 60000u /* and this often while there are few */
#define ANNOUNCE_FEW    4u

void torrent_announce_soon(struct torrent *self, uint64_t now_ms)
{
    self->announce_tries = 0;
    if (self->next_announce_ms > now_ms + announce_again_ms[0])
        self->next_announce_ms = now_ms + announce_again_ms[0];
}

void torrent_announced(struct torrent *self, uint32_t acknowledged, uint64_t now_ms)
{
    self->announcing = false;
    const bool lonely = !self->complete && self->peers_count == 0;
    uint64_t wait = self->options.announce_interval_ms;
    if (lonely || acknowledged == 0) {
        const uint32_t step =
            self->announce_tries < ANNOUNCE_STEPS ? self->announce_tries : ANNOUNCE_STEPS - 1;
        wait = announce_again_ms[step];
        self->announce_tries++;
    } else if (!self->complete && self->peers_count < ANNOUNCE_FEW && wait > ANNOUNCE_FEW_MS) {
        wait = ANNOUNCE_FEW_MS;
    }
    if (wait > self->options.announce_interval_ms)
        wait = self->options.announce_interval_ms;
    self->next_announce_ms = now_ms + wait;
}

static void turn_peer(struct torrent *self, struct peer **peer, uint64_t now_ms)
{
    switch (peer_turn(*peer, now_ms)) {
    case PEER_DEAD:
        torrent_drop(self, peer, "silent for too long", now_ms);
        return;
    case PEER_SNUBBED:
        torrent_fetch_snubbed(self, *peer);
        break;
    case PEER_KEEPALIVE_DUE:
        torrent_send_kind(self, *peer, WIRE_KEEPALIVE, now_ms);
        break;
    case PEER_WELL:
        break;
    }
    /* What it rejected it may have by now: a new connection tells. */
    if ((*peer)->rejected_ms != 0 && (*peer)->wanted == 0 && !self->complete &&
        now_ms - (*peer)->rejected_ms >= TORRENT_REJECTED_MS) {
        torrent_drop(self, peer, "it rejected all we lack", now_ms);
        return;
    }
    torrent_exchange_turn(self, *peer, now_ms);
    torrent_give_pump(self, *peer, now_ms);
}

void torrent_turn(struct torrent *self, uint64_t now_ms)
{
    if (!self->announcing && now_ms >= self->next_announce_ms) {
        self->announcing = true;
        torrent_push(self, &(struct torrent_action){ .kind = TORRENT_ANNOUNCE });
    }
    if (now_ms >= self->next_turn_ms) {
        self->next_turn_ms = now_ms + TORRENT_TURN_MS;
        for (uint32_t i = 0; i < self->slots; i++)
            if (self->peers[i] != NULL)
                turn_peer(self, &self->peers[i], now_ms);
        peer_rate_turn(&self->received, now_ms);
        self->received_best -= self->received_best / 32;
        if (self->received.per_second > self->received_best)
            self->received_best = self->received.per_second;
        peer_rate_turn(&self->sent, now_ms);
        torrent_upload_turn(self, now_ms);
        torrent_exchange_review(self, now_ms);
        torrent_hashes_turn(self, now_ms);
        torrent_suspect_turn(self, now_ms);
        torrent_plan_turn(self, now_ms);
        torrent_report_turn(self, now_ms);
        torrent_webseed_turn(self, now_ms);
        if (now_ms >= choke_deadline_ms(&self->choke))
            torrent_give_round(self, now_ms);
        self->refill = !self->complete;
    }
    if (now_ms >= self->again_ms) {
        self->again_ms = UINT64_MAX;
        self->refill = !self->complete;
    }
    torrent_have_turn(self, now_ms);
    torrent_connect_more(self, now_ms);
}

void torrent_go_on(struct torrent *self, uint32_t number, enum limits_direction direction,
                   uint64_t now_ms)
{
    struct peer *peer = torrent_find(self, number);
    struct limits_flow *flow = NULL;
    if (peer == NULL) {
        torrent_webseed_go_on(self, number, now_ms);
        return;
    }
    if (direction == LIMITS_RECEIVE) {
        flow = &peer->receiving;
        torrent_fetch_fill(self, peer, now_ms);
    } else {
        flow = &peer->sending;
        torrent_give_pump(self, peer, now_ms);
    }
    if (!limits_waits(flow))
        limits_forget(flow);
}

uint64_t torrent_deadline_ms(const struct torrent *self)
{
    uint64_t deadline = self->announcing ? UINT64_MAX : self->next_announce_ms;
    uint64_t other =
        self->haves_due_ms < self->next_turn_ms ? self->haves_due_ms : self->next_turn_ms;
    /* Rates fade out and addresses are tried by turns; without both nothing is due. */
    if (self->peers_count == 0 && self->received.per_second == 0 && self->sent.per_second == 0 &&
        !torrent_webseed_is_busy(self))
        other = self->candidates.connecting >= TORRENT_CONNECTING_MAX ||
                        self->candidates.connecting >= self->options.peers_wanted || self->paused
                    ? UINT64_MAX
                    : candidates_deadline_ms(&self->candidates, self->complete);
    if (self->again_ms < other)
        other = self->again_ms;
    return deadline < other ? deadline : other;
}
