#include "services/supervisor/claim.h"

#include "libcommon/listen.h"
#include "libcommon/log.h"
#include "libcommon/page.h"
#include "libcommon/status_page.h"
#include "services/supervisor/overseer.h"
#include "services/supervisor/process.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ORPHAN_TIMEOUT_MS 6000u /* a service drains in 5 s */

/* Under systemd the units restart the services: two managers would multiply their restarts. */
static bool systemd_manages(const struct paths *paths)
{
    struct paths system;

    paths_system(&system);
    return strcmp(paths->run_folder, system.run_folder) == 0 && getenv("INVOCATION_ID") &&
           getenv("NOTIFY_SOCKET");
}

lb_err claim_run_folder(const struct paths *paths, int *ret_lock)
{
    lb_err err;

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

void claim_await_orphans(const struct paths *paths, const char *notify_socket)
{
    pid_t pids[SERVICES_COUNT * STATUS_INSTANCES_MAX];
    size_t count = 0;
    struct page page;

    if (status_page_open(&page, paths->run_folder, false) != LB_OK) {
        return;
    }
    for (int service = 0; service < SERVICES_COUNT; service++) {
        for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++) {
            uint32_t pid = atomic_load(&status_page_slot(&page, (enum service)service, i)->pid);

            if (service != SERVICE_SUPERVISOR && pid > 1 && pid < INT32_MAX) {
                pids[count++] = (pid_t)pid;
            }
        }
    }
    page_close(&page);
    process_await_orphans(pids, count, notify_socket, ORPHAN_TIMEOUT_MS);
}
