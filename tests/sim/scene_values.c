#include "tests/sim/scenes.h"

#include "libcommon/memory.h"

#include <stdlib.h>

#define SECOND_MS     1000u
#define MINUTE_MS     60000u
#define HOUR_MS       3600000u
#define SETTLE_MS     60000u
#define PUTS_PER_S    50u
#define WHOLE_MOST_MS (4u * HOUR_MS)
#define VALUE_BYTES   200u
#define ITEMS_MAX     100000u /* nothing gives way here */

struct scene {
    const struct values_scene *what;
    struct values_report *report;
    struct dht *dht;
    struct dht_put *puts;
};

static struct dht *make_network(uint64_t seed, uint32_t nodes)
{
    const struct dht_options options = {
        .world = { .seed = seed }, .nodes = nodes, .spread_ms = nodes * 10, .items_max = ITEMS_MAX
    };
    struct dht *dht = dht_new(&options);

    dht_start_all(dht, SETTLE_MS);
    return dht;
}

static void put_all(struct scene *self)
{
    struct dht *dht = self->dht;
    uint32_t values = self->what->values;
    struct world_counts before = world_sent_by_all(dht->world);
    uint64_t queries = dht->traffic.queries;

    self->puts = xcalloc(values, sizeof(*self->puts));
    for (uint32_t i = 0; i < values; i++) {
        self->puts[i] = (struct dht_put){ .name = i,
                                          .content = i,
                                          .is_mutable = i % 2 == 0,
                                          .size = VALUE_BYTES,
                                          .ttl_s = DHT_VALUE_TTL };
        dht_begin_put(dht, dht_pick_live(dht), &self->puts[i]);
        dht_run(dht, SECOND_MS / PUTS_PER_S);
    }
    dht_run(dht, DHT_PUT_MS);
    self->report->acknowledged_least = UINT32_MAX;
    for (uint32_t i = 0; i < values; i++) {
        uint32_t acknowledged = self->puts[i].result.acknowledged;
        if (acknowledged < self->report->acknowledged_least) {
            self->report->acknowledged_least = acknowledged;
        }
    }
    struct world_counts after = world_sent_by_all(dht->world);
    self->report->put_queries = (double)(dht->traffic.queries - queries) / values;
    self->report->put_datagrams = (double)(after.datagrams - before.datagrams) / values;
    self->report->put_bytes = (double)(after.bytes - before.bytes) / values;
}

/* How many values have no live replica, or fewer than 20; the least that one has. */
static uint32_t count_below(struct scene *self, uint32_t replicas, uint32_t *ret_least)
{
    uint32_t below = 0;

    *ret_least = UINT32_MAX;
    for (uint32_t i = 0; i < self->what->values; i++) {
        uint32_t live = dht_replicas(self->dht, &self->puts[i].target, 0).live;
        below += live < replicas;
        *ret_least = live < *ret_least ? live : *ret_least;
    }
    return below;
}

/* Each is read by some live node. Returns how many were not found. */
static uint32_t read_all(struct scene *self)
{
    struct dht_get *gets = xcalloc(self->what->values, sizeof(*gets));
    uint64_t elapsed_ms = 0;
    uint32_t lost = 0;

    for (uint32_t i = 0; i < self->what->values; i++) {
        gets[i].target = self->puts[i].target;
        dht_begin_get(self->dht, dht_pick_live(self->dht), &gets[i]);
        dht_run(self->dht, SECOND_MS / PUTS_PER_S);
    }
    dht_run(self->dht, DHT_PUT_MS);
    for (uint32_t i = 0; i < self->what->values; i++) {
        lost += !gets[i].found || gets[i].content != self->puts[i].content;
        elapsed_ms += gets[i].elapsed_ms;
    }
    self->report->read_ms = (double)elapsed_ms / self->what->values;
    free(gets);
    return lost;
}

/* Until every value has 20 live replicas again. */
static void wait_until_whole(struct scene *self)
{
    uint64_t begin_ms = world_now_ms(self->dht->world);
    uint32_t wanted = dht_live_count(self->dht) < SPREAD_K ? dht_live_count(self->dht) : SPREAD_K;

    while (count_below(self, wanted, &self->report->whole_least) > 0 &&
           world_now_ms(self->dht->world) < begin_ms + WHOLE_MOST_MS) {
        dht_run(self->dht, MINUTE_MS);
    }
    self->report->whole_ms = world_now_ms(self->dht->world) - begin_ms;
}

static void kill(struct scene *self)
{
    struct values_report *report = self->report;

    dht_kill_some(self->dht, self->what->kill_percent);
    report->replicas_below = count_below(self, SPREAD_K, &report->replicas_least);
    report->lost_at_once = read_all(self);
    wait_until_whole(self);
}

/* One leaves for good, and one that was never there before comes. */
static void exchange(struct scene *self)
{
    struct dht *dht = self->dht;
    uint32_t leaver = 1 + (uint32_t)random_below(&dht->random, self->what->nodes - 1);
    struct address bootstrap = world_address(dht->world, 0);

    dht_kill(dht, leaver);
    dht_renew(dht, leaver);
    dht_start(dht, leaver, &bootstrap, NULL);
    self->report->left++;
    self->report->came++;
}

static void churn(struct scene *self)
{
    uint64_t end_ms = world_now_ms(self->dht->world) + (uint64_t)self->what->hours * HOUR_MS;
    uint64_t look_ms = 0,
             gap_ms = (uint64_t)HOUR_MS * 100 / self->what->churn_percent / self->what->nodes;
    uint32_t least;

    self->report->lowest = UINT32_MAX;
    while (world_now_ms(self->dht->world) < end_ms) {
        dht_run(self->dht, 1 + random_below(&self->dht->random, 2 * gap_ms));
        exchange(self);
        if (world_now_ms(self->dht->world) >= look_ms) {
            look_ms = world_now_ms(self->dht->world) + 10u * MINUTE_MS;
            (void)count_below(self, 1, &least);
            self->report->lowest = least < self->report->lowest ? least : self->report->lowest;
        }
    }
}

struct rate {
    double datagrams, bytes; /* of a node in an hour */
};

static struct rate rate_since(const struct dht *dht, struct world_counts before, uint64_t begin_ms)
{
    struct world_counts now = world_sent_by_all(dht->world);
    double node_hours =
        dht->options.nodes * ((double)(world_now_ms(dht->world) - begin_ms) / HOUR_MS);

    return (struct rate){ (double)(now.datagrams - before.datagrams) / node_hours,
                          (double)(now.bytes - before.bytes) / node_hours };
}

/* The same network for an hour, without values. */
static void measure_idle(struct scene *self)
{
    struct dht *dht = self->dht;
    struct world_counts before = world_sent_by_all(dht->world);
    uint64_t begin_ms = world_now_ms(dht->world);

    dht_run(dht, HOUR_MS);
    struct rate rate = rate_since(dht, before, begin_ms);
    self->report->idle_datagrams_hour = rate.datagrams;
    self->report->idle_bytes_hour = rate.bytes;
}

static void measure_churn(struct scene *self)
{
    struct values_report *report = self->report;
    struct world_counts before = world_sent_by_all(self->dht->world);
    uint64_t begin_ms = world_now_ms(self->dht->world);

    if (self->what->churn_percent > 0) {
        churn(self);
    } else {
        dht_run(self->dht, (uint64_t)self->what->hours * HOUR_MS);
    }
    struct rate rate = rate_since(self->dht, before, begin_ms);
    report->datagrams_hour = rate.datagrams;
    report->bytes_hour = rate.bytes;
    /* Every holder puts every key once an hour, which costs what the first put did. */
    double puts = (double)self->what->values * SPREAD_K / self->what->nodes;
    report->republish_datagrams_hour = puts * report->put_datagrams;
    report->republish_bytes_hour = puts * report->put_bytes;
}

void scene_values(const struct values_scene *what, struct values_report *ret_report)
{
    struct scene self = { .what = what, .report = ret_report };

    *ret_report = (struct values_report){ .lost = 0 };
    self.dht = make_network(what->seed, what->nodes);
    if (what->hours > 0) {
        measure_idle(&self);
    }
    put_all(&self);
    if (what->kill_percent > 0) {
        kill(&self);
    }
    if (what->hours > 0) {
        measure_churn(&self);
    }
    (void)count_below(&self, 1, &ret_report->end_least);
    ret_report->lost = read_all(&self);
    free(self.puts);
    dht_free(&self.dht);
}
