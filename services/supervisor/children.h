/*
 * The processes of a node that is not under systemd, and what manager.h asks of whoever runs them.
 * The table has a place for every instance there may be; children[service][0 .. count - 1] are
 * used.
 */
#pragma once

#include "libcommon/error.h"
#include "services/supervisor/child.h"
#include "services/supervisor/manager.h"
#include "services/supervisor/sockets.h"

#include <stdint.h>
#include <sys/types.h>

struct children {
    struct sockets *sockets;                /* borrowed; instances add and remove their own */
    const struct paths *paths;              /* borrowed */
    const struct page *page;                /* borrowed: the status page, writable */
    struct child_surroundings surroundings; /* filled in by the caller */
    uint64_t watchdog_ms;
    struct child of[SERVICES_COUNT][STATUS_INSTANCES_MAX];
    unsigned count[SERVICES_COUNT];
    struct sockets_problem problem; /* of the last children_start() */
};

/* At the start: so many, whose sockets are bound; none is started yet. Clears the slots of
 * all there may be. */
void children_set(struct children *self, enum service service, unsigned instances);

/* All there are, in the order in which they are started; before: NULL at first. NULL: no more. */
struct child *children_next(struct children *self, const struct child *before);

/* NULL: it is none of ours. */
struct child *children_by_pid(struct children *self, pid_t pid);

/* A bit for each service that has a process: for roster_may_stop(). */
unsigned children_running(const struct children *self);

/* The earliest deadline of them all. */
uint64_t children_deadline_ms(const struct children *self);

/* ---- as in manager.h ---- */

LB_MUST_CHECK lb_err children_start(struct children *self, enum service service, unsigned instance,
                                    const char **ret_problem);
void children_restart(struct children *self, enum service service, unsigned instance);
void children_stop(struct children *self, enum service service, unsigned instance);
void children_release(struct children *self, enum service service, unsigned instance);
void children_steer(struct children *self, enum service service, unsigned active);
enum manager_condition children_look(const struct children *self, enum service service,
                                     unsigned instance, uint32_t *ret_generation);
