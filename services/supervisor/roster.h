/*
 * The roster: one row for each service of a node but the supervisor itself, in the order in which
 * they are started.
 *
 * Needs are soft: a service starts without its neighbours and says DEGRADED until they are there.
 * They decide the order of stopping: a service is told to stop once nothing that needs it runs, so
 * that the last writes still find their way; storage hands its keys over through transport.
 * Invariant: a service needs only what stands above it (roster_test). Pure.
 */
#pragma once

#include "libcommon/config.h"
#include "libcommon/status_page.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sockets that a service is handed besides its mailbox, by their LISTEN_ names. */
enum roster_sockets {
    ROSTER_UDP = 1 << 0,        /* one for each instance and address */
    ROSTER_TCP = 1 << 1,        /* one for each address */
    ROSTER_API = 1 << 2,        /* api.sock and events.sock */
    ROSTER_COORDINATOR = 1 << 3 /* TCP, one for each address of coordinator.listen */
};

/* On which nodes it runs: what the node is when the supervisor starts. */
enum roster_when { ROSTER_ALWAYS, ROSTER_AS_MEMBER, ROSTER_AS_COORDINATOR };

struct roster_node {
    bool is_member;      /* of a private network: paths.identity_file is there */
    bool is_coordinator; /* of one: PATHS_CA_KEY is there */
};

struct roster_row {
    enum service service;
    const char *program;
    enum roster_when when;
    unsigned sockets;  /* of enum roster_sockets */
    unsigned needs;    /* a bit for each service, 1u << SERVICE_ROUTING ... */
    int instances_key; /* enum config_key with their number at the start, or -1: it is always one */
    bool scales;       /* several can share the work; else one runs, whatever the key says */
};

const struct roster_row *roster_rows(size_t *ret_count);

/* NULL for what is not supervised. */
const struct roster_row *roster_find(enum service service);

/* Who is not wanted has no sockets, no process and no slot in the status page. */
bool roster_wants(const struct roster_row *row, const struct roster_node *node);

/* May this service be told to stop while those whose bits are set in running still have processes?
 */
bool roster_may_stop(enum service service, unsigned running);
