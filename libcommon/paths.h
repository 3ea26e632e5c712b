/*
 * Where a node keeps its things (DESIGN 5): one place to decide it for every program.
 *
 * With a folder D: D/littlebird.conf, D/data, D/run. System: /etc, /var/lib, /run/littlebird.
 * Otherwise per user: $XDG_CONFIG_HOME, $XDG_DATA_HOME and $XDG_RUNTIME_DIR with their defaults.
 *
 * The system's node runs under several users (libcommon/access.h), each with folders of its own:
 * below /var/lib/littlebird and /run/littlebird, "net" is that of transport, swarm and member,
 * "data" that of routing and storage, "coordinator" and "ca" those of coordinator and signer. The
 * run folder itself is root's, so that no service can put another
 * socket or page in the place of one. Anywhere else all belongs to one user.
 */
#pragma once

#include "libcommon/error.h"
#include "libcommon/status_page.h"

#include <stdbool.h>

#define PATHS_SIZE   512
#define IPC_PATH_MAX 107                /* sun_path without its NUL */
#define PATHS_CA_KEY "intermediate.key" /* in ca_folder; there on a coordinator */

struct paths {
    char config_file[PATHS_SIZE];
    char state_folder[PATHS_SIZE];
    char run_folder[PATHS_SIZE];      /* sockets, status.shm */
    char pages_folder[PATHS_SIZE];    /* routing.shm and presence.shm */
    char private_folder[PATHS_SIZE];  /* gone with the run folder; for the service's own user */
    char identity_file[PATHS_SIZE];   /* libcommon/identity.h; there on a member */
    char bootstrap_file[PATHS_SIZE];  /* beside it: HOST:PORT a line, nodes named when it joined */
    char member_folder[PATHS_SIZE];   /* key and certificate: libcommon/pki/membership.h */
    char register_folder[PATHS_SIZE]; /* lb-coordinator's: Raft log and snapshots */
    char ca_folder[PATHS_SIZE];       /* lb-signer's: PATHS_CA_KEY and what it certifies */
};

/*
 * For a program run by a person. dir: --dir, or NULL. Then LITTLEBIRD_DIR, then the system node if
 * its api.sock is there and may be written to, then the user's own folders. Relative folders are
 * made absolute. LB_TOO_BIG when an ipc path below the run folder would be longer than
 * IPC_PATH_MAX; LB_NOT_FOUND when HOME, which the user's own folders are below, is not set.
 */
LB_MUST_CHECK lb_err paths_find(struct paths *ret_self, const char *dir);

/* For the system node, whatever the environment says. */
void paths_system(struct paths *ret_self);
bool paths_is_system(const struct paths *self);

/* As this service sees them: of the system's node, the folders of its user. */
void paths_of_service(struct paths *self, enum service service);

/*
 * mkdir -p, with mode 0700 (the system's: as systemd/littlebird.tmpfiles). LB_DENIED when the run
 * folder is another user's: who owns it could take our sockets' names. One of ours that others may
 * enter is closed to them.
 */
LB_MUST_CHECK lb_err paths_make(const struct paths *self);

/*
 * Does the system's state folder hold what a node of one single user left there? Services of
 * several users could not read it; ret_what: a name, for a person.
 */
bool paths_has_old_state(const struct paths *self, const char **ret_what);
