/*
 * Who calls the public API: whether they may, and the log's line of who changed what.
 *
 * libcommon/access.h says what a person may do; who it is the kernel says of the other end of the
 * connection. A call that is not the caller's to make is answered with PERMISSION_DENIED, counted
 * (calls_denied) and logged once for a user in a minute. One that changes how the node runs is
 * logged with the user and what was asked before anything is done; the journal keeps such lines.
 */
#pragma once

#include "libcommon/actor.h"
#include "libcommon/senders.h"
#include "services/gateway/code.h"
#include "services/gateway/methods.h"

#include <stdbool.h>

struct callers {
    struct actor *actor;
    struct senders senders;
    struct status_counter *denied;
};

void callers_init(struct callers *self, struct actor *actor);

/*
 * May the sender of this frame (zmq_msg_t, of those it wrote) make this call? Its user is in
 * *ret_uid then; else *ret_refusal says why not.
 */
bool callers_admit(struct callers *self, void *frame, const struct method *method,
                   const ProtobufCMessage *request, uint32_t *ret_uid, struct answer *ret_refusal);
