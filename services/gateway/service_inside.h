/*
 * What the files of the shell share: service.c (its life, and how its neighbours are), calls.c (the
 * calls of clients, each from its message to its answer), relay.c (asking services for them). Not
 * for others.
 */
#pragma once

#include "libcommon/identity.h"
#include "libcommon/instances.h"
#include "services/gateway/callers.h"
#include "services/gateway/dedupe.h"
#include "services/gateway/envelope.h"
#include "services/gateway/gather.h"
#include "services/gateway/requests.h"
#include "services/gateway/view.h"

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
    struct identity identity;
    bool is_member; /* of a private network: identity counts */
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

/* One call of a client while it is under way. */
struct work {
    struct gateway *gateway;
    struct request *request; /* NULL once it is answered: only its link's reply is awaited */
    bool asked;              /* a reply of its link is to come */
    bool refused;            /* who was asked does not know it */
    bool looked_up;          /* all were asked whose it is */
    bool has_place;          /* it is known whose it is: */
    uint16_t place;
    struct envelope envelope;
};

/* ---- calls.c ---- */

/* A drain_fn: a message of a client. */
void calls_on_message(void *ctx, void *socket);

/* Those under way may end, nothing new is begun; then actor_stopped(). */
void calls_stop(struct gateway *self);

/* Answer the client; the request is gone then. work_respond is a message_take_fn. */
void work_finish(struct work *work, const struct answer *answer);
void work_respond(void *ctx, const ProtobufCMessage *response);
void work_fail(struct work *work, lb_err err, const char *text);
void work_free_if_done(struct work *work);

/* ---- service.c ---- */

/* Those that only some nodes have are linked when they are first asked. */
void gateway_link(struct gateway *self, enum service service);

/* ---- relay.c ---- */

/* Ask for it, or fail it. */
void relay_begin(struct work *work);

/* One of the requests is paused or joined: its time may come. */
void relay_watch_time(struct gateway *self);
