#include "services/swarm/limits.h"

#include <assert.h>
#include <string.h>

#define ROW_MAX (LIMITS_SUBNETS_MAX + 2u) /* buckets of one flow */
#define SHARE   4096u                     /* of virtual time a byte takes at weight 1 */

/* ---- buckets ---- */

static void fill(struct limits_bucket *self, uint64_t now_ms)
{
    const uint64_t elapsed = now_ms - self->filled_ms;
    const int64_t most = (int64_t)(self->rate * LIMITS_BURST_MS);

    if (now_ms <= self->filled_ms)
        return;
    self->filled_ms = now_ms;
    /* So long that all debt is paid: the product would overflow. */
    if (elapsed > 3600 * 1000)
        self->tokens = most;
    else
        self->tokens += (int64_t)(self->rate * elapsed);
    if (self->tokens > most)
        self->tokens = most;
}

static bool has_some(struct limits_bucket *self, uint64_t now_ms)
{
    if (self->rate == 0)
        return true;
    fill(self, now_ms);
    return self->tokens > 0;
}

static void set_rate(struct limits_bucket *self, uint64_t rate, uint64_t now_ms)
{
    const uint64_t before = self->rate;

    fill(self, now_ms);
    self->rate = rate < RATE_MAX ? rate : RATE_MAX;
    self->filled_ms = now_ms;
    /* What was lent at another rate is forgotten: it might take hours at this one. */
    if (before != self->rate)
        self->tokens = 0;
}

/* When there will be something in it. */
static uint64_t ready_ms(const struct limits_bucket *self)
{
    if (self->rate == 0 || self->tokens > 0)
        return self->filled_ms;
    return self->filled_ms + (uint64_t)-self->tokens / self->rate + 1;
}

/* ---- the row of buckets of a flow ---- */

struct row {
    struct limits_bucket *bucket[ROW_MAX];
    uint32_t count;
    bool limited;
};

static void row_add(struct row *row, struct limits_bucket *bucket)
{
    row->bucket[row->count++] = bucket;
    row->limited |= bucket->rate > 0;
}

/* Always the same ones, with a rate or without, the widest last. */
static struct row row_of(const struct limits_flow *flow)
{
    struct row row = { .count = 0 };
    struct limits *limits = flow->share->limits;

    for (unsigned i = 0; i < limits->subnets_count && flow->crosses >> i != 0; i++)
        if ((flow->crosses >> i & 1) != 0)
            row_add(&row, &limits->subnets[i].bucket[flow->direction]);
    row_add(&row, &flow->share->bucket[flow->direction]);
    row_add(&row, &limits->node[flow->direction]);
    return row;
}

static void charge(const struct row *row, uint32_t count, int64_t bytes)
{
    for (uint32_t i = 0; i < count; i++)
        if (row->bucket[i]->rate > 0) {
            row->bucket[i]->tokens -= bytes * 1000;
            row->bucket[i]->used += (uint64_t)bytes; /* what is given back is below 0 */
        }
}

/* ---- waiting ---- */

static void enter_waiting(struct limits *limits, struct limits_bucket *bucket)
{
    bucket->previous = NULL;
    bucket->next = limits->waiting;
    if (bucket->next)
        bucket->next->previous = bucket;
    limits->waiting = bucket;
}

static void leave_waiting(struct limits *limits, struct limits_bucket *bucket)
{
    if (bucket->previous)
        bucket->previous->next = bucket->next;
    else
        limits->waiting = bucket->next;
    if (bucket->next)
        bucket->next->previous = bucket->previous;
}

static void stand(struct limits_flow *self, struct limits_bucket *bucket)
{
    struct limits *limits = self->share->limits;
    struct limits_flow *after = bucket->last;

    if (!bucket->first)
        enter_waiting(limits, bucket);
    /* The newcomer belongs mostly at the end. */
    while (after && after->start > self->start)
        after = after->previous;
    self->previous = after;
    self->next = after ? after->next : bucket->first;
    *(after ? &after->next : &bucket->first) = self;
    *(self->next ? &self->next->previous : &bucket->last) = self;
    self->waits_at = bucket;
    bucket->waited = true;
    self->share->waiting[self->direction]++;
}

static void step_out(struct limits_flow *self)
{
    struct limits_bucket *bucket = self->waits_at;

    *(self->previous ? &self->previous->next : &bucket->first) = self->next;
    *(self->next ? &self->next->previous : &bucket->last) = self->previous;
    self->next = self->previous = NULL;
    self->waits_at = NULL;
    self->share->waiting[self->direction]--;
    if (!bucket->first)
        leave_waiting(self->share->limits, bucket);
}

void limits_forget(struct limits_flow *self)
{
    struct row row;

    if (self->waits_at)
        step_out(self);
    self->chosen_at = NULL;
    if (self->stage == 0)
        return;
    row = row_of(self);
    charge(&row, self->stage, -(int64_t)self->reserved);
    self->stage = 0;
}

bool limits_waits(const struct limits_flow *self)
{
    return self->waits_at != NULL;
}

/* ---- taking ---- */

/* Virtual time passes for a torrent as for one flow, however many of its flows wait. */
static void pass(struct limits_flow *self, uint32_t size)
{
    struct limits_share *share = self->share;
    uint64_t *virtual = &share->limits->virtual[self->direction];
    const uint64_t flows = share->waiting[self->direction] + 1u;

    if (self->start > *virtual)
        *virtual = self->start;
    self->finish = (self->start > self->finish ? self->start : self->finish) +
                   (uint64_t)size * SHARE * flows / share->weight;
    self->start = self->finish;
}

/*
 * One block on its way through the row: what it got from a bucket it keeps while it waits at the
 * next; else two narrow buckets might never have something for it at the same time. True: it is
 * through.
 */
static bool advance(struct limits_flow *self, const struct row *row, uint32_t size, uint64_t now_ms)
{
    if (self->stage == 0)
        self->reserved = size;
    for (; self->stage < row->count; self->stage++) {
        struct limits_bucket *bucket = row->bucket[self->stage];
        const bool its_turn = self->chosen_at == bucket;

        if (bucket->rate == 0)
            continue;
        self->chosen_at = NULL;
        if (!has_some(bucket, now_ms) || (bucket->first && !its_turn)) {
            stand(self, bucket);
            return false;
        }
        bucket->tokens -= (int64_t)self->reserved * 1000;
        bucket->used += self->reserved;
    }
    self->stage = 0;
    if (size != self->reserved)
        charge(row, row->count, (int64_t)size - (int64_t)self->reserved);
    return true;
}

size_t limits_take(struct limits_flow *self, size_t count, uint32_t size, uint64_t now_ms)
{
    uint64_t *virtual;
    size_t taken = 0;
    struct row row;

    if (!self->share || count == 0)
        return count;
    row = row_of(self);
    if (!row.limited) {
        limits_forget(self);
        return count;
    }
    if (self->waits_at)
        return 0;
    virtual = &self->share->limits->virtual[self->direction];
    if (self->start < *virtual && self->stage == 0)
        self->start = *virtual;
    for (; taken < count && advance(self, &row, size, now_ms); taken++)
        pass(self, size);
    return taken;
}

static void charge_all(struct limits_flow *self, int64_t bytes)
{
    struct row row;

    if (!self->share)
        return;
    row = row_of(self);
    charge(&row, row.count, bytes);
}

void limits_give_back(struct limits_flow *self, uint64_t bytes)
{
    charge_all(self, -(int64_t)bytes);
}

void limits_charge(struct limits_flow *self, uint64_t bytes)
{
    charge_all(self, (int64_t)bytes);
}

/* ---- going on ---- */

struct limits_flow *limits_next(struct limits *self, uint64_t now_ms)
{
    struct limits_flow *best = NULL;

    if (now_ms < self->rests_until_ms)
        return NULL;
    for (struct limits_bucket *bucket = self->waiting; bucket; bucket = bucket->next)
        if (has_some(bucket, now_ms) && (!best || bucket->first->start < best->start))
            best = bucket->first;
    if (!best) {
        self->rests_until_ms = now_ms + LIMITS_STEP_MS;
        return NULL;
    }
    best->chosen_at = best->waits_at;
    step_out(best);
    return best;
}

uint64_t limits_deadline_ms(const struct limits *self)
{
    uint64_t deadline = UINT64_MAX;

    for (const struct limits_bucket *bucket = self->waiting; bucket; bucket = bucket->next) {
        const uint64_t ready = ready_ms(bucket);

        if (ready < deadline)
            deadline = ready;
    }
    return deadline < self->rests_until_ms ? self->rests_until_ms : deadline;
}

/* ---- life ---- */

void limits_init(struct limits *self, const struct subnet_rate *subnets, unsigned subnets_count,
                 const struct address *own, unsigned own_count)
{
    assert(subnets_count <= LIMITS_SUBNETS_MAX);
    memset(self, 0, sizeof(*self));
    self->subnets_count = subnets_count;
    for (unsigned i = 0; i < subnets_count; i++) {
        struct limits_subnet *subnet = &self->subnets[i];

        subnet->subnet = subnets[i].subnet;
        for (int direction = 0; direction < LIMITS_DIRECTIONS; direction++)
            subnet->bucket[direction].rate = subnets[i].bytes_per_s;
        for (unsigned k = 0; k < own_count; k++)
            subnet->inside |= subnet_has(&subnet->subnet, &own[k]);
    }
}

void limits_set(struct limits *self, enum limits_direction direction, uint64_t rate,
                uint64_t now_ms)
{
    set_rate(&self->node[direction], rate, now_ms);
    self->rests_until_ms = 0;
}

void limits_set_subnet(struct limits *self, unsigned subnet, enum limits_direction direction,
                       uint64_t rate, uint64_t now_ms)
{
    assert(subnet < self->subnets_count);
    set_rate(&self->subnets[subnet].bucket[direction], rate, now_ms);
    self->rests_until_ms = 0;
}

void limits_share_init(struct limits_share *self, struct limits *limits, void *ctx, uint32_t weight)
{
    *self = (struct limits_share){ .limits = limits, .ctx = ctx, .weight = weight };
}

void limits_share_set(struct limits_share *self, enum limits_direction direction, uint64_t rate,
                      uint64_t now_ms)
{
    set_rate(&self->bucket[direction], rate, now_ms);
    self->limits->rests_until_ms = 0;
}

void limits_share_weigh(struct limits_share *self, uint32_t weight)
{
    self->weight = weight;
}

void limits_flow_init(struct limits_flow *self, struct limits_share *share, uint32_t peer,
                      enum limits_direction direction, const struct address *address)
{
    *self = (struct limits_flow){ .share = share, .peer = peer, .direction = direction };
    for (unsigned i = 0; share && i < share->limits->subnets_count; i++) {
        const struct limits_subnet *subnet = &share->limits->subnets[i];

        if (subnet_has(&subnet->subnet, address) != subnet->inside)
            self->crosses |= UINT64_C(1) << i;
    }
}

void limits_flow_done(struct limits_flow *self)
{
    if (self->share)
        limits_forget(self);
}
