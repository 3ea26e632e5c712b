/*
 * Hashes: the layers of pieces of a torrent whose info came from peers (BEP 9 gives the info
 * dictionary alone), asked of peers by ranges of HASH_RANGE_LAYER_MAX (BEP 52). A range is believed
 * once its proof leads to the root of its file, which the infohash vouches for.
 *
 * Peers are the caller's numbers. A range is asked of one peer at a time; what a peer refuses, or
 * does not answer for HASHES_ASK_MS, is asked of others first. Memory: 32 bytes a piece, at most 8
 * MiB (METAINFO_PIECES_V2_MAX). Pure; allocates.
 */
#pragma once

#include "services/swarm/hash_range.h"
#include "services/swarm/metainfo.h"

#include <stdbool.h>
#include <stdint.h>

#define HASHES_ASK_MS   10000u
#define HASHES_NOBODY   UINT32_MAX
#define HASHES_PEER_MAX 4u /* ranges asked of one peer at once */

struct hashes_chunk {
    uint32_t file;
    uint32_t first; /* piece of the torrent */
    uint32_t peer;  /* who is asked, HASHES_NOBODY: nobody */
    uint32_t last;  /* who was asked last */
    uint64_t asked_ms;
    bool here;
};

struct hashes {
    const struct metainfo *metainfo; /* borrowed */
    uint8_t *piece_roots;            /* MERKLE_HASH_SIZE for each piece */
    struct hashes_chunk *chunks;
    uint32_t chunks_count;
    uint32_t missing;
    uint32_t begin; /* all before are here */
    uint32_t end;   /* none from here on was asked for */
};

/* metainfo lacks layers. */
void hashes_init(struct hashes *self, const struct metainfo *metainfo);
void hashes_done(struct hashes *self);

/* The next to ask of this peer, which counts as asked; false: nothing now. */
bool hashes_next(struct hashes *self, uint32_t peer, uint64_t now_ms, struct hash_range *ret_range);

enum hashes_verdict {
    HASHES_UNASKED,
    HASHES_BAD, /* the proof is none: whoever sent it lies */
    HASHES_TAKEN,
    HASHES_COMPLETE /* piece_roots is whole */
};
enum hashes_verdict hashes_take(struct hashes *self, uint32_t peer, const struct hash_range *range,
                                struct bytes hashes);

/* It refused; false: it was not asked for that. */
bool hashes_rejected(struct hashes *self, uint32_t peer, const struct hash_range *range);

/* It is gone: what it was asked for is asked of others. */
void hashes_release(struct hashes *self, uint32_t peer);

/* Give back what was asked too long ago; *ret_peer is one who did not answer. False: none. */
bool hashes_expire(struct hashes *self, uint64_t now_ms, uint32_t *ret_peer);

/* The pieces' part of a file of several pieces: as many nodes as are asked for at once. */
void hashes_range(const struct metainfo *metainfo, uint32_t file, uint32_t first,
                  struct hash_range *ret_range);

/* All leaves of a piece of several blocks, to be proved by its root. */
void hashes_leaves_range(const struct metainfo *metainfo, uint32_t piece,
                         struct hash_range *ret_range);
