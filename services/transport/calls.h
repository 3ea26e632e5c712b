/*
 * Other members' lb_call to our lb-member: collected during a batch of datagrams, handed to it in
 * one message with the callers' certified ids, and answered from its reply. Those to lb-storage are
 * questions (questions.h).
 *
 * At most CALLS_BATCHES_MAX messages are under way. Beyond that, without lb-member, or when it
 * takes longer than CALLS_TIMEOUT_MS, the caller gets error 202.
 */
#pragma once

#include "services/transport/datagram.h"
#include "services/transport/endpoint.h"

#define CALLS_BATCH_MAX   64u /* proto/member.proto */
#define CALLS_BATCHES_MAX 8u
#define CALLS_TIMEOUT_MS  2000u

struct link;
struct transport;

/* Who waits for an answer, and where it called us. */
struct calls_waiting {
    struct responder_ask ask;
    struct datagram_local local;
};

struct calls {
    struct transport *transport; /* borrowed */
    struct link *member;
    struct calls_draft *drafts; /* CALLS_BATCH_MAX; views into the datagrams of this batch */
    unsigned drafts_count;
    unsigned under_way;
};

void calls_init(struct calls *self, struct transport *transport);
void calls_done(struct calls *self);

/* The message is an lb_call to lb-member. */
void calls_add(struct calls *self, const struct krpc_message *message,
               const struct responder_ask *ask, const struct datagram_local *local);

/* Hand them on; the views end here. */
void calls_flush(struct calls *self);
bool calls_are_idle(const struct calls *self);
