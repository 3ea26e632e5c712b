#include "services/signer/service.h"

#include "libcommon/memory.h"
#include "proto/signer.pb-c.h"

#include <stdlib.h>

struct signer {
    struct actor *actor;
};

static void on_request(void *ctx, struct call *call, const void *body)
{
    (void)ctx;
    (void)body;
    call_fail(&call, LB_UNSUPPORTED, "lb-signer of this version does nothing yet");
}

static handler_fn *const handlers[] = {
    [LB__SIGNER__REQUEST__BODY_SIGN_LEAF] = on_request,
    [LB__SIGNER__REQUEST__BODY_SIGN_DENY_LIST] = on_request,
    [LB__SIGNER__REQUEST__BODY_GET_KEY] = on_request,
    [LB__SIGNER__REQUEST__BODY_SET_INTERMEDIATE] = on_request,
};

static lb_err signer_start(struct actor *actor, void **ret_ctx)
{
    struct signer *self = xcalloc(1, sizeof *self);

    self->actor = actor;
    *ret_ctx = self;
    return LB_OK;
}

static void signer_stop(void *ctx)
{
    struct signer *self = ctx;

    actor_stopped(self->actor);
}

static void signer_free(void *ctx)
{
    free(ctx);
}

const struct service_definition signer_service = {
    .service = SERVICE_SIGNER,
    .request = &lb__signer__request__descriptor,
    .reply = &lb__signer__reply__descriptor,
    .handlers = handlers,
    .handlers_count = sizeof handlers / sizeof handlers[0],
    .start = signer_start,
    .stop = signer_stop,
    .free = signer_free,
};
