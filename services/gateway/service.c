#include "services/gateway/service.h"

#include "libcommon/listen.h"
#include "libcommon/memory.h"
#include "libcommon/watch.h"
#include "proto/coordinator.pb-c.h"
#include "proto/member.pb-c.h"
#include "proto/routing.pb-c.h"
#include "proto/storage.pb-c.h"
#include "proto/supervisor.pb-c.h"
#include "proto/swarm.pb-c.h"
#include "services/gateway/http.h"
#include "services/gateway/publisher.h"
#include "services/gateway/service_inside.h"
#include "services/gateway/sockets.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

#define MISSING_MS 100  /* how often we look whether neighbours came */
#define THERE_MS   1000 /* or went */
/* A frame above this costs its sender the connection; between API_MESSAGE_MAX and it, an error. */
#define FRAME_MAX (4 * 1024 * 1024)

static const struct {
    enum service service;
    const ProtobufCMessageDescriptor *reply;
    bool needed; /* without it the node is degraded */
} neighbours[] = {
    { SERVICE_SUPERVISOR, &lb__supervisor__reply__descriptor, false },
    { SERVICE_ROUTING, &lb__routing__reply__descriptor, true },
    { SERVICE_STORAGE, &lb__storage__reply__descriptor, true },
    { SERVICE_SWARM, &lb__swarm__reply__descriptor, true },
    { SERVICE_MEMBER, &lb__member__reply__descriptor, false },
    { SERVICE_COORDINATOR, &lb__coordinator__reply__descriptor, false },
};
#define NEIGHBOURS (sizeof(neighbours) / sizeof(neighbours[0]))

static void on_neighbours(uv_timer_t *timer)
{
    struct gateway *self = timer->data;
    char missing[STATUS_NOTE_SIZE] = "";
    size_t size = 0;

    for (size_t i = 0; i < NEIGHBOURS; i++) {
        enum service service = neighbours[i].service;

        if (neighbours[i].needed && !instances_are_up(&self->services[service]) &&
            size < sizeof(missing))
            size += (size_t)snprintf(missing + size, sizeof(missing) - size, "%s%s",
                                     size > 0 ? ", " : "", service_text(service));
    }
    if (size > 0)
        actor_state(self->actor, STATE_DEGRADED, "waiting for %s", missing);
    else if (self->http_failed)
        actor_state(self->actor, STATE_DEGRADED, "no metrics: see the log");
    else
        actor_state(self->actor, STATE_READY, "%s", "");
    uv_timer_set_repeat(timer, size > 0 ? MISSING_MS : THERE_MS);
}

void gateway_link(struct gateway *self, enum service service)
{
    for (size_t i = 0; i < NEIGHBOURS; i++) {
        if (neighbours[i].service == service && self->services[service].linked == 0)
            instances_init(&self->services[service], self->actor, service, neighbours[i].reply);
    }
}

/* As every service does: who cannot tell of which network the node is does not start. */
static lb_err find_network(struct gateway *self)
{
    lb_err err = identity_load(actor_paths(self->actor), &self->identity);

    self->is_member = err == LB_OK;
    return err == LB_NOT_FOUND ? LB_OK : err;
}

static void open_timer(struct gateway *self, uv_timer_t *timer)
{
    uv_timer_init(actor_loop(self->actor), timer);
    timer->data = self;
    self->handles++;
}

lb_err gateway_start(struct actor *actor, void **ret_ctx)
{
    struct gateway *self = xcalloc(1, sizeof(*self));
    lb_err err;

    *ret_ctx = self; /* also on failure: gateway_free() takes what there is */
    self->actor = actor;
    callers_init(&self->callers, actor);
    dedupe_init(&self->dedupe);
    self->calls = actor_counter(actor, "calls");
    self->refused = actor_counter(actor, "calls_refused");
    self->malformed = actor_counter(actor, "messages_malformed");
    self->answers_lost = actor_counter(actor, "answers_lost");
    self->repeated = actor_counter(actor, "calls_repeated");
    open_timer(self, &self->due_timer);
    open_timer(self, &self->neighbour_timer);
    for (size_t i = 0; i < NEIGHBOURS; i++) {
        if (!service_is_optional(neighbours[i].service))
            gateway_link(self, neighbours[i].service);
    }
    gather_init(&self->gather, &self->services[SERVICE_SWARM]);
    err = find_network(self);
    if (err == LB_OK)
        err = status_page_open(&self->status, actor_paths(actor)->run_folder, false);
    if (err == LB_OK)
        err = socket_open(actor, ZMQ_ROUTER, LISTEN_API, FRAME_MAX, &self->socket);
    if (err == LB_OK)
        err = publisher_new(&self->publisher, actor, &self->gather, &self->status);
    if (err != LB_OK)
        return err;
    self->http_failed = http_new(actor, &self->status, &self->http) != LB_OK;
    self->watch = watch_new(actor_loop(actor), self->socket, calls_on_message, self);
    uv_timer_start(&self->neighbour_timer, on_neighbours, MISSING_MS, MISSING_MS);
    on_neighbours(&self->neighbour_timer);
    return LB_OK;
}

void gateway_scaled(void *ctx)
{
    struct gateway *self = ctx;

    for (size_t i = 0; i < NEIGHBOURS; i++) {
        if (self->services[neighbours[i].service].linked > 0)
            (void)instances_follow(&self->services[neighbours[i].service]);
    }
    gather_follow(&self->gather);
}

void gateway_stop(void *ctx)
{
    calls_stop(ctx);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct gateway *self = handle->data;

    if (--self->handles == 0)
        free(self);
}

/* The links have answered everything by now, so nobody points at us but the timers. */
void gateway_free(void *ctx)
{
    struct gateway *self = ctx;

    assert(self->requests.count == 0);
    http_free(&self->http);
    publisher_free(&self->publisher);
    watch_free(&self->watch);
    if (self->socket)
        zmq_close(self->socket);
    dedupe_done(&self->dedupe);
    page_close(&self->status);
    uv_close((uv_handle_t *)&self->due_timer, on_timer_closed);
    uv_close((uv_handle_t *)&self->neighbour_timer, on_timer_closed);
}
