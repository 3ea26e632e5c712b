/*
 * lb-routing's shell: joins the router to transport, to the page in shared memory and to the disk.
 * Handlers only feed the router; once a turn of the loop it is asked what to send and what has
 * finished. The parts stand in files of their own:
 *
 *     queries.c    the router's queries, as calls of transport, and their answers
 *     answers.c    what we answer: Found, Table
 *     publisher.c  routing.shm
 *     keeper.c     the node id and the snapshot on disk
 *     names.c      bootstrap host names
 */
#pragma once

#include "libcommon/actor.h"
#include "libcommon/instances.h"
#include "services/routing/keeper.h"
#include "services/routing/names.h"
#include "services/routing/publisher.h"
#include "services/routing/router.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* X(NAME, text): shown in the status page. */
#define ROUTING_COUNTERS(X)                                                                        \
    X(CONTACTS, "contacts")                                                                        \
    X(GOOD, "good_contacts")                                                                       \
    X(ADDED, "contacts_added")                                                                     \
    X(FORGOTTEN, "contacts_forgotten")                                                             \
    X(CONFLICTS, "id_conflicts")                                                                   \
    X(LOOKUPS, "lookups")                                                                          \
    X(RUNNING, "lookups_running")                                                                  \
    X(REFRESHES, "refreshes")                                                                      \
    X(PROBES, "probes")                                                                            \
    X(QUERIES, "queries")                                                                          \
    X(ANSWERS, "answers")                                                                          \
    X(SILENT, "silent")                                                                            \
    X(UNSENT, "unsent")                                                                            \
    X(RTT, "rtt_us")

#define ROUTING_COUNTER_ENUM(name, text) ROUTING_COUNT_##name,
enum routing_counter { ROUTING_COUNTERS(ROUTING_COUNTER_ENUM) ROUTING_COUNTERS_COUNT };
#undef ROUTING_COUNTER_ENUM

struct routing {
    struct actor *actor; /* borrowed: loop, configuration, clock, status */
    struct router *router;
    struct publisher publisher;
    struct keeper keeper;
    struct names names;
    struct instances transports;
    unsigned families_asked; /* GetInfo is on its way to a worker */
    bool families_known;     /* ... and has been answered since its link came up */
    bool has_v4, has_v6;     /* the families transport serves, when known */
    uv_timer_t timer;
    uv_prepare_t prepare;
    uint64_t timer_ms;  /* what it is armed for; UINT64_MAX: not */
    uint64_t told_ms;   /* when state and counters were last told */
    uint64_t told_view; /* what was told then, as one number */
    bool id_changes;    /* at the next start: it does not fit our public address */
    bool is_member;     /* of a private network (libcommon/identity.h) */
    struct status_counter *counters[ROUTING_COUNTERS_COUNT];
    bool stopping;
};

extern const struct service_definition routing_service;
