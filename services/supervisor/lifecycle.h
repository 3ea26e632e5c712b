/*
 * One service's life under lb-supervisor: a table of state by event, on the caller's clock.
 *
 * The shell tells what happened (lifecycle_event), carries out the one order that comes back, and
 * arms a timer for lifecycle_deadline_ms(). An empty cell of the table means that the event changes
 * nothing in that state. Invariant: a process exists in STARTING, READY, HUNG, DRAINING and
 * RESTARTING, and in no other state.
 *
 * The rules are DESIGN 2, "Supervision", after the restart intensity of OTP supervisors and
 * systemd.service(5): restart at once, then 100 ms x 2^n to 30 s with jitter; five restarts in 30 s
 * mark the service failed, it is then tried every 5 minutes; 60 s of being ready forget the past.
 * Exit codes 77 and 78 (sysexits.h: permission, configuration) are not retried. Pure.
 */
#pragma once

#include "libcommon/random.h"

#include <stdbool.h>
#include <stdint.h>

#define LIFECYCLE_BACKOFF_MS      100u
#define LIFECYCLE_BACKOFF_MAX_MS  30000u
#define LIFECYCLE_BURST           5u      /* restarts ... */
#define LIFECYCLE_BURST_WINDOW_MS 30000u  /* ... in this time mark the service failed */
#define LIFECYCLE_FAILED_RETRY_MS 300000u /* how often a failed service is tried */
#define LIFECYCLE_STABLE_MS       60000u  /* ready for so long: earlier ends are forgotten */
#define LIFECYCLE_START_LIMIT_MS  60000u  /* from start to ready; then it counts as hung */
#define LIFECYCLE_ABORT_GRACE_MS  2000u   /* from SIGABRT to SIGKILL: time for a core file */
#define LIFECYCLE_STOP_LIMIT_MS   10000u  /* from SIGTERM to SIGKILL */

#define LIFECYCLE_NEVER UINT64_MAX

/* As the detail of an event: the process is stopped (SIGSTOP), so that no SIGABRT reaches it. */
#define LIFECYCLE_STOPPED 1

/* X(name, text) */
#define LIFE_STATES(X)                                                                             \
    X(STOPPED, "stopped")       /* not started yet, or stopped by request */                       \
    X(STARTING, "starting")     /* the process runs and has not said READY */                      \
    X(READY, "ready")           /* it said READY; its heartbeat is awaited */                      \
    X(HUNG, "hung")             /* told to abort, or killed; its end is awaited */                 \
    X(DRAINING, "draining")     /* told to stop; its end is awaited */                             \
    X(RESTARTING, "restarting") /* told to stop, and to be started again at once */                \
    X(BACKOFF, "backoff")       /* ended; started again at the deadline */                         \
    X(FAILED, "failed")         /* ended too often; tried again at the deadline */                 \
    X(REFUSED, "refused")       /* ended with 77 or 78: not started again by itself */

/* X(name, text) */
#define LIFE_EVENTS(X)                                                                             \
    X(START, "start")     /* asked to run */                                                       \
    X(READY, "ready")     /* the process said READY=1 */                                           \
    X(BEAT, "beat")       /* the process said WATCHDOG=1 */                                        \
    X(BROKEN, "broken")   /* the process said WATCHDOG=trigger */                                  \
    X(STUCK, "stuck")     /* its loop beats and its requests lie unanswered, see stall.h */        \
    X(EXIT, "exit")       /* the process ended; detail: its code, or minus the signal */           \
    X(TIMER, "timer")     /* the deadline has passed */                                            \
    X(RESTART, "restart") /* asked to be drained and started again, now */                         \
    X(STOP, "stop")       /* asked to be drained and to stay away */

#define LIFE_STATE_ENUM(name, text) LIFE_##name,
enum life_state { LIFE_STATES(LIFE_STATE_ENUM) LIFE_STATES_COUNT };
#undef LIFE_STATE_ENUM

#define LIFE_EVENT_ENUM(name, text) LIFE_ON_##name,
enum life_event { LIFE_EVENTS(LIFE_EVENT_ENUM) LIFE_EVENTS_COUNT };
#undef LIFE_EVENT_ENUM

/* What the shell has to do now. */
enum life_order {
    LIFE_DO_NOTHING,
    LIFE_DO_SPAWN, /* start the process; when that fails, tell LIFE_ON_EXIT */
    LIFE_DO_TERM,  /* SIGTERM */
    LIFE_DO_ABORT, /* SIGABRT */
    LIFE_DO_KILL   /* SIGKILL */
};

struct lifecycle {
    enum life_state state;
    uint32_t restarts;    /* starts but the first, and but those after a stop */
    uint32_t generation;  /* starts */
    int32_t last_exit;    /* of the last process: code, or minus the signal; 0 at first */
    uint64_t deadline_ms; /* LIFECYCLE_NEVER: none */

    uint64_t watchdog_ms; /* 0: no heartbeat is awaited */
    uint64_t ready_since_ms;
    uint64_t restarted_ms[LIFECYCLE_BURST]; /* ring: when it was last restarted by itself */
    uint32_t restarted_count;               /* all of them since the past was forgotten */
    bool on_probation;                      /* tried after FAILED: the next end fails it at once */
    struct random random;
};

void lifecycle_init(struct lifecycle *self, uint64_t watchdog_ms, uint64_t seed);

/*
 * Something happened at now_ms (monotonic). detail is the exit for LIFE_ON_EXIT; LIFECYCLE_STOPPED
 * or 0 for LIFE_ON_TIMER, LIFE_ON_BROKEN and LIFE_ON_STUCK; else 0. A TIMER before the deadline
 * changes nothing.
 */
enum life_order lifecycle_event(struct lifecycle *self, enum life_event event, int32_t detail,
                                uint64_t now_ms);

/* When LIFE_ON_TIMER is due; LIFECYCLE_NEVER when it is not. */
uint64_t lifecycle_deadline_ms(const struct lifecycle *self);

/* There is a process, or should be. */
bool lifecycle_has_process(const struct lifecycle *self);

const char *life_state_text(enum life_state state);
const char *life_event_text(enum life_event event);
