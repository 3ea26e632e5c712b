/*
 * Choking: which interested peers may ask us for blocks now.
 *
 * There are `slots` places. Every CHOKE_ROUND_MS the policy says what each peer is worth and the
 * best keep or get a place, but one place goes in turn to a peer chosen at random (optimistic).
 * Between rounds a place that is free is given at once to whoever asks, so that nobody waits for a
 * round to begin. The policy is a table of functions: rate for rate while we fetch, by turns while
 * we seed; a cooperative one can stand beside them. Source: BEP 3, "choking"; Cohen 2003, 3. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random;

#define CHOKE_ROUND_MS      10000u
#define CHOKE_OPTIMISTIC_MS 30000u
#define CHOKE_TURN_MS       20000u             /* seeding: least time of one turn */
#define CHOKE_TURN_BYTES    (8u * 1024 * 1024) /* and what must be given in it */
#define CHOKE_NOBODY        UINT32_MAX

/* One peer, as the policy sees it. */
struct choke_peer {
    uint32_t peer;          /* the caller's number */
    bool interested;        /* in what we have */
    bool snubbed;           /* it keeps us waiting for blocks */
    bool unchoked;          /* in: has a place; out: shall have one */
    uint64_t received_rate; /* bytes/s it gives us */
    uint64_t sent_rate;     /* bytes/s it takes from us */
    uint64_t sent_bytes;    /* taken from us since it was last unchoked */
    uint64_t sent_total;    /* taken from us since it came */
    uint64_t unchoked_ms;   /* when it was last unchoked */
};

struct choke_policy {
    const char *name;
    /* Higher is better; 0: only by optimism or when there is room for all. */
    uint64_t (*worth)(const struct choke_peer *peer, uint64_t now_ms);
    bool optimistic; /* one place is given at random */
};

extern const struct choke_policy choke_rate_for_rate; /* while fetching */
extern const struct choke_policy choke_by_turns;      /* while seeding */

struct choke {
    uint32_t slots;      /* at least 1 */
    uint32_t optimistic; /* who has that place, or CHOKE_NOBODY */
    uint64_t optimistic_until_ms;
    uint64_t next_round_ms;
};

void choke_init(struct choke *self, uint32_t slots);

/* A round: sets `unchoked` of each peer; sorts peers. Uninterested ones get no place. */
void choke_round(struct choke *self, const struct choke_policy *policy, struct choke_peer *peers,
                 size_t count, struct random *random, uint64_t now_ms);

/* Is there a place for one more, when `taken` interested peers have one? */
bool choke_has_room(const struct choke *self, size_t taken);
uint64_t choke_deadline_ms(const struct choke *self);
