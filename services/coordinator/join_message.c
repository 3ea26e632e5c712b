#include "services/coordinator/join_message.h"

#include "libcommon/memory.h"
#include "services/coordinator/secure.h"

#include <stdlib.h>

const void *join_message_unpack(struct join_message *self,
                                const ProtobufCMessageDescriptor *descriptor, struct bytes packed)
{
    message_memory_init(&self->memory, self->buffer, sizeof self->buffer, JOIN_MESSAGE_MEMORY_MAX);
    return message_unpack(descriptor, packed, &self->memory);
}

void join_message_done(struct join_message *self)
{
    message_memory_done(&self->memory);
}

void join_message_send(struct secure *secure, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *data = xmalloc(4 + size);

    store_u32(data, (uint32_t)size);
    protobuf_c_message_pack(message, data + 4);
    secure_write(secure, bytes_of(data, 4 + size));
    free(data);
}
