#include "services/supervisor/overseer.h"

#include "libcommon/clock.h"
#include "libcommon/config.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/notify.h"
#include "proto/supervisor.pb-c.h"
#include "services/supervisor/belonging.h"
#include "services/supervisor/bus.h"
#include "services/supervisor/claim.h"
#include "services/supervisor/lifecycle.h"
#include "services/supervisor/requests.h"
#include "services/supervisor/roster.h"
#include "services/supervisor/stall.h"
#include "services/supervisor/unit.h"
#include "services/supervisor/unit_slot.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define TICK_MS          500
#define UNANSWERED_MS    5000 /* so long the services are kept waiting for systemd's first answer */
#define LATE_MS          1000 /* a tick that is so late was held up, perhaps with all of us */
#define WATCHDOG_MORE_MS 5000 /* from when systemd's watchdog should have struck to our SIGABRT */

struct instance {
    struct unit unit;
    struct stall stall;
    uint64_t retry_ms;   /* FAILED: when it is tried again */
    uint64_t aborted_ms; /* told to abort by us, because it hung; 0: not */
    bool refused;        /* the last order for it was not taken, and nobody was told so far */
};

struct overseer {
    struct requests requests; /* the first: handlers look for it there */
    struct actor *actor;
    struct page page;
    struct bus *bus;
    int lock;
    struct roster_node node;
    uv_timer_t *timer;
    uint64_t started_ms;
    uint64_t tick_ms;  /* the last one */
    uint64_t awake_ms; /* since when we have not slept over a tick */
    bool has_begun;    /* systemd was told that we are ready: the services' start waits for it */
    char problem[160];
    struct instance instances[SERVICES_COUNT][STATUS_INSTANCES_MAX];
};

bool overseer_is_wanted(void)
{
    const char *manager = getenv("LB_MANAGER");

    return manager && strcmp(manager, "systemd") == 0;
}

static struct instance *find_instance(struct overseer *self, enum service service, unsigned number)
{
    assert((unsigned)service < SERVICES_COUNT && number < STATUS_INSTANCES_MAX);
    return &self->instances[service][number];
}

static bool is_wanted(const struct overseer *self, enum service service)
{
    const struct roster_row *row = roster_find(service);

    return !row || roster_wants(row, &self->node);
}

static void publish(struct overseer *self, enum service service, unsigned number)
{
    const struct unit *unit = &find_instance(self, service, number)->unit;
    struct status_slot *slot = status_page_slot(&self->page, service, number);

    if (service == SERVICE_SUPERVISOR) { /* the rest is our own to say */
        atomic_store(&slot->restarts, unit->restarts);
    } else {
        unit_slot_publish(slot, unit, clock_monotonic_ms());
    }
}

static void expect(struct overseer *self, enum service service, unsigned number,
                   enum unit_phase phase)
{
    find_instance(self, service, number)->refused = false;
    unit_expect(&find_instance(self, service, number)->unit, phase);
    publish(self, service, number);
}

/* ---- systemd as the manager ---- */

static lb_err start_unit(void *ctx, enum service service, unsigned number, const char **ret_problem)
{
    struct overseer *self = ctx;

    if (!bus_is_up(self->bus)) {
        *ret_problem = "systemd does not answer";
        return LB_UNAVAILABLE;
    }
    expect(self, service, number, UNIT_STARTING);
    bus_start(self->bus, service, number);
    return LB_OK;
}

static void restart_unit(void *ctx, enum service service, unsigned number)
{
    struct overseer *self = ctx;

    expect(self, service, number, UNIT_DRAINING);
    bus_restart(self->bus, service, number);
}

static void stop_unit(void *ctx, enum service service, unsigned number)
{
    struct overseer *self = ctx;

    expect(self, service, number, UNIT_DRAINING);
    bus_stop(self->bus, service, number);
}

/* Its sockets went with it. */
static void release_unit(void *ctx, enum service service, unsigned number)
{
    expect(ctx, service, number, UNIT_ABSENT);
}

static enum manager_condition look_at_unit(void *ctx, enum service service, unsigned number,
                                           uint32_t *ret_generation)
{
    const struct instance *instance = find_instance(ctx, service, number);
    const struct unit *unit = &instance->unit;

    *ret_generation = unit->starts;
    if (instance->refused) {
        return MANAGER_FAILED;
    }
    switch (unit->phase) {
    case UNIT_RUNNING:
        return MANAGER_READY;
    case UNIT_ABSENT:
    case UNIT_STOPPED:
        return MANAGER_ENDED;
    case UNIT_FAILED:
    case UNIT_REFUSED:
        return MANAGER_FAILED;
    default:
        return MANAGER_BUSY;
    }
}

static bool has_settled(void *ctx, enum service service, unsigned number)
{
    const struct unit *unit = &find_instance(ctx, service, number)->unit;

    return unit->was_ready || unit->phase == UNIT_FAILED || unit->phase == UNIT_REFUSED ||
           unit->phase == UNIT_STOPPED;
}

static enum service_state state_of_unit(void *ctx, enum service service, unsigned number)
{
    const struct overseer *self = ctx;

    return status_slot_state(status_page_slot(&self->page, service, number), clock_monotonic_ms());
}

static void settle(void *ctx);

static void stop_node(void *ctx)
{
    struct overseer *self = ctx;

    bus_stop_node(self->bus);
}

static const struct manager manager = {
    .start = start_unit,
    .restart = restart_unit,
    .stop = stop_unit,
    .release = release_unit,
    .look = look_at_unit,
    .has_settled = has_settled,
    .state = state_of_unit,
    .settle = settle,
    .stop_node = stop_node,
};

/* ---- the node as a whole ---- */

static void say_how_we_are(struct overseer *self)
{
    if (!bus_is_up(self->bus)) {
        if (self->has_begun) {
            actor_state(self->actor, STATE_DEGRADED, "systemd does not answer: %s", self->problem);
        }
        return;
    }
    requests_say_state(&self->requests);
}

/* The services' own start waits for this (Before= in our unit). */
static void begin(struct overseer *self)
{
    if (!self->has_begun) {
        self->has_begun = true;
        notify_ready();
    }
}

/* After anything happened: what follows from it for the others. */
static void settle(void *ctx)
{
    struct overseer *self = ctx;

    requests_advance(&self->requests, clock_monotonic_ms());
    say_how_we_are(self);
}

/* ---- what systemd tells ---- */

static void log_change(const struct unit *unit, enum service service, unsigned number,
                       enum unit_phase before)
{
    char note[STATUS_NOTE_SIZE];

    if (unit->phase == before) {
        return;
    }
    unit_format_end(unit, note);
    switch (unit->phase) {
    case UNIT_RUNNING:
        log_info("%s-%u is ready pid=%lu", service_text(service), number, (unsigned long)unit->pid);
        break;
    case UNIT_BACKOFF:
        log_warn("%s-%u %s; systemd starts it again", service_text(service), number, note);
        break;
    case UNIT_FAILED:
    case UNIT_REFUSED:
        log_error("%s-%u failed: %s", service_text(service), number, note);
        break;
    default:
        break;
    }
}

/* One too many by now. */
static bool is_surplus(const struct overseer *self, enum service service, unsigned number)
{
    return service != SERVICE_SUPERVISOR && number > 0 &&
           number >= requests_instances(&self->requests, service);
}

/* A unit that failed in ending stays "failed" in systemd. */
static bool has_ended(enum unit_phase phase)
{
    return phase == UNIT_STOPPED || phase == UNIT_FAILED || phase == UNIT_REFUSED;
}

static void on_report(void *ctx, enum service service, unsigned number,
                      const struct unit_report *report)
{
    struct overseer *self = ctx;
    struct instance *instance = find_instance(self, service, number);
    enum unit_phase before = instance->unit.phase;
    uint32_t starts = instance->unit.starts;

    if (!is_wanted(self, service)) { /* systemd looks whether to start it, and does not */
        return;
    }
    unit_take(&instance->unit, report);
    if (instance->unit.starts != starts) {
        stall_init(&instance->stall, config_number(actor_config(self->actor), CONFIG_STUCK));
        instance->aborted_ms = 0;
    }
    if (is_surplus(self, service, number) && has_ended(instance->unit.phase)) {
        if (before != UNIT_ABSENT) {
            log_change(&instance->unit, service, number, before);
        }
        unit_expect(&instance->unit, UNIT_ABSENT);
    }
    if (instance->unit.phase == UNIT_REFUSED && before != UNIT_REFUSED) {
        bus_stop(self->bus, service, number); /* or the next message would have it tried again */
    }
    if (instance->unit.phase == UNIT_FAILED && before != UNIT_FAILED) {
        instance->retry_ms = clock_monotonic_ms() + LIFECYCLE_FAILED_RETRY_MS;
    }
    if (instance->unit.phase == UNIT_FAILED) {
        instance->unit.next_ms = instance->retry_ms;
    }
    if (service != SERVICE_SUPERVISOR) {
        log_change(&instance->unit, service, number, before);
    }
    publish(self, service, number);
    settle(self);
    instance->refused = false;
}

/* A node that was there before us keeps its size; one that only begins gets the configured one. */
static unsigned instances_wanted(const struct overseer *self, const struct roster_row *row,
                                 bool is_node_up)
{
    if (!row->scales || row->instances_key < 0) {
        return 1;
    }
    return is_node_up
               ? status_page_active(&self->page, row->service)
               : config_workers(actor_config(self->actor), (enum config_key)row->instances_key);
}

/* Instance 0 is the target's to start. */
static void bring_to_size(struct overseer *self, const struct roster_row *row, bool is_node_up)
{
    unsigned wanted = instances_wanted(self, row, is_node_up);
    const char *problem;

    requests_set_instances(&self->requests, row->service, wanted);
    for (unsigned i = 1; i < STATUS_INSTANCES_MAX; i++) {
        bool is_up = unit_is_up(find_instance(self, row->service, i)->unit.phase);

        if (i < wanted && !is_up && start_unit(self, row->service, i, &problem) != LB_OK) {
            log_error("%s-%u cannot be started: %s", service_text(row->service), i, problem);
        } else if (i >= wanted && is_up) {
            stop_unit(self, row->service, i);
        }
    }
}

/* Counts begin with the node: those of a page that a supervisor before us left go on only if it
 * runs. */
static void recall_restarts(struct overseer *self)
{
    for (int service = 0; service < SERVICES_COUNT; service++) {
        for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++) {
            const struct status_slot *slot =
                status_page_slot(&self->page, (enum service)service, i);

            self->instances[service][i].unit.restarts = atomic_load(&slot->restarts);
        }
    }
}

static void forget_restarts(struct overseer *self)
{
    for (int service = 0; service < SERVICES_COUNT; service++) {
        for (unsigned i = 0; is_wanted(self, (enum service)service) && i < STATUS_INSTANCES_MAX;
             i++) {
            self->instances[service][i].unit.restarts = 0;
            publish(self, (enum service)service, i);
        }
    }
}

/* What another run left there is no news. */
static void clear_unwanted(struct overseer *self)
{
    size_t count;
    const struct roster_row *rows = roster_rows(&count);

    for (size_t i = 0; i < count; i++) {
        for (unsigned k = 0; !is_wanted(self, rows[i].service) && k < STATUS_INSTANCES_MAX; k++) {
            status_slot_clear(status_page_slot(&self->page, rows[i].service, k));
        }
    }
}

/* systemd was away: an order to stop may be lost. */
static void stop_surplus(struct overseer *self)
{
    for (int service = 0; service < SERVICES_COUNT; service++) {
        for (unsigned i = 1; i < STATUS_INSTANCES_MAX; i++) {
            if (is_surplus(self, (enum service)service, i) &&
                self->instances[service][i].unit.phase == UNIT_RUNNING) {
                stop_unit(self, (enum service)service, i);
            }
        }
    }
}

static void on_listed(void *ctx, bool is_up)
{
    struct overseer *self = ctx;
    size_t count;
    const struct roster_row *rows = roster_rows(&count);

    log_info("systemd runs the services");
    if (!self->has_begun && !is_up) {
        forget_restarts(self);
    }
    if (self->has_begun) {
        stop_surplus(self);
    }
    for (size_t i = 0; !self->has_begun && i < count; i++) {
        if (is_wanted(self, rows[i].service)) {
            bring_to_size(self, &rows[i], is_up);
        }
    }
    begin(self);
    settle(self);
}

static void on_refused(void *ctx, enum service service, unsigned number, const char *why)
{
    struct overseer *self = ctx;

    log_error("%s-%u: systemd refuses: %s", service_text(service), number, why);
    find_instance(self, service, number)->refused = true;
    if (find_instance(self, service, number)->unit.pid == 0) {
        status_slot_note(status_page_slot(&self->page, service, number), "%s", why);
    }
}

static void on_lost(void *ctx, const char *why)
{
    struct overseer *self = ctx;

    if (strcmp(self->problem, why) != 0) {
        log_warn("systemd does not answer: %s", why);
    }
    snprintf(self->problem, sizeof self->problem, "%s", why);
    settle(self);
}

static const struct bus_events bus_events = {
    .report = on_report, .listed = on_listed, .refused = on_refused, .lost = on_lost
};

/* ---- what time tells ---- */

/* systemd's own watchdog is first; then it has not struck, or is off. */
static bool is_silent(const struct unit *unit, const struct status_slot *slot, uint64_t now_ms)
{
    uint64_t limit_ms = unit->watchdog_ms > STATUS_HUNG_MS ? unit->watchdog_ms : STATUS_HUNG_MS;

    return status_slot_state(slot, now_ms) == STATE_HUNG &&
           now_ms - atomic_load(&slot->heartbeat_ms) > limit_ms + WATCHDOG_MORE_MS;
}

/* As the supervisor does standalone: SIGABRT for a core file, then SIGKILL, which also ends what is
 * stopped. systemd starts it again. */
static void end_hung(struct overseer *self, enum service service, unsigned number, uint64_t now_ms)
{
    struct instance *instance = find_instance(self, service, number);
    const struct status_slot *slot = status_page_slot(&self->page, service, number);
    bool silent, stuck;

    if (instance->unit.phase != UNIT_RUNNING) {
        return;
    }
    if (instance->aborted_ms != 0) {
        if (now_ms - instance->aborted_ms >= LIFECYCLE_ABORT_GRACE_MS) {
            bus_kill(self->bus, service, number, SIGKILL);
        }
        return;
    }
    silent = now_ms - self->awake_ms > WATCHDOG_MORE_MS && is_silent(&instance->unit, slot, now_ms);
    stuck = stall_look(&instance->stall, atomic_load(&slot->answered),
                       atomic_load(&slot->overdue_ms), now_ms);
    if (silent || stuck) {
        instance->aborted_ms = now_ms;
        log_error("%s-%u pid=%lu %s and is sent SIGABRT", service_text(service), number,
                  (unsigned long)instance->unit.pid,
                  silent ? "hangs" : "is stuck: its loop runs, but it answers nothing");
        bus_kill(self->bus, service, number, SIGABRT);
    }
}

static void retry_failed(struct overseer *self, enum service service, unsigned number,
                         uint64_t now_ms)
{
    struct instance *instance = find_instance(self, service, number);
    const char *problem;

    if (instance->unit.phase == UNIT_FAILED && now_ms >= instance->retry_ms &&
        number < requests_instances(&self->requests, service)) {
        log_info("%s-%u is tried again", service_text(service), number);
        if (start_unit(self, service, number, &problem) != LB_OK) {
            instance->retry_ms = now_ms + LIFECYCLE_FAILED_RETRY_MS;
        }
    }
}

static bool is_passing(enum unit_phase phase)
{
    return phase == UNIT_STARTING || phase == UNIT_DRAINING || phase == UNIT_HUNG ||
           phase == UNIT_BACKOFF;
}

static void look_after(struct overseer *self, enum service service, unsigned number,
                       uint64_t now_ms)
{
    if (is_passing(find_instance(self, service, number)->unit.phase)) {
        bus_look(self->bus, service, number);
    }
    end_hung(self, service, number, now_ms);
    retry_failed(self, service, number, now_ms);
}

static void on_tick(uv_timer_t *timer)
{
    struct overseer *self = timer->data;
    uint64_t now_ms = clock_monotonic_ms();
    size_t count;
    const struct roster_row *rows = roster_rows(&count);

    if (now_ms - self->tick_ms > TICK_MS + LATE_MS) {
        self->awake_ms = now_ms;
    }
    self->tick_ms = now_ms;
    if (now_ms - self->started_ms > UNANSWERED_MS) {
        begin(self);
    }
    for (size_t i = 0; bus_is_up(self->bus) && i < count; i++) {
        for (unsigned k = 0; k < STATUS_INSTANCES_MAX; k++) {
            look_after(self, rows[i].service, k, now_ms);
        }
    }
    settle(self);
}

/* ---- life of the supervisor ---- */

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void overseer_free(void *ctx)
{
    struct overseer *self = ctx;

    requests_stop(&self->requests);
    requests_done(&self->requests);
    if (self->timer) {
        uv_close((uv_handle_t *)self->timer, free_handle);
    }
    bus_free(&self->bus);
    page_close(&self->page);
    free(self); /* the lock stays until the process is gone */
}

static lb_err overseer_claim(struct actor *actor, void **ret_ctx)
{
    struct overseer *self;
    int lock;
    lb_err err;

    err = claim_run_folder(actor_paths(actor), actor_instance(actor), &lock);
    if (err != LB_OK) {
        return err;
    }
    self = xcalloc(1, sizeof *self);
    self->actor = actor;
    self->lock = lock;
    *ret_ctx = self;
    return belonging_find(actor_paths(actor), &self->node);
}

static lb_err overseer_start(struct actor *actor, void **ret_ctx)
{
    struct overseer *self = *ret_ctx;
    lb_err err = status_page_open(&self->page, actor_paths(actor)->run_folder, true);

    if (err != LB_OK) {
        return err;
    }
    requests_init(&self->requests, actor, &self->page, &self->node, &manager, self);
    clear_unwanted(self);
    recall_restarts(self);
    self->started_ms = self->tick_ms = self->awake_ms = clock_monotonic_ms();
    self->timer = xcalloc(1, sizeof *self->timer);
    self->timer->data = self;
    uv_timer_init(actor_loop(actor), self->timer);
    uv_timer_start(self->timer, on_tick, TICK_MS, TICK_MS);
    self->bus = bus_new(actor_loop(actor), &bus_events, self);
    actor_state(actor, STATE_STARTING, "asking systemd");
    return LB_OK;
}

/* The services go on: systemd stops them, or does not. */
static void overseer_stop(void *ctx)
{
    struct overseer *self = ctx;

    requests_stop(&self->requests);
    actor_stopped(self->actor);
}

const struct service_definition overseer_definition = {
    .service = SERVICE_SUPERVISOR,
    .request = &lb__supervisor__request__descriptor,
    .reply = &lb__supervisor__reply__descriptor,
    .handlers = requests_handlers,
    .handlers_count = REQUESTS_HANDLERS_COUNT,
    .start = overseer_start,
    .stop = overseer_stop,
    .free = overseer_free,
    .claim = overseer_claim,
    .hangup = requests_hangup,
};
