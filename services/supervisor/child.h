/*
 * One service as the supervisor runs it: its life (lifecycle.h), its process and its slot in the
 * status page. What lifecycle orders is carried out here.
 */
#pragma once

#include "libcommon/status_page.h"
#include "services/supervisor/lifecycle.h"
#include "services/supervisor/notice.h"
#include "services/supervisor/roster.h"
#include "services/supervisor/stall.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sockets;

/* What all services of a node are started with; outlives the children. */
struct child_surroundings {
    const struct sockets *sockets;
    char *const *arguments;        /* of the supervisor: theirs too; NULL ends them */
    const char *notify_socket;     /* path */
    char program_folder[PATH_MAX]; /* where lb-supervisor itself is */
    uint64_t stuck_ms;             /* the limit of stall.h */
};

struct child {
    const struct child_surroundings *surroundings; /* borrowed */
    const struct roster_row *row;
    unsigned instance;
    struct lifecycle life;
    struct stall stall;
    pid_t pid;      /* 0: none */
    bool was_ready; /* ever */
    struct status_slot *slot;
};

/* Clears the slot: what another run left there is no news. lifecycle_init is the caller's. */
void child_init(struct child *self, const struct child_surroundings *surroundings,
                const struct roster_row *row, unsigned instance, struct status_slot *slot);

/* Tell lifecycle_event(), carry out its order and publish the outcome. detail: of LIFE_ON_EXIT. */
void child_tell(struct child *self, enum life_event event, int32_t detail);

/* What its process said. */
void child_take_notice(struct child *self, const struct notice *notice);

/* When its process has ended: wait for it and tell. */
void child_reap(struct child *self);

/* SIGKILL, and wait for its end; nothing follows. */
void child_kill(struct child *self);

/* It was ready once, or nothing is to be expected of it soon: nobody waits for it at start. */
bool child_has_settled(const struct child *self);

enum service_state child_state(const struct child *self);
