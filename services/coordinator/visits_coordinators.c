/* What coordinators, and who would be one, ask on a visit. */
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "services/coordinator/host_port.h"
#include "services/coordinator/visits_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- a coordinator-to-be ---- */

static void answer_enlisted(struct asked *self)
{
    Lb__Join__Server rows[REGISTER_SERVERS_MAX], *pointers[REGISTER_SERVERS_MAX];
    Lb__Join__Enlisted enlisted = LB__JOIN__ENLISTED__INIT;
    Lb__Join__Reply reply = LB__JOIN__REPLY__INIT;
    const struct register_server *servers;
    size_t count = register_servers(self->coordinator->reg, &servers);
    const struct register_server *own = register_server(self->coordinator->reg, &self->node);

    if (own == NULL) { /* the leader knows, and we shall soon */
        asked_answer_pending(self, self->key_digest);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        lb__join__server__init(&rows[i]);
        rows[i].server = servers[i].number;
        rows[i].address = (char *)servers[i].address;
        rows[i].node_id = (ProtobufCBinaryData){ NODE_ID_SIZE, (uint8_t *)servers[i].node.bytes };
        rows[i].voter = true;
        pointers[i] = &rows[i];
    }
    enlisted.intermediate =
        (ProtobufCBinaryData){ own->intermediate_size, (uint8_t *)own->intermediate };
    enlisted.server = own->number;
    enlisted.servers = pointers;
    enlisted.n_servers = count;
    reply.body_case = LB__JOIN__REPLY__BODY_ENLISTED;
    reply.enlisted = &enlisted;
    asked_answer(self, &reply);
}

static void on_offered(void *ctx, const struct decision *decision)
{
    struct asked *self = ctx;

    switch (decision->outcome) {
    case REGISTER_DONE:
        answer_enlisted(self);
        break;
    case REGISTER_WAITS:
        asked_answer_pending(self, self->key_digest);
        break;
    default:
        asked_refuse(self, decision->err != LB_OK ? decision->err : LB_INTERNAL, decision->reason);
        break;
    }
}

void asked_enlist(struct asked *self, const Lb__Join__Enlist *enlist)
{
    struct register_command command = { .verb = VERB_OFFER, .now_s = clock_wall_s() };
    struct certificate_claims claims;
    enum certificate_refusal refusal;
    char host[REGISTER_ADDRESS_SIZE], port[HOST_PORT_PORT_SIZE];
    bool late;

    refusal = visit_who_asks(self->visit, &claims, &late);
    if (refusal != REFUSED_NOT) {
        asked_refuse_certificate(self, refusal);
        return;
    }
    if (!asked_take_key(self, &enlist->request) ||
        strlen(enlist->address) >= REGISTER_ADDRESS_SIZE || enlist->node_port > UINT16_MAX ||
        !host_port_split(enlist->address, host, sizeof host, port)) {
        asked_refuse(self, LB_INVALID, "an offer has an address HOST:PORT and a signing request");
        return;
    }
    self->node = command.node = claims.node;
    snprintf(command.address, sizeof command.address, "%s", enlist->address);
    command.node_port = (uint16_t)enlist->node_port;
    command.request = bytes_of(enlist->request.data, enlist->request.len);
    proposals_make(self->coordinator->proposals, &command, COORDINATOR_LATE_MS, on_offered, self);
}

/* ---- another coordinator ---- */

static void on_forward_decided(void *ctx, enum proposal verdict, const struct decision *decision)
{
    struct asked *self = ctx;
    struct group_view view;
    Lb__Join__Forwarded forwarded = LB__JOIN__FORWARDED__INIT;
    Lb__Join__Reply reply = LB__JOIN__REPLY__INIT;

    forwarded.tag = self->tag;
    forwarded.uncertain = verdict == PROPOSAL_LOST;
    forwarded.decided = verdict == PROPOSAL_APPLIED || verdict == PROPOSAL_NO_SPACE;
    forwarded.outcome = (int32_t)decision->outcome;
    forwarded.err = (int32_t)decision->err;
    forwarded.reason = (char *)decision->reason;
    if (verdict == PROPOSAL_NO_SPACE) {
        forwarded.outcome = REGISTER_REFUSED;
        forwarded.err = LB_NO_SPACE;
        forwarded.reason = (char *)"the disk of the coordinator that leads is full: nothing was "
                                   "changed";
    }
    forwarded.node_id = (ProtobufCBinaryData){ NODE_ID_SIZE, (uint8_t *)decision->node.bytes };
    forwarded.number = decision->number;
    forwarded.serial = decision->serial;
    forwarded.issued_s = decision->issued_s;
    forwarded.not_after_s = decision->not_after_s;
    forwarded.coordinator = decision->coordinator;
    if (self->coordinator->group != NULL) {
        group_look(self->coordinator->group, &view);
        forwarded.index = view.last_index;
    }
    reply.body_case = LB__JOIN__REPLY__BODY_FORWARDED;
    reply.forwarded = &forwarded;
    asked_answer(self, &reply);
}

void asked_forward(struct asked *self, const Lb__Join__Forward *forward)
{
    struct bytes command = bytes_of(forward->command.data, forward->command.len);
    struct register_command parsed;
    struct certificate_claims claims;
    struct decision no = { .outcome = REGISTER_REFUSED, .err = LB_DENIED };
    int64_t skew_s;

    self->is_forward = true;
    self->tag = forward->tag;
    if (!coordinator_check_peer(self->coordinator, secure_ssl(self->visit->secure), &claims) ||
        !register_is_coordinator(self->coordinator->reg, &claims.node)) {
        snprintf(no.reason, sizeof no.reason, "only a coordinator's commands are taken");
        on_forward_decided(self, PROPOSAL_APPLIED, &no);
        return;
    }
    if (register_command_parse(command, &parsed) != LB_OK) {
        no.err = LB_INVALID;
        on_forward_decided(self, PROPOSAL_APPLIED, &no);
        return;
    }
    skew_s = coordinator_skew_s(clock_wall_s(), parsed.now_s);
    if (skew_s > COORDINATOR_SKEW_S || skew_s < -(int64_t)COORDINATOR_SKEW_S) {
        no.err = LB_CONFLICT;
        snprintf(no.reason, sizeof no.reason,
                 "the clocks of two coordinators differ by %" PRId64 " s: set them", skew_s);
        log_warn("%s", no.reason);
        on_forward_decided(self, PROPOSAL_APPLIED, &no);
        return;
    }
    proposals_decide(self->coordinator, command, on_forward_decided, self);
}
