#include "libcommon/actor_inside.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/watch.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CALLS_BYTES_MAX (256u * 1024 * 1024) /* bytes of all unpacked requests together */

/* ---- calls ---- */

static void call_open(struct actor *self, struct call *call)
{
    call->before = self->newest;
    call->after = NULL;
    if (self->newest != NULL)
        self->newest->after = call;
    else
        self->oldest = call;
    self->newest = call;
    self->calls_count++;
}

static void call_close(struct call **call)
{
    struct call *closed = *call;
    struct actor *self = closed->actor;

    *call = NULL;
    if (closed->before != NULL)
        closed->before->after = closed->after;
    else
        self->oldest = closed->after;
    if (closed->after != NULL)
        closed->after->before = closed->before;
    else
        self->newest = closed->before;
    assert(self->calls_count > 0);
    self->calls_count--;
    self->answered++;
    self->calls_bytes -= closed->counted_bytes;
    message_memory_done(&closed->memory);
    zmq_msg_close(&closed->sender);
    free(closed);
}

/* Send header and body to where the call came from; whoever left meanwhile gets nothing. */
static void send_reply(struct actor *self, zmq_msg_t *sender, const struct message_header *header,
                       zmq_msg_t *body)
{
    uint8_t packed[MESSAGE_HEADER_MAX];
    size_t size = message_header_pack(header, packed);

    if (zmq_msg_send(sender, self->mailbox, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0 ||
        zmq_send(self->mailbox, packed, size, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0 ||
        zmq_msg_send(body, self->mailbox, ZMQ_DONTWAIT) < 0) {
        status_counter_add(self->replies_lost, 1);
        zmq_msg_close(body);
    }
    watch_wake(self->mailbox_watch);
}

static void send_error(struct actor *self, zmq_msg_t *sender, uint64_t call_id, lb_err err,
                       const char *reason)
{
    struct message_header header = { .call_id = call_id, .err = err, .reason = reason };
    zmq_msg_t body;

    if (call_id == 0)
        return;
    zmq_msg_init(&body);
    send_reply(self, sender, &header, &body);
}

void call_reply(struct call **call, const ProtobufCMessage *reply)
{
    struct actor *self = (*call)->actor;
    struct message_header header = { .call_id = (*call)->id };
    size_t size = protobuf_c_message_get_packed_size(reply);
    zmq_msg_t body;

    assert(reply->descriptor == self->definition->reply);
    if (size > ACTOR_MESSAGE_MAX) {
        call_fail(call, LB_TOO_BIG, "the reply would have %zu bytes", size);
        return;
    }
    if (header.call_id != 0) {
        if (zmq_msg_init_size(&body, size) != 0)
            abort(); /* out of memory */
        protobuf_c_message_pack(reply, zmq_msg_data(&body));
        send_reply(self, &(*call)->sender, &header, &body);
    }
    call_close(call);
}

void call_fail(struct call **call, lb_err err, const char *reason_format, ...)
{
    char reason[MESSAGE_REASON_MAX + 1];
    va_list arguments;

    assert(err != LB_OK);
    va_start(arguments, reason_format);
    vsnprintf(reason, sizeof reason, reason_format, arguments);
    va_end(arguments);
    send_error((*call)->actor, &(*call)->sender, (*call)->id, err, reason);
    call_close(call);
}

void call_done(struct call **call)
{
    if ((*call)->id != 0)
        call_fail(call, LB_UNSUPPORTED, "there is no reply to this request");
    else
        call_close(call);
}

void call_lasts(struct call *call)
{
    call->lasts = true;
}

uint32_t call_time_left_ms(const struct call *call)
{
    uint64_t spent_ms = actor_now_ms(call->actor) - call->arrived_ms;

    if (call->timeout_ms == 0 || call->timeout_ms == UINT32_MAX)
        return UINT32_MAX;
    return spent_ms < call->timeout_ms ? call->timeout_ms - (uint32_t)spent_ms : 0;
}

uint32_t calls_overdue_ms(const struct actor *self)
{
    uint64_t now_ms = actor_now_ms(self), most_ms = 0;

    for (const struct call *call = self->oldest; call != NULL; call = call->after) {
        uint64_t age_ms = now_ms - call->arrived_ms;

        if (age_ms <= most_ms) /* and those after it are younger still */
            break;
        if (!call->lasts && call->timeout_ms != 0 && call->timeout_ms != UINT32_MAX &&
            age_ms > call->timeout_ms && age_ms - call->timeout_ms > most_ms)
            most_ms = age_ms - call->timeout_ms;
    }
    return most_ms < UINT32_MAX ? (uint32_t)most_ms : UINT32_MAX;
}

uint64_t calls_backlog_ms(const struct actor *self, uint64_t now_ms)
{
    const struct call *call = self->oldest;

    while (call != NULL && call->lasts)
        call = call->after;
    return call != NULL ? now_ms - call->arrived_ms : 0;
}

void calls_end(struct actor *self)
{
    while (self->oldest != NULL) {
        struct call *call = self->oldest;

        call_fail(&call, LB_UNAVAILABLE, "the service is stopping");
    }
}

/* ---- the dispatcher ---- */

/* A request that is not handed on: an error for its sender, a count for us. */
static void refuse(struct actor *self, struct call *call, lb_err err, const char *reason)
{
    status_counter_add(self->refused, 1);
    log_debug("request refused case=%s: %s",
              message_case_name(self->definition->request, call->request_case), reason);
    call_fail(&call, err, "%s", reason);
}

/* The request is not this sender's to send. */
static void deny(struct actor *self, struct call *call, const struct sender *sender)
{
    const char *name = message_case_name(self->definition->request, call->request_case);
    const char *role = access_role_text(sender->role);
    const char *service = service_text(self->definition->service);
    char reason[MESSAGE_REASON_MAX + 1];
    uint32_t unsaid;

    status_counter_add(self->denied, 1);
    if (senders_say_denied(&self->senders, sender, actor_now_ms(self), &unsaid))
        log_warn("request denied from=%s uid=%u pid=%u request=%s unsaid=%u", role,
                 (unsigned)sender->peer.uid, (unsigned)sender->peer.pid, name, (unsigned)unsaid);
    snprintf(reason, sizeof reason, "%s may not send %s to %s", role, name, service);
    refuse(self, call, LB_DENIED, reason);
}

static bool check_sender(struct actor *self, struct call *call, const char *address)
{
    struct sender sender = senders_identify(&self->senders, address, actor_now_ms(self));

    if ((self->may_send[call->request_case] & 1u << sender.role) != 0)
        return true;
    deny(self, call, &sender);
    return false;
}

static struct bytes frame_bytes(zmq_msg_t *frame)
{
    return bytes_of(zmq_msg_data(frame), zmq_msg_size(frame));
}

static void dispatch(struct actor *self, struct call *call, zmq_msg_t *body_frame)
{
    const struct service_definition *definition = self->definition;
    const ProtobufCMessage *request;
    const void *body = NULL;

    if (self->calls_count > ACTOR_CALLS_MAX || self->calls_bytes >= CALLS_BYTES_MAX) {
        refuse(self, call, LB_FULL, "too many requests are under way");
        return;
    }
    request = message_unpack(definition->request, frame_bytes(body_frame), &call->memory);
    call->counted_bytes = call->memory.taken;
    self->calls_bytes += call->counted_bytes;
    if (request == NULL) {
        refuse(self, call, LB_INVALID, "the request is malformed or unpacks to too much");
        return;
    }
    call->request_case = message_case(request, &body);
    if (call->request_case >= definition->handlers_count ||
        definition->handlers[call->request_case] == NULL) {
        refuse(self, call, LB_UNSUPPORTED, "unknown request");
        return;
    }
    if (!check_sender(self, call, zmq_msg_gets(body_frame, SENDERS_PROPERTY)))
        return;
    status_counter_add(self->requests, 1);
    definition->handlers[call->request_case](self->ctx, call, body);
}

static struct call *call_new(struct actor *self)
{
    struct call *call = xmalloc(sizeof *call);

    call->actor = self;
    call->id = 0;
    call->timeout_ms = 0;
    call->lasts = false;
    call->request_case = 0;
    call->counted_bytes = 0;
    call->arrived_ms = actor_now_ms(self);
    zmq_msg_init(&call->sender);
    message_memory_init(&call->memory, call->buffer, sizeof call->buffer, MESSAGE_MEMORY_MAX);
    return call;
}

/* Receive the frames after the sender's; returns how many there were, keeps two. */
static unsigned receive_rest(void *socket, zmq_msg_t *first, zmq_msg_t frames[2])
{
    int more = zmq_msg_more(first);
    unsigned count = 0;

    while (more != 0) {
        zmq_msg_t rest, *frame = count < 2 ? &frames[count] : &rest;

        if (count >= 2)
            zmq_msg_init(&rest);
        more = zmq_msg_recv(frame, socket, ZMQ_DONTWAIT) >= 0 ? zmq_msg_more(frame) : 0;
        if (count >= 2)
            zmq_msg_close(&rest);
        count++;
    }
    return count;
}

bool calls_drain_mailbox(void *ctx, void *socket)
{
    struct actor *self = ctx;
    struct call *call = call_new(self);
    struct message_header header;
    zmq_msg_t frames[2];
    unsigned count;

    if (zmq_msg_recv(&call->sender, socket, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&call->sender);
        free(call);
        return false;
    }
    zmq_msg_init(&frames[0]);
    zmq_msg_init(&frames[1]);
    count = receive_rest(socket, &call->sender, frames);
    call_open(self, call);
    if (count < 1 ||
        message_header_unpack(frame_bytes(&frames[0]), &call->memory, &header) != LB_OK) {
        refuse(self, call, LB_INVALID, "the header is malformed");
    } else {
        call->id = header.call_id;
        call->timeout_ms = header.timeout_ms;
        if (count == 2)
            dispatch(self, call, &frames[1]);
        else
            refuse(self, call, LB_INVALID, "a request has two frames");
    }
    zmq_msg_close(&frames[0]);
    zmq_msg_close(&frames[1]);
    return true;
}
