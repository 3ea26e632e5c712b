#include "services/swarm/picker.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/layout.h"
#include "services/swarm/wave.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Pieces looked at from the rarest on before the bitfields are compared word by word. */
#define SCAN_MAX 128u

static bool peer_has(const struct picker_view *view, uint32_t piece)
{
    return view->bitfield == NULL || bitfield_has(view->bitfield, piece);
}

/* ---- shape ---- */

uint32_t picker_piece_size(const struct picker *self, uint32_t piece)
{
    assert(piece < self->shape.pieces);
    return self->shape.layout != NULL ? layout_piece_size(self->shape.layout, piece)
                                      : picker_padded_size(self, piece);
}

uint32_t picker_padded_size(const struct picker *self, uint32_t piece)
{
    assert(piece < self->shape.pieces);
    const uint64_t start = (uint64_t)piece * self->shape.piece_size;
    const uint64_t left = self->shape.total_size - start;
    return left < self->shape.piece_size ? (uint32_t)left : self->shape.piece_size;
}

uint32_t picker_block_count(const struct picker *self, uint32_t piece)
{
    return (picker_piece_size(self, piece) + self->shape.block_size - 1) / self->shape.block_size;
}

uint32_t picker_block_size(const struct picker *self, uint32_t piece, uint32_t block)
{
    const uint32_t left = picker_piece_size(self, piece) - block * self->shape.block_size;
    return left < self->shape.block_size ? left : self->shape.block_size;
}

/* ---- the array of missing pieces, in runs of equal availability ---- */

static void place(struct picker *self, uint32_t piece, uint32_t at)
{
    self->order[at] = piece;
    self->position[piece] = at;
}

static void swap(struct picker *self, uint32_t a, uint32_t b)
{
    const uint32_t piece_a = self->order[a];
    const uint32_t piece_b = self->order[b];
    place(self, piece_a, b);
    place(self, piece_b, a);
}

static uint32_t run_start(const struct picker *self, uint32_t run)
{
    return run < self->runs_count ? self->runs[run] : self->order_count;
}

static void need_run(struct picker *self, uint32_t run)
{
    if (run < self->runs_count)
        return;
    const uint32_t count = run + 16;
    self->runs = xrealloc(self->runs, count * sizeof *self->runs);
    while (self->runs_count < count)
        self->runs[self->runs_count++] = self->order_count;
}

/* Ties are random because each newcomer to a run takes a random place in it. */
static void shuffle_into_run(struct picker *self, uint32_t piece)
{
    const uint32_t run = self->available[piece];
    const uint32_t start = run_start(self, run);
    const uint32_t size = run_start(self, run + 1) - start;
    swap(self, self->position[piece], start + (uint32_t)random_below(self->random, size));
}

static void order_add(struct picker *self, uint32_t piece)
{
    const uint32_t run = self->available[piece];
    need_run(self, run);
    /* A gap at the end travels down: the first of each later run goes behind its last. */
    uint32_t gap = self->order_count++;
    for (uint32_t later = self->runs_count - 1; later > run; later--) {
        if (self->runs[later] < gap) {
            place(self, self->order[self->runs[later]], gap);
            gap = self->runs[later];
        }
        self->runs[later]++;
    }
    place(self, piece, gap);
    self->pickable[piece / 64] |= 1ull << (piece % 64);
    shuffle_into_run(self, piece);
}

static void order_remove(struct picker *self, uint32_t piece)
{
    uint32_t gap = self->position[piece];
    for (uint32_t run = self->available[piece]; run < self->runs_count; run++) {
        const uint32_t end = run_start(self, run + 1);
        if (end > gap + 1) {
            place(self, self->order[end - 1], gap);
            gap = end - 1;
        }
        if (run + 1 < self->runs_count)
            self->runs[run + 1]--;
    }
    self->order_count--;
    self->pickable[piece / 64] &= ~(1ull << (piece % 64));
}

static void more_available(struct picker *self, uint32_t piece)
{
    if (self->available[piece] == UINT16_MAX)
        return;
    const uint32_t run = self->available[piece]++;
    if (self->state[piece] != PICKER_MISSING)
        return;
    need_run(self, run + 1);
    swap(self, self->position[piece], self->runs[run + 1] - 1);
    self->runs[run + 1]--;
    shuffle_into_run(self, piece);
}

static void less_available(struct picker *self, uint32_t piece)
{
    assert(self->available[piece] > 0);
    const uint32_t run = self->available[piece]--;
    if (self->state[piece] != PICKER_MISSING)
        return;
    swap(self, self->position[piece], self->runs[run]);
    self->runs[run]++;
    shuffle_into_run(self, piece);
}

void picker_add_piece(struct picker *self, uint32_t piece)
{
    assert(piece < self->shape.pieces);
    more_available(self, piece);
}

void picker_remove_piece(struct picker *self, uint32_t piece)
{
    assert(piece < self->shape.pieces);
    less_available(self, piece);
}

void picker_add_bitfield(struct picker *self, const uint8_t *bitfield)
{
    for (uint32_t i = 0; i < self->shape.pieces; i++)
        if (bitfield_has(bitfield, i))
            more_available(self, i);
}

void picker_remove_bitfield(struct picker *self, const uint8_t *bitfield)
{
    for (uint32_t i = 0; i < self->shape.pieces; i++)
        if (bitfield_has(bitfield, i))
            less_available(self, i);
}

void picker_add_seed(struct picker *self)
{
    self->seeds++;
}

void picker_remove_seed(struct picker *self)
{
    assert(self->seeds > 0);
    self->seeds--;
}

/* ---- open pieces ---- */

static void list_remove(struct picker *self, uint32_t slot)
{
    struct picker_open *open = &self->open[slot];
    if (open->previous != PICKER_NOBODY)
        self->open[open->previous].next = open->next;
    else
        self->open_first = open->next;
    if (open->next != PICKER_NOBODY)
        self->open[open->next].previous = open->previous;
    else
        self->open_last = open->previous;
}

static void list_append(struct picker *self, uint32_t slot)
{
    struct picker_open *open = &self->open[slot];
    open->next = PICKER_NOBODY;
    open->previous = self->open_last;
    if (self->open_last != PICKER_NOBODY)
        self->open[self->open_last].next = slot;
    else
        self->open_first = slot;
    self->open_last = slot;
}

/* A piece that has free blocks again is older than those waiting: it goes first. */
static void list_prepend(struct picker *self, uint32_t slot)
{
    struct picker_open *open = &self->open[slot];
    open->previous = PICKER_NOBODY;
    open->next = self->open_first;
    if (self->open_first != PICKER_NOBODY)
        self->open[self->open_first].previous = slot;
    else
        self->open_last = slot;
    self->open_first = slot;
}

static struct picker_open *open_of(const struct picker *self, uint32_t piece)
{
    if (piece >= self->shape.pieces)
        return NULL;
    const uint8_t state = self->state[piece];
    return state == PICKER_OPEN || state == PICKER_CHECKING ? &self->open[self->position[piece]]
                                                            : NULL;
}

static uint32_t open_piece(struct picker *self, uint32_t piece, uint32_t owner)
{
    assert(self->state[piece] == PICKER_MISSING && self->open_count < self->open_max);
    order_remove(self, piece);
    const uint32_t slot = self->spare[self->open_max - 1 - self->open_count];
    self->open_count++;
    const uint32_t blocks = picker_block_count(self, piece);
    self->open[slot] = (struct picker_open){
        .piece = piece,
        .blocks = blocks,
        .free = blocks,
        .owner = owner,
        .block = xcalloc(blocks, sizeof(struct picker_block)),
    };
    self->state[piece] = PICKER_OPEN;
    self->position[piece] = slot;
    list_append(self, slot);
    return slot;
}

static void release(struct picker *self, uint32_t slot)
{
    struct picker_open *open = &self->open[slot];
    free(open->block);
    open->block = NULL;
    self->open_count--;
    self->spare[self->open_max - 1 - self->open_count] = slot;
}

/* Back among the missing ones, whatever was here. */
static void close_piece(struct picker *self, uint32_t slot)
{
    const uint32_t piece = self->open[slot].piece;
    if (self->open[slot].free > 0)
        list_remove(self, slot);
    release(self, slot);
    self->state[piece] = PICKER_MISSING;
    order_add(self, piece);
}

/* ---- picking ---- */

struct asks {
    struct picker_ask *items;
    size_t count;
    size_t most;
};

static void take_free(struct picker *self, uint32_t slot, struct asks *asks)
{
    struct picker_open *open = &self->open[slot];
    for (uint32_t i = 0; i < open->blocks && open->free > 0 && asks->count < asks->most; i++) {
        struct picker_block *block = &open->block[i];
        if (block->here || block->asked > 0)
            continue;
        block->asked = 1;
        open->asked++;
        open->free--;
        asks->items[asks->count++] = (struct picker_ask){ open->piece, i };
    }
    if (open->free == 0)
        list_remove(self, slot);
}

/* May this peer take free blocks of this piece? */
static bool may_take(const struct picker_open *open, const struct picker_view *view)
{
    if (!peer_has(view, open->piece))
        return false;
    if (open->owner != PICKER_NOBODY)
        return open->owner == view->peer;
    return !view->alone || (open->here == 0 && open->asked == 0);
}

static void take(struct picker *self, uint32_t slot, const struct picker_view *view,
                 struct asks *asks)
{
    if (view->alone)
        self->open[slot].owner = view->peer;
    take_free(self, slot, asks);
}

static void pick_open(struct picker *self, const struct picker_view *view, struct asks *asks)
{
    uint32_t slot = self->open_first;
    while (slot != PICKER_NOBODY && asks->count < asks->most) {
        const uint32_t next = self->open[slot].next;
        if (may_take(&self->open[slot], view))
            take(self, slot, view, asks);
        slot = next;
    }
}

static bool has_turn(const struct picker *self, const struct picker_view *view, uint32_t piece)
{
    return view->wave == NULL ||
           wave_has_come(view->wave, piece, self->available[piece] + self->seeds);
}

/* The rarest missing piece the peer has, by comparing its bitfield with ours word by word. */
static uint32_t rarest_by_words(struct picker *self, const struct picker_view *view)
{
    const uint8_t *bitfield = view->bitfield;
    uint32_t best = PICKER_NOBODY;
    uint32_t ties = 0;
    const uint32_t bytes = (uint32_t)bitfield_size(self->shape.pieces);
    for (uint32_t word = 0; word * 8 < bytes; word++) {
        if (self->pickable[word] == 0)
            continue;
        uint32_t left = bytes - word * 8;
        if (left > 8)
            left = 8;
        for (uint32_t i = 0; i < left; i++) {
            if (bitfield[word * 8 + i] == 0)
                continue;
            for (uint32_t piece = (word * 8 + i) * 8; piece < (word * 8 + i) * 8 + 8; piece++) {
                if (piece >= self->shape.pieces || self->state[piece] != PICKER_MISSING ||
                    !bitfield_has(bitfield, piece) || !has_turn(self, view, piece))
                    continue;
                if (best == PICKER_NOBODY || self->available[piece] < self->available[best]) {
                    best = piece;
                    ties = 1;
                } else if (self->available[piece] == self->available[best] &&
                           random_below(self->random, ++ties) == 0) {
                    best = piece;
                }
            }
        }
    }
    return best;
}

static uint32_t rarest(struct picker *self, const struct picker_view *view)
{
    if (self->order_count == 0)
        return PICKER_NOBODY;
    if (view->bitfield == NULL)
        return self->order[0];
    /* What only seeds have stands in front; this peer is none. */
    uint32_t end = run_start(self, 1) + SCAN_MAX;
    if (end > self->order_count)
        end = self->order_count;
    for (uint32_t i = run_start(self, 1); i < end; i++)
        if (bitfield_has(view->bitfield, self->order[i]) && has_turn(self, view, self->order[i]))
            return self->order[i];
    return end < self->order_count ? rarest_by_words(self, view) : PICKER_NOBODY;
}

static bool is_for_one(const struct picker *self, uint32_t piece)
{
    for (uint32_t i = 0; i < self->alone_count; i++)
        if (self->alone[i] == piece)
            return true;
    return false;
}

static uint32_t owner_of(const struct picker *self, uint32_t piece, const struct picker_view *view)
{
    return is_for_one(self, piece) ? view->peer : PICKER_NOBODY;
}

static void pick_new(struct picker *self, const struct picker_view *view, struct asks *asks)
{
    /* Some places are for pieces that one peer alone gives (pick_only). */
    const uint32_t open_max = self->open_max - self->open_max / 4;
    while (asks->count < asks->most && self->open_count < open_max) {
        const uint32_t piece = rarest(self, view);
        if (piece == PICKER_NOBODY)
            return;
        take(self, open_piece(self, piece, owner_of(self, piece, view)), view, asks);
    }
}

/* Pieces that failed, each for one peer. */
static void pick_alone(struct picker *self, const struct picker_view *view, struct asks *asks)
{
    for (uint32_t i = 0; i < self->alone_count && asks->count < asks->most; i++) {
        const uint32_t piece = self->alone[i];
        if (self->state[piece] == PICKER_MISSING && peer_has(view, piece) &&
            self->open_count < self->open_max)
            take_free(self, open_piece(self, piece, view->peer), asks);
    }
}

void picker_fetch_alone(struct picker *self, uint32_t piece)
{
    if (!is_for_one(self, piece) && self->alone_count < PICKER_ALONE_MAX)
        self->alone[self->alone_count++] = piece;
}

static void forget_alone(struct picker *self, uint32_t piece)
{
    for (uint32_t i = 0; i < self->alone_count; i++) {
        if (self->alone[i] != piece)
            continue;
        self->alone[i] = self->alone[--self->alone_count];
        return;
    }
}

static void pick_only(struct picker *self, const struct picker_view *view, struct asks *asks)
{
    for (size_t i = 0; i < view->only_count && asks->count < asks->most; i++) {
        const uint32_t piece = view->only[i];
        if (piece >= self->shape.pieces || !peer_has(view, piece))
            continue;
        if (self->state[piece] == PICKER_OPEN) {
            struct picker_open *open = open_of(self, piece);
            if (open->free > 0 && may_take(open, view))
                take(self, self->position[piece], view, asks);
        } else if (self->state[piece] == PICKER_MISSING && self->open_count < self->open_max) {
            take(self, open_piece(self, piece, owner_of(self, piece, view)), view, asks);
        }
    }
}

bool picker_in_endgame(const struct picker *self)
{
    return self->order_count == 0 && self->open_first == PICKER_NOBODY && self->open_count > 0;
}

bool picker_ask_again(struct picker *self, struct picker_ask ask)
{
    struct picker_open *open = open_of(self, ask.piece);
    if (open == NULL || ask.block >= open->blocks)
        return false;
    struct picker_block *block = &open->block[ask.block];
    if (block->here || block->asked == 0 || block->asked >= PICKER_ASKS_MAX)
        return false;
    block->asked++;
    open->asked++;
    return true;
}

size_t picker_pick(struct picker *self, const struct picker_view *view, struct picker_ask *ret_asks,
                   size_t most)
{
    struct asks asks = { .items = ret_asks, .most = most };
    if (view->only != NULL) {
        pick_only(self, view, &asks);
        return asks.count;
    }
    if (view->proven)
        pick_alone(self, view, &asks);
    pick_open(self, view, &asks);
    pick_new(self, view, &asks);
    return asks.count;
}

bool picker_make_room(struct picker *self, const struct picker_view *view, uint32_t *ret_piece)
{
    const uint32_t wanted = rarest(self, view);
    for (uint32_t slot = self->open_first; slot != PICKER_NOBODY; slot = self->open[slot].next) {
        const struct picker_open *open = &self->open[slot];
        if (open->asked > 0 || open->owner != PICKER_NOBODY)
            continue;
        /* Full, and nobody works on it; or only a peer that must be alone could go on with it. */
        const bool full = self->open_count == self->open_max && wanted != PICKER_NOBODY;
        const bool own = view->alone && wanted == PICKER_NOBODY && peer_has(view, open->piece);
        if (!full && !own)
            continue;
        *ret_piece = open->piece;
        close_piece(self, slot);
        return true;
    }
    return false;
}

/* ---- what becomes of requests ---- */

enum picker_verdict picker_receive(struct picker *self, struct picker_ask ask, uint32_t from)
{
    struct picker_open *open = open_of(self, ask.piece);
    if (open == NULL || ask.block >= open->blocks)
        return PICKER_UNWANTED;
    struct picker_block *block = &open->block[ask.block];
    if (block->here)
        return PICKER_TWICE;
    if (block->asked == 0) {
        if (--open->free == 0)
            list_remove(self, self->position[ask.piece]);
    }
    open->asked -= block->asked;
    block->asked = 0;
    block->here = true;
    block->from = from;
    open->here++;
    if (open->here < open->blocks)
        return PICKER_TAKEN;
    self->state[ask.piece] = PICKER_CHECKING;
    return PICKER_COMPLETE;
}

void picker_give_back(struct picker *self, struct picker_ask ask)
{
    struct picker_open *open = open_of(self, ask.piece);
    if (open == NULL || ask.block >= open->blocks)
        return;
    struct picker_block *block = &open->block[ask.block];
    if (block->here || block->asked == 0)
        return;
    block->asked--;
    open->asked--;
    if (block->asked > 0)
        return;
    const uint32_t slot = self->position[ask.piece];
    if (open->free++ == 0)
        list_prepend(self, slot);
    if (open->here == 0 && open->asked == 0)
        close_piece(self, slot);
}

unsigned picker_asked(const struct picker *self, struct picker_ask ask)
{
    const struct picker_open *open = open_of(self, ask.piece);
    return open == NULL || ask.block >= open->blocks ? 0 : open->block[ask.block].asked;
}

void picker_disown(struct picker *self, uint32_t peer)
{
    for (uint32_t i = 0; i < self->open_max; i++)
        if (self->open[i].block != NULL && self->open[i].owner == peer)
            self->open[i].owner = PICKER_NOBODY;
}

size_t picker_contributors(const struct picker *self, uint32_t piece, uint32_t *ret_peers,
                           size_t most)
{
    const struct picker_open *open = open_of(self, piece);
    size_t count = 0;
    if (open == NULL)
        return 0;
    for (uint32_t i = 0; i < open->blocks; i++) {
        bool known = !open->block[i].here;
        for (size_t k = 0; k < count && !known; k++)
            known = ret_peers[k] == open->block[i].from;
        if (!known && count < most)
            ret_peers[count++] = open->block[i].from;
    }
    return count;
}

void picker_senders(const struct picker *self, uint32_t piece, uint32_t *ret_peers)
{
    const struct picker_open *open = open_of(self, piece);
    const uint32_t blocks = picker_block_count(self, piece);
    for (uint32_t i = 0; i < blocks; i++)
        ret_peers[i] = open != NULL && open->block[i].here ? open->block[i].from : PICKER_NOBODY;
}

bool picker_next_from(const struct picker *self, uint32_t peer, uint32_t *ret_slot,
                      uint32_t *ret_piece)
{
    for (uint32_t slot = *ret_slot; slot < self->open_max; slot++) {
        const struct picker_open *open = &self->open[slot];
        for (uint32_t i = 0; open->block != NULL && i < open->blocks; i++) {
            if (!open->block[i].here || open->block[i].from != peer)
                continue;
            *ret_slot = slot + 1;
            *ret_piece = open->piece;
            return true;
        }
    }
    return false;
}

void picker_verified(struct picker *self, uint32_t piece, bool good)
{
    assert(piece < self->shape.pieces && self->state[piece] == PICKER_CHECKING);
    const uint32_t slot = self->position[piece];
    if (!good) {
        close_piece(self, slot);
        return;
    }
    release(self, slot);
    forget_alone(self, piece);
    self->state[piece] = PICKER_HAVE;
    self->missing--;
    self->have_bytes += picker_piece_size(self, piece);
    self->have++;
}

void picker_abandon(struct picker *self, uint32_t piece)
{
    if (open_of(self, piece) != NULL)
        close_piece(self, self->position[piece]);
}

/* ---- life ---- */

static void fill_order(struct picker *self)
{
    for (uint32_t i = 0; i < self->shape.pieces; i++)
        place(self, i, i);
    for (uint32_t i = self->shape.pieces; i > 1; i--)
        swap(self, i - 1, (uint32_t)random_below(self->random, i));
    self->order_count = self->shape.pieces;
}

void picker_init(struct picker *self, struct picker_shape shape, uint32_t open_max,
                 struct random *random)
{
    assert(shape.pieces > 0 && shape.pieces <= PICKER_PIECES_MAX && open_max > 0);
    if (open_max > shape.pieces)
        open_max = shape.pieces;
    if (shape.block_size == 0)
        shape.block_size = PICKER_BLOCK_SIZE;
    assert((shape.block_size & (shape.block_size - 1)) == 0);
    assert(shape.block_size <= shape.piece_size);
    *self = (struct picker){
        .shape = shape,
        .random = random,
        .missing = shape.pieces,
        .state = xcalloc(shape.pieces, sizeof *self->state),
        .available = xcalloc(shape.pieces, sizeof *self->available),
        .position = xcalloc(shape.pieces, sizeof *self->position),
        .order = xcalloc(shape.pieces, sizeof *self->order),
        .pickable = xcalloc((shape.pieces + 63) / 64, sizeof *self->pickable),
        .open = xcalloc(open_max, sizeof *self->open),
        .open_max = open_max,
        .open_first = PICKER_NOBODY,
        .open_last = PICKER_NOBODY,
        .spare = xcalloc(open_max, sizeof *self->spare),
    };
    for (uint32_t i = 0; i < open_max; i++)
        self->spare[i] = i;
    for (uint32_t i = 0; i < shape.pieces; i++)
        self->pickable[i / 64] |= 1ull << (i % 64);
    self->runs = xcalloc(1, sizeof *self->runs);
    self->runs_count = 1;
    fill_order(self);
}

void picker_done(struct picker *self)
{
    for (uint32_t i = 0; i < self->open_max; i++)
        free(self->open[i].block);
    free(self->open);
    free(self->spare);
    free(self->state);
    free(self->available);
    free(self->position);
    free(self->order);
    free(self->pickable);
    free(self->runs);
    free(self->selected);
    *self = (struct picker){ 0 };
}

void picker_set_have(struct picker *self, uint32_t piece)
{
    assert(piece < self->shape.pieces);
    if (self->state[piece] == PICKER_MISSING) {
        order_remove(self, piece);
        self->missing--;
    } else if (self->state[piece] != PICKER_UNSELECTED) {
        return;
    }
    forget_alone(self, piece);
    self->state[piece] = PICKER_HAVE;
    self->have_bytes += picker_piece_size(self, piece);
    self->have++;
}

static bool is_selected(const struct picker *self, uint32_t piece)
{
    return self->selected == NULL || bitfield_has(self->selected, piece);
}

static void want(struct picker *self, uint32_t piece)
{
    self->state[piece] = PICKER_MISSING;
    self->missing++;
    order_add(self, piece);
}

void picker_select(struct picker *self, const uint8_t *pieces)
{
    free(self->selected);
    self->selected = pieces != NULL ? xmemdup(pieces, bitfield_size(self->shape.pieces)) : NULL;
    for (uint32_t i = 0; i < self->shape.pieces; i++) {
        if (self->state[i] == PICKER_UNSELECTED && is_selected(self, i)) {
            want(self, i);
        } else if (self->state[i] == PICKER_MISSING && !is_selected(self, i)) {
            order_remove(self, i);
            self->state[i] = PICKER_UNSELECTED;
            self->missing--;
        }
    }
}

bool picker_wants(const struct picker *self, uint32_t piece)
{
    return piece < self->shape.pieces && self->state[piece] != PICKER_HAVE &&
           self->state[piece] != PICKER_UNSELECTED;
}

void picker_lose(struct picker *self, uint32_t piece)
{
    assert(piece < self->shape.pieces);
    if (self->state[piece] != PICKER_HAVE)
        return;
    self->have_bytes -= picker_piece_size(self, piece);
    self->have--;
    self->state[piece] = PICKER_UNSELECTED;
    if (is_selected(self, piece))
        want(self, piece);
}

bool picker_has(const struct picker *self, uint32_t piece)
{
    return piece < self->shape.pieces && self->state[piece] == PICKER_HAVE;
}

bool picker_is_complete(const struct picker *self)
{
    return self->missing == 0;
}

bool picker_has_all(const struct picker *self)
{
    return self->have == self->shape.pieces;
}

static void check_open(const struct picker *self, uint32_t slot)
{
    const struct picker_open *open = &self->open[slot];
    uint32_t here = 0;
    uint32_t asked = 0;
    uint32_t unused = 0;
    for (uint32_t i = 0; i < open->blocks; i++) {
        here += open->block[i].here;
        asked += open->block[i].asked;
        unused += !open->block[i].here && open->block[i].asked == 0;
    }
    assert(open->here == here);
    assert(open->asked == asked);
    assert(open->free == unused);
    assert(self->position[open->piece] == slot);
    assert((here == open->blocks) == (self->state[open->piece] == PICKER_CHECKING));
}

void picker_check(const struct picker *self)
{
    uint32_t counts[5] = { 0 };
    for (uint32_t i = 0; i < self->shape.pieces; i++)
        counts[self->state[i]]++;
    assert(counts[PICKER_MISSING] == self->order_count);
    assert(counts[PICKER_OPEN] + counts[PICKER_CHECKING] == self->open_count);
    assert(counts[PICKER_HAVE] == self->have);
    assert(self->shape.pieces - counts[PICKER_HAVE] - counts[PICKER_UNSELECTED] == self->missing);
    for (uint32_t i = 0; i < self->order_count; i++) {
        const uint32_t piece = self->order[i];
        assert(self->position[piece] == i);
        assert(self->state[piece] == PICKER_MISSING);
        assert(run_start(self, self->available[piece]) <= i);
        assert(i < run_start(self, self->available[piece] + 1u));
    }
    uint32_t open = 0;
    for (uint32_t i = 0; i < self->open_max; i++) {
        if (self->open[i].block == NULL)
            continue;
        check_open(self, i);
        open++;
    }
    assert(open == self->open_count);
    for (uint32_t i = self->open_first; i != PICKER_NOBODY; i = self->open[i].next)
        assert(self->open[i].free > 0);
}
