/*
 * What a node can tell of the trees of its files (BEP 52): it knows the roots of all pieces, and
 * what is above them is made of these, once for a file when it is first asked for (64 bytes a
 * piece); what is below them needs the leaves of one piece, which whoever drives this reads from
 * the disk. Pure; allocates.
 */
#pragma once

#include "services/swarm/hash_range.h"
#include "services/swarm/metainfo.h"

struct hash_server; /* opaque */

/* metainfo has v2 and lacks no layers; borrowed. */
struct hash_server *hash_server_new(const struct metainfo *metainfo);
void hash_server_free(struct hash_server **self);

enum hash_need {
    HASH_REFUSED, /* no such file or range, or one of several pieces below their roots */
    HASH_KNOWN,   /* hash_server_answer() without leaves */
    HASH_LEAVES   /* it needs those of *ret_piece */
};
enum hash_need hash_server_look(const struct hash_server *self, const struct hash_range *range,
                                uint32_t *ret_piece);

/*
 * Append the payload of a HASHES message, at most HASH_RANGE_ANSWER_MAX bytes. leaves: of the piece
 * asked for, layout_block_count() of them, or NULL.
 */
void hash_server_answer(struct hash_server *self, const struct hash_range *range,
                        const uint8_t *leaves, struct writer *to);
