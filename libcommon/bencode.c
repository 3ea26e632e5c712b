#include "libcommon/bencode.h"

#include <string.h>

#define DEPTH_MAX  64
#define INPUT_MAX  ((size_t)1 << 31)
#define NUMBER_MAX 24 /* "i-9223372036854775808e" and its NUL */

/* What the pass knows while it goes over the bytes. */
struct parse {
    const uint8_t *data;
    size_t size;
    size_t at;
    struct bencode_token *tokens;
    uint32_t count;
    uint32_t tokens_max;
    struct bencode_limits limits;
    uint32_t depth;
    struct open {
        uint32_t token;    /* the list or dictionary */
        bool value_next;   /* DICT: a key stands there, its value is due */
        uint32_t last_key; /* DICT: the key before, BENCODE_NONE at first */
    } open[DEPTH_MAX];
};

/*
 * Decimal digits up to `stop`, moved past; at most 2^63, without leading zeros. The value before a
 * digit is appended is compared, so nothing overflows.
 */
static bool read_digits(struct parse *self, char stop, uint64_t *ret_value)
{
    const uint64_t limit = (uint64_t)1 << 63;
    size_t start = self->at;
    uint64_t value = 0;

    for (; self->at < self->size && self->data[self->at] != stop; self->at++) {
        unsigned digit = (unsigned)self->data[self->at] - '0';

        if (digit > 9 || value > (limit - digit) / 10)
            return false;
        value = 10 * value + digit;
    }
    if (self->at == self->size || self->at == start)
        return false;
    if (self->data[start] == '0' && self->at - start > 1)
        return false;
    self->at++;
    *ret_value = value;
    return true;
}

static bool read_int(struct parse *self, struct bencode_token *token)
{
    uint64_t value;
    bool negative;

    self->at++;
    negative = self->at < self->size && self->data[self->at] == '-';
    if (negative)
        self->at++;
    if (!read_digits(self, 'e', &value) || (negative && value == 0))
        return false;
    if (!negative && value > INT64_MAX)
        return false;
    /* value - 1 fits, also for the least number. */
    token->number = negative ? -(int64_t)(value - 1) - 1 : (int64_t)value;
    return true;
}

static bool read_string(struct parse *self, struct bencode_token *token)
{
    uint64_t length;

    if (!read_digits(self, ':', &length) || length > self->size - self->at)
        return false;
    token->header = (uint32_t)self->at - token->start;
    self->at += (size_t)length;
    return true;
}

static struct bytes content_of(const struct parse *self, uint32_t index)
{
    const struct bencode_token *token = &self->tokens[index];

    return bytes_of(self->data + token->start + token->header, token->size - token->header);
}

static bool in_order(const struct parse *self, uint32_t before, uint32_t key)
{
    struct bytes a = content_of(self, before), b = content_of(self, key);
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter > 0 ? memcmp(a.data, b.data, shorter) : 0;

    return order < 0 || (order == 0 && a.size < b.size);
}

/* A value is whole: tell the list or dictionary around it. */
static bool value_done(struct parse *self, uint32_t index)
{
    struct bencode_token *token = &self->tokens[index];
    struct open *around;

    token->size = (uint32_t)self->at - token->start;
    token->next = self->count;
    if (self->depth == 0)
        return true;
    around = &self->open[self->depth - 1];
    if (self->tokens[around->token].type != BENCODE_DICT)
        return true;
    if (around->value_next) {
        around->value_next = false;
        return true;
    }
    if (token->type != BENCODE_STRING)
        return false;
    if (self->limits.strict_order && around->last_key != BENCODE_NONE &&
        !in_order(self, around->last_key, index))
        return false;
    around->last_key = index;
    around->value_next = true;
    return true;
}

static lb_err open_container(struct parse *self, uint32_t index)
{
    bool as_key = self->depth > 0 && !self->open[self->depth - 1].value_next &&
                  self->tokens[self->open[self->depth - 1].token].type == BENCODE_DICT;

    if (as_key)
        return LB_INVALID;
    if (self->depth == DEPTH_MAX || self->depth >= self->limits.depth_max)
        return LB_TOO_BIG;
    self->open[self->depth++] = (struct open){ .token = index, .last_key = BENCODE_NONE };
    self->at++;
    return LB_OK;
}

static lb_err close_container(struct parse *self)
{
    if (self->depth == 0 || self->open[self->depth - 1].value_next)
        return LB_INVALID;
    self->at++;
    self->depth--;
    return value_done(self, self->open[self->depth].token) ? LB_OK : LB_INVALID;
}

/* One step: a scalar, or the beginning or the end of a list or dictionary. */
static lb_err step(struct parse *self)
{
    uint8_t first = self->data[self->at];
    uint32_t index = self->count;
    struct bencode_token *token;

    if (first == 'e')
        return close_container(self);
    if (first != 'i' && first != 'l' && first != 'd' && (first < '0' || first > '9'))
        return LB_INVALID;
    if (index == self->tokens_max)
        return LB_TOO_BIG;
    token = &self->tokens[self->count++];
    *token = (struct bencode_token){ .start = (uint32_t)self->at };
    switch (first) {
    case 'l':
        token->type = BENCODE_LIST;
        return open_container(self, index);
    case 'd':
        token->type = BENCODE_DICT;
        return open_container(self, index);
    case 'i':
        token->type = BENCODE_INT;
        return read_int(self, token) && value_done(self, index) ? LB_OK : LB_INVALID;
    default:
        token->type = BENCODE_STRING;
        return read_string(self, token) && value_done(self, index) ? LB_OK : LB_INVALID;
    }
}

lb_err bencode_parse(struct bencode *ret_self, struct bytes data, struct bencode_token *tokens,
                     uint32_t tokens_max, struct bencode_limits limits, size_t *ret_used)
{
    struct parse self = { .data = data.data,
                          .size = data.size,
                          .tokens = tokens,
                          .tokens_max = tokens_max,
                          .limits = limits };

    if (data.size > INPUT_MAX)
        return LB_TOO_BIG;
    do {
        lb_err err = self.at < self.size ? step(&self) : LB_INVALID;

        if (err != LB_OK)
            return err;
    } while (self.depth > 0);
    if (!ret_used && self.at != self.size)
        return LB_INVALID;
    if (ret_used)
        *ret_used = self.at;
    *ret_self = (struct bencode){
        .data = data.data, .size = data.size, .tokens = tokens, .count = self.count
    };
    return LB_OK;
}

static const struct bencode_token *token_at(const struct bencode *self, uint32_t index)
{
    return index < self->count ? &self->tokens[index] : NULL;
}

static bool is_type(const struct bencode *self, uint32_t index, enum bencode_type type)
{
    const struct bencode_token *token = token_at(self, index);

    return token && token->type == type;
}

uint32_t bencode_first(const struct bencode *self, uint32_t parent)
{
    const struct bencode_token *token = token_at(self, parent);

    if (!token || (token->type != BENCODE_LIST && token->type != BENCODE_DICT))
        return BENCODE_NONE;
    return token->next > parent + 1 ? parent + 1 : BENCODE_NONE;
}

uint32_t bencode_after(const struct bencode *self, uint32_t parent, uint32_t child)
{
    const struct bencode_token *around = token_at(self, parent);
    const struct bencode_token *before = token_at(self, child);

    if (!around || !before || child <= parent || before->next >= around->next)
        return BENCODE_NONE;
    return before->next;
}

uint32_t bencode_find(const struct bencode *self, uint32_t dict, const char *key)
{
    if (!is_type(self, dict, BENCODE_DICT))
        return BENCODE_NONE;
    for (uint32_t at = bencode_first(self, dict); at != BENCODE_NONE;) {
        uint32_t value = bencode_after(self, dict, at);

        if (bytes_equal_text(bencode_string(self, at), key))
            return value;
        at = bencode_after(self, dict, value);
    }
    return BENCODE_NONE;
}

uint32_t bencode_find_type(const struct bencode *self, uint32_t dict, const char *key,
                           enum bencode_type type)
{
    uint32_t value = bencode_find(self, dict, key);

    return is_type(self, value, type) ? value : BENCODE_NONE;
}

struct bytes bencode_string(const struct bencode *self, uint32_t index)
{
    const struct bencode_token *token = token_at(self, index);

    if (!token || token->type != BENCODE_STRING)
        return bytes_of(NULL, 0);
    return bytes_of(self->data + token->start + token->header, token->size - token->header);
}

bool bencode_int(const struct bencode *self, uint32_t index, int64_t *ret_number)
{
    const struct bencode_token *token = token_at(self, index);

    if (!token || token->type != BENCODE_INT)
        return false;
    *ret_number = token->number;
    return true;
}

struct bytes bencode_raw(const struct bencode *self, uint32_t index)
{
    const struct bencode_token *token = token_at(self, index);

    return token ? bytes_of(self->data + token->start, token->size) : bytes_of(NULL, 0);
}

/* value in decimal, with a byte before it (unless 0) and one after it. */
static void put_number(struct writer *to, char before, bool negative, uint64_t value, char after)
{
    char text[NUMBER_MAX];
    size_t at = sizeof(text);

    text[--at] = after;
    do
        text[--at] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    if (negative)
        text[--at] = '-';
    if (before)
        text[--at] = before;
    writer_put(to, text + at, sizeof(text) - at);
}

void bencode_put_int(struct writer *to, int64_t number)
{
    bool negative = number < 0;

    put_number(to, 'i', negative, negative ? 0 - (uint64_t)number : (uint64_t)number, 'e');
}

void bencode_put_string(struct writer *to, struct bytes content)
{
    put_number(to, 0, false, content.size, ':');
    writer_put(to, content.data, content.size);
}

void bencode_put_text(struct writer *to, const char *text)
{
    bencode_put_string(to, bytes_of_text(text));
}

void bencode_put_list(struct writer *to)
{
    writer_u8(to, 'l');
}

void bencode_put_dict(struct writer *to)
{
    writer_u8(to, 'd');
}

void bencode_put_end(struct writer *to)
{
    writer_u8(to, 'e');
}
