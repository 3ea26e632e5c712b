#include "services/gateway/metrics.h"

#include "libcommon/memory.h"
#include "services/gateway/metric_names.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVICE_ANY SERVICES_COUNT
#define LABELS_SIZE 128

enum type { TYPE_COUNTER, TYPE_GAUGE };
enum unit { UNIT_NUMBER, UNIT_MICROSECONDS, UNIT_MILLISECONDS };

struct metric {
    enum service service;
    const char *counter;
    const char *family;
    enum type type;
    const char *label;
    enum unit unit;
    const char *help;
};

static const struct metric metrics[] = {
#define LB_METRIC(service, counter, family, type, label, unit, help)                               \
    { SERVICE_##service, counter, family, TYPE_##type, label, UNIT_##unit, help },
    LB_METRICS(LB_METRIC)
#undef LB_METRIC
};
#define METRICS_COUNT (sizeof metrics / sizeof metrics[0])

/* Everything that runs, and where its samples go. */
struct rendering {
    FILE *to;
    const struct view *view;
    uint64_t wall_ms;
    struct process processes[VIEW_PROCESSES_MAX];
    size_t count;
};

/* ---- the format ---- */

static void begin_family(const struct rendering *self, const char *family, enum type type,
                         const char *help)
{
    fprintf(self->to, "# HELP littlebird_%s %s\n# TYPE littlebird_%s %s\n", family, help, family,
            type == TYPE_COUNTER ? "counter" : "gauge");
}

static void write_value(FILE *to, uint64_t value, enum unit unit)
{
    unsigned long long number = value;

    if (unit == UNIT_MICROSECONDS)
        fprintf(to, " %llu.%06llu\n", number / 1000000, number % 1000000);
    else if (unit == UNIT_MILLISECONDS)
        fprintf(to, " %llu.%03llu\n", number / 1000, number % 1000);
    else
        fprintf(to, " %llu\n", number);
}

static void write_sample(const struct rendering *self, const char *family,
                         const struct process *process, const char *label, uint64_t value,
                         enum unit unit)
{
    fprintf(self->to, "littlebird_%s{service=\"%s\",worker=\"%u\"%s%s}", family,
            service_text(process->service), process->instance, label[0] != '\0' ? "," : "", label);
    write_value(self->to, value, unit);
}

/* ---- each process ---- */

typedef uint64_t read_fn(const struct rendering *self, const struct process *process,
                         const struct status_slot *slot);

static uint64_t read_up(const struct rendering *self, const struct process *process,
                        const struct status_slot *slot)
{
    (void)self;
    (void)slot;
    return service_state_serves(process->state);
}

static uint64_t since(uint64_t now_ms, uint64_t then_ms)
{
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

static uint64_t read_start(const struct rendering *self, const struct process *process,
                           const struct status_slot *slot)
{
    (void)process;
    return self->wall_ms - since(self->view->now_ms, atomic_load(&slot->since_ms));
}

static uint64_t read_restarts(const struct rendering *self, const struct process *process,
                              const struct status_slot *slot)
{
    (void)self;
    (void)process;
    return atomic_load(&slot->restarts);
}

static uint64_t read_queue(const struct rendering *self, const struct process *process,
                           const struct status_slot *slot)
{
    (void)self;
    (void)process;
    return atomic_load(&slot->queue);
}

static uint64_t read_backlog(const struct rendering *self, const struct process *process,
                             const struct status_slot *slot)
{
    (void)self;
    (void)process;
    return atomic_load(&slot->backlog_ms);
}

static uint64_t read_silence(const struct rendering *self, const struct process *process,
                             const struct status_slot *slot)
{
    (void)process;
    return since(self->view->now_ms, atomic_load(&slot->heartbeat_ms));
}

static uint64_t read_cpu(const struct rendering *self, const struct process *process,
                         const struct status_slot *slot)
{
    (void)self;
    (void)process;
    return atomic_load(&slot->cpu_us);
}

static uint64_t read_memory(const struct rendering *self, const struct process *process,
                            const struct status_slot *slot)
{
    (void)self;
    (void)process;
    return atomic_load(&slot->memory_bytes);
}

static const struct {
    const char *family;
    enum type type;
    enum unit unit;
    bool needs_process; /* no sample while it has none */
    read_fn *read;
    const char *help;
} process_metrics[] = {
    { "service_up", TYPE_GAUGE, UNIT_NUMBER, false, read_up,
      "1 while the process serves: ready or degraded." },
    { "service_start_time_seconds", TYPE_GAUGE, UNIT_MILLISECONDS, true, read_start,
      "When the process started, in seconds since 1970." },
    { "service_restarts_total", TYPE_COUNTER, UNIT_NUMBER, false, read_restarts,
      "How often its manager started it again." },
    { "service_queued_requests", TYPE_GAUGE, UNIT_NUMBER, true, read_queue,
      "Requests taken in and not yet answered." },
    { "service_oldest_request_seconds", TYPE_GAUGE, UNIT_MILLISECONDS, true, read_backlog,
      "Age of the oldest of these, without those that are to last." },
    { "service_heartbeat_age_seconds", TYPE_GAUGE, UNIT_MILLISECONDS, true, read_silence,
      "How long ago its event loop made a whole turn; twice a second is usual." },
    { "service_cpu_seconds_total", TYPE_COUNTER, UNIT_MICROSECONDS, true, read_cpu,
      "Processor time, user and system." },
    { "service_resident_memory_bytes", TYPE_GAUGE, UNIT_NUMBER, true, read_memory,
      "Resident memory; pages shared with other processes are counted in each." },
};

static const struct status_slot *slot_of(const struct rendering *self,
                                         const struct process *process)
{
    return status_page_slot(self->view->status, process->service, process->instance);
}

static void write_processes(const struct rendering *self)
{
    for (size_t row = 0; row < sizeof process_metrics / sizeof process_metrics[0]; row++) {
        begin_family(self, process_metrics[row].family, process_metrics[row].type,
                     process_metrics[row].help);
        for (size_t i = 0; i < self->count; i++) {
            const struct process *process = &self->processes[i];
            const struct status_slot *slot = slot_of(self, process);

            if (process_metrics[row].needs_process && process->pid == 0)
                continue;
            write_sample(self, process_metrics[row].family, process, "",
                         process_metrics[row].read(self, process, slot), process_metrics[row].unit);
        }
    }
}

/* One sample a state, 1 for the one it is in: what dashboards count and alerts compare. */
static void write_states(const struct rendering *self)
{
    char label[LABELS_SIZE];

    begin_family(self, "service_state", TYPE_GAUGE, "1 for the state the process is in.");
    for (size_t i = 0; i < self->count; i++) {
        for (int state = STATE_STARTING; state < STATES_COUNT; state++) {
            snprintf(label, sizeof label, "state=\"%s\"",
                     service_state_text((enum service_state)state));
            write_sample(self, "service_state", &self->processes[i], label,
                         self->processes[i].state == (enum service_state)state, UNIT_NUMBER);
        }
    }
}

/* ---- the node ---- */

static void write_node(const struct rendering *self)
{
    char id[NODE_ID_TEXT_SIZE] = "", why[VIEW_WHY_SIZE];
    enum view_level level = view_level(self->view, why);

    begin_family(self, "build_info", TYPE_GAUGE, "1; the version is a label.");
    fprintf(self->to, "littlebird_build_info{version=\"%s\"} 1\n", LB_VERSION);
    begin_family(self, "node_info", TYPE_GAUGE, "1; the id of the DHT node is a label.");
    if (self->view->node_id != NULL) {
        node_id_format(self->view->node_id, id);
        fprintf(self->to, "littlebird_node_info{node_id=\"%s\"} 1\n", id);
    }
    begin_family(self, "node_ready", TYPE_GAUGE, "1 while every service serves, as /readyz says.");
    fprintf(self->to, "littlebird_node_ready %d\n", level != VIEW_DOWN);
    begin_family(self, "node_degraded", TYPE_GAUGE,
                 "1 while a service is not as it should be, or down.");
    fprintf(self->to, "littlebird_node_degraded %d\n", level != VIEW_WELL);
    begin_family(self, "active_workers", TYPE_GAUGE, "Instances of a service that share its work.");
    for (int service = 0; service < SERVICES_COUNT; service++) {
        const struct status_slot *slot =
            status_page_slot(self->view->status, (enum service)service, 0);

        if (service_is_optional((enum service)service) && atomic_load(&slot->state) == STATE_ABSENT)
            continue;
        fprintf(self->to, "littlebird_active_workers{service=\"%s\"} %u\n",
                service_text((enum service)service),
                status_page_active(self->view->status, (enum service)service));
    }
}

/* ---- counters ---- */

static void write_counters(const struct rendering *self)
{
    for (size_t row = 0; row < METRICS_COUNT; row++) {
        const struct metric *metric = &metrics[row];

        if (metric->help[0] != '\0')
            begin_family(self, metric->family, metric->type, metric->help);
        for (size_t i = 0; i < self->count; i++) {
            const struct process *process = &self->processes[i];
            const struct status_counter *counter;

            if (metric->service != SERVICE_ANY && metric->service != process->service)
                continue;
            counter = status_slot_find(slot_of(self, process), metric->counter);
            if (counter != NULL)
                write_sample(self, metric->family, process, metric->label,
                             atomic_load(&counter->value), metric->unit);
        }
    }
}

static bool has_name(enum service service, const char *counter)
{
    for (size_t row = 0; row < METRICS_COUNT; row++) {
        if ((metrics[row].service == SERVICE_ANY || metrics[row].service == service) &&
            strcmp(metrics[row].counter, counter) == 0)
            return true;
    }
    return false;
}

static void write_unnamed(const struct rendering *self)
{
    char name[STATUS_NAME_SIZE], label[LABELS_SIZE];

    begin_family(self, "unnamed_counter", TYPE_GAUGE,
                 "Counters that have no name of their own here yet.");
    for (size_t i = 0; i < self->count; i++) {
        const struct status_slot *slot = slot_of(self, &self->processes[i]);

        for (int k = 0; k < STATUS_COUNTERS_MAX && slot->counters[k].name[0] != '\0'; k++) {
            memcpy(name, slot->counters[k].name, sizeof name);
            name[sizeof name - 1] = '\0';
            if (has_name(self->processes[i].service, name))
                continue;
            name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")] = '\0';
            snprintf(label, sizeof label, "name=\"%s\"", name);
            write_sample(self, "unnamed_counter", &self->processes[i], label,
                         atomic_load(&slot->counters[k].value), UNIT_NUMBER);
        }
    }
}

char *metrics_render(const struct view *view, uint64_t wall_ms, size_t *ret_size)
{
    struct rendering *self = xcalloc(1, sizeof *self);
    char *text = NULL;
    int failed;

    self->view = view;
    self->wall_ms = wall_ms;
    self->count = view_processes(view, self->processes);
    self->to = open_memstream(&text, ret_size);
    if (self->to == NULL)
        abort(); /* out of memory */
    write_node(self);
    write_processes(self);
    write_states(self);
    write_counters(self);
    write_unnamed(self);
    failed = fclose(self->to);
    if (failed != 0)
        abort(); /* likewise */
    free(self);
    return text;
}
