/* NetworkService, what lb-member is asked: membership, messages. */
#include "services/gateway/network_methods.h"

#include "libcommon/memory.h"
#include "proto/littlebird/v1/network.pb-c.h"
#include "proto/member.pb-c.h"
#include "services/gateway/network_inside.h"

#include <stdlib.h>

lb_err network_ask_membership(const void *request, message_take_fn *send, void *ctx,
                              const char **ret_problem)
{
    Lb__Member__GetMembership get = LB__MEMBER__GET_MEMBERSHIP__INIT;
    Lb__Member__Request message = LB__MEMBER__REQUEST__INIT;

    (void)request;
    (void)ret_problem;
    message.body_case = LB__MEMBER__REQUEST__BODY_GET_MEMBERSHIP;
    message.get_membership = &get;
    send(ctx, &message.base);
    return LB_OK;
}

bool network_translate_membership(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Member__Reply *from = reply;
    const Lb__Member__Membership *membership = from->membership;
    Littlebird__V1__GetMembershipResponse response = LITTLEBIRD__V1__GET_MEMBERSHIP_RESPONSE__INIT;

    if (from->body_case != LB__MEMBER__REPLY__BODY_MEMBERSHIP)
        return false;
    response.network_name = membership->network_name;
    response.network_id = membership->network;
    response.node_id = membership->node_id;
    response.serial = membership->serial;
    response.not_after_s = membership->not_after_s;
    response.deny_number = membership->deny_number;
    response.skew_s = membership->skew_s;
    response.coordinators = membership->coordinators;
    response.n_coordinators = membership->n_coordinators;
    response.problem = membership->problem;
    respond(ctx, &response.base);
    return true;
}

static lb_err check_send(const Littlebird__V1__SendMessageRequest *from, const char **ret_problem)
{
    if (from->text.len == 0)
        return refuse(LB_INVALID, "the message is empty", ret_problem);
    if (from->text.len > API_MESSAGE_TEXT_MAX)
        return refuse(LB_TOO_BIG, "the message has more than 32 KiB", ret_problem);
    if (from->keep_s > API_MESSAGE_KEEP_S_MAX)
        return refuse(LB_INVALID, "keep_s is more than 30 days", ret_problem);
    return check_node_id(&from->node_id, ret_problem);
}

lb_err network_ask_send(const void *request, message_take_fn *send, void *ctx,
                        const char **ret_problem)
{
    const Littlebird__V1__SendMessageRequest *from = request;
    Lb__Member__Send body = LB__MEMBER__SEND__INIT;
    Lb__Member__Request message = LB__MEMBER__REQUEST__INIT;
    lb_err err = check_send(from, ret_problem);

    if (err != LB_OK)
        return err;
    body.node_id = from->node_id;
    body.text = from->text;
    body.keep_s = from->keep_s;
    message.body_case = LB__MEMBER__REQUEST__BODY_SEND;
    message.send = &body;
    send(ctx, &message.base);
    return LB_OK;
}

bool network_translate_sent(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Member__Reply *from = reply;
    Littlebird__V1__SendMessageResponse response = LITTLEBIRD__V1__SEND_MESSAGE_RESPONSE__INIT;

    if (from->body_case != LB__MEMBER__REPLY__BODY_SENT)
        return false;
    response.message_id = from->sent->id;
    response.delivered = from->sent->delivered;
    response.holders = from->sent->holders;
    respond(ctx, &response.base);
    return true;
}

lb_err network_ask_list(const void *request, message_take_fn *send, void *ctx,
                        const char **ret_problem)
{
    const Littlebird__V1__ListMessagesRequest *from = request;
    Lb__Member__ListInbox list = LB__MEMBER__LIST_INBOX__INIT;
    Lb__Member__Request message = LB__MEMBER__REQUEST__INIT;

    if (from->wait_ms > API_MESSAGE_WAIT_MS_MAX)
        return refuse(LB_INVALID, "wait_ms is more than 30 s", ret_problem);
    list.after = from->after;
    list.wait_ms = from->wait_ms;
    message.body_case = LB__MEMBER__REQUEST__BODY_LIST_INBOX;
    message.list_inbox = &list;
    send(ctx, &message.base);
    return LB_OK;
}

/* The public form; borrows everything from it. */
static Littlebird__V1__Message message_of(const Lb__Member__MailInfo *from)
{
    Littlebird__V1__Message message = LITTLEBIRD__V1__MESSAGE__INIT;

    message.number = from->number;
    message.message_id = from->id;
    message.sender = from->sender;
    message.sent_s = from->sent_s;
    message.received_s = from->received_s;
    message.size = from->size;
    return message;
}

bool network_translate_list(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Member__Reply *from = reply;
    const Lb__Member__Inbox *inbox = from->inbox;
    Littlebird__V1__ListMessagesResponse response = LITTLEBIRD__V1__LIST_MESSAGES_RESPONSE__INIT;
    Littlebird__V1__Message *messages, **pointers;

    if (from->body_case != LB__MEMBER__REPLY__BODY_INBOX)
        return false;
    messages = xcalloc(inbox->n_mails, sizeof(*messages));
    pointers = xcalloc(inbox->n_mails, sizeof(*pointers));
    for (size_t i = 0; i < inbox->n_mails; i++) {
        messages[i] = message_of(inbox->mails[i]);
        pointers[i] = &messages[i];
    }
    response.messages = pointers;
    response.n_messages = inbox->n_mails;
    response.more = inbox->more;
    respond(ctx, &response.base);
    free(messages);
    free(pointers);
    return true;
}

lb_err network_ask_read(const void *request, message_take_fn *send, void *ctx,
                        const char **ret_problem)
{
    const Littlebird__V1__ReadMessageRequest *from = request;
    Lb__Member__ReadMail read = LB__MEMBER__READ_MAIL__INIT;
    Lb__Member__Request message = LB__MEMBER__REQUEST__INIT;

    (void)ret_problem;
    read.number = from->number;
    message.body_case = LB__MEMBER__REQUEST__BODY_READ_MAIL;
    message.read_mail = &read;
    send(ctx, &message.base);
    return LB_OK;
}

bool network_translate_read(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Member__Reply *from = reply;
    Littlebird__V1__ReadMessageResponse response = LITTLEBIRD__V1__READ_MESSAGE_RESPONSE__INIT;
    Littlebird__V1__Message message;

    if (from->body_case != LB__MEMBER__REPLY__BODY_MAIL || !from->mail->info)
        return false;
    message = message_of(from->mail->info);
    response.message = &message;
    response.text = from->mail->text;
    respond(ctx, &response.base);
    return true;
}

lb_err network_ask_remove(const void *request, message_take_fn *send, void *ctx,
                          const char **ret_problem)
{
    const Littlebird__V1__RemoveMessageRequest *from = request;
    Lb__Member__RemoveMail body = LB__MEMBER__REMOVE_MAIL__INIT;
    Lb__Member__Request message = LB__MEMBER__REQUEST__INIT;

    (void)ret_problem;
    body.number = from->number;
    message.body_case = LB__MEMBER__REQUEST__BODY_REMOVE_MAIL;
    message.remove_mail = &body;
    send(ctx, &message.base);
    return LB_OK;
}

bool network_translate_removed(const void *reply, message_take_fn *respond, void *ctx)
{
    Littlebird__V1__RemoveMessageResponse response = LITTLEBIRD__V1__REMOVE_MESSAGE_RESPONSE__INIT;

    if (((const Lb__Member__Reply *)reply)->body_case != LB__MEMBER__REPLY__BODY_DONE)
        return false;
    respond(ctx, &response.base);
    return true;
}

lb_err network_ask_renew(const void *request, message_take_fn *send, void *ctx,
                         const char **ret_problem)
{
    Lb__Member__RenewNow renew = LB__MEMBER__RENEW_NOW__INIT;
    Lb__Member__Request message = LB__MEMBER__REQUEST__INIT;

    (void)request;
    (void)ret_problem;
    message.body_case = LB__MEMBER__REQUEST__BODY_RENEW_NOW;
    message.renew_now = &renew;
    send(ctx, &message.base);
    return LB_OK;
}

bool network_translate_renewed(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Member__Reply *from = reply;
    Littlebird__V1__RenewResponse response = LITTLEBIRD__V1__RENEW_RESPONSE__INIT;

    if (from->body_case != LB__MEMBER__REPLY__BODY_MEMBERSHIP)
        return false;
    response.serial = from->membership->serial;
    response.not_after_s = from->membership->not_after_s;
    respond(ctx, &response.base);
    return true;
}
