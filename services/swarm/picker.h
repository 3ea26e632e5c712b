/*
 * The picker: which block to ask which peer for.
 *
 * Pieces begun come first, the oldest before the others and each shared by several peers; then the
 * rarest, ties at random. When every missing block is asked for (end game), the caller may ask for
 * some a second time: picker_ask_again(). What is missing lies in one array sorted by availability
 * with the start of each run beside it, so that a HAVE moves a piece in constant time (as BEP 3
 * clients have long done it). A peer under suspicion (view.alone) takes only pieces nobody else has
 * a part in, so that a bad piece names its sender.
 *
 * Invariant: a piece is MISSING and in the array, OPEN or CHECKING with a state for each of its
 * blocks, HAVE, or UNSELECTED. Availability does not count peers that have everything; those are
 * `seeds`. Source: BEP 3; Cohen 2003, "Incentives Build Robustness in BitTorrent", 2.4. Pure;
 * allocates.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct layout;
struct wave;
struct random;

#define PICKER_PIECES_MAX (1u << 21)
#define PICKER_BLOCK_SIZE 16384u     /* what peers take (BEP 3); simulations take larger ones */
#define PICKER_ASKS_MAX   3u         /* peers asked for one block at once, in the end game */
#define PICKER_NOBODY     UINT32_MAX /* no peer; others are the caller's numbers */
#define PICKER_ALONE_MAX  32u        /* pieces waiting to be fetched from one peer alone */

enum picker_state {
    PICKER_MISSING,
    PICKER_OPEN,
    PICKER_CHECKING,
    PICKER_HAVE,
    PICKER_UNSELECTED /* not here and not wanted: in no array */
};

struct picker_shape {
    uint32_t pieces;     /* 1 to PICKER_PIECES_MAX */
    uint32_t piece_size; /* bytes, at least 16 KiB; the last piece may be shorter */
    uint64_t total_size; /* bytes */
    uint32_t block_size; /* bytes, a power of two, at most piece_size; 0: PICKER_BLOCK_SIZE */
    const struct layout
        *layout; /* where pieces end with their files (layout.h); borrowed, or NULL */
};

struct picker_ask {
    uint32_t piece;
    uint32_t block; /* in the piece, of shape.block_size each */
};

struct picker_block {
    uint32_t from; /* who sent it */
    uint8_t asked; /* requests under way */
    bool here;
};

struct picker_open {
    uint32_t piece;
    uint32_t blocks;
    uint32_t free; /* blocks neither here nor asked for */
    uint32_t here;
    uint32_t asked; /* requests under way, all blocks together */
    uint32_t owner; /* PICKER_NOBODY, or the one peer that may take free blocks */
    uint32_t next;  /* in the list of those with free blocks, oldest first */
    uint32_t previous;
    struct picker_block *block;
};

struct picker {
    struct picker_shape shape;
    struct random *random; /* borrowed */
    uint32_t missing;      /* pieces that are neither HAVE nor UNSELECTED */
    uint32_t have;         /* pieces that are HAVE */
    uint64_t have_bytes;   /* of these */
    uint8_t *selected;     /* bitfield of the pieces that are wanted; NULL: all */
    uint32_t seeds;        /* peers that have everything */
    uint8_t *state;        /* of each piece: enum picker_state */
    uint16_t *available;   /* of each piece: how many peers have it, without the seeds */
    uint32_t *position;    /* of each piece: in `order`, or which of `open` */
    uint32_t *order;       /* the MISSING pieces, rarest first */
    uint32_t order_count;
    uint32_t *runs;      /* runs[a]: where in order the pieces of availability a start */
    uint32_t runs_count; /* availabilities 0 to runs_count - 1 have a run */
    uint64_t *pickable;  /* a bit for each piece that is in order */
    struct picker_open *open;
    uint32_t open_max;
    uint32_t open_usual; /* a peer that has something to do begins no more when so many are open */
    uint32_t open_count;
    uint32_t open_first; /* with free blocks; PICKER_NOBODY: none */
    uint32_t open_last;
    uint32_t *spare;                  /* unused places of open */
    uint32_t alone[PICKER_ALONE_MAX]; /* until HAVE: opened first, for one peer */
    uint32_t alone_count;
};

/* What the picker wants to know of the peer it picks for. */
struct picker_view {
    uint32_t peer;
    const uint8_t *bitfield; /* NULL: it has everything */
    bool alone;              /* under suspicion */
    bool idle;               /* it is asked for nothing now */
    bool proven;             /* it does send what it is asked for */
    const uint32_t *only;    /* these pieces alone (BEP 6 allowed fast); NULL: any */
    size_t only_count;
    const struct wave *wave; /* whose turn it is to begin a piece (wave.h); NULL: everybody's */
};

enum picker_verdict {
    PICKER_TAKEN,    /* new: keep its bytes */
    PICKER_COMPLETE, /* and it was the piece's last: verify, then picker_verified() */
    PICKER_TWICE,    /* it is here already */
    PICKER_UNWANTED  /* no such piece is open */
};

/* random is kept. open_max: pieces begun at once, at least 1. */
void picker_init(struct picker *self, struct picker_shape shape, uint32_t open_max,
                 struct random *random);

/* That many are enough; only for a peer that would be idle more are begun. */
void picker_set_usual(struct picker *self, uint32_t open_usual);
void picker_done(struct picker *self);

/* A piece that is on disk and verified: at start, or after the fact. It must not be open. */
void picker_set_have(struct picker *self, uint32_t piece);

/* It was had, and is gone from the disk. */
void picker_lose(struct picker *self, uint32_t piece);
bool picker_has(const struct picker *self, uint32_t piece);

/*
 * Only these pieces are wanted (a bitfield, copied; NULL: all). What is here stays, and what is
 * begun is ended.
 */
void picker_select(struct picker *self, const uint8_t *pieces);

/* It is selected and not here. */
bool picker_wants(const struct picker *self, uint32_t piece);

/* All that is selected is here; every piece is. */
bool picker_is_complete(const struct picker *self);
bool picker_has_all(const struct picker *self);
uint32_t picker_piece_size(const struct picker *self, uint32_t piece);

/* With the padding a peer may count to it. */
uint32_t picker_padded_size(const struct picker *self, uint32_t piece);
uint32_t picker_block_count(const struct picker *self, uint32_t piece);
uint32_t picker_block_size(const struct picker *self, uint32_t piece, uint32_t block);

/* What peers have. A bitfield has a bit for each piece, the highest first (BEP 3). */
void picker_add_bitfield(struct picker *self, const uint8_t *bitfield);
void picker_remove_bitfield(struct picker *self, const uint8_t *bitfield);
void picker_add_piece(struct picker *self, uint32_t piece);
void picker_remove_piece(struct picker *self, uint32_t piece);
void picker_add_seed(struct picker *self);
void picker_remove_seed(struct picker *self);

/* Up to `most` blocks to ask the peer for; they count as asked for. Returns how many. */
size_t picker_pick(struct picker *self, const struct picker_view *view, struct picker_ask *ret_asks,
                   size_t most);

/* Count one more request for a block that is asked for; false: it is here, or asked for enough. */
bool picker_ask_again(struct picker *self, struct picker_ask block);

/*
 * Nothing was picked though the peer has something we lack: because no more pieces may be begun, or
 * because it must be alone. A piece nobody is asked for is given up for it: *ret_piece, whose bytes
 * are to be forgotten. False when there is none.
 */
bool picker_make_room(struct picker *self, const struct picker_view *view, uint32_t *ret_piece);

enum picker_verdict picker_receive(struct picker *self, struct picker_ask block, uint32_t from);

/* A request will not be answered. */
void picker_give_back(struct picker *self, struct picker_ask block);

/* How many peers are asked for this block now. */
unsigned picker_asked(const struct picker *self, struct picker_ask block);

/* From now on only this peer may take free blocks of an open piece that is nobody's. */
void picker_own(struct picker *self, uint32_t piece, uint32_t peer);

/* The peer went or fell silent: what only it might fetch is free for all. */
void picker_disown(struct picker *self, uint32_t peer);

/* Who sent blocks of a piece that is being checked; each once, at most `most`. */
size_t picker_contributors(const struct picker *self, uint32_t piece, uint32_t *ret_peers,
                           size_t most);

/* Who sent each block of a piece that is OPEN or CHECKING; PICKER_NOBODY: it is not here. */
void picker_senders(const struct picker *self, uint32_t piece, uint32_t *ret_peers);

/*
 * The next piece that is OPEN or CHECKING and has a block of this peer; *ret_slot is 0 at first.
 * False: there is none left.
 */
bool picker_next_from(const struct picker *self, uint32_t peer, uint32_t *ret_slot,
                      uint32_t *ret_piece);

/*
 * This piece failed: it is fetched from one peer, so that the next verdict is about that one; a
 * proven peer takes it before anything else. When PICKER_ALONE_MAX wait already it is a piece like
 * others.
 */
void picker_fetch_alone(struct picker *self, uint32_t piece);

/* A CHECKING piece is good and on disk (HAVE), or bad (MISSING). */
void picker_verified(struct picker *self, uint32_t piece, bool good);

/* What is here of an OPEN or CHECKING piece was lost: MISSING, if it was one of these. */
void picker_abandon(struct picker *self, uint32_t piece);

/* Every missing block is here or asked for. */
bool picker_in_endgame(const struct picker *self);

/* All invariants, for tests. */
void picker_check(const struct picker *self);
