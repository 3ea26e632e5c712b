/*
 * A ZeroMQ socket on a libuv loop: the one place that knows how (DESIGN, "Event loop").
 *
 * ZMQ_FD is edge-triggered and any call on the socket may swallow its edge. So the loop never
 * sleeps on a socket that was used since it was last found empty: a drain takes messages until
 * there is none (which lets libzmq take in all its commands) or until its budget is used up, and
 * then an idle handle keeps the loop awake and drains on; watch_wake() starts the same handle after
 * a send. actor.h has the form for everybody else, watch_new().
 */
#pragma once

#include "libcommon/actor.h"

#define WATCH_BUDGET 256 /* messages of one socket in one turn of the loop */

/*
 * Take one message off the socket, without waiting; false when there was none. Receiving must be
 * the last thing it does to the socket before it says false.
 */
typedef bool drain_fn(void *ctx, void *socket);

/* The caller promises watch_wake() after each send outside of `drain`. */
struct watch *watch_new_drain(struct uv_loop_s *loop, void *zmq_socket, drain_fn *drain, void *ctx);
