/*
 * status.shm: one slot a process, written by that process (state, heartbeat, counters) and by the
 * supervisor (pid, restarts, since), read by anybody, also while every service hangs.
 *
 * The file has a fixed size and is created by whoever comes first; a slot's place follows from the
 * service and the instance, so nothing is allocated. Single fields are atomic; a note may be torn
 * and is only ever printed.
 *
 * How many instances of a service others may send to stands in active[], written by lb-supervisor
 * alone, standalone and under systemd alike. When a service grows, active is raised once the new
 * instance is ready; when it shrinks, active is lowered first, and the last instance is asked to
 * drain STATUS_SETTLE_MS later: by then everybody has seen it, since services look at it at every
 * heartbeat.
 */
#pragma once

#include "libcommon/error.h"
#include "libcommon/page.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define STATUS_PAGE_MAGIC    0x4c42535441545553ULL /* "LBSTATUS" */
#define STATUS_PAGE_LAYOUT   7u
#define STATUS_INSTANCES_MAX 16
#define STATUS_COUNTERS_MAX  76
#define STATUS_NAME_SIZE     24
#define STATUS_NOTE_SIZE     120
#define STATUS_HEARTBEAT_MS  500  /* how often a service writes heartbeat_ms and reads active[] */
#define STATUS_SETTLE_MS     1000 /* after so long everybody has seen a new active[]: two of them */

/* X(name, text): every process of a node, in the order in which they are started. */
#define LB_SERVICES(X)                                                                             \
    X(SUPERVISOR, "supervisor")                                                                    \
    X(ROUTING, "routing")                                                                          \
    X(TRANSPORT, "transport")                                                                      \
    X(STORAGE, "storage")                                                                          \
    X(SWARM, "swarm")                                                                              \
    X(SIGNER, "signer")                                                                            \
    X(COORDINATOR, "coordinator")                                                                  \
    X(MEMBER, "member")                                                                            \
    X(GATEWAY, "gateway")

#define LB_SERVICE_ENUM(name, text) SERVICE_##name,
enum service { LB_SERVICES(LB_SERVICE_ENUM) SERVICES_COUNT };
#undef LB_SERVICE_ENUM

const char *service_text(enum service service);
LB_MUST_CHECK lb_err service_parse(const char *text, enum service *ret_service);

/*
 * It runs on some nodes only, members of a private network and coordinators of one, and always as
 * one instance. The supervisor decides; where its slot is absent nobody misses it.
 */
static inline bool service_is_optional(enum service service)
{
    return service == SERVICE_SIGNER || service == SERVICE_COORDINATOR || service == SERVICE_MEMBER;
}

/* X(name, text) */
#define LB_STATES(X)                                                                               \
    X(ABSENT, "absent")     /* not configured or never started */                                  \
    X(STARTING, "starting") /* the process runs, not ready yet */                                  \
    X(READY, "ready")                                                                              \
    X(DEGRADED, "degraded") /* serves, but misses something; the note says what */                 \
    X(DRAINING, "draining") /* asked to stop, finishing */                                         \
    X(BACKOFF, "backoff")   /* ended; will be started again at a stated time */                    \
    X(FAILED, "failed")     /* ended too often, or said not to restart it */                       \
    X(STOPPED, "stopped")                                                                          \
    X(HUNG, "hung") /* no heartbeat */

#define LB_STATE_ENUM(name, text) STATE_##name,
enum service_state { LB_STATES(LB_STATE_ENUM) STATES_COUNT };
#undef LB_STATE_ENUM

const char *service_state_text(enum service_state state);

struct status_counter {
    char name[STATUS_NAME_SIZE]; /* "" ends the list */
    _Atomic uint64_t value;
};

struct status_slot {
    _Atomic uint32_t pid;          /* 0: no process */
    _Atomic uint32_t state;        /* enum service_state */
    _Atomic uint64_t since_ms;     /* CLOCK_MONOTONIC, ms: when it entered the state of running */
    _Atomic uint64_t heartbeat_ms; /* CLOCK_MONOTONIC, ms: last full turn of the event loop */
    _Atomic uint32_t restarts;     /* by the supervisor, since it started */
    _Atomic uint32_t generation;   /* grows by each start of the process */
    _Atomic uint32_t queue;        /* requests taken in and not yet answered */
    _Atomic uint32_t backlog_ms;   /* age of the oldest of these that is not to last */
    _Atomic int32_t last_exit; /* exit code, or minus the signal, of the last process; 0 at first */
    _Atomic uint32_t log_level; /* by the supervisor: 0 as configured, else enum log_level + 1 */
    _Atomic uint64_t next_start_ms; /* BACKOFF, FAILED: when it is tried again; 0: not by itself */
    _Atomic uint64_t
        log_until_ms;        /* CLOCK_MONOTONIC, ms: log_level holds until then; 0: for good */
    _Atomic uint64_t cpu_us; /* processor time so far, user and system */
    _Atomic uint64_t memory_bytes;   /* resident; shared pages are counted in each process */
    _Atomic uint32_t config_version; /* the last it has taken over, of struct status_page */
    _Atomic uint32_t config_refused; /* the last it could not; the log says why */
    _Atomic uint64_t config_digest;  /* what it runs with until it starts anew: config_reload.h */
    char note[STATUS_NOTE_SIZE];     /* one line for a person */
    char listens[STATUS_NOTE_SIZE];  /* where the network reaches it, "UDP 0.0.0.0:6881"; or "" */
    struct status_counter counters[STATUS_COUNTERS_MAX];
    _Atomic uint64_t answered;   /* requests taken in and answered, of this process */
    _Atomic uint32_t overdue_ms; /* how long the oldest of `queue` has outlived its caller's time */
};

struct status_page {
    uint64_t magic;
    uint32_t layout;
    _Atomic uint32_t config_version; /* grows by each reload; see orders.h */
    _Atomic uint32_t
        active[SERVICES_COUNT];     /* instances 0 .. active-1 may be sent to; 0: not said */
    _Atomic uint64_t config_digest; /* of the files that config_version means */
    struct status_slot slots[SERVICES_COUNT][STATUS_INSTANCES_MAX];
};

/*
 * Open run_folder/status.shm; for a writer it is made when it is not there or not valid: a new
 * file, or, where no file may be made, in the one that is there. For a reader it is LB_UNSUPPORTED
 * when a node of another version made it, LB_CORRUPT when it is no status page.
 */
LB_MUST_CHECK lb_err status_page_open(struct page *ret_page, const char *run_folder, bool writable);

struct status_slot *status_page_slot(const struct page *page, enum service service,
                                     unsigned instance);

/* How many instances of it others may send to: 1 to STATUS_INSTANCES_MAX; 1 when it was not said.
 */
unsigned status_page_active(const struct page *page, enum service service);

/* For lb-supervisor. */
void status_page_set_active(const struct page *page, enum service service, unsigned instances);

#define STATUS_HUNG_MS 10000 /* heartbeats come twice a second */

/* Its state as it is now: HUNG when it says it serves and its heartbeat is old. now_ms: monotonic.
 */
enum service_state status_slot_state(const struct status_slot *slot, uint64_t now_ms);

/* READY or DEGRADED. */
bool service_state_serves(enum service_state state);

/* The counter of this name in a slot, made when it is new; NULL when the slot is full. */
struct status_counter *status_slot_counter(struct status_slot *slot, const char *name);

/* The one there is, also of another process; NULL: it has none of this name. */
const struct status_counter *status_slot_find(const struct status_slot *slot, const char *name);
void status_counter_add(struct status_counter *counter, uint64_t by);
void status_counter_set(struct status_counter *counter, uint64_t value);

/* As if nothing had ever run there: for lb-supervisor. */
void status_slot_clear(struct status_slot *slot);
void status_slot_note(struct status_slot *slot, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* One more address the network reaches it at: "UDP", "0.0.0.0:6881". What does not fit is left out.
 */
void status_slot_listens(struct status_slot *slot, const char *protocol, const char *address);
