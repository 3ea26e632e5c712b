/* Messages of proto/join.proto in frames, unpacked within bounds and sent. */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/message.h"

#define JOIN_MESSAGE_MEMORY_MAX (4u * 1024 * 1024) /* bytes one unpacked message may take */

struct secure;

struct join_message {
    struct message_memory memory;
    _Alignas(16) uint8_t buffer[4096];
};

/* NULL: malformed, or it would take too much. To be ended by join_message_done() either way. */
const void *join_message_unpack(struct join_message *self,
                                const ProtobufCMessageDescriptor *descriptor, struct bytes packed);
void join_message_done(struct join_message *self);

/* A frame of it. */
void join_message_send(struct secure *secure, const ProtobufCMessage *message);
