#include "services/member/denied.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/pool.h"
#include "libcommon/stored.h"
#include "services/member/ask.h"
#include "services/member/rumour.h"
#include "services/member/service.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(RUMOUR_LIST_MAX >= DENY_LIST_BYTES_MAX, "every list can be fetched");

struct denied {
    struct member *member;
    struct rumour rumour;
    struct stored list; /* as it stands on disk, for others */
    uint64_t number;    /* of it; 0: none */
    uv_timer_t timer;
};

/* A list on its way to disk. */
struct keeping {
    struct job job; /* first: pool.h */
    struct member *member;
    struct call *call; /* NULL: it came from another node */
    uint8_t *list;
    size_t size;
    uint64_t number;
    lb_err err;
};

/* A part of another node's list. */
struct getting {
    struct denied *self;
    struct contact from;
    uint64_t number;
    uint32_t offset;
};

static void pump(struct denied *self);

/* ---- ours ---- */

static void read_list(struct denied *self)
{
    const struct deny_list *list = membership_denied(self->member->membership);
    struct stored file;
    char path[PATH_MAX];

    stored_free(&self->list);
    self->number = 0;
    if (!list || snprintf(path, sizeof(path), "%s/denied",
                          actor_paths(self->member->actor)->member_folder) >= (int)sizeof(path)) {
        return;
    }
    if (stored_read(path, DENY_LIST_BYTES_MAX, STORED_TRUSTED, &file) == LB_OK) {
        self->list = file;
        self->number = deny_list_number(list);
    }
}

static void tell_figures(const struct denied *self)
{
    const struct member *member = self->member;
    const struct deny_list *list = membership_denied(member->membership);

    status_counter_set(member->counters[MEMBER_DENY_NUMBER], deny_list_number(list));
    status_counter_set(member->counters[MEMBER_DENIED_NODES], list ? deny_list_count(list) : 0);
}

void denied_changed(struct denied *self)
{
    read_list(self);
    tell_figures(self);
    log_info("deny list %llu, of %zu nodes", (unsigned long long)self->number,
             deny_list_count(membership_denied(self->member->membership)));
    rumour_set_number(&self->rumour, self->number, member_now_ms(self->member));
    pump(self);
}

uint64_t denied_number(const struct denied *self)
{
    return self->number;
}

bool denied_part(const struct denied *self, uint64_t number, uint32_t offset,
                 Lb__Peer__DenyPart *ret_part)
{
    size_t left;

    if (number != self->number || number == 0 || offset >= self->list.size ||
        offset % RUMOUR_PART_BYTES != 0) {
        return false;
    }
    left = self->list.size - offset;
    lb__peer__deny_part__init(ret_part);
    ret_part->number = number;
    ret_part->size = (uint32_t)self->list.size;
    ret_part->offset = offset;
    ret_part->data = ask_binary(
        bytes_of(self->list.data + offset, left < RUMOUR_PART_BYTES ? left : RUMOUR_PART_BYTES));
    return true;
}

/* ---- to disk ---- */

static void keep(struct job *job)
{
    struct keeping *keeping = (struct keeping *)job;

    keeping->err = membership_put_file(actor_paths(keeping->member->actor)->member_folder, "denied",
                                       bytes_of(keeping->list, keeping->size), 0644);
}

static void answer_done(struct call **call)
{
    Lb__Member__Reply reply = LB__MEMBER__REPLY__INIT;
    Lb__Member__Done done = LB__MEMBER__DONE__INIT;

    reply.body_case = LB__MEMBER__REPLY__BODY_DONE;
    reply.done = &done;
    call_reply(call, &reply.base);
}

static void on_kept(struct job *job, void *ctx)
{
    struct keeping *keeping = (struct keeping *)job;
    struct member *member = keeping->member;

    (void)ctx;
    if (keeping->err != LB_OK) {
        log_error("deny list %llu cannot be written: %s", (unsigned long long)keeping->number,
                  lb_err_text(keeping->err));
    } else if (!member->is_stopping) {
        member_refresh(member); /* which tells denied_changed() */
    }
    if (keeping->call && keeping->err != LB_OK) {
        call_fail(&keeping->call, keeping->err, "the deny list cannot be written");
    } else if (keeping->call) {
        answer_done(&keeping->call);
    }
    free(keeping->list);
    free(keeping);
}

/* Takes list. LB_CORRUPT, LB_INVALID: it does not count. LB_EXISTS: it is not newer. */
static lb_err take_list(struct denied *self, uint8_t *list, size_t size, struct call *call)
{
    struct member *member = self->member;
    struct deny_list *parsed = NULL;
    const struct deny_list *held = membership_denied(member->membership);
    struct keeping *keeping;
    lb_err err = deny_list_parse(bytes_of(list, size), membership_root(member->membership),
                                 clock_wall_s(), &parsed);
    uint64_t number;

    number = deny_list_number(parsed);
    if (err == LB_OK && number <= self->number) {
        err = LB_EXISTS;
    } else if (err == LB_OK && !deny_list_follows(parsed, held)) {
        err = LB_CORRUPT; /* by a coordinator that was put out */
    }
    deny_list_free(&parsed);
    if (err == LB_CORRUPT || err == LB_INVALID) {
        member_count(member, MEMBER_LISTS_REFUSED);
    }
    if (err != LB_OK) {
        free(list);
        return err;
    }
    keeping = xcalloc(1, sizeof(*keeping));
    *keeping =
        (struct keeping){ .job = { .work = keep, .done = on_kept, .lane = MEMBER_LANE_WRITE },
                          .member = member,
                          .call = call,
                          .list = list,
                          .size = size,
                          .number = number };
    err = pool_submit(member->pool, &keeping->job);
    if (err != LB_OK) {
        free(list);
        free(keeping);
    }
    return err;
}

void denied_take(struct denied *self, struct call *call, struct bytes list)
{
    uint8_t *copy;
    lb_err err;

    if (list.size == 0 || list.size > DENY_LIST_BYTES_MAX) {
        call_fail(&call, LB_INVALID, "no deny list");
        return;
    }
    copy = xmemdup(list.data, list.size);
    err = take_list(self, copy, list.size, call);
    if (err == LB_EXISTS) {
        answer_done(&call);
    } else if (err != LB_OK) {
        call_fail(&call, err, "this deny list does not count: %s", lb_err_text(err));
    }
}

/* ---- from and to others ---- */

static void take_part(struct getting *getting, uint32_t size, struct bytes data)
{
    struct denied *self = getting->self;
    const struct rumour_part part = { .from = getting->from.id,
                                      .number = getting->number,
                                      .size = size,
                                      .offset = getting->offset,
                                      .data = data };
    uint64_t now_ms = member_now_ms(self->member);
    uint8_t *list;
    size_t list_size;
    lb_err err;

    if (!rumour_take(&self->rumour, &part, now_ms, &list, &list_size)) {
        return;
    }
    err = take_list(self, list, list_size, NULL);
    if (err == LB_CORRUPT || err == LB_INVALID || err == LB_EXISTS) {
        log_warn("a node sent a deny list that does not count: left alone for a while");
        rumour_shun(&self->rumour, &getting->from.id, now_ms);
    }
}

static void on_part(void *ctx, lb_err err, const Lb__Peer__Reply *reply)
{
    struct getting *getting = ctx;
    struct denied *self = getting->self;
    uint32_t size = 0;
    struct bytes data = bytes_of(NULL, 0);

    if (err == LB_OK && reply->body_case == LB__PEER__REPLY__BODY_DENY_PART &&
        reply->deny_part->number == getting->number &&
        reply->deny_part->offset == getting->offset) {
        size = reply->deny_part->size;
        data = ask_bytes(&reply->deny_part->data);
    }
    if (err != LB_CANCELLED) {
        take_part(getting, size, data);
        if (err == LB_OK && reply->body_case == LB__PEER__REPLY__BODY_DENY_NUMBER) {
            denied_heard(self, &getting->from, reply->deny_number->number);
        }
        pump(self);
    }
    free(getting);
}

static void get_part(struct denied *self, const struct rumour_action *action)
{
    struct getting *getting = xcalloc(1, sizeof(*getting));
    Lb__Peer__Request request = LB__PEER__REQUEST__INIT;
    Lb__Peer__GetDenyPart get = LB__PEER__GET_DENY_PART__INIT;

    *getting = (struct getting){
        .self = self, .from = action->to, .number = action->number, .offset = action->offset
    };
    get.number = action->number;
    get.offset = action->offset;
    request.body_case = LB__PEER__REQUEST__BODY_GET_DENY_PART;
    request.get_deny_part = &get;
    ask_node(self->member, &action->to, ASK_MEMBER, &request, on_part, getting);
}

struct telling {
    struct denied *self;
    struct contact to;
};

static void on_told(void *ctx, lb_err err, const Lb__Peer__Reply *reply)
{
    struct telling *telling = ctx;

    if (err == LB_OK && reply->body_case == LB__PEER__REPLY__BODY_DENY_NUMBER) {
        denied_heard(telling->self, &telling->to, reply->deny_number->number);
    }
    free(telling);
}

static void fill_number(const struct denied *self, Lb__Peer__Request *request,
                        Lb__Peer__DenyNumber *number)
{
    lb__peer__request__init(request);
    lb__peer__deny_number__init(number);
    number->number = self->number;
    request->body_case = LB__PEER__REQUEST__BODY_DENY_NUMBER;
    request->deny_number = number;
}

static void tell_one(void *ctx, lb_err err, const struct contact *node)
{
    struct denied *self = ctx;
    struct telling *telling;
    Lb__Peer__Request request;
    Lb__Peer__DenyNumber number;

    if (err != LB_OK || self->member->is_stopping) {
        return; /* in 20 s again */
    }
    telling = xcalloc(1, sizeof(*telling));
    *telling = (struct telling){ .self = self, .to = *node };
    fill_number(self, &request, &number);
    ask_node(self->member, node, ASK_MEMBER, &request, on_told, telling);
}

static void tell_all(struct denied *self)
{
    Lb__Peer__Request request;
    Lb__Peer__DenyNumber number;

    fill_number(self, &request, &number);
    ask_tell_all(self->member, &request);
}

static void on_timer(uv_timer_t *timer)
{
    pump(timer->data);
}

static void pump(struct denied *self)
{
    struct rumour_action action;
    uint64_t now_ms = member_now_ms(self->member);

    if (self->member->is_stopping) {
        return;
    }
    while (rumour_next(&self->rumour, now_ms, &action)) {
        switch (action.kind) {
        case RUMOUR_TELL_ALL:
            tell_all(self);
            break;
        case RUMOUR_TELL_ONE:
            ask_for_any(self->member, tell_one, self);
            break;
        case RUMOUR_GET_PART:
            get_part(self, &action);
            break;
        }
    }
    uv_timer_start(&self->timer, on_timer, rumour_deadline_ms(&self->rumour, now_ms) - now_ms, 0);
}

void denied_heard(struct denied *self, const struct contact *from, uint64_t number)
{
    if (node_id_equal(&from->id, &self->member->identity.node) ||
        !address_is_usable(&from->address)) {
        return;
    }
    rumour_heard(&self->rumour, from, number, member_now_ms(self->member));
    pump(self);
}

/* ---- life ---- */

struct denied *denied_new(struct member *member)
{
    struct denied *self = xcalloc(1, sizeof(*self));

    self->member = member;
    read_list(self);
    tell_figures(self);
    rumour_init(&self->rumour, self->number, random_u64(&member->random), member_now_ms(member));
    uv_timer_init(actor_loop(member->actor), &self->timer);
    self->timer.data = self;
    pump(self);
    return self;
}

void denied_free(struct denied **self)
{
    struct denied *it = *self;

    if (!it) {
        return;
    }
    rumour_done(&it->rumour);
    stored_free(&it->list);
    uv_close((uv_handle_t *)&it->timer, NULL);
    actor_free_later(it->member->actor, it);
    *self = NULL;
}
