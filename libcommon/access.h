/*
 * Who may do what in a node: the one table of which process may send which internal message to
 * whom, and what a person may ask of the public API.
 *
 * A sender is known by what the kernel says of the other end of a local socket (SO_PEERCRED: uid,
 * gid and pid when it connected), never by its message. The pid leads to a service by the status
 * page. Where services run as several users the uid must be that of the service as well: the page
 * is written by all of them, so between two services of one user, and in a node that runs as one
 * user altogether, the table keeps faults apart but not a process that lies in the page.
 *
 * A person is root, the user a node runs as, or a member of the groups below. Whatever has no row
 * or no mark in its row is denied. Sources: THREATS 2, rows 12 and 16; setup_peers() of OpenSMTPD.
 * Pure.
 */
#pragma once

#include "libcommon/status_page.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACCESS_GROUP_USER  "littlebird"       /* may look, share, fetch, put and get */
#define ACCESS_GROUP_ADMIN "littlebird-admin" /* may change how the node runs */

/* A service's role has the service's number. */
#define LB_ROLE_ENUM(name, text) ACCESS_##name,
enum access_role {
    LB_SERVICES(LB_ROLE_ENUM) ACCESS_ADMIN, /* a person who may do all */
    ACCESS_USER,                            /* a person who may use the node */
    ACCESS_STRANGER,
    ACCESS_ROLES_COUNT
};
#undef LB_ROLE_ENUM

/* "storage", "an administrator": for logs and reasons. */
const char *access_role_text(enum access_role role);

/* The user a service runs as where they are apart (systemd/littlebird.sysusers). */
const char *access_user_name(enum service service);

/* ---- internal messages ---- */

struct access_row {
    enum service to;
    const char *message; /* the field of its Request's oneof */
    unsigned from;       /* a bit for each role, 1u << ACCESS_GATEWAY ... */
};

/* Every message there is; for tests. */
const struct access_row *access_rows(size_t *ret_count);

/* Who may send it, a bit for each role; 0: nobody, it has no row. */
unsigned access_senders(enum service to, const char *message);

/* ---- the public API ---- */

enum access_level {
    ACCESS_CHANGE, /* how the node runs: restart, scale, limits, log, reload, stop */
    ACCESS_USE,    /* share, fetch, put, get, remove */
    ACCESS_LOOK    /* status, lists */
};

bool access_may_call(enum access_role role, enum access_level level);

/* ---- from the kernel's word to a role ---- */

struct access_peer {
    uint32_t uid, gid, pid;
};

/*
 * "localhost:1000:1000:4711", as libzmq describes the other end of an ipc connection (its property
 * Peer-Address; stream_engine_base.cpp, get_peer_address). False when it ends with no such numbers.
 */
bool access_parse_peer(const char *text, struct access_peer *ret_peer);

/* The users of a node, as one of its processes sees them. */
struct access_users {
    uint32_t own; /* whom this process runs as */
    bool apart;   /* services run as several users: service[] counts */
    uint32_t service[SERVICES_COUNT];
};

#define ACCESS_NO_SERVICE SERVICES_COUNT

/* Its role as a service: the status page has its pid for this one. Else ACCESS_STRANGER. */
enum access_role access_service_role(const struct access_users *users, uint32_t uid,
                                     enum service by_pid);

/* Does its role depend on the groups it is in? Looking these up may take a while. */
bool access_needs_groups(const struct access_users *users, uint32_t uid);

enum access_groups { ACCESS_IN_USERS = 1 << 0, ACCESS_IN_ADMINS = 1 << 1 };

/* Its role as a person. groups: of enum access_groups, 0 when they do not matter. */
enum access_role access_person_role(const struct access_users *users, uint32_t uid,
                                    unsigned groups);
