#include "services/cli/json.h"

#include "libcommon/bytes.h"
#include "libcommon/memory.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

json_t *json_text(const char *text)
{
    json_t *value = json_string(text);
    char *ascii;

    if (value != NULL)
        return value;
    ascii = xstrdup(text);
    for (char *c = ascii; *c != '\0'; c++) {
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    }
    value = json_string(ascii);
    free(ascii);
    return value;
}

static json_t *of_bytes(const ProtobufCBinaryData *bytes)
{
    char *text = xmalloc(2 * bytes->len + 1);
    json_t *value;

    hex_encode(bytes->data, bytes->len, text);
    value = json_string(text);
    free(text);
    return value;
}

/* STATE_SEEDING: "seeding", WHY_NO_PEERS: "no_peers". */
static json_t *of_enum(const ProtobufCEnumDescriptor *descriptor, int number)
{
    const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(descriptor, number);
    const char *first = found != NULL ? strchr(found->name, '_') : NULL;
    char text[64];

    if (found == NULL)
        return json_integer(number);
    snprintf(text, sizeof text, "%s", first != NULL ? first + 1 : found->name);
    for (char *c = text; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    return json_string(text);
}

/* The value of one element at this place. */
static json_t *of_value(const ProtobufCFieldDescriptor *field, const void *place)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return json_integer(*(const int32_t *)place);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_integer(*(const uint32_t *)place);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return json_integer(*(const int64_t *)place);
    case PROTOBUF_C_TYPE_FLOAT:
        return json_real((double)*(const float *)place);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_real(*(const double *)place);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)place);
    case PROTOBUF_C_TYPE_ENUM:
        return of_enum(field->descriptor, *(const int *)place);
    case PROTOBUF_C_TYPE_STRING:
        return json_text(*(char *const *)place != NULL ? *(char *const *)place : "");
    case PROTOBUF_C_TYPE_BYTES:
        return of_bytes(place);
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(ProtobufCMessage *const *)place != NULL
                   ? json_of_message(*(ProtobufCMessage *const *)place)
                   : json_null();
    }
    return json_null();
}

static size_t size_of_element(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}

static json_t *of_repeated(const ProtobufCFieldDescriptor *field, const char *message)
{
    const char *elements = *(char *const *)(const void *)(message + field->offset);
    size_t count = *(const size_t *)(const void *)(message + field->quantifier_offset);
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, of_value(field, elements + i * size_of_element(field->type)));
    return array;
}

json_t *json_of_message(const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    const char *base = (const char *)message;
    json_t *object = json_object();

    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];

        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
            *(const uint32_t *)(const void *)(base + field->quantifier_offset) != field->id)
            continue;
        json_object_set_new(object, field->name,
                            field->label == PROTOBUF_C_LABEL_REPEATED
                                ? of_repeated(field, base)
                                : of_value(field, base + field->offset));
    }
    return object;
}

void json_print(json_t *value)
{
    char *text = json_dumps(value, isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT);

    json_decref(value);
    if (text == NULL)
        abort(); /* out of memory: what we build is always valid */
    printf("%s\n", text);
    free(text);
}
