#include "tests/sim/store.h"

#include "libcommon/memory.h"
#include "tests/sim/signing.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SOURCE_SHARE 4u /* of items_max: policy.c, SITE_SHARE */

struct store *store_new(const struct node_id *self_id, uint32_t items_max)
{
    struct store *self = xcalloc(1, sizeof(*self));

    self->self_id = *self_id;
    self->items_max = items_max;
    self->first_end_s = UINT64_MAX;
    return self;
}

void store_free(struct store **self)
{
    if (*self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < (*self)->count; i++) {
        free((*self)->by_target[i]);
    }
    free((*self)->by_target);
    free((*self)->by_check);
    free((*self)->seen);
    free(*self);
    *self = NULL;
}

/* ---- copies ---- */

static void copy_item(struct item *to, uint8_t *room, const struct item *from)
{
    *to = *from;
    memcpy(room, from->value.data, from->value.size);
    to->value.data = room;
    if (from->salt.size > 0) {
        memcpy(room + from->value.size, from->salt.data, from->salt.size);
    }
    to->salt.data = room + from->value.size;
}

struct item *store_copy(const struct item *item)
{
    struct item *copy = xmalloc(sizeof(*copy) + item->value.size + item->salt.size);

    copy_item(copy, (uint8_t *)(copy + 1), item);
    return copy;
}

static struct stored *stored_new(const struct item *item)
{
    struct stored *stored = xcalloc(1, sizeof(*stored) + item->value.size + item->salt.size);

    copy_item(&stored->item, (uint8_t *)(stored + 1), item);
    return stored;
}

/* ---- order ---- */

/* The first that is not less than target. */
static uint32_t target_place(const struct store *self, const struct node_id *target)
{
    uint32_t low = 0, high = self->count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (node_id_compare(&self->by_target[middle]->upkeep.target, target) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The first that is not before (check_s, target). */
static uint32_t check_place(const struct store *self, uint32_t count, uint64_t check_s,
                            const struct node_id *target)
{
    uint32_t low = 0, high = count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const struct upkeep_item *there = &self->by_check[middle]->upkeep;
        if (there->check_s < check_s ||
            (there->check_s == check_s && node_id_compare(&there->target, target) < 0)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct stored *find(const struct store *self, const struct node_id *target)
{
    uint32_t place = target_place(self, target);

    if (place == self->count || !node_id_equal(&self->by_target[place]->upkeep.target, target)) {
        return NULL;
    }
    return self->by_target[place];
}

static void list_insert(struct stored **list, uint32_t count, uint32_t place, struct stored *stored)
{
    memmove(&list[place + 1], &list[place], (count - place) * sizeof(struct stored *));
    list[place] = stored;
}

static void list_remove(struct stored **list, uint32_t count, uint32_t place)
{
    memmove(&list[place], &list[place + 1], (count - place - 1) * sizeof(struct stored *));
}

static void insert(struct store *self, struct stored *stored)
{
    if (self->count == self->capacity) {
        self->capacity = self->capacity == 0 ? 8 : self->capacity * 2;
        self->by_target = xrealloc(self->by_target, self->capacity * sizeof(struct stored *));
        self->by_check = xrealloc(self->by_check, self->capacity * sizeof(struct stored *));
    }
    const struct upkeep_item *upkeep = &stored->upkeep;
    list_insert(self->by_target, self->count, target_place(self, &upkeep->target), stored);
    list_insert(self->by_check, self->count,
                check_place(self, self->count, upkeep->check_s, &upkeep->target), stored);
    self->count++;
}

static void unlink_stored(struct store *self, const struct stored *stored)
{
    const struct upkeep_item *upkeep = &stored->upkeep;

    list_remove(self->by_check, self->count,
                check_place(self, self->count, upkeep->check_s, &upkeep->target));
    list_remove(self->by_target, self->count, target_place(self, &upkeep->target));
    self->count--;
}

/* ---- what was here ---- */

static uint32_t seen_place(const struct store *self, const struct node_id *target)
{
    uint32_t low = 0, high = self->seen_count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (node_id_compare(&self->seen[middle].target, target) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint64_t store_seen(const struct store *self, const struct node_id *target)
{
    uint32_t place = seen_place(self, target);

    if (place == self->seen_count || !node_id_equal(&self->seen[place].target, target)) {
        return 0;
    }
    return self->seen[place].seq;
}

static void remember(struct store *self, const struct node_id *target, uint64_t seq)
{
    uint32_t place = seen_place(self, target);

    if (seq == 0) {
        return;
    }
    if (place < self->seen_count && node_id_equal(&self->seen[place].target, target)) {
        self->seen[place].seq = seq > self->seen[place].seq ? seq : self->seen[place].seq;
        return;
    }
    if (self->seen_count == STORE_SEEN_MAX) {
        return; /* never reached by the scenarios; a real store forgets the oldest */
    }
    if (self->seen_count == self->seen_capacity) {
        self->seen_capacity = self->seen_capacity == 0 ? 8 : self->seen_capacity * 2;
        self->seen = xrealloc(self->seen, self->seen_capacity * sizeof(*self->seen));
    }
    memmove(&self->seen[place + 1], &self->seen[place],
            (self->seen_count - place) * sizeof(*self->seen));
    self->seen[place] = (struct store_seen){ .target = *target, .seq = seq };
    self->seen_count++;
}

/* Take it out, and remember its number. */
static void remove_stored(struct store *self, struct stored *stored)
{
    unlink_stored(self, stored);
    remember(self, &stored->upkeep.target, stored->upkeep.seq);
    free(stored);
}

/* ---- reading ---- */

const struct stored *store_find(const struct store *self, const struct node_id *target,
                                uint64_t now_s)
{
    const struct stored *stored = find(self, target);

    return stored != NULL && stored->upkeep.ends_s > now_s ? stored : NULL;
}

bool store_next(void *ctx, const struct node_id *from, struct upkeep_item *ret_item)
{
    const struct store *self = ctx;
    uint32_t place = target_place(self, from);

    if (place == self->count) {
        return false;
    }
    *ret_item = self->by_target[place]->upkeep;
    return true;
}

bool store_due(void *ctx, uint32_t skip, struct upkeep_item *ret_item)
{
    const struct store *self = ctx;

    if (skip >= self->count) {
        return false;
    }
    *ret_item = self->by_check[skip]->upkeep;
    return true;
}

uint32_t store_overdue(void *ctx, uint64_t before_s)
{
    const struct store *self = ctx;
    static const struct node_id least;

    return check_place(self, self->count, before_s, &least);
}

/* ---- what gives way ---- */

static uint32_t count_of_source(const struct store *self, const struct address *source)
{
    uint32_t count = 0;

    if (source->port == 0) {
        return 0;
    }
    for (uint32_t i = 0; i < self->count; i++) {
        count += self->by_target[i]->source.port != 0 &&
                 address_same_ip(&self->by_target[i]->source, source);
    }
    return count;
}

/* The farthest from our own id, when the offered one is nearer. */
static struct stored *find_victim(const struct store *self, const struct node_id *target)
{
    struct stored *victim = NULL;

    for (uint32_t i = 0; i < self->count; i++) {
        struct stored *stored = self->by_target[i];
        if (victim == NULL || node_id_compare_distance(&self->self_id, &stored->upkeep.target,
                                                       &victim->upkeep.target) > 0) {
            victim = stored;
        }
    }
    if (victim == NULL ||
        node_id_compare_distance(&self->self_id, target, &victim->upkeep.target) >= 0) {
        return NULL;
    }
    return victim;
}

bool store_has_room(const struct store *self, const struct node_id *target)
{
    return self->count < self->items_max || find_victim(self, target) != NULL;
}

/* Whether there is a place for one more at target. */
static bool make_room(struct store *self, const struct node_id *target,
                      const struct address *source)
{
    if (self->items_max >= SOURCE_SHARE && self->count >= self->items_max / SOURCE_SHARE &&
        count_of_source(self, source) >= self->items_max / SOURCE_SHARE) {
        return false;
    }
    if (self->count < self->items_max) {
        return true;
    }
    struct stored *victim = find_victim(self, target);
    if (victim == NULL) {
        return false;
    }
    self->evicted++;
    remove_stored(self, victim);
    return true;
}

/* ---- writing ---- */

/* The same version again: it lives longer, and the rest stays. */
static void refresh(struct stored *stored, const struct store_put *put)
{
    stored->stored_s = put->now_s;
    if (put->ends_s > stored->upkeep.ends_s) {
        stored->upkeep.ends_s = put->ends_s;
    }
}

enum item_verdict store_put(struct store *self, const struct node_id *target,
                            const struct store_put *put)
{
    struct stored *old = find(self, target);

    if (old != NULL && old->upkeep.ends_s <= put->now_s) {
        remove_stored(self, old);
        old = NULL;
    }
    const struct item_offer offer = { .item = put->item,
                                      .has_cas = put->has_cas,
                                      .cas = put->cas,
                                      .same_sender = old != NULL &&
                                                     address_equal(&old->source, &put->source) };
    enum item_verdict verdict =
        item_judge(&offer, old != NULL ? &old->item : NULL, store_seen(self, target));
    if (verdict != ITEM_ACCEPTED) {
        return verdict;
    }
    if (old != NULL && item_is_same(put->item, &old->item)) {
        refresh(old, put);
        self->puts++;
        return ITEM_ACCEPTED;
    }
    if (old == NULL && !make_room(self, target, &put->source)) {
        self->refused++;
        return ITEM_REFUSED;
    }
    if (old != NULL) {
        unlink_stored(self, old);
        free(old);
    }
    struct stored *stored = stored_new(put->item);
    stored->upkeep = (struct upkeep_item){ .target = *target,
                                           .seq = put->item->is_mutable ? put->item->seq : 0,
                                           .ends_s = put->ends_s,
                                           .check_s = put->first_check_s,
                                           .checked_s = put->now_s };
    stored->source = put->source;
    stored->stored_s = put->now_s;
    self->first_end_s = put->ends_s < self->first_end_s ? put->ends_s : self->first_end_s;
    insert(self, stored);
    self->puts++;
    return ITEM_ACCEPTED;
}

void store_set(struct store *self, const struct upkeep_item *item)
{
    struct stored *stored = find(self, &item->target);

    if (stored == NULL || stored->upkeep.seq > item->seq) {
        return;
    }
    list_remove(self->by_check, self->count,
                check_place(self, self->count, stored->upkeep.check_s, &item->target));
    stored->upkeep.check_s = item->check_s;
    stored->upkeep.checked_s = item->checked_s;
    stored->upkeep.calm = item->calm;
    list_insert(self->by_check, self->count - 1,
                check_place(self, self->count - 1, item->check_s, &item->target), stored);
}

void store_drop(struct store *self, const struct node_id *target, uint64_t seq)
{
    struct stored *stored = find(self, target);

    if (stored != NULL && stored->upkeep.seq <= seq) {
        remove_stored(self, stored);
    }
}

void store_sweep(struct store *self, uint64_t now_s)
{
    if (now_s < self->first_end_s || self->count == 0) {
        return;
    }
    self->first_end_s = UINT64_MAX;
    for (uint32_t i = self->count; i > 0; i--) {
        struct stored *stored = self->by_target[i - 1];
        if (stored->upkeep.ends_s <= now_s) {
            remove_stored(self, stored);
        } else if (stored->upkeep.ends_s < self->first_end_s) {
            self->first_end_s = stored->upkeep.ends_s;
        }
    }
}

const char *store_check(const struct store *self)
{
    if (self->count > self->items_max) {
        return "the store holds more than it may";
    }
    for (uint32_t i = 0; i < self->count; i++) {
        const struct stored *stored = self->by_target[i];
        if (i > 0 &&
            node_id_compare(&self->by_target[i - 1]->upkeep.target, &stored->upkeep.target) >= 0) {
            return "the store is out of order";
        }
        if (stored->upkeep.seq < store_seen(self, &stored->upkeep.target)) {
            return "the store holds an older version than it once held";
        }
        if (!signing_is_valid_at(&stored->item, &stored->upkeep.target)) {
            return "the store holds an item that does not belong there";
        }
    }
    return NULL;
}
