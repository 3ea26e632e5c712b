#include "services/swarm/hash_range.h"

#include <string.h>

bool hash_range_read(struct bytes payload, struct hash_range *ret_self, struct bytes *ret_hashes)
{
    const uint8_t *fields = payload.data + MERKLE_HASH_SIZE;

    if (payload.size < HASH_RANGE_SIZE || (payload.size - HASH_RANGE_SIZE) % MERKLE_HASH_SIZE != 0)
        return false;
    memcpy(ret_self->root, payload.data, MERKLE_HASH_SIZE);
    ret_self->base = load_u32(fields);
    ret_self->index = load_u32(fields + 4);
    ret_self->length = load_u32(fields + 8);
    ret_self->proof_layers = load_u32(fields + 12);
    *ret_hashes = bytes_of(payload.data + HASH_RANGE_SIZE, payload.size - HASH_RANGE_SIZE);
    return true;
}

void hash_range_put(struct writer *to, const struct hash_range *self)
{
    writer_put(to, self->root, sizeof(self->root));
    writer_u32(to, self->base);
    writer_u32(to, self->index);
    writer_u32(to, self->length);
    writer_u32(to, self->proof_layers);
}

bool hash_range_equal(const struct hash_range *a, const struct hash_range *b)
{
    return memcmp(a->root, b->root, sizeof(a->root)) == 0 && a->base == b->base &&
           a->index == b->index && a->length == b->length && a->proof_layers == b->proof_layers;
}

bool hash_range_is_valid(const struct hash_range *self, unsigned height)
{
    uint64_t layer;

    if (self->base > height || self->length == 0 || self->length > HASH_RANGE_MAX ||
        (self->length & (self->length - 1)) != 0 || self->index % self->length != 0)
        return false;
    layer = (uint64_t)1 << (height - self->base);
    /* The root has no sibling: a tree of one node no proof. */
    return (uint64_t)self->index + self->length <= layer &&
           (self->proof_layers < height - self->base || self->proof_layers == 0);
}

unsigned hash_range_uncles(const struct hash_range *self)
{
    const uint32_t above = merkle_height(self->length);

    return self->proof_layers + 1 > above && self->proof_layers > 0 ? self->proof_layers + 1 - above
                                                                    : 0;
}

bool hash_range_proves(const struct hash_range *self, struct bytes hashes,
                       const uint8_t known[MERKLE_HASH_SIZE])
{
    const unsigned uncles = hash_range_uncles(self);
    uint8_t top[MERKLE_HASH_SIZE];

    if (hashes.size != ((size_t)self->length + uncles) * MERKLE_HASH_SIZE)
        return false;
    merkle_root(hashes.data, self->length, self->base, merkle_height(self->length), top);
    return merkle_proves(top, self->index / self->length & ((1u << uncles) - 1),
                         hashes.data + (size_t)self->length * MERKLE_HASH_SIZE, uncles, known);
}
