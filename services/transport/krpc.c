#include "services/transport/krpc_inside.h"

#include <assert.h>
#include <string.h>

/*
 * What is left of the datagram. Why not bencode.h: a transport worker does this for every packet,
 * and making tokens and finding keys among them took five times as long. tests/fuzz compares
 * the two on every input.
 */
struct cursor {
    const uint8_t *at;
    const uint8_t *end;
};

enum kind { STRING, INT, LIST, ANY };

static const struct field {
    const char *key;
    uint8_t key_size;
    uint8_t kind;
    uint16_t offset;
} fields[] = {
#define KRPC_FIELD_ROW(name, member, key, kind)                                                    \
    [KRPC_FIELD_##name] = { key, sizeof(key) - 1, kind, offsetof(struct krpc_message, member) },
    KRPC_FIELDS(KRPC_FIELD_ROW)
#undef KRPC_FIELD_ROW
};

/* ---- the bencode of BEP 3, one value at a time ---- */

static bool take_byte(struct cursor *self, uint8_t byte)
{
    if (self->at == self->end || *self->at != byte)
        return false;
    self->at++;
    return true;
}

static bool is(const struct cursor *self, uint8_t first)
{
    return self->at < self->end && *self->at == first;
}

static bool is_digit(const struct cursor *self)
{
    return self->at < self->end && *self->at >= '0' && *self->at <= '9';
}

static bool take_string(struct cursor *self, struct bytes *ret_content)
{
    const uint8_t *at = self->at;
    size_t size = 0;

    for (; at < self->end && *at != ':'; at++) {
        unsigned digit = (unsigned)*at - '0';

        /* Longer than what is left cannot be; and a leading zero is refused. */
        if (digit > 9 || size > KRPC_RECEIVE_MAX || (size == 0 && at > self->at))
            return false;
        size = 10 * size + digit;
    }
    if (at == self->at || at == self->end || size > (size_t)(self->end - at - 1))
        return false;
    *ret_content = (struct bytes){ .data = at + 1, .size = size };
    self->at = at + 1 + size;
    return true;
}

/* Where an 'i' stands. */
static bool take_int(struct cursor *self, int64_t *ret_number)
{
    const uint64_t limit = (uint64_t)1 << 63;
    bool negative;
    const uint8_t *start;
    uint64_t value = 0;

    assert(is(self, 'i'));
    self->at++;
    negative = take_byte(self, '-');
    start = self->at;
    for (; self->at < self->end && *self->at != 'e'; self->at++) {
        unsigned digit = (unsigned)*self->at - '0';

        if (digit > 9 || value > (limit - digit) / 10 || (value == 0 && self->at > start))
            return false;
        value = 10 * value + digit;
    }
    if (self->at == start || !take_byte(self, 'e'))
        return false;
    if (negative ? value == 0 : value == limit)
        return false;
    *ret_number = negative ? -(int64_t)(value - 1) - 1 : (int64_t)value;
    return true;
}

/* One bit a level, the innermost lowest: is it a dictionary, and has its key been read. */
struct levels {
    uint64_t dicts;
    uint64_t keyed;
    unsigned depth;
};

/* A step of skip(): a scalar, or the beginning or the end of a list or dictionary. */
static bool skip_step(struct cursor *self, struct levels *levels, unsigned depth_max)
{
    bool key_due = levels->dicts & ~levels->keyed & 1;
    bool key_read = levels->dicts & levels->keyed & 1;
    struct bytes content;
    int64_t number;

    switch (*self->at) {
    case 'l':
    case 'd':
        if (key_due || levels->depth == depth_max)
            return false;
        levels->dicts = levels->dicts << 1 | (*self->at == 'd');
        levels->keyed <<= 1;
        levels->depth++;
        self->at++;
        return true;
    case 'e':
        if (levels->depth == 0 || key_read)
            return false;
        levels->dicts >>= 1;
        levels->keyed >>= 1;
        levels->depth--;
        self->at++;
        break;
    case 'i':
        if (key_due || !take_int(self, &number))
            return false;
        break;
    default:
        if (!take_string(self, &content))
            return false;
        if (key_due) {
            levels->keyed |= 1;
            return true;
        }
    }
    levels->keyed &= ~(uint64_t)1; /* a value is whole */
    return true;
}

/* Past one value of any kind, of at most depth_max levels. */
static bool skip(struct cursor *self, unsigned depth_max, struct bytes *ret_raw)
{
    const uint8_t *start = self->at;
    struct levels levels = { 0 };

    do {
        if (self->at == self->end || !skip_step(self, &levels, depth_max))
            return false;
    } while (levels.depth > 0);
    *ret_raw = bytes_of(start, (size_t)(self->at - start));
    return true;
}

/* The next element of a list that was found whole before, past its 'l'; false at its end. */
static bool take_element(struct cursor *self, struct bytes *ret_element, bool *ret_is_string)
{
    if (is(self, 'e'))
        return false;
    *ret_is_string = is_digit(self);
    return *ret_is_string ? take_string(self, ret_element)
                          : skip(self, KRPC_VALUE_DEPTH, ret_element);
}

/* What was met on the way. */
struct envelope {
    struct bytes type, method;
    bool has_a, has_r, has_e;
    uint32_t seen;  /* known keys of the body, whatever their values */
    uint32_t wrong; /* of these, those with a value of another kind */
};

/* ---- the body: "a" or "r" ---- */

static const struct field *find_field(struct bytes key)
{
    for (size_t i = 0; i < KRPC_FIELDS_COUNT; i++) {
        if (fields[i].key_size == key.size && memcmp(fields[i].key, key.data, key.size) == 0)
            return &fields[i];
    }
    return NULL;
}

/* The value of a known key; one of another kind is passed over. */
static bool take_field(struct cursor *self, const struct field *field, struct krpc_message *to,
                       struct envelope *envelope)
{
    void *member = (uint8_t *)to + field->offset;
    uint32_t bit = 1u << (field - fields);
    struct bytes raw;

    if (envelope->seen & bit)
        return false;
    envelope->seen |= bit;
    if (field->kind == STRING ? is_digit(self) : field->kind == INT && is(self, 'i')) {
        to->present |= bit;
        return field->kind == STRING ? take_string(self, member) : take_int(self, member);
    }
    if (field->kind == ANY || (field->kind == LIST && is(self, 'l'))) {
        to->present |= bit;
        return skip(self, KRPC_VALUE_DEPTH, member);
    }
    envelope->wrong |= bit;
    return skip(self, KRPC_VALUE_DEPTH, &raw);
}

static bool take_body(struct cursor *self, struct krpc_message *to, struct envelope *envelope)
{
    struct bytes key, raw;

    if (!take_byte(self, 'd'))
        return false;
    while (!take_byte(self, 'e')) {
        const struct field *field;

        if (!take_string(self, &key))
            return false;
        field = find_field(key);
        if (field ? !take_field(self, field, to, envelope) : !skip(self, KRPC_VALUE_DEPTH, &raw))
            return false;
    }
    return true;
}

/* ---- the envelope ---- */

/* "e": a list of a code and a text; more in it is passed over, less is made up for. */
static bool take_error(struct cursor *self, struct krpc_message *to)
{
    int64_t code = 0;
    struct bytes raw;

    to->error_code = KRPC_ERROR_GENERIC;
    if (!take_byte(self, 'l'))
        return false;
    if (is(self, 'i')) {
        if (!take_int(self, &code))
            return false;
        if (code > 0 && code < INT32_MAX)
            to->error_code = (int32_t)code;
    }
    if (is_digit(self)) {
        if (!take_string(self, &to->error_text))
            return false;
        if (to->error_text.size > KRPC_ERROR_TEXT_MAX)
            to->error_text.size = KRPC_ERROR_TEXT_MAX;
    }
    while (!take_byte(self, 'e')) {
        if (!skip(self, KRPC_VALUE_DEPTH, &raw))
            return false;
    }
    return true;
}

/* A string that may come once; its content is not NULL afterwards. */
static bool take_once(struct cursor *self, struct bytes *to)
{
    return !to->data && take_string(self, to);
}

/* A string we can do without: of another kind it is passed over. */
static bool take_optional(struct cursor *self, struct bytes *to)
{
    struct bytes raw;

    return is_digit(self) ? take_once(self, to) : skip(self, KRPC_DEPTH_MAX - 1, &raw);
}

static bool take_read_only(struct cursor *self, struct krpc_message *to)
{
    struct bytes raw;
    int64_t number;

    if (!is(self, 'i'))
        return skip(self, KRPC_DEPTH_MAX - 1, &raw);
    if (!take_int(self, &number))
        return false;
    to->read_only = number == 1;
    return true;
}

static bool take_top(struct cursor *self, struct bytes key, struct krpc_message *to,
                     struct envelope *envelope)
{
    struct bytes raw;

    if (key.size == 1) {
        switch (key.data[0]) {
        case 'a':
        case 'r':
            if (envelope->has_a || envelope->has_r)
                return false;
            *(key.data[0] == 'a' ? &envelope->has_a : &envelope->has_r) = true;
            return take_body(self, to, envelope);
        case 'e':
            if (envelope->has_e)
                return false;
            envelope->has_e = true;
            return take_error(self, to);
        case 'q':
            return take_once(self, &envelope->method);
        case 't':
            return take_once(self, &to->transaction);
        case 'v':
            return take_optional(self, &to->version);
        case 'y':
            return take_once(self, &envelope->type);
        }
    }
    if (key.size == 2 && memcmp(key.data, "ip", 2) == 0)
        return take_optional(self, &to->ip);
    if (key.size == 2 && memcmp(key.data, "ro", 2) == 0)
        return take_read_only(self, to);
    return skip(self, KRPC_DEPTH_MAX - 1, &raw);
}

static bool take_message(struct bytes data, struct krpc_message *to, struct envelope *envelope)
{
    struct cursor cursor = { data.data, data.data + data.size };
    struct bytes key;

    if (!take_byte(&cursor, 'd'))
        return false;
    while (!take_byte(&cursor, 'e')) {
        if (!take_string(&cursor, &key) || !take_top(&cursor, key, to, envelope))
            return false;
    }
    return cursor.at == cursor.end && to->transaction.size > 0 &&
           to->transaction.size <= KRPC_TRANSACTION_MAX && envelope->type.size == 1;
}

/* ---- the whole ---- */

static void read_want(struct krpc_message *self)
{
    struct cursor cursor = { self->want.data + 1, self->want.data + self->want.size };
    struct bytes item;
    bool is_string;

    while (take_element(&cursor, &item, &is_string)) {
        if (!is_string)
            continue;
        self->want_v4 |= bytes_equal_text(item, "n4");
        self->want_v6 |= bytes_equal_text(item, "n6");
    }
}

lb_err krpc_decode(struct bytes data, struct krpc_message *ret_message)
{
    struct krpc_message *message = ret_message; /* in place: it is half a kilobyte */
    struct envelope envelope = { 0 };

    memset(message, 0, sizeof(*message));
    if (data.size > KRPC_RECEIVE_MAX || !take_message(data, message, &envelope))
        return LB_INVALID;
    message->littlebird = message->version.size >= 2 && memcmp(message->version.data, "LB", 2) == 0;
    message->size = (uint16_t)data.size;
    switch (envelope.type.data[0]) {
    case 'q':
        if (!envelope.method.data || envelope.has_r)
            return LB_INVALID;
        message->type = KRPC_QUERY;
        krpc_check_query(message, envelope.method, envelope.wrong);
        if (message->present & KRPC_HAS_WANT)
            read_want(message);
        return LB_OK;
    case 'r':
        message->type = KRPC_REPLY;
        return envelope.has_r && krpc_check_reply(message, envelope.wrong) ? LB_OK : LB_INVALID;
    case 'e':
        message->type = KRPC_ERROR;
        return envelope.has_e ? LB_OK : LB_INVALID;
    default:
        return LB_INVALID;
    }
}

bool krpc_next_node(const struct krpc_message *self, unsigned family, size_t *offset,
                    struct contact *ret_contact)
{
    struct bytes nodes = family == 4 ? self->nodes : self->nodes6;
    size_t address_size = family == 4 ? ADDRESS_COMPACT_V4 : ADDRESS_COMPACT_V6;
    size_t step = NODE_ID_SIZE + address_size;

    while (nodes.size - *offset >= step) {
        const uint8_t *at = nodes.data + *offset;
        struct address address;
        lb_err err = address_from_compact(bytes_of(at + NODE_ID_SIZE, address_size), &address);

        assert(err == LB_OK); /* it has one of the two sizes */
        *offset += step;
        if (address_is_usable(&address)) {
            *ret_contact = (struct contact){ .id = node_id_from(at), .address = address };
            return true;
        }
    }
    return false;
}

bool krpc_next_peer(const struct krpc_message *self, size_t *offset, struct address *ret_address)
{
    struct cursor cursor;
    struct bytes item;
    bool is_string;

    if (self->values.size == 0)
        return false;
    cursor = (struct cursor){ self->values.data + (*offset > 0 ? *offset : 1), /* past the 'l' */
                              self->values.data + self->values.size };
    while (take_element(&cursor, &item, &is_string)) {
        *offset = (size_t)(cursor.at - self->values.data);
        if (is_string && address_from_compact(item, ret_address) == LB_OK &&
            address_is_usable(ret_address))
            return true;
    }
    return false;
}
