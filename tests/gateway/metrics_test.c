/* What Prometheus reads, drawn from a status page: a row is a state of the page and a line of it.
 */
#include "services/gateway/metrics.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_MS  1000000u
#define WALL_MS 1700000000500u

static struct status_page memory;
static const struct page page = { .memory = &memory, .size = sizeof(memory) };
static const struct node_id id = { .bytes = { 0xab, 1 } };

static struct status_slot *slot(enum service service, unsigned instance)
{
    return status_page_slot(&page, service, instance);
}

/* A node that is well, with two transport workers. */
static void draw(void)
{
    memset(&memory, 0, sizeof(memory));
    for (int service = 0; service < SERVICES_COUNT; service++) {
        struct status_slot *one = slot((enum service)service, 0);

        *one = (struct status_slot){ .pid = 100,
                                     .state = STATE_READY,
                                     .since_ms = NOW_MS - 60250,
                                     .heartbeat_ms = NOW_MS - 400,
                                     .cpu_us = 1500000,
                                     .memory_bytes = 4096 };
    }
    *slot(SERVICE_TRANSPORT, 1) = *slot(SERVICE_TRANSPORT, 0);
    status_page_set_active(&page, SERVICE_TRANSPORT, 2);
}

/* One change of it. */
static void well(void)
{
}

static void count_packets(void)
{
    status_counter_set(status_slot_counter(slot(SERVICE_TRANSPORT, 0), "packets_in"), 7);
    status_counter_set(status_slot_counter(slot(SERVICE_TRANSPORT, 1), "packets_in"), 5);
}

static void count_methods(void)
{
    status_counter_set(status_slot_counter(slot(SERVICE_TRANSPORT, 0), "queries_ping"), 3);
    status_counter_set(status_slot_counter(slot(SERVICE_TRANSPORT, 0), "queries_get_peers"), 4);
}

static void measure_a_commit(void)
{
    status_counter_set(status_slot_counter(slot(SERVICE_STORAGE, 0), "commit_us"), 2500);
}

static void count_most(void)
{
    status_counter_set(status_slot_counter(slot(SERVICE_SWARM, 0), "sent_bytes"), UINT64_MAX);
}

static void name_nothing_known(void)
{
    status_counter_set(status_slot_counter(slot(SERVICE_SWARM, 0), "odd\"name"), 1);
}

static void fail_storage(void)
{
    struct status_slot *one = slot(SERVICE_STORAGE, 0);

    one->state = STATE_FAILED;
    one->pid = 0;
    one->restarts = 5;
}

static void be_no_coordinator(void)
{
    status_slot_clear(slot(SERVICE_COORDINATOR, 0));
}

static void degrade_routing(void)
{
    slot(SERVICE_ROUTING, 0)->state = STATE_DEGRADED;
}

static void hang_swarm(void)
{
    slot(SERVICE_SWARM, 0)->heartbeat_ms = NOW_MS - 11000;
    slot(SERVICE_SWARM, 0)->queue = 12;
    slot(SERVICE_SWARM, 0)->backlog_ms = 9050;
}

static const struct line_row {
    const char *what;
    void (*change)(void);
    const char *line; /* "!": it is not there */
} rows[] = {
    { "the version", well, "littlebird_build_info{version=\"" LB_VERSION "\"} 1" },
    { "the node's id", well,
      "littlebird_node_info{node_id=\"ab01000000000000000000000000000000000000\"} 1" },
    { "a node that is well is ready", well, "littlebird_node_ready 1" },
    { "and not degraded", well, "littlebird_node_degraded 0" },
    { "one that misses something is ready", degrade_routing, "littlebird_node_ready 1" },
    { "and degraded", degrade_routing, "littlebird_node_degraded 1" },
    { "without storage it is not ready", fail_storage, "littlebird_node_ready 0" },
    { "workers in use", well, "littlebird_active_workers{service=\"transport\"} 2" },
    { "one alone, where nothing is said", well, "littlebird_active_workers{service=\"swarm\"} 1" },
    { "a coordinator's", well, "littlebird_active_workers{service=\"coordinator\"} 1" },
    { "which other nodes have not", be_no_coordinator, "!service=\"coordinator\"" },
    { "and are ready without", be_no_coordinator, "littlebird_node_ready 1" },
    { "each worker is up", well, "littlebird_service_up{service=\"transport\",worker=\"1\"} 1" },
    { "what failed is not", fail_storage,
      "littlebird_service_up{service=\"storage\",worker=\"0\"} 0" },
    { "its restarts", fail_storage,
      "littlebird_service_restarts_total{service=\"storage\",worker=\"0\"} 5" },
    { "its state", fail_storage,
      "littlebird_service_state{service=\"storage\",worker=\"0\",state=\"failed\"} 1" },
    { "and those it is not in", fail_storage,
      "littlebird_service_state{service=\"storage\",worker=\"0\",state=\"ready\"} 0" },
    { "without a process there is no start", fail_storage,
      "!littlebird_service_start_time_seconds{service=\"storage\"" },
    { "when it started", well,
      "littlebird_service_start_time_seconds{service=\"swarm\",worker=\"0\"} 1699999940.250" },
    { "what hangs is not up", hang_swarm,
      "littlebird_service_up{service=\"swarm\",worker=\"0\"} 0" },
    { "for how long", hang_swarm,
      "littlebird_service_heartbeat_age_seconds{service=\"swarm\",worker=\"0\"} 11.000" },
    { "what waits for it", hang_swarm,
      "littlebird_service_queued_requests{service=\"swarm\",worker=\"0\"} 12" },
    { "and how long", hang_swarm,
      "littlebird_service_oldest_request_seconds{service=\"swarm\",worker=\"0\"} 9.050" },
    { "processor time", well,
      "littlebird_service_cpu_seconds_total{service=\"gateway\",worker=\"0\"} 1.500000" },
    { "memory", well,
      "littlebird_service_resident_memory_bytes{service=\"gateway\",worker=\"0\"} 4096" },
    { "a counter", count_packets,
      "littlebird_udp_packets_received_total{service=\"transport\",worker=\"0\"} 7" },
    { "of each worker", count_packets,
      "littlebird_udp_packets_received_total{service=\"transport\",worker=\"1\"} 5" },
    { "a label of a family", count_methods,
      "littlebird_dht_queries_received_total{service=\"transport\",worker=\"0\",method=\"ping\"} "
      "3" },
    { "and another", count_methods,
      "littlebird_dht_queries_received_total{service=\"transport\",worker=\"0\",method=\"get_"
      "peers\"} 4" },
    { "microseconds become seconds", measure_a_commit,
      "littlebird_storage_last_commit_seconds{service=\"storage\",worker=\"0\"} 0.002500" },
    { "as large as it gets", count_most,
      "littlebird_swarm_sent_bytes_total{service=\"swarm\",worker=\"0\"} 18446744073709551615" },
    { "what has no name yet, cut where it is no name", name_nothing_known,
      "littlebird_unnamed_counter{service=\"swarm\",worker=\"0\",name=\"odd\"} 1" },
    { "names that are known are not there", count_packets, "!littlebird_unnamed_counter{" },
};

static bool has_line(const char *text, const char *line)
{
    size_t size = strlen(line);

    for (const char *at = text; (at = strstr(at, line)) != NULL; at++) {
        if ((at == text || at[-1] == '\n') && at[size] == '\n')
            return true;
    }
    return false;
}

static char *render(void)
{
    const struct view view = { .status = &page, .now_ms = NOW_MS, .node_id = &id };
    size_t size = 0;
    char *text = metrics_render(&view, WALL_MS, &size);

    assert_int_equal(strlen(text), size);
    return text;
}

static void line(void **state)
{
    const struct line_row *row = *state;
    char *text;

    draw();
    row->change();
    text = render();
    if (row->line[0] == '!')
        assert_null(strstr(text, row->line + 1));
    else if (!has_line(text, row->line))
        fail_msg("not there: %s\n%s", row->line, text);
    free(text);
}

/* Each family has one HELP and one TYPE, right before its samples, and no sample stands elsewhere.
 */
static void families_stand_together(void **state)
{
    char *text, *rest, *row, family[128] = "";
    unsigned families = 0;

    (void)state;
    draw();
    count_methods();
    text = render();
    for (char *at = text; (row = strtok_r(at, "\n", &rest)) != NULL; at = NULL) {
        char name[128] = "";

        if (strncmp(row, "# HELP ", 7) == 0) {
            char again[160];

            assert_int_equal(sscanf(row + 7, "%127s", family), 1);
            snprintf(again, sizeof(again), "# HELP %s ", family);
            assert_null(strstr(rest, again));
            families++;
            continue;
        }
        if (strncmp(row, "# TYPE ", 7) == 0)
            assert_int_equal(sscanf(row + 7, "%127s", name), 1);
        else
            snprintf(name, sizeof(name), "%.*s", (int)strcspn(row, "{ "), row);
        assert_string_equal(name, family);
    }
    assert_true(families > 80);
    free(text);
}

static void without_an_id(void **state)
{
    const struct view view = { .status = &page, .now_ms = NOW_MS };
    size_t size;
    char *text;

    (void)state;
    draw();
    text = metrics_render(&view, WALL_MS, &size);
    assert_null(strstr(text, "littlebird_node_info{"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_stand_together),
        cmocka_unit_test(without_an_id),
    };

    return RUN_ROWS(rows, line) + cmocka_run_group_tests(tests, NULL, NULL);
}
