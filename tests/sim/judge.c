/* What the simulator knows and the nodes do not: the truth, and how near to it they came. */
#include "tests/sim/dht.h"

#include "libcommon/memory.h"
#include "tests/sim/node.h"

#include <stdlib.h>

size_t dht_oracle(const struct dht *self, uint32_t origin, const struct node_id *target, size_t k,
                  uint32_t *ret_nodes)
{
    size_t count = 0;

    for (uint32_t i = 0; i < self->options.nodes; i++) {
        if (i == origin || !dht_is_live(self, i) || self->nodes[i].role == ROLE_SILENT) {
            continue;
        }
        size_t at = count < k ? count++ : k;
        while (at > 0 && node_id_compare_distance(target, &self->nodes[i].id,
                                                  &self->nodes[ret_nodes[at - 1]].id) < 0) {
            if (at < k) {
                ret_nodes[at] = ret_nodes[at - 1];
            }
            at--;
        }
        if (at < k) {
            ret_nodes[at] = i;
        }
    }
    return count;
}

static bool holds(const struct dht_node *node, const struct node_id *target, uint64_t seq)
{
    const struct stored *stored =
        node->store != NULL ? store_find(node->store, target, node_store_s(node)) : NULL;

    return stored != NULL && stored->upkeep.seq >= seq;
}

struct dht_replicas dht_replicas(const struct dht *self, const struct node_id *target, uint64_t seq)
{
    struct dht_replicas replicas = { 0, 0, 0 };
    uint32_t closest[SPREAD_K];

    for (uint32_t i = 0; i < self->options.nodes; i++) {
        replicas.live += dht_is_live(self, i) && holds(&self->nodes[i], target, seq);
    }
    replicas.expected = (uint32_t)dht_oracle(self, UINT32_MAX, target, SPREAD_K, closest);
    for (uint32_t i = 0; i < replicas.expected; i++) {
        replicas.closest += holds(&self->nodes[closest[i]], target, seq);
    }
    return replicas;
}

/* ---- reports ---- */

static int compare_times(const void *a, const void *b)
{
    uint64_t time_a = *(const uint64_t *)a, time_b = *(const uint64_t *)b;

    return (time_a > time_b) - (time_a < time_b);
}

static void summarise(const struct dht_lookup *lookups, struct dht_report *report)
{
    uint64_t *elapsed = xcalloc(report->lookups, sizeof(*elapsed));
    uint64_t rounds = 0, queries = 0;

    for (uint32_t i = 0; i < report->lookups; i++) {
        elapsed[i] = lookups[i].elapsed_ms;
        rounds += lookups[i].rounds;
        queries += lookups[i].queries;
        report->exact += lookups[i].exact;
        report->found += lookups[i].found;
        report->expected += lookups[i].expected;
        report->rounds_max =
            lookups[i].rounds > report->rounds_max ? lookups[i].rounds : report->rounds_max;
        report->queries_max =
            lookups[i].queries > report->queries_max ? lookups[i].queries : report->queries_max;
    }
    qsort(elapsed, report->lookups, sizeof(*elapsed), compare_times);
    report->elapsed_p50_ms = elapsed[report->lookups / 2];
    report->elapsed_p95_ms = elapsed[report->lookups * 95 / 100];
    report->elapsed_p99_ms = elapsed[report->lookups * 99 / 100];
    report->rounds_mean_tenths = (uint32_t)(rounds * 10 / report->lookups);
    report->queries_mean_tenths = (uint32_t)(queries * 10 / report->lookups);
    free(elapsed);
}

static void summarise_joins(const struct dht *self, struct dht_report *report)
{
    uint64_t *joins = xcalloc(self->options.nodes, sizeof(*joins));
    uint32_t count = 0;

    for (uint32_t i = 0; i < self->options.nodes; i++) {
        const struct dht_node *node = &self->nodes[i];
        report->live += dht_is_live(self, i);
        if (!dht_is_live(self, i)) {
            continue;
        }
        if (node->joined_ms == 0) {
            report->unjoined++;
        } else {
            joins[count++] = node->joined_ms - node->started_ms;
        }
    }
    if (count > 0) {
        qsort(joins, count, sizeof(*joins), compare_times);
        report->joined_p50_ms = joins[count / 2];
        report->joined_max_ms = joins[count - 1];
    }
    free(joins);
}

/* One lookup each 10 ms, so that they all see the network in about the same state. */
#define MEASURE_EVERY_MS 10u

void dht_measure(struct dht *self, uint32_t lookups, struct dht_report *ret_report)
{
    struct dht_lookup *all = xcalloc(lookups, sizeof(*all));

    *ret_report = (struct dht_report){ .lookups = lookups };
    for (uint32_t i = 0; i < lookups; i++) {
        do {
            all[i].origin = (uint32_t)random_below(&self->random, self->options.nodes);
        } while (!dht_is_live(self, all[i].origin));
        all[i].target = node_id_random(&self->random);
        dht_begin_lookup(self, &all[i]);
        dht_run(self, MEASURE_EVERY_MS);
    }
    for (uint32_t i = 0; i < lookups; i++) {
        while (!all[i].done && world_step(self->world, UINT64_MAX)) {
        }
    }
    summarise(all, ret_report);
    summarise_joins(self, ret_report);
    free(all);
}

/* ---- views ---- */

static bool knows(const struct dht *self, uint32_t number, const struct node_id *id)
{
    uint32_t count;
    const struct contact *sorted = router_sorted(self->nodes[number].router, ROUTING_V4, &count);

    for (uint32_t i = 0; i < count; i++) {
        if (node_id_equal(&sorted[i].id, id)) {
            return true;
        }
    }
    return false;
}

static bool view_is_complete(const struct dht *self, uint32_t number, const uint32_t *closest,
                             size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (closest[i] != number && !knows(self, number, &self->nodes[closest[i]].id)) {
            return false;
        }
    }
    return true;
}

void dht_measure_views(struct dht *self, uint32_t targets, uint32_t k, struct dht_views *ret_views)
{
    uint32_t closest[LOOKUP_K_MAX];

    *ret_views = (struct dht_views){ 0, 0 };
    for (uint32_t i = 0; i < targets; i++) {
        struct node_id target = node_id_random(&self->random);
        size_t count = dht_oracle(self, UINT32_MAX, &target, k, closest);
        for (size_t j = 0; j < count; j++) {
            ret_views->views++;
            ret_views->complete += view_is_complete(self, closest[j], closest, count);
        }
    }
}
