/*
 * What the files of the shell share: service.c (its life, and how its neighbours are), calls.c (the
 * calls of clients, each from its message to its answer). Not for others.
 */
#pragma once

#include "libcommon/instances.h"
#include "services/gateway/callers.h"
#include "services/gateway/dedupe.h"
#include "services/gateway/gather.h"
#include "services/gateway/requests.h"

#include <stdbool.h>
#include <uv.h>

struct http;
struct publisher;
struct watch;

struct gateway {
    struct actor *actor;
    struct instances
        services[SERVICES_COUNT]; /* those of neighbours[]; nothing is asked of others */
    struct gather gather;         /* lb-swarm's workers */
    struct page status;
    struct callers callers;
    struct requests requests;
    struct dedupe dedupe;
    void *socket;
    struct watch *watch;
    struct publisher *publisher;
    struct http *http;          /* NULL: off */
    bool http_failed;           /* it was wanted, the log says why it is not */
    uv_timer_t due_timer;       /* runs while requests are paused or joined */
    uv_timer_t neighbour_timer; /* how we are */
    bool stopping;
    unsigned handles; /* timers not closed yet */
    struct status_counter *calls, *refused, *malformed, *answers_lost, *repeated;
};

/* ---- calls.c ---- */

/* A drain_fn: a message of a client. */
void calls_on_message(void *ctx, void *socket);

/* Those under way may end, nothing new is begun; then actor_stopped(). */
void calls_stop(struct gateway *self);
