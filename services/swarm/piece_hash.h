/*
 * The hash of a piece, taken as its bytes come: SHA-1 as v1 has it, the root of its leaves as v2
 * has it, or both in one pass for a hybrid; and whether it is what the metainfo says. Pure; links
 * lb_crypto.
 */
#pragma once

#include "libcommon/bytes.h"
#include "services/swarm/merkle.h"
#include "services/swarm/metainfo.h"

#include <stdbool.h>
#include <stdint.h>

struct piece_hash {
    uint8_t sha1[METAINFO_HASH_SIZE]; /* with v1 */
    uint8_t root[MERKLE_HASH_SIZE];   /* with v2 */
};

struct piece_hasher; /* opaque */

struct piece_hasher *piece_hasher_new(enum metainfo_kind kind);
void piece_hasher_free(struct piece_hasher **self);

/* A new piece, of a tree of 2^height leaves: metainfo_piece_height(); 0 when it is not of v2. */
void piece_hasher_begin(struct piece_hasher *self, unsigned height);
void piece_hasher_add(struct piece_hasher *self, struct bytes data);
void piece_hasher_add_zeros(struct piece_hasher *self, uint64_t size);

/* padding: zeros that v1 counts to the piece beyond its bytes (layout_padded_size()). */
void piece_hasher_finish(struct piece_hasher *self, uint32_t padding, struct piece_hash *ret_hash);

/* The same for a piece of a torrent whose kind is the hasher's. piece < piece_count. */
void piece_hasher_begin_piece(struct piece_hasher *self, const struct metainfo *metainfo,
                              uint32_t piece);

/* Its bytes were added: is it good? Nothing is good of which no hash is known. */
bool piece_hasher_is_good(struct piece_hasher *self, const struct metainfo *metainfo,
                          uint32_t piece);

/* The hash of so many zeros. */
void piece_hash_of_zeros(enum metainfo_kind kind, unsigned height, uint32_t size, uint32_t padding,
                         struct piece_hash *ret_hash);

/* The height of a piece's tree in any layout; where files are not aligned, that of a whole piece.
 */
unsigned piece_tree_height(const struct layout *layout, uint32_t piece);

/*
 * By what a piece is found in other content: its root cut to 20 bytes, where the roots are known
 * (METAINFO_V2), else its SHA-1 (METAINFO_V1).
 */
enum metainfo_kind piece_key_kind(const struct metainfo *metainfo);
const uint8_t *piece_key(const struct metainfo *metainfo, uint32_t piece);
const uint8_t *piece_hash_key(const struct piece_hash *self, enum metainfo_kind kind);

/* All hashes of the kind are those of the piece, as far as they are known. */
bool piece_hash_fits(const struct piece_hash *self, const struct metainfo *metainfo,
                     uint32_t piece);
