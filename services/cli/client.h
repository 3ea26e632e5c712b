/*
 * The public API (proto/littlebird/v1) as a program for people uses it: one call at a time, waited
 * for. A gateway that is restarted meanwhile is waited for, too: calls are repeated under the same
 * idempotency key.
 */
#pragma once

#include "libcommon/error.h"
#include "libcommon/paths.h"

#include <protobuf-c/protobuf-c.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct client; /* opaque */

/* interrupted: may be NULL; when it becomes true, calls end with LB_CANCELLED. */
struct client *client_new(const struct paths *paths, const volatile sig_atomic_t *interrupted);
void client_free(struct client **self);

/* Told once a call, when a service that is away has been waited for, and is asked again for s
 * seconds. */
typedef void client_waiting_fn(void *ctx, const char *problem, unsigned s);
void client_on_waiting(struct client *self, client_waiting_fn *on_waiting, void *ctx);

struct client_call {
    const char *method; /* "StorageService/Put" */
    const ProtobufCMessage *request;
    const ProtobufCMessageDescriptor *response;
    uint32_t timeout_ms;
    bool once; /* carrying it out twice would do harm: it is not repeated */
};

/*
 * LB_OK and *ret_response, which lives until the next call on self. LB_UNAVAILABLE: the node does
 * not run (client_node_is_gone() is true) or a service of it is away for too long. Else the
 * server's error; client_problem() has its words.
 */
LB_MUST_CHECK lb_err client_call(struct client *self, const struct client_call *call,
                                 const void **ret_response);

/* What went wrong in the last call, for a person. */
const char *client_problem(const struct client *self);
bool client_node_is_gone(const struct client *self);

/* Does a node run there? By its lock, or by a program that serves its API socket. */
bool client_node_runs(const struct paths *paths);
