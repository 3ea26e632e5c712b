#include "services/routing/proof.h"

#include "libcommon/address.h"

#include <assert.h>
#include <string.h>

void proof_init(struct proof *self, const struct node_id *target)
{
    self->target = *target;
    self->bits = NODE_ID_BITS;
    self->count = self->asks = 0;
}

void proof_begin(struct proof *self, unsigned told_bits, unsigned near_bits)
{
    if (told_bits > near_bits + PROOF_LEVELS_MAX) {
        told_bits = near_bits + PROOF_LEVELS_MAX;
    }
    self->bits = told_bits < self->bits ? told_bits : self->bits;
}

static struct node_id flip_bit(const struct node_id *id, unsigned bit)
{
    struct node_id flipped = *id;

    flipped.bytes[bit / 8] ^= (uint8_t)(0x80u >> (bit % 8));
    return flipped;
}

/*
 * The subtrees beside id's own, from the one with `from` bits shared to the nearest but `to`. Of
 * too many the nearest are left out: they are the smallest.
 */
static void cut(struct proof *self, const struct node_id *id, unsigned from, unsigned to)
{
    if (to > from + PROOF_LEVELS_MAX) {
        to = from + PROOF_LEVELS_MAX;
    }
    for (unsigned bit = to; bit > from && self->count < PROOF_PARTS_MAX; bit--) {
        self->parts[self->count++] = (struct part){ flip_bit(id, bit - 1), bit, false, 0 };
    }
}

void proof_widen(struct proof *self, unsigned bits)
{
    if (bits < self->bits) {
        cut(self, &self->target, bits, self->bits);
        self->bits = bits;
    }
}

/* The id of the part that is nearest to the target. */
static struct node_id nearest_of(const struct proof *self, const struct part *part)
{
    struct node_id id = self->target;

    for (unsigned bit = 0; bit < part->bits; bit++) {
        if (node_id_bit(&id, bit) != node_id_bit(&part->id, bit)) {
            id = flip_bit(&id, bit);
        }
    }
    return id;
}

static void drop(struct proof *self, unsigned index)
{
    assert(index < self->count);
    self->count--;
    memmove(&self->parts[index], &self->parts[index + 1],
            (self->count - index) * sizeof(self->parts[0]));
}

void proof_prune(struct proof *self, const struct node_id *last)
{
    for (unsigned i = self->count; i > 0; i--) {
        struct node_id nearest = nearest_of(self, &self->parts[i - 1]);
        if (node_id_compare_distance(&self->target, &nearest, last) > 0) {
            drop(self, i - 1);
        }
    }
}

bool proof_is_inside(const struct part *part, const struct node_id *id)
{
    return node_id_shared_bits(&part->id, id) >= part->bits;
}

unsigned proof_ask(struct proof *self, unsigned index)
{
    assert(self->asks < PROOF_ASKS_MAX);
    self->asked[self->asks] = self->parts[index];
    drop(self, index);
    return self->asks++;
}

void proof_settle(struct proof *self, unsigned index)
{
    struct part part = self->parts[index];

    drop(self, index);
    cut(self, &part.id, part.bits, part.told);
}

/* The bits of the subtree around an id of which the contacts nearest to it tell. */
static unsigned told_bits(const struct node_id *id, const struct contact *nodes, size_t nodes_count)
{
    unsigned least = NODE_ID_BITS - 1;

    for (size_t i = 0; i < nodes_count; i++) {
        unsigned shared = node_id_shared_bits(id, &nodes[i].id);
        least = shared < least ? shared : least;
    }
    return nodes_count < PROOF_ANSWER_FULL ? 0 : least + 1;
}

void proof_answered(struct proof *self, unsigned ask, const struct node_id *who,
                    const struct contact *nodes, size_t nodes_count)
{
    assert(ask < self->asks);
    struct part part = self->asked[ask];
    bool is_any_inside = false;

    part.told = told_bits(&part.id, nodes, nodes_count);
    if (proof_is_inside(&part, who)) {
        cut(self, &part.id, part.bits, part.told);
        return;
    }
    for (size_t i = 0; i < nodes_count; i++) {
        is_any_inside |= proof_is_inside(&part, &nodes[i].id);
    }
    if (is_any_inside && !part.again && self->count < PROOF_PARTS_MAX) {
        part.again = true;
        self->parts[self->count++] = part;
    }
}
