/*
 * Limits: how fast payload may be asked for and sent (hashes of v2 count, too), for the node, for
 * each torrent, and across the border of subnets, which are limited each way.
 *
 * A flow is one peer in one direction. It passes a row of token buckets: those of the subnets whose
 * border it crosses, its torrent's, the node's. A bucket lends: who finds anything in it may take a
 * whole block, and it must fill up again from below nothing, so that no rate is too small for a
 * block and over seconds it is kept exactly. Flows that may not go on wait at the bucket that holds
 * them, in the order of start-time fair queueing (Goyal, Vin, Cheng 1996): equal shares for peers
 * of a torrent, and between torrents by weight. Nothing runs by itself: the owner asks
 * limits_next() whom to let go on when limits_deadline_ms() comes, one timer for all.
 *
 * A flow crosses the border of a subnet when the peer is inside and we are not, or the other way
 * round. So all nodes, in a room and outside, may have the same list. Pure; allocates nothing.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/rate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIMITS_SUBNETS_MAX SUBNET_RATE_MAX
#define LIMITS_BURST_MS    100u /* of its rate is what a bucket saves up */
#define LIMITS_STEP_MS     10u  /* those who wait are looked at no more often: fewer wake-ups */

enum limits_direction { LIMITS_RECEIVE, LIMITS_SEND, LIMITS_DIRECTIONS };

struct limits_flow;

struct limits_bucket {
    uint64_t rate;  /* bytes per second, 0: none */
    int64_t tokens; /* thousandths of bytes; below 0 when it has lent */
    uint64_t filled_ms;
    uint64_t used;                         /* bytes that went through while it had a rate */
    bool waited;                           /* somebody had to wait at it since the owner looked */
    struct limits_flow *first, *last;      /* who wait, by start */
    struct limits_bucket *next, *previous; /* of those somebody waits at */
};

struct limits_subnet {
    struct subnet subnet;
    bool inside; /* we are */
    struct limits_bucket bucket[LIMITS_DIRECTIONS];
};

struct limits {
    struct limits_bucket node[LIMITS_DIRECTIONS];
    struct limits_subnet subnets[LIMITS_SUBNETS_MAX];
    unsigned subnets_count;
    uint64_t virtual[LIMITS_DIRECTIONS]; /* start of the flow served last */
    struct limits_bucket *waiting;
    uint64_t rests_until_ms;
};

/* A torrent's part. */
struct limits_share {
    struct limits *limits;
    void *ctx; /* the caller's */
    uint32_t weight;
    uint32_t waiting[LIMITS_DIRECTIONS]; /* its flows that wait */
    struct limits_bucket bucket[LIMITS_DIRECTIONS];
};

struct limits_flow {
    struct limits_share *share; /* NULL: nothing limits it */
    uint32_t peer;              /* the caller's number */
    enum limits_direction direction;
    uint64_t crosses; /* a bit for each subnet */
    uint64_t start;   /* where it stands in the queue, and where it would stand next */
    uint64_t finish;
    uint32_t stage;                  /* so many buckets have given for the block on its way */
    uint32_t reserved;               /* bytes each of them gave */
    struct limits_bucket *waits_at;  /* NULL: it does not wait */
    struct limits_bucket *chosen_at; /* by limits_next(): it goes before those who wait there */
    struct limits_flow *next, *previous;
};

/* subnets: at most LIMITS_SUBNETS_MAX. own: our addresses, to know which of them we are in. */
void limits_init(struct limits *self, const struct subnet_rate *subnets, unsigned subnets_count,
                 const struct address *own, unsigned own_count);

/* Bytes per second, 0: no limit. */
void limits_set(struct limits *self, enum limits_direction direction, uint64_t rate,
                uint64_t now_ms);

/* Of one of the subnets, by its number. */
void limits_set_subnet(struct limits *self, unsigned subnet, enum limits_direction direction,
                       uint64_t rate, uint64_t now_ms);

/* weight: at least 1. No flow of it is there yet, or any more. */
void limits_share_init(struct limits_share *self, struct limits *limits, void *ctx,
                       uint32_t weight);
void limits_share_set(struct limits_share *self, enum limits_direction direction, uint64_t rate,
                      uint64_t now_ms);
void limits_share_weigh(struct limits_share *self, uint32_t weight);

/* share: NULL for a flow that nothing limits. The flow must stay where it is until done. */
void limits_flow_init(struct limits_flow *self, struct limits_share *share, uint32_t peer,
                      enum limits_direction direction, const struct address *address);
void limits_flow_done(struct limits_flow *self);

/*
 * How many blocks of `size` bytes, at most `count`, may go now; they count as gone. When it is less
 * than count, the flow waits: limits_next() will name it.
 */
size_t limits_take(struct limits_flow *self, size_t count, uint32_t size, uint64_t now_ms);

/* Taken, and not gone after all. */
void limits_give_back(struct limits_flow *self, uint64_t bytes);

/* Gone without having been taken: the next that is taken waits for it. */
void limits_charge(struct limits_flow *self, uint64_t bytes);

/* It has nothing to move any more. */
void limits_forget(struct limits_flow *self);
bool limits_waits(const struct limits_flow *self);

/* Somebody who waited and may go on: call limits_take() for it. NULL: nobody may now. */
struct limits_flow *limits_next(struct limits *self, uint64_t now_ms);

/* When limits_next() will name somebody; UINT64_MAX when nobody waits. */
uint64_t limits_deadline_ms(const struct limits *self);
