#include "services/supervisor/service.h"

#include "libcommon/clock.h"
#include "libcommon/config.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "proto/supervisor.pb-c.h"
#include "services/supervisor/belonging.h"
#include "services/supervisor/children.h"
#include "services/supervisor/claim.h"
#include "services/supervisor/inbox.h"
#include "services/supervisor/process.h"
#include "services/supervisor/requests.h"
#include "services/supervisor/sockets.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define DRAIN_LIMIT_MS  60000u /* five services after one another, each killed after 10 s */
#define ORPHAN_GRACE_MS 500u   /* a service that is told twice ends at once */
#define BIND_TRIES      20
#define BIND_PAUSE_NS   50000000                   /* 50 ms */
#define SLEPT_MS        (3u * STATUS_HEARTBEAT_MS) /* the loop wakes up at each heartbeat of its own */
#define NOTICES_BUDGET  64                         /* datagrams a turn */

struct supervisor {
    struct requests requests; /* first: see there */
    struct actor *actor;
    int lock;
    struct roster_node node;
    struct sockets sockets;
    struct inbox inbox;
    struct page page;
    struct children children;
    uv_poll_t *notices;
    uv_signal_t *ended;
    uv_timer_t *timer;
    uv_check_t *awake;
    uint64_t awake_ms; /* when the loop last woke up */
    bool stopping;
    bool stopped;
};

/* ---- the node as a whole ---- */

/* Tell to stop whom nothing needs any more, and who only waits to be started again. */
static void stop_advance(struct supervisor *self)
{
    unsigned running = children_running(&self->children);
    struct child *child = NULL;

    while ((child = children_next(&self->children, child)) != NULL) {
        if (!lifecycle_has_process(&child->life) || roster_may_stop(child->row->service, running)) {
            child_tell(child, LIFE_ON_STOP, 0);
        }
    }
    if (running == 0 && !self->stopped) {
        self->stopped = true;
        actor_stopped(self->actor);
    }
}

static void on_timer(uv_timer_t *timer);

static void arm(struct supervisor *self)
{
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t due_ms = children_deadline_ms(&self->children);
    uint64_t asked_ms = requests_deadline_ms(&self->requests, now_ms);

    due_ms = asked_ms < due_ms ? asked_ms : due_ms;
    if (due_ms == LIFECYCLE_NEVER) {
        uv_timer_stop(self->timer);
        return;
    }
    uv_update_time(actor_loop(self->actor));
    uv_timer_start(self->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
}

/* After anything happened: what follows from it for the others. */
static void settle(struct supervisor *self)
{
    requests_advance(&self->requests, clock_monotonic_ms());
    if (self->stopping) {
        stop_advance(self);
    } else {
        requests_say_state(&self->requests);
    }
    arm(self);
}

/* ---- what the loop tells ---- */

static void receive_notices(struct supervisor *self)
{
    struct notice notice;
    pid_t sender;

    for (int i = 0; i < NOTICES_BUDGET && inbox_receive(&self->inbox, &notice, &sender); i++) {
        struct child *child = children_by_pid(&self->children, sender);

        if (child) {
            child_take_notice(child, &notice);
        } else {
            log_debug("a notification from pid=%ld, which is no service", (long)sender);
        }
    }
}

/*
 * After every wait of the loop, before its timers. It never waits longer than for our own
 * heartbeat: when it did we were stopped by SIGSTOP, or with the whole machine. The beats that came
 * meanwhile are not all in the queue: who is silent is judged anew from now on.
 */
static void on_awake(uv_check_t *awake)
{
    struct supervisor *self = awake->data;
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t slept_ms = now_ms - self->awake_ms;
    struct child *child = NULL;

    self->awake_ms = now_ms;
    if (slept_ms < SLEPT_MS) {
        return;
    }
    log_warn("slept for %.1f s: whether services hang is judged anew", (double)slept_ms / 1000.0);
    while ((child = children_next(&self->children, child)) != NULL) {
        child_tell(child, LIFE_ON_BEAT, 0);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct supervisor *self = timer->data;
    struct child *child = NULL;

    receive_notices(self); /* who beats in time does not hang because we are late */
    while ((child = children_next(&self->children, child)) != NULL) {
        child_tell(child, LIFE_ON_TIMER, 0);
    }
    settle(self);
}

static void on_notices(uv_poll_t *poll, int status, int events)
{
    struct supervisor *self = poll->data;

    (void)status;
    (void)events;
    receive_notices(self);
    settle(self);
}

static void on_ended(uv_signal_t *signal, int number)
{
    struct supervisor *self = signal->data;
    struct child *child = NULL;

    (void)number;
    receive_notices(self); /* their last words first */
    while ((child = children_next(&self->children, child)) != NULL) {
        child_reap(child);
    }
    settle(self);
}

/* ---- as manager.h wants it ---- */

static lb_err manager_start(void *ctx, enum service service, unsigned instance,
                            const char **ret_problem)
{
    struct supervisor *self = ctx;

    return children_start(&self->children, service, instance, ret_problem);
}

static void manager_restart(void *ctx, enum service service, unsigned instance)
{
    struct supervisor *self = ctx;

    children_restart(&self->children, service, instance);
}

static void manager_stop(void *ctx, enum service service, unsigned instance)
{
    struct supervisor *self = ctx;

    children_stop(&self->children, service, instance);
}

static void manager_release(void *ctx, enum service service, unsigned instance)
{
    struct supervisor *self = ctx;

    children_release(&self->children, service, instance);
}

static void manager_steer(void *ctx, enum service service, unsigned active)
{
    struct supervisor *self = ctx;

    children_steer(&self->children, service, active);
}

static enum manager_condition manager_look(void *ctx, enum service service, unsigned instance,
                                           uint32_t *ret_generation)
{
    struct supervisor *self = ctx;

    return children_look(&self->children, service, instance, ret_generation);
}

static bool manager_has_settled(void *ctx, enum service service, unsigned instance)
{
    const struct supervisor *self = ctx;

    return child_has_settled(&self->children.of[service][instance]);
}

static enum service_state manager_state(void *ctx, enum service service, unsigned instance)
{
    const struct supervisor *self = ctx;

    return child_state(&self->children.of[service][instance]);
}

static void manager_settle(void *ctx)
{
    settle(ctx);
}

static void manager_stop_node(void *ctx)
{
    (void)ctx;
    raise(SIGTERM); /* the one way in which a service begins to drain */
}

static const struct manager manager = {
    .start = manager_start,
    .restart = manager_restart,
    .stop = manager_stop,
    .release = manager_release,
    .steer = manager_steer,
    .look = manager_look,
    .has_settled = manager_has_settled,
    .state = manager_state,
    .settle = manager_settle,
    .stop_node = manager_stop_node,
};

/* ---- life of the supervisor ---- */

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void supervisor_free(void *ctx)
{
    struct supervisor *self = ctx;
    uv_handle_t *handles[] = { (uv_handle_t *)self->timer, (uv_handle_t *)self->ended,
                               (uv_handle_t *)self->notices, (uv_handle_t *)self->awake };
    struct child *child = NULL;

    while ((child = children_next(&self->children, child)) != NULL) {
        child_kill(child); /* there is none after a drain */
    }
    requests_stop(&self->requests);
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++) {
        if (handles[i]) {
            uv_close(handles[i], free_handle);
        }
    }
    requests_done(&self->requests);
    inbox_close(&self->inbox);
    sockets_close(&self->sockets);
    page_close(&self->page);
    free(self); /* the lock stays until the process is gone */
}

static lb_err find_program_folder(char ret_folder[PATH_MAX])
{
    ssize_t size = readlink("/proc/self/exe", ret_folder, PATH_MAX - 1);
    char *slash;

    if (size <= 0) {
        log_error("cannot read /proc/self/exe: %s", strerror(errno));
        return LB_IO;
    }
    ret_folder[size] = '\0';
    slash = strrchr(ret_folder, '/');
    if (slash) {
        *slash = '\0';
    }
    return LB_OK;
}

/*
 * Tried again for a second: a process of a supervisor that was killed may be on its way out, when
 * /proc shows of it neither environment nor arguments any more, and it still holds its ports.
 */
static lb_err bind_sockets(struct supervisor *self)
{
    const struct timespec pause = { .tv_nsec = BIND_PAUSE_NS };
    struct sockets_problem problem;
    lb_err err = LB_IO;

    for (int i = 0; i < BIND_TRIES && err == LB_IO; i++) {
        if (i > 0) {
            nanosleep(&pause, NULL);
        }
        err = sockets_bind(&self->sockets, actor_config(self->actor), &self->node,
                           actor_paths(self->actor), &problem);
    }
    if (err != LB_OK) {
        log_error("%s", problem.text);
    }
    return err;
}

static lb_err bind_all(struct supervisor *self)
{
    const struct paths *paths = actor_paths(self->actor);
    lb_err err;

    if (inbox_init(&self->inbox, paths->run_folder) != LB_OK) {
        log_error("the path of the run folder is too long: %s", paths->run_folder);
        return LB_TOO_BIG;
    }
    process_end_orphans(self->inbox.address.sun_path, ORPHAN_GRACE_MS);
    err = inbox_bind(&self->inbox);
    if (err != LB_OK) {
        log_error("cannot bind %s: %s", self->inbox.address.sun_path, strerror(errno));
        return err;
    }
    return bind_sockets(self);
}

static lb_err supervisor_claim(struct actor *actor, void **ret_ctx)
{
    struct supervisor *self;
    int lock;
    lb_err err;

    err = claim_run_folder(actor_paths(actor), actor_instance(actor), &lock);
    if (err != LB_OK) {
        return err;
    }
    self = xcalloc(1, sizeof *self);
    self->actor = actor;
    self->lock = lock;
    self->inbox.fd = -1;
    *ret_ctx = self;
    err = belonging_find(actor_paths(actor), &self->node);
    if (err == LB_OK) {
        err = find_program_folder(self->children.surroundings.program_folder);
    }
    return err == LB_OK ? bind_all(self) : err;
}

static lb_err watch_events(struct supervisor *self)
{
    uv_loop_t *loop = actor_loop(self->actor);
    int failed;

    self->timer = xcalloc(1, sizeof *self->timer);
    self->ended = xcalloc(1, sizeof *self->ended);
    self->timer->data = self;
    self->ended->data = self;
    failed = uv_timer_init(loop, self->timer);
    assert(failed == 0);
    failed = uv_signal_init(loop, self->ended);
    assert(failed == 0);
    self->awake = xcalloc(1, sizeof *self->awake);
    self->awake->data = self;
    self->awake_ms = clock_monotonic_ms();
    failed = uv_check_init(loop, self->awake);
    assert(failed == 0);
    failed = uv_check_start(self->awake, on_awake);
    assert(failed == 0);
    failed = uv_signal_start(self->ended, on_ended, SIGCHLD);
    if (failed == 0) {
        uv_poll_t *notices = xcalloc(1, sizeof *notices);

        notices->data = self;
        failed = uv_poll_init(loop, notices, self->inbox.fd);
        if (failed != 0) {
            free(notices);
        } else {
            self->notices = notices;
            failed = uv_poll_start(notices, UV_READABLE, on_notices);
        }
    }
    if (failed != 0) {
        log_error("cannot watch the services: %s", uv_strerror(failed));
        return LB_IO;
    }
    return LB_OK;
}

static void add_children(struct supervisor *self)
{
    const struct config *config = actor_config(self->actor);
    struct children *children = &self->children;
    size_t count;
    const struct roster_row *rows = roster_rows(&count);

    children->sockets = &self->sockets;
    children->paths = actor_paths(self->actor);
    children->page = &self->page;
    children->watchdog_ms = config_number(config, CONFIG_WATCHDOG);
    children->surroundings.stuck_ms = config_number(config, CONFIG_STUCK);
    children->surroundings.sockets = &self->sockets;
    children->surroundings.arguments = actor_arguments(self->actor);
    children->surroundings.notify_socket = self->inbox.address.sun_path;
    requests_init(&self->requests, self->actor, &self->page, &self->node, &manager, self);
    for (size_t i = 0; i < count; i++) {
        bool is_wanted = roster_wants(&rows[i], &self->node);
        unsigned instances = is_wanted ? sockets_instances(config, rows[i].service) : 0;

        children_set(children, rows[i].service, instances);
        if (is_wanted) {
            requests_set_instances(&self->requests, rows[i].service, instances);
        }
    }
}

static lb_err supervisor_start(struct actor *actor, void **ret_ctx)
{
    struct supervisor *self = *ret_ctx;
    struct child *child = NULL;
    lb_err err = status_page_open(&self->page, actor_paths(actor)->run_folder, true);

    if (err == LB_OK) {
        err = watch_events(self);
    }
    if (err != LB_OK) {
        return err;
    }
    add_children(self);
    for (size_t i = 0; i < self->sockets.listen_count; i++) {
        log_info("listening on %s", self->sockets.listen[i]);
    }
    actor_state(actor, STATE_STARTING, "starting the services");
    while ((child = children_next(&self->children, child)) != NULL) {
        child_tell(child, LIFE_ON_START, 0);
    }
    settle(self);
    return LB_OK;
}

static void supervisor_stop(void *ctx)
{
    struct supervisor *self = ctx;

    self->stopping = true;
    requests_stop(&self->requests);
    settle(self);
}

const struct service_definition supervisor_definition = {
    .service = SERVICE_SUPERVISOR,
    .request = &lb__supervisor__request__descriptor,
    .reply = &lb__supervisor__reply__descriptor,
    .handlers = requests_handlers,
    .handlers_count = REQUESTS_HANDLERS_COUNT,
    .start = supervisor_start,
    .stop = supervisor_stop,
    .free = supervisor_free,
    .claim = supervisor_claim,
    .drain_limit_ms = DRAIN_LIMIT_MS,
    .hangup = requests_hangup,
};
