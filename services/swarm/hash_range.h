/*
 * A range of hashes of a file's tree: what the messages of BEP 52 ask for, give and refuse.
 *
 * `length` nodes of layer `base` from `index` on, and the uncles that prove them: those of the
 * ancestors of the node that all of them make, of which there are
 * max(0, proof_layers + 1 - log2(length)). Length is a power of two and divides the index. Sources:
 * BEP 52, "peer messages"; libtorrent 2.0, src/hash_picker.cpp. Pure; allocates nothing.
 */
#pragma once

#include "libcommon/bytes.h"
#include "services/swarm/merkle.h"

#include <stdbool.h>
#include <stdint.h>

#define HASH_RANGE_SIZE      48u   /* of the fields of a message */
#define HASH_RANGE_MAX       8192u /* hashes: the leaves of a piece of 128 MiB */
#define HASH_RANGE_LAYER_MAX 512u  /* of pieces, asked for at once (BEP 52) */
#define HASH_RANGE_ANSWER_MAX                                                                      \
    (HASH_RANGE_SIZE + (HASH_RANGE_MAX + MERKLE_HEIGHT_MAX) * MERKLE_HASH_SIZE)

struct hash_range {
    uint8_t root[MERKLE_HASH_SIZE]; /* of the file */
    uint32_t base;                  /* layer, 0: leaves */
    uint32_t index;
    uint32_t length;
    uint32_t proof_layers;
};

/* The payload of a message; *ret_hashes is what is behind the fields. False: it is none. */
bool hash_range_read(struct bytes payload, struct hash_range *ret_self, struct bytes *ret_hashes);
void hash_range_put(struct writer *to, const struct hash_range *self);
bool hash_range_equal(const struct hash_range *a, const struct hash_range *b);

/* It lies in a tree of this height, and is not longer than HASH_RANGE_MAX. */
bool hash_range_is_valid(const struct hash_range *self, unsigned height);

/* Both for valid ones. */
unsigned hash_range_uncles(const struct hash_range *self);

/*
 * Whether `hashes`, the nodes with their uncles behind them, are what leads to a node that is
 * known: that of layer base + log2(length) + uncles above the range.
 */
bool hash_range_proves(const struct hash_range *self, struct bytes hashes,
                       const uint8_t known[MERKLE_HASH_SIZE]);
