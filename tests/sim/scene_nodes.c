/* A newcomer, and a class that starts again. */
#include "tests/sim/scenes.h"

#include "libcommon/memory.h"

#include <stdlib.h>

#define SECOND_MS     1000u
#define MINUTE_MS     60000u
#define HOUR_MS       3600000u
#define SETTLE_MS     60000u
#define PUTS_PER_S    50u
#define VALUE_BYTES   200u
#define ITEMS_MAX     100000u
#define HAND_OVER_MS  90000u /* a newcomer has what is due by then, or never */
#define STEP_MS       50u
#define NO_CHECKS_S   1000000u /* a newcomer is to be served by those who see it, not by checks */
#define FOREVER_TTL_S (10u * 365 * 24 * 3600)

static struct dht_put *put_values(struct dht *dht, uint32_t values)
{
    struct dht_put *puts = xcalloc(values, sizeof(*puts));

    for (uint32_t i = 0; i < values; i++) {
        puts[i] = (struct dht_put){ .name = i,
                                    .content = i,
                                    .is_mutable = i % 2 == 0,
                                    .size = VALUE_BYTES,
                                    .ttl_s = FOREVER_TTL_S };
        dht_begin_put(dht, dht_pick_live(dht), &puts[i]);
        dht_run(dht, SECOND_MS / PUTS_PER_S);
    }
    dht_run(dht, DHT_PUT_MS);
    return puts;
}

/* ---- a newcomer ---- */

static bool is_due(const struct dht *dht, uint32_t newcomer, const struct node_id *target)
{
    uint32_t closest[SPREAD_K];
    size_t count = dht_oracle(dht, UINT32_MAX, target, SPREAD_K, closest);

    for (size_t i = 0; i < count; i++) {
        if (closest[i] == newcomer) {
            return true;
        }
    }
    return false;
}

static bool holds(const struct dht_node *node, const struct node_id *target)
{
    return store_find(node->store, target, 0) != NULL;
}

struct arrival {
    struct dht *dht;
    uint32_t number;
    const struct dht_put *puts;
    bool *due; /* of each value */
    uint32_t due_count, values;
};

static bool has_all(const struct arrival *self)
{
    for (uint32_t i = 0; i < self->values; i++) {
        if (self->due[i] && !holds(&self->dht->nodes[self->number], &self->puts[i].target)) {
            return false;
        }
    }
    return true;
}

static void judge_arrival(const struct arrival *self, struct newcomer_report *report)
{
    const struct dht_node *node = &self->dht->nodes[self->number];

    report->due += self->due_count;
    for (uint32_t i = 0; i < self->values; i++) {
        bool held = holds(node, &self->puts[i].target);
        report->made += self->due[i] && held;
        report->undue += !self->due[i] && held;
    }
    report->puts += (uint32_t)node->store->puts;
}

/* Returns how long it took until it had all that was due. */
static uint64_t arrive(struct arrival *self, struct newcomer_report *report)
{
    struct dht *dht = self->dht;
    struct address bootstrap = world_address(dht->world, 0);
    uint64_t begin_ms = world_now_ms(dht->world), took_ms = 0;
    uint64_t messages = dht->traffic.puts + dht->traffic.offers;

    dht_start(dht, self->number, &bootstrap, NULL);
    self->due_count = 0;
    for (uint32_t i = 0; i < self->values; i++) {
        self->due[i] = is_due(dht, self->number, &self->puts[i].target);
        self->due_count += self->due[i];
    }
    while (world_now_ms(dht->world) < begin_ms + HAND_OVER_MS) {
        dht_run(dht, STEP_MS);
        if (took_ms == 0 && has_all(self)) {
            took_ms = world_now_ms(dht->world) - begin_ms;
        }
    }
    judge_arrival(self, report);
    report->messages += (double)(dht->traffic.puts + dht->traffic.offers - messages);
    return took_ms == 0 ? HAND_OVER_MS : took_ms;
}

static int compare_times(const void *a, const void *b)
{
    uint64_t time_a = *(const uint64_t *)a, time_b = *(const uint64_t *)b;

    return (time_a > time_b) - (time_a < time_b);
}

/* All but the newcomers. */
static void start_old(struct dht *dht, uint32_t nodes)
{
    struct address bootstrap = world_address(dht->world, 0);

    dht_start(dht, 0, NULL, NULL);
    for (uint32_t i = 1; i < nodes; i++) {
        dht_run(dht, 10);
        dht_start(dht, i, &bootstrap, NULL);
    }
    dht_run(dht, 2 * SETTLE_MS);
}

void scene_newcomer(const struct newcomer_scene *scene, struct newcomer_report *ret_report)
{
    const struct dht_options options = { .world = { .seed = scene->seed },
                                         .nodes = scene->nodes + scene->newcomers,
                                         .items_max = ITEMS_MAX,
                                         .check_least_s = NO_CHECKS_S };
    struct arrival arrival = { .dht = dht_new(&options), .values = scene->values };
    uint64_t *took_ms = xcalloc(scene->newcomers, sizeof(*took_ms));

    *ret_report = (struct newcomer_report){ .due = 0 };
    start_old(arrival.dht, scene->nodes);
    struct dht_put *puts = put_values(arrival.dht, scene->values);
    arrival.puts = puts;
    arrival.due = xcalloc(scene->values, sizeof(*arrival.due));
    dht_run(arrival.dht, 2 * SETTLE_MS);
    for (uint32_t i = 0; i < scene->newcomers; i++) {
        arrival.number = scene->nodes + i;
        took_ms[i] = arrive(&arrival, ret_report);
    }
    qsort(took_ms, scene->newcomers, sizeof(*took_ms), compare_times);
    ret_report->took_p50_ms = took_ms[scene->newcomers / 2];
    ret_report->took_most_ms = took_ms[scene->newcomers - 1];
    ret_report->messages /= scene->newcomers;
    free(took_ms);
    free(arrival.due);
    free(puts);
    dht_free(&arrival.dht);
}

/* ---- a class that starts again ---- */

static double sent_by_a_node(const struct dht *dht)
{
    return (double)world_sent_by_all(dht->world).datagrams / dht->options.nodes;
}

static void restart_all(struct dht *dht)
{
    struct snapshot *snapshots = xcalloc(dht->options.nodes, sizeof(*snapshots));

    for (uint32_t i = 0; i < dht->options.nodes; i++) {
        router_save(dht->nodes[i].router, world_now_ms(dht->world), &snapshots[i]);
        dht_kill(dht, i);
    }
    dht_run(dht, MINUTE_MS);
    for (uint32_t i = 0; i < dht->options.nodes; i++) {
        dht_start(dht, i, NULL, &snapshots[i]);
    }
    free(snapshots);
}

void scene_restart(const struct restart_scene *scene, struct restart_report *ret_report)
{
    const struct dht_options options = { .world = { .seed = scene->seed },
                                         .nodes = scene->nodes,
                                         .spread_ms = 1000,
                                         .items_max = ITEMS_MAX };
    struct dht *dht = dht_new(&options);

    *ret_report = (struct restart_report){ .lost = 0 };
    dht_start_all(dht, SETTLE_MS);
    struct dht_put *puts = put_values(dht, scene->values);
    dht_run(dht, 2 * HOUR_MS);
    double before = sent_by_a_node(dht);
    dht_run(dht, HOUR_MS);
    ret_report->calm_hour_datagrams = sent_by_a_node(dht) - before;
    restart_all(dht);
    before = sent_by_a_node(dht);
    for (uint32_t i = 0; i < HOUR_MS / SECOND_MS; i++) {
        double second = sent_by_a_node(dht);
        dht_run(dht, SECOND_MS);
        second = sent_by_a_node(dht) - second;
        if (second > ret_report->busiest_second) {
            ret_report->busiest_second = second;
        }
        if (i + 1 == MINUTE_MS / SECOND_MS) {
            ret_report->minute_datagrams = sent_by_a_node(dht) - before;
        }
    }
    ret_report->hour_datagrams = sent_by_a_node(dht) - before;
    for (uint32_t i = 0; i < scene->values; i++) {
        struct dht_get get = { .target = puts[i].target };
        dht_get(dht, dht_pick_live(dht), &get);
        ret_report->lost += !get.found;
    }
    free(puts);
    dht_free(&dht);
}
