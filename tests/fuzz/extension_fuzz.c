/* Extension messages: whatever is read is written and read again as the same. */
#include "services/swarm/extension.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hello(struct bytes payload)
{
    struct extension_handshake first;
    struct extension_handshake second;
    uint8_t buffer[EXTENSION_MESSAGE_MAX];
    struct writer writer;
    if (extension_read_handshake(payload, &first) != LB_OK)
        return;
    writer_init(&writer, buffer, sizeof buffer);
    extension_put_handshake(&writer, &first);
    assert(!writer.overflow);
    const lb_err err = extension_read_handshake(bytes_of(buffer, writer.size), &second);
    assert(err == LB_OK);
    assert(first.ut_metadata == second.ut_metadata && first.ut_pex == second.ut_pex &&
           first.port == second.port && first.requests_max == second.requests_max &&
           first.metadata_size == second.metadata_size && first.upload_only == second.upload_only &&
           bytes_equal(first.yourip, second.yourip) && bytes_equal(first.version, second.version));
}

static void metadata(struct bytes payload)
{
    struct extension_metadata message;
    struct metadata whole;
    uint32_t part = 0;
    if (extension_read_metadata(payload, &message) != LB_OK)
        return;
    metadata_init(&whole);
    if (metadata_start(&whole, message.total_size) == LB_OK) {
        (void)metadata_next(&whole, &part);
        metadata_give_back(&whole, message.part);
        (void)metadata_take(&whole, &message);
        assert(whole.have <= whole.parts);
    }
    metadata_done(&whole);
}

static void pex(struct bytes payload)
{
    static struct extension_pex first;
    static struct extension_pex second;
    uint8_t buffer[4096];
    struct writer writer;
    if (extension_read_pex(payload, &first) != LB_OK)
        return;
    assert(first.added_count <= EXTENSION_PEX_MAX && first.dropped_count <= EXTENSION_PEX_MAX);
    writer_init(&writer, buffer, sizeof buffer);
    extension_put_pex(&writer, &first);
    assert(!writer.overflow);
    const lb_err err = extension_read_pex(bytes_of(buffer, writer.size), &second);
    assert(err == LB_OK);
    assert(first.added_count == second.added_count && first.dropped_count == second.dropped_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct bytes payload = { data, size };
    hello(payload);
    metadata(payload);
    pex(payload);
    return 0;
}
