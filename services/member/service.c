#include "services/member/service.h"

#include "libcommon/memory.h"
#include "proto/member.pb-c.h"

#include <stdlib.h>

struct member {
    struct actor *actor;
};

static void on_request(void *ctx, struct call *call, const void *body)
{
    (void)ctx;
    (void)body;
    call_fail(&call, LB_UNSUPPORTED, "lb-member of this version does nothing yet");
}

static handler_fn *const handlers[] = {
    [LB__MEMBER__REQUEST__BODY_CALLS] = on_request,
    [LB__MEMBER__REQUEST__BODY_SEND] = on_request,
    [LB__MEMBER__REQUEST__BODY_LIST_INBOX] = on_request,
    [LB__MEMBER__REQUEST__BODY_READ_MAIL] = on_request,
    [LB__MEMBER__REQUEST__BODY_REMOVE_MAIL] = on_request,
    [LB__MEMBER__REQUEST__BODY_NEW_DENIED] = on_request,
    [LB__MEMBER__REQUEST__BODY_GET_MEMBERSHIP] = on_request,
    [LB__MEMBER__REQUEST__BODY_RENEW_NOW] = on_request,
};

static lb_err member_start(struct actor *actor, void **ret_ctx)
{
    struct member *self = xcalloc(1, sizeof *self);

    self->actor = actor;
    *ret_ctx = self;
    return LB_OK;
}

static void member_stop(void *ctx)
{
    struct member *self = ctx;

    actor_stopped(self->actor);
}

static void member_free(void *ctx)
{
    free(ctx);
}

const struct service_definition member_service = {
    .service = SERVICE_MEMBER,
    .request = &lb__member__request__descriptor,
    .reply = &lb__member__reply__descriptor,
    .handlers = handlers,
    .handlers_count = sizeof handlers / sizeof handlers[0],
    .start = member_start,
    .stop = member_stop,
    .free = member_free,
};
