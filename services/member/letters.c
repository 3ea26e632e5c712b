#include "services/member/letters.h"

#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/pool.h"
#include "services/member/ask.h"
#include "services/member/service.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIST_MAX    500u
#define WAIT_MAX_MS 30000u

struct waiting {
    struct call *call;
    uint64_t after, until_ms;
};

struct letters {
    struct member *member;
    struct waiting waiting[MEMBER_WAITS_MAX];
    unsigned waiting_count;
    uv_timer_t timer;
};

struct removal {
    struct job job; /* first: pool.h */
    struct member *member;
    struct call *call;
    uint64_t number;
    lb_err err;
};

/* ---- lists ---- */

static void fill_info(Lb__Member__MailInfo *message, const struct inbox_info *info)
{
    lb__member__mail_info__init(message);
    message->number = info->number;
    message->id = ask_binary(bytes_of(info->id, INBOX_ID_SIZE));
    message->sender = ask_binary(bytes_of(info->sender.bytes, NODE_ID_SIZE));
    message->sent_s = info->sent_s;
    message->received_s = info->received_s;
    message->size = info->size;
}

/* True: answered. An empty list is one only if that is wanted. */
static bool answer_list(struct member *self, struct call **call, uint64_t after, bool empty_too)
{
    struct inbox_info *infos = xcalloc(LIST_MAX, sizeof(*infos));
    bool more;
    size_t count = inbox_list(self->inbox, after, infos, LIST_MAX, &more);
    Lb__Member__MailInfo *messages = xcalloc(count + 1, sizeof(*messages));
    Lb__Member__MailInfo **pointers = xcalloc(count + 1, sizeof(*pointers));
    Lb__Member__Reply reply = LB__MEMBER__REPLY__INIT;
    Lb__Member__Inbox inbox = LB__MEMBER__INBOX__INIT;

    for (size_t i = 0; i < count; i++) {
        fill_info(&messages[i], &infos[i]);
        pointers[i] = &messages[i];
    }
    inbox.n_mails = count;
    inbox.mails = pointers;
    inbox.more = more;
    reply.body_case = LB__MEMBER__REPLY__BODY_INBOX;
    reply.inbox = &inbox;
    if (count > 0 || empty_too) {
        call_reply(call, &reply.base);
    }
    free(pointers);
    free(messages);
    free(infos);
    return count > 0 || empty_too;
}

static void on_timer(uv_timer_t *timer);

static void set_timer(struct letters *self)
{
    uint64_t now_ms = member_now_ms(self->member);
    uint64_t first_ms = UINT64_MAX;

    for (unsigned i = 0; i < self->waiting_count; i++) {
        first_ms = self->waiting[i].until_ms < first_ms ? self->waiting[i].until_ms : first_ms;
    }
    if (self->waiting_count == 0) {
        uv_timer_stop(&self->timer);
    } else {
        uv_timer_start(&self->timer, on_timer, first_ms > now_ms ? first_ms - now_ms : 0, 0);
    }
}

/* Those for whom there is one now, or whose time is over. */
static void look(struct letters *self)
{
    uint64_t now_ms = member_now_ms(self->member);

    for (unsigned i = self->waiting_count; i-- > 0;) {
        struct waiting *waiting = &self->waiting[i];

        if (answer_list(self->member, &waiting->call, waiting->after,
                        now_ms >= waiting->until_ms)) {
            *waiting = self->waiting[--self->waiting_count];
        }
    }
    set_timer(self);
}

static void on_timer(uv_timer_t *timer)
{
    look(timer->data);
}

void letters_came(struct letters *self)
{
    look(self);
}

void on_list_inbox(void *ctx, struct call *call, const void *body)
{
    struct member *self = ctx;
    struct letters *letters = self->letters;
    const Lb__Member__ListInbox *query = body;
    uint32_t wait_ms = query->wait_ms < WAIT_MAX_MS ? query->wait_ms : WAIT_MAX_MS;

    if (answer_list(self, &call, query->after, wait_ms == 0)) {
        return;
    }
    if (letters->waiting_count == MEMBER_WAITS_MAX) {
        call_fail(&call, LB_FULL, "%u callers wait for a message", MEMBER_WAITS_MAX);
        return;
    }
    call_lasts(call);
    letters->waiting[letters->waiting_count++] = (struct waiting){
        .call = call, .after = query->after, .until_ms = member_now_ms(self) + wait_ms
    };
    set_timer(letters);
}

/* ---- one ---- */

void on_read_mail(void *ctx, struct call *call, const void *body)
{
    struct member *self = ctx;
    const Lb__Member__ReadMail *query = body;
    Lb__Member__Reply reply = LB__MEMBER__REPLY__INIT;
    Lb__Member__Mail mail = LB__MEMBER__MAIL__INIT;
    Lb__Member__MailInfo message;
    struct inbox_info info;
    uint8_t *text;
    lb_err err = inbox_read(self->inbox, query->number, &info, &text);

    if (err != LB_OK) {
        call_fail(&call, err, "%s",
                  err == LB_NOT_FOUND ? "there is no message of this number"
                                      : "the inbox cannot be read");
        return;
    }
    fill_info(&message, &info);
    mail.info = &message;
    mail.text = ask_binary(bytes_of(text, info.size));
    reply.body_case = LB__MEMBER__REPLY__BODY_MAIL;
    reply.mail = &mail;
    call_reply(&call, &reply.base);
    free(text);
}

static void do_remove(struct job *job)
{
    struct removal *removal = (struct removal *)job;

    removal->err = inbox_remove(removal->member->inbox, removal->number);
}

static void on_removed(struct job *job, void *ctx)
{
    struct removal *removal = (struct removal *)job;
    Lb__Member__Reply reply = LB__MEMBER__REPLY__INIT;
    Lb__Member__Done done = LB__MEMBER__DONE__INIT;

    (void)ctx;
    if (removal->err == LB_IO || removal->err == LB_CORRUPT) {
        log_error("the inbox cannot be written: %s; ending", lb_err_text(removal->err));
        _exit(EXIT_FAILURE); /* as receive.c */
    }
    if (removal->err == LB_OK) {
        reply.body_case = LB__MEMBER__REPLY__BODY_DONE;
        reply.done = &done;
        call_reply(&removal->call, &reply.base);
    } else {
        call_fail(&removal->call, removal->err, "%s",
                  removal->err == LB_NOT_FOUND ? "there is no message of this number"
                                               : "the inbox cannot be written");
    }
    free(removal);
}

void on_remove_mail(void *ctx, struct call *call, const void *body)
{
    struct member *self = ctx;
    const Lb__Member__RemoveMail *query = body;
    struct removal *removal = xcalloc(1, sizeof(*removal));

    *removal = (struct removal){
        .job = { .work = do_remove, .done = on_removed, .lane = MEMBER_LANE_WRITE },
        .member = self,
        .call = call,
        .number = query->number
    };
    if (pool_submit(self->pool, &removal->job) != LB_OK) {
        call_fail(&removal->call, LB_FULL, "too much is being written");
        free(removal);
    }
}

/* ---- life ---- */

struct letters *letters_new(struct member *member)
{
    struct letters *self = xcalloc(1, sizeof(*self));

    self->member = member;
    uv_timer_init(actor_loop(member->actor), &self->timer);
    self->timer.data = self;
    return self;
}

void letters_stop(struct letters *self)
{
    for (unsigned i = 0; i < self->waiting_count; i++) {
        (void)answer_list(self->member, &self->waiting[i].call, self->waiting[i].after, true);
    }
    self->waiting_count = 0;
    uv_timer_stop(&self->timer);
}

void letters_free(struct letters **self)
{
    struct letters *it = *self;

    if (!it) {
        return;
    }
    uv_close((uv_handle_t *)&it->timer, NULL);
    actor_free_later(it->member->actor, it);
    *self = NULL;
}
