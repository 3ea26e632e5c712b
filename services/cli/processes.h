/*
 * The processes of a node as they are, straight from its status page and /proc: this works while
 * every service hangs, and without any of them.
 */
#pragma once

#include "libcommon/identity.h"
#include "libcommon/node_id.h"
#include "libcommon/paths.h"
#include "libcommon/pki/join_token.h"
#include "libcommon/status_page.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROCESSES_MAX              (SERVICES_COUNT * STATUS_INSTANCES_MAX)
#define PROCESSES_COORDINATORS_MAX 5u /* more are not told: a group has at most five */

/* One row of lb-admin status. */
struct process {
    enum service service;
    unsigned instance;
    enum service_state state;
    uint32_t pid;
    bool alive;        /* there is such a process */
    bool stopped;      /* by a signal: SIGSTOP, or a debugger */
    bool killed;       /* it ended, and nobody was there to notice */
    uint64_t since_ms; /* age of the process; 0: none */
    uint32_t restarts;
    uint64_t cpu_ms;    /* so far */
    double cpu_percent; /* of one core, over the life of the process */
    uint64_t memory_bytes;
    bool memory_is_shared_out; /* the proportional set size (PSS); else the resident one (RSS) */
    uint32_t queue, backlog_ms;
    int32_t last_exit;
    uint64_t heartbeat_age_ms;
    uint32_t log_level;   /* set at run time: enum log_level + 1; 0: as configured */
    uint64_t log_left_ms; /* for so long; 0: for good */
    char note[STATUS_NOTE_SIZE + 128];
    char listens[STATUS_NOTE_SIZE];
    const struct status_slot *slot; /* for its counters */
};

enum level { LEVEL_WELL = 0, LEVEL_DEGRADED = 1, LEVEL_DOWN = 2, LEVEL_NOT_RUNNING = 3 };

const char *level_text(enum level level);

struct processes {
    struct page page;
    bool is_system;    /* the node of the system: systemd manages it */
    uint64_t since_ms; /* age of the node: of its supervisor, else of its oldest process */
    struct process rows[PROCESSES_MAX];
    size_t count;
    enum level level;
    bool has_node_id;
    struct node_id node_id;
    bool is_member; /* of a private network: */
    struct identity identity;
    bool has_certificate_s;
    uint64_t certificate_s; /* how long its certificate still counts */
    uint64_t deny_number;
    char coordinators[PROCESSES_COORDINATORS_MAX][JOIN_ADDRESS_SIZE]; /* HOST:PORT */
    size_t coordinators_count;                                        /* 0: none may be read */
};

/* LB_NOT_FOUND: no node ever ran there. Call processes_done(). */
LB_MUST_CHECK lb_err processes_read(struct processes *ret_self, const struct paths *paths);
void processes_done(struct processes *self);

/* What the rows mean for the node as a whole. The supervisor may be missing: systemd does its part.
 */
enum level processes_level(const struct process *rows, size_t count);

/* READINESS_DEGRADED: every service serves, but not all are well. */
enum readiness { READINESS_STARTING, READINESS_DEGRADED, READINESS_READY, READINESS_FAILED };

/* Why processes_read() failed, for a person. */
const char *processes_err_text(lb_err err);

#define PROCESSES_WHY_SIZE 256

/*
 * Does every service serve? supervisor_pid: only of the node that this supervisor runs; 0: whoever.
 * *ret_why: what is still missing, or failed.
 */
enum readiness processes_readiness(const struct paths *paths, uint32_t supervisor_pid,
                                   char ret_why[PROCESSES_WHY_SIZE]);
