/*
 * Resolve: the addresses of a host name, by the system's resolver on libuv's threads. Numeric ones
 * need neither. At most RESOLVES_MAX are under way; LB_FULL beyond.
 */
#pragma once

#include <stdbool.h>

#define RESOLVES_MAX 16

struct call;
struct resolve;
struct transport;

struct resolver {
    struct resolve *under_way[RESOLVES_MAX];
};

void resolve_on_resolve(void *ctx, struct call *call, const void *body); /* a handler */

/* Fail what is under way; what the threads still do comes to nothing. */
void resolver_cancel(struct resolver *self);
