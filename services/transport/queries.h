/*
 * Query: another service asks one node something and waits for its answer. The call is kept as the
 * transaction's context and answered when that ends.
 */
#pragma once

struct call;
struct krpc_query;
struct Lb__Transport__Call;
struct transport;

void queries_on_query(void *ctx, struct call *call, const void *body); /* a handler */

/* self->result holds an ended query of ours: ENDPOINT_ANSWERED or ENDPOINT_SILENT. */
void queries_answered(struct transport *self);
void queries_silent(struct transport *self);

/* self->result holds one that is to be sent again, ENDPOINT_RESEND. */
void queries_resend(struct transport *self);

/* NULL, or what is wrong; *query has views into it. */
const char *queries_read_call(const struct Lb__Transport__Call *from, struct krpc_query *query);

/* Fail all that are under way: the service is stopping. */
void queries_cancel(struct transport *self);
