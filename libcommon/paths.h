/*
 * Where a node keeps its things (DESIGN 5): one place to decide it for every program.
 *
 * With a folder D: D/littlebird.conf, D/data, D/run. System: /etc, /var/lib, /run/littlebird.
 * Otherwise per user: $XDG_CONFIG_HOME, $XDG_DATA_HOME and $XDG_RUNTIME_DIR with their defaults.
 */
#pragma once

#include "libcommon/error.h"

#include <stdbool.h>

#define PATHS_SIZE   512
#define IPC_PATH_MAX 107 /* sun_path without its NUL */

struct paths {
    char config_file[PATHS_SIZE];
    char state_folder[PATHS_SIZE];
    char run_folder[PATHS_SIZE];
};

/*
 * For a program run by a person. dir: --dir, or NULL. Then LITTLEBIRD_DIR, then the system node if
 * its api.sock is there and may be written to, then the user's own folders. Relative folders are
 * made absolute. LB_TOO_BIG when an ipc path below the run folder would be longer than
 * IPC_PATH_MAX.
 */
LB_MUST_CHECK lb_err paths_find(struct paths *ret_self, const char *dir);

/* For the system node, whatever the environment says. */
void paths_system(struct paths *ret_self);

/* mkdir -p with mode 0700 for state and run folder (0750 when they are system folders). */
LB_MUST_CHECK lb_err paths_make(const struct paths *self);
