/* The view: who is there, since when, and who is near what. */
#include "libcommon/closest.h"
#include "libcommon/memory.h"
#include "services/storage/upkeep_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Not all at one moment; but in few, as each is a look through the whole view. */
#define FIRST_STEPS   4u
#define FIRST_STEP_MS (UPKEEP_FIRST_MS / FIRST_STEPS)

/* ---- following the table ---- */

static struct upkeep_mark mark_new(struct upkeep *self, uint64_t now_ms)
{
    uint64_t filled_ms = self->started_ms + UPKEEP_GRACE_MS;
    bool is_filling = now_ms < filled_ms;

    return (struct upkeep_mark){ .since_ms = is_filling ? 0 : now_ms,
                                 .due_ms = (is_filling ? filled_ms : now_ms) +
                                           FIRST_STEP_MS * random_below(&self->random, FIRST_STEPS),
                                 .pass = 1 };
}

/* The marks of those that stay; fresh ones for those that come. Both lists ascend. */
static struct upkeep_mark *merge(struct upkeep *self, const struct upkeep_family *old,
                                 const struct contact *sorted, uint32_t count, uint64_t now_ms)
{
    struct upkeep_mark *marks = xcalloc(count + 1, sizeof *marks);
    uint32_t at = 0;

    for (uint32_t i = 0; i < count; i++) {
        while (at < old->count && node_id_compare(&old->contacts[at].id, &sorted[i].id) < 0)
            at++;
        if (at < old->count && node_id_equal(&old->contacts[at].id, &sorted[i].id))
            marks[i] = old->marks[at];
        else
            marks[i] = mark_new(self, now_ms);
    }
    return marks;
}

static unsigned count_waiting(const struct upkeep *self)
{
    unsigned waiting = 0;

    for (size_t f = 0; f < ROUTING_FAMILIES; f++) {
        for (uint32_t i = 0; i < self->families[f].count; i++)
            waiting += self->families[f].marks[i].pass > 0;
    }
    return waiting;
}

void upkeep_view(struct upkeep *self, enum routing_family family, const struct contact *sorted,
                 uint32_t count, uint64_t now_ms)
{
    struct upkeep_family *known = &self->families[family];
    struct upkeep_mark *marks;

    assert(count <= ROUTING_PAGE_CONTACTS_MAX);
    marks = merge(self, known, sorted, count, now_ms);
    free(known->marks);
    known->marks = marks;
    known->contacts = xrealloc(known->contacts, (count + 1) * sizeof *known->contacts);
    if (count > 0)
        memcpy(known->contacts, sorted, count * sizeof *sorted);
    known->count = count;
    self->waiting = count_waiting(self);
    upkeep_wake(self, 0);
}

static bool is_settled(const struct upkeep_mark *mark, uint64_t now_ms)
{
    return mark->since_ms == 0 || now_ms >= mark->since_ms + UPKEEP_SETTLE_MS;
}

void upkeep_serve_anew(struct upkeep *self, uint64_t now_ms)
{
    for (size_t f = 0; f < ROUTING_FAMILIES; f++) {
        for (uint32_t i = 0; i < self->families[f].count; i++) {
            struct upkeep_mark *mark = &self->families[f].marks[i];

            if (!is_settled(mark, now_ms))
                *mark = (struct upkeep_mark){
                    .since_ms = mark->since_ms,
                    .due_ms = now_ms + FIRST_STEP_MS * random_below(&self->random, FIRST_STEPS),
                    .pass = 1
                };
        }
    }
    self->waiting = count_waiting(self);
}

/* ---- places in it ---- */

/* The first contact whose id is not less. */
static uint32_t lower_bound(const struct upkeep_family *family, const struct node_id *id)
{
    uint32_t from = 0;
    uint32_t to = family->count;

    while (from < to) {
        uint32_t middle = from + (to - from) / 2;

        if (node_id_compare(&family->contacts[middle].id, id) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

bool upkeep_find(const struct upkeep_family *family, const struct node_id *id, uint32_t *ret_index)
{
    uint32_t index = lower_bound(family, id);

    if (index >= family->count || !node_id_equal(&family->contacts[index].id, id))
        return false;
    *ret_index = index;
    return true;
}

/*
 * Contacts that came lately are not counted on: when several come at once, it is not for the one to
 * serve the other.
 */
bool upkeep_is_due_to(const struct upkeep *self, const struct upkeep_family *family, uint32_t n,
                      const struct node_id *target, uint64_t now_ms, unsigned *ret_rank)
{
    uint32_t indices[UPKEEP_K];
    size_t found = closest_find(family->contacts, family->count, target, UPKEEP_K, indices);
    bool self_passed = false; /* those from here on are farther than ourselves */
    size_t place = SIZE_MAX;
    unsigned rank = 0;

    for (size_t i = 0; i < found; i++) {
        if (!self_passed)
            self_passed = node_id_compare_distance(target, &self->options.self_id,
                                                   &family->contacts[indices[i]].id) < 0;
        if (indices[i] == n)
            place = i + self_passed;
        else if (!self_passed)
            rank += is_settled(&family->marks[indices[i]], now_ms);
    }
    if (place >= UPKEEP_K)
        return false;
    *ret_rank = rank;
    return true;
}

void upkeep_fill_bits(struct node_id *id, unsigned from, bool ones)
{
    unsigned byte = from / 8;

    if (byte >= NODE_ID_SIZE)
        return;
    if (ones)
        id->bytes[byte] |= (uint8_t)(0xffu >> (from % 8));
    else
        id->bytes[byte] &= (uint8_t) ~(0xffu >> (from % 8));
    memset(id->bytes + byte + 1, ones ? 0xff : 0, NODE_ID_SIZE - byte - 1);
}

bool upkeep_after(const struct node_id *id, struct node_id *ret_after)
{
    struct node_id after = *id;

    for (size_t i = NODE_ID_SIZE; i-- > 0;) {
        if (++after.bytes[i] != 0) {
            *ret_after = after;
            return true;
        }
    }
    return false;
}

/*
 * All targets of the subtree that parts from `id` where target does are nearer to each contact in
 * that subtree than to `id`: with k contacts there, none of these targets concerns it.
 */
bool upkeep_skip(const struct upkeep_family *family, const struct node_id *id,
                 const struct node_id *target, struct node_id *ret_from)
{
    unsigned bits = node_id_shared_bits(target, id);
    struct node_id first = *target;
    struct node_id last = *target;
    struct node_id after;
    uint32_t from;
    uint32_t to;

    upkeep_fill_bits(&first, bits + 1, false);
    upkeep_fill_bits(&last, bits + 1, true);
    from = lower_bound(family, &first);
    to = upkeep_after(&last, &after) ? lower_bound(family, &after) : family->count;
    return upkeep_after(to - from >= UPKEEP_K ? &last : target, ret_from);
}

/* Are fewer than `places` of the family nearer to the target than this id? */
static bool is_close_in(const struct upkeep_family *family, const struct node_id *id,
                        const struct node_id *target, size_t places)
{
    uint32_t indices[UPKEEP_K + UPKEEP_SLACK];
    size_t found = closest_find(family->contacts, family->count, target, places, indices);

    return found < places ||
           node_id_compare_distance(target, id, &family->contacts[indices[found - 1]].id) <= 0;
}

static bool is_among(const struct upkeep *self, const struct node_id *id,
                     const struct node_id *target, size_t places)
{
    bool is_alone = true;

    for (size_t f = 0; f < ROUTING_FAMILIES; f++) {
        const struct upkeep_family *family = &self->families[f];

        if (family->count == 0)
            continue; /* a network we are not in */
        is_alone = false;
        if (is_close_in(family, id, target, places))
            return true;
    }
    return is_alone;
}

bool upkeep_is_among(const struct upkeep *self, const struct node_id *target, size_t places)
{
    return is_among(self, &self->options.self_id, target, places);
}

const struct node_id *upkeep_self(const struct upkeep *self)
{
    return &self->options.self_id;
}

/* We are not in our own view: of others, one less is. */
bool upkeep_is_near(const struct upkeep *self, const struct node_id *id,
                    const struct node_id *target, unsigned slack)
{
    bool is_self = node_id_equal(id, &self->options.self_id);
    bool we_are_nearer =
        !is_self && node_id_compare_distance(target, &self->options.self_id, id) < 0;

    return is_among(self, id, target, UPKEEP_K + slack - we_are_nearer);
}

bool upkeep_is_close(const struct upkeep *self, const struct node_id *target)
{
    return upkeep_is_among(self, target, UPKEEP_K);
}
