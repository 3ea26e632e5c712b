/*
 * What lb-supervisor wants of a process that runs, written into the status page: how much it logs,
 * and that it reads the configuration again. A process looks at every heartbeat, so it works the
 * same under systemd and standalone, whoever the processes belong to.
 *
 * A reload: the supervisor reads and checks the files, then publishes their digest and a new
 * version. Each process reads them itself and takes them over only if they are those that were
 * checked: a file that is edited meanwhile changes nothing anywhere. What came of it stands in the
 * process's slot.
 */
#pragma once

#include "libcommon/config.h"
#include "libcommon/status_page.h"

#include <stdbool.h>
#include <stdint.h>

struct orders {
    struct status_page *page; /* all borrowed */
    struct status_slot *slot;
    struct config *config; /* of the process */
    const char *file;
    const char *const *overrides;
    uint32_t config_version; /* that of the page, as handled last */
    uint32_t level;          /* of the log, as set last */
};

/* A process that starts has read the files as they are: it has nothing to catch up with. file and
 * overrides are the caller's to set. */
void orders_init(struct orders *self, const struct page *page, enum service service,
                 struct status_slot *slot, struct config *config);

/* Obey. True: values in config are new, the service is to be told. now_ms: monotonic. */
bool orders_look(struct orders *self, uint64_t now_ms);

/* The same without being asked by the supervisor: SIGHUP to this process alone. */
bool orders_reload(struct orders *self);

/* See actor_read_config(). */
LB_MUST_CHECK lb_err orders_read_config(const struct orders *self, struct config **ret_now,
                                        uint64_t *ret_digest, struct config_problem *ret_problem);

/* For lb-supervisor: these files have been checked; returns the version that means them. */
uint32_t orders_publish_config(const struct page *page, uint64_t digest);

/* Likewise: level is an enum log_level + 1, 0: as configured; until_ms monotonic, 0: for good. */
void orders_set_log_level(struct status_slot *slot, uint32_t level, uint64_t until_ms);

/* What a slot asks for now, in the same terms; 0 when its time is over. */
uint32_t orders_log_level(const struct status_slot *slot, uint64_t now_ms);
