#include "libcommon/message.h"

#include "libcommon/memory.h"
#include "proto/common.pb-c.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_MIN 4096u
#define ALIGNMENT 16u

struct message_chunk {
    struct message_chunk *next;
    size_t size;
};

_Static_assert(sizeof(struct message_chunk) % ALIGNMENT == 0, "chunks begin aligned");

#define LB_SAME_NUMBER(name, number, sentence)                                                     \
    _Static_assert((int)LB__ERR__##name == (number), "common.proto and error.h differ: " #name);
LB_ERRORS(LB_SAME_NUMBER)
#undef LB_SAME_NUMBER

void message_memory_init(struct message_memory *self, void *buffer, size_t size, size_t taken_max)
{
    size_t skip = (ALIGNMENT - (uintptr_t)buffer % ALIGNMENT) % ALIGNMENT;

    assert(size >= skip);
    *self = (struct message_memory){ .next = (uint8_t *)buffer + skip,
                                     .left = size - skip,
                                     .taken_max = taken_max };
}

void message_memory_done(struct message_memory *self)
{
    while (self->chunks != NULL) {
        struct message_chunk *chunk = self->chunks;

        self->chunks = chunk->next;
        free(chunk);
    }
    self->left = 0;
}

static bool add_chunk(struct message_memory *self, size_t size)
{
    size_t wanted = self->taken > CHUNK_MIN ? self->taken : CHUNK_MIN; /* doubles */
    struct message_chunk *chunk;

    if (wanted < size)
        wanted = size;
    wanted += sizeof *chunk;
    if (wanted > self->taken_max - self->taken)
        wanted = size + sizeof *chunk;
    if (wanted > self->taken_max - self->taken)
        return false;
    chunk = xmalloc(wanted);
    chunk->next = self->chunks;
    chunk->size = wanted;
    self->chunks = chunk;
    self->taken += wanted;
    self->next = (uint8_t *)(chunk + 1);
    self->left = wanted - sizeof *chunk;
    return true;
}

static void *take(void *ctx, size_t size)
{
    struct message_memory *self = ctx;
    void *memory;

    if (size > self->taken_max)
        return NULL;
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (size > self->left && !add_chunk(self, size))
        return NULL;
    memory = self->next;
    self->next += size;
    self->left -= size;
    return memory;
}

static void give_back(void *ctx, void *memory)
{
    (void)ctx; /* all at once, in message_memory_done() */
    (void)memory;
}

ProtobufCMessage *message_unpack(const ProtobufCMessageDescriptor *descriptor, struct bytes packed,
                                 struct message_memory *memory)
{
    ProtobufCAllocator allocator = { take, give_back, memory };

    return protobuf_c_message_unpack(descriptor, &allocator, packed.size, packed.data);
}

uint32_t message_case(const ProtobufCMessage *message, const void **ret_body)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    const char *base = (const char *)message;
    const ProtobufCFieldDescriptor *field;
    uint32_t oneof_case;

    /* All members share the place of the case; protobuf-c stores it as an int-sized enum. */
    assert(descriptor->n_fields > 0 &&
           (descriptor->fields[0].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0);
    memcpy(&oneof_case, base + descriptor->fields[0].quantifier_offset, sizeof oneof_case);
    if (oneof_case == 0)
        return 0;
    field = protobuf_c_message_descriptor_get_field(descriptor, oneof_case);
    assert(field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE);
    memcpy(ret_body, base + field->offset, sizeof *ret_body);
    return oneof_case;
}

const char *message_case_name(const ProtobufCMessageDescriptor *descriptor, uint32_t oneof_case)
{
    const ProtobufCFieldDescriptor *field =
        oneof_case != 0 ? protobuf_c_message_descriptor_get_field(descriptor, oneof_case) : NULL;

    return field != NULL ? field->name : "none";
}

lb_err message_header_unpack(struct bytes packed, struct message_memory *memory,
                             struct message_header *ret_header)
{
    const Lb__Header *header =
        (const Lb__Header *)message_unpack(&lb__header__descriptor, packed, memory);

    if (header == NULL)
        return LB_INVALID;
    *ret_header =
        (struct message_header){ .call_id = header->call_id,
                                 .timeout_ms = header->timeout_ms,
                                 .err = header->error <= LB__ERR__INTERNAL ? (lb_err)header->error
                                                                           : LB_INTERNAL,
                                 .reason = header->reason };
    return LB_OK;
}

size_t message_header_pack(const struct message_header *header,
                           uint8_t ret_packed[MESSAGE_HEADER_MAX])
{
    Lb__Header message = LB__HEADER__INIT;
    char reason[MESSAGE_REASON_MAX + 1];
    size_t size;

    message.call_id = header->call_id;
    message.timeout_ms = header->timeout_ms;
    message.error = (Lb__Err)header->err;
    if (header->reason != NULL && header->reason[0] != '\0') {
        size_t length = strnlen(header->reason, MESSAGE_REASON_MAX);

        while (header->reason[length] != '\0' && (header->reason[length] & 0xc0) == 0x80)
            length--; /* not amid a UTF-8 character */
        memcpy(reason, header->reason, length);
        reason[length] = '\0';
        message.reason = reason;
    }
    size = lb__header__pack(&message, ret_packed);
    assert(size <= MESSAGE_HEADER_MAX);
    return size;
}
