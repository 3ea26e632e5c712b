/*
 * Suspects: who sent which block of a piece that turned out bad, until it is known whose block it
 * was.
 *
 * A piece's hash tells that some block is bad, not which. So the digest of each block is kept with
 * its sender; once the same piece is good, whoever sent a block with another digest than the good
 * one sent a bad block, and nobody else did. A block is judged only against the good one of its
 * place, hence no honest peer is ever convicted. Peers are the caller's numbers; where each can be
 * found is kept beside, also of those that left, so that leaving in time saves nobody.
 *
 * Bounds: SUSPECTS_FAILURES_MAX failures, SUSPECTS_BLOCKS_MAX blocks of them all,
 * SUSPECTS_PEERS_MAX peers; what does not fit is not kept, and the caller is told
 * (suspects_failed()). Source: the "smart ban" of libtorrent (src/smart_ban.cpp). Pure; allocates.
 */
#pragma once

#include "libcommon/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SUSPECTS_FAILURES_MAX 64u
#define SUSPECTS_BLOCKS_MAX   65536u /* 1.5 MiB at most */
#define SUSPECTS_PEERS_MAX    256u   /* of those that left the oldest is forgotten */
#define SUSPECTS_DIGEST_SIZE  20u
#define SUSPECTS_NOBODY       UINT32_MAX

struct suspect {
    uint32_t number; /* SUSPECTS_NOBODY: a free place */
    struct address address;
    uint8_t peer_id[20];
};

struct suspect_block {
    uint8_t digest[SUSPECTS_DIGEST_SIZE];
    uint32_t from;
};

struct suspect_failure {
    uint32_t piece;
    uint32_t blocks_count;
    struct suspect_block *blocks;
};

struct suspects {
    struct suspect_failure failures[SUSPECTS_FAILURES_MAX]; /* oldest first */
    uint32_t failures_count;
    uint32_t blocks_count; /* of all failures */
    struct suspect *peers; /* SUSPECTS_PEERS_MAX once there was one, a ring */
    uint32_t peers_next;
};

void suspects_init(struct suspects *self);
void suspects_done(struct suspects *self);

/* A peer that sent blocks leaves: should one of them be bad, this is where it was. */
void suspects_left(struct suspects *self, const struct suspect *peer);

/* Where a peer that left was; NULL: not known (any more). */
const struct suspect *suspects_find(const struct suspects *self, uint32_t number);

/*
 * The piece is bad. digests: SUSPECTS_DIGEST_SIZE bytes for each block; from: its sender,
 * SUSPECTS_NOBODY for a block that is not to be judged. False: there is no room, nothing is kept.
 */
bool suspects_failed(struct suspects *self, uint32_t piece, const uint8_t *digests,
                     const uint32_t *from, uint32_t blocks);

/* The digests of this piece are wanted once it is good. */
bool suspects_wants(const struct suspects *self, uint32_t piece);

/* Has this peer a part in a failure nobody is convicted of yet? */
bool suspects_doubts(const struct suspects *self, uint32_t number);

/*
 * The piece is good. Gives those who sent other blocks, each once, at most `most`, and forgets what
 * was kept of the piece. Returns how many.
 */
size_t suspects_passed(struct suspects *self, uint32_t piece, const uint8_t *digests,
                       uint32_t blocks, uint32_t *ret_numbers, size_t most);

/* The piece will not be judged: forget what was kept of it. */
void suspects_forget(struct suspects *self, uint32_t piece);

/* All invariants, for tests. */
void suspects_check(const struct suspects *self);
