#include "services/supervisor/claim.h"

#include "libcommon/listen.h"
#include "libcommon/log.h"
#include "services/supervisor/overseer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Under systemd the units restart the services: two managers would multiply their restarts. */
static bool systemd_manages(const struct paths *paths)
{
    struct paths system;

    paths_system(&system);
    return strcmp(paths->run_folder, system.run_folder) == 0 && getenv("INVOCATION_ID") &&
           getenv("NOTIFY_SOCKET");
}

lb_err claim_run_folder(const struct paths *paths, unsigned instance, int *ret_lock)
{
    lb_err err;

    if (instance != 0) {
        log_error("a node has one supervisor: --instance is not for it");
        return LB_INVALID;
    }
    if (systemd_manages(paths) && !overseer_is_wanted()) {
        log_error("under systemd, littlebird.target starts the services; littlebird-supervisor."
                  "service watches them");
        return LB_INVALID;
    }
    err = listen_lock(paths->run_folder, ret_lock);
    if (err == LB_EXISTS) {
        log_error("a node runs in this folder already: %s/lock is held", paths->run_folder);
    } else if (err != LB_OK) {
        log_error("cannot lock %s/lock: %s", paths->run_folder, strerror(errno));
    }
    return err;
}
