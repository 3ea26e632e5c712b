#include "libcommon/actor_inside.h"

#include "libcommon/accept.h"
#include "libcommon/clock.h"
#include "libcommon/config.h"
#include "libcommon/link.h"
#include "libcommon/listen.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/notify.h"
#include "libcommon/usage.h"
#include "libcommon/watch.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#define DRAIN_MS  5000
#define LINGER_MS 100

/* ---- for services ---- */

struct uv_loop_s *actor_loop(const struct actor *self)
{
    return (struct uv_loop_s *)&self->loop;
}

void *actor_zmq(const struct actor *self)
{
    return self->zmq;
}

const struct config *actor_config(const struct actor *self)
{
    return self->config;
}

const struct paths *actor_paths(const struct actor *self)
{
    return &self->paths;
}

unsigned actor_instance(const struct actor *self)
{
    return self->instance;
}

char *const *actor_arguments(const struct actor *self)
{
    return self->arguments;
}

struct status_slot *actor_status(const struct actor *self)
{
    return self->slot;
}

uint64_t actor_now_ms(const struct actor *self)
{
    return uv_now(&self->loop);
}

unsigned actor_active(const struct actor *self, enum service service)
{
    assert((unsigned)service < SERVICES_COUNT);
    return self->active[service];
}

lb_err actor_read_config(const struct actor *self, struct config **ret_now, uint64_t *ret_digest,
                         struct config_problem *ret_problem)
{
    return orders_read_config(&self->orders, ret_now, ret_digest, ret_problem);
}

uint64_t actor_random_seed(const struct actor *self)
{
    (void)self;
    return clock_entropy();
}

struct status_counter *actor_counter(struct actor *self, const char *name)
{
    struct status_counter *counter = status_slot_counter(self->slot, name);

    return counter != NULL ? counter : &self->spare_counter;
}

void actor_state(struct actor *self, enum service_state state, const char *format, ...)
{
    char note[STATUS_NOTE_SIZE];
    va_list arguments;

    if (self->draining && state != STATE_DRAINING)
        return;
    va_start(arguments, format);
    vsnprintf(note, sizeof note, format, arguments);
    va_end(arguments);
    if (state == self->state && strcmp(note, self->slot->note) == 0)
        return;
    if (state != self->state)
        log_info("%s%s%s", service_state_text(state), note[0] != '\0' ? ": " : "", note);
    self->state = state;
    atomic_store(&self->slot->state, (uint32_t)state);
    status_slot_note(self->slot, "%s", note);
    notify_status("%s%s%s", service_state_text(state), note[0] != '\0' ? ": " : "", note);
    if (!self->said_ready && (state == STATE_READY || state == STATE_DEGRADED)) {
        self->said_ready = true;
        notify_ready();
    }
}

void actor_free_later(struct actor *self, void *memory)
{
    struct later *later = xcalloc(1, sizeof *later);

    later->memory = memory;
    later->next = self->later;
    self->later = later;
}

void actor_stopped(struct actor *self)
{
    uv_stop(&self->loop);
}

struct link *actor_link(struct actor *self, enum service service, unsigned instance,
                        const ProtobufCMessageDescriptor *reply)
{
    char endpoint[PATHS_SIZE + 64];
    struct link *link;

    assert(self->links_count < sizeof self->links / sizeof self->links[0]);
    snprintf(endpoint, sizeof endpoint, "ipc://%s/%s-%u.sock", self->paths.run_folder,
             service_text(service), instance);
    link = link_new(&self->loop, self->zmq, endpoint, reply);
    self->links[self->links_count++] = link;
    return link;
}

/* ---- life ---- */

/* Has a service grown or shrunk since the last time? */
static bool read_active(struct actor *self)
{
    bool changed = false;

    for (int i = 0; i < SERVICES_COUNT; i++) {
        unsigned active = status_page_active(&self->status_page, (enum service)i);

        changed = changed || active != self->active[i];
        self->active[i] = active;
    }
    return changed;
}

void actor_look(struct actor *self)
{
    if (read_active(self) && self->definition->scaled != NULL)
        self->definition->scaled(self->ctx);
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct actor *self = timer->data;
    uint64_t now_ms = actor_now_ms(self);
    uint64_t age_ms = calls_backlog_ms(self, now_ms);

    atomic_store(&self->slot->heartbeat_ms, clock_monotonic_ms());
    atomic_store(&self->slot->queue, self->calls_count);
    atomic_store(&self->slot->backlog_ms, age_ms < UINT32_MAX ? (uint32_t)age_ms : UINT32_MAX);
    atomic_store(&self->slot->answered, self->answered);
    atomic_store(&self->slot->overdue_ms, calls_overdue_ms(self));
    if (self->watchdog_interval_ms != 0 && now_ms >= self->watchdog_due_ms) {
        self->watchdog_due_ms = now_ms + self->watchdog_interval_ms;
        notify_watchdog();
    }
    notify_again();
    actor_look(self);
    if (orders_look(&self->orders, now_ms) && self->definition->reload != NULL)
        self->definition->reload(self->ctx, self->config);
    usage_publish(self->slot, now_ms);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    struct actor *self = handle->data;

    (void)number;
    if (self->definition->hangup != NULL)
        self->definition->hangup(self->ctx);
    else if (orders_reload(&self->orders) && self->definition->reload != NULL)
        self->definition->reload(self->ctx, self->config);
}

static void on_drain_limit(uv_timer_t *timer)
{
    struct actor *self = timer->data;

    log_warn("not drained in time, ending");
    uv_stop(&self->loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct actor *self = handle->data;

    if (self->draining) {
        log_warn("asked to stop a second time (signal %d), ending now", number);
        uv_stop(&self->loop);
        return;
    }
    actor_state(self, STATE_DRAINING, "stopping");
    self->draining = true;
    notify_stopping();
    uv_timer_start(
        &self->drain_limit, on_drain_limit,
        self->definition->drain_limit_ms > 0 ? self->definition->drain_limit_ms : DRAIN_MS, 0);
    if (self->definition->stop != NULL)
        self->definition->stop(self->ctx);
    else
        actor_stopped(self);
}

static void set_option(void *socket, int option, int value)
{
    int failed = zmq_setsockopt(socket, option, &value, sizeof value);

    assert(failed == 0);
}

static lb_err open_mailbox(struct actor *self)
{
    char endpoint[PATHS_SIZE + 64];
    const char *path = endpoint + strlen("ipc://");
    lb_err err;
    int fd;

    snprintf(endpoint, sizeof endpoint, "ipc://%s/%s-%u.sock", self->paths.run_folder,
             service_text(self->definition->service), self->instance);
    err = notify_listen_fd(LISTEN_MAILBOX, 0, &fd);
    if (err != LB_OK)
        err = listen_ipc(path, &fd);
    if (err != LB_OK) {
        log_error("cannot listen on %s: %s", path, lb_err_text(err));
        return err;
    }
    self->mailbox = zmq_socket(self->zmq, ZMQ_ROUTER);
    assert(self->mailbox != NULL);
    set_option(self->mailbox, ZMQ_ROUTER_MANDATORY, 1);
    set_option(self->mailbox, ZMQ_LINGER, LINGER_MS);
    set_option(self->mailbox, ZMQ_SNDHWM, (int)ACTOR_CALLS_MAX); /* as many replies as calls */
    set_option(self->mailbox, ZMQ_USE_FD, fd);
    zmq_setsockopt(self->mailbox, ZMQ_MAXMSGSIZE, &(int64_t){ ACTOR_MESSAGE_MAX }, sizeof(int64_t));
    if (zmq_bind(self->mailbox, endpoint) != 0) {
        log_error("cannot listen on %s: %s", path, zmq_strerror(errno));
        close(fd);
        return LB_IO;
    }
    return LB_OK;
}

static lb_err open_status(struct actor *self)
{
    lb_err err = status_page_open(&self->status_page, self->paths.run_folder, true);

    if (err != LB_OK) {
        log_error("cannot open %s/status.shm: %s", self->paths.run_folder, lb_err_text(err));
        return err;
    }
    self->slot = status_page_slot(&self->status_page, self->definition->service, self->instance);
    memset(self->slot->counters, 0, sizeof self->slot->counters);
    atomic_store(&self->slot->pid, (uint32_t)getpid());
    atomic_store(&self->slot->since_ms, clock_monotonic_ms());
    atomic_store(&self->slot->heartbeat_ms, clock_monotonic_ms());
    atomic_store(&self->slot->queue, 0);
    atomic_store(&self->slot->backlog_ms, 0);
    atomic_store(&self->slot->overdue_ms, 0);
    atomic_store(&self->slot->answered, 0);
    atomic_fetch_add(&self->slot->generation, 1);
    atomic_store(&self->slot->state, STATE_STARTING);
    status_slot_note(self->slot, "starting");
    memset(self->slot->listens, 0, sizeof self->slot->listens);
    read_active(self);
    orders_init(&self->orders, &self->status_page, self->definition->service, self->slot,
                self->config);
    self->orders.file = self->paths.config_file;
    self->orders.overrides = self->options.overrides;
    self->requests = actor_counter(self, "requests");
    self->refused = actor_counter(self, "requests_refused");
    self->denied = actor_counter(self, "requests_denied");
    self->replies_lost = actor_counter(self, "replies_lost");
    return LB_OK;
}

/* Once the page is open: it tells services apart. */
static void open_senders(struct actor *self)
{
    const struct service_definition *definition = self->definition;

    senders_init(&self->senders, &self->paths, definition->service, &self->status_page);
    self->may_send = xcalloc(definition->handlers_count, sizeof *self->may_send);
    for (unsigned i = 0; i < definition->request->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &definition->request->fields[i];

        if (field->id < definition->handlers_count)
            self->may_send[field->id] = access_senders(definition->service, field->name);
    }
}

static void open_loop(struct actor *self)
{
    int failed = uv_loop_init(&self->loop);

    assert(failed == 0);
    uv_timer_init(&self->loop, &self->heartbeat);
    uv_timer_init(&self->loop, &self->drain_limit);
    uv_signal_init(&self->loop, &self->sigterm);
    uv_signal_init(&self->loop, &self->sigint);
    uv_signal_init(&self->loop, &self->sighup);
    self->heartbeat.data = self->drain_limit.data = self->sigterm.data = self->sigint.data = self;
    self->sighup.data = self;
    accept_keep_spare();
    self->zmq = zmq_ctx_new();
    assert(self->zmq != NULL);
    zmq_ctx_set(self->zmq, ZMQ_IO_THREADS, 1);
    zmq_ctx_set(self->zmq, ZMQ_MAX_SOCKETS, 256);
}

/* Everything the service needs is there: let it start, then take requests. */
static lb_err start(struct actor *self)
{
    lb_err err = self->definition->start(self, &self->ctx);

    if (err != LB_OK)
        return err;
    self->mailbox_watch = watch_new_drain(&self->loop, self->mailbox, calls_drain_mailbox, self);
    self->watchdog_interval_ms = notify_watchdog_interval_ms();
    uv_timer_start(&self->heartbeat, on_heartbeat, 0, STATUS_HEARTBEAT_MS);
    uv_signal_start(&self->sigterm, on_signal, SIGTERM);
    uv_signal_start(&self->sigint, on_signal, SIGINT);
    uv_signal_start(&self->sighup, on_hangup, SIGHUP);
    if (self->state == STATE_ABSENT) /* it had nothing to say */
        actor_state(self, STATE_READY, "%s", "");
    return LB_OK;
}

/* Calls and links first end, while the service still is; then the service; then all the rest. */
static void close_actor(struct actor *self)
{
    for (unsigned i = 0; i < self->links_count; i++)
        link_cancel_all(self->links[i]);
    if (self->ctx != NULL)
        self->definition->free(self->ctx);
    calls_end(self);
    for (unsigned i = 0; i < self->links_count; i++)
        link_free(&self->links[i]);
    watch_free(&self->mailbox_watch);
    if (self->mailbox != NULL)
        zmq_close(self->mailbox);
    uv_close((uv_handle_t *)&self->heartbeat, NULL);
    uv_close((uv_handle_t *)&self->drain_limit, NULL);
    uv_close((uv_handle_t *)&self->sigterm, NULL);
    uv_close((uv_handle_t *)&self->sigint, NULL);
    uv_close((uv_handle_t *)&self->sighup, NULL);
    /* Only closing handles should be left; a service that forgot one must not hang us here. */
    for (int turn = 0; turn < 100 && uv_loop_close(&self->loop) == UV_EBUSY; turn++)
        uv_run(&self->loop, UV_RUN_NOWAIT);
    while (self->later != NULL) {
        struct later *later = self->later;

        self->later = later->next;
        free(later->memory);
        free(later);
    }
    zmq_ctx_term(self->zmq);
    if (self->slot != NULL) {
        atomic_store(&self->slot->state, STATE_STOPPED);
        atomic_store(&self->slot->pid, 0);
    }
    page_close(&self->status_page);
}

static int exit_code(lb_err err)
{
    switch (err) {
    case LB_OK:
        return 0;
    case LB_INVALID:
        return EX_CONFIG;
    case LB_DENIED:
        return EX_NOPERM;
    default:
        return 1;
    }
}

static lb_err run(struct actor *self)
{
    lb_err err;

    open_loop(self);
    err = self->definition->claim != NULL ? self->definition->claim(self, &self->ctx) : LB_OK;
    if (err == LB_OK)
        err = open_status(self);
    if (err == LB_OK)
        open_senders(self);
    if (err == LB_OK)
        err = open_mailbox(self);
    if (err == LB_OK)
        err = start(self);
    if (err == LB_OK) {
        uv_run(&self->loop, UV_RUN_DEFAULT);
        log_info("stopped");
    } else {
        log_error("did not start: %s", lb_err_text(err));
    }
    close_actor(self);
    return err;
}

static void prepare_process(void)
{
    const char *on_parent_death = getenv("LB_PARENT_DEATH");

    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    mallopt(M_ARENA_MAX, 2); /* an arena for each thread costs memory and buys us nothing */
    if (on_parent_death != NULL && strcmp(on_parent_death, "stop") == 0)
        prctl(PR_SET_PDEATHSIG, SIGTERM);
}

/* Options, folders and configuration; *ret_exit is meaningful when it says false. */
static bool prepare(struct actor *self, int argc, char **argv, int *ret_exit)
{
    struct config_problem problem;
    const char *old;
    lb_err err;

    if (!options_parse(&self->options, service_text(self->definition->service), argc, argv,
                       ret_exit))
        return false;
    log_init(service_text(self->definition->service), LOG_LEVEL_INFO);
    self->instance = self->options.instance;
    err = options_paths(&self->options, &self->paths);
    if (err == LB_OK)
        paths_of_service(&self->paths, self->definition->service);
    if (err == LB_OK && paths_has_old_state(&self->paths, &old)) {
        log_error(
            "/var/lib/littlebird/%s is of a node that ran as one user; now lb-swarm keeps its "
            "state in /var/lib/littlebird/net as _lb-net, and all others in "
            "/var/lib/littlebird/data as _lb-data: move it there, or away",
            old);
        *ret_exit = EX_CONFIG;
        return false;
    }
    if (err == LB_OK)
        err = paths_make(&self->paths);
    if (err != LB_OK) {
        log_error("cannot use the folder %s: %s",
                  self->options.dir != NULL ? self->options.dir : "of the user", lb_err_text(err));
        *ret_exit = err == LB_DENIED ? EX_NOPERM : EX_CONFIG;
        return false;
    }
    err = config_load(&self->config, self->paths.config_file, self->options.overrides, &problem);
    if (err != LB_OK) {
        log_error("%s", problem.text);
        *ret_exit = EX_CONFIG;
        return false;
    }
    log_set_level((enum log_level)config_number(self->config, CONFIG_LOG_LEVEL));
    return true;
}

const char *actor_unhandled(const struct service_definition *definition)
{
    const ProtobufCMessageDescriptor *request = definition->request;

    if (definition->handlers == NULL)
        return NULL;
    for (unsigned i = 0; i < request->n_fields; i++) {
        uint32_t oneof_case = request->fields[i].id;

        if (oneof_case >= definition->handlers_count || definition->handlers[oneof_case] == NULL)
            return request->fields[i].name;
    }
    return NULL;
}

int actor_main(const struct service_definition *definition, int argc, char **argv)
{
    const char *unhandled = definition->is_partial ? NULL : actor_unhandled(definition);
    struct actor *self;
    int result = 0;

    if (unhandled != NULL) {
        fprintf(stderr, "lb-%s: nothing handles the request %s: this is a defect of the program\n",
                service_text(definition->service), unhandled);
        return EX_SOFTWARE;
    }
    self = xcalloc(1, sizeof *self);
    self->definition = definition;
    self->arguments = argv + (argc > 0 ? 1 : 0);
    prepare_process();
    if (prepare(self, argc, argv, &result))
        result = exit_code(run(self));
    config_free(&self->config);
    free(self->may_send);
    free(self);
    return result;
}
