#include "services/coordinator/leader_link.h"

#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/message.h"
#include "services/coordinator/frames.h"
#include "services/coordinator/inside.h"
#include "services/coordinator/join_message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct leader_link {
    struct coordinator *coordinator;
    const struct leader_link_events *events;
    void *ctx;
    struct secure *secure; /* NULL: none */
    bool is_open;
    uint64_t number;   /* of the server it leads to */
    uint64_t again_ms; /* not to be connected before */
    struct frames frames;
};

static void drop(struct leader_link *self)
{
    bool was_open = self->is_open;

    self->is_open = false;
    secure_close(&self->secure);
    frames_done(&self->frames);
    if (was_open) {
        self->events->on_lost(self->ctx);
    }
}

static void on_open(void *ctx, struct secure *secure)
{
    struct leader_link *self = ctx;
    struct certificate_claims claims;

    if (!coordinator_check_peer(self->coordinator, secure_ssl(secure), &claims) ||
        !secure_speaks(secure, SECURE_ALPN_JOIN)) {
        log_warn("who answers at the address of the leader is no coordinator");
        drop(self);
        return;
    }
    self->is_open = true;
    self->events->on_open(self->ctx);
}

static void take_answer(struct leader_link *self, const Lb__Join__Forwarded *answer)
{
    struct decision decision = {
        .outcome = (enum register_outcome)answer->outcome,
        .err = (lb_err)answer->err,
        .number = answer->number,
        .serial = answer->serial,
        .issued_s = answer->issued_s,
        .not_after_s = answer->not_after_s,
        .coordinator = answer->coordinator,
        .index = answer->index,
    };
    enum proposal verdict = answer->decided     ? PROPOSAL_APPLIED
                            : answer->uncertain ? PROPOSAL_LOST
                                                : PROPOSAL_ELSEWHERE;

    if (answer->outcome < REGISTER_DONE || answer->outcome > REGISTER_REFUSED || answer->err < 0 ||
        answer->err > LB_INTERNAL ||
        (answer->node_id.len != 0 && answer->node_id.len != NODE_ID_SIZE)) {
        return; /* its time will be over */
    }
    if (answer->node_id.len == NODE_ID_SIZE) {
        decision.node = node_id_from(answer->node_id.data);
    }
    snprintf(decision.reason, sizeof decision.reason, "%s", answer->reason);
    self->events->on_answer(self->ctx, answer->tag, verdict, &decision);
}

static void on_data(void *ctx, struct secure *secure, struct bytes data)
{
    struct leader_link *self = ctx;
    struct bytes frame;
    lb_err err = LB_OK;

    (void)secure;
    frames_add(&self->frames, data);
    while (self->secure != NULL && (err = frames_next(&self->frames, &frame)) == LB_OK) {
        struct join_message message;
        const Lb__Join__Reply *reply =
            join_message_unpack(&message, &lb__join__reply__descriptor, frame);

        if (reply != NULL && reply->body_case == LB__JOIN__REPLY__BODY_FORWARDED) {
            take_answer(self, reply->forwarded);
        }
        join_message_done(&message);
    }
    if (err == LB_TOO_BIG) {
        drop(self);
    }
}

static void on_end(void *ctx, struct secure *secure, const char *why)
{
    (void)secure;
    log_debug("connection to the leader: %s", why);
    drop(ctx);
}

static const struct secure_events events = {
    .on_open = on_open,
    .on_data = on_data,
    .on_end = on_end,
};

void leader_link_follow(struct leader_link *self, bool is_wanted, uint64_t now_ms)
{
    const struct coordinator *coordinator = self->coordinator;
    uint64_t leader = coordinator->group != NULL ? group_leader(coordinator->group) : 0;
    const char *address;

    if (self->secure != NULL && self->number != leader) {
        drop(self);
    }
    if (!is_wanted || leader == 0 || self->secure != NULL || now_ms < self->again_ms) {
        return;
    }
    address = coordinator_address_of(coordinator, leader);
    if (address == NULL) {
        return;
    }
    self->number = leader;
    self->again_ms = now_ms + LEADER_LINK_RETRY_MS;
    self->secure = secure_connect(actor_loop(coordinator->actor), address, coordinator->asking,
                                  SECURE_ALPN_JOIN, &events, self);
}

bool leader_link_is_open(const struct leader_link *self)
{
    return self->is_open;
}

void leader_link_send(struct leader_link *self, uint64_t tag, struct bytes command)
{
    Lb__Join__Forward forward = LB__JOIN__FORWARD__INIT;
    Lb__Join__Request request = LB__JOIN__REQUEST__INIT;

    forward.tag = tag;
    forward.command = (ProtobufCBinaryData){ command.size, (uint8_t *)command.data };
    request.body_case = LB__JOIN__REQUEST__BODY_FORWARD;
    request.forward = &forward;
    join_message_send(self->secure, &request.base);
}

struct leader_link *leader_link_new(struct coordinator *coordinator,
                                    const struct leader_link_events *link_events, void *ctx)
{
    struct leader_link *self = xcalloc(1, sizeof *self);

    self->coordinator = coordinator;
    self->events = link_events;
    self->ctx = ctx;
    frames_init(&self->frames, COORDINATOR_REPLY_MAX);
    return self;
}

void leader_link_free(struct leader_link **self)
{
    if (*self != NULL) {
        secure_close(&(*self)->secure);
        frames_done(&(*self)->frames);
        free(*self);
        *self = NULL;
    }
}
