/*
 * Asking the service that does the work of a call, again when it goes away under it; and before
 * that, or when the one that was asked does not know it, all of them whose it is (alias.h).
 */
#include "libcommon/owner.h"
#include "proto/swarm.pb-c.h"
#include "services/gateway/alias.h"
#include "services/gateway/service_inside.h"

static void on_due(uv_timer_t *timer);

void relay_watch_time(struct gateway *self)
{
    if (!uv_is_active((uv_handle_t *)&self->due_timer))
        uv_timer_start(&self->due_timer, on_due, REQUEST_PAUSE_MS, REQUEST_PAUSE_MS);
}

/* reason: in the words of the service; NULL when it was not asked. */
static void pause_or_fail(struct work *work, bool may_repeat, const char *reason)
{
    struct gateway *self = work->gateway;
    enum service service = work->envelope.method->service;
    struct answer answer;

    if (!self->stopping && request_pause(work->request, may_repeat, actor_now_ms(self->actor))) {
        relay_watch_time(self);
        return;
    }
    if (reason != NULL && instances_are_up(&self->services[service]))
        answer = answer_error(LB_UNAVAILABLE, "%s", reason);
    else
        answer = answer_error(LB_UNAVAILABLE, "lb-%s is not there", service_text(service));
    work_finish(work, &answer);
}

static void conclude(struct work *work, lb_err err, const char *reason, const void *reply);

static void on_looked_up(void *ctx, lb_err err, const char *reason, const void *reply)
{
    struct work *work = ctx;
    uint8_t hash[ALIAS_SIZE];

    (void)reason;
    work->asked = false;
    if (!work->request) { /* answered already */
        work_free_if_done(work);
        return;
    }
    if (err == LB_OK && alias_found(reply, hash)) {
        /* The envelope's own copy. */
        alias_put(work->envelope.method, (void *)(uintptr_t)work->envelope.request, hash);
        work->has_place = true;
        work->place = alias_place(hash);
        relay_begin(work);
    } else if (!work->refused) {
        relay_begin(work);
    } else {
        conclude(work, LB_NOT_FOUND, "there is no such transfer", NULL);
    }
}

static uint32_t time_left_ms(const struct work *work)
{
    uint64_t now_ms = actor_now_ms(work->gateway->actor);
    uint64_t deadline_ms = work->request->deadline_ms;

    return deadline_ms > now_ms ? (uint32_t)(deadline_ms - now_ms) : 1;
}

/* False: there is nothing to look up, or it was looked up already. */
static bool look_up(struct work *work)
{
    struct gateway *self = work->gateway;
    Lb__Swarm__List list = LB__SWARM__LIST__INIT;
    Lb__Swarm__Request request = LB__SWARM__REQUEST__INIT;
    uint8_t hash[ALIAS_SIZE];

    if (work->looked_up || self->services[SERVICE_SWARM].active == 1 ||
        !alias_of(work->envelope.method, work->envelope.request, hash))
        return false;
    work->looked_up = work->asked = true;
    work->request->state = REQUEST_ASKED;
    list.infohash = (ProtobufCBinaryData){ sizeof(hash), hash };
    list.of_all = true;
    request.body_case = LB__SWARM__REQUEST__BODY_LIST;
    request.list = &list;
    gather_ask(&self->gather, &request, time_left_ms(work), on_looked_up, work);
    return true;
}

static void on_reply(void *ctx, lb_err err, const char *reason, const void *reply)
{
    struct work *work = ctx;

    work->asked = false;
    if (!work->request) { /* answered already */
        work_free_if_done(work);
        return;
    }
    work->refused = err == LB_NOT_FOUND;
    if (!work->refused || !look_up(work))
        conclude(work, err, reason, reply);
}

static void conclude(struct work *work, lb_err err, const char *reason, const void *reply)
{
    const struct method *method = work->envelope.method;

    if (err == LB_OK) {
        if (!method->translate(reply, work_respond, work))
            work_fail(work, LB_INTERNAL, "the service answered something else");
    } else if (err == method->done_before && work->request->sent > 1) {
        struct answer done = answer_ok(bytes_of(NULL, 0));

        work_finish(work, &done);
    } else if (err == LB_UNAVAILABLE) {
        pause_or_fail(work, method->may_repeat(work->envelope.request), reason);
    } else if (err == LB_CANCELLED && work->gateway->stopping) {
        work_fail(work, LB_UNAVAILABLE, "the gateway is stopping");
    } else {
        work_fail(work, err, reason);
    }
}

/* The instance that is to do it, or another while that is not there. */
static struct link *link_for(const struct work *work)
{
    const struct method *method = work->envelope.method;
    const struct instances *instances = &work->gateway->services[method->service];
    uint16_t place = method->place != NULL ? method->place(work->envelope.request) : 0;

    if (work->has_place)
        place = work->place;
    return instances_pick(instances, owner_of_place(place, instances->active));
}

/* A message_take_fn. */
static void ask_service(void *ctx, const ProtobufCMessage *message)
{
    struct work *work = ctx;
    struct gateway *self = work->gateway;
    uint32_t left_ms = time_left_ms(work);

    work->asked = true;
    work->request->state = REQUEST_ASKED;
    if (work->request->sent++ > 0)
        status_counter_add(self->repeated, 1);
    if (work->envelope.method->of_all)
        gather_ask(&self->gather, (const Lb__Swarm__Request *)message, left_ms, on_reply, work);
    else
        link_call(link_for(work), message, left_ms, on_reply, work);
}

void relay_begin(struct work *work)
{
    const struct method *method = work->envelope.method;
    const char *problem = "";
    lb_err err;

    actor_look(work->gateway->actor); /* a list is of all workers, also of one that has just come */
    if (alias_is_first(method) && look_up(work))
        return;
    gateway_link(work->gateway, method->service);
    if (!link_is_up(link_for(work))) {
        pause_or_fail(work, true, NULL); /* nothing was sent */
        return;
    }
    err = method->ask(work->envelope.request, ask_service, work, &problem);
    if (err != LB_OK)
        work_fail(work, err, problem);
}

static void on_due(uv_timer_t *timer)
{
    struct gateway *self = timer->data;
    uint64_t now_ms = actor_now_ms(self->actor);
    struct request *request;
    enum request_due due;

    while ((due = requests_next_due(&self->requests, now_ms, &request)) != DUE_NOTHING) {
        if (due == DUE_RETRY)
            relay_begin(request->work);
        else
            work_fail(request->work, LB_TIMEOUT, "no answer within timeout_ms");
    }
    if (!requests_waiting(&self->requests))
        uv_timer_stop(&self->due_timer);
}
