#include "libcommon/closest.h"

#include <assert.h>
#include <stdbool.h>

/* One node of the trie: contacts [from, to) agree in their first `bit` bits. */
struct range {
    uint32_t from;
    uint32_t to;
    uint32_t bit;
};

/*
 * The array may lie in shared memory and be written to while we read (routing_page.h finds out
 * afterwards), so each byte is read by a relaxed atomic load, which costs what a plain one costs.
 * Whatever the bytes are, the walk ends and stays inside the array.
 */
static bool bit_of(const struct contact *contact, uint32_t bit)
{
    uint8_t byte = __atomic_load_n(&contact->id.bytes[bit / 8], __ATOMIC_RELAXED);

    return byte >> (7 - bit % 8) & 1;
}

/* The first contact of the range whose bit is set: those before it have it clear. */
static uint32_t split(const struct contact *sorted, const struct range *range)
{
    uint32_t from = range->from, size = range->to - range->from;

    if (bit_of(&sorted[from], range->bit))
        return from;
    if (!bit_of(&sorted[range->to - 1], range->bit))
        return range->to;
    while (size > 1) {
        uint32_t half = size / 2;

        /* No branch: the outcome is a coin toss, and a wrong guess costs more than the search. */
        from += bit_of(&sorted[from + half], range->bit) ? 0 : half;
        size -= half;
    }
    return from + 1;
}

/*
 * Depth first, the side the target is on before the other one: all ids there are nearer than any on
 * the other side, since the first bit in which two distances differ decides.
 */
static inline size_t walk(const struct contact *sorted, size_t count, const struct node_id *target,
                          size_t k, bool in_order, uint32_t *ret_indices)
{
    struct range later[NODE_ID_BITS + 1]; /* far sides put off, one a level at most */
    uint32_t waiting = 0;
    size_t found = 0;
    struct range range = { 0, (uint32_t)count, 0 };

    assert(count < UINT32_MAX);
    if (count == 0)
        return 0;
    while (found < k) {
        size_t whole_max = in_order ? 1 : k - found; /* a range of this size is not divided */

        if (range.to - range.from <= whole_max || range.bit == NODE_ID_BITS) {
            for (uint32_t i = range.from; i < range.to && found < k; i++)
                ret_indices[found++] = i;
            if (waiting == 0)
                break;
            range = later[--waiting];
            continue;
        }
        uint32_t middle = split(sorted, &range);
        struct range zeros = { range.from, middle, range.bit + 1 };
        struct range ones = { middle, range.to, range.bit + 1 };
        bool near_ones = target->bytes[range.bit / 8] >> (7 - range.bit % 8) & 1;
        struct range near = near_ones ? ones : zeros;
        struct range far = near_ones ? zeros : ones;

        if (near.from == near.to) {
            range = far;
            continue;
        }
        if (far.from != far.to)
            later[waiting++] = far;
        range = near;
    }
    return found;
}

size_t closest_find(const struct contact *sorted, size_t count, const struct node_id *target,
                    size_t k, uint32_t *ret_indices)
{
    return walk(sorted, count, target, k, true, ret_indices);
}

size_t closest_find_any(const struct contact *sorted, size_t count, const struct node_id *target,
                        size_t k, uint32_t *ret_indices)
{
    return walk(sorted, count, target, k, false, ret_indices);
}
