/*
 * What this node is: of the open network, a member of a private one, a coordinator of one. Read
 * once, when the supervisor starts: `littlebird join` and `lb-admin network create` say that the
 * node is to be started again after them.
 */
#pragma once

#include "libcommon/error.h"
#include "libcommon/paths.h"
#include "services/supervisor/roster.h"

/*
 * Logs what is wrong: whoever gets an error does not start, least of all as if the network were
 * open. LB_INVALID: the identity cannot be used.
 */
LB_MUST_CHECK lb_err belonging_find(const struct paths *paths, struct roster_node *ret_node);
