/*
 * A message of a client: one byte for the size of the header frame, then that frame, then the
 * payload frame. Opened, checked and, as the gateway would, handed to the service that does the
 * work.
 */
#include "services/gateway/describe.h"
#include "services/gateway/envelope.h"
#include "services/gateway/view.h"
#include "services/gateway/wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void pack(void *ctx, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(size + 1);
    unsigned *taken = ctx;

    assert(packed);
    protobuf_c_message_pack(message, packed);
    wire_clean(message->descriptor, packed, size);
    free(packed);
    ++*taken;
}

static void carry_out(const struct envelope *envelope)
{
    static struct status_page memory;
    const struct page page = { .memory = &memory, .size = sizeof(memory) };
    const struct view view = { .status = &page, .now_ms = 1 };
    const struct method *method = envelope->method;
    char line[DESCRIBE_SIZE];
    const char *problem = NULL;
    unsigned taken = 0;
    lb_err err = LB_OK;

    if (method->local)
        method->local(&view, pack, &taken);
    else
        err = method->ask(envelope->request, pack, &taken, &problem);
    assert(taken == (err == LB_OK));
    assert((err == LB_OK) || problem);
    assert(strlen(describe_request(envelope->request, line)) < sizeof(line));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct envelope envelope;
    struct asker asker = { .identity_size = 1 };
    struct answer refusal = { .code = CODE_OK };
    uint8_t header[ENVELOPE_HEADER_MAX];
    size_t header_size;

    if (size < 1 || data[0] > size - 1)
        return 0;
    header_size = data[0];
    if (envelope_open(&envelope, bytes_of(data + 1, header_size),
                      bytes_of(data + 1 + header_size, size - 1 - header_size), &asker, &refusal))
        carry_out(&envelope);
    else
        assert(refusal.code != CODE_OK);
    assert(envelope_answer(&asker, &refusal, header) <= sizeof(header));
    envelope_done(&envelope);
    return 0;
}
