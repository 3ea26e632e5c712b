/*
 * Query: another service asks one node something and waits for its answer. The call is kept as the
 * transaction's context and answered when that ends.
 */
#pragma once

struct call;
struct transport;

void queries_on_query(void *ctx, struct call *call, const void *body); /* a handler */

/* self->result holds an ended query of ours: ENDPOINT_ANSWERED or ENDPOINT_SILENT. */
void queries_answered(struct transport *self);
void queries_silent(struct transport *self);

/* Fail all that are under way: the service is stopping. */
void queries_cancel(struct transport *self);
