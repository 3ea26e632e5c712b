#include "services/swarm/choke.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"

#include <assert.h>
#include <stdlib.h>

/* Who gives us most first; who keeps us waiting is worth nothing. */
static uint64_t worth_by_rate(const struct choke_peer *peer, uint64_t now_ms)
{
    (void)now_ms;
    return peer->snubbed ? 0 : peer->received_rate;
}

/*
 * A turn lasts a while, so that connections get up to speed; then those who had least so far come
 * first. Everybody has a worth: upload is never kept back.
 */
static uint64_t worth_by_turn(const struct choke_peer *peer, uint64_t now_ms)
{
    const bool in_turn = peer->unchoked && (now_ms - peer->unchoked_ms < CHOKE_TURN_MS ||
                                            peer->sent_bytes < CHOKE_TURN_BYTES);
    /* A turn without a byte taken ends with its time: a place is not for sleeping on. */
    const bool asleep = peer->sent_bytes == 0 && now_ms - peer->unchoked_ms >= CHOKE_TURN_MS;
    if (in_turn && !asleep)
        return UINT64_MAX;
    return UINT64_MAX - 1 - peer->sent_total / 2;
}

const struct choke_policy choke_rate_for_rate = {
    .name = "rate for rate",
    .worth = worth_by_rate,
    .optimistic = true,
};

const struct choke_policy choke_by_turns = {
    .name = "by turns",
    .worth = worth_by_turn,
    .optimistic = false,
};

void choke_init(struct choke *self, uint32_t slots)
{
    assert(slots > 0);
    *self = (struct choke){ .slots = slots, .optimistic = CHOKE_NOBODY };
}

struct ranked {
    struct choke_peer peer;
    uint64_t worth;
    uint64_t tie;
};

static int by_worth(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;
    if (x->worth != y->worth)
        return x->worth > y->worth ? -1 : 1;
    /* Of equals those who have a place keep it: a change costs the wire a round trip. */
    if (x->peer.unchoked != y->peer.unchoked)
        return x->peer.unchoked ? -1 : 1;
    return x->tie < y->tie ? -1 : x->tie > y->tie;
}

static struct choke_peer *find(struct choke_peer *peers, size_t count, uint32_t number)
{
    for (size_t i = 0; i < count; i++)
        if (peers[i].peer == number)
            return &peers[i];
    return NULL;
}

/* Keep the optimistic one until its time is over, then draw another among those without a place. */
static void give_optimistic(struct choke *self, struct choke_peer *peers, size_t count,
                            struct random *random, uint64_t now_ms)
{
    struct choke_peer *old = find(peers, count, self->optimistic);
    const bool stays = old != NULL && old->interested && now_ms < self->optimistic_until_ms;
    if (stays && !old->unchoked) {
        old->unchoked = true;
        return;
    }
    struct choke_peer *chosen = NULL;
    uint64_t seen = 0;
    for (size_t i = 0; i < count; i++) {
        if (peers[i].interested && !peers[i].unchoked && random_below(random, ++seen) == 0)
            chosen = &peers[i];
    }
    self->optimistic = chosen == NULL ? CHOKE_NOBODY : chosen->peer;
    self->optimistic_until_ms = now_ms + CHOKE_OPTIMISTIC_MS;
    if (chosen != NULL)
        chosen->unchoked = true;
}

void choke_round(struct choke *self, const struct choke_policy *policy, struct choke_peer *peers,
                 size_t count, struct random *random, uint64_t now_ms)
{
    self->next_round_ms = now_ms + CHOKE_ROUND_MS;
    if (count == 0)
        return;
    struct ranked *ranked = xcalloc(count, sizeof *ranked);
    for (size_t i = 0; i < count; i++) {
        ranked[i].peer = peers[i];
        ranked[i].worth = peers[i].interested ? policy->worth(&peers[i], now_ms) : 0;
        ranked[i].tie = random_u64(random);
    }
    qsort(ranked, count, sizeof *ranked, by_worth);

    size_t interested = 0;
    for (size_t i = 0; i < count; i++)
        interested += ranked[i].peer.interested;
    const bool optimism = policy->optimistic && interested > self->slots && self->slots > 1;
    size_t places = self->slots - (optimism ? 1 : 0);
    for (size_t i = 0; i < count; i++) {
        peers[i] = ranked[i].peer;
        peers[i].unchoked = peers[i].interested && places > 0;
        places -= peers[i].unchoked;
    }
    free(ranked);
    if (optimism)
        give_optimistic(self, peers, count, random, now_ms);
}

bool choke_has_room(const struct choke *self, size_t taken)
{
    return taken < self->slots;
}

uint64_t choke_deadline_ms(const struct choke *self)
{
    return self->next_round_ms;
}
