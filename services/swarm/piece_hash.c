#include "services/swarm/piece_hash.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"

#include <stdlib.h>
#include <string.h>

#define ZEROS_SIZE 65536u

static const uint8_t zeros[ZEROS_SIZE];

struct piece_hasher {
    struct hasher *sha1; /* NULL: not of v1 */
    struct hasher *leaf; /* NULL: not of v2 */
    uint32_t leaf_size;  /* bytes in the leaf begun */
    unsigned height;
    struct merkle tree;
};

struct piece_hasher *piece_hasher_new(enum metainfo_kind kind)
{
    struct piece_hasher *self = xcalloc(1, sizeof(*self));

    if (kind & METAINFO_V1)
        self->sha1 = hasher_new_sha1();
    if (kind & METAINFO_V2)
        self->leaf = hasher_new_sha256();
    return self;
}

void piece_hasher_free(struct piece_hasher **self)
{
    if (*self) {
        hasher_free(&(*self)->sha1);
        hasher_free(&(*self)->leaf);
        free(*self);
    }
    *self = NULL;
}

void piece_hasher_begin(struct piece_hasher *self, unsigned height)
{
    if (self->sha1)
        hasher_reset(self->sha1);
    if (self->leaf)
        hasher_reset(self->leaf);
    self->leaf_size = 0;
    self->height = height;
    merkle_init(&self->tree, 0);
}

static void end_leaf(struct piece_hasher *self)
{
    uint8_t hash[MERKLE_HASH_SIZE];

    hasher_finish(self->leaf, hash);
    hasher_reset(self->leaf);
    merkle_add(&self->tree, hash);
    self->leaf_size = 0;
}

static void add_to_leaves(struct piece_hasher *self, struct bytes data)
{
    while (data.size > 0) {
        size_t size = MERKLE_BLOCK_SIZE - self->leaf_size;

        if (size > data.size)
            size = data.size;
        hasher_add(self->leaf, bytes_of(data.data, size));
        self->leaf_size += (uint32_t)size;
        data = bytes_of(data.data + size, data.size - size);
        if (self->leaf_size == MERKLE_BLOCK_SIZE)
            end_leaf(self);
    }
}

void piece_hasher_add(struct piece_hasher *self, struct bytes data)
{
    if (self->sha1)
        hasher_add(self->sha1, data);
    if (self->leaf)
        add_to_leaves(self, data);
}

void piece_hasher_add_zeros(struct piece_hasher *self, uint64_t size)
{
    for (uint64_t done = 0; done < size; done += ZEROS_SIZE)
        piece_hasher_add(
            self, bytes_of(zeros, size - done < ZEROS_SIZE ? (size_t)(size - done) : ZEROS_SIZE));
}

void piece_hasher_finish(struct piece_hasher *self, uint32_t padding, struct piece_hash *ret_hash)
{
    for (uint32_t done = 0; self->sha1 && done < padding; done += ZEROS_SIZE)
        hasher_add(self->sha1,
                   bytes_of(zeros, padding - done < ZEROS_SIZE ? padding - done : ZEROS_SIZE));
    if (self->sha1)
        hasher_finish(self->sha1, ret_hash->sha1);
    if (self->leaf && self->leaf_size > 0)
        end_leaf(self);
    if (self->leaf)
        merkle_finish(&self->tree, self->height, ret_hash->root);
}

void piece_hasher_begin_piece(struct piece_hasher *self, const struct metainfo *metainfo,
                              uint32_t piece)
{
    piece_hasher_begin(self, self->leaf ? metainfo_piece_height(metainfo, piece) : 0);
}

bool piece_hasher_is_good(struct piece_hasher *self, const struct metainfo *metainfo,
                          uint32_t piece)
{
    const struct layout *layout = &metainfo->layout;
    struct piece_hash hash;

    piece_hasher_finish(self, layout_padded_size(layout, piece) - layout_piece_size(layout, piece),
                        &hash);
    return piece_hash_fits(&hash, metainfo, piece);
}

void piece_hash_of_zeros(enum metainfo_kind kind, unsigned height, uint32_t size, uint32_t padding,
                         struct piece_hash *ret_hash)
{
    struct piece_hasher *hasher = piece_hasher_new(kind);

    piece_hasher_begin(hasher, height);
    piece_hasher_add_zeros(hasher, size);
    piece_hasher_finish(hasher, padding, ret_hash);
    piece_hasher_free(&hasher);
}

bool piece_hash_fits(const struct piece_hash *self, const struct metainfo *metainfo, uint32_t piece)
{
    const uint8_t *hash = metainfo_piece_hash(metainfo, piece);
    const uint8_t *root = metainfo_piece_root(metainfo, piece);

    if (hash && memcmp(hash, self->sha1, sizeof(self->sha1)) != 0)
        return false;
    if (root && memcmp(root, self->root, sizeof(self->root)) != 0)
        return false;
    return hash || root;
}

unsigned piece_tree_height(const struct layout *layout, uint32_t piece)
{
    const struct layout_file *file = &layout->files[layout_piece_file(layout, piece)];
    const bool by_file = layout->aligned || layout->files_count == 1;

    if (by_file && file->length <= layout->piece_length)
        return merkle_height((file->length + MERKLE_BLOCK_SIZE - 1) / MERKLE_BLOCK_SIZE);
    return merkle_height(layout->piece_length / MERKLE_BLOCK_SIZE);
}

enum metainfo_kind piece_key_kind(const struct metainfo *metainfo)
{
    return metainfo->has_piece_roots ? METAINFO_V2 : METAINFO_V1;
}

const uint8_t *piece_key(const struct metainfo *metainfo, uint32_t piece)
{
    return metainfo->has_piece_roots ? metainfo_piece_root(metainfo, piece)
                                     : metainfo_piece_hash(metainfo, piece);
}

const uint8_t *piece_hash_key(const struct piece_hash *self, enum metainfo_kind kind)
{
    return kind == METAINFO_V2 ? self->root : self->sha1;
}
