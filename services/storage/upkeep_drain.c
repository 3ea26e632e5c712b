/*
 * Drain: one walk over the keys, those nearest to our own id first, each to the node that becomes
 * responsible for it when we are gone: the last of the k closest but for us. As the view may miss
 * one, or hold some that have gone, the one before it and the two behind it are offered the key
 * too; a digest each, mostly.
 */
#include "libcommon/closest.h"
#include "services/storage/upkeep_inside.h"

#define HEIRS_FROM (UPKEEP_K - 2u)
#define HEIRS_TO   (UPKEEP_K + UPKEEP_SLACK)

void upkeep_drain(struct upkeep *self)
{
    if (self->is_draining)
        return;
    for (size_t i = 0; i < UPKEEP_DRAINS_MAX; i++)
        upkeep_transfer_free(self, i);
    for (size_t i = 0; i < UPKEEP_CHECKS_MAX; i++)
        self->slots[i].state = SLOT_FREE;
    self->is_draining = true;
    self->drain_bits = NODE_ID_BITS;
    self->drain_from = self->options.self_id;
    upkeep_wake(self, 0);
}

/* The keys that share exactly so many bits with our id: where they begin and end. */
static void range_of(const struct upkeep *self, unsigned bits, struct node_id *ret_first,
                     struct node_id *ret_last)
{
    *ret_first = *ret_last = self->options.self_id;
    if (bits == NODE_ID_BITS)
        return;
    ret_first->bytes[bits / 8] ^= (uint8_t)(0x80u >> (bits % 8));
    *ret_last = *ret_first;
    upkeep_fill_bits(ret_first, bits + 1, false);
    upkeep_fill_bits(ret_last, bits + 1, true);
}

static void next_range(struct upkeep *self)
{
    struct node_id last;

    if (self->drain_bits == 0)
        self->is_drain_walked = true;
    else
        range_of(self, --self->drain_bits, &self->drain_from, &last);
}

/* The next key of the walk; false: there is none, or this call has looked at enough. */
static bool next_key(struct upkeep *self, struct upkeep_item *ret_item)
{
    const struct upkeep_store *store = &self->options.store;

    while (!self->is_drain_walked) {
        struct node_id first;
        struct node_id last;

        if (self->walk_left == 0)
            return false;
        self->walk_left--;
        range_of(self, self->drain_bits, &first, &last);
        if (store->next(store->ctx, &self->drain_from, ret_item) &&
            node_id_compare(&ret_item->target, &last) <= 0)
            return true;
        next_range(self);
    }
    return false;
}

static void step_over(struct upkeep *self, const struct upkeep_item *item)
{
    struct node_id first;
    struct node_id last;

    range_of(self, self->drain_bits, &first, &last);
    if (!upkeep_after(&item->target, &self->drain_from) ||
        node_id_compare(&self->drain_from, &last) > 0)
        next_range(self);
}

/* Nothing is for it but keys looked at before; a silent one may be asked anew for the next. */
static bool may_give_way(const struct upkeep *self, const struct upkeep_transfer *transfer)
{
    bool is_idle = transfer->state == TRANSFER_FILLING && transfer->count == 0;

    return (is_idle || transfer->state == TRANSFER_DEAD) && transfer->drain_key != self->drain_key;
}

static struct upkeep_transfer *transfer_to(struct upkeep *self, const struct contact *contact,
                                           enum routing_family family)
{
    size_t idle = SIZE_MAX;

    for (size_t i = 0; i < UPKEEP_DRAINS_MAX; i++) {
        struct upkeep_transfer *transfer = self->transfers[i];

        if (transfer == NULL)
            continue;
        if (node_id_equal(&transfer->contact.id, &contact->id) && transfer->family == family)
            return transfer;
        if (may_give_way(self, transfer))
            idle = i;
    }
    if (self->transfers[UPKEEP_DRAINS_MAX - 1] != NULL && idle != SIZE_MAX)
        upkeep_transfer_free(self, idle);
    return upkeep_transfer_new(self, contact, family, UPKEEP_DRAINS_MAX);
}

/* The transfers to those who become responsible for a key. False: one of them has no room now. */
static bool heirs_of(struct upkeep *self, enum routing_family number, const struct node_id *target,
                     struct upkeep_transfer **ret_heirs, size_t *count)
{
    const struct upkeep_family *family = &self->families[number];
    uint32_t indices[HEIRS_TO];
    size_t found = closest_find(family->contacts, family->count, target, HEIRS_TO, indices);

    /* While there are fewer than k others, each is responsible for all: it may lack any. */
    for (size_t i = found < UPKEEP_K ? 0 : HEIRS_FROM; i < found; i++) {
        struct upkeep_transfer *heir = transfer_to(self, &family->contacts[indices[i]], number);

        if (heir == NULL || (heir->state != TRANSFER_FILLING && heir->state != TRANSFER_DEAD))
            return false;
        heir->drain_key = self->drain_key;
        if (heir->state == TRANSFER_FILLING)
            ret_heirs[(*count)++] = heir;
    }
    return true;
}

/* Into the batches. False: one of the heirs has no room now. */
static bool hand_over(struct upkeep *self, const struct upkeep_item *item)
{
    struct upkeep_transfer *heirs[ROUTING_FAMILIES * UPKEEP_K];
    size_t count = 0;

    self->drain_key++;
    for (unsigned f = 0; f < ROUTING_FAMILIES; f++) {
        if (!heirs_of(self, (enum routing_family)f, &item->target, heirs, &count))
            return false;
    }
    for (size_t i = 0; i < count; i++) {
        upkeep_transfer_add(heirs[i], item);
        if (heirs[i]->count == UPKEEP_DIGESTS_MAX)
            heirs[i]->state = TRANSFER_READY;
    }
    return true;
}

/* What has been put together goes, full or not. */
static void flush(struct upkeep *self)
{
    for (size_t i = 0; i < UPKEEP_DRAINS_MAX; i++) {
        struct upkeep_transfer *transfer = self->transfers[i];

        if (transfer != NULL && transfer->state == TRANSFER_FILLING && transfer->count > 0)
            transfer->state = TRANSFER_READY;
    }
}

static bool step_transfers(struct upkeep *self, uint64_t now_ms, struct upkeep_action *ret_action)
{
    for (size_t i = 0; i < UPKEEP_DRAINS_MAX; i++) {
        if (self->transfers[i] != NULL && upkeep_transfer_next(self, i, now_ms, ret_action))
            return true;
    }
    return false;
}

static void walk(struct upkeep *self, uint64_t now_ms)
{
    struct upkeep_item item;

    while (next_key(self, &item)) {
        if (item.ends_s > now_ms / 1000 + UPKEEP_ENDING_S && !hand_over(self, &item)) {
            flush(self);
            return;
        }
        step_over(self, &item);
    }
    if (self->is_drain_walked)
        flush(self);
    else
        upkeep_wake(self, now_ms);
}

bool upkeep_next_drain(struct upkeep *self, uint64_t now_ms, struct upkeep_action *ret_action)
{
    if (step_transfers(self, now_ms, ret_action))
        return true;
    walk(self, now_ms);
    return step_transfers(self, now_ms, ret_action);
}

bool upkeep_is_drained(const struct upkeep *self)
{
    if (!self->is_draining || !self->is_drain_walked)
        return false;
    for (size_t i = 0; i < UPKEEP_DRAINS_MAX; i++) {
        const struct upkeep_transfer *transfer = self->transfers[i];

        if (transfer != NULL && transfer->state != TRANSFER_DEAD &&
            (transfer->state != TRANSFER_FILLING || transfer->count > 0))
            return false;
    }
    return true;
}
