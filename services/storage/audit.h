/*
 * An audit: how many replicas the network has of the keys held here.
 *
 * Three steps: every key held is offered once, and a fair sample of them is kept (reservoir
 * sampling: Vitter 1985, algorithm R); each of these is looked up and counted; the sum is drawn.
 * How many replicas a key should have is learnt from the lookups: SPREAD_K, or the most nodes that
 * any of them showed when there are fewer. Pure; allocates.
 */
#pragma once

#include "libcommon/node_id.h"
#include "libcommon/random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUDIT_KEYS_MAX 100000u /* looked up in one audit; of more held, a sample of so many */
#define AUDIT_ROWS_MAX 100u    /* of the sum */

enum audit_state { AUDIT_WAITING, AUDIT_ASKED, AUDIT_COUNTED, AUDIT_FAILED, AUDIT_GONE };

struct audit_key {
    struct node_id target;
    uint64_t seq; /* 0: immutable */
    enum audit_state state;
    unsigned replicas;
};

struct audit {
    struct random random;
    uint32_t keys_max;
    uint32_t held; /* offered so far */
    struct audit_key *keys;
    size_t keys_count;
    size_t keys_room;
    size_t next;        /* all before were asked */
    size_t asked_count; /* and have not come back */
    unsigned nodes_max; /* of any lookup, as audit_counted() is told */
};

/* sample_max: keep so many of those that will be offered; 0, or more than AUDIT_KEYS_MAX: that. */
void audit_init(struct audit *self, uint32_t sample_max, uint64_t seed);
void audit_done(struct audit *self);

void audit_offer(struct audit *self, const struct node_id *target, uint64_t seq);

/* The next to look up, ASKED from now on; false when there is none. */
bool audit_next(struct audit *self, size_t *ret_index);

/* replicas: nodes that have the key at this version or a newer one; nodes: that answered the
 * lookup. Ourselves included in both, unless we are a client, whom nobody can ask. */
void audit_counted(struct audit *self, size_t index, unsigned replicas, unsigned nodes);

void audit_failed(struct audit *self, size_t index); /* the lookup did not come to an end */
void audit_gone(struct audit *self, size_t index);   /* it is not held any more */

/* Nothing more is looked up: what waits has failed. */
void audit_give_up(struct audit *self);

/* Everything was asked and has come back. */
bool audit_is_done(const struct audit *self);

struct audit_sum {
    uint32_t held;
    uint32_t counted;
    uint32_t wanted;
    uint32_t replicas_min; /* 0 when nothing was counted, as the next */
    uint32_t replicas_median;
    uint32_t short_count; /* with fewer than wanted */
    uint32_t failed;
    const struct audit_key *rows[AUDIT_ROWS_MAX]; /* those with the fewest first */
    size_t rows_count;
};

/* Once it is done. The rows point into the audit. */
void audit_sum(struct audit *self, struct audit_sum *ret_sum);
