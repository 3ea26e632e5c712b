#include "services/storage/upkeep.h"

#include "libcommon/memory.h"
#include "services/storage/upkeep_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MILLI        1000u /* thousandths in one */
#define DRAIN_FASTER 4u
#define PLACE_BITS   8u
#define CHK_SPREAD   4u /* those who were told of a check wait up to a quarter longer */
#define LITTLE_PART  8u /* of the least interval: by less a check is not put off */

struct upkeep *upkeep_new(const struct upkeep_options *options, uint64_t now_ms)
{
    struct upkeep *self = xcalloc(1, sizeof *self);

    assert(options->check_least_s > 0);
    _Static_assert(UPKEEP_CHECKS_MAX + UPKEEP_DRAINS_MAX <= 1u << PLACE_BITS, "a place fits");
    self->options = *options;
    random_init(&self->random, options->seed);
    self->started_ms = now_ms;
    self->serial = (uint32_t)options->seed; /* so tickets of an upkeep before are not ours */
    self->offers = (struct upkeep_pace){ UPKEEP_OFFERS_S * MILLI, now_ms };
    self->puts = (struct upkeep_pace){ UPKEEP_PUTS_S * MILLI, now_ms };
    return self;
}

void upkeep_free(struct upkeep **self)
{
    struct upkeep *upkeep = *self;

    if (upkeep == NULL)
        return;
    for (size_t i = 0; i < UPKEEP_DRAINS_MAX; i++)
        upkeep_transfer_free(upkeep, i);
    for (size_t f = 0; f < ROUTING_FAMILIES; f++) {
        free(upkeep->families[f].contacts);
        free(upkeep->families[f].marks);
    }
    free(upkeep);
    *self = NULL;
}

/* ---- pace and time ---- */

void upkeep_wake(struct upkeep *self, uint64_t at_ms)
{
    if (at_ms < self->wake_ms)
        self->wake_ms = at_ms;
}

static bool take(struct upkeep *self, struct upkeep_pace *pace, uint64_t rate_s, uint64_t now_ms)
{
    uint64_t passed_ms = now_ms > pace->filled_ms ? now_ms - pace->filled_ms : 0;

    if (self->is_draining)
        rate_s *= DRAIN_FASTER;
    /* A token a second is a thousandth of it a millisecond. */
    pace->milli = passed_ms >= MILLI ? rate_s * MILLI : pace->milli + passed_ms * rate_s;
    if (pace->milli > rate_s * MILLI)
        pace->milli = rate_s * MILLI;
    pace->filled_ms = now_ms;
    if (pace->milli < MILLI) {
        upkeep_wake(self, now_ms + (MILLI - pace->milli) / rate_s + 1);
        return false;
    }
    pace->milli -= MILLI;
    return true;
}

bool upkeep_take_offer(struct upkeep *self, uint64_t now_ms)
{
    return take(self, &self->offers, UPKEEP_OFFERS_S, now_ms);
}

bool upkeep_take_put(struct upkeep *self, uint64_t now_ms)
{
    return take(self, &self->puts, UPKEEP_PUTS_S, now_ms);
}

/* ---- tickets ---- */

uint32_t upkeep_ticket(uint32_t serial, unsigned place)
{
    return serial << PLACE_BITS | place;
}

static bool is_serial(uint32_t serial, uint32_t ticket)
{
    return (serial << PLACE_BITS) == (ticket & ~((1u << PLACE_BITS) - 1));
}

struct upkeep_slot *upkeep_slot_of(struct upkeep *self, uint32_t ticket)
{
    unsigned place = ticket & ((1u << PLACE_BITS) - 1);

    if (place >= UPKEEP_CHECKS_MAX || !is_serial(self->slots[place].serial, ticket))
        return NULL;
    return &self->slots[place];
}

struct upkeep_transfer *upkeep_transfer_of(struct upkeep *self, uint32_t ticket)
{
    unsigned place = ticket & ((1u << PLACE_BITS) - 1);
    struct upkeep_transfer *transfer;

    if (place < UPKEEP_CHECKS_MAX || place >= UPKEEP_CHECKS_MAX + UPKEEP_DRAINS_MAX)
        return NULL;
    transfer = self->transfers[place - UPKEEP_CHECKS_MAX];
    return transfer != NULL && is_serial(transfer->serial, ticket) ? transfer : NULL;
}

/* ---- the conversation ---- */

void upkeep_shared(struct upkeep *self, uint64_t now_ms)
{
    self->look_ms = 0;
    self->knows_overdue = false;
    upkeep_serve_anew(self, now_ms);
    upkeep_wake(self, 0);
}

bool upkeep_next(struct upkeep *self, uint64_t now_ms, struct upkeep_action *ret_action)
{
    bool acts;

    self->wake_ms = UINT64_MAX;
    self->walk_left = UPKEEP_WALK_MAX;
    ret_action->token_size = ret_action->digests_count = 0;
    if (self->is_draining)
        acts = upkeep_next_drain(self, now_ms, ret_action);
    else
        acts = upkeep_next_write(self, ret_action) || upkeep_next_check(self, now_ms, ret_action) ||
               upkeep_next_newcomer(self, now_ms, ret_action);
    if (acts)
        self->wake_ms = 0;
    return acts;
}

uint64_t upkeep_deadline_ms(const struct upkeep *self)
{
    return self->wake_ms;
}

/* ---- what others say ---- */

char upkeep_need(const struct upkeep *self, const struct upkeep_digest *digest,
                 const struct upkeep_item *held, uint64_t seen_seq, bool has_room)
{
    if (held != NULL)
        return held->seq >= digest->seq ? UPKEEP_HAS : UPKEEP_WANTS;
    /* Who is leaving offers its keys too, and still stands in our view. */
    if (digest->seq < seen_seq || !has_room ||
        !upkeep_is_among(self, &digest->target, UPKEEP_K + UPKEEP_SLACK))
        return UPKEEP_DECLINES;
    return UPKEEP_WANTS;
}

/* The calm that a holder has who waits so long. */
static uint8_t calm_of(const struct upkeep *self, uint64_t interval_s)
{
    uint8_t calm = 0;

    while (calm < UPKEEP_CALM_MAX && upkeep_interval_s(self, calm + 1u) <= interval_s)
        calm++;
    return calm;
}

bool upkeep_postpone(struct upkeep *self, struct upkeep_item *item, uint32_t chk_s, uint64_t now_s)
{
    uint64_t least_s = self->options.check_least_s;
    uint64_t most_s = least_s * UPKEEP_MOST;
    uint64_t wait_s = chk_s < least_s ? least_s : chk_s < most_s ? chk_s : most_s;
    uint64_t limit_s = item->checked_s + UPKEEP_SILENCE * most_s;
    uint64_t check_s = now_s + wait_s + random_below(&self->random, wait_s / CHK_SPREAD + 1);

    if (check_s > limit_s)
        check_s = limit_s;
    if (check_s <= item->check_s + least_s / LITTLE_PART)
        return false; /* each costs a write, and anybody may say it */
    item->check_s = check_s;
    if (calm_of(self, wait_s) > item->calm)
        item->calm = calm_of(self, wait_s);
    return true;
}

uint64_t upkeep_first_check_s(struct upkeep *self, uint64_t now_s)
{
    uint64_t least_s = self->options.check_least_s;

    return now_s + least_s + random_below(&self->random, least_s / CHK_SPREAD + 1);
}

/* ---- figures ---- */

static int compare_samples(const void *a, const void *b)
{
    return *(const uint8_t *)a - *(const uint8_t *)b;
}

struct upkeep_stats upkeep_stats(const struct upkeep *self)
{
    struct upkeep_stats stats = self->stats;
    uint8_t sorted[UPKEEP_SAMPLES];

    stats.samples =
        (unsigned)(self->samples_count < UPKEEP_SAMPLES ? self->samples_count : UPKEEP_SAMPLES);
    if (stats.samples == 0)
        return stats;
    memcpy(sorted, self->samples, stats.samples);
    qsort(sorted, stats.samples, sizeof *sorted, compare_samples);
    stats.replicas_min = sorted[0];
    stats.replicas_median = sorted[stats.samples / 2];
    return stats;
}

uint64_t upkeep_late_s(const struct upkeep *self, uint64_t now_s)
{
    uint64_t late_s = self->options.check_least_s * UPKEEP_MOST / 2;

    return now_s > late_s ? now_s - late_s : 0;
}

const char *upkeep_broken(const struct upkeep *self)
{
    unsigned waiting = 0;

    for (size_t f = 0; f < ROUTING_FAMILIES; f++) {
        const struct upkeep_family *family = &self->families[f];

        for (uint32_t i = 0; i < family->count; i++) {
            waiting += family->marks[i].pass > 0;
            if (i > 0 && node_id_compare(&family->contacts[i - 1].id, &family->contacts[i].id) >= 0)
                return "the view does not ascend";
        }
    }
    if (waiting != self->waiting)
        return "newcomers are not counted right";
    for (size_t i = 0; i < UPKEEP_DRAINS_MAX; i++) {
        const struct upkeep_transfer *transfer = self->transfers[i];

        if (transfer == NULL)
            continue;
        if (!self->is_draining && i >= UPKEEP_TRANSFERS_MAX)
            return "more newcomers are served at once than may be";
        if (transfer->count > UPKEEP_DIGESTS_MAX || transfer->next > transfer->count)
            return "a batch has more keys than it may";
        if (transfer->under_way > UPKEEP_PUTS_MAX)
            return "more is under way to one node than may be";
    }
    return NULL;
}
