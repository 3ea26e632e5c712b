/* lb-admin status */
#include "libcommon/bytes.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/json.h"
#include "services/cli/processes.h"
#include "services/cli/session.h"
#include "services/cli/status_text.h"
#include "services/cli/troubles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WATCH_PAUSE_S   1
#define DOCUMENT_SCHEMA 1 /* of --json; it grows when a field changes its meaning or goes */

/* ---- as JSON: the fields are documented in README.md ---- */

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

static json_t *json_of_log(const struct process *row)
{
    if (row->log_level == 0)
        return json_null();
    return json_pack("{s:s, s:I}", "level", log_level_text((enum log_level)(row->log_level - 1)),
                     "left_ms", (json_int_t)row->log_left_ms);
}

static json_t *json_of_row(const struct process *row)
{
    return json_pack("{s:s, s:i, s:s, s:I, s:I, s:I, s:f, s:I, s:I, s:s, s:I, s:I, s:i, s:I, s:o, "
                     "s:o, s:o, s:o}",
                     "service", service_text(row->service), "instance", (int)row->instance, "state",
                     service_state_text(row->state), "pid", (json_int_t)row->pid, "since_ms",
                     (json_int_t)row->since_ms, "restarts", (json_int_t)row->restarts,
                     "cpu_percent", row->cpu_percent, "cpu_ms", (json_int_t)row->cpu_ms,
                     "memory_bytes", (json_int_t)row->memory_bytes, "memory_kind",
                     row->memory_is_shared_out ? "pss" : "rss", "queue", (json_int_t)row->queue,
                     "backlog_ms", (json_int_t)row->backlog_ms, "last_exit", (int)row->last_exit,
                     "heartbeat_age_ms", (json_int_t)row->heartbeat_age_ms, "listens",
                     json_text(row->listens), "log", json_of_log(row), "note", json_text(row->note),
                     "counters", json_of_counters(row->slot));
}

static json_t *json_of_troubles(const struct troubles *troubles)
{
    json_t *list = json_array();

    for (size_t i = 0; i < troubles->count; i++) {
        const struct trouble *trouble = &troubles->list[i];

        json_array_append_new(
            list, json_pack("{s:s, s:o, s:o}", "weight",
                            trouble->weight == TROUBLE_CRITICAL ? "critical" : "warning", "what",
                            json_text(trouble->what), "advice", json_text(trouble->advice)));
    }
    return list;
}

static json_t *json_of_coordinators(const struct processes *self)
{
    json_t *list = json_array();

    for (size_t i = 0; i < self->coordinators_count; i++)
        json_array_append_new(list, json_text(self->coordinators[i]));
    return list;
}

static json_t *json_of_network(const struct processes *self)
{
    char id[2 * NETWORK_ID_SIZE + 1];

    if (!self->is_member)
        return json_null();
    hex_encode(self->identity.network, NETWORK_ID_SIZE, id);
    return json_pack(
        "{s:s, s:s, s:o, s:I, s:o}", "name", self->identity.network_name, "id", id, "certificate_s",
        self->has_certificate_s ? json_integer((json_int_t)self->certificate_s) : json_null(),
        "deny_number", (json_int_t)self->deny_number, "coordinators", json_of_coordinators(self));
}

static void print_json(const struct processes *self, const struct troubles *troubles)
{
    char id[NODE_ID_TEXT_SIZE] = "";
    json_t *services = json_array();

    if (self->has_node_id)
        node_id_format(&self->node_id, id);
    for (size_t i = 0; i < self->count; i++)
        json_array_append_new(services, json_of_row(&self->rows[i]));
    json_print(json_pack("{s:i, s:s, s:s, s:o, s:s, s:I, s:o, s:o}", "schema", DOCUMENT_SCHEMA,
                         "version", LB_VERSION, "node_id", id, "network", json_of_network(self),
                         "level", level_text(self->level), "since_ms", (json_int_t)self->since_ms,
                         "troubles", json_of_troubles(troubles), "services", services));
}

/* ---- what is looked at ---- */

struct look {
    const struct args *args;
    const struct paths *paths;
    struct processes processes;
    struct troubles troubles;
    struct process before[PROCESSES_MAX]; /* of the look before this one */
    size_t before_count;
    uint64_t before_ms;
};

/* With an earlier look: the processor time since then instead of over its life. */
static void measure_cpu(struct look *self, uint64_t now_ms)
{
    for (size_t i = 0; i < self->processes.count; i++) {
        struct process *row = &self->processes.rows[i];

        for (size_t k = 0; k < self->before_count; k++) {
            const struct process *before = &self->before[k];

            if (before->pid == row->pid && row->pid != 0 && now_ms > self->before_ms)
                row->cpu_percent = 100.0 * (double)(row->cpu_ms - before->cpu_ms) /
                                   (double)(now_ms - self->before_ms);
        }
    }
    memcpy(self->before, self->processes.rows, sizeof self->before);
    self->before_count = self->processes.count;
    self->before_ms = now_ms;
}

/* LB_OK also when there is no node; processes_done() is due. */
static lb_err look(struct look *self)
{
    lb_err err = processes_read(&self->processes, self->paths);

    if (err != LB_OK && err != LB_NOT_FOUND)
        return err;
    measure_cpu(self, clock_monotonic_ms());
    troubles_find(&self->troubles, self->processes.rows, self->processes.count,
                  self->processes.is_system);
    return LB_OK;
}

static int cannot_read(const struct look *self, lb_err err)
{
    args_failed(self->args, "cannot read %s/status.shm: %s", self->paths->run_folder,
                processes_err_text(err));
    return (int)LEVEL_NOT_RUNNING;
}

/* The level is the exit code. */
static int show_once(struct look *self)
{
    lb_err err = look(self);
    int code;

    if (err != LB_OK)
        return cannot_read(self, err);
    if (self->processes.level == LEVEL_NOT_RUNNING)
        args_failed(self->args, "the node is not running (%s)", self->paths->run_folder);
    if (args_has(self->args, "json"))
        print_json(&self->processes, &self->troubles);
    else if (self->processes.level != LEVEL_NOT_RUNNING)
        status_print(&self->processes, &self->troubles, stdout);
    code = (int)self->processes.level;
    processes_done(&self->processes);
    return code;
}

/* ---- again and again ---- */

/* One block each second, with its time, for files and pipes. */
static int show_block(struct look *self)
{
    time_t now = time(NULL);
    struct tm local;
    char stamp[32];

    if (!args_has(self->args, "json") && localtime_r(&now, &local) != NULL &&
        strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &local) > 0)
        printf("%s%s\n", self->before_ms > 0 ? "\n" : "", stamp);
    return show_once(self);
}

/* In place: each line ends what stood there before, so that nothing flickers. */
static int show_frame(struct look *self)
{
    lb_err err = look(self);
    char *text = NULL, *rest;
    size_t size;
    FILE *frame;
    int code;

    if (err != LB_OK)
        return cannot_read(self, err);
    frame = open_memstream(&text, &size);
    if (frame == NULL)
        abort(); /* out of memory */
    status_print(&self->processes, &self->troubles, frame);
    fclose(frame);
    code = (int)self->processes.level;
    processes_done(&self->processes);
    rest = text; /* every line of it ends with a line end */
    fputs("\033[H", stdout);
    for (char *line = strsep(&rest, "\n"); rest != NULL; line = strsep(&rest, "\n"))
        printf("%s\033[K\n", line);
    fputs("\033[J", stdout);
    free(text);
    return code;
}

static int watch(struct look *self)
{
    static const struct timespec pause = { .tv_sec = WATCH_PAUSE_S };
    bool in_place = isatty(STDOUT_FILENO) && !args_has(self->args, "json");
    int code;

    session_catch_interrupt();
    if (in_place)
        fputs("\033[?25l\033[?7l\033[H\033[J", stdout); /* no cursor, long lines are cut */
    do {
        code = in_place ? show_frame(self) : show_block(self);
        if (fflush(stdout) != 0)
            break; /* the reader is gone */
        nanosleep(&pause, NULL);
    } while (!session_interrupted());
    if (in_place)
        fputs("\033[?7h\033[?25h", stdout);
    return code;
}

int command_status(const struct args *args)
{
    struct paths paths;
    struct look *self;
    int code;

    if (session_paths(args, &paths) != EXIT_DONE)
        return (int)LEVEL_NOT_RUNNING; /* 1 would say degraded */
    self = xcalloc(1, sizeof *self);
    self->args = args;
    self->paths = &paths;
    code = args_has(args, "watch") ? watch(self) : show_once(self);
    free(self);
    return code;
}
