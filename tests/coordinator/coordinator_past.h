/* coordinator-tool's: time that has gone by. */
#pragma once

#include "libcommon/error.h"
#include "libcommon/paths.h"

#include <stdint.h>

struct created;

/* The network is half a year old: of its root, whose key is the same, this one is to be found. */
LB_MUST_CHECK lb_err coordinator_past_root(const struct paths *paths,
                                           const struct created *created);

struct past {
    const char *folder;    /* of the node, a member */
    const char *ca_folder; /* of a coordinator */
    const char *root_key_file, *root_file;
    uint64_t days; /* since its certificate ended */
};

/* Its certificate is another one from now on: by that coordinator, and ended so long ago. */
LB_MUST_CHECK lb_err coordinator_past_member(const struct past *past);
