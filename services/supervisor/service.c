#include "services/supervisor/service.h"

#include "libcommon/clock.h"
#include "libcommon/config.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "proto/supervisor.pb-c.h"
#include "services/supervisor/child.h"
#include "services/supervisor/claim.h"
#include "services/supervisor/inbox.h"
#include "services/supervisor/log_levels.h"
#include "services/supervisor/reload.h"
#include "services/supervisor/sockets.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define CHILDREN_MAX       48
#define RESTARTS_MAX       16     /* requested restarts under way; one more is refused */
#define RESTART_TIMEOUT_MS 60000u /* when the caller does not say how long it waits */
#define DRAIN_LIMIT_MS     60000u /* five services after one another, each killed after 10 s */
#define NOTICES_BUDGET     64     /* datagrams a turn */

/* A requested restart: its instances one after the other. */
struct restart {
    struct call *call; /* NULL: a free place */
    size_t child;      /* the one that is being restarted */
    size_t last_child;
    uint32_t generation; /* it is done once it is ready with a higher one */
    uint64_t deadline_ms;
};

struct supervisor {
    struct actor *actor;
    int lock;
    struct sockets sockets;
    struct inbox inbox;
    struct page page;
    struct child_surroundings surroundings;
    struct child children[CHILDREN_MAX];
    size_t children_count;
    struct restart restarts[RESTARTS_MAX];
    struct reload *reload;
    uv_poll_t *notices;
    uv_signal_t *ended;
    uv_timer_t *timer;
    bool stopping;
    bool stopped;
};

/* ---- requested restarts ---- */

static void reply_done(struct call **call)
{
    Lb__Supervisor__Done done = LB__SUPERVISOR__DONE__INIT;
    Lb__Supervisor__Reply reply = LB__SUPERVISOR__REPLY__INIT;

    reply.body_case = LB__SUPERVISOR__REPLY__BODY_DONE;
    reply.done = &done;
    call_reply(call, &reply.base);
}

static void restart_child(struct supervisor *self, struct restart *restart)
{
    struct child *child = &self->children[restart->child];

    restart->generation = child->life.generation;
    child_tell(child, LIFE_ON_RESTART, 0);
}

static void restart_advance(struct supervisor *self, struct restart *restart, uint64_t now_ms)
{
    const struct child *child = &self->children[restart->child];
    const char *service = service_text(child->row->service);

    if (self->stopping) {
        call_fail(&restart->call, LB_CANCELLED, "the node is being stopped");
    } else if (child->life.generation > restart->generation && child->life.state == LIFE_READY) {
        if (restart->child == restart->last_child) {
            reply_done(&restart->call);
        } else {
            restart->child++;
            restart_child(self, restart);
        }
    } else if (child->life.state == LIFE_FAILED || child->life.state == LIFE_REFUSED) {
        call_fail(&restart->call, LB_UNAVAILABLE, "%s-%u failed: %s", service, child->instance,
                  child->slot->note);
    } else if (now_ms >= restart->deadline_ms) {
        call_fail(&restart->call, LB_TIMEOUT, "%s-%u is not ready again yet", service,
                  child->instance);
    }
}

static void restarts_advance(struct supervisor *self)
{
    uint64_t now_ms = clock_monotonic_ms();

    for (size_t i = 0; i < RESTARTS_MAX; i++) {
        if (self->restarts[i].call) {
            restart_advance(self, &self->restarts[i], now_ms);
        }
    }
}

/* ---- the node as a whole ---- */

/* READY once every service has been: a node that only just starts is not called degraded. */
static void say_how_we_are(struct supervisor *self)
{
    const struct child *worst = NULL;

    for (size_t i = 0; i < self->children_count; i++) {
        const struct child *child = &self->children[i];

        if (!child_has_settled(child)) {
            return;
        }
        if (!child_is_well(child) && (!worst || worst->life.state == LIFE_READY)) {
            worst = child;
        }
    }
    if (worst) {
        actor_state(self->actor, STATE_DEGRADED, "%s-%u is %s", service_text(worst->row->service),
                    worst->instance, service_state_text(child_state(worst)));
    } else {
        actor_state(self->actor, STATE_READY, "all services are ready");
    }
}

static unsigned services_running(const struct supervisor *self)
{
    unsigned running = 0;

    for (size_t i = 0; i < self->children_count; i++) {
        if (lifecycle_has_process(&self->children[i].life)) {
            running |= 1u << self->children[i].row->service;
        }
    }
    return running;
}

/* Tell to stop whom nothing needs any more, and who only waits to be started again. */
static void stop_advance(struct supervisor *self)
{
    unsigned running = services_running(self);

    for (size_t i = 0; i < self->children_count; i++) {
        struct child *child = &self->children[i];

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
    uint64_t due_ms = LIFECYCLE_NEVER;

    for (size_t i = 0; i < self->children_count; i++) {
        uint64_t deadline_ms = lifecycle_deadline_ms(&self->children[i].life);

        due_ms = deadline_ms < due_ms ? deadline_ms : due_ms;
    }
    for (size_t i = 0; i < RESTARTS_MAX; i++) {
        if (self->restarts[i].call && self->restarts[i].deadline_ms < due_ms) {
            due_ms = self->restarts[i].deadline_ms;
        }
    }
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
    restarts_advance(self);
    if (self->stopping) {
        stop_advance(self);
    } else {
        say_how_we_are(self);
    }
    arm(self);
}

/* ---- what the loop tells ---- */

static void on_timer(uv_timer_t *timer)
{
    struct supervisor *self = timer->data;

    for (size_t i = 0; i < self->children_count; i++) {
        child_tell(&self->children[i], LIFE_ON_TIMER, 0);
    }
    settle(self);
}

static struct child *child_by_pid(struct supervisor *self, pid_t pid)
{
    for (size_t i = 0; i < self->children_count; i++) {
        if (pid > 0 && self->children[i].pid == pid) {
            return &self->children[i];
        }
    }
    return NULL;
}

static void receive_notices(struct supervisor *self)
{
    struct notice notice;
    pid_t sender;

    for (int i = 0; i < NOTICES_BUDGET && inbox_receive(&self->inbox, &notice, &sender); i++) {
        struct child *child = child_by_pid(self, sender);

        if (child) {
            child_take_notice(child, &notice);
        } else {
            log_debug("a notification from pid=%ld, which is no service", (long)sender);
        }
    }
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

    (void)number;
    receive_notices(self); /* their last words first */
    for (size_t i = 0; i < self->children_count; i++) {
        child_reap(&self->children[i]);
    }
    settle(self);
}

/* ---- requests ---- */

static struct restart *free_restart(struct supervisor *self)
{
    for (size_t i = 0; i < RESTARTS_MAX; i++) {
        if (!self->restarts[i].call) {
            return &self->restarts[i];
        }
    }
    return NULL;
}

/* How many instances there are; they stand side by side from *ret_first on. */
static size_t find_children(const struct supervisor *self, enum service service, size_t *ret_first)
{
    size_t count = 0;

    for (size_t i = 0; i < self->children_count; i++) {
        if (self->children[i].row->service == service) {
            *ret_first = count == 0 ? i : *ret_first;
            count++;
        }
    }
    return count;
}

static void on_restart(void *ctx, struct call *call, const void *body)
{
    struct supervisor *self = ctx;
    const Lb__Supervisor__Restart *wanted = body;
    struct restart *restart = free_restart(self);
    bool one = wanted->which_case == LB__SUPERVISOR__RESTART__WHICH_INSTANCE;
    uint32_t left_ms = call_time_left_ms(call);
    enum service service;
    size_t first = 0;
    size_t count;

    if (self->stopping) {
        call_fail(&call, LB_CANCELLED, "the node is being stopped");
        return;
    }
    if (service_parse(wanted->service, &service) != LB_OK) {
        call_fail(&call, LB_NOT_FOUND, "there is no such service");
        return;
    }
    if (service == SERVICE_SUPERVISOR) {
        call_fail(&call, LB_UNSUPPORTED,
                  "the supervisor restarts with its node: littlebird down, littlebird up");
        return;
    }
    count = find_children(self, service, &first);
    if (count == 0 || (one && wanted->instance >= count)) {
        call_fail(&call, LB_NOT_FOUND, "%s has no such instance", service_text(service));
        return;
    }
    if (!restart) {
        call_fail(&call, LB_FULL, "%d restarts are under way", RESTARTS_MAX);
        return;
    }
    restart->call = call;
    restart->child = one ? first + wanted->instance : first;
    restart->last_child = one ? restart->child : first + count - 1;
    restart->deadline_ms =
        clock_monotonic_ms() + (left_ms == UINT32_MAX ? RESTART_TIMEOUT_MS : left_ms);
    restart_child(self, restart);
    settle(self);
}

static void on_scale(void *ctx, struct call *call, const void *body)
{
    const struct supervisor *self = ctx;
    const Lb__Supervisor__Scale *wanted = body;
    enum service service;
    size_t first;
    size_t count;

    if (service_parse(wanted->service, &service) != LB_OK ||
        (count = find_children(self, service, &first)) == 0) {
        call_fail(&call, LB_NOT_FOUND, "there is no such service to scale");
    } else if (wanted->instances != count) {
        call_fail(&call, LB_UNSUPPORTED, "%s runs with %zu; a running node is not scaled yet%s",
                  service_text(service), count,
                  service == SERVICE_TRANSPORT ? ": set transport.workers and start it anew" : "");
    } else {
        reply_done(&call);
    }
}

static void on_set_log_level(void *ctx, struct call *call, const void *body)
{
    const struct supervisor *self = ctx;

    log_levels_set(&self->page, call, body, clock_monotonic_ms());
}

static void on_reload(void *ctx, struct call *call, const void *body)
{
    struct supervisor *self = ctx;
    const Lb__Supervisor__Reload *wanted = body;

    reload_ask(self->reload, call, wanted->dry_run);
}

static void supervisor_hangup(void *ctx)
{
    struct supervisor *self = ctx;

    reload_hangup(self->reload);
}

static void on_stop(void *ctx, struct call *call, const void *body)
{
    (void)ctx;
    (void)body;
    log_info("asked to stop");
    reply_done(&call);
    raise(SIGTERM); /* the one way in which a service begins to drain */
}

static handler_fn *const handlers[] = {
    [LB__SUPERVISOR__REQUEST__BODY_RESTART] = on_restart,
    [LB__SUPERVISOR__REQUEST__BODY_SCALE] = on_scale,
    [LB__SUPERVISOR__REQUEST__BODY_STOP] = on_stop,
    [LB__SUPERVISOR__REQUEST__BODY_SET_LOG_LEVEL] = on_set_log_level,
    [LB__SUPERVISOR__REQUEST__BODY_RELOAD] = on_reload,
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
                               (uv_handle_t *)self->notices };

    for (size_t i = 0; i < self->children_count; i++) {
        child_kill(&self->children[i]); /* there is none after a drain */
    }
    for (size_t i = 0; i < RESTARTS_MAX; i++) {
        if (self->restarts[i].call) {
            call_fail(&self->restarts[i].call, LB_CANCELLED, "the node is being stopped");
        }
    }
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++) {
        if (handles[i]) {
            uv_close(handles[i], free_handle);
        }
    }
    reload_free(&self->reload);
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

static lb_err bind_all(struct supervisor *self)
{
    const struct paths *paths = actor_paths(self->actor);
    struct sockets_problem problem;
    lb_err err;

    if (inbox_init(&self->inbox, paths->run_folder) != LB_OK) {
        log_error("the path of the run folder is too long: %s", paths->run_folder);
        return LB_TOO_BIG;
    }
    claim_await_orphans(paths, self->inbox.address.sun_path);
    err = inbox_bind(&self->inbox);
    if (err != LB_OK) {
        log_error("cannot bind %s: %s", self->inbox.address.sun_path, strerror(errno));
        return err;
    }
    err = sockets_bind(&self->sockets, actor_config(self->actor), paths, &problem);
    if (err != LB_OK) {
        log_error("%s", problem.text);
    }
    return err;
}

static lb_err supervisor_claim(struct actor *actor, void **ret_ctx)
{
    struct supervisor *self;
    int lock;
    lb_err err;

    if (actor_instance(actor) != 0) {
        log_error("a node has one supervisor: --instance is not for it");
        return LB_INVALID;
    }
    err = claim_run_folder(actor_paths(actor), &lock);
    if (err != LB_OK) {
        return err;
    }
    self = xcalloc(1, sizeof *self);
    self->actor = actor;
    self->lock = lock;
    self->inbox.fd = -1;
    *ret_ctx = self;
    err = find_program_folder(self->surroundings.program_folder);
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

static void add_service(struct supervisor *self, const struct roster_row *row)
{
    const struct config *config = actor_config(self->actor);
    unsigned instances = sockets_instances(config, row->service);

    for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++) {
        struct status_slot *slot = status_page_slot(&self->page, row->service, i);
        struct child unused;
        bool used = i < instances;

        assert(!used || self->children_count < CHILDREN_MAX);
        child_init(used ? &self->children[self->children_count++] : &unused, &self->surroundings,
                   row, i, slot);
    }
}

static void add_children(struct supervisor *self)
{
    uint64_t watchdog_ms = config_number(actor_config(self->actor), CONFIG_WATCHDOG);
    size_t count;
    const struct roster_row *rows = roster_rows(&count);

    self->surroundings.sockets = &self->sockets;
    self->surroundings.arguments = actor_arguments(self->actor);
    self->surroundings.notify_socket = self->inbox.address.sun_path;
    for (size_t i = 0; i < count; i++) {
        add_service(self, &rows[i]);
    }
    for (size_t i = 0; i < self->children_count; i++) {
        lifecycle_init(&self->children[i].life, watchdog_ms, clock_entropy());
    }
}

static void publish_active(struct supervisor *self)
{
    size_t count, first;
    const struct roster_row *rows = roster_rows(&count);

    status_page_set_active(&self->page, SERVICE_SUPERVISOR, 1);
    for (size_t i = 0; i < count; i++) {
        status_page_set_active(&self->page, rows[i].service,
                               (unsigned)find_children(self, rows[i].service, &first));
    }
}

static lb_err supervisor_start(struct actor *actor, void **ret_ctx)
{
    struct supervisor *self = *ret_ctx;
    lb_err err = status_page_open(&self->page, actor_paths(actor)->run_folder, true);

    if (err == LB_OK) {
        err = watch_events(self);
    }
    if (err != LB_OK) {
        return err;
    }
    self->reload = reload_new(actor, &self->page);
    add_children(self);
    publish_active(self);
    for (size_t i = 0; i < self->sockets.listen_count; i++) {
        log_info("listening on %s", self->sockets.listen[i]);
    }
    actor_state(actor, STATE_STARTING, "starting the services");
    for (size_t i = 0; i < self->children_count; i++) {
        child_tell(&self->children[i], LIFE_ON_START, 0);
    }
    settle(self);
    return LB_OK;
}

static void supervisor_stop(void *ctx)
{
    struct supervisor *self = ctx;

    self->stopping = true;
    settle(self);
}

const struct service_definition supervisor_definition = {
    .service = SERVICE_SUPERVISOR,
    .request = &lb__supervisor__request__descriptor,
    .reply = &lb__supervisor__reply__descriptor,
    .handlers = handlers,
    .handlers_count = sizeof handlers / sizeof handlers[0],
    .start = supervisor_start,
    .stop = supervisor_stop,
    .free = supervisor_free,
    .claim = supervisor_claim,
    .drain_limit_ms = DRAIN_LIMIT_MS,
    .hangup = supervisor_hangup,
};
