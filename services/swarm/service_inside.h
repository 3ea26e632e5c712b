/*
 * What the files of the shell share: service.c (what the gateway asks), service_workers.c (what
 * other workers ask). Not for others.
 */
#pragma once

#include "libcommon/actor.h"
#include "proto/swarm.pb-c.h"
#include "services/swarm/transfers.h"

struct swarm {
    struct actor *actor; /* borrowed */
    struct transfers *transfers;
};

/* A transfers_fn: answers with Shared. */
void swarm_on_shared(void *ctx, lb_err err, const char *reason, const struct transfer *transfer);

/* False: it is answered. */
bool swarm_is_infohash(struct call **call, const ProtobufCBinaryData *infohash);

/*
 * Compact addresses of a message; false: one of them is none, or there are more than
 * TRANSFERS_PASSED_PEERS.
 */
bool swarm_read_peers(const ProtobufCBinaryData *peers, size_t count, struct address *ret_peers);

/* True: it was passed on to its owner, who answers. */
bool swarm_fetch_elsewhere(struct swarm *self, struct call **call, const Lb__Swarm__Fetch *fetch,
                           const struct transfers_fetch *order);

handler_fn swarm_on_take_up, swarm_on_adopt, swarm_on_seed, swarm_on_unseed, swarm_on_allot;
