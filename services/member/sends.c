#include "services/member/sends.h"

#include "libcommon/clock.h"
#include "libcommon/crypto.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/pki/sealed.h"
#include "services/member/ask.h"
#include "services/member/certificates.h"
#include "services/member/sending.h"
#include "services/member/service.h"

#include <stdlib.h>
#include <string.h>

#define LOOKUP_MS  20000u
#define KEEP_S     (7u * 24 * 3600)  /* when it is not said */
#define KEEP_MAX_S (30u * 24 * 3600) /* proto/peer.proto */

struct sends {
    unsigned count;
};

struct send {
    struct member *member;
    struct call *call; /* NULL: answered */
    struct node_id recipient;
    uint32_t keep_s;
    uint8_t *text;
    size_t text_size;
    struct contact closest[ASK_CLOSEST_MAX];
    unsigned closest_count;
    uint8_t *sealed;
    size_t size;
    uint8_t id[SEALED_ID_SIZE];
    struct sending sending;
    unsigned under_way;
};

/* One part on its way. */
struct carrying {
    struct send *send;
    struct sending_action action;
};

struct sends *sends_new(struct member *member)
{
    (void)member;
    return xcalloc(1, sizeof(struct sends));
}

void sends_free(struct sends **self)
{
    free(*self);
    *self = NULL;
}

/* ---- the end ---- */

static void wipe(uint8_t **data, size_t size)
{
    if (*data) {
        explicit_bzero(*data, size);
    }
    free(*data);
    *data = NULL;
}

static void send_free(struct send *self)
{
    self->member->sends->count--;
    wipe(&self->text, self->text_size);
    free(self->sealed);
    free(self);
}

static void fail(struct send *self, lb_err err, const char *reason)
{
    member_count(self->member, MEMBER_NOT_SENT);
    call_fail(&self->call, err, "%s", reason);
    send_free(self);
}

static void answer_sent(struct send *self, bool delivered, unsigned holders)
{
    Lb__Member__Reply reply = LB__MEMBER__REPLY__INIT;
    Lb__Member__Sent sent = LB__MEMBER__SENT__INIT;

    member_count(self->member, delivered ? MEMBER_SENT : MEMBER_KEPT);
    sent.id = ask_binary(bytes_of(self->id, sizeof(self->id)));
    sent.delivered = delivered;
    sent.holders = holders;
    reply.body_case = LB__MEMBER__REPLY__BODY_SENT;
    reply.sent = &sent;
    call_reply(&self->call, &reply.base);
}

static void end(struct send *self)
{
    switch (self->sending.step) {
    case SENDING_DELIVERED:
        answer_sent(self, true, 0);
        break;
    case SENDING_KEPT:
        answer_sent(self, false, sending_holders(&self->sending));
        break;
    case SENDING_REFUSED:
        member_count(self->member, MEMBER_NOT_SENT);
        call_fail(&self->call, LB_DENIED, "that node refuses it");
        break;
    default:
        member_count(self->member, MEMBER_NOT_SENT);
        call_fail(&self->call, LB_UNAVAILABLE, "%s",
                  self->sending.was_full
                      ? "that node's inbox is full, and no other node can keep it"
                      : "that node is away, and no other node can keep it");
        break;
    }
}

/* ---- carrying ---- */

static void pump(struct send *self);

static enum sending_answer answer_of(lb_err err, const Lb__Peer__Reply *reply)
{
    if (err != LB_OK) {
        return SENDING_SILENT;
    }
    if (reply->body_case == LB__PEER__REPLY__BODY_MAIL_TAKEN) {
        return reply->mail_taken->complete ? SENDING_COMPLETE : SENDING_TAKEN;
    }
    if (reply->body_case != LB__PEER__REPLY__BODY_REFUSED) {
        return SENDING_SILENT;
    }
    switch (reply->refused->err) {
    case LB_FULL:
    case LB_NO_SPACE:
        return SENDING_NO_ROOM;
    case LB_UNAVAILABLE: /* just now */
    case LB_TIMEOUT:
    case LB_UNSUPPORTED:
        return SENDING_SILENT;
    default:
        return SENDING_REFUSED_IT;
    }
}

static void on_carried(void *ctx, lb_err err, const Lb__Peer__Reply *reply)
{
    struct carrying *carrying = ctx;
    struct send *self = carrying->send;

    self->under_way--;
    sending_answered(&self->sending, &carrying->action, answer_of(err, reply));
    free(carrying);
    if (err == LB_CANCELLED) {
        if (self->call) {
            call_fail(&self->call, LB_CANCELLED, "stopping");
        }
        if (self->under_way == 0) {
            send_free(self);
        }
        return;
    }
    pump(self);
}

static void carry(struct send *self, const struct sending_action *action)
{
    struct carrying *carrying = xcalloc(1, sizeof(*carrying));
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__MailPart part = LB__PEER__MAIL_PART__INIT;

    *carrying = (struct carrying){ .send = self, .action = *action };
    part.recipient = ask_binary(bytes_of(self->recipient.bytes, NODE_ID_SIZE));
    part.id = ask_binary(bytes_of(self->id, sizeof(self->id)));
    part.size = (uint32_t)self->size;
    part.keep_s = self->keep_s;
    part.offset = action->offset;
    part.data = ask_binary(bytes_of(self->sealed + action->offset, action->size));
    request.body_case =
        action->is_delivery ? LB__PEER__REQUEST__BODY_DELIVER : LB__PEER__REQUEST__BODY_KEEP;
    if (action->is_delivery) {
        request.deliver = &part;
    } else {
        request.keep = &part;
    }
    self->under_way++;
    ask_node(self->member, &action->to, action->is_delivery ? ASK_MEMBER : ASK_STORAGE, &request,
             on_carried, carrying);
}

static void pump(struct send *self)
{
    struct sending_action action;

    while (sending_next(&self->sending, &action)) {
        carry(self, &action);
    }
    if (sending_is_over(&self->sending) && self->call) {
        end(self);
    }
    if (!self->call && self->under_way == 0) {
        send_free(self);
    }
}

/* ---- before ---- */

static void on_certificate(void *ctx, lb_err err, X509 *leaf)
{
    struct send *self = ctx;
    const struct membership *membership = self->member->membership;

    if (err == LB_DENIED) {
        fail(self, err,
             "that node's certificate does not count: it has been away for too long, or the "
             "network has put it out");
        return;
    }
    if (err != LB_OK) {
        fail(self, err == LB_NOT_FOUND ? LB_NOT_FOUND : err,
             "no node of this id is known in the network");
        return;
    }
    err = sealed_make(bytes_of(self->text, self->text_size), membership_leaf(membership),
                      membership_intermediate(membership), membership_key(membership), leaf,
                      clock_wall_s(), &self->sealed, &self->size);
    wipe(&self->text, self->text_size);
    if (err != LB_OK || parts_count((uint32_t)self->size) == 0) {
        fail(self, err != LB_OK ? err : LB_TOO_BIG, "it cannot be sealed");
        return;
    }
    sha256(bytes_of(self->sealed, self->size), self->id);
    sending_begin(&self->sending, (uint32_t)self->size, &self->recipient, self->closest,
                  self->closest_count);
    pump(self);
}

static void on_closest(void *ctx, lb_err err, const struct contact *closest, unsigned count)
{
    struct send *self = ctx;

    if (err != LB_OK) {
        fail(self, err == LB_CANCELLED ? err : LB_UNAVAILABLE,
             "routing is not there: nobody can be found");
        return;
    }
    memcpy(self->closest, closest, count * sizeof(*closest));
    self->closest_count = count;
    certificates_get(self->member->certificates, &self->recipient, self->closest, count,
                     on_certificate, self);
}

void on_send(void *ctx, struct call *call, const void *body)
{
    struct member *self = ctx;
    const Lb__Member__Send *message = body;
    struct send *send;

    if (message->node_id.len != NODE_ID_SIZE) {
        call_fail(&call, LB_INVALID, "a node id has 20 bytes");
        return;
    }
    if (message->text.len > SEALED_TEXT_MAX) {
        call_fail(&call, LB_TOO_BIG, "a message has at most %u bytes", SEALED_TEXT_MAX);
        return;
    }
    if (message->keep_s > KEEP_MAX_S) {
        call_fail(&call, LB_INVALID, "a message is kept for 30 days at most");
        return;
    }
    if (memcmp(message->node_id.data, self->identity.node.bytes, NODE_ID_SIZE) == 0) {
        call_fail(&call, LB_INVALID, "this is the node itself");
        return;
    }
    if (member_is_put_out(self)) {
        call_fail(&call, LB_DENIED, "this node was put out of %s: no other node takes its messages",
                  self->identity.network_name);
        return;
    }
    if (self->sends->count == MEMBER_SENDS_MAX) {
        call_fail(&call, LB_FULL, "%u messages are on their way", MEMBER_SENDS_MAX);
        return;
    }
    send = xcalloc(1, sizeof(*send));
    send->member = self;
    send->call = call;
    send->recipient = node_id_from(message->node_id.data);
    send->keep_s = message->keep_s != 0 ? message->keep_s : KEEP_S;
    send->text = xmalloc(message->text.len + 1);
    send->text_size = message->text.len;
    if (message->text.len > 0) {
        memcpy(send->text, message->text.data, message->text.len);
    }
    self->sends->count++;
    call_lasts(call);
    ask_closest(self, &send->recipient, LOOKUP_MS, on_closest, send);
}
