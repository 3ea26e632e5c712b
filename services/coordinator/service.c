#include "services/coordinator/service.h"

#include "libcommon/memory.h"
#include "proto/coordinator.pb-c.h"

#include <stdlib.h>

struct coordinator {
    struct actor *actor;
};

static void on_request(void *ctx, struct call *call, const void *body)
{
    (void)ctx;
    (void)body;
    call_fail(&call, LB_UNSUPPORTED, "lb-coordinator of this version does nothing yet");
}

static handler_fn *const handlers[] = {
    [LB__COORDINATOR__REQUEST__BODY_INVITE] = on_request,
    [LB__COORDINATOR__REQUEST__BODY_LIST_MEMBERS] = on_request,
    [LB__COORDINATOR__REQUEST__BODY_DECIDE] = on_request,
    [LB__COORDINATOR__REQUEST__BODY_REVOKE] = on_request,
    [LB__COORDINATOR__REQUEST__BODY_GET_GROUP] = on_request,
    [LB__COORDINATOR__REQUEST__BODY_ADD_SERVER] = on_request,
    [LB__COORDINATOR__REQUEST__BODY_REMOVE_SERVER] = on_request,
    [LB__COORDINATOR__REQUEST__BODY_LIST_INVITES] = on_request,
    [LB__COORDINATOR__REQUEST__BODY_WITHDRAW] = on_request,
    [LB__COORDINATOR__REQUEST__BODY_SET_POLICY] = on_request,
};

static lb_err coordinator_start(struct actor *actor, void **ret_ctx)
{
    struct coordinator *self = xcalloc(1, sizeof *self);

    self->actor = actor;
    *ret_ctx = self;
    return LB_OK;
}

static void coordinator_stop(void *ctx)
{
    struct coordinator *self = ctx;

    actor_stopped(self->actor);
}

static void coordinator_free(void *ctx)
{
    free(ctx);
}

const struct service_definition coordinator_service = {
    .service = SERVICE_COORDINATOR,
    .request = &lb__coordinator__request__descriptor,
    .reply = &lb__coordinator__reply__descriptor,
    .handlers = handlers,
    .handlers_count = sizeof handlers / sizeof handlers[0],
    .start = coordinator_start,
    .stop = coordinator_stop,
    .free = coordinator_free,
};
