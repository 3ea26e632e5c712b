/*
 * Where lookups ended lately: the nodes found closest to a target, so that a repeated lookup of it
 * begins there and takes one round.
 *
 * They are a place to begin, no result: they are asked again. A target is forgotten RECALL_MS after
 * a lookup of it that began anew, so that nodes which lie keep whom they have caught no longer than
 * that; or when RECALL_TARGETS_MAX others were looked up since; a node as soon as it leaves a
 * query unanswered. Pure; a target is allocated when it is kept.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/routing_page.h"

#include <stddef.h>
#include <stdint.h>

#define RECALL_TARGETS_MAX 64u
#define RECALL_NODES_MAX   32u /* of one target and family; the nearest stay */
#define RECALL_MS          (10u * 60 * 1000)

struct recalled;

struct recall {
    struct recalled *targets[RECALL_TARGETS_MAX]; /* the one kept last first; NULL at the end */
    uint64_t marks[RECALL_TARGETS_MAX];           /* of each: one bit is set for each address */
};

/* Zeroed memory is an empty one. */
void recall_done(struct recall *self);

/*
 * nodes: nearest first, of one family. They replace those kept of this target and family, which are
 * forgotten when those would have been.
 */
void recall_keep(struct recall *self, const struct node_id *target, enum routing_family family,
                 const struct contact *nodes, size_t count, uint64_t now_ms);

/* Nearest first; returns how many. */
size_t recall_find(const struct recall *self, const struct node_id *target,
                   enum routing_family family, uint64_t now_ms,
                   struct contact ret_nodes[RECALL_NODES_MAX]);

/* Nobody answers there. */
void recall_forget(struct recall *self, const struct address *address);
