#include "services/member/coordinators.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/pki/deny_list.h"
#include "libcommon/pki/enrol.h"
#include "libcommon/pool.h"
#include "services/member/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ERRAND_MS  60000u
#define NEWS_MS    600000u /* how often they are asked for news, with a tenth more or less */
#define NEWS_FIRST 30000u  /* after the start, within */
#define NEWS_ALONE 60000u  /* how often without news for half a day: nobody new is let in soon */

struct errand {
    struct job job; /* first: pool.h */
    struct coordinators *self;
    bool is_renewal;
    struct enrol_place place;
    struct enrol_limits limits;
    struct enrol_report report;
    lb_err err;
};

struct coordinators {
    struct member *member;
    struct renewal renewal;
    struct errand errand;
    bool is_busy, is_stopping;
    bool is_new; /* a certificate has come since the errand began */
    int cancel_fd;
    uint64_t news_ms; /* when they are asked next */
    bool has_skew, is_skewed;
    int64_t skew_s;
    char problem[sizeof(((struct enrol_report *)0)->text)];
    char news_problem[sizeof(((struct enrol_report *)0)->text)];
    struct call *waiting[MEMBER_RENEWS_MAX];
    unsigned waiting_count;
};

static bool is_in_hurry(const struct coordinators *self, uint64_t now_s)
{
    const struct membership *membership = self->member->membership;

    return now_s >= membership_news_s(membership, now_s) + MEMBERSHIP_ALONE_S / 2;
}

struct coordinators *coordinators_new(struct member *member)
{
    struct coordinators *self = xcalloc(1, sizeof(*self));

    self->member = member;
    self->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->news_ms = member_now_ms(member);
    if (!is_in_hurry(self, clock_wall_s())) {
        self->news_ms += random_below(&member->random, NEWS_FIRST);
    }
    coordinators_renewed(self);
    return self;
}

void coordinators_renewed(struct coordinators *self)
{
    const struct certificate_claims *claims = membership_claims(self->member->membership);
    bool was_busy = self->renewal.is_under_way;

    renewal_set(&self->renewal, claims->not_before_s, claims->not_after_s, &self->member->random);
    self->renewal.is_under_way = was_busy;
    self->is_new = true;
    self->problem[0] = '\0';
}

/* ---- the errand ---- */

static void run(struct job *job)
{
    struct errand *errand = (struct errand *)job;

    errand->err = errand->is_renewal
                      ? enrol_renew(&errand->place, &errand->limits, &errand->report)
                      : enrol_get_news(&errand->place, &errand->limits, &errand->report);
}

/* Said once, and once more when it is well again. */
static void note_skew(struct coordinators *self, const struct enrol_report *report)
{
    bool is_skewed = llabs(report->skew_s) >= ENROL_SKEW_WARN_S;

    if (is_skewed && !self->is_skewed) {
        log_warn("the clock here is %lld s %s that of coordinator %s: set it, or certificates will "
                 "not count",
                 llabs(report->skew_s), report->skew_s > 0 ? "ahead of" : "behind",
                 report->coordinator);
    } else if (!is_skewed && self->is_skewed) {
        log_info("the clock here agrees with the coordinators again");
    }
    self->has_skew = true;
    self->is_skewed = is_skewed;
    self->skew_s = report->skew_s;
}

static void answer_waiting(struct coordinators *self, lb_err err, const char *reason)
{
    for (unsigned i = 0; i < self->waiting_count; i++) {
        if (err == LB_OK) {
            member_reply_membership(self->member, &self->waiting[i]);
        } else {
            call_fail(&self->waiting[i], err, "%s", reason);
        }
    }
    self->waiting_count = 0;
}

static void end_renewal(struct coordinators *self, struct errand *errand)
{
    struct member *member = self->member;

    if (errand->err == LB_OK && !self->is_new) {
        errand->err = LB_CONFLICT;
        snprintf(errand->report.text, sizeof(errand->report.text),
                 "%s sent the certificate that this node has", errand->report.coordinator);
    }
    if (errand->err == LB_OK) {
        self->renewal.is_under_way = false;
        self->problem[0] = '\0';
        member_count(member, MEMBER_RENEWED);
        log_info("certificate renewed by %s, serial %llu", errand->report.coordinator,
                 (unsigned long long)membership_claims(member->membership)->serial);
    } else {
        renewal_failed(&self->renewal, clock_wall_s(), member_now_ms(member), &member->random);
        snprintf(self->problem, sizeof(self->problem), "%s", errand->report.text);
        member_count(member, MEMBER_NOT_RENEWED);
        log_warn("certificate not renewed: %s", self->problem);
    }
    answer_waiting(self, errand->err, self->problem);
}

static void on_ran(struct job *job, void *ctx)
{
    struct errand *errand = (struct errand *)job;
    struct coordinators *self = errand->self;

    (void)ctx;
    self->is_busy = false;
    if (self->is_stopping) {
        answer_waiting(self, LB_CANCELLED, "stopping");
        return;
    }
    if (errand->report.has_skew) {
        note_skew(self, &errand->report);
    }
    if (errand->err == LB_OK) {
        member_refresh(self->member); /* it has written what is new */
    }
    if (errand->is_renewal) {
        end_renewal(self, errand);
    } else {
        snprintf(self->news_problem, sizeof(self->news_problem), "%s", errand->report.text);
    }
    if (!errand->is_renewal && errand->err != LB_OK) {
        log_debug("no news from coordinators: %s", errand->report.text);
    }
}

static void begin(struct coordinators *self, bool is_renewal)
{
    const struct paths *paths = actor_paths(self->member->actor);
    struct errand *errand = &self->errand;

    *errand = (struct errand){
        .self = self,
        .is_renewal = is_renewal,
        .place = { .member_folder = paths->member_folder, .identity_file = paths->identity_file },
        .limits = { .deadline_ms = clock_monotonic_ms() + ERRAND_MS, .cancel_fd = self->cancel_fd }
    };
    errand->job = (struct job){ .work = run, .done = on_ran, .lane = MEMBER_LANE_ASK };
    self->is_new = false;
    self->is_busy = pool_submit(self->member->pool, &errand->job) == LB_OK;
    if (!self->is_busy && is_renewal) {
        renewal_failed(&self->renewal, clock_wall_s(), member_now_ms(self->member),
                       &self->member->random);
    }
}

/* ---- when ---- */

static void plan_news(struct coordinators *self, uint64_t now_s, uint64_t now_ms)
{
    uint32_t pause_ms = is_in_hurry(self, now_s) ? NEWS_ALONE : NEWS_MS;

    self->news_ms = now_ms + pause_ms / 10 * 9 + random_below(&self->member->random, pause_ms / 5);
}

void coordinators_tick(struct coordinators *self, uint64_t now_s, uint64_t now_ms)
{
    const struct membership *membership = self->member->membership;

    if (self->is_busy || self->is_stopping) {
        return;
    }
    if (deny_list_has_key(membership_denied(membership), membership_claims(membership)->issuer)) {
        renewal_is_void(&self->renewal);
    }
    if (renewal_begin(&self->renewal, now_s, now_ms)) {
        plan_news(self, now_s, now_ms); /* they come with it */
        begin(self, true);
    } else if (now_ms >= self->news_ms) {
        plan_news(self, now_s, now_ms);
        begin(self, false);
    }
}

bool coordinators_renew(struct coordinators *self, struct call *call)
{
    if (self->waiting_count == MEMBER_RENEWS_MAX) {
        return false;
    }
    self->waiting[self->waiting_count++] = call;
    call_lasts(call);
    renewal_want(&self->renewal);
    coordinators_tick(self, clock_wall_s(), member_now_ms(self->member));
    return true;
}

/* ---- the end ---- */

void coordinators_stop(struct coordinators *self)
{
    uint64_t one = 1;

    self->is_stopping = true;
    (void)!write(self->cancel_fd, &one, sizeof(one));
    if (!self->is_busy) {
        answer_waiting(self, LB_CANCELLED, "stopping");
    }
}

void coordinators_free(struct coordinators **self)
{
    if (*self) {
        close((*self)->cancel_fd);
    }
    free(*self);
    *self = NULL;
}

/* ---- how it is ---- */

void coordinators_look(const struct coordinators *self, uint64_t now_s,
                       struct coordinators_view *ret_view)
{
    *ret_view = (struct coordinators_view){
        .problem = self->problem,
        .news_problem = self->news_problem,
        .has_skew = self->has_skew,
        .skew_s = self->skew_s,
        .health = renewal_health(&self->renewal, now_s),
        .is_out_of_reach = membership_is_alone(self->member->membership, now_s),
    };
}
