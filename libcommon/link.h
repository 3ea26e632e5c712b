/*
 * A link as the actor makes it: one DEALER socket to one mailbox, and the calls it has under way.
 * What services use of it stands in actor.h.
 *
 * A call is packed at once and sent when the other side is there; until then it waits here, so that
 * nothing whose caller gave up reaches a restarted service (ZMQ_IMMEDIATE). When the connection
 * breaks, calls that were sent fail with LB_UNAVAILABLE on the next turn of the loop.
 */
#pragma once

#include "libcommon/actor.h"

#include <stdbool.h>

#define LINK_WAITING_MAX (64u * 1024 * 1024) /* bytes of calls that wait to be sent */

/*
 * endpoint: "ipc://...". When the process has no descriptors for it the link comes up later: until
 * then it is as if the other side were not there.
 */
struct link *link_new(struct uv_loop_s *loop, void *zmq_context, const char *endpoint,
                      const ProtobufCMessageDescriptor *reply);

/* Answer everything under way with LB_CANCELLED, now; the loop has ended. */
void link_cancel_all(struct link *self);

/* Handles close on the loop's next turns; no call may be under way. */
void link_free(struct link **self);
