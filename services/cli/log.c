/* lb-admin log: how much the services log, at run time. */
#include "libcommon/log.h"
#include "libcommon/clock.h"
#include "libcommon/config.h"
#include "libcommon/orders.h"
#include "proto/littlebird/v1/node.pb-c.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/json.h"
#include "services/cli/processes.h"
#include "services/cli/session.h"
#include "services/cli/table.h"
#include "services/cli/target.h"
#include "services/cli/units.h"

#include <stdio.h>
#include <string.h>

/* ---- what is set ---- */

/* "debug", "as configured"; *ret_left_s: for how long; 0: for good. */
static const char *level_of(const struct process *row, uint64_t *ret_left_s)
{
    uint32_t level = orders_log_level(row->slot, clock_monotonic_ms());

    *ret_left_s = row->log_left_ms > 0 ? (row->log_left_ms + 999) / 1000 : 0;
    return level == 0 ? "as configured" : log_level_text((enum log_level)(level - 1));
}

static json_t *json_of_levels(const struct processes *processes)
{
    json_t *list = json_array();

    for (size_t i = 0; i < processes->count; i++) {
        const struct process *row = &processes->rows[i];
        uint64_t left_s;
        const char *level = level_of(row, &left_s);

        json_array_append_new(list,
                              json_pack("{s:s, s:i, s:s, s:I}", "service",
                                        service_text(row->service), "instance", (int)row->instance,
                                        "level", level, "left_s", (json_int_t)left_s));
    }
    return json_pack("{s:o}", "levels", list);
}

static void print_levels(const struct processes *processes)
{
    static const struct table_column columns[] = {
        { "SERVICE", false }, { "LEVEL", false }, { "LEFT", false }, { NULL, false }
    };
    struct table *table = table_new(columns);

    for (size_t i = 0; i < processes->count; i++) {
        const struct process *row = &processes->rows[i];
        char name[TARGET_NAME_SIZE], left[UNITS_SIZE] = "";
        uint64_t left_s;
        const char *level = level_of(row, &left_s);

        target_format(row->service, row->instance, name);
        if (left_s > 0)
            units_duration(left_s, left);
        table_add(table, "%s", name);
        table_add(table, "%s", level);
        table_add(table, "%s", left);
    }
    table_print(table, stdout);
    table_free(&table);
}

static int list(const struct args *args)
{
    struct processes processes;
    struct paths paths;
    int code = session_paths(args, &paths);
    lb_err err;

    if (code != EXIT_DONE)
        return code;
    err = processes_read(&processes, &paths);
    if (err != LB_OK && err != LB_NOT_FOUND) {
        code = args_failed(args, "cannot read %s/status.shm: %s", paths.run_folder,
                           processes_err_text(err));
    } else if (processes.level == LEVEL_NOT_RUNNING) {
        (void)args_failed(args, "the node is not running (%s)", paths.run_folder);
        code = EXIT_NOT_RUNNING;
    } else if (args_has(args, "json")) {
        json_print(json_of_levels(&processes));
    } else {
        print_levels(&processes);
    }
    processes_done(&processes);
    return code;
}

/* ---- setting it ---- */

static bool parse_level(const char *text, Littlebird__V1__SetLogLevelRequest *request)
{
    enum log_level level;

    if (strcmp(text, "default") == 0) {
        request->level = LITTLEBIRD__V1__SET_LOG_LEVEL_REQUEST__LEVEL__LEVEL_UNSPECIFIED;
        return true;
    }
    if (log_level_parse(text, &level) != LB_OK)
        return false;
    request->level = (Littlebird__V1__SetLogLevelRequest__Level)(level + 1);
    return true;
}

static int parse(const struct args *args, Littlebird__V1__SetLogLevelRequest *request,
                 bool *ret_all)
{
    bool has_instance = false;
    uint64_t instance = 0, time_ms = 0;
    enum service service = SERVICE_SUPERVISOR;

    *ret_all = strcmp(args->words[0], "all") == 0;
    if (!*ret_all && !target_parse(args->words[0], &service, &has_instance, &instance))
        return args_usage(
            args,
            "'%.60s' is no service; services are supervisor, routing, transport, "
            "storage, swarm, signer, coordinator, member and gateway, with @N for one "
            "instance, or all",
            args->words[0]);
    if (args->words_count < 2 || !parse_level(args->words[1], request))
        return args_usage(args, "the level is error, warn, info, debug or default");
    if (args->words_count > 2 && (config_parse_time(args->words[2], &time_ms) != LB_OK ||
                                  time_ms < 1000 || time_ms / 1000 > UINT32_MAX))
        return args_usage(args, "'%.60s' is no time such as 30s, 10 min or 2h", args->words[2]);
    request->service = (char *)(uintptr_t)service_text(service);
    request->seconds = (uint32_t)(time_ms / 1000);
    if (has_instance) {
        request->which_case = LITTLEBIRD__V1__SET_LOG_LEVEL_REQUEST__WHICH_INSTANCE;
        request->instance = (uint32_t)instance;
    }
    return EXIT_DONE;
}

static int set(struct session *session, const Littlebird__V1__SetLogLevelRequest *request)
{
    struct client_call call = { .method = "NodeService/SetLogLevel",
                                .request = &request->base,
                                .response = &littlebird__v1__set_log_level_response__descriptor,
                                .timeout_ms = SESSION_TIMEOUT_MS };
    const void *response;

    return session_call(session, &call, &response);
}

/* Those that the node has: what belongs to private networks alone may not be there. */
static int set_all(struct session *session, const struct args *args,
                   Littlebird__V1__SetLogLevelRequest *request)
{
    bool has[SERVICES_COUNT];
    struct processes processes;
    struct paths paths;
    int code = session_paths(args, &paths);

    for (int i = 0; i < SERVICES_COUNT; i++)
        has[i] = !service_is_optional((enum service)i);
    if (code == EXIT_DONE && processes_read(&processes, &paths) == LB_OK) {
        for (size_t i = 0; i < processes.count; i++)
            has[processes.rows[i].service] = true;
        processes_done(&processes);
    }
    for (int i = 0; i < SERVICES_COUNT && code == EXIT_DONE; i++) {
        request->service = (char *)(uintptr_t)service_text((enum service)i);
        if (has[i])
            code = set(session, request);
    }
    return code;
}

int command_log(const struct args *args)
{
    Littlebird__V1__SetLogLevelRequest request = LITTLEBIRD__V1__SET_LOG_LEVEL_REQUEST__INIT;
    struct session session;
    bool all = false;
    int code;

    if (args->words_count == 0)
        return list(args);
    code = parse(args, &request, &all);
    if (code == EXIT_DONE)
        code = session_open(&session, args);
    if (code != EXIT_DONE)
        return code;
    code = all ? set_all(&session, args, &request) : set(&session, &request);
    session_close(&session);
    return code;
}
