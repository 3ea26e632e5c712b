/*
 * What the files of replicas.h share: replicas.c (the store and the network as upkeep.h sees them,
 * and when it is asked), replicas_steps.c (what it wants done). Not for others.
 */
#pragma once

#include "libcommon/page_reader.h"
#include "services/storage/replicas.h"
#include "services/storage/upkeep.h"

#include <uv.h>

#define REPLICAS_DIGEST_SIZE 28u /* of an offer: a target and a sequence number */

struct replicas {
    struct storage *storage;
    struct upkeep *upkeep; /* NULL: our own id is not known yet */
    struct node_id self_id;
    uint64_t least_s;
    struct page_reader reader;
    uint64_t seen_version; /* of the routing page */
    struct contact *contacts;
    uv_timer_t timer;
    bool is_draining;
    uint32_t overdue;
    unsigned ticks;
    struct upkeep_stats told; /* what the counters say */
};

/* The time by which upkeep.h counts. */
uint64_t replicas_now_ms(const struct storage *storage);

/* Ask it in the next turn what is to be done now. */
void replicas_wake(struct replicas *self);

/* ---- replicas_steps.c ---- */

/* Between db_read_begin() and db_read_end(). */
void replicas_carry_out(struct replicas *self, const struct upkeep_action *action);
