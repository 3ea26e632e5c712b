/*
 * The scenes of sim-dht in small: nothing is lost, what is due is handed over, nobody storms.
 */
#include "tests/sim/scenes.h"

#include "tests/libcommon/cmocka_row.h"

/* ---- values ---- */

static const struct values_row {
    const char *what;
    uint32_t nodes, values, kill_percent, churn_percent, hours;
} values_rows[] = {
    { "30 % killed at once: every value is there at once", 100, 200, 30, 0, 0 },
    { "half killed at once: every value is there after healing", 100, 200, 50, 0, 0 },
    { "fewer nodes than replicas, a third killed", 12, 50, 33, 0, 0 },
    { "30 % of the nodes leave and come each hour", 60, 100, 0, 30, 3 },
};

static void no_value_is_lost(void **state)
{
    const struct values_row *row = *state;
    const struct values_scene scene = { .seed = 21,
                                        .nodes = row->nodes,
                                        .values = row->values,
                                        .kill_percent = row->kill_percent,
                                        .churn_percent = row->churn_percent,
                                        .hours = row->hours };
    struct values_report report;

    scene_values(&scene, &report);
    assert_true(report.acknowledged_least >= (row->nodes < SPREAD_K ? row->nodes : SPREAD_K));
    assert_int_equal(report.lost_at_once, 0);
    assert_int_equal(report.lost, 0);
    if (row->kill_percent > 0) {
        uint32_t left = row->nodes - row->nodes * row->kill_percent / 100;
        assert_true(report.whole_least >= (left < SPREAD_K ? left : SPREAD_K));
        assert_true(report.whole_ms <= 60u * 60000);
    }
    if (row->hours > 0) {
        assert_true(report.lowest >= SPREAD_K / 2);
        assert_true(report.datagrams_hour < report.republish_datagrams_hour);
    }
}

/* ---- newcomers ---- */

static void a_newcomer_gets_what_is_due_and_nothing_else(void **state)
{
    const struct newcomer_scene scene = { .seed = 22, .nodes = 150, .values = 300, .newcomers = 8 };
    struct newcomer_report report;

    (void)state;
    scene_newcomer(&scene, &report);
    assert_true(report.due > 100);
    assert_int_equal(report.made, report.due);
    assert_int_equal(report.undue, 0);
    assert_true(report.took_most_ms < 30000);
    assert_true(report.puts < report.due + report.due / 10);
}

/* ---- a class that starts again ---- */

static void thirty_nodes_that_start_at_once_make_no_storm(void **state)
{
    const struct restart_scene scene = { .seed = 23, .nodes = 30, .values = 300 };
    struct restart_report report;

    (void)state;
    scene_restart(&scene, &report);
    assert_int_equal(report.lost, 0);
    assert_true(report.busiest_second < 500);
    assert_true(report.minute_datagrams < 1000);
    assert_true(report.hour_datagrams < 2 * report.calm_hour_datagrams + 1000);
}

/* ---- floods ---- */

static const struct flood_row {
    const char *what;
    uint32_t sources;
    bool is_public;
} flood_rows[] = {
    { "ten times the capacity from one address leaves others 90 %", 1, true },
    { "ten times the capacity from eight addresses does, too", 8, true },
    { "ten times the capacity from a neighbour in the room does, too", 1, false },
};

static void others_are_answered(void **state)
{
    const struct flood_row *row = *state;
    const struct flood_scene scene = { .seed = 24,
                                       .nodes = 20,
                                       .capacity_s = 2000,
                                       .times = 10,
                                       .sources = row->sources,
                                       .is_shaped = true,
                                       .is_public = row->is_public };
    struct flood_report report;

    scene_flood(&scene, &report);
    assert_int_equal(report.calm_answered, report.calm_asked);
    assert_true(report.answered * 10 >= report.asked * 9);
}

/* ---- lookups among liars ---- */

static const struct liars_row {
    const char *what;
    enum dht_role role;
    uint32_t hostile_percent;
    uint32_t found_permille; /* of the true closest honest nodes, at least */
} liars_rows[] = {
    { "one of five answers pings only", ROLE_SILENT, 20, 999 },
    { "one of five names its friends alone", ROLE_FRIENDS, 20, 950 },
    { "one of five names nodes that do not exist", ROLE_MADE_UP, 20, 900 },
    { "one of a hundred takes whatever id is asked for", ROLE_CLAIMING, 1, 200 },
};

static void the_honest_are_found(void **state)
{
    const struct liars_row *row = *state;
    const struct dht_options options = { .world = { .seed = 25 },
                                         .nodes = 300,
                                         .spread_ms = 3000,
                                         .hostile_ppm = row->hostile_percent * 10000,
                                         .hostile_role = row->role };
    struct dht *dht = dht_new(&options);
    struct dht_report report;

    dht_start_all(dht, 60000);
    dht_measure(dht, 200, &report);
    if (report.found * 1000 < (uint64_t)row->found_permille * report.expected) {
        fail_msg("found %u of %u", (unsigned)report.found, (unsigned)report.expected);
    }
    assert_true(report.queries_max <= LOOKUP_QUERIES_MAX);
    dht_free(&dht);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_newcomer_gets_what_is_due_and_nothing_else),
        cmocka_unit_test(thirty_nodes_that_start_at_once_make_no_storm),
    };

    return RUN_ROWS(values_rows, no_value_is_lost) + RUN_ROWS(flood_rows, others_are_answered) +
           RUN_ROWS(liars_rows, the_honest_are_found) + cmocka_run_group_tests(tests, NULL, NULL);
}
