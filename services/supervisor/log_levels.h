/*
 * How much the services of a node log, at run time: a level in the slot of each, which its process
 * obeys at the next heartbeat (libcommon/orders.h). Standalone and under systemd alike.
 */
#pragma once

#include "libcommon/error.h"
#include "libcommon/page.h"

#include <stdint.h>

struct Lb__Supervisor__SetLogLevel;

/*
 * now_ms: monotonic. LB_NOT_FOUND, LB_INVALID: *ret_problem says why, for a person; a static text.
 */
LB_MUST_CHECK lb_err log_levels_set(const struct page *page,
                                    const struct Lb__Supervisor__SetLogLevel *wanted,
                                    uint64_t now_ms, const char **ret_problem);
