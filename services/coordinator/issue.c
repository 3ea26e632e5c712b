/* Certificates and deny lists: what the register has decided, signed by lb-signer. */
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/pki/deny_list.h"
#include "proto/member.pb-c.h"
#include "proto/signer.pb-c.h"
#include "services/coordinator/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIGN_MS        5000u
#define RENEW_RETRY_S  10u
#define SWEEP_S        600u
#define ALARM_A_MINUTE 10u /* certificates: THREATS 2.18 */

/* ---- the signer's key ---- */

static bool take_key(struct coordinator *self, const Lb__Signer__Key *key)
{
    X509 *intermediate;
    bool taken = false;

    if (key->request.len > sizeof self->request ||
        key->intermediate.len > sizeof self->intermediate) {
        return false;
    }
    memcpy(self->request, key->request.data, key->request.len);
    self->request_size = key->request.len;
    if (key->intermediate.len > 0 &&
        certificate_from_der(bytes_of(key->intermediate.data, key->intermediate.len),
                             &intermediate) == LB_OK) {
        taken = certificate_dates(intermediate, &self->intermediate_from_s,
                                  &self->intermediate_until_s) == LB_OK;
        X509_free(intermediate);
    }
    if (taken && self->sets_intermediate) {
        log_info("lb-signer has another intermediate now");
    }
    if (taken) {
        memcpy(self->intermediate, key->intermediate.data, key->intermediate.len);
        self->intermediate_size = key->intermediate.len;
    }
    return true;
}

static void on_key(void *ctx, lb_err err, const char *reason, const void *reply)
{
    struct coordinator *self = ctx;
    const Lb__Signer__Reply *answer = reply;

    if (err == LB_OK && answer->body_case == LB__SIGNER__REPLY__BODY_KEY) {
        (void)take_key(self, answer->key);
    } else if (self->sets_intermediate) {
        self->set_again_s = clock_wall_s() + RENEW_RETRY_S;
        log_warn("lb-signer does not take its new intermediate: %s", reason);
    } else {
        log_debug("lb-signer: %s", reason);
    }
    self->asks_key = false;
    self->sets_intermediate = false;
}

static void ask_key(struct coordinator *self)
{
    Lb__Signer__GetKey body = LB__SIGNER__GET_KEY__INIT;
    Lb__Signer__Request request = LB__SIGNER__REQUEST__INIT;

    request.body_case = LB__SIGNER__REQUEST__BODY_GET_KEY;
    request.get_key = &body;
    self->asks_key = true;
    link_call(self->signer, &request.base, SIGN_MS, on_key, self);
}

void issue_set_intermediate(struct coordinator *self, struct bytes der)
{
    Lb__Signer__SetIntermediate body = LB__SIGNER__SET_INTERMEDIATE__INIT;
    Lb__Signer__Request request = LB__SIGNER__REQUEST__INIT;

    body.intermediate = (ProtobufCBinaryData){ der.size, (uint8_t *)der.data };
    request.body_case = LB__SIGNER__REQUEST__BODY_SET_INTERMEDIATE;
    request.set_intermediate = &body;
    self->sets_intermediate = true;
    link_call(self->signer, &request.base, SIGN_MS, on_key, self);
}

/* The register may have another for us: the operator has signed anew. */
static void follow_intermediate(struct coordinator *self, uint64_t now_s)
{
    const struct register_server *own = register_server(self->reg, &self->identity.node);

    if (own == NULL || self->sets_intermediate || self->intermediate_size == 0 ||
        now_s < self->set_again_s ||
        bytes_equal(bytes_of(own->intermediate, own->intermediate_size),
                    bytes_of(self->intermediate, self->intermediate_size))) {
        return;
    }
    issue_set_intermediate(self, bytes_of(own->intermediate, own->intermediate_size));
}

/* ---- leaves ---- */

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

bool issue_can(const struct coordinator *self, uint64_t now_s, const char **ret_reason)
{
    if (self->group == NULL) {
        *ret_reason = "this coordinator is not of the group yet";
        return false;
    }
    if (self->intermediate_size == 0) {
        *ret_reason = "this coordinator cannot sign now: its lb-signer does not answer";
        return false;
    }
    if (now_s >= self->intermediate_until_s) {
        *ret_reason = "this coordinator's certificate has ended: its operator has to sign "
                      "another (lb-admin coordinator renew); ask another coordinator";
        return false;
    }
    return true;
}

uint64_t issue_not_after(const struct coordinator *self, uint64_t now_s)
{
    return smaller(now_s + CERTIFICATE_LEAF_S, self->intermediate_until_s);
}

/* A class may join at once: it is said, not refused. */
static void count_certificate(struct coordinator *self, uint64_t now_s)
{
    status_counter_add(self->certificates, 1);
    if (now_s >= self->minute_s + 60) {
        self->minute_s = now_s;
        self->minute_count = 0;
        self->minute_said = false;
    }
    self->minute_count++;
    if (self->minute_count > ALARM_A_MINUTE && !self->minute_said) {
        self->minute_said = true;
        log_warn("more than %u certificates in a minute: is a class joining?", ALARM_A_MINUTE);
    }
}

struct issuing {
    struct coordinator *coordinator;
    issued_fn *issued;
    void *ctx;
};

static void on_signed(void *ctx, lb_err err, const char *reason, const void *reply)
{
    struct issuing *it = ctx;
    const Lb__Signer__Reply *answer = reply;
    struct issued issued = { .err = err, .reason = reason };

    if (err == LB_OK && answer->body_case != LB__SIGNER__REPLY__BODY_SIGNED) {
        issued.err = LB_INTERNAL;
    } else if (err == LB_OK) {
        issued.leaf = bytes_of(answer->signed_->data.data, answer->signed_->data.len);
        count_certificate(it->coordinator, clock_wall_s());
    } else {
        log_warn("lb-signer has not signed: %s", reason);
    }
    it->issued(it->ctx, &issued);
    free(it);
}

void issue_leaf(struct coordinator *self, struct bytes public_key, const struct decision *decision,
                issued_fn *issued, void *ctx)
{
    Lb__Signer__SignLeaf order = LB__SIGNER__SIGN_LEAF__INIT;
    Lb__Signer__Request request = LB__SIGNER__REQUEST__INIT;
    struct issuing *it = xcalloc(1, sizeof *it);
    uint64_t from_s = decision->issued_s - CERTIFICATE_BACKDATE_S;

    *it = (struct issuing){ self, issued, ctx };
    order.public_key = (ProtobufCBinaryData){ public_key.size, (uint8_t *)public_key.data };
    order.node_id = (ProtobufCBinaryData){ NODE_ID_SIZE, (uint8_t *)decision->node.bytes };
    order.serial = decision->serial;
    /* Decided through another coordinator, whose intermediate may count longer than ours. */
    order.not_before_s = from_s > self->intermediate_from_s ? from_s : self->intermediate_from_s;
    order.not_after_s = smaller(decision->not_after_s, self->intermediate_until_s);
    order.coordinator = decision->coordinator;
    request.body_case = LB__SIGNER__REQUEST__BODY_SIGN_LEAF;
    request.sign_leaf = &order;
    link_call(self->signer, &request.base, SIGN_MS, on_signed, it);
}

/* ---- our own ---- */

static void on_own_issued(void *ctx, const struct issued *issued)
{
    struct coordinator *self = ctx;

    self->renews = false;
    if (issued->err != LB_OK) {
        return;
    }
    if (coordinator_take_leaf(self, issued->leaf,
                              bytes_of(self->intermediate, self->intermediate_size)) != LB_OK) {
        log_error("our own new certificate could not be written to %s", self->own_folder);
    }
}

static void on_own_decided(void *ctx, const struct decision *decision)
{
    struct coordinator *self = ctx;
    uint8_t key[KEY_PUBLIC_SIZE];

    if (decision->outcome != REGISTER_ADMITTED) {
        self->renews = false;
        log_warn("our own certificate was not renewed: %s", decision->reason);
        return;
    }
    key_public(membership_key(self->own), key);
    issue_leaf(self, bytes_of(key, sizeof key), decision, on_own_issued, self);
}

/* At two thirds of its life; or when the role that stands in it is not ours any more, or who has
 * signed it is no coordinator. */
static void renew_own(struct coordinator *self, uint64_t now_s)
{
    const struct certificate_claims *claims = membership_claims(self->own);
    struct register_command command = { .verb = VERB_RENEW, .now_s = now_s };
    uint64_t due_s = claims->not_before_s + (claims->not_after_s - claims->not_before_s) / 3 * 2;
    bool is_coordinator = register_is_coordinator(self->reg, &self->identity.node);
    bool is_void = deny_list_has_key(membership_denied(self->own), claims->issuer) ||
                   (is_coordinator && register_is_former(self->reg, claims->issuer));
    const char *reason;

    if (self->renews || now_s < self->renew_again_s || !issue_can(self, now_s, &reason) ||
        (now_s < due_s && !is_void &&
         (claims->role == CERTIFICATE_COORDINATOR) == is_coordinator)) {
        return;
    }
    self->renews = true;
    self->renew_again_s = now_s + RENEW_RETRY_S;
    command.node = self->identity.node;
    key_digest(membership_key(self->own), command.key_digest);
    command.not_after_s = issue_not_after(self, now_s);
    proposals_make(self->proposals, &command, COORDINATOR_LATE_MS, on_own_decided, self);
}

/* ---- the deny list ---- */

static void take_denied(struct coordinator *self, struct bytes data, uint64_t number)
{
    lb_err err = membership_put_file(self->own_folder, "denied", data, 0644);

    if (err != LB_OK) {
        log_error("%s/denied: %s", self->own_folder, lb_err_text(err));
    }
    free(self->denied);
    self->denied = xmemdup(data.data, data.size);
    self->denied_size = data.size;
    self->denied_number = number;
    (void)membership_refresh(self->own, clock_wall_s());
    (void)raft_wire_check_all(self->wire);
    log_info("deny list %llu signed", (unsigned long long)number);
}

static void on_deny_list(void *ctx, lb_err err, const char *reason, const void *reply)
{
    struct coordinator *self = ctx;
    const Lb__Signer__Reply *answer = reply;

    self->makes_denied = false;
    if (err != LB_OK) {
        log_warn("the deny list was not signed: %s", reason);
    } else if (answer->body_case == LB__SIGNER__REPLY__BODY_SIGNED &&
               answer->signed_->data.len > 0) {
        take_denied(self, bytes_of(answer->signed_->data.data, answer->signed_->data.len),
                    self->making_denied);
    }
}

static void make_denied(struct coordinator *self)
{
    static struct register_denied denied[REGISTER_DENIED_MAX];
    static Lb__Signer__DenyRow rows[REGISTER_DENIED_MAX];
    static Lb__Signer__DenyRow *pointers[REGISTER_DENIED_MAX];
    Lb__Signer__SignDenyList order = LB__SIGNER__SIGN_DENY_LIST__INIT;
    Lb__Signer__Request request = LB__SIGNER__REQUEST__INIT;
    size_t count = register_denied(self->reg, denied);

    for (size_t i = 0; i < count; i++) {
        lb__signer__deny_row__init(&rows[i]);
        rows[i].node_id = (ProtobufCBinaryData){ NODE_ID_SIZE, denied[i].node.bytes };
        rows[i].until_s = denied[i].until_s;
        pointers[i] = &rows[i];
    }
    order.number = self->making_denied = register_deny_number(self->reg);
    order.made_s = register_deny_made_s(self->reg);
    order.rows = pointers;
    order.n_rows = count;
    request.body_case = LB__SIGNER__REQUEST__BODY_SIGN_DENY_LIST;
    request.sign_deny_list = &order;
    self->makes_denied = true;
    link_call(self->signer, &request.base, SIGN_MS, on_deny_list, self);
}

static void on_told(void *ctx, lb_err err, const char *reason, const void *reply)
{
    struct coordinator *self = ctx;

    (void)reply;
    self->tells_denied = false;
    if (err == LB_OK) {
        self->denied_told = self->telling_denied;
    } else if (err != LB_UNAVAILABLE && err != LB_TIMEOUT && err != LB_CANCELLED) {
        log_warn("lb-member does not take deny list %llu: %s",
                 (unsigned long long)self->telling_denied, reason);
        self->denied_told = self->telling_denied;
    }
}

/* Our own lb-member spreads it. */
static void tell_denied(struct coordinator *self)
{
    Lb__Member__NewDenied body = LB__MEMBER__NEW_DENIED__INIT;
    Lb__Member__Request request = LB__MEMBER__REQUEST__INIT;

    body.denied = (ProtobufCBinaryData){ self->denied_size, self->denied };
    request.body_case = LB__MEMBER__REQUEST__BODY_NEW_DENIED;
    request.new_denied = &body;
    self->tells_denied = true;
    self->telling_denied = self->denied_number;
    link_call(self->member, &request.base, SIGN_MS, on_told, self);
}

/* ---- now and then ---- */

static void on_swept(void *ctx, const struct decision *decision)
{
    (void)ctx;
    (void)decision;
}

static void sweep(struct coordinator *self, uint64_t now_s)
{
    struct register_command command = { .verb = VERB_SWEEP, .now_s = now_s };

    if (now_s < self->sweep_again_s || self->group == NULL || !group_is_fresh(self->group)) {
        return;
    }
    self->sweep_again_s = now_s + SWEEP_S;
    if (register_wants_sweep(self->reg, now_s)) {
        proposals_make(self->proposals, &command, COORDINATOR_LATE_MS, on_swept, self);
    }
}

void issue_tick(struct coordinator *self, uint64_t now_s)
{
    if (self->intermediate_size == 0 && !self->asks_key) {
        ask_key(self);
    }
    if (self->group == NULL || !register_is_founded(self->reg)) {
        return;
    }
    follow_intermediate(self, now_s);
    if (register_deny_number(self->reg) > self->denied_number && !self->makes_denied &&
        self->intermediate_size > 0 && !self->sets_intermediate) {
        make_denied(self);
    }
    if (self->denied_number > self->denied_told && !self->tells_denied) {
        tell_denied(self);
    }
    renew_own(self, now_s);
    sweep(self, now_s);
}
