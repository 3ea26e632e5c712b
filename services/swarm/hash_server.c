#include "services/swarm/hash_server.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The nodes of a file from its pieces up to its root, layer by layer, without padding. */
struct tree {
    uint8_t *nodes; /* NULL: not made yet */
    uint32_t count; /* pieces */
};

struct hash_server {
    const struct metainfo *metainfo;
    uint32_t *by_root; /* files that have bytes, sorted by their roots */
    uint32_t by_root_count;
    struct tree *trees; /* by file */
    unsigned piece_layer;
};

/* A file's tree, and the leaves of one of its pieces. */
struct view {
    struct hash_server *server;
    uint32_t file;
    uint32_t first;       /* piece of the file */
    uint32_t count;       /* pieces */
    unsigned piece_layer; /* of the roots of pieces; of one piece: its own height */
    const uint8_t *leaves;
    uint32_t leaves_count;
    uint32_t leaves_piece; /* in the file */
};

static const uint8_t *root_of(const struct hash_server *self, uint32_t place)
{
    return self->metainfo->roots[self->by_root[place]];
}

/* Insertion by halves: qsort(3) has no place for the table. */
static uint32_t find_root(const struct hash_server *self, const uint8_t *root)
{
    uint32_t low = 0, high = self->by_root_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (memcmp(root_of(self, middle), root, MERKLE_HASH_SIZE) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct root_place {
    const uint8_t *root;
    uint32_t file;
};

static int compare_roots(const void *a, const void *b)
{
    return memcmp(((const struct root_place *)a)->root, ((const struct root_place *)b)->root,
                  MERKLE_HASH_SIZE);
}

static void sort_roots(struct hash_server *self)
{
    const uint32_t files = self->metainfo->layout.files_count;
    struct root_place *places = xcalloc(files, sizeof(*places));
    uint32_t count = 0;

    for (uint32_t i = 0; i < files; i++) {
        if (self->metainfo->roots[i])
            places[count++] = (struct root_place){ self->metainfo->roots[i], i };
    }
    qsort(places, count, sizeof(*places), compare_roots);
    for (uint32_t i = 0; i < count; i++)
        self->by_root[i] = places[i].file;
    self->by_root_count = count;
    free(places);
}

struct hash_server *hash_server_new(const struct metainfo *metainfo)
{
    struct hash_server *self = xcalloc(1, sizeof(*self));
    const uint32_t files = metainfo->layout.files_count;

    assert((metainfo->kind & METAINFO_V2) && metainfo->has_piece_roots);
    self->metainfo = metainfo;
    self->piece_layer = merkle_height(metainfo->layout.piece_length / MERKLE_BLOCK_SIZE);
    self->by_root = xcalloc(files, sizeof(*self->by_root));
    self->trees = xcalloc(files, sizeof(*self->trees));
    sort_roots(self);
    return self;
}

void hash_server_free(struct hash_server **self)
{
    struct hash_server *freed = *self;

    *self = NULL;
    if (!freed)
        return;
    for (uint32_t i = 0; i < freed->metainfo->layout.files_count; i++)
        free(freed->trees[i].nodes);
    free(freed->trees);
    free(freed->by_root);
    free(freed);
}

/* ---- a file ---- */

static bool view_file(const struct hash_server *self, const uint8_t *root, struct view *ret_view)
{
    const uint32_t place = find_root(self, root);
    struct view view = { .server = (struct hash_server *)(uintptr_t)self };

    if (place == self->by_root_count || memcmp(root_of(self, place), root, MERKLE_HASH_SIZE) != 0)
        return false;
    view.file = self->by_root[place];
    layout_file_pieces(&self->metainfo->layout, view.file, &view.first, &view.count);
    view.piece_layer = metainfo_piece_height(self->metainfo, view.first);
    *ret_view = view;
    return true;
}

static unsigned height_of(const struct view *self)
{
    return self->piece_layer + merkle_height(self->count);
}

/* Below the roots of pieces, it must lie in one of them. */
enum hash_need hash_server_look(const struct hash_server *self, const struct hash_range *range,
                                uint32_t *ret_piece)
{
    struct view view;
    uint32_t first, last;

    if (!view_file(self, range->root, &view) || !hash_range_is_valid(range, height_of(&view)))
        return HASH_REFUSED;
    if (range->base >= view.piece_layer)
        return HASH_KNOWN;
    first = range->index >> (view.piece_layer - range->base);
    last = (range->index + range->length - 1) >> (view.piece_layer - range->base);
    if (first != last || first >= view.count)
        return HASH_REFUSED;
    *ret_piece = view.first + first;
    return HASH_LEAVES;
}

/* ---- nodes ---- */

static uint32_t nodes_at(uint32_t pieces, unsigned above)
{
    return ((pieces - 1) >> above) + 1;
}

static struct tree *tree_of(struct view *self)
{
    struct tree *tree = &self->server->trees[self->file];
    const unsigned height = merkle_height(self->count);
    uint8_t padding[MERKLE_HASH_SIZE], *layer;
    size_t total = 0;

    if (tree->nodes)
        return tree;
    for (unsigned above = 0; above <= height; above++)
        total += nodes_at(self->count, above);
    tree->nodes = xmalloc(total * MERKLE_HASH_SIZE);
    tree->count = self->count;
    for (uint32_t i = 0; i < self->count; i++)
        memcpy(tree->nodes + (size_t)i * MERKLE_HASH_SIZE,
               metainfo_piece_root(self->server->metainfo, self->first + i), MERKLE_HASH_SIZE);
    layer = tree->nodes;
    merkle_padding(self->piece_layer, padding);
    for (unsigned above = 0; above < height; above++) {
        const uint32_t count = nodes_at(self->count, above);
        uint8_t *next = layer + (size_t)count * MERKLE_HASH_SIZE;

        for (uint32_t i = 0; i < count; i += 2)
            merkle_join(layer + (size_t)i * MERKLE_HASH_SIZE,
                        i + 1 < count ? layer + (size_t)(i + 1) * MERKLE_HASH_SIZE : padding,
                        next + (size_t)(i / 2) * MERKLE_HASH_SIZE);
        merkle_join(padding, padding, padding);
        layer = next;
    }
    return tree;
}

static void put_upper(struct view *self, unsigned layer, uint32_t index, struct writer *to)
{
    const struct tree *tree = tree_of(self);
    const unsigned above = layer - self->piece_layer;
    uint8_t padding[MERKLE_HASH_SIZE];
    size_t before = 0;

    if (index >= nodes_at(self->count, above)) {
        writer_put(to, merkle_padding(layer, padding), MERKLE_HASH_SIZE);
        return;
    }
    for (unsigned i = 0; i < above; i++)
        before += nodes_at(self->count, i);
    writer_put(to, tree->nodes + (before + index) * MERKLE_HASH_SIZE, MERKLE_HASH_SIZE);
}

/* A node below the root of the piece whose leaves are here. */
static void put_lower(const struct view *self, unsigned layer, uint32_t index, struct writer *to)
{
    const uint32_t piece_start = self->leaves_piece << self->piece_layer;
    const uint32_t start = (index << layer) - piece_start, wanted = 1u << layer;
    uint32_t count = start < self->leaves_count ? self->leaves_count - start : 0;
    uint8_t node[MERKLE_HASH_SIZE];

    if (count > wanted)
        count = wanted;
    merkle_root(self->leaves + (size_t)(count > 0 ? start : 0) * MERKLE_HASH_SIZE, count, 0, layer,
                node);
    writer_put(to, node, sizeof(node));
}

static void put_node(struct view *self, unsigned layer, uint32_t index, struct writer *to)
{
    if (layer >= self->piece_layer)
        put_upper(self, layer, index, to);
    else
        put_lower(self, layer, index, to);
}

void hash_server_answer(struct hash_server *self, const struct hash_range *range,
                        const uint8_t *leaves, struct writer *to)
{
    const unsigned above = merkle_height(range->length), uncles = hash_range_uncles(range);
    struct view view = { 0 };
    uint32_t piece = 0;
    const enum hash_need need = hash_server_look(self, range, &piece);
    const bool found = view_file(self, range->root, &view);

    assert(found && need != HASH_REFUSED && (need == HASH_KNOWN || leaves));
    if (need == HASH_LEAVES) {
        view.leaves = leaves;
        view.leaves_piece = piece - view.first;
        view.leaves_count = layout_block_count(&self->metainfo->layout, piece);
    }
    hash_range_put(to, range);
    for (uint32_t i = 0; i < range->length; i++)
        put_node(&view, range->base, range->index + i, to);
    for (unsigned i = 0; i < uncles; i++)
        put_node(&view, range->base + above + i, (range->index >> above >> i) ^ 1, to);
}
