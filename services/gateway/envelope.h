/*
 * One message of a client, opened: the header frame and the payload frame, checked and unpacked.
 * Whatever the bytes are, the outcome is a request or a refusal. No socket; the fuzzer runs this.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/message.h"
#include "services/gateway/code.h"
#include "services/gateway/methods.h"
#include "services/gateway/requests.h"

#include <stdbool.h>
#include <stdint.h>

#define ENVELOPE_HEADER_MAX 4096 /* bytes */
#define ENVELOPE_METHOD_MAX 128
#define ENVELOPE_MEMORY_MAX                                                                        \
    (8u * 1024 * 1024) /* bytes one request may unpack to, beside its payload */

#define ENVELOPE_TIMEOUT_MS     30000u              /* when the client does not say */
#define ENVELOPE_TIMEOUT_MAX_MS (24u * 3600 * 1000) /* longer ones are cut to this */

struct envelope {
    const struct method *method;
    const ProtobufCMessage *request;
    uint32_t timeout_ms;
    struct bytes idempotency_key; /* size 0: none */
    uint64_t fingerprint;
    struct message_memory memory; /* all of the above lies there */
    _Alignas(16) uint8_t buffer[512];
};

/*
 * asker->id is set as soon as the header could be read and its request_id is one, also on refusal.
 * False: *ret_refusal says why. Call envelope_done() in either case.
 */
bool envelope_open(struct envelope *self, struct bytes header, struct bytes payload,
                   struct asker *asker, struct answer *ret_refusal);
void envelope_done(struct envelope *self);

/* The header frame of an answer. Fits in ENVELOPE_HEADER_MAX; returns its size. */
size_t envelope_answer(const struct asker *asker, const struct answer *answer,
                       uint8_t ret_header[ENVELOPE_HEADER_MAX]);
