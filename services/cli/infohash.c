#include "services/cli/infohash.h"

#include "libcommon/bytes.h"

#include <string.h>
#include <strings.h>

#define HEX_DIGITS    40
#define BASE32_DIGITS 32
#define SHA256_DIGITS 64
#define SHA256_CODE   "1220" /* multihash: SHA-256, 32 bytes */

static int base32_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a';
    return c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

/* RFC 4648, 6: 32 digits of 5 bits are exactly 20 bytes. */
static lb_err parse_base32(const char *text, uint8_t ret_infohash[INFOHASH_SIZE])
{
    uint8_t infohash[INFOHASH_SIZE];
    uint32_t bits = 0;
    unsigned held = 0, used = 0;

    for (int i = 0; i < BASE32_DIGITS; i++) {
        int digit = base32_digit(text[i]);

        if (digit < 0)
            return LB_INVALID;
        bits = bits << 5 | (uint32_t)digit;
        held += 5;
        if (held >= 8) {
            held -= 8;
            infohash[used++] = (uint8_t)(bits >> held);
        }
    }
    memcpy(ret_infohash, infohash, sizeof infohash);
    return LB_OK;
}

static lb_err parse_digits(const char *text, size_t size, uint8_t ret_infohash[INFOHASH_SIZE])
{
    char digits[HEX_DIGITS + 1];

    if (size == BASE32_DIGITS)
        return parse_base32(text, ret_infohash);
    if (size != HEX_DIGITS)
        return LB_INVALID;
    memcpy(digits, text, size);
    digits[size] = '\0';
    return hex_decode(digits, ret_infohash, INFOHASH_SIZE);
}

/* BEP 52: what names a torrent of v2 alone is cut. */
static lb_err parse_multihash(const char *text, size_t size, uint8_t ret_infohash[INFOHASH_SIZE])
{
    const size_t code = strlen(SHA256_CODE);
    char digits[SHA256_DIGITS + 1];
    uint8_t hash[SHA256_DIGITS / 2];
    lb_err err;

    if (size != code + SHA256_DIGITS || strncmp(text, SHA256_CODE, code) != 0)
        return LB_INVALID;
    memcpy(digits, text + code, SHA256_DIGITS);
    digits[SHA256_DIGITS] = '\0';
    err = hex_decode(digits, hash, sizeof hash);
    if (err == LB_OK)
        memcpy(ret_infohash, hash, INFOHASH_SIZE);
    return err;
}

bool infohash_is_magnet(const char *text)
{
    return strncasecmp(text, "magnet:", 7) == 0;
}

lb_err infohash_parse(const char *text, uint8_t ret_infohash[INFOHASH_SIZE])
{
    static const char v1[] = "urn:btih:", v2[] = "urn:btmh:";
    uint8_t cut[INFOHASH_SIZE];
    lb_err err = LB_INVALID;

    if (!infohash_is_magnet(text))
        return parse_digits(text, strlen(text), ret_infohash);
    text += strlen("magnet:");
    for (text += *text == '?'; *text != '\0'; text += *text == '&') {
        size_t size = strcspn(text, "&");
        const char *value = memchr(text, '=', size);
        const char *end = text + size;

        /* "xt" or, when there are several, "xt.1" and so on */
        if (value != NULL && strncmp(text, "xt", 2) == 0 && (text[2] == '=' || text[2] == '.')) {
            value++;
            if (err != LB_OK && strncasecmp(value, v2, strlen(v2)) == 0)
                err = parse_multihash(value + strlen(v2), (size_t)(end - value) - strlen(v2), cut);
            if (strncasecmp(value, v1, strlen(v1)) == 0)
                return parse_digits(value + strlen(v1), (size_t)(end - value) - strlen(v1),
                                    ret_infohash);
        }
        text = end;
    }
    if (err == LB_OK)
        memcpy(ret_infohash, cut, sizeof cut);
    return err;
}
