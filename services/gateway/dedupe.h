/*
 * Idempotency keys: a call that comes again within ten minutes under the same key gets the first
 * answer, and one that comes while the first is under way joins it, so that a client may repeat
 * what it got no answer to.
 *
 * Keys belong to the server and not to a connection: a client that was restarted comes under
 * another one. Only answers that would stay as they are are kept (code_is_passing() false). The
 * first call's fingerprint (method and payload) is kept too: the same key for something else is a
 * mistake of the client. When DEDUPE_MAX entries or DEDUPE_BYTES_MAX of answers are reached the
 * oldest answers are forgotten first; calls under way never are. Pure; allocates copies of answers.
 */
#pragma once

#include "services/gateway/code.h"

#include <stddef.h>
#include <stdint.h>

#define DEDUPE_MAX       1024
#define DEDUPE_BYTES_MAX (16u * 1024 * 1024)
#define DEDUPE_KEY_MAX   64
#define DEDUPE_KEEP_MS   (10u * 60 * 1000)
#define DEDUPE_NONE      UINT32_MAX

struct dedupe_entry {
    enum { DEDUPE_FREE, DEDUPE_UNDER_WAY, DEDUPE_ANSWERED } state;
    uint8_t key_size;
    uint8_t key[DEDUPE_KEY_MAX];
    uint64_t fingerprint;
    uint64_t answered_ms;
    struct answer answer; /* ANSWERED; its payload is ours */
};

struct dedupe {
    struct dedupe_entry entries[DEDUPE_MAX];
    size_t bytes; /* of all payloads kept */
};

void dedupe_init(struct dedupe *self);
void dedupe_done(struct dedupe *self);

enum dedupe_verdict {
    DEDUPE_NEW,      /* *ret_entry is under way now: end it by dedupe_answer() */
    DEDUPE_JOIN,     /* *ret_entry is under way already */
    DEDUPE_KNOWN,    /* *ret_entry has the answer: dedupe_known() */
    DEDUPE_MISMATCH, /* the key stands for another call */
    DEDUPE_FULL      /* all entries are under way */
};

/* key: 1 to DEDUPE_KEY_MAX bytes. */
enum dedupe_verdict dedupe_offer(struct dedupe *self, struct bytes key, uint64_t fingerprint,
                                 uint64_t now_ms, uint32_t *ret_entry);

/* Borrowed until the next call on self. */
const struct answer *dedupe_known(const struct dedupe *self, uint32_t entry);

/* The call under way is answered. A passing answer is not kept: the key is free again. */
void dedupe_answer(struct dedupe *self, uint32_t entry, const struct answer *answer,
                   uint64_t now_ms);

uint64_t dedupe_fingerprint(struct bytes method, struct bytes payload);
