#include "services/swarm/merkle.h"

#include "libcommon/crypto.h"

#include <assert.h>
#include <string.h>

static_assert(MERKLE_HASH_SIZE == SHA256_SIZE, "BEP 52 hashes with SHA-256");

unsigned merkle_height(uint64_t leaves)
{
    unsigned height = 0;

    while (height < MERKLE_HEIGHT_MAX && (uint64_t)1 << height < leaves)
        height++;
    return height;
}

void merkle_join(const uint8_t left[MERKLE_HASH_SIZE], const uint8_t right[MERKLE_HASH_SIZE],
                 uint8_t ret_parent[MERKLE_HASH_SIZE])
{
    uint8_t both[2 * MERKLE_HASH_SIZE];

    memcpy(both, left, MERKLE_HASH_SIZE);
    memcpy(both + MERKLE_HASH_SIZE, right, MERKLE_HASH_SIZE);
    sha256(bytes_of(both, sizeof(both)), ret_parent);
}

const uint8_t *merkle_padding(unsigned layer, uint8_t hash[MERKLE_HASH_SIZE])
{
    memset(hash, 0, MERKLE_HASH_SIZE);
    for (unsigned i = 0; i < layer; i++)
        merkle_join(hash, hash, hash);
    return hash;
}

void merkle_init(struct merkle *self, unsigned layer)
{
    self->count = 0;
    self->layer = layer;
}

/* As adding one to a binary number: each carry joins two whole subtrees. */
void merkle_add(struct merkle *self, const uint8_t node[MERKLE_HASH_SIZE])
{
    uint8_t carry[MERKLE_HASH_SIZE];
    unsigned at = 0;

    memcpy(carry, node, sizeof(carry));
    for (; self->count >> at & 1; at++)
        merkle_join(self->whole[at], carry, carry);
    assert(at <= MERKLE_HEIGHT_MAX);
    memcpy(self->whole[at], carry, sizeof(carry));
    self->count++;
}

void merkle_finish(const struct merkle *self, unsigned height, uint8_t ret_root[MERKLE_HASH_SIZE])
{
    uint8_t padding[MERKLE_HASH_SIZE], carry[MERKLE_HASH_SIZE];
    bool carries = false;

    assert(height <= MERKLE_HEIGHT_MAX && self->count <= (uint64_t)1 << height);
    merkle_padding(self->layer, padding);
    for (unsigned at = 0; at < height; at++) {
        if (self->count >> at & 1)
            merkle_join(self->whole[at], carries ? carry : padding, carry);
        else if (carries)
            merkle_join(carry, padding, carry);
        carries = carries || (self->count >> at & 1);
        merkle_join(padding, padding, padding);
    }
    if (carries)
        memcpy(ret_root, carry, MERKLE_HASH_SIZE);
    else
        memcpy(ret_root, self->count > 0 ? self->whole[height] : padding, MERKLE_HASH_SIZE);
}

void merkle_root(const uint8_t *nodes, uint64_t count, unsigned layer, unsigned height,
                 uint8_t ret_root[MERKLE_HASH_SIZE])
{
    struct merkle tree;

    merkle_init(&tree, layer);
    for (uint64_t i = 0; i < count; i++)
        merkle_add(&tree, nodes + i * MERKLE_HASH_SIZE);
    merkle_finish(&tree, height, ret_root);
}

bool merkle_proves(const uint8_t node[MERKLE_HASH_SIZE], uint64_t index, const uint8_t *uncles,
                   unsigned count, const uint8_t root[MERKLE_HASH_SIZE])
{
    uint8_t at[MERKLE_HASH_SIZE];

    memcpy(at, node, sizeof(at));
    for (unsigned i = 0; i < count; i++, index /= 2) {
        const uint8_t *uncle = uncles + (uint64_t)i * MERKLE_HASH_SIZE;

        merkle_join(index % 2 ? uncle : at, index % 2 ? at : uncle, at);
    }
    return index == 0 && memcmp(at, root, sizeof(at)) == 0;
}
