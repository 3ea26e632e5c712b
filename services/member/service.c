#include "services/member/service.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/pki/enrol.h"
#include "libcommon/pool.h"
#include "proto/routing.pb-c.h"
#include "proto/storage.pb-c.h"
#include "proto/transport.pb-c.h"
#include "services/member/ask.h"
#include "services/member/boxes.h"
#include "services/member/certificates.h"
#include "services/member/coordinators.h"
#include "services/member/denied.h"
#include "services/member/letters.h"
#include "services/member/receive.h"
#include "services/member/sends.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TICK_MS      1000u
#define TICK_HURRY   20u /* while routing is not there: its return is not to be told late */
#define SWEEP_TICKS  60u
#define SWEEP_BUDGET 512u
#define WORKERS      2u /* MEMBER_LANE_WRITE, MEMBER_LANE_ASK */

static const char *const counter_names[MEMBER_COUNTERS_COUNT] = {
    [MEMBER_RECEIVED] = "messages_received",       [MEMBER_NOT_RECEIVED] = "messages_refused",
    [MEMBER_SENT] = "messages_delivered",          [MEMBER_KEPT] = "messages_kept",
    [MEMBER_NOT_SENT] = "messages_not_sent",       [MEMBER_MESSAGES] = "inbox_messages",
    [MEMBER_MESSAGE_BYTES] = "inbox_bytes",        [MEMBER_RENEWED] = "renewals",
    [MEMBER_NOT_RENEWED] = "renewals_failed",      [MEMBER_CERTIFICATE_S] = "certificate_s",
    [MEMBER_DENY_NUMBER] = "deny_number",          [MEMBER_DENIED_NODES] = "denied_nodes",
    [MEMBER_LISTS_REFUSED] = "deny_lists_refused",
};

void member_count(struct member *self, enum member_counter counter)
{
    status_counter_add(self->counters[counter], 1);
}

uint64_t member_now_ms(const struct member *self)
{
    return actor_now_ms(self->actor);
}

/* ---- what has changed on disk ---- */

void member_refresh(struct member *self)
{
    unsigned news = membership_refresh(self->membership, clock_wall_s());

    if (news & MEMBERSHIP_NEW_CERTIFICATE) {
        coordinators_renewed(self->coordinators);
        certificates_renewed(self->certificates);
    }
    if (news & MEMBERSHIP_NEW_DENIED) {
        denied_changed(self->denied);
    }
}

/* ---- what it says of itself ---- */

#define DATE_SIZE 32

static void format_date(uint64_t at_s, char ret_text[DATE_SIZE])
{
    time_t at = (time_t)at_s;
    struct tm tm;

    if (!gmtime_r(&at, &tm) || strftime(ret_text, DATE_SIZE, "%Y-%m-%d %H:%M UTC", &tm) == 0) {
        snprintf(ret_text, DATE_SIZE, "?");
    }
}

/* The certificate first: without it nobody speaks with us. True: that is what was said. */
static bool tell_certificate(struct member *self, const struct coordinators_view *view)
{
    const struct certificate_claims *claims = membership_claims(self->membership);
    char until[DATE_SIZE];

    format_date(claims->not_after_s, until);
    switch ((enum renewal_health)view->health) {
    case RENEWAL_WELL:
        return false;
    case RENEWAL_LATE:
        actor_state(self->actor, STATE_DEGRADED, "certificate ends %s and is not renewed: %s",
                    until, view->problem);
        return true;
    case RENEWAL_ENDED:
        actor_state(self->actor, STATE_DEGRADED,
                    "certificate ended %s, other nodes refuse this one: %s", until, view->problem);
        return true;
    case RENEWAL_LOST:
        actor_state(self->actor, STATE_DEGRADED,
                    "certificate ended %s, over 90 days ago: this node has to join again", until);
        return true;
    case RENEWAL_EARLY:
        actor_state(self->actor, STATE_DEGRADED,
                    "certificate has not begun: the clock here is wrong");
        return true;
    }
    return false;
}

bool member_is_put_out(const struct member *self)
{
    const struct deny_list *denied = membership_denied(self->membership);

    return denied != NULL && deny_list_has(denied, &self->identity.node);
}

static void tell_well(struct member *self, const struct coordinators_view *view)
{
    char until[DATE_SIZE];
    char skew[64] = "";

    format_date(membership_claims(self->membership)->not_after_s, until);
    if (view->has_skew && llabs(view->skew_s) >= ENROL_SKEW_WARN_S) {
        snprintf(skew, sizeof(skew), "; the clock is %lld s %s", llabs(view->skew_s),
                 view->skew_s > 0 ? "ahead" : "behind");
    }
    actor_state(self->actor, STATE_READY, "%s, certificate until %s, deny list %llu%s",
                self->identity.network_name, until, (unsigned long long)denied_number(self->denied),
                skew);
}

/* New certificates are dated 5 minutes back: whose clock is further behind takes them for unborn.
 */
static bool tell_clock(struct member *self, const struct coordinators_view *view)
{
    long long off_s = llabs(view->skew_s);
    char off[32];

    if (!view->has_skew || off_s < CERTIFICATE_BACKDATE_S + ENROL_SKEW_WARN_S) {
        return false;
    }
    if (off_s < 2 * 3600) {
        snprintf(off, sizeof(off), "%lld min", off_s / 60);
    } else {
        snprintf(off, sizeof(off), "%lld h", off_s / 3600);
    }
    actor_state(self->actor, STATE_DEGRADED,
                "the clock here is %s %s the coordinators': set it, certificates count from and "
                "until a moment",
                off, view->skew_s > 0 ? "ahead of" : "behind");
    return true;
}

static void tell_state(struct member *self, uint64_t now_s)
{
    struct coordinators_view view;

    coordinators_look(self->coordinators, now_s, &view);
    if (grace_lasts(&self->grace, link_is_up(self->routing), member_now_ms(self))) {
        actor_state(self->actor, STATE_STARTING, "looking for routing");
    } else if (member_is_put_out(self)) {
        actor_state(self->actor, STATE_DEGRADED,
                    "this node was put out of %s: no other node speaks with it",
                    self->identity.network_name);
    } else if (tell_clock(self, &view) || tell_certificate(self, &view)) {
        return;
    } else if (!link_is_up(self->routing)) {
        actor_state(self->actor, STATE_DEGRADED,
                    "routing is not there: no message can be sent or fetched");
    } else if (view.is_out_of_reach) {
        actor_state(self->actor, STATE_DEGRADED,
                    "no coordinator was reached for a day: new nodes are refused (%s)",
                    view.news_problem[0] != '\0' ? view.news_problem : "it is being asked");
    } else {
        tell_well(self, &view);
    }
}

static void tell_figures(struct member *self, uint64_t now_s)
{
    uint64_t until_s = membership_claims(self->membership)->not_after_s;
    struct inbox_stats stats;

    inbox_get_stats(self->inbox, &stats);
    status_counter_set(self->counters[MEMBER_MESSAGES], stats.messages);
    status_counter_set(self->counters[MEMBER_MESSAGE_BYTES], stats.bytes);
    status_counter_set(self->counters[MEMBER_CERTIFICATE_S], until_s > now_s ? until_s - now_s : 0);
}

/* ---- care ---- */

struct sweeping {
    struct job job; /* first: pool.h */
    struct member *member;
    uint64_t now_s;
    bool more;
    lb_err err;
};

static void do_sweep(struct job *job)
{
    struct sweeping *sweeping = (struct sweeping *)job;

    sweeping->err =
        inbox_sweep(sweeping->member->inbox, sweeping->now_s, SWEEP_BUDGET, &sweeping->more);
}

static void on_swept(struct job *job, void *ctx)
{
    struct sweeping *sweeping = (struct sweeping *)job;

    (void)ctx;
    if (sweeping->err != LB_OK) {
        log_warn("the inbox cannot be swept: %s", lb_err_text(sweeping->err));
    }
    sweeping->member->is_sweeping = false;
    free(sweeping);
}

static void sweep(struct member *self, uint64_t now_s)
{
    struct sweeping *sweeping;

    if (self->is_sweeping) {
        return;
    }
    sweeping = xcalloc(1, sizeof(*sweeping));
    *sweeping =
        (struct sweeping){ .job = { .work = do_sweep, .done = on_swept, .lane = MEMBER_LANE_WRITE },
                           .member = self,
                           .now_s = now_s };
    self->is_sweeping = pool_submit(self->pool, &sweeping->job) == LB_OK;
    if (!self->is_sweeping) {
        free(sweeping);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct member *self = timer->data;
    uint64_t now_s = clock_wall_s();
    uint64_t now_ms = member_now_ms(self);

    member_refresh(self);
    coordinators_tick(self->coordinators, now_s, now_ms);
    certificates_tick(self->certificates, now_ms);
    boxes_tick(self->boxes, now_ms);
    if (self->ticks++ % SWEEP_TICKS == SWEEP_TICKS - 1) {
        sweep(self, now_s);
    }
    tell_figures(self, now_s);
    tell_state(self, now_s);
    uv_timer_start(timer, on_tick, link_is_up(self->routing) ? TICK_MS : TICK_HURRY, 0);
}

/* ---- membership ---- */

void member_reply_membership(struct member *self, struct call **call)
{
    const struct certificate_claims *claims = membership_claims(self->membership);
    const struct deny_list *denied = membership_denied(self->membership);
    const char *const *addresses;
    size_t count = membership_coordinators(self->membership, &addresses);
    Lb__Member__Reply reply = LB__MEMBER__REPLY__INIT;
    Lb__Member__Membership membership = LB__MEMBER__MEMBERSHIP__INIT;
    struct coordinators_view view;

    coordinators_look(self->coordinators, clock_wall_s(), &view);
    membership.network_name = self->identity.network_name;
    membership.network = ask_binary(bytes_of(self->identity.network, NETWORK_ID_SIZE));
    membership.node_id = ask_binary(bytes_of(self->identity.node.bytes, NODE_ID_SIZE));
    membership.serial = claims->serial;
    membership.not_after_s = claims->not_after_s;
    membership.deny_number = deny_list_number(denied);
    membership.deny_made_s = denied ? deny_list_made_s(denied) : 0;
    membership.skew_s = view.skew_s;
    membership.n_coordinators = count;
    membership.coordinators = (char **)(uintptr_t)addresses;
    membership.problem = (char *)(uintptr_t)view.problem;
    reply.body_case = LB__MEMBER__REPLY__BODY_MEMBERSHIP;
    reply.membership = &membership;
    call_reply(call, &reply.base);
}

void on_get_membership(void *ctx, struct call *call, const void *body)
{
    (void)body;
    member_reply_membership(ctx, &call);
}

void on_renew_now(void *ctx, struct call *call, const void *body)
{
    struct member *self = ctx;

    (void)body;
    if (self->is_stopping || !coordinators_renew(self->coordinators, call)) {
        call_fail(&call, LB_FULL, "%u callers wait for the renewal", MEMBER_RENEWS_MAX);
    }
}

static handler_fn *const handlers[] = {
    [LB__MEMBER__REQUEST__BODY_CALLS] = on_calls,
    [LB__MEMBER__REQUEST__BODY_SEND] = on_send,
    [LB__MEMBER__REQUEST__BODY_LIST_INBOX] = on_list_inbox,
    [LB__MEMBER__REQUEST__BODY_READ_MAIL] = on_read_mail,
    [LB__MEMBER__REQUEST__BODY_REMOVE_MAIL] = on_remove_mail,
    [LB__MEMBER__REQUEST__BODY_NEW_DENIED] = on_new_denied,
    [LB__MEMBER__REQUEST__BODY_GET_MEMBERSHIP] = on_get_membership,
    [LB__MEMBER__REQUEST__BODY_RENEW_NOW] = on_renew_now,
};

/* ---- life ---- */

static lb_err load_membership(struct member *self)
{
    const struct paths *paths = actor_paths(self->actor);
    struct membership_problem problem;
    lb_err err = identity_load(paths, &self->identity);

    if (err != LB_OK) {
        log_error("%s: %s; lb-member runs on members of a private network only (littlebird join)",
                  paths->identity_file, lb_err_text(err));
        return err == LB_DENIED ? LB_DENIED : LB_INVALID;
    }
    err = membership_load(paths->member_folder, &self->identity, clock_wall_s(), &self->membership,
                          &problem);
    if (err != LB_OK) {
        log_error("%s", problem.text);
        return err == LB_DENIED ? LB_DENIED : LB_INVALID; /* restarting will not help */
    }
    return LB_OK;
}

/* What is damaged is kept for a person to look at; the network still has what was not fetched. */
static lb_err open_inbox(struct member *self)
{
    char folder[PATHS_SIZE + 16];
    char from[PATHS_SIZE + 32];
    char to[PATHS_SIZE + 64];
    lb_err err;

    snprintf(folder, sizeof(folder), "%s/inbox", actor_paths(self->actor)->state_folder);
    err = inbox_open(folder, &self->inbox);
    if (err == LB_CORRUPT) {
        snprintf(from, sizeof(from), "%s/data.mdb", folder);
        snprintf(to, sizeof(to), "%s.damaged", from);
        log_error("%s is damaged: set aside as data.mdb.damaged, beginning anew", from);
        err = rename(from, to) == 0 ? inbox_open(folder, &self->inbox) : LB_IO;
    }
    if (err == LB_UNSUPPORTED) {
        log_error("%s was written by a newer version of lb-member", folder);
        return LB_INVALID;
    }
    if (err != LB_OK) {
        log_error("cannot open %s: %s", folder, lb_err_text(err));
    }
    return err;
}

static void open_links(struct member *self)
{
    self->routing = actor_link(self->actor, SERVICE_ROUTING, 0, &lb__routing__reply__descriptor);
    instances_init(&self->transports, self->actor, SERVICE_TRANSPORT,
                   &lb__transport__reply__descriptor);
    instances_init(&self->storages, self->actor, SERVICE_STORAGE, &lb__storage__reply__descriptor);
}

static void open_parts(struct member *self)
{
    self->letters = letters_new(self);
    self->receiving = receiving_new(self);
    self->sends = sends_new(self);
    self->certificates = certificates_new(self);
    self->coordinators = coordinators_new(self);
    self->denied = denied_new(self);
    self->boxes = boxes_new(self);
}

static lb_err member_start(struct actor *actor, void **ret_ctx)
{
    struct member *self = xcalloc(1, sizeof(*self));
    lb_err err;

    self->actor = actor;
    err = load_membership(self);
    if (err == LB_OK) {
        err = open_inbox(self);
    }
    if (err != LB_OK) {
        membership_free(&self->membership);
        free(self);
        return err;
    }
    for (size_t i = 0; i < MEMBER_COUNTERS_COUNT; i++) {
        self->counters[i] = actor_counter(actor, counter_names[i]);
    }
    random_init(&self->random, actor_random_seed(actor));
    self->pool = pool_new(actor_loop(actor), WORKERS);
    open_links(self);
    open_parts(self);
    grace_init(&self->grace, member_now_ms(self));
    uv_timer_init(actor_loop(actor), &self->tick);
    self->tick.data = self;
    uv_timer_start(&self->tick, on_tick, 0, 0);
    tell_state(self, clock_wall_s());
    *ret_ctx = self;
    return LB_OK;
}

static void member_scaled(void *ctx)
{
    struct member *self = ctx;

    (void)instances_follow(&self->transports);
    (void)instances_follow(&self->storages);
}

/* What is on its way to disk is waited for in member_free(). */
static void member_stop(void *ctx)
{
    struct member *self = ctx;

    self->is_stopping = true;
    uv_timer_stop(&self->tick);
    letters_stop(self->letters);
    coordinators_stop(self->coordinators);
    actor_stopped(self->actor);
}

static void member_free(void *ctx)
{
    struct member *self = ctx;

    self->is_stopping = true;
    pool_free(&self->pool);
    boxes_free(&self->boxes);
    denied_free(&self->denied);
    coordinators_free(&self->coordinators);
    certificates_free(&self->certificates);
    sends_free(&self->sends);
    receiving_free(&self->receiving);
    letters_free(&self->letters);
    parts_done(&self->parts);
    inbox_close(&self->inbox);
    membership_free(&self->membership);
    uv_close((uv_handle_t *)&self->tick, NULL);
    actor_free_later(self->actor, self);
}

const struct service_definition member_service = {
    .service = SERVICE_MEMBER,
    .request = &lb__member__request__descriptor,
    .reply = &lb__member__reply__descriptor,
    .handlers = handlers,
    .handlers_count = sizeof handlers / sizeof handlers[0],
    .start = member_start,
    .stop = member_stop,
    .free = member_free,
    .scaled = member_scaled,
};
