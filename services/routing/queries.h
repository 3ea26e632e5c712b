/*
 * The router's queries as calls of transport: each goes to the worker that the answer will come to.
 */
#pragma once

struct query;
struct routing;

/* Send one, or tell the router at once that it cannot be sent now. */
void queries_send(struct routing *self, const struct query *query);

/* Ask transport, once its link is up, which address families it serves. */
void queries_learn_families(struct routing *self);
