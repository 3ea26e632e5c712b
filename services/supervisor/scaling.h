/*
 * How many instances of one service run: from those there are to those that are wanted, make before
 * break. Orders come one at a time; the shell carries each out at once and asks again until there
 * is none, and asks again whenever anything has happened.
 *
 * Growing: the new instances are started together; one after the other, in order, is told to others
 * (active is raised) once it is ready. When one of them fails, those that others were not told of
 * are taken back, and the scaling has failed. Shrinking: others are told first (active is lowered);
 * after STATUS_SETTLE_MS, when nobody sends to them any more, those that are too many are stopped;
 * once the last one has ended its sockets are closed, then those of the one before. One that was
 * told to stop and is wanted again is started once it has ended.
 *
 * What is wanted may change at any time; what is under way goes on from where it is. Invariants:
 * 1 <= active <= running <= SCALING_MAX; an instance below active is never told to stop. Pure.
 */
#pragma once

#include "libcommon/status_page.h"
#include "services/supervisor/manager.h"

#include <stdbool.h>
#include <stdint.h>

#define SCALING_MAX   STATUS_INSTANCES_MAX
#define SCALING_NEVER UINT64_MAX

/*
 * From the order to stop to the end, SIGKILL and all (standalone LIFECYCLE_STOP_LIMIT_MS, under
 * systemd TimeoutStopSec=). Who is ready after that was started by somebody else since.
 */
#define SCALING_STOP_MAX_MS 15000u

enum scaling_verb {
    SCALING_WAIT,    /* for a condition to change, or for scaling_deadline_ms() */
    SCALING_START,   /* start this instance; when that cannot be done, tell scaling_fail() */
    SCALING_PUBLISH, /* others may send to 0 .. active - 1 from now on */
    SCALING_STOP,    /* drain this instance */
    SCALING_RELEASE, /* close the sockets of this instance; it is gone */
    SCALING_DONE /* as many run as are wanted; if failed is set, not as many as were asked for */
};

struct scaling_order {
    enum scaling_verb verb;
    unsigned instance;
};

struct scaling {
    unsigned wanted;     /* to be in the end */
    unsigned running;    /* those that have a place: 0 .. running - 1 */
    unsigned active;     /* of them, those that others were told of */
    uint64_t settled_ms; /* nobody sends to active .. running - 1 any more from then on */
    uint64_t stopped_ms; /* when one was last told to stop */
    uint32_t stopped;    /* a bit for each that was told to stop and has not been started since */
    unsigned failed_instance; /* for whose sake the last scaling was cut short */
};

/* So many have been started, or are about to be, and others are told of all of them. */
void scaling_init(struct scaling *self, unsigned instances);

/* wanted is 1 to SCALING_MAX. */
void scaling_want(struct scaling *self, unsigned wanted);

/* The next order; conditions are those of 0 .. running - 1, now_ms is monotonic. */
struct scaling_order scaling_next(struct scaling *self, const enum manager_condition *conditions,
                                  uint64_t now_ms);

/* This instance could not be started: those before it are wanted still. */
void scaling_fail(struct scaling *self, unsigned instance);

/* When scaling_next() is to be asked again though nothing happened; SCALING_NEVER: not. */
uint64_t scaling_deadline_ms(const struct scaling *self, uint64_t now_ms);
