/*
 * BEP 44 items: their target, what is signed, which are valid, and which may replace which.
 *
 * An immutable item is its value alone and lies at SHA-1(value). A mutable one has an Ed25519 key,
 * a sequence number and a signature, and lies at SHA-1(public key + salt). The value is kept in the
 * very bytes it arrived in: encoding it again need not give the same. Source: BEP 44. Where it
 * leaves a choice: negative sequence numbers are refused, an equal number with another value is
 * refused with 302, and a duplicate of a put that was accepted from the same sender is accepted
 * again (the reply may have been lost). Pure; lb_crypto does the arithmetic.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/crypto.h"
#include "libcommon/node_id.h"

#include <stdbool.h>
#include <stdint.h>

#define ITEM_VALUE_MAX  1000u /* bytes, bencoded: what any node accepts (BEP 44) */
#define ITEM_SALT_MAX   64u
#define ITEM_SEQ_MAX    ((uint64_t)INT64_MAX)
#define ITEM_DEPTH_MAX  64u /* nesting of the value */
#define ITEM_SIGNED_MAX (9u + ITEM_SALT_MAX + 26u + 3u + ITEM_VALUE_MAX)

struct item {
    struct bytes value; /* borrowed, bencoded */
    struct bytes salt;  /* borrowed; empty: none */
    bool is_mutable;    /* what follows is for mutable items only */
    uint64_t seq;
    uint8_t public_key[ED25519_KEY_SIZE];
    uint8_t signature[ED25519_SIGN_SIZE];
};

/* What a storing node answers: the error codes of KRPC (BEP 5, BEP 44). */
enum item_verdict {
    ITEM_ACCEPTED = 0,
    ITEM_REFUSED = 202,   /* we will not store it: full, no space, too much from there */
    ITEM_MALFORMED = 203, /* no single well-formed value, sequence number out of range */
    ITEM_VALUE_TOO_BIG = 205,
    ITEM_BAD_SIGNATURE = 206,
    ITEM_SALT_TOO_BIG = 207,
    ITEM_CAS_MISMATCH = 301,
    ITEM_SEQ_TOO_LOW = 302
};

/* A sentence for the KRPC error, static, at most 64 bytes; "" for ITEM_ACCEPTED. */
const char *item_verdict_text(enum item_verdict verdict);

struct node_id item_target(const struct item *self);

/* The target of a mutable item that need not exist yet. */
struct node_id item_mutable_target(const uint8_t public_key[ED25519_KEY_SIZE], struct bytes salt);

/* "4:salt6:foobar3:seqi1e1:v12:Hello World!", at most ITEM_SIGNED_MAX bytes. */
void item_signing_buffer(const struct item *self, struct writer *to);

/* Sizes, sequence number, and that the value is one bencoded value and nothing else. */
enum item_verdict item_check(const struct item *self);

/* item_check, and for a mutable item its signature. */
enum item_verdict item_verify(const struct item *self);

/* item_verify, and that it belongs at this target. */
bool item_is_valid_at(const struct item *self, const struct node_id *target);

/* Sets public_key and signature. The item is mutable, its value and salt within bounds. */
void item_sign(struct item *self, const uint8_t seed[ED25519_SEED_SIZE]);

/* Whether a reader prefers a to b, both valid at one target: the higher seq; then, so that all
 * readers agree, the greater value. */
bool item_is_newer(const struct item *a, const struct item *b);

/* The same item, byte for byte. */
bool item_is_same(const struct item *a, const struct item *b);

/* A put as it meets what is stored. */
struct item_offer {
    const struct item *item; /* valid */
    bool has_cas;
    uint64_t cas;
    bool same_sender; /* as the one whose put made what is stored */
};

/*
 * May the offer be stored? stored is NULL when there is nothing at its target; seen_seq is the
 * highest sequence number once stored there and not yet forgotten, 0 when none.
 */
enum item_verdict item_judge(const struct item_offer *offer, const struct item *stored,
                             uint64_t seen_seq);
