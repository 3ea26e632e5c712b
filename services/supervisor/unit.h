/*
 * A service's instance as a unit of systemd: what it is called, and what systemd's report of it
 * means for the node.
 *
 * Sources: systemd.service(5), org.freedesktop.systemd1(5). A unit that is restarted by hand or by
 * request passes through "inactive" with a job waiting for it: it is then about to start, not
 * stopped. One that was refused may be activated by its socket once more before that is closed, and
 * systemd then says "inactive" of it: it stays refused until it runs, or is ordered anew. Pure.
 */
#pragma once

#include "libcommon/status_page.h"

#include <stdbool.h>
#include <stdint.h>

#define UNIT_NAME_SIZE 64
#define UNIT_WORD_SIZE 32

#define UNIT_TARGET "littlebird.target"

/* As org.freedesktop.systemd1.Unit and .Service say it; text is cut to fit. */
struct unit_report {
    char active[UNIT_WORD_SIZE]; /* ActiveState: active, inactive, activating, ... */
    char sub[UNIT_WORD_SIZE];    /* SubState: running, auto-restart, stop-watchdog, ... */
    char result[UNIT_WORD_SIZE]; /* Result of the last process: success, exit-code, ... */
    uint32_t pid;                /* MainPID; 0: none */
    uint32_t restarts;    /* NRestarts: by systemd itself; begins anew after a start by hand */
    int32_t exit_code;    /* ExecMainCode, as si_code: 1 exited, 2 killed, 3 dumped */
    int32_t exit_status;  /* ExecMainStatus: the code or the signal */
    bool has_job;         /* a job waits for it or is under way */
    uint64_t restart_ms;  /* RestartUSec */
    uint64_t watchdog_ms; /* WatchdogUSec; 0: none */
    uint64_t changed_ms;  /* StateChangeTimestampMonotonic */
};

/* X(name, state in the status page) */
#define UNIT_PHASES(X)                                                                             \
    X(ABSENT, STATE_ABSENT)     /* never started */                                                \
    X(STOPPED, STATE_STOPPED)   /* stopped by request */                                           \
    X(STARTING, STATE_STARTING) /* its process runs, or soon will; it has not said READY */        \
    X(RUNNING, STATE_READY)     /* it said READY */                                                \
    X(DRAINING, STATE_DRAINING) /* told to stop; its end is awaited */                             \
    X(HUNG, STATE_HUNG)         /* the watchdog has struck; its end is awaited */                  \
    X(BACKOFF, STATE_BACKOFF)   /* ended; systemd starts it again soon */                          \
    X(FAILED, STATE_FAILED)     /* ended too often: systemd has given up */                        \
    X(REFUSED, STATE_FAILED)    /* ended with 77 or 78: nobody tries again by itself */

#define UNIT_PHASE_ENUM(name, state) UNIT_##name,
enum unit_phase { UNIT_PHASES(UNIT_PHASE_ENUM) UNIT_PHASES_COUNT };
#undef UNIT_PHASE_ENUM

/* One unit as we know it. Zeroed at first: absent. */
struct unit {
    enum unit_phase phase;
    bool is_known;     /* systemd has told of it before */
    uint32_t pid;      /* 0: none */
    uint32_t last_pid; /* of the last process there was */
    uint32_t starts;   /* processes there were */
    uint32_t restarts; /* of them, those after one that had ended unasked or for a restart */
    uint32_t counted;  /* NRestarts as last reported */
    uint32_t ahead;    /* counted in restarts, and its process was not seen yet */
    int32_t last_exit; /* code, or minus the signal */
    int32_t refusal;   /* the code it was REFUSED with, until it runs or is ordered; 0: none */
    bool was_ready;    /* ever */
    uint64_t next_ms;  /* BACKOFF: when it is started again */
    uint64_t watchdog_ms;
};

/* "littlebird-transport@2.service", "littlebird-routing.service". */
void unit_service_name(enum service service, unsigned instance, char ret_name[UNIT_NAME_SIZE]);

/* Of its mailbox. When it is stopped the service is too, and then the other sockets of the
 * instance. */
void unit_socket_name(enum service service, unsigned instance, char ret_name[UNIT_NAME_SIZE]);

/* False for a unit that is no service of a node. */
bool unit_parse_name(const char *name, enum service *ret_service, unsigned *ret_instance);

/* It is about to: what systemd says from now on may still be of before. */
void unit_expect(struct unit *self, enum unit_phase phase);

/* systemd told. Returns true when anything but counters has changed. */
bool unit_take(struct unit *self, const struct unit_report *report);

enum service_state unit_state(enum unit_phase phase);

/* There is a process, or soon will be. */
bool unit_is_up(enum unit_phase phase);

/* One line for a person on how the last process ended, for the phases in which that matters. */
void unit_format_end(const struct unit *self, char ret_note[STATUS_NOTE_SIZE]);
