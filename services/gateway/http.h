/*
 * Metrics and health over HTTP, read-only: GET /metrics, /healthz, /readyz, and / which names them.
 * By libmicrohttpd on the gateway's own loop, without a thread; the library is loaded when there is
 * a socket for it, since with GnuTLS it costs 1.5 MB.
 *
 * A slow or hostile client costs little: HTTP_CONNECTIONS_MAX at once, each for at most
 * HTTP_LIFE_MS whatever it does; who comes when all are taken waits in the kernel's queue until one
 * ends.
 */
#pragma once

#include "libcommon/actor.h"

#define HTTP_CONNECTIONS_MAX 32
#define HTTP_LIFE_MS         3000u /* of a connection, from accept to its end */
#define HTTP_MEMORY_BYTES    16384 /* for the head of a request */

struct http; /* opaque */

/*
 * From the socket that the manager handed over, or for gateway.metrics_listen. LB_OK with *ret_self
 * NULL: neither is there, it is off. Else an error is logged. Borrows actor and status.
 */
LB_MUST_CHECK lb_err http_new(struct actor *actor, const struct page *status,
                              struct http **ret_self);
void http_free(struct http **self);
