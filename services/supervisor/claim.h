/*
 * What has to be settled before a node may begin: that it is the only one of its folder. (And that
 * no process is left of one whose supervisor was killed: process_end_orphans().)
 */
#pragma once

#include "libcommon/error.h"
#include "libcommon/paths.h"

/*
 * instance: of this lb-supervisor, 0. Logs why not. LB_EXISTS: another node runs here. *ret_lock is
 * held until the process ends.
 */
LB_MUST_CHECK lb_err claim_run_folder(const struct paths *paths, unsigned instance, int *ret_lock);
