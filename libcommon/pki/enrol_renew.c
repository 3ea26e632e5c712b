/* What a member asks: a new certificate, and news. */
#include "libcommon/clock.h"
#include "libcommon/pki/enrol_inside.h"
#include "libcommon/pki/membership.h"
#include "libcommon/stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a member has, loaded for one errand, so that it can run on any thread. */
static lb_err load(const struct enrol_place *place, struct enrol_report *report,
                   struct membership **ret_membership)
{
    struct membership_problem problem;
    struct identity identity;
    struct enrol_user user;
    struct stored file;
    lb_err err = stored_read(place->identity_file, IDENTITY_FILE_MAX, STORED_TRUSTED, &file);

    if (err != LB_OK) {
        return enrol_say_file(report, err, place->identity_file);
    }
    err = identity_parse(bytes_of(file.data, file.size), &identity);
    stored_free(&file);
    if (err == LB_OK) {
        err = enrol_enter(place, &user);
    }
    if (err != LB_OK) {
        return enrol_say_file(report, err, place->identity_file);
    }
    err =
        membership_load(place->member_folder, &identity, clock_wall_s(), ret_membership, &problem);
    enrol_leave(&user);
    if (err == LB_OK) {
        key_fingerprint(membership_key(*ret_membership), report->fingerprint);
        return LB_OK;
    }
    return enrol_say(report, err, problem.text);
}

static void ask_as(struct enrol_errand *self, const struct membership *membership)
{
    const char *const *addresses;
    size_t count = membership_coordinators(membership, &addresses);

    self->options.cancel_fd = self->limits->cancel_fd;
    self->options.denied = membership_denied(membership);
    self->options.root = membership_root(membership);
    self->options.key = membership_key(membership);
    self->options.leaf = membership_leaf(membership);
    self->options.intermediate = membership_intermediate(membership);
    self->options.clock_slack_s = CERTIFICATE_CLOCK_OFF_S;
    memcpy(self->options.network, membership_identity(membership)->network, NETWORK_ID_SIZE);
    for (size_t i = 0; i < count; i++) {
        enrol_add_address(self, addresses[i], ENROL_COORDINATORS_MAX);
    }
    self->own_count = self->addresses_count;
}

static lb_err keep_renewed(const struct enrol_place *place, const struct membership *membership,
                           const Lb__Join__Admitted *message, const struct enrol_admitted *admitted)
{
    struct enrol_user user;
    lb_err err = enrol_enter(place, &user);

    if (err != LB_OK) {
        return err;
    }
    err = enrol_put_certificate(place, admitted);
    if (err == LB_OK) {
        err = enrol_put_coordinators(place, message->coordinators, message->n_coordinators);
    }
    if (err == LB_OK) {
        err = enrol_put_intermediates(place, membership, admitted->root, message->intermediates,
                                      message->n_intermediates,
                                      message->now_s != 0 ? message->now_s : clock_wall_s());
    }
    if (err == LB_OK && admitted->denied) {
        err = enrol_put_denied(place, bytes_of(message->denied.data, message->denied.len),
                               admitted->denied, membership_denied(membership));
    }
    if (err == LB_OK) {
        err = membership_put_reached(place->member_folder, clock_wall_s());
    }
    enrol_leave(&user);
    return err;
}

static lb_err take_renewed(const struct enrol_place *place, const struct membership *membership,
                           const Lb__Join__Admitted *message, struct enrol_report *report)
{
    const struct identity *identity = membership_identity(membership);
    struct enrol_admitted admitted;
    lb_err err;

    enrol_note_clock(report, message->now_s);
    if (enrol_verify(message, membership_key(membership), identity->network, &admitted) != LB_OK) {
        return enrol_say(
            report, LB_CORRUPT,
            "what the coordinator sent is no certificate of this network for this node");
    }
    if (!node_id_equal(&admitted.claims.node, &identity->node)) {
        err = enrol_say(report, LB_CORRUPT, "the coordinator sent the certificate of another node");
    } else {
        err = enrol_say_file(report, keep_renewed(place, membership, message, &admitted),
                             place->member_folder);
    }
    enrol_admitted_done(&admitted);
    return err;
}

static lb_err take_news(const struct enrol_place *place, const struct membership *membership,
                        const Lb__Join__News *news, struct enrol_report *report)
{
    struct bytes data = bytes_of(news->denied.data, news->denied.len);
    uint64_t now_s = news->now_s != 0 ? news->now_s : clock_wall_s();
    struct deny_list *denied = NULL;
    struct enrol_user user;
    lb_err err;

    enrol_note_clock(report, news->now_s);
    if (data.size > 0 &&
        deny_list_parse(data, membership_root(membership), now_s, &denied) != LB_OK) {
        return enrol_say(report, LB_CORRUPT,
                         "the coordinator sent a deny list that does not count");
    }
    err = enrol_enter(place, &user);
    if (err == LB_OK) {
        err = enrol_put_coordinators(place, news->coordinators, news->n_coordinators);
        if (err == LB_OK) {
            err = enrol_put_intermediates(place, membership, membership_root(membership),
                                          news->intermediates, news->n_intermediates, now_s);
        }
        if (err == LB_OK && denied) {
            err = enrol_put_denied(place, data, denied, membership_denied(membership));
        }
        if (err == LB_OK) {
            err = membership_put_reached(place->member_folder, clock_wall_s());
        }
        enrol_leave(&user);
    }
    deny_list_free(&denied);
    return enrol_say_file(report, err, place->member_folder);
}

static lb_err take_reply(const struct enrol_place *place, const struct membership *membership,
                         const Lb__Join__Request *request, const Lb__Join__Reply *reply,
                         struct enrol_report *report)
{
    bool is_renewal = request->body_case == LB__JOIN__REQUEST__BODY_RENEW;

    if (reply->body_case == LB__JOIN__REPLY__BODY_REFUSED) {
        return enrol_say_refused(report, reply->refused);
    }
    if (is_renewal && reply->body_case == LB__JOIN__REPLY__BODY_ADMITTED) {
        return take_renewed(place, membership, reply->admitted, report);
    }
    if (!is_renewal && reply->body_case == LB__JOIN__REPLY__BODY_NEWS) {
        return take_news(place, membership, reply->news, report);
    }
    return enrol_say(report, LB_CORRUPT, "the coordinator answered something else");
}

static lb_err run_errand(const struct enrol_place *place, const struct enrol_limits *limits,
                         const struct membership *membership, const Lb__Join__Request *request,
                         struct enrol_report *report)
{
    struct enrol_errand errand = { .limits = limits, .report = report, .request = request };
    Lb__Join__Reply *reply = NULL;
    lb_err err;

    ask_as(&errand, membership);
    err = enrol_ask(&errand, 0, &reply);
    if (err == LB_OK) {
        err = take_reply(place, membership, request, reply, report);
        lb__join__reply__free_unpacked(reply, NULL);
    }
    if (err == LB_OK) {
        report->text[0] = '\0';
    }
    return err;
}

lb_err enrol_renew(const struct enrol_place *place, const struct enrol_limits *limits,
                   struct enrol_report *ret_report)
{
    Lb__Join__Request request = LB__JOIN__REQUEST__INIT;
    Lb__Join__Renew renew = LB__JOIN__RENEW__INIT;
    uint8_t der[CERTIFICATE_REQUEST_MAX];
    struct membership *membership = NULL;
    size_t size = 0;
    lb_err err;

    *ret_report = (struct enrol_report){ .text = "" };
    err = load(place, ret_report, &membership);
    if (err != LB_OK) {
        return err;
    }
    err = certificate_request_make(membership_key(membership), der, &size);
    if (err == LB_OK) {
        renew.request = enrol_binary(der, size);
        renew.now_s = clock_wall_s();
        request.body_case = LB__JOIN__REQUEST__BODY_RENEW;
        request.renew = &renew;
        err = run_errand(place, limits, membership, &request, ret_report);
    }
    membership_free(&membership);
    return err;
}

lb_err enrol_get_news(const struct enrol_place *place, const struct enrol_limits *limits,
                      struct enrol_report *ret_report)
{
    Lb__Join__Request request = LB__JOIN__REQUEST__INIT;
    Lb__Join__GetNews get_news = LB__JOIN__GET_NEWS__INIT;
    struct membership *membership = NULL;
    lb_err err;

    *ret_report = (struct enrol_report){ .text = "" };
    err = load(place, ret_report, &membership);
    if (err != LB_OK) {
        return err;
    }
    get_news.deny_number = deny_list_number(membership_denied(membership));
    request.body_case = LB__JOIN__REQUEST__BODY_GET_NEWS;
    request.get_news = &get_news;
    err = run_errand(place, limits, membership, &request, ret_report);
    membership_free(&membership);
    return err;
}
