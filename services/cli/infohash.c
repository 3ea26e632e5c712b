#include "services/cli/infohash.h"

#include "libcommon/bytes.h"

#include <string.h>
#include <strings.h>

#define HEX_DIGITS    40
#define V2_SIZE       32 /* bytes of a SHA-256 */
#define BASE32_DIGITS 32

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

bool infohash_is_magnet(const char *text)
{
    return strncasecmp(text, "magnet:", 7) == 0;
}

/* A multihash (BEP 52): SHA-256, 32 bytes, of which the first 20 are what it goes by. */
static lb_err parse_v2(const char *text, size_t size, uint8_t ret_infohash[INFOHASH_SIZE])
{
    static const char sha256[] = "1220";
    uint8_t digest[V2_SIZE];
    char digits[2 * V2_SIZE + 1];

    if (size != strlen(sha256) + 2 * V2_SIZE || strncmp(text, sha256, strlen(sha256)) != 0)
        return LB_INVALID;
    memcpy(digits, text + strlen(sha256), 2 * V2_SIZE);
    digits[2 * V2_SIZE] = '\0';
    if (hex_decode(digits, digest, V2_SIZE) != LB_OK)
        return LB_INVALID;
    memcpy(ret_infohash, digest, INFOHASH_SIZE);
    return LB_OK;
}

lb_err infohash_parse(const char *text, uint8_t ret_infohash[INFOHASH_SIZE])
{
    static const char v1[] = "urn:btih:", v2[] = "urn:btmh:";
    lb_err found = LB_INVALID;

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
            /* Of a hybrid the one of v1 counts, wherever it stands. */
            if (strncasecmp(value, v1, strlen(v1)) == 0)
                return parse_digits(value + strlen(v1), (size_t)(end - value) - strlen(v1),
                                    ret_infohash);
            if (strncasecmp(value, v2, strlen(v2)) == 0 && found != LB_OK)
                found =
                    parse_v2(value + strlen(v2), (size_t)(end - value) - strlen(v2), ret_infohash);
        }
        text = end;
    }
    return found;
}
