/* Coordinators asked in turn, until one has answered. */
#include "libcommon/clock.h"
#include "libcommon/pki/enrol_inside.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 15000u /* for one coordinator to answer: a group may be choosing a leader */
#define RETRY_MS  1000u  /* between two rounds over all of them */
#define MS_PER_S  1000u

/* ---- words ---- */

lb_err enrol_say(struct enrol_report *report, lb_err err, const char *text)
{
    snprintf(report->text, sizeof(report->text), "%s", text);
    return err;
}

lb_err enrol_say_file(struct enrol_report *report, lb_err err, const char *where)
{
    if (err != LB_OK) {
        snprintf(report->text, sizeof(report->text), "cannot keep what belongs to %s: %s", where,
                 lb_err_text(err));
    }
    return err;
}

void enrol_note_clock(struct enrol_report *report, uint64_t now_s)
{
    if (now_s != 0) {
        report->has_skew = true;
        report->skew_s = (int64_t)clock_wall_s() - (int64_t)now_s;
    }
}

ProtobufCBinaryData enrol_binary(const void *data, size_t size)
{
    return (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)data, .len = size };
}

/* ---- asking them in turn ---- */

void enrol_add_address(struct enrol_errand *self, const char *address, size_t max)
{
    for (size_t i = 0; i < self->addresses_count; i++) {
        if (strcmp(self->addresses[i], address) == 0) {
            return;
        }
    }
    if (enrol_is_address(address) && self->addresses_count < max) {
        snprintf(self->addresses[self->addresses_count++], JOIN_ADDRESS_SIZE, "%s", address);
    }
}

static bool may_pass(lb_err err)
{
    return err == LB_UNAVAILABLE || err == LB_TIMEOUT || err == LB_NO_SPACE || err == LB_IO ||
           err == LB_INTERNAL || err == LB_FULL || err == LB_CANCELLED;
}

/* The text of who refused for good wins over that of who was not there. */
static void note_failure(struct enrol_errand *self, lb_err err, const char *text)
{
    if (self->worst == LB_OK || self->worst == LB_UNAVAILABLE || self->worst == LB_TIMEOUT) {
        self->worst = err;
        (void)enrol_say(self->report, err, text);
    }
}

/* True: this is the answer. A refusal that may pass, or names a leader, is none. */
static bool is_answer(struct enrol_errand *self, const Lb__Join__Reply *reply)
{
    const Lb__Join__Refused *refused = reply->refused;

    if (reply->body_case != LB__JOIN__REPLY__BODY_REFUSED) {
        return true;
    }
    enrol_note_clock(self->report, refused->now_s);
    if (refused->leader[0] != '\0') {
        enrol_add_address(self, refused->leader, self->own_count + ENROL_HINTS_MAX);
    }
    if (refused->leader[0] == '\0' && !may_pass((lb_err)refused->err)) {
        return true;
    }
    note_failure(self, LB_UNAVAILABLE, refused->reason);
    return false;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Each once, then those they name. LB_OK: *ret_reply. */
static lb_err ask_round(struct enrol_errand *self, Lb__Join__Reply **ret_reply)
{
    self->worst = LB_OK;
    self->addresses_count = self->own_count;
    for (size_t i = 0; i < self->addresses_count; i++) {
        struct join_client_problem problem;
        Lb__Join__Reply *reply = NULL;
        lb_err err;

        self->options.deadline_ms =
            earlier(clock_monotonic_ms() + ANSWER_MS, self->limits->deadline_ms);
        err = join_client_ask(&self->options, self->addresses[i], self->request, &reply, &problem);
        if (err == LB_CANCELLED) {
            return enrol_say(self->report, err, problem.text);
        }
        if (err != LB_OK) {
            note_failure(self, err, problem.text);
            continue;
        }
        snprintf(self->report->coordinator, sizeof(self->report->coordinator), "%s",
                 self->addresses[i]);
        if (is_answer(self, reply)) {
            *ret_reply = reply;
            return LB_OK;
        }
        lb__join__reply__free_unpacked(reply, NULL);
    }
    return self->worst != LB_OK
               ? self->worst
               : enrol_say(self->report, LB_UNAVAILABLE, "no coordinator is known");
}

lb_err enrol_pause(struct enrol_errand *self, uint64_t ms)
{
    struct pollfd cancel = { .fd = self->limits->cancel_fd, .events = POLLIN };
    uint64_t until_ms = earlier(clock_monotonic_ms() + ms, self->limits->deadline_ms);

    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();

        if (now_ms >= until_ms) {
            return now_ms >= self->limits->deadline_ms ? LB_TIMEOUT : LB_OK;
        }
        if (poll(&cancel, 1, (int)earlier(until_ms - now_ms, MS_PER_S)) > 0) {
            return enrol_say(self->report, LB_CANCELLED, "stopped");
        }
    }
}

/* Until one has answered: a group that is choosing a leader has one in a moment. */
lb_err enrol_ask(struct enrol_errand *self, uint64_t patience_ms, Lb__Join__Reply **ret_reply)
{
    uint64_t until_ms = earlier(clock_monotonic_ms() + patience_ms, self->limits->deadline_ms);

    for (;;) {
        lb_err err = ask_round(self, ret_reply);
        lb_err waited;

        if (err != LB_UNAVAILABLE && err != LB_TIMEOUT) {
            return err;
        }
        if (clock_monotonic_ms() + RETRY_MS >= until_ms) {
            return LB_UNAVAILABLE; /* the report has what the last one said */
        }
        if (self->on_waiting) {
            self->on_waiting(self->ctx, self->report->text);
            self->on_waiting = NULL;
        }
        waited = enrol_pause(self, RETRY_MS);
        if (waited == LB_CANCELLED) {
            return waited;
        }
    }
}

lb_err enrol_say_refused(struct enrol_report *report, const Lb__Join__Refused *refused)
{
    enrol_note_clock(report, refused->now_s);
    snprintf(report->text, sizeof(report->text), "%s refused: %.200s", report->coordinator,
             refused->reason[0] != '\0' ? refused->reason : lb_err_text((lb_err)refused->err));
    return LB_DENIED;
}
