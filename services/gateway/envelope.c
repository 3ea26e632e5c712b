#include "services/gateway/envelope.h"

#include "proto/littlebird/v1/header.pb-c.h"
#include "services/gateway/dedupe.h"
#include "services/gateway/wire.h"

#include <assert.h>
#include <string.h>

static const Littlebird__V1__Header *open_header(struct envelope *self, struct bytes frame)
{
    if (frame.size > ENVELOPE_HEADER_MAX ||
        !wire_is_clean(&littlebird__v1__header__descriptor, frame))
        return NULL;
    return (const Littlebird__V1__Header *)message_unpack(&littlebird__v1__header__descriptor,
                                                          frame, &self->memory);
}

static bool check_header(struct envelope *self, const Littlebird__V1__Header *header,
                         struct asker *asker, struct answer *ret_refusal)
{
    size_t key_size = strlen(header->idempotency_key);

    if (header->request_id.len < 1 || header->request_id.len > REQUESTS_ID_MAX) {
        *ret_refusal =
            answer_error(LB_INVALID, "request_id must have 1 to %d bytes", REQUESTS_ID_MAX);
        return false;
    }
    asker->id_size = (uint8_t)header->request_id.len;
    memcpy(asker->id, header->request_id.data, header->request_id.len);
    if (header->protocol < API_PROTOCOL_MIN || header->protocol > API_PROTOCOL_MAX) {
        *ret_refusal = answer_error(LB_UNSUPPORTED, "protocol %u is not supported, %d to %d are",
                                    (unsigned)header->protocol, API_PROTOCOL_MIN, API_PROTOCOL_MAX);
        ret_refusal->code = CODE_FAILED_PRECONDITION;
        return false;
    }
    if (key_size > DEDUPE_KEY_MAX) {
        *ret_refusal =
            answer_error(LB_INVALID, "idempotency_key must have at most %d bytes", DEDUPE_KEY_MAX);
        return false;
    }
    self->idempotency_key = bytes_of(header->idempotency_key, key_size);
    self->timeout_ms = header->timeout_ms == 0 ? ENVELOPE_TIMEOUT_MS : header->timeout_ms;
    if (self->timeout_ms > ENVELOPE_TIMEOUT_MAX_MS)
        self->timeout_ms = ENVELOPE_TIMEOUT_MAX_MS;
    return true;
}

static bool open_payload(struct envelope *self, const char *method, struct bytes payload,
                         struct answer *ret_refusal)
{
    if (strlen(method) <= ENVELOPE_METHOD_MAX)
        self->method = method_find(method);
    if (!self->method) {
        *ret_refusal =
            answer_error(LB_UNSUPPORTED, "unknown method \"%.*s\"", ENVELOPE_METHOD_MAX, method);
        return false;
    }
    if (payload.size > API_MESSAGE_MAX) {
        *ret_refusal =
            answer_error(LB_TOO_BIG, "the payload has more than %u bytes", API_MESSAGE_MAX);
        return false;
    }
    if (wire_is_clean(self->method->request, payload))
        self->request = message_unpack(self->method->request, payload, &self->memory);
    if (!self->request) {
        *ret_refusal =
            answer_error(LB_INVALID, "the payload is no %s", self->method->request->short_name);
        return false;
    }
    self->fingerprint = dedupe_fingerprint(bytes_of_text(self->method->name), payload);
    return true;
}

bool envelope_open(struct envelope *self, struct bytes header_frame, struct bytes payload,
                   struct asker *asker, struct answer *ret_refusal)
{
    const Littlebird__V1__Header *header;

    memset(self, 0, sizeof(*self));
    message_memory_init(&self->memory, self->buffer, sizeof(self->buffer),
                        ENVELOPE_MEMORY_MAX + payload.size);
    asker->id_size = 0;
    header = open_header(self, header_frame);
    if (!header) {
        *ret_refusal = answer_error(LB_INVALID, "the first frame is no littlebird.v1.Header");
        return false;
    }
    return check_header(self, header, asker, ret_refusal) &&
           open_payload(self, header->method, payload, ret_refusal);
}

void envelope_done(struct envelope *self)
{
    message_memory_done(&self->memory);
    self->request = NULL;
}

size_t envelope_answer(const struct asker *asker, const struct answer *answer,
                       uint8_t ret_header[ENVELOPE_HEADER_MAX])
{
    Littlebird__V1__Status status = LITTLEBIRD__V1__STATUS__INIT;
    Littlebird__V1__Header header = LITTLEBIRD__V1__HEADER__INIT;
    size_t size;

    status.code = (int32_t)answer->code;
    status.message = (char *)(uintptr_t)answer->text;
    if (answer->code != CODE_OK)
        status.reason = (char *)(uintptr_t)lb_err_name(answer->reason);
    status.retry_after_ms = answer->retry_after_ms;
    header.protocol = API_PROTOCOL_MAX;
    header.request_id.len = asker->id_size;
    header.request_id.data = (uint8_t *)(uintptr_t)asker->id;
    header.status = &status;
    size = littlebird__v1__header__get_packed_size(&header);
    assert(size <= ENVELOPE_HEADER_MAX);
    littlebird__v1__header__pack(&header, ret_header);
    wire_clean(&littlebird__v1__header__descriptor, ret_header, size);
    return size;
}
