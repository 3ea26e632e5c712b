#include "services/cli/processes.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/node_self.h"
#include "libcommon/orders.h"
#include "services/cli/offline.h"
#include "services/cli/units.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define START_SLACK_MS 60000 /* between the start of a process and what its slot says */

const char *level_text(enum level level)
{
    static const char *const texts[] = { "well", "degraded", "down", "not running" };

    return texts[level];
}

/* ---- /proc ---- */

/* What proc(5) says in stat, after "(name)". */
struct proc_stat {
    char state;
    uint64_t cpu_ms;
    uint64_t started_ms; /* since boot */
};

static bool read_stat(uint32_t pid, struct proc_stat *ret_stat)
{
    unsigned long long user, system, started;
    uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK);
    char path[64], text[1024], state;
    const char *after_name;
    size_t size;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    after_name = strrchr(text, ')');
    if (after_name == NULL ||
        sscanf(after_name + 1,
               " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu",
               &state, &user, &system, &started) != 4)
        return false;
    *ret_stat = (struct proc_stat){ .state = state,
                                    .cpu_ms = (user + system) * 1000 / ticks,
                                    .started_ms = started * 1000 / ticks };
    return true;
}

/* How long the machine has slept: CLOCK_MONOTONIC does not count that, boot time does. */
static uint64_t read_slept_ms(uint64_t now_ms)
{
    struct timespec boot;
    uint64_t boot_ms;

    if (clock_gettime(CLOCK_BOOTTIME, &boot) != 0)
        return 0;
    boot_ms = (uint64_t)boot.tv_sec * 1000 + (uint64_t)boot.tv_nsec / 1000000;
    return boot_ms > now_ms ? boot_ms - now_ms : 0;
}

/*
 * Does the process that the slot names still run? The page outlives its node, and even the boot: by
 * now the number may belong to another process, which then started at another time.
 */
static bool is_alive(const struct status_slot *slot, uint64_t now_ms, struct proc_stat *ret_stat)
{
    uint32_t pid = atomic_load(&slot->pid);
    uint64_t since_ms = atomic_load(&slot->since_ms);
    uint64_t heartbeat_ms = atomic_load(&slot->heartbeat_ms);
    /* An old process that enters another state, such as draining, has a young since_ms. */
    bool beats =
        since_ms <= now_ms && heartbeat_ms <= now_ms && now_ms - heartbeat_ms < START_SLACK_MS;

    if (pid <= 1 || pid > INT32_MAX || !read_stat(pid, ret_stat) ||
        strchr("ZXx", ret_stat->state) != NULL)
        return false;
    return ret_stat->started_ms <= since_ms + read_slept_ms(now_ms) + START_SLACK_MS &&
           (beats || ret_stat->started_ms + START_SLACK_MS >= since_ms);
}

/* Proportional set size when we may read it (our own user's processes), else resident. */
static uint64_t read_memory(uint32_t pid, bool *ret_is_shared_out)
{
    unsigned long long kilobytes = 0, pages = 0;
    char path[64], line[256];
    FILE *file;

    snprintf(path, sizeof path, "/proc/%u/smaps_rollup", pid);
    file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "Pss: %llu kB", &kilobytes) == 1)
            break;
    }
    if (file != NULL)
        fclose(file);
    *ret_is_shared_out = kilobytes > 0;
    if (kilobytes > 0)
        return kilobytes * 1024;
    snprintf(path, sizeof path, "/proc/%u/statm", pid);
    file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- rows ---- */

/* One more thing to its note. */
__attribute__((format(printf, 2, 3))) static void append(struct process *row, const char *format,
                                                         ...)
{
    size_t used = strlen(row->note);
    va_list arguments;

    used += (size_t)snprintf(row->note + used, sizeof row->note - used, "%s", used > 0 ? "; " : "");
    if (used >= sizeof row->note)
        return;
    va_start(arguments, format);
    vsnprintf(row->note + used, sizeof row->note - used, format, arguments);
    va_end(arguments);
}

/* When is it tried again, for those that wait for that? */
static void append_next_start(struct process *row, const struct status_slot *slot, uint64_t now_ms)
{
    uint64_t next_ms = atomic_load(&slot->next_start_ms);
    char duration[UNITS_SIZE];

    if ((row->state != STATE_BACKOFF && row->state != STATE_FAILED) || next_ms <= now_ms)
        return;
    append(row, "again in %s", units_duration((next_ms - now_ms + 999) / 1000, duration));
}

static void read_log_level(struct process *row, const struct status_slot *slot, uint64_t now_ms)
{
    uint64_t until_ms = atomic_load(&slot->log_until_ms);

    row->log_level = orders_log_level(slot, now_ms);
    row->log_left_ms = row->log_level != 0 && until_ms > now_ms ? until_ms - now_ms : 0;
    if (row->log_level != 0)
        append(row, "logs %s", log_level_text((enum log_level)(row->log_level - 1)));
}

static void read_process(struct process *row, const struct status_slot *slot, uint64_t now_ms)
{
    uint64_t since_ms = atomic_load(&slot->since_ms);
    struct proc_stat stat;

    row->alive = is_alive(slot, now_ms, &stat);
    if (!row->alive)
        return;
    row->stopped = strchr("Tt", stat.state) != NULL;
    row->since_ms = now_ms > since_ms ? now_ms - since_ms : 0;
    row->memory_bytes = read_memory(row->pid, &row->memory_is_shared_out);
    row->cpu_ms = stat.cpu_ms;
    if (row->since_ms > 0)
        row->cpu_percent = 100.0 * (double)stat.cpu_ms / (double)row->since_ms;
}

static void copy_text(char *to, const char *from)
{
    memcpy(to, from, STATUS_NOTE_SIZE);
    to[STATUS_NOTE_SIZE - 1] = '\0';
}

/* What /proc says of it counts more than what it said itself. */
static void correct_state(struct process *row)
{
    if (row->pid != 0 && !row->alive) {
        row->state = STATE_STOPPED;
        row->killed = true;
        snprintf(row->note, sizeof row->note, "process %u is gone", row->pid);
        row->pid = 0;
    } else if (row->stopped && service_state_serves(row->state)) {
        row->state = STATE_HUNG;
        append(row, "stopped by a signal");
    }
}

static bool read_row(const struct page *page, enum service service, unsigned instance,
                     uint64_t now_ms, struct process *ret_row)
{
    const struct status_slot *slot = status_page_slot(page, service, instance);
    uint64_t heartbeat_ms = atomic_load(&slot->heartbeat_ms);
    struct process row = { .service = service, .instance = instance, .slot = slot };

    row.state = status_slot_state(slot, now_ms);
    if (row.state == STATE_ABSENT)
        return false;
    row.pid = atomic_load(&slot->pid);
    read_process(&row, slot, now_ms);
    row.restarts = atomic_load(&slot->restarts);
    row.queue = atomic_load(&slot->queue);
    row.backlog_ms = atomic_load(&slot->backlog_ms);
    row.last_exit = atomic_load(&slot->last_exit);
    row.heartbeat_age_ms = now_ms > heartbeat_ms ? now_ms - heartbeat_ms : 0;
    copy_text(row.note, slot->note);
    copy_text(row.listens, slot->listens);
    append_next_start(&row, slot, now_ms);
    read_log_level(&row, slot, now_ms);
    correct_state(&row);
    *ret_row = row;
    return true;
}

static uint64_t age_of_node(const struct processes *self)
{
    uint64_t oldest_ms = 0;

    for (size_t i = 0; i < self->count; i++) {
        const struct process *row = &self->rows[i];

        if (row->service == SERVICE_SUPERVISOR && row->alive)
            return row->since_ms;
        if (row->since_ms > oldest_ms)
            oldest_ms = row->since_ms;
    }
    return oldest_ms;
}

/* lb-member's counters; false: it has not come so far. */
static bool counter_of_member(const struct processes *self, const char *name, uint64_t *ret_value)
{
    const struct status_slot *slot = status_page_slot(&self->page, SERVICE_MEMBER, 0);
    const struct status_counter *counter = status_slot_find(slot, name);

    if (counter != NULL)
        *ret_value = atomic_load(&counter->value);
    return counter != NULL;
}

/* Of a file that this user may not read none is told. */
static void read_coordinators(struct processes *self, const struct paths *paths)
{
    char path[PATHS_SIZE + 16];
    FILE *file;
    char line[JOIN_ADDRESS_SIZE];

    snprintf(path, sizeof path, "%s/coordinators", paths->member_folder);
    file = fopen(path, "re");
    if (file == NULL)
        return;
    while (self->coordinators_count < PROCESSES_COORDINATORS_MAX &&
           fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (offline_is_address(line))
            snprintf(self->coordinators[self->coordinators_count++], JOIN_ADDRESS_SIZE, "%s", line);
    }
    fclose(file);
}

static void read_membership(struct processes *self, const struct paths *paths)
{
    self->is_member = identity_load(paths, &self->identity) == LB_OK;
    if (!self->is_member)
        return;
    self->has_certificate_s = counter_of_member(self, "certificate_s", &self->certificate_s);
    (void)counter_of_member(self, "deny_number", &self->deny_number);
    read_coordinators(self, paths);
}

static bool is_system_node(const struct paths *paths)
{
    return paths_is_system(paths) && access("/run/systemd/system", F_OK) == 0; /* sd_booted(3) */
}

enum level processes_level(const struct process *rows, size_t count)
{
    bool serving[SERVICES_COUNT] = { [SERVICE_SUPERVISOR] = true };
    bool seen[SERVICES_COUNT] = { false };
    bool well = true, whole = true, any = false;

    for (size_t i = 0; i < count; i++) {
        bool serves = rows[i].alive && service_state_serves(rows[i].state);

        any |= rows[i].alive;
        serving[rows[i].service] |= serves;
        seen[rows[i].service] = true;
        well &= rows[i].state == STATE_READY || rows[i].state == STATE_STOPPED;
    }
    if (!any)
        return LEVEL_NOT_RUNNING;
    for (int service = 0; service < SERVICES_COUNT; service++)
        whole &= serving[service] || (service_is_optional((enum service)service) && !seen[service]);
    if (!whole)
        return LEVEL_DOWN;
    return well ? LEVEL_WELL : LEVEL_DEGRADED;
}

lb_err processes_read(struct processes *ret_self, const struct paths *paths)
{
    struct processes *self = ret_self;
    uint64_t now_ms = clock_monotonic_ms();
    lb_err err;

    memset(self, 0, sizeof *self);
    self->level = LEVEL_NOT_RUNNING;
    self->is_system = is_system_node(paths);
    err = status_page_open(&self->page, paths->run_folder, false);
    if (err != LB_OK)
        return err;
    for (int service = 0; service < SERVICES_COUNT; service++) {
        for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++)
            self->count +=
                read_row(&self->page, (enum service)service, i, now_ms, &self->rows[self->count]);
    }
    self->level = processes_level(self->rows, self->count);
    self->since_ms = age_of_node(self);
    self->has_node_id = node_self_id(paths->pages_folder, &self->node_id);
    read_membership(self, paths);
    return LB_OK;
}

const char *processes_err_text(lb_err err)
{
    return err == LB_UNSUPPORTED ? "the node runs another version of Littlebird than this program"
                                 : lb_err_text(err);
}

void processes_done(struct processes *self)
{
    page_close(&self->page);
}

/* ---- readiness ---- */

static const struct process *find_supervisor(const struct processes *self)
{
    for (size_t i = 0; i < self->count; i++) {
        if (self->rows[i].service == SERVICE_SUPERVISOR)
            return &self->rows[i];
    }
    return NULL;
}

/* A row that stands in the way, the worst first; NULL when there is none. */
static const struct process *find_obstacle(const struct processes *self)
{
    const struct process *found = NULL;

    for (size_t i = 0; i < self->count; i++) {
        const struct process *row = &self->rows[i];

        if (row->state == STATE_FAILED)
            return row;
        if (!row->alive || !service_state_serves(row->state))
            found = row;
    }
    return found;
}

static enum readiness judge(const struct processes *self, uint32_t supervisor_pid,
                            char ret_why[PROCESSES_WHY_SIZE])
{
    const struct process *supervisor = find_supervisor(self);
    const struct process *obstacle = find_obstacle(self);

    if (supervisor_pid != 0 && (supervisor == NULL || supervisor->pid != supervisor_pid)) {
        snprintf(ret_why, PROCESSES_WHY_SIZE, "the supervisor has not begun");
        return READINESS_STARTING;
    }
    if (obstacle != NULL) {
        snprintf(ret_why, PROCESSES_WHY_SIZE, "%s is %s%s%.120s", service_text(obstacle->service),
                 service_state_text(obstacle->state), obstacle->note[0] != '\0' ? ": " : "",
                 obstacle->note);
        return obstacle->state == STATE_FAILED ? READINESS_FAILED : READINESS_STARTING;
    }
    if (self->level > LEVEL_DEGRADED) {
        snprintf(ret_why, PROCESSES_WHY_SIZE, "not every service runs");
        return READINESS_STARTING;
    }
    return self->level == LEVEL_DEGRADED ? READINESS_DEGRADED : READINESS_READY;
}

enum readiness processes_readiness(const struct paths *paths, uint32_t supervisor_pid,
                                   char ret_why[PROCESSES_WHY_SIZE])
{
    struct processes processes;
    enum readiness readiness;
    lb_err err = processes_read(&processes, paths);

    if (err != LB_OK) {
        snprintf(ret_why, PROCESSES_WHY_SIZE, "%s%s",
                 err == LB_NOT_FOUND ? "nothing runs there" : "its status cannot be read: ",
                 err == LB_NOT_FOUND ? "" : processes_err_text(err));
        return READINESS_STARTING;
    }
    readiness = judge(&processes, supervisor_pid, ret_why);
    processes_done(&processes);
    return readiness;
}
