/*
 * What the dispatcher does with the two frames of a request, up to the handler. Input: the service,
 * the size of the header frame, the header frame, the body frame.
 */
#include "libcommon/message.h"
#include "proto/common.pb-c.h"
#include "proto/routing.pb-c.h"
#include "proto/storage.pb-c.h"
#include "proto/supervisor.pb-c.h"
#include "proto/swarm.pb-c.h"
#include "proto/transport.pb-c.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const descriptors[] = {
    &lb__routing__request__descriptor,    &lb__routing__reply__descriptor,
    &lb__storage__request__descriptor,    &lb__storage__reply__descriptor,
    &lb__transport__request__descriptor,  &lb__transport__reply__descriptor,
    &lb__swarm__request__descriptor,      &lb__swarm__reply__descriptor,
    &lb__supervisor__request__descriptor, &lb__supervisor__reply__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const ProtobufCMessageDescriptor *descriptor;
    struct message_header header;
    struct message_memory memory;
    const ProtobufCMessage *request;
    const void *body = NULL;
    uint8_t buffer[128], packed[MESSAGE_HEADER_MAX];
    size_t header_size;

    if (size < 2)
        return 0;
    descriptor = descriptors[data[0] % (sizeof descriptors / sizeof descriptors[0])];
    header_size = data[1] < size - 2 ? data[1] : size - 2;
    message_memory_init(&memory, buffer, sizeof buffer, MESSAGE_MEMORY_MAX);
    if (message_header_unpack(bytes_of(data + 2, header_size), &memory, &header) == LB_OK) {
        if (message_header_pack(&header, packed) > MESSAGE_HEADER_MAX || header.err > LB_INTERNAL)
            abort();
    }
    request = message_unpack(descriptor, bytes_of(data + 2 + header_size, size - 2 - header_size),
                             &memory);
    if (request != NULL) {
        uint32_t oneof_case = message_case(request, &body);

        if ((oneof_case != 0) != (body != NULL) ||
            message_case_name(descriptor, oneof_case) == NULL)
            abort();
        if (protobuf_c_message_get_packed_size(request) > 2 * size + 64) /* walks it all */
            abort();
    }
    if (memory.taken > MESSAGE_MEMORY_MAX)
        abort();
    message_memory_done(&memory);
    return 0;
}
