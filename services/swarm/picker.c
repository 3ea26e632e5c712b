#include "services/swarm/picker.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/layout.h"
#include "services/swarm/picker_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- open pieces ---- */

void picker_list_remove(struct picker *self, uint32_t slot)
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

struct picker_open *picker_open_of(const struct picker *self, uint32_t piece)
{
    if (piece >= self->shape.pieces)
        return NULL;
    const uint8_t state = self->state[piece];
    return state == PICKER_OPEN || state == PICKER_CHECKING ? &self->open[self->position[piece]]
                                                            : NULL;
}

uint32_t picker_open_piece(struct picker *self, uint32_t piece, uint32_t owner)
{
    assert(self->state[piece] == PICKER_MISSING && self->open_count < self->open_max);
    picker_order_remove(self, piece);
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
void picker_close_piece(struct picker *self, uint32_t slot)
{
    const uint32_t piece = self->open[slot].piece;
    if (self->open[slot].free > 0)
        picker_list_remove(self, slot);
    release(self, slot);
    self->state[piece] = PICKER_MISSING;
    picker_order_add(self, piece);
}

/* ---- what becomes of requests ---- */

enum picker_verdict picker_receive(struct picker *self, struct picker_ask ask, uint32_t from)
{
    struct picker_open *open = picker_open_of(self, ask.piece);
    if (open == NULL || ask.block >= open->blocks)
        return PICKER_UNWANTED;
    struct picker_block *block = &open->block[ask.block];
    if (block->here)
        return PICKER_TWICE;
    if (block->asked == 0) {
        if (--open->free == 0)
            picker_list_remove(self, self->position[ask.piece]);
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
    struct picker_open *open = picker_open_of(self, ask.piece);
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
        picker_close_piece(self, slot);
}

unsigned picker_asked(const struct picker *self, struct picker_ask ask)
{
    const struct picker_open *open = picker_open_of(self, ask.piece);
    return open == NULL || ask.block >= open->blocks ? 0 : open->block[ask.block].asked;
}

void picker_own(struct picker *self, uint32_t piece, uint32_t peer)
{
    struct picker_open *open = picker_open_of(self, piece);
    assert(open != NULL && (open->owner == PICKER_NOBODY || open->owner == peer));
    open->owner = peer;
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
    const struct picker_open *open = picker_open_of(self, piece);
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
    const struct picker_open *open = picker_open_of(self, piece);
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
        picker_close_piece(self, slot);
        return;
    }
    release(self, slot);
    picker_forget_alone(self, piece);
    self->state[piece] = PICKER_HAVE;
    self->missing--;
    self->have_bytes += picker_piece_size(self, piece);
    self->have++;
}

void picker_abandon(struct picker *self, uint32_t piece)
{
    if (picker_open_of(self, piece) != NULL)
        picker_close_piece(self, self->position[piece]);
}

/* ---- life ---- */

static void fill_order(struct picker *self)
{
    for (uint32_t i = 0; i < self->shape.pieces; i++)
        picker_place(self, i, i);
    for (uint32_t i = self->shape.pieces; i > 1; i--)
        picker_swap(self, i - 1, (uint32_t)random_below(self->random, i));
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
        .open_usual = open_max,
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

void picker_set_usual(struct picker *self, uint32_t open_usual)
{
    self->open_usual = open_usual;
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
        picker_order_remove(self, piece);
        self->missing--;
    } else if (self->state[piece] != PICKER_UNSELECTED) {
        return;
    }
    picker_forget_alone(self, piece);
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
    picker_order_add(self, piece);
}

void picker_select(struct picker *self, const uint8_t *pieces)
{
    free(self->selected);
    self->selected = pieces != NULL ? xmemdup(pieces, bitfield_size(self->shape.pieces)) : NULL;
    for (uint32_t i = 0; i < self->shape.pieces; i++) {
        if (self->state[i] == PICKER_UNSELECTED && is_selected(self, i)) {
            want(self, i);
        } else if (self->state[i] == PICKER_MISSING && !is_selected(self, i)) {
            picker_order_remove(self, i);
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
        assert(picker_run_start(self, self->available[piece]) <= i);
        assert(i < picker_run_start(self, self->available[piece] + 1u));
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
