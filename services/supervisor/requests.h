/*
 * What is asked of lb-supervisor's mailbox, one meaning standalone and under systemd: restart,
 * scale, stop. Who asked waits until it is done, or until the time that it gave is over: then it
 * goes on all the same.
 *
 * A scaling under way may be followed by another of the same service: who asked for the first is
 * told so (LB_CANCELLED). When the node is stopped, everybody is.
 */
#pragma once

#include "libcommon/actor.h"
#include "services/supervisor/manager.h"
#include "services/supervisor/restarts.h"
#include "services/supervisor/roster.h"
#include "services/supervisor/scaling.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REQUESTS_WAITING_MAX                                                                       \
    32 /* restarts and scalings that are waited for; one more is refused                           \
        */
#define REQUESTS_TIMEOUT_MS 60000u /* how long who does not say waits */

/* Somebody waits for one of the two. */
struct request_waiting {
    struct call *call; /* NULL: a free place */
    uint64_t deadline_ms;
    bool is_restart;
    struct restart restart;
    enum service scaled; /* the service, when it is no restart ... */
    unsigned instances;  /* ... and how many it is to have */
};

/*
 * The first member of the state of lb-supervisor, so that its handlers find it. Zeroed before
 * requests_init().
 */
struct requests {
    struct actor *actor;     /* borrowed */
    const struct page *page; /* borrowed: the status page, writable */
    const struct manager *manager;
    void *manager_ctx;
    struct roster_node node; /* what is not wanted there has no instances */
    struct scaling scalings[SERVICES_COUNT];
    struct request_waiting waiting[REQUESTS_WAITING_MAX];
    struct reload *reload; /* NULL before requests_init() */
    bool stopping;
};

/* The handlers of lb.supervisor.Request; their ctx begins with a struct requests. */
#define REQUESTS_HANDLERS_COUNT 6
extern handler_fn *const requests_handlers[REQUESTS_HANDLERS_COUNT];

void requests_init(struct requests *self, struct actor *actor, const struct page *page,
                   const struct roster_node *node, const struct manager *manager,
                   void *manager_ctx);

/* Its timers need one more turn of the loop. Also when requests_init() was not come to. */
void requests_done(struct requests *self);

/* SIGHUP, as service_definition.hangup: the whole node reads its configuration again. */
void requests_hangup(void *ctx);

/* At the start: a service has so many instances. Published as active at once. */
void requests_set_instances(struct requests *self, enum service service, unsigned instances);

/*
 * How many instances a service has or gets: those that are being taken away are not counted. 0: it
 * is not for this node.
 */
unsigned requests_instances(const struct requests *self, enum service service);

/* After anything happened, and when requests_deadline_ms() has come. */
void requests_advance(struct requests *self, uint64_t now_ms);

/* UINT64_MAX: none. */
uint64_t requests_deadline_ms(const struct requests *self, uint64_t now_ms);

/*
 * Tell by actor_state() how the node is: READY once every service has been, so that a node that
 * only just starts is not called degraded, else DEGRADED by the worst of those that are wanted.
 */
void requests_say_state(const struct requests *self);

/* The node is being stopped: who waits is told, and nothing is begun any more. */
void requests_stop(struct requests *self);
