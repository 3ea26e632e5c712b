/* What a process uses, in its slot of the status page: for those who may not look into its /proc.
 */
#pragma once

#include "libcommon/status_page.h"

#include <stdint.h>

/* From each heartbeat; it looks only now and then. now_ms: monotonic. */
void usage_publish(struct status_slot *slot, uint64_t now_ms);
