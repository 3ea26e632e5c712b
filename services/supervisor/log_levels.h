/*
 * How much the services of a node log, at run time: a level in the slot of each, which its process
 * obeys at the next heartbeat (libcommon/orders.h). Standalone and under systemd alike.
 */
#pragma once

#include "libcommon/page.h"

#include <stdint.h>

struct call;
struct Lb__Supervisor__SetLogLevel;

/* Takes the call and answers it. now_ms: monotonic. */
void log_levels_set(const struct page *page, struct call *call,
                    const struct Lb__Supervisor__SetLogLevel *wanted, uint64_t now_ms);
