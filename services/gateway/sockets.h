/* The two ZeroMQ sockets of the public API, bound or taken from the manager. */
#pragma once

#include "libcommon/actor.h"

/*
 * A socket of this ZeroMQ type (ROUTER or XPUB) on RUN/NAME.sock: the listening descriptor of this
 * name if the manager handed one over, else bound here. Frames from clients are at most frame_max.
 */
LB_MUST_CHECK lb_err socket_open(struct actor *actor, int type, const char *name,
                                 int64_t frame_max_bytes, void **ret_socket);
