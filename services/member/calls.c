/* What other nodes ask of this one: its deny list, and to take messages. In batches. */
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/message.h"
#include "services/member/ask.h"
#include "services/member/certificates.h"
#include "services/member/denied.h"
#include "services/member/receive.h"
#include "services/member/service.h"

#include <stdlib.h>
#include <string.h>

#define CALLS_MAX      64u
#define ANSWER_MAX     1000u
#define REQUEST_MEMORY 8192u
#define REQUEST_TAKEN  (64u * 1024)

/* A batch whose answers are not all there yet. */
struct batch {
    struct member *member;
    struct call *call;
    unsigned waiting; /* messages on their way to disk */
    size_t count;
    ProtobufCBinaryData answers[CALLS_MAX]; /* allocated; NULL: no answer */
};

/* One message of it. */
struct delivery {
    struct batch *batch;
    size_t index;
};

static void end_batch(struct batch *batch)
{
    Lb__Member__Reply reply = LB__MEMBER__REPLY__INIT;
    Lb__Member__Answers answers = LB__MEMBER__ANSWERS__INIT;

    answers.n_bodies = batch->count;
    answers.bodies = batch->answers;
    reply.body_case = LB__MEMBER__REPLY__BODY_ANSWERS;
    reply.answers = &answers;
    call_reply(&batch->call, &reply.base);
    for (size_t i = 0; i < batch->count; i++) {
        free(batch->answers[i].data);
    }
    batch->member->batches--;
    free(batch);
}

/* ---- answers ---- */

static void set_answer(struct batch *batch, size_t index, const Lb__Peer__Reply *reply)
{
    size_t size = lb__peer__reply__get_packed_size(reply);
    ProtobufCBinaryData *answer = &batch->answers[index];

    if (size > ANSWER_MAX) {
        abort(); /* parts have 900 bytes */
    }
    answer->data = xmalloc(size);
    answer->len = lb__peer__reply__pack(reply, answer->data);
}

static void answer_number(struct batch *batch, size_t index)
{
    Lb__Peer__Reply reply = LB__PEER__REPLY__INIT;
    Lb__Peer__DenyNumber number = LB__PEER__DENY_NUMBER__INIT;

    number.number = denied_number(batch->member->denied);
    reply.body_case = LB__PEER__REPLY__BODY_DENY_NUMBER;
    reply.deny_number = &number;
    set_answer(batch, index, &reply);
}

static void answer_taken(struct batch *batch, size_t index, bool complete)
{
    Lb__Peer__Reply reply = LB__PEER__REPLY__INIT;
    Lb__Peer__MailTaken taken = LB__PEER__MAIL_TAKEN__INIT;

    taken.complete = complete;
    reply.body_case = LB__PEER__REPLY__BODY_MAIL_TAKEN;
    reply.mail_taken = &taken;
    set_answer(batch, index, &reply);
}

static void answer_refused(struct batch *batch, size_t index, lb_err err, const char *reason)
{
    Lb__Peer__Reply reply = LB__PEER__REPLY__INIT;
    Lb__Peer__Refused refused = LB__PEER__REFUSED__INIT;

    refused.err = (int32_t)err;
    refused.reason = (char *)(uintptr_t)reason;
    reply.body_case = LB__PEER__REPLY__BODY_REFUSED;
    reply.refused = &refused;
    set_answer(batch, index, &reply);
}

/* ---- questions ---- */

static void give_part(struct batch *batch, size_t index, const Lb__Peer__GetDenyPart *get)
{
    Lb__Peer__Reply reply = LB__PEER__REPLY__INIT;
    Lb__Peer__DenyPart part;

    if (!denied_part(batch->member->denied, get->number, get->offset, &part)) {
        answer_number(batch, index); /* there is another one now */
        return;
    }
    reply.body_case = LB__PEER__REPLY__BODY_DENY_PART;
    reply.deny_part = &part;
    set_answer(batch, index, &reply);
}

static void hear_number(struct batch *batch, size_t index, const Lb__Member__Call *call,
                        uint64_t number)
{
    struct contact from = { .id = node_id_from(call->node_id.data) };

    answer_number(batch, index);
    if (address_from_compact(ask_bytes(&call->address), &from.address) == LB_OK) {
        denied_heard(batch->member->denied, &from, number);
    }
}

static void on_received(void *ctx, enum received received)
{
    struct delivery *delivery = ctx;
    struct batch *batch = delivery->batch;

    switch (received) {
    case RECEIVED_IN:
        answer_taken(batch, delivery->index, true);
        break;
    case RECEIVED_BAD:
        answer_refused(batch, delivery->index, LB_CORRUPT, "it does not open here");
        break;
    case RECEIVED_DENIED:
        answer_refused(batch, delivery->index, LB_DENIED, "its sender or its time does not count");
        break;
    case RECEIVED_FULL:
        answer_refused(batch, delivery->index, LB_FULL, "the inbox is full");
        break;
    case RECEIVED_NOT:
        break; /* no answer: it is tried again */
    }
    free(delivery);
    if (--batch->waiting == 0) {
        end_batch(batch);
    }
}

static void take_whole(struct batch *batch, size_t index, const Lb__Peer__MailPart *part,
                       uint8_t *whole)
{
    struct delivery *delivery = xcalloc(1, sizeof(*delivery));

    *delivery = (struct delivery){ .batch = batch, .index = index };
    batch->waiting++;
    receive(batch->member, whole, part->size, part->id.data, on_received, delivery);
}

static void take_part(struct batch *batch, size_t index, const struct node_id *from,
                      const Lb__Peer__MailPart *part)
{
    struct member *member = batch->member;
    const struct parts_piece piece = { .sender = *from,
                                       .id = ask_bytes(&part->id),
                                       .size = part->size,
                                       .offset = part->offset,
                                       .data = ask_bytes(&part->data) };
    uint8_t *whole = NULL;

    switch (parts_add(&member->parts, &piece, member_now_ms(member), &whole)) {
    case PARTS_TAKEN:
        answer_taken(batch, index, false);
        return;
    case PARTS_INVALID:
        answer_refused(batch, index, LB_INVALID, "no part of a message");
        return;
    case PARTS_FULL:
        answer_refused(batch, index, LB_FULL, "too many messages at once");
        return;
    case PARTS_WHOLE:
        break;
    }
    if (receive_may(member, from)) {
        take_whole(batch, index, part, whole);
    } else {
        free(whole);
        answer_refused(batch, index, LB_FULL, "too many messages at once");
    }
}

static void deliver(struct batch *batch, size_t index, const struct node_id *from,
                    const Lb__Peer__MailPart *part)
{
    struct member *member = batch->member;

    if (!bytes_equal(ask_bytes(&part->recipient),
                     bytes_of(member->identity.node.bytes, NODE_ID_SIZE))) {
        answer_refused(batch, index, LB_DENIED, "it is for another node");
    } else if (part->id.len == INBOX_ID_SIZE && inbox_has_seen(member->inbox, part->id.data)) {
        answer_taken(batch, index, true);
    } else {
        take_part(batch, index, from, part);
    }
}

static void give_certificate(struct batch *batch, size_t index, const Lb__Peer__GetCertificate *get)
{
    struct member *member = batch->member;
    Lb__Peer__Reply reply = LB__PEER__REPLY__INIT;
    struct certificates_own own;

    if (!bytes_equal(ask_bytes(&get->node_id),
                     bytes_of(member->identity.node.bytes, NODE_ID_SIZE))) {
        answer_refused(batch, index, LB_DENIED, "it is another node's: ask its store");
    } else if (!certificates_own(member->certificates, get->intermediate, &own)) {
        answer_refused(batch, index, LB_TOO_BIG, "the certificate is too long");
    } else {
        reply.body_case = LB__PEER__REPLY__BODY_CERTIFICATE;
        reply.certificate = &own.message;
        set_answer(batch, index, &reply);
    }
}

static void answer_one(struct batch *batch, size_t index, const Lb__Member__Call *call,
                       const Lb__Peer__Request *request)
{
    struct node_id from = node_id_from(call->node_id.data);

    switch (request->body_case) {
    case LB__PEER__REQUEST__BODY_DENY_NUMBER:
        hear_number(batch, index, call, request->deny_number->number);
        return;
    case LB__PEER__REQUEST__BODY_GET_DENY_PART:
        give_part(batch, index, request->get_deny_part);
        return;
    case LB__PEER__REQUEST__BODY_DELIVER:
        deliver(batch, index, &from, request->deliver);
        return;
    case LB__PEER__REQUEST__BODY_GET_CERTIFICATE:
        give_certificate(batch, index, request->get_certificate);
        return;
    default:
        answer_refused(batch, index, LB_UNSUPPORTED, "not asked of lb-member");
        return;
    }
}

static void take_call(struct batch *batch, size_t index, const Lb__Member__Call *call)
{
    uint8_t buffer[REQUEST_MEMORY];
    struct message_memory memory;
    const ProtobufCMessage *request;

    message_memory_init(&memory, buffer, sizeof(buffer), REQUEST_TAKEN);
    request = message_unpack(&lb__peer__request__descriptor, ask_bytes(&call->body), &memory);
    if (call->node_id.len != NODE_ID_SIZE || !request) {
        answer_refused(batch, index, LB_INVALID, "no request");
    } else {
        answer_one(batch, index, call, (const Lb__Peer__Request *)request);
    }
    message_memory_done(&memory);
}

void on_calls(void *ctx, struct call *call, const void *body)
{
    struct member *self = ctx;
    const Lb__Member__Calls *calls = body;
    struct batch *batch;

    if (calls->n_calls > CALLS_MAX) {
        call_fail(&call, LB_TOO_BIG, "at most %u calls in a batch", CALLS_MAX);
        return;
    }
    if (self->batches == MEMBER_BATCHES_MAX) {
        call_fail(&call, LB_FULL, "%u batches are being answered", MEMBER_BATCHES_MAX);
        return;
    }
    batch = xcalloc(1, sizeof(*batch));
    *batch = (struct batch){ .member = self, .call = call, .count = calls->n_calls, .waiting = 1 };
    self->batches++;
    for (size_t i = 0; i < calls->n_calls; i++) {
        take_call(batch, i, calls->calls[i]);
    }
    if (--batch->waiting == 0) {
        end_batch(batch);
    }
}

void on_new_denied(void *ctx, struct call *call, const void *body)
{
    struct member *self = ctx;
    const Lb__Member__NewDenied *news = body;

    denied_take(self->denied, call, ask_bytes(&news->denied));
}
