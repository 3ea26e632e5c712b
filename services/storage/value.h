/*
 * How `put KEY VALUE` maps to BEP 44 items: which key pair a KEY has, and how raw bytes become a
 * bencoded value.
 *
 * A shared KEY belongs to everybody in the network: the seed of its Ed25519 key pair is
 *     SHA-256( "littlebird shared key 1" NUL  length(network) as 4 bytes  network  KEY )
 * of its name, or on a private network
 *     SHA-256( "littlebird private key 1" NUL  network id, 32 bytes  KEY )
 * so every member writes and reads it, and its item has no salt; two networks of one name that
 * somebody joins, one after the other, have nothing to do with each other. The network id is no
 * secret: what keeps others out is that nobody but members is answered. With --own the node's key
 * signs and the KEY is the salt. A raw value that fits is one bencoded byte string; a larger one is
 * a tree of immutable items (tree.h) whose root stands in its place. Values that other programs
 * stored, of any bencoded type, read as they are: a byte string as its content, anything else as
 * its encoding.
 *
 * A removed key has one more version, with the next sequence number: the mark of a removal, the
 * dictionary { "lbremoved": 1 }. It is signed, copied and kept as any value is, for as long as the
 * value it takes the place of would have lived, so that an older copy which a node brings back
 * meets a higher number. Readers take it as if there were none. Pure.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/crypto.h"
#include "libcommon/error.h"
#include "libcommon/identity.h"

#include <stdint.h>

#define VALUE_SIZE_MAX    (1024u * 1024) /* raw bytes */
#define VALUE_KEY_MAX     1024u          /* bytes of a shared KEY */
#define VALUE_NETWORK_MAX 255u
#define VALUE_TTL_MAX_S   (365u * 24 * 3600) /* what a value may be given to live */
#define VALUE_PLAIN_MAX   996u /* raw bytes that fit as one string: "996:" and 996 bytes are 1000 */

/* LB_INVALID when key is empty, or key or network too long. */
LB_MUST_CHECK lb_err value_shared_seed(const char *network, struct bytes key,
                                       uint8_t ret_seed[ED25519_SEED_SIZE]);

/* The same on a private network. LB_INVALID when key is empty or too long. */
LB_MUST_CHECK lb_err value_private_seed(const uint8_t network[NETWORK_ID_SIZE], struct bytes key,
                                        uint8_t ret_seed[ED25519_SEED_SIZE]);

enum value_kind {
    VALUE_PLAIN,   /* one byte string */
    VALUE_TREE,    /* the root of a tree: ask tree_reader_new */
    VALUE_REMOVED, /* the mark of a removal */
    VALUE_FOREIGN  /* another program's list, dictionary or integer */
};

/*
 * Look into an item's value, which item_check has found well formed. *ret_raw is the content of the
 * string, or else the encoding; it points into value.
 */
enum value_kind value_unwrap(struct bytes value, struct bytes *ret_raw);

/* The bencoded value of the mark of a removal, static. */
struct bytes value_removal(void);

/*
 * The sequence number of a new version: greater than any known one, and not less than the wall
 * clock in ms. So a version written after all copies of the earlier ones had expired, or in the
 * other half of a parted network, still counts as newer than what an old publisher may bring back.
 * LB_FULL when there is none left.
 */
LB_MUST_CHECK lb_err value_next_seq(uint64_t highest_seq, uint64_t wall_ms, uint64_t *ret_seq);
