/* Checks: which key is looked up next, and what its result changes. */
#include "services/storage/upkeep_inside.h"

#include <assert.h>

#define SKIP_MAX  64u /* keys passed over at the head of those that are due */
#define MS_PER_S  1000u
#define PART_BACK 4u /* our own next check comes up to a quarter of its interval earlier */

uint64_t upkeep_interval_s(const struct upkeep *self, unsigned calm)
{
    uint64_t least_s = self->options.check_least_s;
    uint64_t interval_s = least_s << (calm < UPKEEP_CALM_MAX ? calm : UPKEEP_CALM_MAX);

    return interval_s < least_s * UPKEEP_MOST ? interval_s : least_s * UPKEEP_MOST;
}

static struct upkeep_slot *free_slot(struct upkeep *self, unsigned *ret_place)
{
    for (unsigned i = 0; i < UPKEEP_CHECKS_MAX; i++) {
        if (self->slots[i].state == SLOT_FREE) {
            *ret_place = i;
            return &self->slots[i];
        }
    }
    return NULL;
}

static bool is_in_a_slot(const struct upkeep *self, const struct node_id *target)
{
    for (unsigned i = 0; i < UPKEEP_CHECKS_MAX; i++) {
        if (self->slots[i].state != SLOT_FREE && node_id_equal(&self->slots[i].item.target, target))
            return true;
    }
    return false;
}

/* The first that is due and not being seen to. Sets look_ms when there is none. */
static bool find_due(struct upkeep *self, uint64_t now_ms, struct upkeep_item *ret_item)
{
    const struct upkeep_store *store = &self->options.store;
    uint64_t now_s = now_ms / MS_PER_S;
    uint64_t least_s = self->options.check_least_s;
    struct upkeep_item item;

    /* What stands in the way ends soon; what is put meanwhile is checked after check_least_s. */
    self->look_ms = now_ms + (least_s < UPKEEP_ENDING_S ? least_s : UPKEEP_ENDING_S) * MS_PER_S;
    for (uint32_t skip = 0; skip < SKIP_MAX && store->due(store->ctx, skip, &item); skip++) {
        if (item.check_s > now_s) {
            self->look_ms =
                MS_PER_S * (item.check_s < now_s + least_s ? item.check_s : now_s + least_s);
            return false;
        }
        if (item.ends_s <= now_s + UPKEEP_ENDING_S || is_in_a_slot(self, &item.target))
            continue;
        self->look_ms = 0;
        *ret_item = item;
        return true;
    }
    return false;
}

/* What a restart has left overdue is spread, so that nodes started together make no storm. */
static void learn_overdue(struct upkeep *self, uint64_t now_ms)
{
    const struct upkeep_store *store = &self->options.store;
    uint32_t overdue = store->overdue(store->ctx, now_ms / MS_PER_S);

    self->knows_overdue = true;
    self->gap_ms = overdue > 0 ? UPKEEP_CATCH_UP_MS / overdue : UPKEEP_CHECK_GAP_MS;
    if (self->gap_ms > UPKEEP_CATCH_GAP_MS)
        self->gap_ms = UPKEEP_CATCH_GAP_MS;
    if (self->gap_ms < UPKEEP_CHECK_GAP_MS)
        self->gap_ms = UPKEEP_CHECK_GAP_MS;
    self->begin_ms = now_ms + random_below(&self->random, self->gap_ms);
}

static uint64_t gap_ms(const struct upkeep *self, uint64_t now_ms)
{
    return now_ms < self->started_ms + UPKEEP_CATCH_UP_MS ? self->gap_ms : UPKEEP_CHECK_GAP_MS;
}

bool upkeep_next_check(struct upkeep *self, uint64_t now_ms, struct upkeep_action *ret_action)
{
    unsigned place = 0;
    struct upkeep_slot *slot = free_slot(self, &place);
    struct upkeep_item item;

    if (slot == NULL)
        return false;
    if (!self->knows_overdue)
        learn_overdue(self, now_ms);
    if (now_ms < self->begin_ms || now_ms < self->look_ms || !find_due(self, now_ms, &item)) {
        upkeep_wake(self, self->begin_ms > self->look_ms ? self->begin_ms : self->look_ms);
        return false;
    }
    *slot = (struct upkeep_slot){ .state = SLOT_CHECKING, .serial = ++self->serial, .item = item };
    self->begin_ms = now_ms + gap_ms(self, now_ms);
    ret_action->step = UPKEEP_CHECK;
    ret_action->ticket = upkeep_ticket(slot->serial, place);
    ret_action->target = item.target;
    ret_action->seq = item.seq;
    ret_action->check_s = (uint32_t)upkeep_interval_s(self, item.calm + 1u);
    return true;
}

static void sample(struct upkeep *self, unsigned replicas)
{
    self->samples[self->samples_count++ % UPKEEP_SAMPLES] =
        (uint8_t)(replicas < UINT8_MAX ? replicas : UINT8_MAX);
}

/* A lookup that met nobody proves nothing: that is no calm. */
static void take_result(struct upkeep *self, struct upkeep_slot *slot,
                        const struct upkeep_check *check, uint64_t now_s)
{
    struct upkeep_item *item = &slot->item;
    bool is_calm = check->lacking == 0 && check->nodes > 0;
    uint64_t interval_s;

    self->stats.checks++;
    self->stats.lacking += check->lacking;
    sample(self, check->holders + 1);
    item->seq = check->seq;
    item->checked_s = now_s;
    if (!is_calm)
        item->calm = 0;
    else if (item->calm < UPKEEP_CALM_MAX)
        item->calm++;
    interval_s = upkeep_interval_s(self, item->calm);
    item->check_s = now_s + interval_s - random_below(&self->random, interval_s / PART_BACK + 1);
    slot->drops = check->may_drop;
    self->stats.dropped += check->may_drop;
}

void upkeep_checked(struct upkeep *self, uint32_t ticket, const struct upkeep_check *check,
                    uint64_t now_ms)
{
    struct upkeep_slot *slot = upkeep_slot_of(self, ticket);
    uint64_t now_s = now_ms / MS_PER_S;

    if (slot == NULL || slot->state != SLOT_CHECKING)
        return;
    slot->state = check->gone ? SLOT_FREE : SLOT_TO_WRITE;
    upkeep_wake(self, 0);
    if (check->gone)
        return;
    if (check->err == LB_OK) {
        take_result(self, slot, check, now_s);
    } else {
        self->stats.failed++;
        slot->item.check_s =
            now_s + UPKEEP_RETRY_S + random_below(&self->random, UPKEEP_RETRY_S / PART_BACK + 1);
    }
}

bool upkeep_next_write(struct upkeep *self, struct upkeep_action *ret_action)
{
    for (unsigned i = 0; i < UPKEEP_CHECKS_MAX; i++) {
        struct upkeep_slot *slot = &self->slots[i];

        if (slot->state != SLOT_TO_WRITE)
            continue;
        slot->state = SLOT_WRITING;
        ret_action->step = slot->drops ? UPKEEP_DROP : UPKEEP_SET;
        ret_action->ticket = upkeep_ticket(slot->serial, i);
        ret_action->target = slot->item.target;
        ret_action->seq = slot->item.seq;
        ret_action->item = slot->item;
        return true;
    }
    return false;
}

/* What could not be written is due still, and must not be looked up over and over. */
void upkeep_written(struct upkeep *self, uint32_t ticket, bool written, uint64_t now_ms)
{
    struct upkeep_slot *slot = upkeep_slot_of(self, ticket);

    if (slot == NULL || slot->state != SLOT_WRITING)
        return;
    slot->state = SLOT_FREE;
    self->look_ms = written ? 0 : now_ms + (uint64_t)UPKEEP_RETRY_S * MS_PER_S;
    upkeep_wake(self, 0);
}
