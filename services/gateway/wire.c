#include "services/gateway/wire.h"

#define DEPTH_MAX 8 /* deeper than any message of proto/ */

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct walk {
    uint32_t fields;
    bool (*on_string)(uint8_t *text, size_t size); /* false ends the walk */
};

size_t wire_utf8_prefix(const uint8_t *text, size_t size)
{
    size_t at = 0;

    while (at < size) {
        uint8_t first = text[at];
        size_t more = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        uint8_t low = 0x80, high = 0xbf; /* of the second byte */

        if (first == 0 || (first >= 0x80 && first < 0xc2) || first > 0xf4 || more > size - at - 1)
            return at;
        if (first == 0xe0)
            low = 0xa0; /* shorter forms */
        else if (first == 0xed)
            high = 0x9f; /* surrogates */
        else if (first == 0xf0)
            low = 0x90;
        else if (first == 0xf4)
            high = 0x8f; /* above U+10FFFF */
        for (size_t i = 1; i <= more; i++) {
            if (text[at + i] < low || text[at + i] > high)
                return at;
            low = 0x80;
            high = 0xbf;
        }
        at += 1 + more;
    }
    return at;
}

static bool read_varint(const uint8_t *data, size_t size, size_t *at, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64 && *at < size; shift += 7) {
        uint8_t byte = data[(*at)++];

        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* Recursion ends: no message of proto/ contains itself (tests/libcommon/proto_test), and DEPTH_MAX.
 */
static bool walk_message(struct walk *self, const ProtobufCMessageDescriptor *descriptor,
                         uint8_t *data, size_t size, unsigned depth);

static bool walk_bytes(struct walk *self, const ProtobufCFieldDescriptor *field, uint8_t *data,
                       size_t size, unsigned depth)
{
    if (field && field->type == PROTOBUF_C_TYPE_STRING)
        return self->on_string(data, size);
    if (field && field->type == PROTOBUF_C_TYPE_MESSAGE)
        return depth < DEPTH_MAX && walk_message(self, field->descriptor, data, size, depth + 1);
    return true;
}

static bool walk_message(struct walk *self, const ProtobufCMessageDescriptor *descriptor,
                         uint8_t *data, size_t size, unsigned depth)
{
    size_t at = 0;

    while (at < size) {
        const ProtobufCFieldDescriptor *field;
        uint64_t key, value;
        size_t length = 0;

        if (!read_varint(data, size, &at, &key) || key > UINT32_MAX || key >> 3 == 0)
            return false;
        self->fields++;
        field = protobuf_c_message_descriptor_get_field(descriptor, (unsigned)(key >> 3));
        switch (key & 7) {
        case WIRE_VARINT:
            if (!read_varint(data, size, &at, &value))
                return false;
            break;
        case WIRE_64:
            length = 8;
            break;
        case WIRE_32:
            length = 4;
            break;
        case WIRE_BYTES:
            if (!read_varint(data, size, &at, &value) || value > size - at)
                return false;
            length = (size_t)value;
            if (!walk_bytes(self, field, data + at, length, depth))
                return false;
            break;
        default:
            return false;
        }
        if (length > size - at)
            return false;
        at += length;
    }
    return true;
}

static bool is_clean(uint8_t *text, size_t size)
{
    return wire_utf8_prefix(text, size) == size;
}

static bool clean(uint8_t *text, size_t size)
{
    for (size_t at = 0; (at += wire_utf8_prefix(text + at, size - at)) < size;)
        text[at] = '?';
    return true;
}

bool wire_is_clean(const ProtobufCMessageDescriptor *descriptor, struct bytes packed)
{
    struct walk walk = { .on_string = is_clean };

    /* is_clean only reads. */
    return walk_message(&walk, descriptor, (uint8_t *)(uintptr_t)packed.data, packed.size, 1) &&
           walk.fields <= WIRE_FIELDS_MAX;
}

void wire_clean(const ProtobufCMessageDescriptor *descriptor, uint8_t *packed, size_t size)
{
    struct walk walk = { .on_string = clean };

    walk_message(&walk, descriptor, packed, size, 1);
}
