#include "services/transport/budget.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define WAYS 4

void budget_init(struct budget *self, struct budget_limits limits, uint64_t seed, uint64_t now_ms)
{
    assert(limits.sources_max >= WAYS && (limits.sources_max & (limits.sources_max - 1)) == 0);
    *self = (struct budget){ .limits = limits, .seed = seed };
    self->buckets = xcalloc(limits.sources_max, sizeof(*self->buckets));
    self->total = (struct budget_bucket){ .bytes = limits.total_burst, .now_ms = (uint32_t)now_ms };
}

void budget_done(struct budget *self)
{
    free(self->buckets);
    self->buckets = NULL;
}

static uint64_t source_of(const struct budget *self, const struct address *address)
{
    struct address source = *address;
    uint64_t hash;

    source.port = 0;
    if (!address_is_v4(address))
        memset(source.ip + 8, 0, 8);
    hash = address_hash(&source, self->seed);
    return hash != 0 ? hash : 1;
}

static void refill(struct budget_bucket *bucket, uint32_t rate, uint32_t burst, uint32_t now_ms)
{
    uint64_t bytes = bucket->bytes + (uint64_t)(now_ms - bucket->now_ms) * rate / 1000;

    if (bytes == bucket->bytes)
        return; /* too early for a whole byte: leave the time, or it would be lost */
    bucket->bytes = bytes < burst ? (uint32_t)bytes : burst;
    bucket->now_ms = now_ms;
}

/* Its bucket: the one it has, a free one, or that of the source not seen for longest. */
static struct budget_bucket *bucket_of(struct budget *self, uint64_t source, uint32_t now_ms)
{
    uint32_t sets = self->limits.sources_max / WAYS;
    struct budget_bucket *set = &self->buckets[WAYS * (source & (sets - 1))];
    struct budget_bucket *victim = &set[0];

    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].source == source)
            return &set[i];
        if (victim->source != 0 &&
            (set[i].source == 0 || now_ms - set[i].now_ms > now_ms - victim->now_ms))
            victim = &set[i];
    }
    *victim = (struct budget_bucket){ .source = source,
                                      .bytes = self->limits.source_burst,
                                      .now_ms = now_ms };
    return victim;
}

bool budget_take(struct budget *self, const struct address *to, size_t size, uint64_t now_ms)
{
    const struct budget_limits *limits = &self->limits;
    struct budget_bucket *bucket;

    if (address_is_private(to))
        return true;
    bucket = bucket_of(self, source_of(self, to), (uint32_t)now_ms);
    refill(bucket, limits->source_rate, limits->source_burst, (uint32_t)now_ms);
    refill(&self->total, limits->total_rate, limits->total_burst, (uint32_t)now_ms);
    if (bucket->bytes < size || self->total.bytes < size)
        return false;
    bucket->bytes -= (uint32_t)size;
    self->total.bytes -= (uint32_t)size;
    return true;
}
