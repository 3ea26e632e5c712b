#include "services/gateway/describe.h"

#include "libcommon/bytes.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define WORD_MAX       64 /* bytes of one string */
#define IDENTIFIER_MAX 32 /* bytes of one byte string: an infohash, a key */

/* A member of a oneof is set when the case says so; all other fields always are. */
static bool is_set(const ProtobufCMessage *request, const ProtobufCFieldDescriptor *field)
{
    uint32_t which;

    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0)
        return true;
    memcpy(&which, (const char *)request + field->quantifier_offset, sizeof(which));
    return which == field->id;
}

static void word(const char *from, char ret_text[WORD_MAX + 1])
{
    size_t size = strnlen(from, WORD_MAX);

    for (size_t i = 0; i < size; i++)
        ret_text[i] = from[i] > ' ' && from[i] < 0x7f ? from[i] : '?';
    ret_text[size] = '\0';
}

static void identifier(const ProtobufCBinaryData *from, char ret_text[2 * IDENTIFIER_MAX + 1])
{
    hex_encode(from->data, from->len < IDENTIFIER_MAX ? from->len : IDENTIFIER_MAX, ret_text);
}

/* "" when it is nothing for a line, or not set. */
static void value_text(const ProtobufCFieldDescriptor *field, const void *member,
                       char ret_text[2 * IDENTIFIER_MAX + 1])
{
    uint64_t number = 0;

    ret_text[0] = '\0';
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        word(*(const char *const *)member, ret_text);
        return;
    case PROTOBUF_C_TYPE_BYTES:
        identifier(member, ret_text);
        return;
    case PROTOBUF_C_TYPE_UINT64:
        memcpy(&number, member, sizeof(uint64_t));
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_BOOL: /* an int */
        memcpy(&number, member, sizeof(uint32_t));
        break;
    default:
        return;
    }
    if (number > 0 || (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
        snprintf(ret_text, 2 * IDENTIFIER_MAX + 1, "%llu", (unsigned long long)number);
}

const char *describe_request(const ProtobufCMessage *request, char ret_text[DESCRIBE_SIZE])
{
    size_t size = 0;

    ret_text[0] = '\0';
    for (unsigned i = 0; i < request->descriptor->n_fields && size < DESCRIBE_SIZE; i++) {
        const ProtobufCFieldDescriptor *field = &request->descriptor->fields[i];
        char value[2 * IDENTIFIER_MAX + 1];

        if (field->label == PROTOBUF_C_LABEL_REPEATED || !is_set(request, field))
            continue;
        value_text(field, (const char *)request + field->offset, value);
        if (value[0] != '\0')
            size += (size_t)snprintf(ret_text + size, DESCRIBE_SIZE - size, " %s=%s", field->name,
                                     value);
    }
    return ret_text;
}
