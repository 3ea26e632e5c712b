/* What the methods of NetworkService share: why a request is refused. */
#pragma once

#include "libcommon/node_id.h"
#include "services/gateway/methods.h"

static inline lb_err refuse(lb_err err, const char *problem, const char **ret_problem)
{
    *ret_problem = problem;
    return err;
}

static inline lb_err check_node_id(const ProtobufCBinaryData *id, const char **ret_problem)
{
    return id->len == NODE_ID_SIZE ? LB_OK
                                   : refuse(LB_INVALID, "node_id must be 20 bytes", ret_problem);
}
