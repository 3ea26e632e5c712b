/*
 * An errand: one item or announcement on its way to the k nodes closest to its target. spread.h
 * decides; this asks routing, signs, sends through transport and writes to our own store.
 */
#pragma once

#include "services/storage/item.h"
#include "services/storage/messages.h"
#include "services/storage/spread.h"

#include <stdbool.h>
#include <stdint.h>

struct errand;
struct storage;

struct errand_result {
    struct spread_result spread;
    const struct item *item;   /* as it was stored last, signed; NULL for an announcement */
    uint64_t ttl_s;            /* CHECK: of a newer version, what its holders say it has left */
    const struct bytes *peers; /* announcement: compact peers that the lookup found */
    size_t peers_count;
};

/* Everything in the result is gone when this returns. */
typedef void errand_fn(void *ctx, const struct errand_result *result);

struct errand_options {
    struct spread_options spread;
    struct node_id target;

    bool is_announce;
    uint16_t port;
    bool seed_flag; /* BEP 33: this peer is a seed */

    uint64_t ttl_s;   /* what it has left to live; 0: not said, as BEP 44 has it */
    uint32_t check_s; /* SPREAD_CHECK: when the next check is, which its holders are told */

    struct item item;                /* copied; SPREAD_VERSION: value, salt and public_key */
    uint8_t seed[ED25519_SEED_SIZE]; /* SPREAD_VERSION: signs */

    /* SPREAD_REPAIR: from the lookup that was made. */
    const struct spread_found *found;

    errand_fn *on_done;
    void *ctx;
};

/*
 * LB_FULL when STORAGE_ERRANDS_MAX are on their way. Otherwise on_done is called once, never from
 * inside, its err LB_CANCELLED when the process ends.
 */
LB_MUST_CHECK lb_err errand_start(struct storage *storage, const struct errand_options *options);

/* Those whose time to try again has come. True while any is waiting. */
bool errand_pace(struct storage *storage);

/* The process ends. */
void errands_cancel(struct storage *storage);
