/* Picking: which blocks to ask a peer for. */
#include "libcommon/random.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/picker_inside.h"
#include "services/swarm/wave.h"

/* Pieces looked at from the rarest on before the bitfields are compared word by word. */
#define SCAN_MAX 128u

static bool peer_has(const struct picker_view *view, uint32_t piece)
{
    return view->bitfield == NULL || bitfield_has(view->bitfield, piece);
}

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
        picker_list_remove(self, slot);
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
    uint32_t end = picker_run_start(self, 1) + SCAN_MAX;
    if (end > self->order_count)
        end = self->order_count;
    for (uint32_t i = picker_run_start(self, 1); i < end; i++)
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

/*
 * Some places are for pieces that one peer alone gives (pick_only). Of the others those beyond the
 * usual number are for who would be idle: among many peers, each with pieces of its own, those that
 * are begun wait for their last blocks, and meanwhile the rest is to have work.
 */
static uint32_t places(const struct picker *self, const struct picker_view *view)
{
    const uint32_t most = self->open_max - self->open_max / 4;
    return view->idle || self->open_usual > most ? most : self->open_usual;
}

static void pick_new(struct picker *self, const struct picker_view *view, struct asks *asks)
{
    while (asks->count < asks->most && self->open_count < places(self, view)) {
        const uint32_t piece = rarest(self, view);
        if (piece == PICKER_NOBODY)
            return;
        take(self, picker_open_piece(self, piece, owner_of(self, piece, view)), view, asks);
    }
}

/* Pieces that failed, each for one peer. */
static void pick_alone(struct picker *self, const struct picker_view *view, struct asks *asks)
{
    for (uint32_t i = 0; i < self->alone_count && asks->count < asks->most; i++) {
        const uint32_t piece = self->alone[i];
        if (self->state[piece] == PICKER_MISSING && peer_has(view, piece) &&
            self->open_count < self->open_max)
            take_free(self, picker_open_piece(self, piece, view->peer), asks);
    }
}

void picker_fetch_alone(struct picker *self, uint32_t piece)
{
    if (!is_for_one(self, piece) && self->alone_count < PICKER_ALONE_MAX)
        self->alone[self->alone_count++] = piece;
}

void picker_forget_alone(struct picker *self, uint32_t piece)
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
            struct picker_open *open = picker_open_of(self, piece);
            if (open->free > 0 && may_take(open, view))
                take(self, self->position[piece], view, asks);
        } else if (self->state[piece] == PICKER_MISSING && self->open_count < self->open_max) {
            take(self, picker_open_piece(self, piece, owner_of(self, piece, view)), view, asks);
        }
    }
}

bool picker_in_endgame(const struct picker *self)
{
    return self->order_count == 0 && self->open_first == PICKER_NOBODY && self->open_count > 0;
}

bool picker_ask_again(struct picker *self, struct picker_ask ask)
{
    struct picker_open *open = picker_open_of(self, ask.piece);
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
        const bool full = self->open_count >= places(self, view) && wanted != PICKER_NOBODY;
        const bool own = view->alone && wanted == PICKER_NOBODY && peer_has(view, open->piece);
        if (!full && !own)
            continue;
        *ret_piece = open->piece;
        picker_close_piece(self, slot);
        return true;
    }
    return false;
}
