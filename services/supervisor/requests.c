#include "services/supervisor/requests.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "proto/supervisor.pb-c.h"
#include "services/supervisor/log_levels.h"
#include "services/supervisor/reload.h"
#include "services/supervisor/roster.h"

#include <assert.h>
#include <string.h>

#define NEVER UINT64_MAX

void requests_init(struct requests *self, struct actor *actor, const struct page *page,
                   const struct roster_node *node, const struct manager *manager, void *manager_ctx)
{
    self->actor = actor;
    self->page = page;
    self->node = *node;
    self->manager = manager;
    self->manager_ctx = manager_ctx;
    self->reload = reload_new(actor, page);
    for (int i = 0; i < SERVICES_COUNT; i++) {
        scaling_init(&self->scalings[i], 1); /* not published: under systemd more may be running */
    }
}

void requests_done(struct requests *self)
{
    reload_free(&self->reload);
}

void requests_set_instances(struct requests *self, enum service service, unsigned instances)
{
    scaling_init(&self->scalings[service], instances);
    status_page_set_active(self->page, service, instances);
}

unsigned requests_instances(const struct requests *self, enum service service)
{
    const struct roster_row *row = roster_find(service);

    return row && !roster_wants(row, &self->node) ? 0 : self->scalings[service].wanted;
}

static void reply_done(struct call **call)
{
    Lb__Supervisor__Done done = LB__SUPERVISOR__DONE__INIT;
    Lb__Supervisor__Reply reply = LB__SUPERVISOR__REPLY__INIT;

    reply.body_case = LB__SUPERVISOR__REPLY__BODY_DONE;
    reply.done = &done;
    call_reply(call, &reply.base);
}

static const char *note_of(const struct requests *self, enum service service, unsigned instance)
{
    return status_page_slot(self->page, service, instance)->note;
}

/* ---- scaling ---- */

/* Everybody who waits for this service to be scaled; each call is answered by `answer`. */
static void answer_scaled(struct requests *self, enum service service,
                          void (*answer)(struct requests *self, struct request_waiting *waiting,
                                         const char *why),
                          const char *why)
{
    for (size_t i = 0; i < REQUESTS_WAITING_MAX; i++) {
        struct request_waiting *waiting = &self->waiting[i];

        if (waiting->call && !waiting->is_restart && waiting->scaled == service) {
            answer(self, waiting, why);
        }
    }
}

static void answer_done(struct requests *self, struct request_waiting *waiting, const char *why)
{
    (void)self;
    (void)why;
    reply_done(&waiting->call);
}

static void answer_failed(struct requests *self, struct request_waiting *waiting, const char *why)
{
    const struct scaling *scaling = &self->scalings[waiting->scaled];

    call_fail(&waiting->call, LB_UNAVAILABLE, "%s-%u failed: %s; it stays at %u",
              service_text(waiting->scaled), scaling->failed_instance, why, scaling->wanted);
}

static void answer_superseded(struct requests *self, struct request_waiting *waiting)
{
    call_fail(&waiting->call, LB_CANCELLED, "%s was asked to be %u meanwhile",
              service_text(waiting->scaled), self->scalings[waiting->scaled].wanted);
}

static void publish(struct requests *self, enum service service, unsigned active)
{
    log_info("%s: %u active", service_text(service), active);
    if (self->manager->steer) {
        self->manager->steer(self->manager_ctx, service, active);
    }
    status_page_set_active(self->page, service, active);
}

static void start_instance(struct requests *self, enum service service, unsigned instance)
{
    const char *why = "";

    if (self->manager->start(self->manager_ctx, service, instance, &why) != LB_OK) {
        scaling_fail(&self->scalings[service], instance);
        log_error("%s-%u cannot be started: %s", service_text(service), instance, why);
        answer_scaled(self, service, answer_failed, why);
    }
}

static struct scaling_order next_order(struct requests *self, enum service service, uint64_t now_ms)
{
    struct scaling *scaling = &self->scalings[service];
    enum manager_condition conditions[SCALING_MAX];
    uint32_t generation;
    unsigned wanted = scaling->wanted;
    struct scaling_order order;

    for (unsigned i = 0; i < scaling->running; i++) {
        conditions[i] = self->manager->look(self->manager_ctx, service, i, &generation);
    }
    order = scaling_next(scaling, conditions, now_ms);
    if (scaling->wanted < wanted) { /* one has failed; while its note still says why */
        log_error("%s-%u failed, and with it the scaling: back to %u", service_text(service),
                  scaling->failed_instance, scaling->wanted);
        answer_scaled(self, service, answer_failed,
                      note_of(self, service, scaling->failed_instance));
    }
    return order;
}

static void advance_scaling(struct requests *self, enum service service, uint64_t now_ms)
{
    for (;;) {
        struct scaling_order order = next_order(self, service, now_ms);

        switch (order.verb) {
        case SCALING_WAIT:
            return;
        case SCALING_START:
            start_instance(self, service, order.instance);
            break;
        case SCALING_PUBLISH:
            publish(self, service, order.instance);
            break;
        case SCALING_STOP:
            self->manager->stop(self->manager_ctx, service, order.instance);
            break;
        case SCALING_RELEASE:
            self->manager->release(self->manager_ctx, service, order.instance);
            break;
        case SCALING_DONE:
            answer_scaled(self, service, answer_done, "");
            return;
        }
    }
}

/* ---- restarts ---- */

static void tell_restart(struct requests *self, struct restart *restart)
{
    (void)self->manager->look(self->manager_ctx, restart->service, restart->instance,
                              &restart->generation);
    self->manager->restart(self->manager_ctx, restart->service, restart->instance);
}

static enum restart_verb next_of_restart(struct requests *self, struct restart *restart)
{
    unsigned wanted = requests_instances(self, restart->service);
    uint32_t generation = 0;
    enum manager_condition condition = MANAGER_ENDED;

    if (restart->instance < wanted) {
        condition = self->manager->look(self->manager_ctx, restart->service, restart->instance,
                                        &generation);
    }
    return restart_next(restart, wanted, condition, generation);
}

static void advance_restart(struct requests *self, struct request_waiting *waiting)
{
    struct restart *restart = &waiting->restart;
    const char *service = service_text(restart->service);

    while (waiting->call) {
        switch (next_of_restart(self, restart)) {
        case RESTART_WAIT:
            return;
        case RESTART_TELL:
            tell_restart(self, restart);
            break;
        case RESTART_DONE:
            reply_done(&waiting->call);
            break;
        case RESTART_FAILED:
            call_fail(&waiting->call, LB_UNAVAILABLE, "%s-%u failed: %s%s", service,
                      restart->instance, note_of(self, restart->service, restart->instance),
                      restart->instance < restart->last ? "; those after it were not restarted"
                                                        : "");
            break;
        case RESTART_GONE:
            call_fail(&waiting->call, LB_NOT_FOUND, "%s-%u was scaled away", service,
                      restart->instance);
            break;
        }
    }
}

/* ---- those who wait ---- */

static void tell_time_is_over(struct request_waiting *waiting)
{
    if (waiting->is_restart) {
        call_fail(&waiting->call, LB_TIMEOUT, "%s-%u is not ready again yet; it goes on",
                  service_text(waiting->restart.service), waiting->restart.instance);
    } else {
        call_fail(&waiting->call, LB_TIMEOUT, "%s is not at %u yet; it goes on",
                  service_text(waiting->scaled), waiting->instances);
    }
}

void requests_advance(struct requests *self, uint64_t now_ms)
{
    size_t count;
    const struct roster_row *rows = roster_rows(&count);

    if (self->stopping) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (roster_wants(&rows[i], &self->node)) {
            advance_scaling(self, rows[i].service, now_ms);
        }
    }
    for (size_t i = 0; i < REQUESTS_WAITING_MAX; i++) {
        struct request_waiting *waiting = &self->waiting[i];

        if (waiting->call && waiting->is_restart) {
            advance_restart(self, waiting);
        }
        if (waiting->call && now_ms >= waiting->deadline_ms) {
            tell_time_is_over(waiting);
        }
    }
}

uint64_t requests_deadline_ms(const struct requests *self, uint64_t now_ms)
{
    uint64_t due_ms = NEVER;

    if (self->stopping) {
        return NEVER;
    }
    for (size_t i = 0; i < SERVICES_COUNT; i++) {
        uint64_t scaling_ms = scaling_deadline_ms(&self->scalings[i], now_ms);

        due_ms = scaling_ms < due_ms ? scaling_ms : due_ms;
    }
    for (size_t i = 0; i < REQUESTS_WAITING_MAX; i++) {
        if (self->waiting[i].call && self->waiting[i].deadline_ms < due_ms) {
            due_ms = self->waiting[i].deadline_ms;
        }
    }
    return due_ms;
}

void requests_stop(struct requests *self)
{
    self->stopping = true;
    for (size_t i = 0; i < REQUESTS_WAITING_MAX; i++) {
        if (self->waiting[i].call) {
            call_fail(&self->waiting[i].call, LB_CANCELLED, "the node is being stopped");
        }
    }
}

void requests_say_state(const struct requests *self)
{
    const struct manager *manager = self->manager;
    enum service worst = SERVICES_COUNT;
    unsigned worst_instance = 0;
    bool worst_is_up = true;
    size_t count;
    const struct roster_row *rows = roster_rows(&count);

    for (size_t i = 0; i < count; i++) {
        enum service service = rows[i].service;

        for (unsigned k = 0; k < requests_instances(self, service); k++) {
            uint32_t generation;
            bool is_up = manager->look(self->manager_ctx, service, k, &generation) == MANAGER_READY;

            if (!manager->has_settled(self->manager_ctx, service, k)) {
                return;
            }
            if (manager->state(self->manager_ctx, service, k) != STATE_READY &&
                (worst == SERVICES_COUNT || (worst_is_up && !is_up))) {
                worst = service;
                worst_is_up = is_up;
                worst_instance = k;
            }
        }
    }
    if (worst == SERVICES_COUNT) {
        actor_state(self->actor, STATE_READY, "all services are ready");
    } else {
        actor_state(self->actor, STATE_DEGRADED, "%s-%u is %s", service_text(worst), worst_instance,
                    service_state_text(manager->state(self->manager_ctx, worst, worst_instance)));
    }
}

/* A free place with *call in it, or NULL: then the call has been failed. Consumes it. */
static struct request_waiting *wait_for(struct requests *self, struct call **call)
{
    uint32_t left_ms = call_time_left_ms(*call);

    call_lasts(*call); /* until processes have ended or are ready */
    for (size_t i = 0; i < REQUESTS_WAITING_MAX; i++) {
        struct request_waiting *waiting = &self->waiting[i];

        if (!waiting->call) {
            *waiting = (struct request_waiting){
                .call = *call,
                .deadline_ms =
                    clock_monotonic_ms() + (left_ms == UINT32_MAX ? REQUESTS_TIMEOUT_MS : left_ms)
            };
            *call = NULL;
            return waiting;
        }
    }
    call_fail(call, LB_FULL, "%d restarts and scalings are under way", REQUESTS_WAITING_MAX);
    return NULL;
}

/* ---- handlers ---- */

/* False: the call has been failed. */
static bool find_row(const struct requests *self, struct call **call, const char *name,
                     const struct roster_row **ret_row)
{
    enum service service;

    if (self->stopping) {
        call_fail(call, LB_CANCELLED, "the node is being stopped");
    } else if (service_parse(name, &service) != LB_OK) {
        call_fail(call, LB_NOT_FOUND, "there is no such service");
    } else if (!roster_find(service)) {
        call_fail(call, LB_UNSUPPORTED,
                  "there is one supervisor, and it restarts with its node: littlebird down, "
                  "littlebird up");
    } else if (!roster_wants(roster_find(service), &self->node)) {
        call_fail(
            call, LB_NOT_FOUND, "%s runs on %s only, and this node is none", service_text(service),
            roster_find(service)->when == ROSTER_AS_MEMBER ? "members of a private network"
                                                           : "coordinators of a private network");
    } else {
        *ret_row = roster_find(service);
    }
    return *call != NULL;
}

static void on_restart(void *ctx, struct call *call, const void *body)
{
    struct requests *self = ctx;
    const Lb__Supervisor__Restart *wanted = body;
    bool is_of_one = wanted->which_case == LB__SUPERVISOR__RESTART__WHICH_INSTANCE;
    const struct roster_row *row;
    struct request_waiting *waiting;
    unsigned count;

    if (!find_row(self, &call, wanted->service, &row)) {
        return;
    }
    count = requests_instances(self, row->service);
    if (is_of_one && wanted->instance >= count) {
        call_fail(&call, LB_NOT_FOUND, "%s has no such instance: %s %u", service_text(row->service),
                  count == 1 ? "there is" : "there are", count);
        return;
    }
    waiting = wait_for(self, &call);
    if (!waiting) {
        return;
    }
    waiting->is_restart = true;
    restart_init(&waiting->restart, row->service, is_of_one ? wanted->instance : 0,
                 is_of_one ? wanted->instance : count - 1, is_of_one);
    self->manager->settle(self->manager_ctx);
}

/* Why a service cannot have so many, for a person; NULL: it can. */
static const char *why_not(const struct roster_row *row, uint32_t instances)
{
    if (instances == 0) {
        return "a service has at least one instance; littlebird down stops a node";
    }
    if (instances > SCALING_MAX) {
        return "a service has at most 16 instances";
    }
    if (instances > 1 && !row->scales) {
        return "it does not scale: it runs as one process, the only owner of what it holds";
    }
    return NULL;
}

static void on_scale(void *ctx, struct call *call, const void *body)
{
    struct requests *self = ctx;
    const Lb__Supervisor__Scale *wanted = body;
    const struct roster_row *row;
    struct request_waiting *waiting;
    const char *problem;

    if (!find_row(self, &call, wanted->service, &row)) {
        return;
    }
    problem = why_not(row, wanted->instances);
    if (problem) {
        call_fail(&call, wanted->instances > 1 && !row->scales ? LB_UNSUPPORTED : LB_INVALID,
                  "%s=%u: %s", service_text(row->service), wanted->instances, problem);
        return;
    }
    waiting = wait_for(self, &call);
    if (!waiting) {
        return;
    }
    if (wanted->instances != requests_instances(self, row->service)) {
        log_info("%s: from %u to %u", service_text(row->service),
                 requests_instances(self, row->service), wanted->instances);
    }
    scaling_want(&self->scalings[row->service], wanted->instances);
    for (size_t i = 0; i < REQUESTS_WAITING_MAX; i++) {
        struct request_waiting *other = &self->waiting[i];

        if (other != waiting && other->call && !other->is_restart &&
            other->scaled == row->service && other->instances != wanted->instances) {
            answer_superseded(self, other);
        }
    }
    waiting->scaled = row->service;
    waiting->instances = wanted->instances;
    self->manager->settle(self->manager_ctx);
}

static void on_set_log_level(void *ctx, struct call *call, const void *body)
{
    const struct requests *self = ctx;
    const char *problem = NULL;
    lb_err err = log_levels_set(self->page, body, clock_monotonic_ms(), &problem);

    if (err != LB_OK) {
        call_fail(&call, err, "%s", problem);
        return;
    }
    reply_done(&call);
}

static void on_reload(void *ctx, struct call *call, const void *body)
{
    struct requests *self = ctx;
    const Lb__Supervisor__Reload *wanted = body;

    reload_ask(self->reload, call, wanted->dry_run);
}

void requests_hangup(void *ctx)
{
    struct requests *self = ctx;

    reload_hangup(self->reload);
}

static void on_stop(void *ctx, struct call *call, const void *body)
{
    struct requests *self = ctx;

    (void)body;
    log_info("asked to stop");
    reply_done(&call);
    self->manager->stop_node(self->manager_ctx);
}

handler_fn *const requests_handlers[REQUESTS_HANDLERS_COUNT] = {
    [LB__SUPERVISOR__REQUEST__BODY_RESTART] = on_restart,
    [LB__SUPERVISOR__REQUEST__BODY_SCALE] = on_scale,
    [LB__SUPERVISOR__REQUEST__BODY_STOP] = on_stop,
    [LB__SUPERVISOR__REQUEST__BODY_SET_LOG_LEVEL] = on_set_log_level,
    [LB__SUPERVISOR__REQUEST__BODY_RELOAD] = on_reload,
};
