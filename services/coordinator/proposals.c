#include "services/coordinator/proposals.h"

#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/coordinator/inside.h"
#include "services/coordinator/leader_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* DECIDED: by the leader, and not yet applied here. */
enum place { WAITING, PROPOSED, FORWARDED, DECIDED };

struct proposal_row {
    struct proposal_row *next, **self;
    struct proposals *proposals;
    uint64_t tag;
    enum place place;
    enum register_verb verb;
    bool uncertain; /* an answer was lost: it may have been decided */
    uint64_t deadline_ms;
    struct decision decision; /* DECIDED */
    decided_fn *decided;      /* NULL: nobody waits */
    void *ctx;
    size_t size;
    uint8_t command[];
};

struct proposals {
    struct coordinator *coordinator; /* borrowed */
    struct proposal_row *rows;
    size_t count;
    uint64_t last_tag;
    struct leader_link *leader;
};

/* ---- deciding here ---- */

/* What the register says, with the words of a certificate. */
static void decision_of(const struct network_register *reg, const struct register_result *result,
                        struct decision *ret_decision)
{
    *ret_decision = (struct decision){
        .outcome = result->outcome,
        .err = result->err,
        .node = result->node,
        .number = result->number,
    };
    if (result->reason != NULL) {
        snprintf(ret_decision->reason, sizeof ret_decision->reason, "%s", result->reason);
    }
    if (result->outcome == REGISTER_ADMITTED) {
        const struct register_member *member = register_member(reg, &result->node);

        ret_decision->serial = member->serial;
        ret_decision->issued_s = member->issued_s;
        ret_decision->not_after_s = member->not_after_s;
        ret_decision->coordinator = member->issued_coordinator;
    }
}

/* Does the register know the answer without another entry? */
static bool known(const struct coordinator *coordinator, const struct register_command *command,
                  struct register_result *ret_result)
{
    return group_is_fresh(coordinator->group) &&
           register_known(coordinator->reg, command, ret_result);
}

struct deciding {
    struct coordinator *coordinator;
    answered_fn *answered;
    void *ctx;
};

static void on_proposed(void *ctx, enum proposal verdict, const struct register_result *result)
{
    struct deciding *it = ctx;
    struct decision decision = { 0 };

    if (verdict == PROPOSAL_APPLIED) {
        decision_of(it->coordinator->reg, result, &decision);
    }
    it->answered(it->ctx, verdict, &decision);
    free(it);
}

void proposals_decide(struct coordinator *coordinator, struct bytes command, answered_fn *answered,
                      void *ctx)
{
    struct register_command parsed;
    struct register_result result;
    struct deciding *deciding;
    struct decision decision = { .outcome = REGISTER_REFUSED, .err = LB_INVALID };

    if (coordinator->group == NULL || !group_leads(coordinator->group)) {
        answered(ctx, PROPOSAL_ELSEWHERE, &decision);
        return;
    }
    if (register_command_parse(command, &parsed) != LB_OK) {
        answered(ctx, PROPOSAL_APPLIED, &decision);
        return;
    }
    if (known(coordinator, &parsed, &result)) {
        decision_of(coordinator->reg, &result, &decision);
        answered(ctx, PROPOSAL_APPLIED, &decision);
        return;
    }
    deciding = xcalloc(1, sizeof *deciding);
    *deciding = (struct deciding){ coordinator, answered, ctx };
    group_propose(coordinator->group, command, on_proposed, deciding);
}

/* ---- rows ---- */

static void finish(struct proposal_row *row, const struct decision *decision)
{
    decided_fn *decided = row->decided;
    void *ctx = row->ctx;

    *row->self = row->next;
    if (row->next != NULL) {
        row->next->self = row->self;
    }
    row->proposals->count--;
    free(row);
    if (decided != NULL) {
        decided(ctx, decision);
    }
}

/* The second of two that were made, since the answer to the first was lost: that was it. */
static void forgive(const struct proposal_row *row, struct decision *decision)
{
    bool is_done =
        ((row->verb == VERB_INVITE || row->verb == VERB_WITHDRAW) && decision->err == LB_EXISTS) ||
        ((row->verb == VERB_WITHDRAW || row->verb == VERB_REMOVE_SERVER ||
          row->verb == VERB_DECIDE) &&
         decision->err == LB_NOT_FOUND);

    if (row->uncertain && is_done) {
        *decision = (struct decision){ .outcome = REGISTER_DONE };
    }
}

/*
 * Whoever changes something through us finds it done when he looks here. A certificate needs
 * nothing of our register.
 */
static bool is_seen_here(const struct proposal_row *row, const struct decision *decision)
{
    struct group_view view;

    if (row->verb == VERB_JOIN || row->verb == VERB_RENEW) {
        return true;
    }
    group_look(row->proposals->coordinator->group, &view);
    return view.applied >= decision->index;
}

static void settle(struct proposal_row *row, enum proposal verdict, const struct decision *decision)
{
    struct decision ours = *decision;

    row->place = WAITING;
    switch (verdict) {
    case PROPOSAL_APPLIED:
        forgive(row, &ours);
        if (!is_seen_here(row, &ours)) {
            row->place = DECIDED;
            row->decision = ours;
        } else {
            finish(row, &ours);
        }
        break;
    case PROPOSAL_LOST:
        row->uncertain = true;
        break;
    case PROPOSAL_NO_SPACE:
        ours = (struct decision){ .outcome = REGISTER_REFUSED, .err = LB_NO_SPACE };
        snprintf(ours.reason, sizeof ours.reason,
                 "the disk of the coordinator that leads is full: nothing was changed");
        finish(row, &ours);
        break;
    case PROPOSAL_ELSEWHERE:
        break;
    }
}

static void on_answered(void *ctx, enum proposal verdict, const struct decision *decision)
{
    settle(ctx, verdict, decision);
}

static void give_up(struct proposal_row *row)
{
    struct decision decision = { .outcome = REGISTER_REFUSED, .err = LB_UNAVAILABLE };

    snprintf(decision.reason, sizeof decision.reason, "%s",
             row->uncertain
                 ? "no majority of the coordinators has answered: it may be done yet, ask again"
                 : "no majority of the coordinators can be reached: nothing was changed");
    finish(row, &decision);
}

/* Whoever leads now has it. The row may be gone afterwards. */
static void try_row(struct proposal_row *row)
{
    struct proposals *self = row->proposals;
    struct group *group = self->coordinator->group;

    if (group == NULL) {
        return;
    }
    if (group_leads(group)) {
        row->place = PROPOSED;
        proposals_decide(self->coordinator, bytes_of(row->command, row->size), on_answered, row);
    } else if (leader_link_is_open(self->leader)) {
        row->place = FORWARDED;
        status_counter_add(self->coordinator->forwarded, 1);
        leader_link_send(self->leader, row->tag, bytes_of(row->command, row->size));
    }
}

void proposals_make(struct proposals *self, const struct register_command *command,
                    uint32_t limit_ms, decided_fn *decided, void *ctx)
{
    uint8_t data[REGISTER_COMMAND_MAX];
    size_t size = register_command_write(command, data);
    struct proposal_row *row;

    if (self->count == PROPOSALS_MAX) {
        struct decision decision = { .outcome = REGISTER_REFUSED, .err = LB_FULL };

        snprintf(decision.reason, sizeof decision.reason,
                 "the coordinator has too much to decide: ask again");
        decided(ctx, &decision);
        return;
    }
    row = xcalloc(1, sizeof *row + size);
    row->proposals = self;
    row->tag = ++self->last_tag;
    row->verb = command->verb;
    row->deadline_ms = actor_now_ms(self->coordinator->actor) + limit_ms;
    row->decided = decided;
    row->ctx = ctx;
    row->size = size;
    memcpy(row->command, data, size);
    row->next = self->rows;
    row->self = &self->rows;
    if (self->rows != NULL) {
        self->rows->self = &row->next;
    }
    self->rows = row;
    self->count++;
    try_row(row);
}

static void turn(struct proposal_row *row, uint64_t now_ms)
{
    bool is_late = now_ms >= row->deadline_ms;

    if (row->place == DECIDED && (is_late || is_seen_here(row, &row->decision))) {
        struct decision decision = row->decision;

        finish(row, &decision);
    } else if (is_late && (row->place == WAITING || row->place == FORWARDED)) {
        row->uncertain = row->uncertain || row->place == FORWARDED;
        give_up(row);
    } else if (row->place == WAITING) {
        try_row(row);
    }
}

/* Which may make others: those are at the head, and need no turn now. */
void proposals_tick(struct proposals *self, uint64_t now_ms)
{
    struct proposal_row *next;
    bool leads = self->coordinator->group != NULL && group_leads(self->coordinator->group);

    leader_link_follow(self->leader, !leads && self->count > 0, now_ms);
    for (struct proposal_row *row = self->rows; row != NULL; row = next) {
        next = row->next;
        turn(row, now_ms);
    }
}

size_t proposals_count(const struct proposals *self)
{
    return self->count;
}

/* ---- by the leader ---- */

static void on_forwarded(void *ctx, uint64_t tag, enum proposal verdict,
                         const struct decision *decision)
{
    struct proposals *self = ctx;

    for (struct proposal_row *row = self->rows; row != NULL; row = row->next) {
        if (row->tag == tag && row->place == FORWARDED) {
            settle(row, verdict, decision);
            return;
        }
    }
}

static void on_link_open(void *ctx)
{
    struct proposals *self = ctx;

    proposals_tick(self, actor_now_ms(self->coordinator->actor));
}

static void on_link_lost(void *ctx)
{
    struct proposals *self = ctx;

    for (struct proposal_row *row = self->rows; row != NULL; row = row->next) {
        if (row->place == FORWARDED) {
            row->place = WAITING;
            row->uncertain = true;
        }
    }
}

static const struct leader_link_events link_events = {
    .on_open = on_link_open,
    .on_answer = on_forwarded,
    .on_lost = on_link_lost,
};

struct proposals *proposals_new(struct coordinator *coordinator)
{
    struct proposals *self = xcalloc(1, sizeof *self);

    self->coordinator = coordinator;
    self->leader = leader_link_new(coordinator, &link_events, self);
    return self;
}

void proposals_free(struct proposals **self)
{
    struct decision decision = { .outcome = REGISTER_REFUSED, .err = LB_CANCELLED };

    if (*self == NULL) {
        return;
    }
    snprintf(decision.reason, sizeof decision.reason, "the coordinator is being stopped");
    leader_link_free(&(*self)->leader);
    while ((*self)->rows != NULL) {
        finish((*self)->rows, &decision);
    }
    free(*self);
    *self = NULL;
}
