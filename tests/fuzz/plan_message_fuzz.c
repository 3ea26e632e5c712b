/* Messages of lb_plan: whatever is read is written and read again as the same. */
#include "services/swarm/plan_message.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan_message message;
    uint8_t buffer[PLAN_MESSAGE_SIZE_MAX];
    struct writer writer;
    const struct bytes payload = { data, size };
    if (plan_message_read(payload, &message) != LB_OK)
        return 0;
    assert(message.count <= PLAN_MESSAGE_PIECES_MAX);
    writer_init(&writer, buffer, sizeof buffer);
    plan_message_put(&writer, &message);
    assert(!writer.overflow && bytes_equal(bytes_of(buffer, writer.size), payload));
    return 0;
}
