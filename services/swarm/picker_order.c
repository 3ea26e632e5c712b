/* The array of missing pieces, in runs of equal availability. */
#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/picker_inside.h"

#include <assert.h>

void picker_place(struct picker *self, uint32_t piece, uint32_t at)
{
    self->order[at] = piece;
    self->position[piece] = at;
}

void picker_swap(struct picker *self, uint32_t a, uint32_t b)
{
    const uint32_t piece_a = self->order[a];
    const uint32_t piece_b = self->order[b];
    picker_place(self, piece_a, b);
    picker_place(self, piece_b, a);
}

uint32_t picker_run_start(const struct picker *self, uint32_t run)
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
    const uint32_t start = picker_run_start(self, run);
    const uint32_t size = picker_run_start(self, run + 1) - start;
    picker_swap(self, self->position[piece], start + (uint32_t)random_below(self->random, size));
}

void picker_order_add(struct picker *self, uint32_t piece)
{
    const uint32_t run = self->available[piece];
    need_run(self, run);
    /* A gap at the end travels down: the first of each later run goes behind its last. */
    uint32_t gap = self->order_count++;
    for (uint32_t later = self->runs_count - 1; later > run; later--) {
        if (self->runs[later] < gap) {
            picker_place(self, self->order[self->runs[later]], gap);
            gap = self->runs[later];
        }
        self->runs[later]++;
    }
    picker_place(self, piece, gap);
    self->pickable[piece / 64] |= 1ull << (piece % 64);
    shuffle_into_run(self, piece);
}

void picker_order_remove(struct picker *self, uint32_t piece)
{
    uint32_t gap = self->position[piece];
    for (uint32_t run = self->available[piece]; run < self->runs_count; run++) {
        const uint32_t end = picker_run_start(self, run + 1);
        if (end > gap + 1) {
            picker_place(self, self->order[end - 1], gap);
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
    picker_swap(self, self->position[piece], self->runs[run + 1] - 1);
    self->runs[run + 1]--;
    shuffle_into_run(self, piece);
}

static void less_available(struct picker *self, uint32_t piece)
{
    assert(self->available[piece] > 0);
    const uint32_t run = self->available[piece]--;
    if (self->state[piece] != PICKER_MISSING)
        return;
    picker_swap(self, self->position[piece], self->runs[run]);
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
