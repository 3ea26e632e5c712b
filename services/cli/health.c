/* lb-admin health */
#include "services/cli/health.h"

#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/session.h"
#include "services/cli/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const health_texts[] = { "OK", "WARNING", "CRITICAL", "UNKNOWN" };

/* A line that is written piece by piece; what does not fit is left out. */
struct line {
    char *text;
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *format, ...)
{
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(line->text + line->used, HEALTH_LINE_SIZE - line->used, format, arguments);
    va_end(arguments);
    if (size > 0)
        line->used += (size_t)size;
    if (line->used > HEALTH_LINE_SIZE - 1)
        line->used = HEALTH_LINE_SIZE - 1;
}

static uint64_t sum_of_counter(const struct processes *self, enum service service, const char *name)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < self->count; i++) {
        const struct status_slot *slot = self->rows[i].slot;
        const struct status_counter *counter;

        if (self->rows[i].service != service || slot == NULL || !self->rows[i].alive)
            continue;
        counter = status_slot_find(slot, name);
        if (counter != NULL)
            sum += atomic_load(&counter->value);
    }
    return sum;
}

struct sums {
    unsigned serving, processes, restarts, queue, oldest_ms;
    uint64_t memory_bytes, cpu_ms;
};

static struct sums sum_up(const struct processes *self)
{
    struct sums sums = { 0 };

    for (size_t i = 0; i < self->count; i++) {
        const struct process *row = &self->rows[i];

        sums.processes += row->state != STATE_STOPPED || row->killed;
        sums.serving += row->alive && service_state_serves(row->state);
        sums.restarts += row->restarts;
        sums.queue += row->queue;
        sums.oldest_ms = row->backlog_ms > sums.oldest_ms ? row->backlog_ms : sums.oldest_ms;
        sums.memory_bytes += row->memory_bytes;
        sums.cpu_ms += row->cpu_ms;
    }
    return sums;
}

/* 'label'=value[unit];[warn];[crit];[min];[max]; c: a counter that only grows. */
static void add_performance(struct line *line, const struct processes *self,
                            const struct sums *sums)
{
    unsigned long long contacts = sum_of_counter(self, SERVICE_ROUTING, "good_contacts");
    unsigned long long peers = sum_of_counter(self, SERVICE_SWARM, "peers");
    unsigned long long transfers = sum_of_counter(self, SERVICE_SWARM, "transfers");
    unsigned long long received = sum_of_counter(self, SERVICE_SWARM, "received_bytes");
    unsigned long long sent = sum_of_counter(self, SERVICE_SWARM, "sent_bytes");

    add(line, " | serving=%u;;;0;%u restarts=%uc queue=%u;;;0 oldest_request=%u.%03us;;;0",
        sums->serving, sums->processes, sums->restarts, sums->queue, sums->oldest_ms / 1000,
        sums->oldest_ms % 1000);
    add(line, " memory=%lluB;;;0 cpu_ms=%lluc", (unsigned long long)sums->memory_bytes,
        (unsigned long long)sums->cpu_ms);
    add(line, " contacts=%llu;;;0 peers=%llu;;;0 transfers=%llu;;;0 received=%lluc sent=%lluc",
        contacts, peers, transfers, received, sent);
}

static enum health judge(const struct processes *processes, const struct troubles *troubles)
{
    enum trouble_weight worst = troubles_worst(troubles);

    if (processes->level >= LEVEL_DOWN || worst == TROUBLE_CRITICAL)
        return HEALTH_CRITICAL;
    return worst == TROUBLE_NONE && processes->level == LEVEL_WELL ? HEALTH_OK : HEALTH_WARNING;
}

/* The bar begins the performance data: it must not stand in the words. */
static void clean(char *text)
{
    table_sanitize(text);
    for (; *text != '\0'; text++) {
        if (*text == '|')
            *text = '/';
    }
}

enum health health_format(const struct processes *processes, const struct troubles *troubles,
                          char ret_line[HEALTH_LINE_SIZE])
{
    struct line line = { ret_line, 0 };
    struct sums sums = sum_up(processes);
    enum health health = judge(processes, troubles);

    add(&line, "LITTLEBIRD %s - ", health_texts[health]);
    if (troubles->count == 0)
        add(&line, "%u of %u processes serve", sums.serving, sums.processes);
    else
        add(&line, "%s", troubles->list[0].what);
    if (troubles->count > 1)
        add(&line, " (and %zu more)", troubles->count - 1);
    clean(ret_line);
    if (processes->level != LEVEL_NOT_RUNNING)
        add_performance(&line, processes, &sums);
    return health;
}

static int unknown(const char *why)
{
    printf("LITTLEBIRD UNKNOWN - %s\n", why);
    return HEALTH_UNKNOWN;
}

int command_health(const struct args *args)
{
    struct processes processes;
    struct troubles troubles;
    struct paths paths;
    char line[HEALTH_LINE_SIZE];
    enum health health;
    lb_err err;

    if (session_paths(args, &paths) != EXIT_DONE)
        return unknown("the node's folder cannot be used");
    err = processes_read(&processes, &paths);
    if (err != LB_OK && err != LB_NOT_FOUND)
        return unknown(processes_err_text(err));
    troubles_find(&troubles, processes.rows, processes.count, processes.is_system);
    health = health_format(&processes, &troubles, line);
    printf("%s\n", line);
    processes_done(&processes);
    return (int)health;
}
