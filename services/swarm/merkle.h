/*
 * Merkle trees of BEP 52: a file is hashed in blocks of 16 KiB (the leaves, SHA-256), and two
 * hashes side by side make the one above them, up to the root.
 *
 * Layer 0 are the leaves. A tree has 2^height leaves; those behind the end of the file are zero,
 * and so a node that covers nothing else is known (merkle_padding). A node is named by its layer
 * and its index there. Source: BEP 52, "pieces root", "hash request". Pure; allocates nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define MERKLE_HASH_SIZE  32u
#define MERKLE_BLOCK_SIZE 16384u
#define MERKLE_HEIGHT_MAX 44u /* 2^58 bytes */

/* Layers above the leaves of the smallest tree with so many: 0 for one leaf. */
unsigned merkle_height(uint64_t leaves);

/* A node of this layer that covers padding alone. layer <= MERKLE_HEIGHT_MAX. */
const uint8_t *merkle_padding(unsigned layer, uint8_t hash[MERKLE_HASH_SIZE]);

void merkle_join(const uint8_t left[MERKLE_HASH_SIZE], const uint8_t right[MERKLE_HASH_SIZE],
                 uint8_t ret_parent[MERKLE_HASH_SIZE]);

/* A tree as its nodes come, left to right: one node a layer is kept. */
struct merkle {
    uint64_t count; /* nodes so far; a bit that is set is a whole subtree, kept below */
    unsigned layer; /* of the nodes added */
    uint8_t whole[MERKLE_HEIGHT_MAX + 1][MERKLE_HASH_SIZE];
};

/* The nodes to come are of this layer. */
void merkle_init(struct merkle *self, unsigned layer);
void merkle_add(struct merkle *self, const uint8_t node[MERKLE_HASH_SIZE]);

/* The root of 2^height of these nodes, those that did not come being padding; count fits. */
void merkle_finish(const struct merkle *self, unsigned height, uint8_t ret_root[MERKLE_HASH_SIZE]);

/* The same of `count` nodes that lie one behind the other. */
void merkle_root(const uint8_t *nodes, uint64_t count, unsigned layer, unsigned height,
                 uint8_t ret_root[MERKLE_HASH_SIZE]);

/*
 * Climb from a node to the root with the siblings of it and of its ancestors, lowest first; whether
 * that is the root. uncles may be NULL when count is 0.
 */
bool merkle_proves(const uint8_t node[MERKLE_HASH_SIZE], uint64_t index, const uint8_t *uncles,
                   unsigned count, const uint8_t root[MERKLE_HASH_SIZE]);
