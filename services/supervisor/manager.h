/*
 * Who runs the services: lb-supervisor itself (children.c), or systemd, which it asks (overseer.c).
 * What an administrator wants (requests.h) means the same with both and is carried out through
 * this.
 *
 * Nothing here waits: an order is given, and look() says later how far it has got.
 */
#pragma once

#include "libcommon/error.h"
#include "libcommon/status_page.h"

#include <stdbool.h>
#include <stdint.h>

enum manager_condition {
    MANAGER_ENDED, /* no process, and none is to come: never started, or stopped by request */
    MANAGER_BUSY,  /* starting, draining, or waiting to be started again */
    MANAGER_READY, /* it said READY and has not been told to end since */
    MANAGER_FAILED /* it ended too often, or said not to start it again: not back soon by itself */
};

struct manager {
    /*
     * Make its sockets, where they are ours to make, and start it. Of an instance that has ended
     * and was not released the sockets are kept. On an error *ret_problem says why, for a person;
     * it lives until the next call.
     */
    lb_err (*start)(void *ctx, enum service service, unsigned instance, const char **ret_problem);

    /* Drain it and start it again; when it has no process, start it, also if it had failed. */
    void (*restart)(void *ctx, enum service service, unsigned instance);

    /* Drain it; it stays away. */
    void (*stop)(void *ctx, enum service service, unsigned instance);

    /* It has ended and is one too many: close its sockets, forget it. The last one first. */
    void (*release)(void *ctx, enum service service, unsigned instance);

    /*
     * Among how many instances the kernel is to share out datagrams from now on. active[] of the
     * status page is set to the same right after. May be NULL.
     */
    void (*steer)(void *ctx, enum service service, unsigned active);

    /*
     * How it is: after an order what has become of it, never how it was before (BUSY as long as
     * that is not known). *ret_generation grows with every start of a process of it.
     */
    enum manager_condition (*look)(void *ctx, enum service service, unsigned instance,
                                   uint32_t *ret_generation);

    /* It was ready once, or nothing is to be expected of it soon: nobody waits for it at start. */
    bool (*has_settled)(void *ctx, enum service service, unsigned instance);

    /* As the status page shows it. */
    enum service_state (*state)(void *ctx, enum service service, unsigned instance);

    /* Something was asked: requests_advance(), and whatever else follows when anything happened. */
    void (*settle)(void *ctx);

    /* Drain and stop the whole node; as SIGTERM to the supervisor does. */
    void (*stop_node)(void *ctx);
};
