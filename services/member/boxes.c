#include "services/member/boxes.h"

#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/member/ask.h"
#include "services/member/pickup.h"
#include "services/member/receive.h"
#include "services/member/service.h"

#include <stdlib.h>
#include <string.h>

#define EVERY_MS     300000u /* with a tenth more or less */
#define AGAIN_MS     1000u   /* no other node could be asked: then, and twice as long each time */
#define AGAIN_MAX_MS 60000u
#define LOOKUP_MS    20000u

struct boxes {
    struct member *member;
    struct pickup pickup;
    bool is_busy;
    bool is_pumping;
    unsigned under_way; /* answers, and messages on their way to disk */
    uint64_t next_ms;
    uint64_t again_ms; /* after a round in which nobody could be asked */
};

/* One question on its way, or one message to disk. */
struct errand {
    struct boxes *boxes;
    struct pickup_action action;
};

static void pump(struct boxes *self);

static void end_round(struct boxes *self)
{
    uint64_t now_ms = member_now_ms(self->member);
    bool is_any = false;

    for (unsigned i = 0; i < self->pickup.holders_count; i++) {
        const struct pickup_holder *holder = &self->pickup.holders[i];

        is_any =
            is_any || (holder->state == PICKUP_LISTED && address_is_usable(&holder->at.address));
    }
    self->next_ms = now_ms + EVERY_MS * 9 / 10 + random_below(&self->member->random, EVERY_MS / 5);
    if (self->pickup.is_cut && self->pickup.taken > 0 && !self->pickup.is_full) {
        self->next_ms = now_ms; /* there is more, and not only on a list */
    } else if (!is_any) {
        self->next_ms = now_ms + self->again_ms;
        self->again_ms = self->again_ms * 2 < AGAIN_MAX_MS ? self->again_ms * 2 : AGAIN_MAX_MS;
    } else {
        self->again_ms = AGAIN_MS;
    }
    pickup_done(&self->pickup);
    self->is_busy = false;
}

static void came_back(struct boxes *self, struct errand *errand, lb_err err)
{
    free(errand);
    self->under_way--;
    if (err != LB_CANCELLED && !self->member->is_stopping) {
        pump(self);
    }
}

/* ---- answers ---- */

static void on_list(void *ctx, lb_err err, const Lb__Peer__Reply *reply)
{
    struct errand *errand = ctx;
    struct boxes *self = errand->boxes;
    struct pickup_listed listed[PICKUP_DROP_MAX];
    unsigned count = 0;

    if (err != LB_OK || reply->body_case != LB__PEER__REPLY__BODY_MAIL_LIST) {
        pickup_silent(&self->pickup, errand->action.holder);
        came_back(self, errand, err);
        return;
    }
    for (size_t i = 0; i < reply->mail_list->n_mails && count < PICKUP_DROP_MAX; i++) {
        const Lb__Peer__MailHead *head = reply->mail_list->mails[i];

        listed[count++] = (struct pickup_listed){
            .id = ask_bytes(&head->id),
            .size = head->size,
            .keep_s = head->keep_s,
            .is_known =
                head->id.len == INBOX_ID_SIZE && inbox_has_seen(self->member->inbox, head->id.data),
        };
    }
    pickup_listed(&self->pickup, errand->action.holder, listed, count, reply->mail_list->more);
    came_back(self, errand, LB_OK);
}

static void on_part(void *ctx, lb_err err, const Lb__Peer__Reply *reply)
{
    struct errand *errand = ctx;
    struct boxes *self = errand->boxes;
    uint32_t size = 0;
    struct bytes data = bytes_of(NULL, 0);

    if (err == LB_OK && reply->body_case == LB__PEER__REPLY__BODY_MAIL_PART &&
        reply->mail_part->offset == errand->action.offset) {
        size = reply->mail_part->size;
        data = ask_bytes(&reply->mail_part->data);
    }
    pickup_part(&self->pickup, &errand->action, size, data);
    came_back(self, errand, err);
}

static void on_dropped(void *ctx, lb_err err, const Lb__Peer__Reply *reply)
{
    struct errand *errand = ctx;

    (void)reply;
    pickup_dropped(&errand->boxes->pickup, errand->action.holder);
    came_back(errand->boxes, errand, err);
}

static void on_received(void *ctx, enum received received)
{
    struct errand *errand = ctx;
    enum pickup_stored stored = PICKUP_NOT_NOW;

    switch (received) {
    case RECEIVED_IN:
        stored = PICKUP_IS_IN;
        break;
    case RECEIVED_BAD: /* it never will count: nobody is to keep it any longer */
        stored = PICKUP_IS_VOID;
        break;
    case RECEIVED_FULL:
        stored = PICKUP_NO_ROOM;
        break;
    case RECEIVED_DENIED: /* by our clock and our deny list: it ends by itself where it is */
    case RECEIVED_NOT:
        break;
    }
    pickup_stored(&errand->boxes->pickup, errand->action.mail, stored);
    came_back(errand->boxes, errand, LB_OK);
}

/* ---- questions ---- */

static void list(struct errand *errand)
{
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__ListMail list_mail = LB__PEER__LIST_MAIL__INIT;

    if (errand->action.after) {
        list_mail.after = ask_binary(bytes_of(errand->action.after, PARTS_ID_SIZE));
    }
    request.body_case = LB__PEER__REQUEST__BODY_LIST_MAIL;
    request.list_mail = &list_mail;
    ask_node(errand->boxes->member, &errand->action.to, ASK_STORAGE, &request, on_list, errand);
}

static void get_part(struct errand *errand)
{
    const struct node_id *own = &errand->boxes->member->identity.node;
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__GetMailPart get = LB__PEER__GET_MAIL_PART__INIT;

    get.recipient = ask_binary(bytes_of(own->bytes, NODE_ID_SIZE));
    get.id = ask_binary(bytes_of(errand->action.id, PARTS_ID_SIZE));
    get.offset = errand->action.offset;
    request.body_case = LB__PEER__REQUEST__BODY_GET_MAIL_PART;
    request.get_mail_part = &get;
    ask_node(errand->boxes->member, &errand->action.to, ASK_STORAGE, &request, on_part, errand);
}

static void drop(struct errand *errand)
{
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__DropMail drop_mail = LB__PEER__DROP_MAIL__INIT;
    ProtobufCBinaryData ids[PICKUP_DROP_MAX];

    for (unsigned i = 0; i < errand->action.ids_count; i++) {
        ids[i] = ask_binary(bytes_of(errand->action.ids[i], PARTS_ID_SIZE));
    }
    drop_mail.ids = ids;
    drop_mail.n_ids = errand->action.ids_count;
    request.body_case = LB__PEER__REQUEST__BODY_DROP_MAIL;
    request.drop_mail = &drop_mail;
    ask_node(errand->boxes->member, &errand->action.to, ASK_STORAGE, &request, on_dropped, errand);
}

static void act(struct boxes *self, const struct pickup_action *action)
{
    struct errand *errand = xcalloc(1, sizeof(*errand));

    *errand = (struct errand){ .boxes = self, .action = *action };
    self->under_way++;
    switch (action->kind) {
    case PICKUP_LIST:
        list(errand);
        return;
    case PICKUP_GET_PART:
        get_part(errand);
        return;
    case PICKUP_STORE:
        receive(self->member, action->data, action->size, action->id, on_received, errand);
        return;
    case PICKUP_DROP:
        drop(errand);
        return;
    }
}

static void pump(struct boxes *self)
{
    struct pickup_action action;

    if (self->is_pumping) {
        return; /* an answer from inside */
    }
    self->is_pumping = true;
    while (pickup_next(&self->pickup, &action)) {
        act(self, &action);
    }
    self->is_pumping = false;
    if (pickup_is_over(&self->pickup) && self->under_way == 0) {
        end_round(self);
    }
}

/* ---- when ---- */

static void on_closest(void *ctx, lb_err err, const struct contact *closest, unsigned count)
{
    struct boxes *self = ctx;

    if (err == LB_CANCELLED || self->member->is_stopping) {
        return;
    }
    pickup_begin(&self->pickup, closest, err == LB_OK ? count : 0);
    pump(self);
}

void boxes_tick(struct boxes *self, uint64_t now_ms)
{
    if (self->is_busy || now_ms < self->next_ms || !link_is_up(self->member->routing)) {
        return;
    }
    self->is_busy = true;
    ask_closest(self->member, &self->member->identity.node, LOOKUP_MS, on_closest, self);
}

struct boxes *boxes_new(struct member *member)
{
    struct boxes *self = xcalloc(1, sizeof(*self));

    self->member = member;
    self->again_ms = AGAIN_MS;
    pickup_begin(&self->pickup, NULL, 0);
    return self;
}

void boxes_free(struct boxes **self)
{
    if (!*self) {
        return;
    }
    pickup_done(&(*self)->pickup);
    free(*self);
    *self = NULL;
}
