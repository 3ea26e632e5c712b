#include "services/swarm/wire.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char protocol[] = "\x13"
                               "BitTorrent protocol";

#define PROTOCOL_SIZE (sizeof protocol - 1)
#define RESERVED_SIZE 8

/* BEP 3's reserved bytes: which bit says what. */
#define RESERVED_EXTENDED_BYTE 5
#define RESERVED_EXTENDED_BIT  0x10 /* BEP 10 */
#define RESERVED_LAST_BYTE     7
#define RESERVED_V2_BIT        0x10 /* BEP 52, "Upgrade Path" */
#define RESERVED_FAST_BIT      0x04 /* BEP 6 */
#define RESERVED_DHT_BIT       0x01 /* BEP 5 */

void wire_reader_init(struct wire_reader *self)
{
    *self = (struct wire_reader){ 0 };
}

void wire_reader_done(struct wire_reader *self)
{
    free(self->partial);
    *self = (struct wire_reader){ 0 };
}

static bool read_handshake(const uint8_t *data, struct wire_handshake *ret)
{
    if (memcmp(data, protocol, PROTOCOL_SIZE) != 0)
        return false;
    const uint8_t *reserved = data + PROTOCOL_SIZE;
    ret->extended = (reserved[RESERVED_EXTENDED_BYTE] & RESERVED_EXTENDED_BIT) != 0;
    ret->fast = (reserved[RESERVED_LAST_BYTE] & RESERVED_FAST_BIT) != 0;
    ret->dht = (reserved[RESERVED_LAST_BYTE] & RESERVED_DHT_BIT) != 0;
    ret->v2 = (reserved[RESERVED_LAST_BYTE] & RESERVED_V2_BIT) != 0;
    memcpy(ret->infohash, reserved + RESERVED_SIZE, sizeof ret->infohash);
    memcpy(ret->peer_id, reserved + RESERVED_SIZE + sizeof ret->infohash, sizeof ret->peer_id);
    return true;
}

/* How long the body behind the id must be: exactly, or at least when there is a payload. */
struct shape {
    bool known;
    bool payload;
    uint8_t fields; /* bytes before the payload */
};

static struct shape shape_of(uint8_t id)
{
    switch (id) {
    case WIRE_CHOKE:
    case WIRE_UNCHOKE:
    case WIRE_INTERESTED:
    case WIRE_NOT_INTERESTED:
    case WIRE_HAVE_ALL:
    case WIRE_HAVE_NONE:
        return (struct shape){ .known = true };
    case WIRE_HAVE:
    case WIRE_SUGGEST:
    case WIRE_ALLOWED_FAST:
        return (struct shape){ .known = true, .fields = 4 };
    case WIRE_REQUEST:
    case WIRE_CANCEL:
    case WIRE_REJECT:
        return (struct shape){ .known = true, .fields = 12 };
    case WIRE_PIECE:
        return (struct shape){ .known = true, .fields = 8, .payload = true };
    case WIRE_BITFIELD:
    case WIRE_HASH_REQUEST:
    case WIRE_HASHES:
    case WIRE_HASH_REJECT:
        return (struct shape){ .known = true, .payload = true };
    case WIRE_PORT:
        return (struct shape){ .known = true, .fields = 2 };
    case WIRE_EXTENDED:
        return (struct shape){ .known = true, .fields = 1, .payload = true };
    default:
        return (struct shape){ .known = false };
    }
}

/* data is the message after its length: `size` bytes, at least the id. */
static bool read_body(const uint8_t *data, size_t size, struct wire_message *ret)
{
    const struct shape shape = shape_of(data[0]);
    *ret = (struct wire_message){ .kind = WIRE_UNKNOWN };
    if (!shape.known)
        return true;
    const uint8_t *body = data + 1;
    const size_t body_size = size - 1;
    if (body_size < shape.fields || (body_size > shape.fields && !shape.payload))
        return false;
    ret->kind = (enum wire_kind)data[0];
    if (shape.fields >= 4)
        ret->piece = load_u32(body);
    if (shape.fields >= 8)
        ret->offset = load_u32(body + 4);
    if (shape.fields == 12)
        ret->length = load_u32(body + 8);
    if (ret->kind == WIRE_PORT)
        ret->port = load_u16(body);
    if (ret->kind == WIRE_EXTENDED)
        ret->extended = body[0];
    if (shape.payload)
        ret->payload = bytes_of(body + shape.fields, body_size - shape.fields);
    if (ret->kind == WIRE_PIECE)
        ret->length = (uint32_t)ret->payload.size;
    return true;
}

/*
 * How many bytes the thing at the front has in all, as far as `size` bytes of it can tell: at least
 * its length field. 0 when it is out of bounds.
 */
static size_t whole_size(const struct wire_reader *self, const uint8_t *data, size_t size)
{
    if (!self->handshaken)
        return WIRE_HANDSHAKE_SIZE;
    if (size < 4)
        return 4;
    const uint32_t length = load_u32(data);
    if (length > WIRE_MESSAGE_MAX)
        return 0;
    /* A block is never longer than what we ask for, so a long PIECE need not be waited for. */
    if (size > 4 && data[4] == WIRE_PIECE && length > WIRE_BLOCK_SIZE + WIRE_PIECE_HEADER - 4)
        return 0;
    return 4 + (size_t)length;
}

static enum wire_verdict deliver(struct wire_reader *self, const uint8_t *data, size_t size,
                                 struct wire_message *ret_message,
                                 struct wire_handshake *ret_handshake)
{
    if (!self->handshaken) {
        self->handshaken = read_handshake(data, ret_handshake);
        return self->handshaken ? WIRE_HANDSHAKE : WIRE_BAD;
    }
    if (size == 4) {
        *ret_message = (struct wire_message){ .kind = WIRE_KEEPALIVE };
        return WIRE_MESSAGE;
    }
    return read_body(data + 4, size - 4, ret_message) ? WIRE_MESSAGE : WIRE_BAD;
}

/* Room for `size` more kept bytes; doubles, so that what is kept is at most twice what came. */
static void reserve(struct wire_reader *self, size_t size)
{
    const size_t needed = self->size + size;
    if (needed <= self->capacity)
        return;
    size_t capacity = self->capacity == 0 ? 64 : 2 * (size_t)self->capacity;
    if (capacity < needed)
        capacity = needed;
    self->partial = xrealloc(self->partial, capacity);
    self->capacity = (uint32_t)capacity;
}

static void keep(struct wire_reader *self, struct bytes *data, size_t size)
{
    reserve(self, size);
    memcpy(self->partial + self->size, data->data, size);
    self->size += (uint32_t)size;
    data->data += size;
    data->size -= size;
}

/* Go on with the message begun: first its length becomes known, then its bytes. */
static enum wire_verdict finish_partial(struct wire_reader *self, struct bytes *data,
                                        struct wire_message *ret_message,
                                        struct wire_handshake *ret_handshake)
{
    for (;;) {
        const size_t whole = whole_size(self, self->partial, self->size);
        if (whole == 0)
            return WIRE_BAD;
        if (self->size == whole)
            return deliver(self, self->partial, whole, ret_message, ret_handshake);
        if (data->size == 0)
            return WIRE_MORE;
        const size_t missing = whole - self->size;
        keep(self, data, missing < data->size ? missing : data->size);
    }
}

enum wire_verdict wire_reader_next(struct wire_reader *self, struct bytes *data,
                                   struct wire_message *ret_message,
                                   struct wire_handshake *ret_handshake)
{
    if (self->size > 0) {
        const enum wire_verdict verdict = finish_partial(self, data, ret_message, ret_handshake);
        if (verdict != WIRE_MORE)
            self->size = 0;
        return verdict;
    }
    /* What was delivered from the kept bytes is done with: its borrower came back. */
    free(self->partial);
    self->partial = NULL;
    self->capacity = 0;

    const size_t whole = whole_size(self, data->data, data->size);
    if (whole == 0)
        return WIRE_BAD;
    if (data->size >= whole) {
        const uint8_t *start = data->data;
        data->data += whole;
        data->size -= whole;
        return deliver(self, start, whole, ret_message, ret_handshake);
    }
    if (data->size > 0)
        keep(self, data, data->size);
    return WIRE_MORE;
}

size_t wire_reader_room(struct wire_reader *self, uint8_t **ret_room)
{
    *ret_room = NULL;
    if (self->size < 5)
        return 0;
    const size_t whole = whole_size(self, self->partial, self->size);
    if (whole <= self->size)
        return 0;
    size_t missing = whole - self->size;
    /* A long claim is not given its memory before its bytes: at most a block's worth at a time. */
    const size_t most = WIRE_BLOCK_SIZE + WIRE_PIECE_HEADER;
    if (missing > most)
        missing = most;
    reserve(self, missing);
    *ret_room = self->partial + self->size;
    return missing;
}

void wire_reader_filled(struct wire_reader *self, size_t size)
{
    assert(self->size + size <= self->capacity);
    self->size += (uint32_t)size;
}

void wire_reader_drop(struct wire_reader *self)
{
    free(self->partial);
    self->partial = NULL;
    self->size = self->capacity = 0;
}

bool wire_reads_block(const uint8_t *header, struct wire_message *ret_message)
{
    if (load_u32(header) != WIRE_PIECE_HEADER - 4 + WIRE_BLOCK_SIZE || header[4] != WIRE_PIECE)
        return false;
    *ret_message = (struct wire_message){
        .kind = WIRE_PIECE,
        .piece = load_u32(header + 5),
        .offset = load_u32(header + 9),
        .length = WIRE_BLOCK_SIZE,
    };
    return true;
}

bool wire_overtakes(const struct wire_message *message)
{
    switch (message->kind) {
    case WIRE_INTERESTED:
    case WIRE_NOT_INTERESTED:
    case WIRE_HAVE:
    case WIRE_REQUEST:
    case WIRE_CANCEL:
    case WIRE_EXTENDED:
        return true;
    default:
        return false;
    }
}

void wire_put_handshake(struct writer *to, const struct wire_handshake *handshake)
{
    uint8_t reserved[RESERVED_SIZE] = { 0 };
    if (handshake->extended)
        reserved[RESERVED_EXTENDED_BYTE] |= RESERVED_EXTENDED_BIT;
    if (handshake->fast)
        reserved[RESERVED_LAST_BYTE] |= RESERVED_FAST_BIT;
    if (handshake->dht)
        reserved[RESERVED_LAST_BYTE] |= RESERVED_DHT_BIT;
    if (handshake->v2)
        reserved[RESERVED_LAST_BYTE] |= RESERVED_V2_BIT;
    writer_put(to, protocol, PROTOCOL_SIZE);
    writer_put(to, reserved, sizeof reserved);
    writer_put(to, handshake->infohash, sizeof handshake->infohash);
    writer_put(to, handshake->peer_id, sizeof handshake->peer_id);
}

size_t wire_size(const struct wire_message *message)
{
    if (message->kind == WIRE_KEEPALIVE)
        return 4;
    const struct shape shape = shape_of((uint8_t)message->kind);
    const bool behind = message->kind == WIRE_PIECE;
    return 5 + (size_t)shape.fields + (shape.payload && !behind ? message->payload.size : 0);
}

void wire_put(struct writer *to, const struct wire_message *message)
{
    assert(message->kind != WIRE_UNKNOWN);
    if (message->kind == WIRE_KEEPALIVE) {
        writer_u32(to, 0);
        return;
    }
    const struct shape shape = shape_of((uint8_t)message->kind);
    const size_t payload = shape.payload ? message->payload.size : 0;
    const size_t behind = message->kind == WIRE_PIECE ? message->length : payload;
    writer_u32(to, (uint32_t)(1 + shape.fields + behind));
    writer_u8(to, (uint8_t)message->kind);
    if (shape.fields >= 4)
        writer_u32(to, message->piece);
    if (shape.fields >= 8)
        writer_u32(to, message->offset);
    if (shape.fields == 12)
        writer_u32(to, message->length);
    if (message->kind == WIRE_PORT)
        writer_u16(to, message->port);
    if (message->kind == WIRE_EXTENDED)
        writer_u8(to, message->extended);
    if (shape.payload && message->kind != WIRE_PIECE)
        writer_put(to, message->payload.data, payload);
}
