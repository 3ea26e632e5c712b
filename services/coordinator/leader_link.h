/*
 * One connection to the coordinator that leads, while we do not and have something to be decided
 * (proto/join.proto, Forward).
 */
#pragma once

#include "services/coordinator/proposals.h"

#define LEADER_LINK_RETRY_MS 100u

struct leader_link; /* opaque */

struct leader_link_events {
    void (*on_open)(void *ctx);
    void (*on_answer)(void *ctx, uint64_t tag, enum proposal verdict,
                      const struct decision *decision);
    void (*on_lost)(void *ctx); /* what was sent and not answered may be decided, or not */
};

struct leader_link *leader_link_new(struct coordinator *coordinator,
                                    const struct leader_link_events *events, void *ctx);
void leader_link_free(struct leader_link **self);

/* Connect to whoever leads now if it is wanted; drop a connection to who leads no longer. */
void leader_link_follow(struct leader_link *self, bool is_wanted, uint64_t now_ms);

bool leader_link_is_open(const struct leader_link *self);
void leader_link_send(struct leader_link *self, uint64_t tag, struct bytes command);
