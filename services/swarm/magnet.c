#include "services/swarm/magnet.h"

#include "libcommon/bytes.h"
#include "services/swarm/name.h"
#include "services/swarm/uri.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SCHEME      "magnet:?"
#define BTIH        "urn:btih:"
#define BTMH        "urn:btmh:"
#define BASE32_SIZE 32     /* characters of 20 bytes */
#define SHA256_CODE "1220" /* multihash: SHA-256, 32 bytes */

/* The value of one key, percent-encoding undone. */
struct value {
    char text[MAGNET_TEXT_MAX + 1];
    size_t size;
};

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

/*
 * A '%' that no two digits follow stands for itself, as in browsers. Form encoding writes '+' for a
 * space, and links with such names are about. size <= MAGNET_TEXT_MAX.
 */
static void decode_percent(const char *text, size_t size, bool plus_is_space,
                           struct value *ret_value)
{
    ret_value->size = 0;
    for (size_t i = 0; i < size; i++) {
        char byte = text[i];
        bool escaped = byte == '%' && size - i > 2 && hex_digit(text[i + 1]) >= 0 &&
                       hex_digit(text[i + 2]) >= 0;

        if (escaped) {
            byte = (char)(hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2]));
            i += 2;
        } else if (byte == '+' && plus_is_space) {
            byte = ' ';
        }
        ret_value->text[ret_value->size++] = byte;
    }
    ret_value->text[ret_value->size] = '\0';
}

/* RFC 4648, 6: five bits a character. */
static bool decode_base32(const char *text, uint8_t ret_hash[20])
{
    uint64_t bits = 0;
    unsigned held = 0;
    size_t used = 0;

    for (size_t i = 0; i < BASE32_SIZE; i++) {
        char c = text[i];
        unsigned digit;

        if (c >= 'a' && c <= 'z')
            digit = (unsigned)(c - 'a');
        else if (c >= 'A' && c <= 'Z')
            digit = (unsigned)(c - 'A');
        else if (c >= '2' && c <= '7')
            digit = (unsigned)(c - '2') + 26;
        else
            return false;
        bits = bits << 5 | digit;
        held += 5;
        if (held >= 8) {
            held -= 8;
            ret_hash[used++] = (uint8_t)(bits >> held);
        }
    }
    return true;
}

static bool decode_hash(const char *text, uint8_t ret_hash[20])
{
    size_t size = strlen(text);

    if (size == 40)
        return hex_decode(text, ret_hash, 20) == LB_OK;
    return size == BASE32_SIZE && decode_base32(text, ret_hash);
}

/* What one pass over the link found. */
struct found {
    bool bad_hash;
    bool other_hash;
};

static void take_v1(struct magnet *self, struct found *found, const char *digits)
{
    uint8_t hash[20];

    if (self->has_v1)
        return;
    if (!decode_hash(digits, hash)) {
        found->bad_hash = true;
        return;
    }
    memcpy(self->infohash, hash, sizeof(hash));
    self->has_v1 = true;
}

static void take_v2(struct magnet *self, struct found *found, const char *digits)
{
    const size_t code = strlen(SHA256_CODE);

    if (self->has_v2)
        return;
    if (strncmp(digits, SHA256_CODE, code) != 0)
        found->other_hash = true;
    else if (strlen(digits + code) != 64 ||
             hex_decode(digits + code, self->infohash_v2, sizeof(self->infohash_v2)) != LB_OK)
        found->bad_hash = true;
    else
        self->has_v2 = true;
}

static void take_topic(struct magnet *self, struct found *found, const struct value *value)
{
    if (strncasecmp(value->text, BTIH, strlen(BTIH)) == 0)
        take_v1(self, found, value->text + strlen(BTIH));
    else if (strncasecmp(value->text, BTMH, strlen(BTMH)) == 0)
        take_v2(self, found, value->text + strlen(BTMH));
}

static void take_name(struct magnet *self, const struct value *value)
{
    if (self->name[0] == '\0')
        name_make_safe(bytes_of(value->text, value->size), self->name, sizeof(self->name));
}

static void take_tracker(struct magnet *self, const struct value *value)
{
    if (self->trackers_count == MAGNET_TRACKERS_MAX || value->size == 0 ||
        value->size >= MAGNET_TRACKER_SIZE || !name_is_safe(bytes_of(value->text, value->size)))
        return;
    memcpy(self->trackers[self->trackers_count++], value->text, value->size + 1);
}

static void take_web_seed(struct magnet *self, const struct value *value)
{
    if (self->web_seeds_count == MAGNET_WEB_SEEDS_MAX || value->size == 0 ||
        value->size >= MAGNET_WEB_SEED_SIZE || !name_is_safe(bytes_of(value->text, value->size)))
        return;
    memcpy(self->web_seeds[self->web_seeds_count++], value->text, value->size + 1);
}

/* "3" or "4-6"; the end, or NULL. */
static const char *skip_range(const char *text)
{
    size_t first = strspn(text, "0123456789"), second;

    if (first == 0 || text[first] != '-')
        return first > 0 ? text + first : NULL;
    second = strspn(text + first + 1, "0123456789");
    return second > 0 ? text + first + 1 + second : NULL;
}

/* BEP 53. */
static void take_select(struct magnet *self, const struct value *value)
{
    const char *at = value->text;

    if (value->size >= MAGNET_SELECT_SIZE || strlen(value->text) != value->size || self->select[0])
        return;
    while ((at = skip_range(at)) && *at == ',')
        at++;
    if (at && !*at)
        memcpy(self->select, value->text, value->size + 1);
}

static void take_peer(struct magnet *self, const struct value *value)
{
    struct address address;

    if (self->peers_count == MAGNET_PEERS_MAX || strlen(value->text) != value->size)
        return;
    if (address_parse(value->text, &address) == LB_OK && address_is_usable(&address))
        self->peers[self->peers_count++] = address;
}

/* "tr.2" is "tr". */
static bool is_key(const char *key, size_t size, const char *name)
{
    size_t length = strlen(name);

    if (size < length || strncasecmp(key, name, length) != 0)
        return false;
    return size == length ||
           (key[length] == '.' && strspn(key + length + 1, "0123456789") == size - length - 1);
}

static void take_pair(struct magnet *self, struct found *found, const char *pair, size_t size)
{
    const char *equals = memchr(pair, '=', size);
    struct value value;
    size_t key_size;

    if (!equals)
        return;
    key_size = (size_t)(equals - pair);
    decode_percent(equals + 1, size - key_size - 1, is_key(pair, key_size, "dn"), &value);
    if (is_key(pair, key_size, "xt"))
        take_topic(self, found, &value);
    else if (is_key(pair, key_size, "dn"))
        take_name(self, &value);
    else if (is_key(pair, key_size, "tr"))
        take_tracker(self, &value);
    else if (is_key(pair, key_size, "x.pe"))
        take_peer(self, &value);
    else if (is_key(pair, key_size, "so"))
        take_select(self, &value);
    else if (is_key(pair, key_size, "ws"))
        take_web_seed(self, &value);
}

lb_err magnet_parse(const char *text, struct magnet *ret_self)
{
    struct magnet self = { 0 };
    struct found found = { 0 };

    if (strnlen(text, MAGNET_TEXT_MAX + 1) > MAGNET_TEXT_MAX)
        return LB_TOO_BIG;
    if (strncasecmp(text, SCHEME, strlen(SCHEME)) != 0)
        return LB_INVALID;
    for (const char *at = text + strlen(SCHEME); *at;) {
        size_t size = strcspn(at, "&");

        take_pair(&self, &found, at, size);
        at += size;
        if (*at == '&')
            at++;
    }
    if (found.bad_hash || (!self.has_v1 && !self.has_v2))
        return found.other_hash && !found.bad_hash ? LB_UNSUPPORTED : LB_INVALID;
    if (!self.has_v1)
        memcpy(self.infohash, self.infohash_v2, sizeof(self.infohash));
    *ret_self = self;
    return LB_OK;
}

static void put_text(struct writer *to, const char *text)
{
    writer_put(to, text, strlen(text));
}

static void put_hashes(struct writer *to, const struct magnet *self)
{
    char hash[65];

    put_text(to, SCHEME "xt=");
    if (self->has_v1) {
        hex_encode(self->infohash, sizeof(self->infohash), hash);
        put_text(to, BTIH);
        put_text(to, hash);
    }
    if (self->has_v1 && self->has_v2)
        put_text(to, "&xt=");
    if (self->has_v2) {
        hex_encode(self->infohash_v2, sizeof(self->infohash_v2), hash);
        put_text(to, BTMH SHA256_CODE);
        put_text(to, hash);
    }
}

/* What does not fit is left out: the link is of use without. */
static void put_web_seeds(struct writer *to, const struct magnet *self)
{
    for (uint32_t i = 0; i < self->web_seeds_count; i++) {
        if (to->overflow || to->capacity - to->size < 3 * strlen(self->web_seeds[i]) + 8)
            return;
        put_text(to, "&ws=");
        uri_put(to, self->web_seeds[i], "");
    }
}

lb_err magnet_format(const struct magnet *self, char *ret_text, size_t size)
{
    char text[MAGNET_TEXT_MAX + 1], peer[ADDRESS_TEXT_SIZE];
    struct writer writer;

    writer_init(&writer, text, size < sizeof(text) ? size : sizeof(text));
    put_hashes(&writer, self);
    if (self->name[0]) {
        put_text(&writer, "&dn=");
        uri_put(&writer, self->name, "");
    }
    for (uint32_t i = 0; i < self->trackers_count; i++) {
        put_text(&writer, "&tr=");
        uri_put(&writer, self->trackers[i], "");
    }
    for (uint32_t i = 0; i < self->peers_count; i++) {
        address_format(&self->peers[i], peer);
        put_text(&writer, "&x.pe=");
        put_text(&writer, peer);
    }
    if (self->select[0]) {
        put_text(&writer, "&so=");
        put_text(&writer, self->select);
    }
    put_web_seeds(&writer, self);
    writer_u8(&writer, '\0');
    if (writer.overflow)
        return LB_TOO_BIG;
    memcpy(ret_text, text, writer.size);
    return LB_OK;
}
