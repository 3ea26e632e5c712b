#include "libcommon/pki/join_token.h"

#include "libcommon/bytes.h"

#include <string.h>

#define PREFIX     "lb1."
#define FIXED_SIZE (JOIN_INVITE_SIZE + JOIN_SECRET_SIZE + NETWORK_ID_SIZE)
#define RAW_MAX    (FIXED_SIZE + JOIN_ADDRESSES_MAX * (1 + 255) + 1)

/* RFC 4648, 5. */
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static uint8_t check_sum(const uint8_t *data, size_t size)
{
    uint32_t hash = 2166136261u; /* FNV-1a, of 32 bits */

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ data[i]) * 16777619u;
    }
    return (uint8_t)hash;
}

_Static_assert(sizeof(PREFIX) + (RAW_MAX * 4 + 2) / 3 <= JOIN_TOKEN_SIZE,
               "the longest has its place");

/* ---- reading ---- */

static int digit_of(char c)
{
    const char *at = strchr(alphabet, c); /* c is none of its NUL */

    return at ? (int)(at - alphabet) : -1;
}

/* Bits left over at the end must be 0, so that each token has one spelling. */
static bool decode(const char *text, uint8_t ret_raw[RAW_MAX], size_t *ret_size)
{
    uint32_t bits = 0;
    unsigned bits_count = 0;
    size_t size = 0;

    for (; *text; text++) {
        int digit = digit_of(*text);

        if (digit < 0) {
            return false;
        }
        bits = (bits << 6 | (uint32_t)digit) & 0xffff;
        bits_count += 6;
        if (bits_count >= 8) {
            bits_count -= 8;
            if (size == RAW_MAX) {
                return false;
            }
            ret_raw[size++] = (uint8_t)(bits >> bits_count);
        }
    }
    *ret_size = size;
    return bits_count < 6 && (bits & ((1u << bits_count) - 1)) == 0;
}

static bool is_address_byte(uint8_t c)
{
    return c > ' ' && c < 0x7f; /* it is shown to a person, and written into a file of lines */
}

/* "HOST:PORT", as far as that can be seen here: whoever connects looks at it again. */
static bool take_address(struct bytes *rest, char ret_address[JOIN_ADDRESS_SIZE])
{
    size_t size = rest->data[0];
    const char *colon;

    if (size == 0 || size > rest->size - 1) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (!is_address_byte(rest->data[1 + i])) {
            return false;
        }
    }
    memcpy(ret_address, rest->data + 1, size);
    ret_address[size] = '\0';
    *rest = bytes_of(rest->data + 1 + size, rest->size - 1 - size);
    colon = strrchr(ret_address, ':');
    return colon && colon != ret_address && colon[1] != '\0';
}

static bool take_addresses(struct bytes rest, struct join_token *ret_self)
{
    while (rest.size > 0) {
        if (ret_self->addresses_count == JOIN_ADDRESSES_MAX ||
            !take_address(&rest, ret_self->addresses[ret_self->addresses_count])) {
            return false;
        }
        ret_self->addresses_count++;
    }
    return ret_self->addresses_count > 0;
}

lb_err join_token_parse(const char *text, struct join_token *ret_self)
{
    struct join_token self = { .addresses_count = 0 };
    uint8_t raw[RAW_MAX];
    size_t size;

    if (strncmp(text, PREFIX, strlen(PREFIX)) != 0 || !decode(text + strlen(PREFIX), raw, &size) ||
        size < FIXED_SIZE + 1 || check_sum(raw, size - 1) != raw[size - 1]) {
        return LB_INVALID;
    }
    memcpy(self.invite, raw, JOIN_INVITE_SIZE);
    memcpy(self.secret, raw + JOIN_INVITE_SIZE, JOIN_SECRET_SIZE);
    memcpy(self.network, raw + JOIN_INVITE_SIZE + JOIN_SECRET_SIZE, NETWORK_ID_SIZE);
    if (!take_addresses(bytes_of(raw + FIXED_SIZE, size - FIXED_SIZE - 1), &self)) {
        return LB_INVALID;
    }
    *ret_self = self;
    return LB_OK;
}

/* ---- writing ---- */

static void encode(struct bytes raw, char *ret_text)
{
    uint32_t bits = 0;
    unsigned bits_count = 0;

    for (size_t i = 0; i < raw.size; i++) {
        bits = (bits << 8 | raw.data[i]) & 0xffff;
        for (bits_count += 8; bits_count >= 6; bits_count -= 6) {
            *ret_text++ = alphabet[bits >> (bits_count - 6) & 63];
        }
    }
    if (bits_count > 0) {
        *ret_text++ = alphabet[bits << (6 - bits_count) & 63];
    }
    *ret_text = '\0';
}

lb_err join_token_write(const struct join_token *self, char ret_text[JOIN_TOKEN_SIZE])
{
    struct join_token again;
    struct writer writer;
    uint8_t raw[RAW_MAX];
    char text[JOIN_TOKEN_SIZE] = PREFIX;

    /* RAW_MAX is the size of the most there can be. */
    if (self->addresses_count > JOIN_ADDRESSES_MAX) {
        return LB_INVALID;
    }
    writer_init(&writer, raw, sizeof(raw));
    writer_put(&writer, self->invite, JOIN_INVITE_SIZE);
    writer_put(&writer, self->secret, JOIN_SECRET_SIZE);
    writer_put(&writer, self->network, NETWORK_ID_SIZE);
    for (size_t i = 0; i < self->addresses_count; i++) {
        size_t size = strnlen(self->addresses[i], JOIN_ADDRESS_SIZE);

        if (size > 255) {
            return LB_INVALID;
        }
        writer_u8(&writer, (uint8_t)size);
        writer_put(&writer, self->addresses[i], size);
    }
    writer_u8(&writer, check_sum(raw, writer.size));
    encode(bytes_of(raw, writer.size), text + strlen(PREFIX));
    /* What could not be read is not handed out. */
    if (join_token_parse(text, &again) != LB_OK) {
        return LB_INVALID;
    }
    memcpy(ret_text, text, sizeof(text));
    return LB_OK;
}
