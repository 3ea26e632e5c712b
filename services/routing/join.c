#include "services/routing/join.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Three quarters to five quarters of it. */
static uint64_t jittered(struct random *random, uint64_t interval_ms)
{
    return interval_ms * 3 / 4 + random_below(random, interval_ms / 2 + 1);
}

void join_init(struct join *self, bool expects_seeds, struct random *random)
{
    *self = (struct join){ .random = random,
                           .expects_seeds = expects_seeds,
                           .backoff_ms = JOIN_RETRY_LEAST_MS,
                           .settle_ms = JOIN_SETTLE_MS };
}

void join_done(struct join *self)
{
    free(self->seeds);
    self->seeds = NULL;
    self->seeds_count = self->fresh = 0;
}

void join_add_seed(struct join *self, const struct address *address, bool bootstrap)
{
    for (uint32_t i = 0; i < self->seeds_count; i++) {
        if (address_equal(&self->seeds[i].address, address)) {
            self->seeds[i].bootstrap |= bootstrap;
            return;
        }
    }
    if (self->seeds_count >= JOIN_SEEDS_MAX) {
        return;
    }
    self->seeds = xrealloc(self->seeds, (self->seeds_count + 1) * sizeof(*self->seeds));
    self->seeds[self->seeds_count++] =
        (struct join_seed){ .address = *address, .state = JOIN_SEED_NEW, .bootstrap = bootstrap };
    self->fresh++;
}

/* ---- seeds ---- */

static bool is_lonely(const struct join *self)
{
    return self->view.live == 0;
}

static void ask_again(struct join *self, bool bootstrap_only)
{
    for (uint32_t i = 0; i < self->seeds_count; i++) {
        if (self->seeds[i].state == JOIN_SEED_DONE &&
            (self->seeds[i].bootstrap || !bootstrap_only)) {
            self->seeds[i].state = JOIN_SEED_NEW;
            self->fresh++;
        }
    }
}

/* Lonely, and every seed was asked in vain: when do we ask them again? */
static void plan_retry(struct join *self, uint64_t now_ms)
{
    if (self->retry_ms == 0) {
        self->retry_ms = now_ms + jittered(self->random, self->backoff_ms);
        self->backoff_ms =
            self->backoff_ms * 2 < JOIN_RETRY_MOST_MS ? self->backoff_ms * 2 : JOIN_RETRY_MOST_MS;
    } else if (now_ms >= self->retry_ms) {
        self->retry_ms = 0;
        ask_again(self, false);
    }
}

static void plan_asking(struct join *self, uint64_t now_ms)
{
    bool waiting = self->asking > 0 || self->fresh > 0;

    if (!waiting) {
        self->passed = true;
    }
    if (!is_lonely(self)) {
        self->backoff_ms = JOIN_RETRY_LEAST_MS;
        self->retry_ms = 0;
        if (self->reask_ms == 0) {
            self->reask_ms = now_ms + jittered(self->random, JOIN_SETTLED_MS);
        } else if (now_ms >= self->reask_ms) {
            self->reask_ms = 0;
            ask_again(self, true);
        }
    } else if (!waiting && self->seeds_count > 0) {
        plan_retry(self, now_ms);
    }
}

static bool may_ask(const struct join *self)
{
    return self->fresh > 0 && self->asking < (is_lonely(self) ? JOIN_ASKS_MAX : JOIN_ASKS_MAX / 4);
}

static bool next_seed(struct join *self, struct join_order *ret_order)
{
    if (!may_ask(self)) {
        return false;
    }
    for (uint32_t i = 0; i < self->seeds_count; i++) {
        if (self->seeds[i].state == JOIN_SEED_NEW) {
            self->seeds[i].state = JOIN_SEED_ASKED;
            self->fresh--;
            self->asking++;
            ret_order->address = self->seeds[i].address;
            ret_order->seed = i;
            return true;
        }
    }
    return false;
}

void join_asked(struct join *self, uint32_t seed, bool sent)
{
    assert(seed < self->seeds_count);
    assert(self->asking > 0);
    self->asking--;
    self->seeds[seed].state = sent ? JOIN_SEED_DONE : JOIN_SEED_NEW;
    self->fresh += !sent;
}

/* ---- lookups ---- */

static bool may_find_bucket(const struct join *self)
{
    return self->joined && self->bucket < self->view.depth &&
           self->buckets_running < JOIN_LOOKUPS_MAX;
}

enum join_step join_next(struct join *self, const struct join_view *view, uint64_t now_ms,
                         struct join_order *ret_order)
{
    self->view = *view;
    plan_asking(self, now_ms);
    self->content |= !self->expects_seeds && view->contacts == 0 && self->passed;
    if (next_seed(self, ret_order)) {
        return JOIN_ASK;
    }
    if (view->contacts == 0) {
        return JOIN_NOTHING;
    }
    if (!self->finding_self && now_ms >= self->find_self_ms) {
        self->finding_self = true;
        ret_order->is_wide = self->joined && self->settle_ms >= self->wide_ms;
        if (ret_order->is_wide) {
            self->wide_ms = self->wide_ms < JOIN_WIDE_MS ? JOIN_WIDE_MS : JOIN_SETTLED_MS;
        }
        return JOIN_FIND_SELF;
    }
    if (may_find_bucket(self)) {
        self->buckets_running++;
        ret_order->bucket = self->bucket++;
        return JOIN_FIND_BUCKET;
    }
    return JOIN_NOTHING;
}

static size_t count_new(const struct join *self, const struct node_id *closest, size_t count)
{
    size_t news = 0;

    for (size_t i = 0; i < count; i++) {
        bool known = false;
        for (size_t j = 0; j < self->neighbours_count && !known; j++) {
            known = node_id_equal(&closest[i], &self->neighbours[j]);
        }
        news += !known;
    }
    return news;
}

void join_found_self(struct join *self, const struct node_id *closest, size_t count,
                     uint64_t now_ms)
{
    if (count > JOIN_NEIGHBOURS) {
        count = JOIN_NEIGHBOURS;
    }
    self->finding_self = false;
    bool first = count > 0 && !self->joined;
    size_t news = count_new(self, closest, count);
    if (first || news > count / 2) {
        self->settle_ms = JOIN_SETTLE_MS;
    } else if (news == 0) {
        self->settle_ms =
            self->settle_ms * 2 < JOIN_SETTLED_MS ? self->settle_ms * 2 : JOIN_SETTLED_MS;
    }
    self->find_self_ms = now_ms + jittered(self->random, self->settle_ms);
    if (first) {
        self->joined = true;
        self->bucket = 0;
    }
    for (size_t i = 0; i < count; i++) {
        self->neighbours[i] = closest[i];
    }
    self->neighbours_count = count;
}

void join_found_bucket(struct join *self)
{
    assert(self->buckets_running > 0);
    self->buckets_running--;
}

void join_hurry(struct join *self, uint64_t now_ms)
{
    self->find_self_ms = now_ms;
    self->settle_ms = JOIN_SETTLE_MS;
}

bool join_is_joined(const struct join *self)
{
    return self->joined || self->content;
}

uint64_t join_deadline_ms(const struct join *self)
{
    uint64_t deadline_ms = UINT64_MAX;

    if (may_ask(self) || may_find_bucket(self)) {
        return 0;
    }
    if (self->view.contacts > 0 && !self->finding_self) {
        deadline_ms = self->find_self_ms;
    }
    if (is_lonely(self) && self->retry_ms != 0 && self->retry_ms < deadline_ms) {
        deadline_ms = self->retry_ms;
    }
    if (!is_lonely(self) && self->reask_ms != 0 && self->reask_ms < deadline_ms) {
        deadline_ms = self->reask_ms;
    }
    return deadline_ms;
}
