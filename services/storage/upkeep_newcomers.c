/*
 * Newcomers: each is served twice, a transfer each time that walks all keys and offers those it is
 * among the k closest of. First by those who are the nearest holder, then by the second, should the
 * first be gone or as new itself; what the first has brought costs the second a digest.
 */
#include "services/storage/upkeep_inside.h"

static bool is_being_served(const struct upkeep *self, const struct contact *contact)
{
    for (size_t i = 0; i < UPKEEP_TRANSFERS_MAX; i++) {
        if (self->transfers[i] != NULL &&
            node_id_equal(&self->transfers[i]->contact.id, &contact->id))
            return true;
    }
    return false;
}

/*
 * One that is due and not being served, looked for from where the last was found; NULL: none, and
 * when the next is due is noted.
 */
static struct upkeep_mark *find_due(struct upkeep *self, uint64_t now_ms,
                                    enum routing_family *ret_family, uint32_t *ret_index)
{
    uint32_t v4_count = self->families[ROUTING_V4].count;
    uint32_t count = v4_count + self->families[ROUTING_V6].count;

    for (uint32_t step = 0; step < count; step++) {
        uint32_t place = (self->serve_next + step) % count;
        enum routing_family number = place < v4_count ? ROUTING_V4 : ROUTING_V6;
        uint32_t index = place < v4_count ? place : place - v4_count;
        struct upkeep_family *family = &self->families[number];
        struct upkeep_mark *mark = &family->marks[index];

        if (mark->pass == 0 || is_being_served(self, &family->contacts[index]))
            continue;
        if (mark->due_ms > now_ms) {
            upkeep_wake(self, mark->due_ms);
            continue;
        }
        self->serve_next = place + 1;
        *ret_family = number;
        *ret_index = index;
        return mark;
    }
    return NULL;
}

static bool has_place(const struct upkeep *self)
{
    for (size_t i = 0; i < UPKEEP_TRANSFERS_MAX; i++) {
        if (self->transfers[i] == NULL)
            return true;
    }
    return false;
}

static bool serve_next(struct upkeep *self, uint64_t now_ms)
{
    enum routing_family family = ROUTING_V4;
    uint32_t index = 0;
    struct upkeep_mark *mark;
    struct upkeep_transfer *transfer;

    if (self->waiting == 0 || !has_place(self))
        return false;
    mark = find_due(self, now_ms, &family, &index);
    if (mark == NULL)
        return false;
    transfer = upkeep_transfer_new(self, &self->families[family].contacts[index], family,
                                   UPKEEP_TRANSFERS_MAX);
    transfer->pass = mark->pass;
    self->stats.newcomers += mark->pass == 1;
    if (mark->pass == 1) {
        mark->pass = 2;
        mark->due_ms += UPKEEP_SECOND_MS;
    } else {
        mark->pass = 0;
        self->waiting--;
    }
    return true;
}

/* Put the batch together. False: the keys looked at are enough for this call. */
static bool fill(struct upkeep *self, struct upkeep_transfer *transfer, uint32_t index,
                 uint64_t now_ms)
{
    const struct upkeep_store *store = &self->options.store;
    const struct upkeep_family *family = &self->families[transfer->family];
    struct upkeep_item item;

    while (!transfer->is_walked && transfer->count < UPKEEP_DIGESTS_MAX) {
        unsigned rank = 0;
        bool is_due;

        if (self->walk_left == 0)
            return false;
        self->walk_left--;
        if (!store->next(store->ctx, &transfer->from, &item)) {
            transfer->is_walked = true;
            break;
        }
        is_due = upkeep_is_due_to(self, family, index, &item.target, now_ms, &rank);
        if (is_due && rank + 1 == transfer->pass && item.ends_s > now_ms / 1000 + UPKEEP_ENDING_S)
            upkeep_transfer_add(transfer, &item);
        if (is_due)
            transfer->is_walked = !upkeep_after(&item.target, &transfer->from);
        else
            transfer->is_walked =
                !upkeep_skip(family, &transfer->contact.id, &item.target, &transfer->from);
    }
    return true;
}

/* It left the view, is silent, or was offered all: over. A silent one is not tried again. */
static void end(struct upkeep *self, size_t place)
{
    struct upkeep_transfer *transfer = self->transfers[place];
    struct upkeep_family *family = &self->families[transfer->family];
    uint32_t index;

    if (transfer->state == TRANSFER_DEAD && upkeep_find(family, &transfer->contact.id, &index) &&
        family->marks[index].pass > 0) {
        family->marks[index].pass = 0;
        self->waiting--;
    }
    upkeep_transfer_free(self, place);
}

static bool serve(struct upkeep *self, size_t place, uint64_t now_ms,
                  struct upkeep_action *ret_action)
{
    struct upkeep_transfer *transfer = self->transfers[place];
    uint32_t index;

    for (;;) {
        if (upkeep_transfer_next(self, place, now_ms, ret_action))
            return true;
        if (transfer->state == TRANSFER_DEAD) {
            end(self, place);
            return false;
        }
        if (transfer->state != TRANSFER_FILLING)
            return false;
        if (!upkeep_find(&self->families[transfer->family], &transfer->contact.id, &index)) {
            end(self, place);
            return false;
        }
        if (!fill(self, transfer, index, now_ms)) {
            upkeep_wake(self, now_ms);
            return false;
        }
        if (transfer->count == 0) {
            end(self, place);
            return false;
        }
        transfer->state = TRANSFER_READY;
    }
}

bool upkeep_next_newcomer(struct upkeep *self, uint64_t now_ms, struct upkeep_action *ret_action)
{
    do {
        for (size_t i = 0; i < UPKEEP_TRANSFERS_MAX; i++) {
            if (self->transfers[i] != NULL && serve(self, i, now_ms, ret_action))
                return true;
        }
    } while (serve_next(self, now_ms));
    return false;
}
