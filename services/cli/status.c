/* lb-admin status and wait. */
#include "libcommon/clock.h"
#include "libcommon/config.h"
#include "proto/littlebird/v1/node.pb-c.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/json.h"
#include "services/cli/processes.h"
#include "services/cli/session.h"
#include "services/cli/table.h"
#include "services/cli/units.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WATCH_PAUSE_S   1
#define WAIT_PAUSE_MS   50
#define WAIT_DEFAULT_MS 60000u
#define API_TIMEOUT_MS  2000u

/* ---- status as a table ---- */

static void format_name(const struct process *row, char ret_name[32])
{
    if (row->instance == 0)
        snprintf(ret_name, 32, "%s", service_text(row->service));
    else
        snprintf(ret_name, 32, "%s@%u", service_text(row->service), row->instance);
}

static void add_row(struct table *table, const struct process *row)
{
    char name[32], text[UNITS_SIZE];

    format_name(row, name);
    table_add(table, "%s", name);
    table_add(table, "%s", service_state_text(row->state));
    if (row->pid != 0) {
        table_add(table, "%u", row->pid);
        table_add(table, "%s", units_duration(row->since_ms / 1000, text));
    } else {
        table_add(table, "-");
        table_add(table, "-");
    }
    table_add(table, "%u", row->restarts);
    if (row->pid != 0) {
        table_add(table, "%.1f %%", row->cpu_percent);
        table_add(table, "%s", units_bytes(row->memory_bytes, text));
    } else {
        table_add(table, "-");
        table_add(table, "-");
    }
    table_add(table, "%u", row->queue);
    table_add(table, "%s", row->note);
}

static void print_table(const struct processes *self)
{
    static const struct table_column columns[] = { { "SERVICE", false }, { "STATE", false },
                                                   { "PID", true },      { "SINCE", true },
                                                   { "RESTARTS", true }, { "CPU", true },
                                                   { "MEMORY", true },   { "QUEUE", true },
                                                   { "NOTE", false },    { NULL, false } };
    struct table *table = table_new(columns);
    char id[NODE_ID_TEXT_SIZE] = "not known yet";

    if (self->has_node_id)
        node_id_format(&self->node_id, id);
    printf("littlebird %s  node %s  %s\n", LB_VERSION, id, level_text(self->level));
    for (size_t i = 0; i < self->count; i++)
        add_row(table, &self->rows[i]);
    table_print(table, stdout);
    table_free(&table);
}

/* ---- status as JSON ---- */

static json_t *json_of_counters(const struct status_slot *slot)
{
    json_t *counters = json_object();
    char name[STATUS_NAME_SIZE];

    for (int i = 0; i < STATUS_COUNTERS_MAX && slot->counters[i].name[0] != '\0'; i++) {
        memcpy(name, slot->counters[i].name, sizeof name);
        name[sizeof name - 1] = '\0';
        json_object_set_new(counters, name,
                            json_integer((json_int_t)atomic_load(&slot->counters[i].value)));
    }
    return counters;
}

static json_t *json_of_row(const struct process *row)
{
    return json_pack("{s:s, s:i, s:s, s:I, s:I, s:I, s:f, s:I, s:I, s:I, s:i, s:I, s:o, s:o}",
                     "service", service_text(row->service), "instance", (int)row->instance, "state",
                     service_state_text(row->state), "pid", (json_int_t)row->pid, "since_ms",
                     (json_int_t)row->since_ms, "restarts", (json_int_t)row->restarts,
                     "cpu_percent", row->cpu_percent, "memory_bytes", (json_int_t)row->memory_bytes,
                     "queue", (json_int_t)row->queue, "backlog_ms", (json_int_t)row->backlog_ms,
                     "last_exit", (int)row->last_exit, "heartbeat_age_ms",
                     (json_int_t)row->heartbeat_age_ms, "note", json_text(row->note), "counters",
                     json_of_counters(row->slot));
}

static void print_json(const struct processes *self)
{
    char id[NODE_ID_TEXT_SIZE] = "";
    json_t *services = json_array();

    if (self->has_node_id)
        node_id_format(&self->node_id, id);
    for (size_t i = 0; i < self->count; i++)
        json_array_append_new(services, json_of_row(&self->rows[i]));
    json_print(json_pack("{s:s, s:s, s:s, s:o}", "version", LB_VERSION, "node_id", id, "level",
                         level_text(self->level), "services", services));
}

/* ---- status ---- */

/* The level is the exit code. */
static int show_once(const struct args *args, const struct paths *paths)
{
    struct processes processes;
    lb_err err = processes_read(&processes, paths);
    int code;

    if (err != LB_OK && err != LB_NOT_FOUND) {
        args_failed(args, "cannot read %s/status.shm: %s", paths->run_folder, lb_err_text(err));
        return (int)LEVEL_NOT_RUNNING;
    }
    if (processes.level == LEVEL_NOT_RUNNING)
        args_failed(args, "the node is not running (%s)", paths->run_folder);
    else if (args_has(args, "json"))
        print_json(&processes);
    else
        print_table(&processes);
    code = (int)processes.level;
    processes_done(&processes);
    return code;
}

int command_status(const struct args *args)
{
    static const struct timespec pause = { .tv_sec = WATCH_PAUSE_S };
    bool redraw = isatty(STDOUT_FILENO) && !args_has(args, "json");
    struct paths paths;
    int code;

    if (session_paths(args, &paths) != EXIT_DONE)
        return (int)LEVEL_NOT_RUNNING; /* 1 would say degraded */
    if (!args_has(args, "watch"))
        return show_once(args, &paths);
    session_catch_interrupt();
    do {
        if (redraw)
            printf("\033[H\033[J");
        code = show_once(args, &paths);
        if (fflush(stdout) != 0)
            break; /* the reader is gone */
        nanosleep(&pause, NULL);
    } while (!session_interrupted());
    return code;
}

/* ---- wait ---- */

/* On failure *ret_why says what is missing. */
static bool processes_serve(const struct paths *paths, char ret_why[PROCESSES_WHY_SIZE])
{
    enum readiness readiness = processes_readiness(paths, 0, ret_why);

    return readiness == READINESS_READY || readiness == READINESS_DEGRADED;
}

static bool api_answers(const struct paths *paths)
{
    Littlebird__V1__GetServerInfoRequest request = LITTLEBIRD__V1__GET_SERVER_INFO_REQUEST__INIT;
    struct client_call call = { .method = "NodeService/GetServerInfo",
                                .request = &request.base,
                                .response = &littlebird__v1__get_server_info_response__descriptor,
                                .timeout_ms = API_TIMEOUT_MS };
    struct client *client = client_new(paths, NULL);
    const void *response;
    lb_err err = client_call(client, &call, &response);

    client_free(&client);
    return err == LB_OK;
}

int command_wait(const struct args *args)
{
    static const struct timespec pause = { .tv_nsec = WAIT_PAUSE_MS * 1000000L };
    const char *text = args_value(args, "timeout");
    uint64_t timeout_ms = WAIT_DEFAULT_MS, until_ms;
    char why[PROCESSES_WHY_SIZE];
    struct paths paths;
    int code;

    if (text != NULL && config_parse_time(text, &timeout_ms) != LB_OK)
        return args_usage(args, "--timeout needs a time such as 30s or 5 min, not '%s'", text);
    code = session_paths(args, &paths);
    if (code != EXIT_DONE)
        return code;
    until_ms = clock_monotonic_ms() + timeout_ms;
    while (!processes_serve(&paths, why) || !api_answers(&paths)) {
        if (clock_monotonic_ms() >= until_ms)
            return args_failed(args, "not ready: %s", why);
        nanosleep(&pause, NULL);
    }
    return EXIT_DONE;
}
