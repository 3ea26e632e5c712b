/*
 * A simulated node's store: what lb-storage keeps in LMDB, in memory, under the same rules
 * (item.h, policy.h, upkeep.h). It survives a crash unless the simulator takes it away.
 *
 * Limits: items_max items, no source more than a quarter of them; when it is full, what is farthest
 * from our own id gives way to what is nearer (as policy_victim), else a put is refused. The
 * highest sequence number of what was removed is remembered (I2).
 */
#pragma once

#include "libcommon/address.h"
#include "services/storage/item.h"
#include "services/storage/upkeep.h"

#define STORE_SEEN_MAX 100000u /* as POLICY_SEEN_MAX; then the oldest is forgotten */

struct stored {
    struct upkeep_item upkeep; /* its target, sequence number and times */
    struct item item;          /* points behind this struct */
    struct address source;     /* port 0: put by this node itself */
    uint64_t stored_s;         /* last put or refreshed */
};

struct store_seen {
    struct node_id target;
    uint64_t seq;
};

struct store {
    struct node_id self_id;
    uint32_t items_max;
    struct stored **by_target; /* ascending */
    struct stored **by_check;  /* ascending by check_s, then target */
    uint32_t count, capacity;
    struct store_seen *seen; /* ascending by target */
    uint32_t seen_count, seen_capacity;
    uint64_t first_end_s; /* none ends before */
    uint64_t puts;        /* accepted, of what was here, too */
    uint64_t evicted, refused;
};

struct store *store_new(const struct node_id *self_id, uint32_t items_max);
void store_free(struct store **self);

/* NULL: none, or it has ended. */
const struct stored *store_find(const struct store *self, const struct node_id *target,
                                uint64_t now_s);

/* 0: none. */
uint64_t store_seen(const struct store *self, const struct node_id *target);
bool store_has_room(const struct store *self, const struct node_id *target);

struct store_put {
    const struct item *item; /* verified; copied */
    struct address source;   /* port 0: ourselves */
    bool has_cas;
    uint64_t cas;
    uint64_t ends_s, now_s;
    uint64_t first_check_s; /* for an item that was not here, or not in this version */
};

enum item_verdict store_put(struct store *self, const struct node_id *target,
                            const struct store_put *put);

/* UPKEEP_SET and upkeep_postpone: unless its seq is higher by now. */
void store_set(struct store *self, const struct upkeep_item *item);

/* UPKEEP_DROP: unless its seq is higher by now. */
void store_drop(struct store *self, const struct node_id *target, uint64_t seq);

/* Remove what has ended. */
void store_sweep(struct store *self, uint64_t now_s);

/* struct upkeep_store; ctx is the store. Sweep before. */
bool store_next(void *ctx, const struct node_id *from, struct upkeep_item *ret_item);
bool store_due(void *ctx, uint32_t skip, struct upkeep_item *ret_item);
uint32_t store_overdue(void *ctx, uint64_t before_s);

/* A copy of an item in one allocation, for free(). */
struct item *store_copy(const struct item *item);

/* For tests: NULL, or what is broken. */
const char *store_check(const struct store *self);
