/*
 * Networks of real routers on one virtual clock: joining, exact lookups among the dead, loss,
 * partition, restart. A seed that fails is printed by its test's name; run it again by
 * sim-dht --nodes N --seed S.
 */
#include "tests/sim/dht.h"

#include "libcommon/memory.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>

#define MINUTE_MS 60000u

static void assert_well(const struct dht *dht)
{
    if (dht->problem != NULL) {
        fail_msg("node %u: %s", dht->problem_node, dht->problem);
    }
}

static unsigned log2_ceiling(uint32_t number)
{
    unsigned bits = 0;

    while ((1u << bits) < number) {
        bits++;
    }
    return bits;
}

/* ---- lookups ---- */

static const struct network {
    const char *what;
    uint32_t nodes, spread_ms;
    uint64_t settle_ms;
    uint32_t dead_percent, loss_ppm, duplicate_ppm, reorder_ppm;
    const uint16_t *latency_ms;
    uint32_t lookups;
    uint32_t exact_permille, found_permille; /* at least */
    uint32_t check_every;
} networks[] = {
    { "two nodes", 2, 0, 1000, 0, 0, 0, 0, world_lan, 50, 1000, 1000, 1 },
    { "three nodes at once", 3, 0, 2000, 0, 0, 0, 0, world_lan, 50, 1000, 1000, 1 },
    { "a class of 20 at once", 20, 0, 2000, 0, 0, 0, 0, world_lan, 100, 1000, 1000, 1 },
    { "32 nodes at once, after a second", 32, 0, 1000, 0, 0, 0, 0, world_lan, 200, 1000, 1000, 1 },
    { "32 nodes over the internet", 32, 0, 5000, 0, 0, 0, 0, world_internet, 200, 1000, 1000, 1 },
    { "254 nodes in ten seconds", 254, 10000, 5000, 0, 0, 0, 0, world_lan, 500, 1000, 1000, 307 },
    { "32 nodes, 30 % killed", 32, 1000, 5000, 30, 0, 0, 0, world_lan, 200, 999, 999, 1 },
    { "500 nodes, 30 % killed", 500, 5000, 10000, 30, 0, 0, 0, world_lan, 500, 999, 999, 1009 },
    { "200 nodes, half killed", 200, 5000, 10000, 50, 0, 0, 0, world_lan, 500, 900, 970, 509 },
    { "64 nodes, 5 % loss, duplicates, reordering", 64, 1000, 60000, 0, 50000, 50000, 250000,
      world_lan, 300, 880, 980, 101 },
    { "64 nodes, 20 % loss", 64, 1000, 120000, 0, 200000, 50000, 250000, world_lan, 300, 0, 850,
      101 },
};

static void finds_the_closest(void **state)
{
    const struct network *row = *state;
    const struct dht_options options = { .world = { .seed = 7,
                                                    .latency_ms = row->latency_ms,
                                                    .loss_ppm = row->loss_ppm,
                                                    .duplicate_ppm = row->duplicate_ppm,
                                                    .reorder_ppm = row->reorder_ppm },
                                         .nodes = row->nodes,
                                         .spread_ms = row->spread_ms,
                                         .check_every = row->check_every };
    struct dht *dht = dht_new(&options);
    struct dht_report report;

    dht_start_all(dht, row->settle_ms);
    dht_kill_some(dht, row->dead_percent);
    dht_measure(dht, row->lookups, &report);
    assert_well(dht);
    assert_int_equal(report.unjoined, 0);
    if (report.exact * 1000 < row->exact_permille * row->lookups ||
        report.found * 1000 < row->found_permille * report.expected) {
        fail_msg("exact %u of %u, found %u of %u", report.exact, row->lookups,
                 (unsigned)report.found, (unsigned)report.expected);
    }
    assert_true(report.rounds_max <= log2_ceiling(row->nodes) + 4);
    assert_true(report.queries_max <= LOOKUP_QUERIES_MAX);
    dht_free(&dht);
}

/*
 * What replication on 20 nodes rests on, in a network that has just come up: lookups find exactly
 * the 20, and each of them knows the other 19 itself.
 */
static void the_twenty_closest_know_each_other(void **state)
{
    const struct dht_options options = {
        .world = { .seed = 8 }, .nodes = 1000, .spread_ms = 10000, .k = 20
    };
    struct dht *dht = dht_new(&options);
    struct dht_report report;
    struct dht_views views;

    (void)state;
    dht_start_all(dht, 5000);
    dht_measure_views(dht, 500, 20, &views);
    if ((uint64_t)views.complete * 1000 < (uint64_t)views.views * 999) {
        fail_msg("%u of %u know all 20", views.complete, views.views);
    }
    dht_kill_some(dht, 30);
    dht_measure(dht, 500, &report);
    if (report.exact * 1000 < 500 * 999) {
        fail_msg("exact %u of 500", report.exact);
    }
    dht_free(&dht);
}

static void a_key_looked_up_again_takes_one_round(void **state)
{
    const struct dht_options options = {
        .world = { .seed = 14 }, .nodes = 300, .spread_ms = 3000, .k = 20
    };
    struct dht *dht = dht_new(&options);
    struct dht_lookup first, again;
    uint32_t rounds = 0;

    (void)state;
    dht_start_all(dht, 5000);
    for (uint32_t i = 0; i < 50; i++) {
        struct node_id target = node_id_random(&dht->random);
        dht_look_up(dht, i, &target, &first);
        dht_look_up(dht, i, &target, &again);
        assert_true(again.exact);
        assert_int_equal(again.rounds, 1);
        rounds += first.rounds;
    }
    assert_true(rounds > 100);
    dht_free(&dht);
}

/* ---- joining ---- */

static double queries_a_join(uint32_t nodes)
{
    const struct dht_options options = { .world = { .seed = 3 },
                                         .nodes = nodes,
                                         .spread_ms = nodes * 20 };
    struct dht *dht = dht_new(&options);

    dht_start_all(dht, 5000);
    double queries = (double)(dht->traffic.queries + dht->traffic.resent) / nodes;
    dht_free(&dht);
    return queries;
}

/* JOB B22: no broadcast; the whole costs O(N log N). */
static void joining_costs_the_logarithm(void **state)
{
    (void)state;
    double small = queries_a_join(64), large = queries_a_join(256);

    /* log2 256 is 1.33 times log2 64; a broadcast would make it 4 times. */
    assert_true(large < small * 2);
    assert_true(large < 8 * 8 * 4);
}

static void one_seed_is_one_trace(void **state)
{
    uint64_t hashes[3];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        const struct dht_options options = {
            .world = { .seed = i == 2 ? 12 : 11, .loss_ppm = 20000, .reorder_ppm = 100000 },
            .nodes = 48,
            .spread_ms = 2000
        };
        struct dht *dht = dht_new(&options);
        struct dht_report report;
        dht_start_all(dht, 20000);
        dht_kill_some(dht, 20);
        dht_measure(dht, 50, &report);
        hashes[i] = world_hash(dht->world);
        dht_free(&dht);
    }
    assert_true(hashes[0] == hashes[1]);
    assert_true(hashes[0] != hashes[2]);
}

/* ---- restart ---- */

/* A node that was away while most it knew went comes back without a bootstrap node. */
static void a_snapshot_is_enough_to_rejoin(void **state)
{
    const struct dht_options options = {
        .world = { .seed = 5 }, .nodes = 100, .spread_ms = 1000, .check_every = 53
    };
    struct snapshot *snapshot = xcalloc(1, sizeof(*snapshot));
    struct dht *dht = dht_new(&options);
    struct dht_report report;

    (void)state;
    dht_start_all(dht, 10000);
    router_save(dht->nodes[42].router, world_now_ms(dht->world), snapshot);
    dht_kill(dht, 42);
    dht_kill_some(dht, 70);
    dht_run(dht, 30 * MINUTE_MS);
    dht_start(dht, 42, NULL, snapshot);
    dht_run(dht, 10000);
    assert_true(router_is_joined(dht->nodes[42].router));
    assert_true(router_view(dht->nodes[42].router).live > 0);
    dht_measure(dht, 200, &report);
    assert_int_equal(report.exact, 200);
    assert_well(dht);
    free(snapshot);
    dht_free(&dht);
}

/* However old the snapshot: what it names is asked, and few that are still there are enough. */
static void a_week_away_is_no_matter(void **state)
{
    const struct dht_options options = { .world = { .seed = 15 }, .nodes = 12, .spread_ms = 500 };
    struct snapshot *snapshot = xcalloc(1, sizeof(*snapshot));
    struct dht *dht = dht_new(&options);
    struct dht_lookup lookup;

    (void)state;
    dht_start_all(dht, 10000);
    router_save(dht->nodes[11].router, world_now_ms(dht->world), snapshot);
    dht_kill(dht, 11);
    for (uint32_t i = 0; i < 8; i++) {
        dht_kill(dht, i);
    }
    dht_run(dht, (uint64_t)7 * 24 * 60 * MINUTE_MS);
    dht_start(dht, 11, NULL, snapshot);
    dht_run(dht, 5000);
    assert_true(router_is_joined(dht->nodes[11].router));
    assert_int_equal(router_view(dht->nodes[11].router).live, 3);
    struct node_id target = node_id_random(&dht->random);
    dht_look_up(dht, 11, &target, &lookup);
    assert_true(lookup.exact);
    free(snapshot);
    dht_free(&dht);
}

/* All of a class restart at once with their snapshots, as after a power cut. */
static void a_class_comes_back_after_a_power_cut(void **state)
{
    const struct dht_options options = {
        .world = { .seed = 6 }, .nodes = 30, .spread_ms = 500, .check_every = 1
    };
    struct snapshot *snapshots = xcalloc(options.nodes, sizeof(*snapshots));
    struct dht *dht = dht_new(&options);
    struct dht_report report;

    (void)state;
    dht_start_all(dht, 5000);
    for (uint32_t i = 0; i < options.nodes; i++) {
        router_save(dht->nodes[i].router, world_now_ms(dht->world), &snapshots[i]);
        dht_kill(dht, i);
    }
    dht_run(dht, MINUTE_MS);
    uint64_t before = (dht->traffic.queries + dht->traffic.resent);
    for (uint32_t i = 0; i < options.nodes; i++) {
        dht_start(dht, i, NULL, &snapshots[i]);
    }
    dht_run(dht, 5000);
    assert_true(((dht->traffic.queries + dht->traffic.resent) - before) / options.nodes < 300);
    dht_measure(dht, 200, &report);
    assert_int_equal(report.exact, 200);
    assert_well(dht);
    free(snapshots);
    dht_free(&dht);
}

/* ---- partition ---- */

/* THREATS 2.27, I10: cut in two halves for two hours, then exact again within a quarter of an hour.
 */
static void a_healed_partition_grows_together(void **state)
{
    const struct dht_options options = {
        .world = { .seed = 9 }, .nodes = 60, .spread_ms = 1000, .check_every = 211
    };
    struct dht *dht = dht_new(&options);
    struct dht_report report;

    (void)state;
    dht_start_all(dht, 10000);
    for (uint32_t i = 0; i < options.nodes; i++) {
        world_set_group(dht->world, i, i % 2);
    }
    dht_run(dht, 120 * MINUTE_MS);
    for (uint32_t i = 0; i < options.nodes; i++) {
        world_set_group(dht->world, i, 0);
    }
    dht_run(dht, 15 * MINUTE_MS);
    dht_measure(dht, 300, &report);
    assert_true(report.exact * 100 >= 300 * 99);
    assert_well(dht);
    dht_free(&dht);
}

/* A cable pulled for an hour: nobody is forgotten, and plugging it in is enough. */
static void a_node_cut_off_forgets_nobody(void **state)
{
    const struct dht_options options = {
        .world = { .seed = 10 }, .nodes = 20, .spread_ms = 500, .check_every = 1
    };
    struct dht *dht = dht_new(&options);
    struct dht_lookup lookup;

    (void)state;
    dht_start_all(dht, 5000);
    size_t contacts = router_view(dht->nodes[7].router).contacts;
    world_set_group(dht->world, 7, 1);
    dht_run(dht, 60 * MINUTE_MS);
    assert_int_equal(router_view(dht->nodes[7].router).contacts, contacts);
    assert_int_equal(router_view(dht->nodes[7].router).live, 0);
    uint32_t published;
    (void)router_sorted(dht->nodes[7].router, ROUTING_V4, &published);
    assert_int_equal(published, contacts);
    world_set_group(dht->world, 7, 0);
    dht_run(dht, 2 * MINUTE_MS);
    struct node_id target = node_id_random(&dht->random);
    dht_look_up(dht, 7, &target, &lookup);
    assert_true(lookup.exact);
    assert_well(dht);
    dht_free(&dht);
}

/* The dead leave the table, so that later lookups are not slowed by them. */
static void the_dead_are_found_out(void **state)
{
    const struct dht_options options = { .world = { .seed = 13 }, .nodes = 40, .spread_ms = 500 };
    struct dht *dht = dht_new(&options);
    struct dht_report report;

    (void)state;
    dht_start_all(dht, 5000);
    dht_kill_some(dht, 30);
    dht_run(dht, 40 * MINUTE_MS);
    dht_measure(dht, 200, &report);
    assert_int_equal(report.exact, 200);
    assert_true(report.elapsed_p95_ms < 200);
    dht_free(&dht);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_twenty_closest_know_each_other),
        cmocka_unit_test(a_key_looked_up_again_takes_one_round),
        cmocka_unit_test(joining_costs_the_logarithm),
        cmocka_unit_test(one_seed_is_one_trace),
        cmocka_unit_test(a_snapshot_is_enough_to_rejoin),
        cmocka_unit_test(a_week_away_is_no_matter),
        cmocka_unit_test(a_class_comes_back_after_a_power_cut),
        cmocka_unit_test(a_healed_partition_grows_together),
        cmocka_unit_test(a_node_cut_off_forgets_nobody),
        cmocka_unit_test(the_dead_are_found_out),
    };

    return RUN_ROWS(networks, finds_the_closest) + cmocka_run_group_tests(tests, NULL, NULL);
}
