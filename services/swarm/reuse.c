#include "services/swarm/reuse.h"

#include "libcommon/bytes.h"
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/piece_hash.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct reuse_index {
    const struct metainfo *metainfo;
    uint32_t mask;   /* buckets, a power of two, less 1 */
    uint32_t *first; /* of each bucket: a piece, or REUSE_NONE */
    uint32_t *next;  /* of each piece: the next in its bucket */
};

/* A hash is as good as random bits. */
static uint32_t bucket_of(const struct reuse_index *self, const uint8_t *hash)
{
    return load_u32(hash) & self->mask;
}

struct reuse_index *reuse_index_new(const struct metainfo *metainfo, const uint8_t *wanted)
{
    struct reuse_index *self = xcalloc(1, sizeof(*self));
    uint32_t pieces = metainfo->layout.piece_count, buckets = 16;

    while (buckets < pieces)
        buckets *= 2;
    self->metainfo = metainfo;
    self->mask = buckets - 1;
    self->first = xmalloc(buckets * sizeof(self->first[0]));
    self->next = xmalloc(pieces * sizeof(self->next[0]));
    for (uint32_t i = 0; i < buckets; i++)
        self->first[i] = REUSE_NONE;
    /* From the last on: in its bucket a piece then comes before those behind it. */
    for (uint32_t piece = pieces; piece-- > 0;) {
        uint32_t *first = &self->first[bucket_of(self, piece_key(metainfo, piece))];

        if (!bitfield_has(wanted, piece))
            continue;
        self->next[piece] = *first;
        *first = piece;
    }
    return self;
}

void reuse_index_free(struct reuse_index **self)
{
    if (*self) {
        free((*self)->first);
        free((*self)->next);
        free(*self);
    }
    *self = NULL;
}

static uint32_t same_from(const struct reuse_index *self, uint32_t piece, const uint8_t *hash)
{
    while (piece != REUSE_NONE &&
           memcmp(piece_key(self->metainfo, piece), hash, METAINFO_HASH_SIZE) != 0)
        piece = self->next[piece];
    return piece;
}

uint32_t reuse_index_find(const struct reuse_index *self, const uint8_t hash[METAINFO_HASH_SIZE])
{
    return same_from(self, self->first[bucket_of(self, hash)], hash);
}

uint32_t reuse_index_next(const struct reuse_index *self, uint32_t piece)
{
    return same_from(self, self->next[piece], piece_key(self->metainfo, piece));
}
