/*
 * What is to be decided by the group: proposed here when we lead, else by the leader over TLS,
 * again and again until it is decided or its time is over. While a leader is lost and another is
 * elected requests wait; with no majority they fail, and nothing was changed.
 *
 * Commands may be proposed twice when an answer was lost; the register's rules make that harmless
 * (register.h), and where the second one finds its work done that is the answer.
 */
#pragma once

#include "services/coordinator/group.h"
#include "services/coordinator/register.h"

#define PROPOSALS_MAX      4096u
#define PROPOSALS_RETRY_MS 100u

/* A result that has travelled: with what a certificate of who was admitted is to say. */
struct decision {
    enum register_outcome outcome;
    lb_err err; /* LB_UNAVAILABLE: it could not be decided */
    char reason[200];
    struct node_id node;
    uint64_t number;
    uint64_t serial, issued_s, not_after_s;
    bool coordinator;
    uint64_t
        index; /* of the log, of the leader's: who has applied up to here sees it; 0: we have */
};

typedef void decided_fn(void *ctx, const struct decision *decision);

struct coordinator;
struct proposals; /* opaque */

struct proposals *proposals_new(struct coordinator *coordinator);
void proposals_free(struct proposals **self);

/* decided is called once: from inside this call, or later. */
void proposals_make(struct proposals *self, const struct register_command *command,
                    uint32_t limit_ms, decided_fn *decided, void *ctx);

void proposals_tick(struct proposals *self, uint64_t now_ms);
size_t proposals_count(const struct proposals *self);

/*
 * Decide here and now, for who asks the leader: answered at once when the register knows already
 * what it would say, else proposed. verdict ELSEWHERE or LOST: decision is empty.
 */
typedef void answered_fn(void *ctx, enum proposal verdict, const struct decision *decision);
void proposals_decide(struct coordinator *coordinator, struct bytes command, answered_fn *answered,
                      void *ctx);
