#include "services/swarm/name.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

/* What a character's first byte says of it (RFC 3629, 4); size 0: none begins so. */
struct lead {
    size_t size;
    uint32_t bits;
    uint32_t least; /* a lower code point is written too long */
};

static struct lead lead_of(uint8_t byte)
{
    if (byte < 0x80)
        return (struct lead){ 1, byte, 0 };
    if (byte >= 0xc0 && byte < 0xe0)
        return (struct lead){ 2, byte & 0x1fu, 0x80 };
    if (byte >= 0xe0 && byte < 0xf0)
        return (struct lead){ 3, byte & 0x0fu, 0x800 };
    if (byte >= 0xf0 && byte < 0xf8)
        return (struct lead){ 4, byte & 0x07u, 0x10000 };
    return (struct lead){ 0, 0, 0 };
}

/* Bytes of the character at the front, 0 when there is no valid one. */
static size_t decode(struct bytes text, uint32_t *ret_code)
{
    struct lead lead = lead_of(text.data[0]);
    uint32_t code = lead.bits;

    if (lead.size == 0 || lead.size > text.size)
        return 0;
    for (size_t i = 1; i < lead.size; i++) {
        if ((text.data[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text.data[i] & 0x3fu);
    }
    if (code < lead.least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    *ret_code = code;
    return lead.size;
}

static bool is_harmless(uint32_t code)
{
    if (code < 0x20 || (code >= 0x7f && code < 0xa0))
        return false; /* control characters C0, DEL, C1 */
    if (code >= 0x2028 && code <= 0x202e)
        return false; /* line and paragraph separator, bidirectional embedding and override */
    return code < 0x2066 || code > 0x2069; /* bidirectional isolates */
}

/* Bytes at the front that stay as they are: one character, or 0. */
static size_t safe_size(struct bytes text)
{
    uint32_t code = 0;
    size_t size = decode(text, &code);

    return size > 0 && is_harmless(code) ? size : 0;
}

bool name_make_safe(struct bytes raw, char *ret_text, size_t size)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t used = 0;

    assert(size > 0);
    for (size_t at = 0; at < raw.size;) {
        struct bytes rest = bytes_of(raw.data + at, raw.size - at);
        size_t taken = safe_size(rest);
        char escape[3] = { '%', digits[rest.data[0] >> 4], digits[rest.data[0] & 15] };
        size_t put = taken > 0 ? taken : sizeof(escape);

        if (put > size - 1 - used) {
            ret_text[used] = '\0';
            return false;
        }
        memcpy(ret_text + used, taken > 0 ? (const char *)rest.data : escape, put);
        used += put;
        at += taken > 0 ? taken : 1;
    }
    ret_text[used] = '\0';
    return true;
}

bool name_is_safe(struct bytes raw)
{
    for (size_t at = 0; at < raw.size;) {
        size_t taken = safe_size(bytes_of(raw.data + at, raw.size - at));

        if (taken == 0)
            return false;
        at += taken;
    }
    return true;
}
