/*
 * Parts of the node's limits: swarm.receive_limit and send_limit, the subnets', and
 * swarm.active_max hold for all workers together. Worker 0 keeps the book (apportion.h); the others
 * ask it once a second. While it is away they keep what they had. A limit set at run time is set
 * there; the others hear of it when they ask next.
 */
#include "libcommon/actor.h"
#include "libcommon/config.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "proto/swarm.pb-c.h"
#include "services/swarm/queue.h"
#include "services/swarm/workers_inside.h"

#include <stdlib.h>
#include <string.h>

#define ALLOT_MS 5000u

/* ---- the limits by number ---- */

static unsigned limits_count(const struct workers *self)
{
    return (1 + self->transfers->limits.subnets_count) * LIMITS_DIRECTIONS;
}

static struct limits_bucket *bucket_of(const struct workers *self, unsigned number)
{
    struct limits *limits = &self->transfers->limits;
    const unsigned direction = number % LIMITS_DIRECTIONS;
    return number < LIMITS_DIRECTIONS
               ? &limits->node[direction]
               : &limits->subnets[number / LIMITS_DIRECTIONS - 1].bucket[direction];
}

static void set_rate(struct workers *self, unsigned number, uint64_t rate)
{
    struct limits *limits = &self->transfers->limits;
    const enum limits_direction direction = number % LIMITS_DIRECTIONS;
    const uint64_t now_ms = transfers_now_ms(self->transfers);
    if (bucket_of(self, number)->rate == rate)
        return; /* what was lent stays lent */
    if (number < LIMITS_DIRECTIONS)
        limits_set(limits, direction, rate, now_ms);
    else
        limits_set_subnet(limits, number / LIMITS_DIRECTIONS - 1, direction, rate, now_ms);
    transfers_arm(self->transfers, now_ms);
}

/* Since the last time. */
static struct apportion_claim take_claim(struct workers *self, unsigned number, uint64_t passed_ms)
{
    struct limits_bucket *bucket = bucket_of(self, number);
    uint64_t *before = &self->allot.used_before[number];
    const int64_t used = (int64_t)(bucket->used - *before); /* less than nothing: given back */
    const struct apportion_claim claim = {
        .used = used > 0 && passed_ms > 0 ? (uint64_t)used * 1000 / passed_ms : 0,
        .waits = bucket->waited || bucket->first != NULL,
        .holds = bucket->rate,
    };
    *before = bucket->used;
    bucket->waited = false;
    return claim;
}

/* ---- fetches ---- */

static size_t list_fetches(const struct workers *self, struct queue_item *items)
{
    const struct transfers *transfers = self->transfers;
    size_t count = 0;
    struct queue_item *all = transfers_queue_items(transfers, transfers_now_ms(transfers));
    queue_order(all, transfers->count, 0); /* sorted by it */
    for (size_t i = 0; i < transfers->count && count < ALLOT_FETCHES_MAX; i++)
        if (all[i].fetching)
            items[count++] = all[i];
    free(all);
    return count;
}

uint32_t workers_places(const struct workers *self, uint32_t active_max)
{
    if (self->active == 1 || active_max == 0 || self->allot.places == UINT32_MAX)
        return active_max;
    return self->allot.places > 0 ? self->allot.places : QUEUE_NONE;
}

/* ---- the book of worker 0 ---- */

static void free_book(struct workers *self)
{
    struct allot_book *book = self->allot.book;
    self->allot.book = NULL;
    if (book == NULL)
        return;
    for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++)
        free(book->fetches[i]);
    free(book);
}

/* What others hold that have said nothing yet: the least; this one what is left. */
static void open_book(struct workers *self)
{
    free_book(self);
    struct allot_book *book = xcalloc(1, sizeof *book);
    self->allot.book = book;
    for (unsigned k = 0; k < limits_count(self); k++) {
        const uint64_t total = self->allot.totals[k];
        const uint64_t least = apportion_least(total, self->active);
        for (unsigned i = 1; i < self->active && total > 0; i++)
            book->claims[k][i].holds = least;
        const uint64_t others = least * (self->active - 1);
        book->claims[k][0].holds = total > others ? total - others : total > 0;
    }
}

/* How many of the fetches of one worker are among those that may run, by the order of all. */
static uint32_t count_places(const struct workers *self, unsigned worker, uint32_t active_max)
{
    const struct allot_book *book = self->allot.book;
    size_t count = 0;
    for (unsigned i = 0; i < self->active; i++)
        count += book->fetches_count[i];
    struct queue_item *all = xcalloc(count + 1, sizeof *all);
    count = 0;
    for (unsigned i = 0; i < self->active; i++)
        for (size_t k = 0; k < book->fetches_count[i]; k++) {
            all[count] = book->fetches[i][k];
            all[count++].ctx = (void *)(uintptr_t)&book->fetches[i];
        }
    queue_order(all, count, active_max);
    uint32_t places = 0;
    for (size_t i = 0; i < count; i++)
        places +=
            all[i].ctx == (const void *)&book->fetches[worker] && all[i].place == 0 && !all[i].idle;
    free(all);
    return places;
}

static void write_down(struct workers *self, unsigned worker, struct queue_item *fetches,
                       size_t count)
{
    struct allot_book *book = self->allot.book;
    free(book->fetches[worker]);
    book->fetches[worker] = fetches;
    book->fetches_count[worker] = count;
}

static uint64_t apportion_to(struct workers *self, unsigned worker, unsigned number,
                             const struct apportion_claim *claim)
{
    struct apportion_claim *claims = self->allot.book->claims[number];
    claims[worker] = *claim;
    claims[worker].holds = apportion(self->allot.totals[number], claims, self->active, worker);
    return claims[worker].holds;
}

static uint32_t active_max_of(const struct workers *self)
{
    return (uint32_t)config_number(actor_config(self->transfers->actor), CONFIG_SWARM_ACTIVE_MAX);
}

static struct queue_item *read_fetches(const Lb__Swarm__Allot *allot, size_t *ret_count)
{
    struct queue_item *items = xcalloc(ALLOT_FETCHES_MAX, sizeof *items);
    *ret_count = 0;
    for (size_t i = 0; i < allot->n_fetching && *ret_count < ALLOT_FETCHES_MAX; i++) {
        const Lb__Swarm__Allot__Fetching *from = allot->fetching[i];
        struct queue_item *item = &items[*ret_count];
        if (from->infohash.len != sizeof item->infohash)
            continue;
        memcpy(item->infohash, from->infohash.data, sizeof item->infohash);
        item->priority = from->priority;
        item->added_s = from->added_s;
        item->fetching = true;
        item->idle = from->idle;
        ++*ret_count;
    }
    return items;
}

void transfers_allot(struct transfers *transfers, const Lb__Swarm__Allot *allot,
                     Lb__Swarm__Allotment *ret_allotment)
{
    struct workers *self = transfers->workers;
    const unsigned worker = allot->worker;
    const uint32_t active_max = active_max_of(self);
    size_t count = 0;
    if (self->allot.book == NULL || worker == 0 || worker >= self->active ||
        allot->n_uses != limits_count(self))
        return; /* it knows of another number of workers: it keeps what it has */
    ret_allotment->rates = xcalloc(allot->n_uses, sizeof *ret_allotment->rates);
    ret_allotment->n_rates = allot->n_uses;
    for (unsigned k = 0; k < allot->n_uses; k++) {
        const Lb__Swarm__Allot__Use *use = allot->uses[k];
        const struct apportion_claim claim = { .used = use->rate,
                                               .waits = use->waits,
                                               .holds = use->holds };
        ret_allotment->rates[k] = apportion_to(self, worker, k, &claim);
    }
    struct queue_item *fetches = read_fetches(allot, &count);
    write_down(self, worker, fetches, count);
    ret_allotment->places = active_max == 0 ? UINT32_MAX : count_places(self, worker, active_max);
}

/* ---- one's own part ---- */

static void set_places(struct workers *self, uint32_t places)
{
    if (places == self->allot.places)
        return;
    self->allot.places = places;
    transfers_look_at_queue(self->transfers);
}

static void allot_own(struct workers *self, uint64_t passed_ms)
{
    const uint32_t active_max = active_max_of(self);
    for (unsigned k = 0; k < limits_count(self); k++) {
        const struct apportion_claim claim = take_claim(self, k, passed_ms);
        set_rate(self, k, apportion_to(self, 0, k, &claim));
    }
    struct queue_item *fetches = xcalloc(ALLOT_FETCHES_MAX, sizeof *fetches);
    const size_t count = list_fetches(self, fetches);
    write_down(self, 0, fetches, count);
    set_places(self, active_max == 0 ? UINT32_MAX : count_places(self, 0, active_max));
}

static void on_allotment(void *ctx, lb_err err, const char *reason, const void *message)
{
    struct workers *self = ctx;
    const Lb__Swarm__Reply *reply = message;
    (void)reason;
    self->allot.under_way = false;
    if (err != LB_OK || self->ended || self->active == 1 ||
        reply->body_case != LB__SWARM__REPLY__BODY_ALLOTMENT ||
        reply->allotment->n_rates != limits_count(self))
        return;
    for (unsigned k = 0; k < limits_count(self); k++)
        set_rate(self, k, reply->allotment->rates[k]);
    set_places(self, reply->allotment->places);
}

static void ask_for_part(struct workers *self, uint64_t passed_ms)
{
    const unsigned limits = limits_count(self);
    struct queue_item *fetches = xcalloc(ALLOT_FETCHES_MAX, sizeof *fetches);
    const size_t count = list_fetches(self, fetches);
    Lb__Swarm__Allot allot = LB__SWARM__ALLOT__INIT;
    Lb__Swarm__Request request = LB__SWARM__REQUEST__INIT;
    Lb__Swarm__Allot__Use *uses = xcalloc(limits, sizeof *uses);
    Lb__Swarm__Allot__Fetching *fetching = xcalloc(count + 1, sizeof *fetching);
    allot.worker = self->instance;
    allot.uses = xcalloc(limits, sizeof *allot.uses);
    allot.n_uses = limits;
    allot.fetching = xcalloc(count + 1, sizeof *allot.fetching);
    allot.n_fetching = count;
    for (unsigned k = 0; k < limits; k++) {
        const struct apportion_claim claim = take_claim(self, k, passed_ms);
        lb__swarm__allot__use__init(&uses[k]);
        uses[k].rate = claim.used;
        uses[k].waits = claim.waits;
        uses[k].holds = claim.holds;
        allot.uses[k] = &uses[k];
    }
    for (size_t i = 0; i < count; i++) {
        lb__swarm__allot__fetching__init(&fetching[i]);
        fetching[i].infohash.data = fetches[i].infohash;
        fetching[i].infohash.len = sizeof fetches[i].infohash;
        fetching[i].priority = fetches[i].priority;
        fetching[i].added_s = fetches[i].added_s;
        fetching[i].idle = fetches[i].idle;
        allot.fetching[i] = &fetching[i];
    }
    request.body_case = LB__SWARM__REQUEST__BODY_ALLOT;
    request.allot = &allot;
    self->allot.under_way = true;
    link_call(workers_link(self, 0), &request.base, ALLOT_MS, on_allotment, self);
    free(allot.uses);
    free(allot.fetching);
    free(uses);
    free(fetching);
    free(fetches);
}

void workers_look_at_allotments(struct workers *self, uint64_t now_ms)
{
    const uint64_t passed_ms = now_ms - self->allot.asked_ms;
    if (self->active == 1 || self->instance >= self->active)
        return;
    if (self->instance != 0 && self->allot.under_way)
        return;
    self->allot.asked_ms = now_ms;
    if (self->instance == 0)
        allot_own(self, passed_ms);
    else
        ask_for_part(self, passed_ms);
}

/* Worker 0 is alone, or makes room for the others at once; others begin with the least. */
void workers_begin_allotting(struct workers *self)
{
    self->allot.asked_ms = transfers_now_ms(self->transfers);
    if (self->instance == 0 && self->active > 1)
        open_book(self);
    else
        free_book(self);
    for (unsigned k = 0; k < limits_count(self); k++) {
        const uint64_t total = self->allot.totals[k];
        if (self->allot.book != NULL)
            set_rate(self, k, self->allot.book->claims[k][0].holds);
        else if (self->active == 1 || total == 0)
            set_rate(self, k, total);
        else
            set_rate(self, k, apportion_least(total, self->active));
    }
    set_places(self, active_max_of(self) == 0 || self->active == 1 ? UINT32_MAX
                     : self->instance == 0                         ? active_max_of(self)
                                                                   : 0);
    self->looked_ms = 0; /* ask at once */
}

void workers_open_allot(struct workers *self)
{
    for (unsigned k = 0; k < limits_count(self); k++)
        self->allot.totals[k] = bucket_of(self, k)->rate;
    self->allot.places = UINT32_MAX;
}

void workers_set_limit(struct workers *self, enum limits_direction direction, uint64_t rate)
{
    self->allot.totals[direction] = rate;
    workers_begin_allotting(self);
}

void workers_free_allot(struct workers *self)
{
    free_book(self);
}
