/*
 * Asking all workers of lb-swarm, and making one reply of theirs (fold.h).
 *
 * After the service shrank those that were left out are asked for a while longer: what they are
 * handing over is listed by them until others have it. What they fail to answer does not count.
 */
#pragma once

#include "libcommon/instances.h"
#include "proto/swarm.pb-c.h"

struct gather {
    struct instances *instances; /* borrowed */
    unsigned active;
    unsigned before; /* so many there were, until: */
    uint64_t before_until_ms;
};

void gather_init(struct gather *self, struct instances *instances);

/* After instances_follow(). */
void gather_follow(struct gather *self);

/*
 * A Reply of Transfers or Peers, from all. on_reply is called once: with it, or with the first
 * error of a worker that counts; the reply lives while it runs.
 */
void gather_ask(struct gather *self, const Lb__Swarm__Request *request, uint32_t timeout_ms,
                reply_fn *on_reply, void *ctx);
