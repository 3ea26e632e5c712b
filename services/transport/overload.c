#include "services/transport/overload.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"

#include <stdlib.h>
#include <string.h>

#define DROPPED_MIN 0.02  /* of what was taken: less is a burst that came too fast */
#define DRAIN       0.7   /* of the ceiling is shared out while the queue is full ... */
#define TARGET      0.9   /* ... and from when it has been emptied */
#define GROWTH      1.004 /* a period, while there is room: half as much again in 10 s */
#define DIP         0.9   /* of the ceiling is believed: a worker may just not have had its turn */
#define HEAVY_MIN   8     /* datagrams heard of a source before it gets a rule; fewer are chance */

_Static_assert((OVERLOAD_SOURCES_MAX / OVERLOAD_WAYS &
                (OVERLOAD_SOURCES_MAX / OVERLOAD_WAYS - 1)) == 0,
               "the number of sets is a power of two");

void overload_init(struct overload *self, uint64_t seed)
{
    *self = (struct overload){ .seed = seed };
    self->sources = xcalloc(OVERLOAD_SOURCES_MAX, sizeof(*self->sources));
}

void overload_done(struct overload *self)
{
    free(self->sources);
    self->sources = NULL;
}

/* ---- counting ---- */

static uint8_t source_size(const struct address *address)
{
    return address_is_v4(address) || address_is_private(address) ? 16 : 8;
}

static struct address source_of(const struct address *address)
{
    struct address source = *address;
    uint8_t size = source_size(address);

    source.port = 0;
    memset(source.ip + size, 0, sizeof(source.ip) - size);
    return source;
}

static struct overload_source *set_of(const struct overload *self, const struct address *source)
{
    uint64_t hash = address_hash(source, self->seed);

    return &self->sources[OVERLOAD_WAYS * (hash & (OVERLOAD_SOURCES_MAX / OVERLOAD_WAYS - 1))];
}

static struct overload_source *find(const struct overload *self, const struct address *source)
{
    struct overload_source *set = set_of(self, source);

    for (unsigned i = 0; i < OVERLOAD_WAYS; i++) {
        if (set[i].count > 0 && address_same_ip(&set[i].source, source))
            return &set[i];
    }
    return NULL;
}

void overload_count(struct overload *self, const struct address *from)
{
    struct address source = source_of(from);
    struct overload_source *place = find(self, &source), *set;

    if (!place) {
        set = set_of(self, &source);
        place = &set[0];
        for (unsigned i = 1; i < OVERLOAD_WAYS; i++) {
            if (set[i].count < place->count)
                place = &set[i];
        }
        place->source = source;
        place->inherited = place->count;
    }
    place->count++;
}

/* ---- the end of a period ---- */

/* How many each source sent. */
struct arrivals {
    struct arrival {
        struct address source;
        double count;
        bool ruled;
        bool may_be_heavy;
    } list[OVERLOAD_SOURCES_MAX + OVERLOAD_RULES_MAX];
    unsigned list_count;
    double total;
    double ruled, others; /* as it seems: by the sources with a rule, and by all others */
};

static double kept_of(const struct overload_rule *rule)
{
    return ((double)rule->keep + 1) / 4294967296.0;
}

static bool has_rule(const struct overload *self, const struct address *source)
{
    for (unsigned i = 0; i < self->rules_count; i++) {
        if (address_same_ip(&self->rules[i].source, source))
            return true;
    }
    return false;
}

static int by_count(const void *a, const void *b)
{
    const struct arrival *x = a, *y = b;

    return x->count < y->count ? 1 : -(x->count > y->count);
}

static uint32_t heard_of(const struct overload_source *source)
{
    return source ? source->count - source->inherited : 0;
}

/* What is heard by a rule stands for 1 / keep as many; of so few it is a guess, so it is smoothed.
 */
static void list_ruled(const struct overload *self, struct arrivals *ret)
{
    for (unsigned i = 0; i < self->rules_count; i++) {
        const struct overload_rule *rule = &self->rules[i];
        uint32_t heard = heard_of(find(self, &rule->source));
        double count = (rule->arrivals + heard / kept_of(rule)) / 2;

        ret->list[ret->list_count++] = (struct arrival){ rule->source, count, true, true };
        ret->ruled += count;
        ret->others -= heard;
    }
}

static void list_others(const struct overload *self, struct arrivals *ret)
{
    for (unsigned i = 0; i < OVERLOAD_SOURCES_MAX; i++) {
        const struct overload_source *source = &self->sources[i];
        uint32_t heard = heard_of(source);

        if (heard > 0 && !has_rule(self, &source->source))
            ret->list[ret->list_count++] =
                (struct arrival){ source->source, heard, false, heard >= HEAVY_MIN };
    }
}

/*
 * The kernel says how many it dropped, not whose. Losses that the rules do not explain met all
 * alike, if the worker was busy; if it was not, there were none, and chance made the rules' figures
 * what they are.
 */
static void estimate(const struct overload *self, const struct overload_period *period,
                     struct arrivals *ret)
{
    double loss = 1, correction = 1;

    ret->list_count = 0;
    ret->ruled = 0;
    ret->others = (double)period->taken;
    ret->total = (double)(period->taken + period->dropped);
    list_ruled(self, ret);
    list_others(self, ret);
    if (period->busy && ret->ruled + ret->others > 0 && ret->total > ret->ruled + ret->others)
        loss = ret->total / (ret->ruled + ret->others);
    else if (ret->ruled > 0 && ret->total > ret->others)
        correction = (ret->total - ret->others) / ret->ruled;
    for (unsigned i = 0; i < ret->list_count; i++)
        ret->list[i].count *= ret->list[i].ruled ? correction * loss : loss;
    qsort(ret->list, ret->list_count, sizeof(ret->list[0]), by_count);
}

/* Once there are rules, a queue that is never empty: who waits in it waits for all of it. */
static bool is_overloaded(const struct overload *self, const struct overload_period *period)
{
    if (self->rules_count > 0)
        return period->busy;
    return (double)period->dropped > DROPPED_MIN * (double)period->taken;
}

/*
 * The most that one source may have; the list is sorted. When more than OVERLOAD_RULES_MAX are too
 * heavy, these are not heard more than the next one, which gets no rule.
 */
static double share_of(const struct overload *self, const struct arrivals *arrivals)
{
    double rest = arrivals->total, share = 0, next;
    unsigned count = 0;

    do {
        if (count == arrivals->list_count || count == OVERLOAD_RULES_MAX)
            break;
        rest -= arrivals->list[count++].count;
        share = (self->capacity - rest) / count;
        next = count < arrivals->list_count ? arrivals->list[count].count : 0;
    } while (share < next);
    if (count == OVERLOAD_RULES_MAX && count < arrivals->list_count &&
        share < arrivals->list[count].count)
        share = arrivals->list[count].count;
    return share > 1 ? share : 1;
}

static void set_rules(struct overload *self, const struct arrivals *arrivals)
{
    double share = share_of(self, arrivals);

    self->rules_count = 0;
    if (arrivals->total <= self->capacity)
        return;
    for (unsigned i = 0; i < arrivals->list_count && self->rules_count < OVERLOAD_RULES_MAX; i++) {
        const struct arrival *arrival = &arrivals->list[i];

        if (arrival->count <= share)
            break;
        if (!arrival->may_be_heavy)
            continue;
        self->rules[self->rules_count++] = (struct overload_rule){
            .source = arrival->source,
            .arrivals = arrival->count,
            .size = source_size(&arrival->source),
            .keep = (uint32_t)(share / arrival->count * 4294967295.0),
        };
    }
}

static void learn_capacity(struct overload *self, const struct overload_period *period,
                           bool overloaded)
{
    if (overloaded) {
        self->ceiling *= DIP;
        if (self->ceiling < (double)period->taken)
            self->ceiling = (double)period->taken;
        self->capacity = DRAIN * self->ceiling;
    } else if (self->capacity < TARGET * self->ceiling) {
        self->capacity = TARGET * self->ceiling;
    } else {
        self->capacity *= GROWTH;
    }
}

bool overload_end_period(struct overload *self, const struct overload_period *period)
{
    unsigned before = self->rules_count;
    struct arrivals arrivals;
    bool overloaded;

    if (!self->counting) {
        self->counting = is_overloaded(self, period);
        self->ceiling = 0;
        self->calm = 0;
        self->stale = false;
        return false;
    }
    estimate(self, period, &arrivals);
    overloaded = is_overloaded(self, period);
    self->stale = overloaded && (before == 0 || self->calm == 0);
    self->calm = overloaded ? 0 : self->calm + 1;
    learn_capacity(self, period, overloaded);
    if (overloaded || before > 0)
        set_rules(self, &arrivals);
    memset(self->sources, 0, OVERLOAD_SOURCES_MAX * sizeof(*self->sources));
    if (self->rules_count == 0 && self->calm >= OVERLOAD_CALM)
        self->counting = false;
    self->stale &= self->rules_count > 0;
    return before > 0 || self->rules_count > 0;
}

bool overload_admits(const struct overload *self, const struct address *from, struct random *random)
{
    struct address source;

    if (self->rules_count == 0)
        return true;
    source = source_of(from);
    for (unsigned i = 0; i < self->rules_count; i++) {
        if (address_same_ip(&self->rules[i].source, &source))
            return (uint32_t)random_u64(random) <= self->rules[i].keep;
    }
    return true;
}
