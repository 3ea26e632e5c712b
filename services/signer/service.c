#include "services/signer/service.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/shield.h"
#include "proto/signer.pb-c.h"
#include "services/signer/authority.h"

#include <stdlib.h>
#include <string.h>

struct signer {
    struct actor *actor;
    struct authority *authority;
    struct status_counter *leaves, *deny_lists, *refused;
};

static void refuse(struct signer *self, struct call **call, lb_err err, const char *reason)
{
    status_counter_add(self->refused, 1);
    log_warn("signing refused: %s", reason);
    call_fail(call, err, "%s", reason);
}

static void reply_signed(struct call **call, const uint8_t *data, size_t size)
{
    Lb__Signer__Signed body = LB__SIGNER__SIGNED__INIT;
    Lb__Signer__Reply reply = LB__SIGNER__REPLY__INIT;

    body.data = (ProtobufCBinaryData){ size, (uint8_t *)data };
    reply.body_case = LB__SIGNER__REPLY__BODY_SIGNED;
    reply.signed_ = &body;
    call_reply(call, &reply.base);
}

static void on_sign_leaf(void *ctx, struct call *call, const void *body)
{
    struct signer *self = ctx;
    const Lb__Signer__SignLeaf *order = body;
    struct certificate_claims claims = {
        .role = order->coordinator ? CERTIFICATE_COORDINATOR : CERTIFICATE_MEMBER,
        .serial = order->serial,
        .not_before_s = order->not_before_s,
        .not_after_s = order->not_after_s,
    };
    uint8_t der[CERTIFICATE_DER_MAX];
    const char *reason = NULL;
    size_t size;
    lb_err err;

    if (order->node_id.len != NODE_ID_SIZE) {
        refuse(self, &call, LB_INVALID, "a node id has 20 bytes");
        return;
    }
    claims.node = node_id_from(order->node_id.data);
    err = authority_sign_leaf(self->authority,
                              bytes_of(order->public_key.data, order->public_key.len), &claims,
                              clock_wall_s(), der, &size, &reason);
    if (err != LB_OK) {
        refuse(self, &call, err, reason);
        return;
    }
    status_counter_add(self->leaves, 1);
    reply_signed(&call, der, size);
}

/* LB_INVALID: one is none. The caller frees. */
static lb_err take_rows(const Lb__Signer__SignDenyList *order, struct deny_row **ret_rows)
{
    struct deny_row *rows;

    if (order->n_rows > DENY_LIST_ROWS_MAX) {
        return LB_TOO_BIG;
    }
    rows = xcalloc(order->n_rows + 1, sizeof *rows);
    for (size_t i = 0; i < order->n_rows; i++) {
        if (order->rows[i]->node_id.len != NODE_ID_SIZE) {
            free(rows);
            return LB_INVALID;
        }
        rows[i].node = node_id_from(order->rows[i]->node_id.data);
        rows[i].until_s = order->rows[i]->until_s;
    }
    *ret_rows = rows;
    return LB_OK;
}

static void on_sign_deny_list(void *ctx, struct call *call, const void *body)
{
    struct signer *self = ctx;
    const Lb__Signer__SignDenyList *order = body;
    struct deny_row *rows;
    const char *reason = NULL;
    uint8_t *data;
    size_t size;
    lb_err err = take_rows(order, &rows);

    if (err != LB_OK) {
        refuse(self, &call, err, "a deny list has at most 10,000 rows, each with a node id");
        return;
    }
    err = authority_sign_deny_list(self->authority, order->number, order->made_s, rows,
                                   order->n_rows, clock_wall_s(), &data, &size, &reason);
    free(rows);
    if (err != LB_OK) {
        refuse(self, &call, err, reason);
        return;
    }
    status_counter_add(self->deny_lists, 1);
    reply_signed(&call, data, size);
    free(data);
}

static void reply_key(struct signer *self, struct call **call)
{
    Lb__Signer__Key body = LB__SIGNER__KEY__INIT;
    Lb__Signer__Reply reply = LB__SIGNER__REPLY__INIT;
    uint8_t request[CERTIFICATE_REQUEST_MAX], intermediate[CERTIFICATE_DER_MAX];
    X509 *ours = authority_intermediate(self->authority);
    lb_err err = authority_request(self->authority, request, &body.request.len);

    if (err == LB_OK && ours != NULL) {
        err = certificate_to_der(ours, intermediate, &body.intermediate.len);
    }
    if (err != LB_OK) {
        refuse(self, call, err, "the key could not be described");
        return;
    }
    body.request.data = request;
    body.intermediate.data = intermediate;
    reply.body_case = LB__SIGNER__REPLY__BODY_KEY;
    reply.key = &body;
    call_reply(call, &reply.base);
}

static void on_get_key(void *ctx, struct call *call, const void *body)
{
    (void)body;
    reply_key(ctx, &call);
}

static void say_state(struct signer *self)
{
    if (authority_intermediate(self->authority) == NULL) {
        actor_state(self->actor, STATE_READY, "no intermediate yet: nothing is signed");
    } else {
        actor_state(self->actor, STATE_READY, "%s", "");
    }
}

static void on_set_intermediate(void *ctx, struct call *call, const void *body)
{
    struct signer *self = ctx;
    const Lb__Signer__SetIntermediate *order = body;
    const char *reason = NULL;
    lb_err err = authority_set_intermediate(
        self->authority, bytes_of(order->intermediate.data, order->intermediate.len),
        clock_wall_s(), &reason);

    if (err != LB_OK) {
        refuse(self, &call, err, reason != NULL ? reason : lb_err_text(err));
        return;
    }
    say_state(self);
    reply_key(self, &call);
}

static handler_fn *const handlers[] = {
    [LB__SIGNER__REQUEST__BODY_SIGN_LEAF] = on_sign_leaf,
    [LB__SIGNER__REQUEST__BODY_SIGN_DENY_LIST] = on_sign_deny_list,
    [LB__SIGNER__REQUEST__BODY_GET_KEY] = on_get_key,
    [LB__SIGNER__REQUEST__BODY_SET_INTERMEDIATE] = on_set_intermediate,
};

/* ---- life ---- */

static lb_err load(struct actor *actor, struct authority **ret_authority)
{
    const struct paths *paths = actor_paths(actor);
    struct authority_problem problem;
    struct identity identity;
    lb_err err = identity_load(paths, &identity);

    if (err != LB_OK) {
        log_error("%s: %s; lb-signer serves a coordinator of a private network",
                  paths->identity_file, lb_err_text(err));
        return err;
    }
    err = authority_load(paths->ca_folder, &identity, ret_authority, &problem);
    if (err != LB_OK) {
        log_error("%s", problem.text);
    }
    return err;
}

static lb_err signer_start(struct actor *actor, void **ret_ctx)
{
    struct authority *authority;
    struct signer *self;
    lb_err err = shield_process();

    if (err != LB_OK) {
        log_error("the key cannot be kept from cores and debuggers");
    } else {
        err = load(actor, &authority);
    }
    if (err != LB_OK) {
        return err == LB_DENIED ? LB_DENIED : err == LB_IO ? LB_IO : LB_INVALID;
    }
    self = xcalloc(1, sizeof *self);
    self->actor = actor;
    self->authority = authority;
    self->leaves = actor_counter(actor, "leaves_signed");
    self->deny_lists = actor_counter(actor, "deny_lists_signed");
    self->refused = actor_counter(actor, "signing_refused");
    say_state(self);
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
    struct signer *self = ctx;

    authority_free(&self->authority);
    free(self);
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
