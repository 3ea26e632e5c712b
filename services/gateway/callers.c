#include "services/gateway/callers.h"

#include "libcommon/log.h"
#include "services/gateway/describe.h"

#include <zmq.h>

#define PACKAGE "littlebird.v1."

void callers_init(struct callers *self, struct actor *actor)
{
    self->actor = actor;
    self->denied = actor_counter(actor, "calls_denied");
    /* No page: here only persons are let in, and no service calls. */
    senders_init(&self->senders, actor_paths(actor), SERVICE_GATEWAY, NULL);
}

static struct answer deny(struct callers *self, const struct sender *sender,
                          const struct method *method)
{
    const char *name = method->name + sizeof(PACKAGE) - 1;
    uint32_t unsaid;

    status_counter_add(self->denied, 1);
    if (senders_say_denied(&self->senders, sender, actor_now_ms(self->actor), &unsaid))
        log_warn("call denied from=%s uid=%u pid=%u method=%s unsaid=%u",
                 access_role_text(sender->role), (unsigned)sender->peer.uid,
                 (unsigned)sender->peer.pid, name, (unsigned)unsaid);
    if (sender->role == ACCESS_USER)
        return answer_error(LB_DENIED, "%s is for members of the group " ACCESS_GROUP_ADMIN, name);
    return answer_error(LB_DENIED, "%s is for members of the group " ACCESS_GROUP_USER, name);
}

bool callers_admit(struct callers *self, void *frame, const struct method *method,
                   const ProtobufCMessage *request, uint32_t *ret_uid, struct answer *ret_refusal)
{
    const char *address = zmq_msg_gets(frame, SENDERS_PROPERTY);
    struct sender sender = senders_identify(&self->senders, address, actor_now_ms(self->actor));
    char text[DESCRIBE_SIZE];

    if (!access_may_call(sender.role, method->level)) {
        *ret_refusal = deny(self, &sender, method);
        return false;
    }
    if (method->level == ACCESS_CHANGE)
        log_info("change asked by uid=%u pid=%u method=%s%s", (unsigned)sender.peer.uid,
                 (unsigned)sender.peer.pid, method->name + sizeof(PACKAGE) - 1,
                 describe_request(request, text));
    *ret_uid = sender.peer.uid;
    return true;
}
