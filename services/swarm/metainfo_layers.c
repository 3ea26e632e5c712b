#include "libcommon/memory.h"
#include "services/swarm/metainfo_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *piece_root(const struct metainfo *self, uint32_t piece)
{
    return self->piece_roots + (size_t)piece * MERKLE_HASH_SIZE;
}

static bool needs_layer(const struct layout *layout, uint32_t file)
{
    return !layout->files[file].padding && layout->files[file].length > layout->piece_length;
}

void metainfo_begin_layers(struct metainfo *self)
{
    const struct layout *layout = &self->layout;

    self->has_piece_roots = true;
    self->piece_roots = xcalloc(layout->piece_count, MERKLE_HASH_SIZE);
    for (uint32_t i = 0; i < layout->files_count; i++) {
        uint32_t first, count;

        layout_file_pieces(layout, i, &first, &count);
        if (needs_layer(layout, i))
            self->has_piece_roots = false;
        else if (self->roots[i])
            memcpy(piece_root(self, first), self->roots[i], MERKLE_HASH_SIZE);
    }
}

/* Whether these are the pieces of a file: they lead to its root. */
static bool layer_fits(const struct metainfo *self, uint32_t file, const uint8_t *layer)
{
    const struct layout *layout = &self->layout;
    unsigned piece_layer = merkle_height(layout->piece_length / MERKLE_BLOCK_SIZE);
    uint8_t root[MERKLE_HASH_SIZE];
    uint32_t first, count;

    layout_file_pieces(layout, file, &first, &count);
    merkle_root(layer, count, piece_layer, merkle_height(count), root);
    return memcmp(root, self->roots[file], sizeof(root)) == 0;
}

/* ---- the dictionary of a .torrent file ---- */

struct layer {
    const uint8_t *root;
    struct bytes hashes;
};

static int compare_layers(const void *a, const void *b)
{
    return memcmp(((const struct layer *)a)->root, ((const struct layer *)b)->root,
                  MERKLE_HASH_SIZE);
}

/* Sorted by root; the caller frees. */
static struct layer *list_layers(const struct bencode *bencode, uint32_t dict, size_t *ret_count)
{
    struct layer *layers = NULL;
    size_t count = 0, capacity = 0;

    for (uint32_t key = bencode_first(bencode, dict); key != BENCODE_NONE;) {
        uint32_t value = bencode_after(bencode, dict, key);
        struct bytes root = bencode_string(bencode, key);

        if (root.size == MERKLE_HASH_SIZE) {
            if (count == capacity) {
                capacity = 2 * capacity + 16;
                layers = xrealloc(layers, capacity * sizeof(*layers));
            }
            layers[count++] = (struct layer){ root.data, bencode_string(bencode, value) };
        }
        key = bencode_after(bencode, dict, value);
    }
    if (count > 0)
        qsort(layers, count, sizeof(*layers), compare_layers);
    *ret_count = count;
    return layers;
}

static lb_err take_layer(struct metainfo *self, uint32_t file, struct bytes hashes,
                         struct metainfo_problem *problem)
{
    uint32_t first, count;

    layout_file_pieces(&self->layout, file, &first, &count);
    if (hashes.size != (size_t)count * MERKLE_HASH_SIZE || !layer_fits(self, file, hashes.data))
        return metainfo_complain(problem, LB_INVALID, "the piece layer of %s does not fit its root",
                                 self->paths[file]);
    memcpy(piece_root(self, first), hashes.data, hashes.size);
    return LB_OK;
}

lb_err metainfo_read_layers(struct metainfo *self, const struct bencode *bencode, uint32_t dict,
                            struct metainfo_problem *problem)
{
    size_t count = 0;
    struct layer *layers = list_layers(bencode, dict, &count);
    bool all = true;
    lb_err err = LB_OK;

    for (uint32_t i = 0; i < self->layout.files_count && err == LB_OK; i++) {
        struct layer wanted = { .root = self->roots[i] };
        const struct layer *found = NULL;

        if (!needs_layer(&self->layout, i))
            continue;
        if (count > 0)
            found = bsearch(&wanted, layers, count, sizeof(*layers), compare_layers);
        if (found)
            err = take_layer(self, i, found->hashes, problem);
        else
            all = false;
    }
    free(layers);
    self->has_piece_roots = all && err == LB_OK;
    return err;
}

/* ---- from peers ---- */

lb_err metainfo_give_piece_roots(struct metainfo *self, const uint8_t *piece_roots)
{
    const struct layout *layout = &self->layout;

    assert(self->kind & METAINFO_V2);
    for (uint32_t i = 0; i < layout->files_count; i++) {
        uint32_t first, count;

        layout_file_pieces(layout, i, &first, &count);
        if (needs_layer(layout, i) &&
            !layer_fits(self, i, piece_roots + (size_t)first * MERKLE_HASH_SIZE))
            return LB_CORRUPT;
    }
    for (uint32_t i = 0; i < layout->files_count; i++) {
        uint32_t first, count;

        layout_file_pieces(layout, i, &first, &count);
        if (needs_layer(layout, i))
            memcpy(piece_root(self, first), piece_roots + (size_t)first * MERKLE_HASH_SIZE,
                   (size_t)count * MERKLE_HASH_SIZE);
    }
    self->has_piece_roots = true;
    return LB_OK;
}

/* ---- looking ---- */

const uint8_t *metainfo_piece_root(const struct metainfo *self, uint32_t piece)
{
    assert(piece < self->layout.piece_count);
    if (!self->piece_roots || (!self->has_piece_roots &&
                               needs_layer(&self->layout, layout_piece_file(&self->layout, piece))))
        return NULL;
    return piece_root(self, piece);
}

unsigned metainfo_piece_height(const struct metainfo *self, uint32_t piece)
{
    const struct layout *layout = &self->layout;

    assert(layout->aligned);
    if (needs_layer(layout, layout_piece_file(layout, piece)))
        return merkle_height(layout->piece_length / MERKLE_BLOCK_SIZE);
    return merkle_height(layout_block_count(layout, piece));
}

bool metainfo_lacks_layers(const struct metainfo *self)
{
    return (self->kind & METAINFO_V2) && !self->has_piece_roots;
}
