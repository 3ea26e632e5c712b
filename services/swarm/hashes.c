#include "services/swarm/hashes.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- ranges ---- */

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

void hashes_range(const struct metainfo *metainfo, uint32_t file, uint32_t first,
                  struct hash_range *ret_range)
{
    const unsigned piece_layer = merkle_height(metainfo->layout.piece_length / MERKLE_BLOCK_SIZE);
    uint32_t start, count, left;
    unsigned height;

    layout_file_pieces(&metainfo->layout, file, &start, &count);
    left = count - (first - start);
    height = merkle_height(smaller(left, HASH_RANGE_LAYER_MAX));
    if (height == 0)
        height = 1; /* BEP 52: two or more */
    *ret_range = (struct hash_range){ .base = piece_layer,
                                      .index = first - start,
                                      .length = 1u << height,
                                      /* up to the root: each layer but that and this */
                                      .proof_layers = merkle_height(count) - 1 };
    memcpy(ret_range->root, metainfo->roots[file], MERKLE_HASH_SIZE);
}

void hashes_leaves_range(const struct metainfo *metainfo, uint32_t piece,
                         struct hash_range *ret_range)
{
    const unsigned height = metainfo_piece_height(metainfo, piece);
    const uint32_t file = layout_piece_file(&metainfo->layout, piece);
    uint32_t start, count;

    assert(height > 0);
    layout_file_pieces(&metainfo->layout, file, &start, &count);
    *ret_range = (struct hash_range){ .index = (piece - start) << height,
                                      .length = 1u << height,
                                      /* so many are omitted: no uncles come */
                                      .proof_layers = height - 1 };
    memcpy(ret_range->root, metainfo->roots[file], MERKLE_HASH_SIZE);
}

/* ---- life ---- */

static void add_chunks(struct hashes *self, uint32_t file)
{
    uint32_t first, count, chunks;

    layout_file_pieces(&self->metainfo->layout, file, &first, &count);
    chunks = (count + HASH_RANGE_LAYER_MAX - 1) / HASH_RANGE_LAYER_MAX;
    self->chunks = xrealloc(self->chunks, (self->chunks_count + chunks) * sizeof(*self->chunks));
    for (uint32_t i = 0; i < chunks; i++)
        self->chunks[self->chunks_count++] =
            (struct hashes_chunk){ .file = file,
                                   .first = first + i * HASH_RANGE_LAYER_MAX,
                                   .peer = HASHES_NOBODY,
                                   .last = HASHES_NOBODY };
    self->missing += chunks;
}

void hashes_init(struct hashes *self, const struct metainfo *metainfo)
{
    const struct layout *layout = &metainfo->layout;

    *self = (struct hashes){ .metainfo = metainfo,
                             .piece_roots = xcalloc(layout->piece_count, MERKLE_HASH_SIZE) };
    for (uint32_t i = 0; i < layout->files_count; i++) {
        if (metainfo->roots[i] && layout->files[i].length > layout->piece_length)
            add_chunks(self, i);
    }
    assert(self->missing > 0);
}

void hashes_done(struct hashes *self)
{
    free(self->piece_roots);
    free(self->chunks);
    *self = (struct hashes){ 0 };
}

/* ---- asking ---- */

static uint32_t asked_of(const struct hashes *self, uint32_t peer)
{
    uint32_t count = 0;

    for (uint32_t i = self->begin; i < self->end; i++)
        count += self->chunks[i].peer == peer;
    return count;
}

/* What it refused before it is asked for again only when there is nothing else. */
static struct hashes_chunk *choose(struct hashes *self, uint32_t peer)
{
    struct hashes_chunk *second = NULL;

    while (self->chunks[self->begin].here)
        self->begin++;
    for (uint32_t i = self->begin; i < self->chunks_count; i++) {
        struct hashes_chunk *chunk = &self->chunks[i];

        if (chunk->here || chunk->peer != HASHES_NOBODY)
            continue;
        if (chunk->last != peer)
            return chunk;
        if (!second)
            second = chunk;
    }
    return second;
}

bool hashes_next(struct hashes *self, uint32_t peer, uint64_t now_ms, struct hash_range *ret_range)
{
    struct hashes_chunk *chunk;

    if (self->missing == 0 || asked_of(self, peer) >= HASHES_PEER_MAX)
        return false;
    chunk = choose(self, peer);
    if (!chunk)
        return false;
    chunk->peer = chunk->last = peer;
    chunk->asked_ms = now_ms;
    if (chunk >= self->chunks + self->end)
        self->end = (uint32_t)(chunk - self->chunks) + 1;
    hashes_range(self->metainfo, chunk->file, chunk->first, ret_range);
    return true;
}

/* ---- what becomes of it ---- */

static struct hashes_chunk *find_asked(struct hashes *self, uint32_t peer,
                                       const struct hash_range *range)
{
    for (uint32_t i = self->begin; i < self->end; i++) {
        struct hash_range asked;

        if (self->chunks[i].peer != peer)
            continue;
        hashes_range(self->metainfo, self->chunks[i].file, self->chunks[i].first, &asked);
        if (hash_range_equal(&asked, range))
            return &self->chunks[i];
    }
    return NULL;
}

enum hashes_verdict hashes_take(struct hashes *self, uint32_t peer, const struct hash_range *range,
                                struct bytes hashes)
{
    struct hashes_chunk *chunk = find_asked(self, peer, range);
    uint32_t first, count, left;

    if (!chunk)
        return HASHES_UNASKED;
    chunk->peer = HASHES_NOBODY;
    if (!hash_range_proves(range, hashes, self->metainfo->roots[chunk->file]))
        return HASHES_BAD;
    layout_file_pieces(&self->metainfo->layout, chunk->file, &first, &count);
    left = smaller(count - (chunk->first - first), range->length);
    memcpy(self->piece_roots + (size_t)chunk->first * MERKLE_HASH_SIZE, hashes.data,
           (size_t)left * MERKLE_HASH_SIZE);
    chunk->here = true;
    return --self->missing == 0 ? HASHES_COMPLETE : HASHES_TAKEN;
}

bool hashes_rejected(struct hashes *self, uint32_t peer, const struct hash_range *range)
{
    struct hashes_chunk *chunk = find_asked(self, peer, range);

    if (!chunk)
        return false;
    chunk->peer = HASHES_NOBODY;
    return true;
}

void hashes_release(struct hashes *self, uint32_t peer)
{
    for (uint32_t i = self->begin; i < self->end; i++) {
        if (self->chunks[i].peer == peer)
            self->chunks[i].peer = HASHES_NOBODY;
    }
}

bool hashes_expire(struct hashes *self, uint64_t now_ms, uint32_t *ret_peer)
{
    for (uint32_t i = self->begin; i < self->end; i++) {
        const struct hashes_chunk *chunk = &self->chunks[i];

        if (chunk->peer == HASHES_NOBODY || now_ms - chunk->asked_ms < HASHES_ASK_MS)
            continue;
        *ret_peer = chunk->peer;
        hashes_release(self, *ret_peer);
        return true;
    }
    return false;
}
