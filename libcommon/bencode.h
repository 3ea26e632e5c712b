/*
 * Bencode (BEP 3): reading in place and writing into a fixed buffer. Pure; allocates nothing.
 *
 * The reader is a flat array of tokens over the caller's bytes, made in one pass without recursion:
 * depth and token count are bounded by the caller. Lengths are checked against what is left.
 * Strict: no leading zeros, no "-0", integers within int64; dictionary keys must be strings;
 * unsorted or duplicate keys are accepted when `strict_order` is false (real clients send them) and
 * refused when it is true. Trailing bytes are refused unless the caller asks where the value ended.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bencode_type { BENCODE_INT, BENCODE_STRING, BENCODE_LIST, BENCODE_DICT };

struct bencode_token {
    enum bencode_type type;
    uint32_t start;  /* offset of its first byte, the 'i', digit, 'l' or 'd' */
    uint32_t size;   /* bytes of the whole encoded value */
    uint32_t header; /* STRING: bytes of "123:" before the content */
    uint32_t next;   /* index of the token after this value and all inside it */
    int64_t number;  /* INT: the value */
};

struct bencode {
    const uint8_t *data; /* borrowed */
    size_t size;
    struct bencode_token *tokens; /* the caller's array */
    uint32_t count;
};

struct bencode_limits {
    uint32_t depth_max; /* nesting, at most 64 */
    bool strict_order;
};

/*
 * Parse data (at most 2^31 bytes) into the caller's tokens. LB_INVALID when malformed, LB_TOO_BIG
 * when tokens_max or depth_max is exceeded. With ret_used the value may be followed by other bytes
 * and *ret_used is its size; without, trailing bytes are LB_INVALID. Token 0 is the root.
 */
LB_MUST_CHECK lb_err bencode_parse(struct bencode *ret_self, struct bytes data,
                                   struct bencode_token *tokens, uint32_t tokens_max,
                                   struct bencode_limits limits, size_t *ret_used);

#define BENCODE_NONE UINT32_MAX

/*
 * All of these take a token index, accept BENCODE_NONE (and answer as if the value were missing)
 * and never read outside the data.
 */

/* The value of a key in a dictionary token, else BENCODE_NONE. */
uint32_t bencode_find(const struct bencode *self, uint32_t dict, const char *key);
/* As bencode_find, and of this type, else BENCODE_NONE. */
uint32_t bencode_find_type(const struct bencode *self, uint32_t dict, const char *key,
                           enum bencode_type type);
/* The first child of a list or dictionary (a key there), BENCODE_NONE when empty. */
uint32_t bencode_first(const struct bencode *self, uint32_t parent);
/* The sibling after child inside parent (in a dictionary keys and values alternate), or NONE. */
uint32_t bencode_after(const struct bencode *self, uint32_t parent, uint32_t child);
/* The content of a string; size 0 and data NULL when it is none. */
struct bytes bencode_string(const struct bencode *self, uint32_t token);
/* False unless the token is an integer. */
bool bencode_int(const struct bencode *self, uint32_t token, int64_t *ret_number);
/* The whole encoded value. */
struct bytes bencode_raw(const struct bencode *self, uint32_t token);

/* Writing: into a struct writer; the caller sorts keys. */
void bencode_put_int(struct writer *to, int64_t number);
void bencode_put_string(struct writer *to, struct bytes content);
void bencode_put_text(struct writer *to, const char *text);
void bencode_put_list(struct writer *to);
void bencode_put_dict(struct writer *to);
void bencode_put_end(struct writer *to);
