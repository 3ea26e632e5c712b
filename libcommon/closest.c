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
size_t closest_find(const struct contact *sorted, size_t count, const struct node_id *target,
                    size_t k, uint32_t *ret_indices)
{
    struct range later[NODE_ID_BITS + 1]; /* far sides put off, one a level at most */
    uint32_t waiting = 0;
    size_t found = 0;
    struct range range = { 0, (uint32_t)count, 0 };

    assert(count < UINT32_MAX);
    if (count == 0)
        return 0;
    while (found < k) {
        if (range.to - range.from <= 1 || range.bit == NODE_ID_BITS) {
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

/* The first 64 bits, as a number. Written out, compilers make one load of it. */
static inline uint64_t key_of(const struct node_id *id)
{
    const uint8_t *bytes = id->bytes;

    return (uint64_t)bytes[0] << 56 | (uint64_t)bytes[1] << 48 | (uint64_t)bytes[2] << 40 |
           (uint64_t)bytes[3] << 32 | (uint64_t)bytes[4] << 24 | (uint64_t)bytes[5] << 16 |
           (uint64_t)bytes[6] << 8 | bytes[7];
}

/* The two ways to the keys become two functions: a test at every key would cost more than it. */
#define INLINE inline __attribute__((always_inline))

/* Where the keys are: in an array beside the contacts, or the head of each id. */
struct keys {
    bool listed;
    const uint64_t *list;
    const struct contact *sorted;
};

static INLINE uint64_t key_at(const struct keys *keys, uint32_t index)
{
    return keys->listed ? __atomic_load_n(&keys->list[index], __ATOMIC_RELAXED)
                        : key_of(&keys->sorted[index].id);
}

/* The first of [from, to) that is not below the key. No branch, as in split(). */
static INLINE uint32_t lower_bound(const struct keys *keys, uint32_t from, uint32_t to,
                                   uint64_t key)
{
    uint32_t size = to - from;

    while (size > 1) {
        uint32_t half = size / 2;

        from += key_at(keys, from + half - 1) < key ? half : 0;
        size -= half;
    }
    return size == 1 && key_at(keys, from) < key ? from + 1 : from;
}

/*
 * Of all runs of `need` neighbours that touch `place`, where the key would stand, the one that
 * agrees in most bits with it. What its ends have not in common with the key is *ret_differ.
 */
static INLINE uint32_t tightest(const struct keys *keys, const struct range *range, uint32_t place,
                                uint32_t need, uint64_t key, uint64_t *ret_differ)
{
    uint32_t first = place - range->from > need ? place - need : range->from;
    uint32_t last = range->to - place > need ? place : range->to - need;
    uint32_t best = first;

    *ret_differ = UINT64_MAX;
    for (uint32_t i = first; i <= last; i++) {
        uint64_t differ = (key_at(keys, i) ^ key) | (key_at(keys, i + need - 1) ^ key);

        best = differ < *ret_differ ? i : best;
        *ret_differ = differ < *ret_differ ? differ : *ret_differ;
    }
    return best;
}

static inline size_t take(uint32_t from, uint32_t to, uint32_t *ret_indices)
{
    for (uint32_t i = from; i < to; i++)
        ret_indices[i - from] = i;
    return to - from;
}

/*
 * The smallest subtree around the target that has at least as many as are needed is where they are:
 * it is that of the tightest run. When it holds just that run, we are done; otherwise all of its
 * near half, which has too few, are taken, and the rest are those closest to the target in its far
 * half, hence closest to what the target is with that bit turned. Each turn is one bit further on.
 * False, with nothing promised, when 64 bits are not enough to tell.
 */
static INLINE bool find_by_keys(const struct keys *keys, uint32_t count, uint64_t key, uint32_t k,
                                uint32_t *ret_indices)
{
    struct range range = { 0, count, 0 };
    uint32_t found = 0;

    for (unsigned turn = 0; turn < 64; turn++) {
        uint32_t need = k - found, place, run, from, to;
        uint64_t differ, near_mask;

        if (range.to - range.from <= need) {
            take(range.from, range.to, &ret_indices[found]);
            return range.to - range.from == need;
        }
        place = lower_bound(keys, range.from, range.to, key);
        run = tightest(keys, &range, place, need, key, &differ);
        if (differ == 0)
            return false;
        near_mask = (UINT64_MAX >> 1) >> __builtin_clzll(differ);
        if ((run == range.from || (key_at(keys, run - 1) ^ key) >> 1 > near_mask) &&
            (run + need == range.to || (key_at(keys, run + need) ^ key) >> 1 > near_mask)) {
            take(run, run + need, &ret_indices[found]);
            return true;
        }
        for (from = place; from > range.from && place - from < need; from--)
            if ((key_at(keys, from - 1) ^ key) > near_mask)
                break;
        for (to = place; to < range.to && to - from < need; to++)
            if ((key_at(keys, to) ^ key) > near_mask)
                break;
        if (to - from >= need)
            return false;
        found += (uint32_t)take(from, to, &ret_indices[found]);
        if (key & (near_mask + 1))
            range.to = from;
        else
            range.from = to;
        key ^= near_mask + 1;
    }
    return false;
}

static INLINE size_t find_any(const struct keys *keys, size_t count, const struct node_id *target,
                              size_t k, uint32_t *ret_indices)
{
    assert(count < UINT32_MAX);
    if (k >= count)
        return take(0, (uint32_t)count, ret_indices);
    if (k > 0 && !find_by_keys(keys, (uint32_t)count, key_of(target), (uint32_t)k, ret_indices))
        return closest_find(keys->sorted, count, target, k, ret_indices);
    return k;
}

size_t closest_find_any(const struct contact *sorted, size_t count, const struct node_id *target,
                        size_t k, uint32_t *ret_indices)
{
    const struct keys keys = { false, NULL, sorted };

    return find_any(&keys, count, target, k, ret_indices);
}

uint64_t closest_key(const struct node_id *id)
{
    return key_of(id);
}

size_t closest_find_keyed(const struct contact *sorted, const uint64_t *keys, size_t count,
                          const struct node_id *target, size_t k, uint32_t *ret_indices)
{
    const struct keys with_list = { true, keys, sorted };

    return find_any(&with_list, count, target, k, ret_indices);
}
