#include "libcommon/pki/enrol.h"

#include "libcommon/clock.h"
#include "libcommon/pki/enrol_inside.h"
#include "libcommon/stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS    30000u /* so long none may be reachable, or without a majority */
#define ASK_AGAIN_MIN  1u     /* s */
#define ASK_AGAIN_MAX  60u    /* s */
#define HOST_NAME_SIZE 65
#define MS_PER_S       1000u

static lb_err is_member_already(const struct enrol_place *place, struct enrol_report *report)
{
    struct identity identity = { .network_name = "" };
    struct stored file;
    lb_err err = stored_read(place->identity_file, IDENTITY_FILE_MAX, STORED_TRUSTED, &file);

    if (err == LB_NOT_FOUND) {
        return LB_OK;
    }
    if (err == LB_OK) {
        err = identity_parse(bytes_of(file.data, file.size), &identity);
        stored_free(&file);
    }
    if (err == LB_OK) {
        snprintf(report->text, sizeof(report->text), "this node is a member of \"%s\" already",
                 identity.network_name);
        return LB_EXISTS;
    }
    snprintf(report->text, sizeof(report->text), "%s: %s", place->identity_file, lb_err_text(err));
    return err;
}

static void keep_bootstrap(struct enrol_report *report, const Lb__Join__Admitted *admitted)
{
    report->bootstrap_count = 0;
    for (size_t i = 0; i < admitted->n_bootstrap && i < ENROL_BOOTSTRAP_MAX; i++) {
        if (enrol_is_address(admitted->bootstrap[i])) {
            snprintf(report->bootstrap[report->bootstrap_count++], JOIN_ADDRESS_SIZE, "%s",
                     admitted->bootstrap[i]);
        }
    }
}

/* By the coordinator's clock, if it said what that is. */
static uint64_t now_of(const Lb__Join__Admitted *message)
{
    return message->now_s != 0 ? message->now_s : clock_wall_s();
}

/* The identity last of all. */
static lb_err keep_joined(const struct enrol_place *place, const Lb__Join__Admitted *message,
                          const struct enrol_admitted *admitted, struct enrol_report *report)
{
    struct enrol_user user;
    lb_err err = enrol_enter(place, &user);

    if (err != LB_OK) {
        return enrol_say_file(report, err, place->member_folder);
    }
    err = enrol_put_root(place, admitted);
    if (err == LB_OK) {
        err = enrol_put_certificate(place, admitted);
    }
    if (err == LB_OK) {
        err = enrol_put_coordinators(place, message->coordinators, message->n_coordinators);
    }
    if (err == LB_OK) {
        err = enrol_put_intermediates(place, NULL, admitted->root, message->intermediates,
                                      message->n_intermediates, now_of(message));
    }
    if (err == LB_OK && admitted->denied) {
        err = enrol_put_denied(place, bytes_of(message->denied.data, message->denied.len),
                               admitted->denied, NULL);
    }
    enrol_leave(&user);
    if (err != LB_OK) {
        return enrol_say_file(report, err, place->member_folder);
    }
    err = enrol_put_bootstrap(place, report);
    if (err == LB_OK) {
        err = enrol_put_identity(place, admitted, message->network_name);
    }
    return enrol_say_file(report, err, place->identity_file);
}

static lb_err take_joined(const struct enrol_place *place, const struct enrol_joining *joining,
                          EVP_PKEY *key, const Lb__Join__Admitted *message,
                          struct enrol_report *report)
{
    struct enrol_admitted admitted;
    lb_err err;

    enrol_note_clock(report, message->now_s);
    keep_bootstrap(report, message);
    if (enrol_verify(message, key, joining->token.network, &admitted) != LB_OK) {
        return enrol_say(
            report, LB_CORRUPT,
            "what the coordinator sent is no certificate of this network for this node");
    }
    err = keep_joined(place, message, &admitted, report);
    enrol_admitted_done(&admitted);
    return err;
}

static unsigned clamp_ask_again(uint32_t ask_again_s)
{
    return ask_again_s < ASK_AGAIN_MIN   ? ASK_AGAIN_MIN
           : ask_again_s > ASK_AGAIN_MAX ? ASK_AGAIN_MAX
                                         : ask_again_s;
}

/* It waits for approval: ask again, until the deadline. */
static lb_err wait_for_approval(struct enrol_errand *self, const struct enrol_joining *joining,
                                const Lb__Join__Pending *pending)
{
    unsigned ask_again_s = clamp_ask_again(pending->ask_again_s);
    lb_err err;

    if (joining->on_pending) {
        joining->on_pending(joining->ctx, self->report->fingerprint, ask_again_s);
    }
    err = enrol_pause(self, ask_again_s * MS_PER_S);
    if (err == LB_TIMEOUT) {
        snprintf(self->report->text, sizeof(self->report->text),
                 "it waits for an operator's approval (key %s); join again with the same token",
                 self->report->fingerprint);
    }
    return err;
}

static lb_err join_with(struct enrol_errand *self, const struct enrol_place *place,
                        const struct enrol_joining *joining, EVP_PKEY *key)
{
    for (;;) {
        Lb__Join__Reply *reply = NULL;
        lb_err err = enrol_ask(self, PATIENCE_MS, &reply);
        bool again = false;

        if (err != LB_OK) {
            return err;
        }
        switch (reply->body_case) {
        case LB__JOIN__REPLY__BODY_ADMITTED:
            err = take_joined(place, joining, key, reply->admitted, self->report);
            break;
        case LB__JOIN__REPLY__BODY_PENDING:
            err = wait_for_approval(self, joining, reply->pending);
            again = err == LB_OK;
            break;
        case LB__JOIN__REPLY__BODY_REFUSED:
            err = enrol_say_refused(self->report, reply->refused);
            break;
        default:
            err = enrol_say(self->report, LB_CORRUPT, "the coordinator answered something else");
            break;
        }
        lb__join__reply__free_unpacked(reply, NULL);
        if (!again) {
            return err;
        }
    }
}

static lb_err own_key(const struct enrol_place *place, struct enrol_report *report,
                      EVP_PKEY **ret_key)
{
    struct enrol_user user;
    lb_err err = enrol_enter(place, &user);

    if (err == LB_OK) {
        err = enrol_own_key(place, ret_key);
        enrol_leave(&user);
    }
    if (err == LB_OK) {
        key_fingerprint(*ret_key, report->fingerprint);
    }
    return enrol_say_file(report, err, place->member_folder);
}

static lb_err join_as(const struct enrol_place *place, const struct enrol_joining *joining,
                      const struct enrol_limits *limits, EVP_PKEY *key, struct enrol_report *report)
{
    struct enrol_errand errand = {
        .limits = limits, .report = report, .on_waiting = joining->on_waiting, .ctx = joining->ctx
    };
    Lb__Join__Request request = LB__JOIN__REQUEST__INIT;
    Lb__Join__Join join = LB__JOIN__JOIN__INIT;
    uint8_t der[CERTIFICATE_REQUEST_MAX];
    char host_name[HOST_NAME_SIZE];
    size_t size;
    lb_err err = certificate_request_make(key, der, &size);

    if (err != LB_OK) {
        return enrol_say(report, err, "cannot make a signing request");
    }
    snprintf(host_name, sizeof(host_name), "%s", joining->host_name ? joining->host_name : "");
    join.invite = enrol_binary(joining->token.invite, JOIN_INVITE_SIZE);
    join.secret = enrol_binary(joining->token.secret, JOIN_SECRET_SIZE);
    join.request = enrol_binary(der, size);
    join.host_name = host_name;
    join.now_s = clock_wall_s();
    request.body_case = LB__JOIN__REQUEST__BODY_JOIN;
    request.join = &join;
    errand.request = &request;
    errand.options.cancel_fd = limits->cancel_fd;
    memcpy(errand.options.network, joining->token.network, NETWORK_ID_SIZE);
    for (size_t i = 0; i < joining->token.addresses_count; i++) {
        enrol_add_address(&errand, joining->token.addresses[i], ENROL_COORDINATORS_MAX);
    }
    errand.own_count = errand.addresses_count;
    return join_with(&errand, place, joining, key);
}

lb_err enrol_join(const struct enrol_place *place, const struct enrol_joining *joining,
                  const struct enrol_limits *limits, struct enrol_report *ret_report)
{
    EVP_PKEY *key = NULL;
    lb_err err;

    *ret_report = (struct enrol_report){ .text = "" };
    err = is_member_already(place, ret_report);
    if (err == LB_OK) {
        err = own_key(place, ret_report, &key);
    }
    if (err == LB_OK) {
        err = join_as(place, joining, limits, key, ret_report);
        key_free(&key);
    }
    if (err == LB_OK) {
        ret_report->text[0] = '\0';
    }
    return err;
}
