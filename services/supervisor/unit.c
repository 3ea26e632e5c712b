#include "services/supervisor/unit.h"

#include "services/supervisor/lifecycle.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#define PREFIX  "littlebird-"
#define SERVICE ".service"
#define SOCKET  ".socket"

#define SYSTEMD_EXIT_LEAST 200 /* systemd.exec(5), "Process Exit Codes": before our program ran */

/* ---- names ---- */

static bool is_template(enum service service)
{
    return service == SERVICE_TRANSPORT || service == SERVICE_STORAGE || service == SERVICE_SWARM;
}

static void format_name(enum service service, unsigned instance, const char *suffix,
                        char ret_name[UNIT_NAME_SIZE])
{
    if (is_template(service)) {
        snprintf(ret_name, UNIT_NAME_SIZE, PREFIX "%s@%u%s", service_text(service), instance,
                 suffix);
    } else {
        snprintf(ret_name, UNIT_NAME_SIZE, PREFIX "%s%s", service_text(service), suffix);
    }
}

void unit_service_name(enum service service, unsigned instance, char ret_name[UNIT_NAME_SIZE])
{
    format_name(service, instance, SERVICE, ret_name);
}

void unit_socket_name(enum service service, unsigned instance, char ret_name[UNIT_NAME_SIZE])
{
    format_name(service, instance, SOCKET, ret_name);
}

/* Every name there is, compared: there are few, and so no second grammar of them exists. */
bool unit_parse_name(const char *name, enum service *ret_service, unsigned *ret_instance)
{
    for (int service = 0; service < SERVICES_COUNT; service++) {
        unsigned instances = is_template((enum service)service) ? STATUS_INSTANCES_MAX : 1;

        for (unsigned i = 0; i < instances; i++) {
            char known[UNIT_NAME_SIZE];

            unit_service_name((enum service)service, i, known);
            if (strcmp(known, name) == 0) {
                *ret_service = (enum service)service;
                *ret_instance = i;
                return true;
            }
        }
    }
    return false;
}

/* ---- what a report means ---- */

static bool is(const char *text, const char *word)
{
    return strcmp(text, word) == 0;
}

static enum unit_phase phase_of_failure(const struct unit_report *report)
{
    bool refused = report->exit_code == 1 &&
                   (report->exit_status == EX_NOPERM || report->exit_status == EX_CONFIG);

    return refused ? UNIT_REFUSED : UNIT_FAILED;
}

static enum unit_phase phase_of(const struct unit *self, const struct unit_report *report)
{
    if (is(report->active, "active") || is(report->active, "reloading")) {
        bool is_to_end =
            report->has_job && self->phase == UNIT_DRAINING; /* the job has yet to run */

        return is_to_end ? UNIT_DRAINING : UNIT_RUNNING;
    }
    if (is(report->active, "activating")) {
        return is(report->sub, "auto-restart") ? UNIT_BACKOFF : UNIT_STARTING;
    }
    if (is(report->active, "deactivating")) {
        return is(report->sub, "stop-watchdog") || is(report->result, "watchdog") ? UNIT_HUNG
                                                                                  : UNIT_DRAINING;
    }
    if (report->has_job) { /* it waits for its start: also between the halves of a restart */
        return UNIT_STARTING;
    }
    if (is(report->active, "failed")) {
        return phase_of_failure(report);
    }
    return self->phase == UNIT_ABSENT && report->pid == 0 ? UNIT_ABSENT : UNIT_STOPPED;
}

static int32_t end_of(const struct unit_report *report)
{
    return report->exit_code == 1 ? report->exit_status : -report->exit_status;
}

void unit_expect(struct unit *self, enum unit_phase phase)
{
    self->phase = phase;
    self->refusal = 0;
}

/* Being activated by a socket and ended again with it is no stop by request. */
static void hold_refusal(struct unit *self)
{
    switch (self->phase) {
    case UNIT_REFUSED:
        self->refusal = self->last_exit;
        break;
    case UNIT_RUNNING:
        self->refusal = 0;
        break;
    case UNIT_STOPPED:
        if (self->refusal != 0) {
            self->phase = UNIT_REFUSED;
            self->last_exit = self->refusal;
        }
        break;
    default:
        break;
    }
}

/*
 * NRestarts counts what systemd does by itself, before there is a process; another process without
 * that was asked for. When we see it for the first time, what it has been through is in its count
 * alone.
 */
static void count(struct unit *self, const struct unit_report *report)
{
    bool is_another = report->pid != 0 && report->pid != self->last_pid;
    bool was_stopped = self->phase == UNIT_STOPPED || self->phase == UNIT_ABSENT;
    uint32_t more = report->restarts > self->counted ? report->restarts - self->counted : 0;

    if (!self->is_known) {
        self->is_known = true;
        self->restarts = report->restarts > self->restarts ? report->restarts : self->restarts;
    } else {
        self->restarts += more;
        self->ahead += more;
    }
    if (is_another) {
        if (self->ahead == 0 && self->last_pid != 0 && !was_stopped) {
            self->restarts++;
        }
        self->ahead = 0;
        self->starts++;
    }
    self->counted = report->restarts;
}

bool unit_take(struct unit *self, const struct unit_report *report)
{
    struct unit before = *self;

    count(self, report);
    self->phase = phase_of(&before, report);
    self->was_ready = before.was_ready || self->phase == UNIT_RUNNING;
    self->pid = report->pid;
    self->last_pid = report->pid != 0 ? report->pid : before.last_pid;
    self->watchdog_ms = report->watchdog_ms;
    self->next_ms = self->phase == UNIT_BACKOFF ? report->changed_ms + report->restart_ms : 0;
    if (report->exit_code != 0) { /* 0 while its process runs */
        self->last_exit = end_of(report);
    }
    hold_refusal(self);
    return self->phase != before.phase || self->pid != before.pid;
}

enum service_state unit_state(enum unit_phase phase)
{
#define UNIT_PHASE_STATE(name, state) [UNIT_##name] = state,
    static const enum service_state states[] = { UNIT_PHASES(UNIT_PHASE_STATE) };
#undef UNIT_PHASE_STATE

    return states[phase];
}

bool unit_is_up(enum unit_phase phase)
{
    return phase != UNIT_ABSENT && phase != UNIT_STOPPED && phase != UNIT_FAILED &&
           phase != UNIT_REFUSED;
}

void unit_format_end(const struct unit *self, char ret_note[STATUS_NOTE_SIZE])
{
    const char *more = self->phase == UNIT_REFUSED  ? ", which is not retried; see the journal"
                       : self->phase == UNIT_FAILED ? ", too often; see the journal"
                                                    : "";

    if (self->last_exit < 0) {
        const char *name = sigabbrev_np(-self->last_exit);

        snprintf(ret_note, STATUS_NOTE_SIZE, "ended by signal %d (%s)%s", -self->last_exit,
                 name ? name : "?", more);
    } else if (self->last_exit >= SYSTEMD_EXIT_LEAST) {
        snprintf(ret_note, STATUS_NOTE_SIZE,
                 "systemd could not start it (code %d); see the journal", self->last_exit);
    } else {
        snprintf(ret_note, STATUS_NOTE_SIZE, "ended with code %d%s", self->last_exit, more);
    }
}
