/*
 * Other nodes' queries that need the store: collected during a batch of datagrams, asked of
 * lb-storage in one message, and answered from its reply. Stores go in a message of their own: they
 * wait for the disk, and nobody who only reads shall wait for it.
 *
 * Of several instances of lb-storage each is asked for the keys that it owns (libcommon/owner.h). A
 * put does not name its target, which would take a SHA-1 and with it OpenSSL (DESIGN 7) in every
 * worker: it goes to one chosen by the key it is signed with, or by its value; whoever writes into
 * the store that all share, it decides the same.
 *
 * At most QUESTIONS_BATCHES_MAX messages of either kind are under way to each. Beyond that, without
 * storage, or when it takes longer than QUESTIONS_TIMEOUT_MS, the asker gets the closest nodes
 * without a token, or error 202; so do, while that is so, those that ask most (shaping.h).
 */
#pragma once

#include "libcommon/status_page.h"
#include "services/transport/endpoint.h"

#define QUESTIONS_BATCH_MAX   256u /* proto/storage.proto */
#define QUESTIONS_BATCHES_MAX 16u
#define QUESTIONS_TIMEOUT_MS  1000u

struct datagram_local;
struct transport;
struct question_draft;

struct questions {
    struct transport *transport;   /* borrowed */
    struct question_draft *drafts; /* QUESTIONS_BATCH_MAX; views into the datagrams of this batch */
    unsigned drafts_count;
    unsigned batches[STATUS_INSTANCES_MAX][2]; /* under way: those that read, those that store */
};

void questions_init(struct questions *self, struct transport *transport);
void questions_done(struct questions *self);

/* Take the question of a result whose verdict is ENDPOINT_ASK; it came to `local`. */
void questions_add(struct questions *self, const struct endpoint_result *result,
                   const struct datagram_local *local);

/* Ask; the views end here. */
void questions_flush(struct questions *self);

/* Answer a query that waited, with what its service said. */
void questions_answer(struct questions *self, const struct responder_ask *ask,
                      const struct datagram_local *local, const struct responder_outcome *outcome);

/* Nobody waits for an answer. */
bool questions_are_idle(const struct questions *self);
