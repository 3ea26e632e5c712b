#include "libcommon/pki/enrol.h"

#include "libcommon/clock.h"
#include "libcommon/memory.h"
#include "libcommon/pki/enrol_inside.h"
#include "libcommon/pki/join_client.h"
#include "libcommon/pki/membership.h"
#include "libcommon/stored.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS      15000u /* for one coordinator to answer: a group may be choosing a leader */
#define RETRY_MS       1000u  /* between two rounds over all of them */
#define PATIENCE_MS    30000u /* so long none may be reachable, or without a majority */
#define ASK_AGAIN_MIN  1u     /* s */
#define ASK_AGAIN_MAX  60u    /* s */
#define HINTS_MAX      4u     /* leaders named by others, in one round */
#define HOST_NAME_SIZE 65
#define MS_PER_S       1000u

/* One errand to the coordinators. */
struct errand {
    const struct enrol_limits *limits;
    struct enrol_report *report;
    struct join_client_options options;
    const Lb__Join__Request *request;
    char addresses[ENROL_COORDINATORS_MAX + HINTS_MAX][JOIN_ADDRESS_SIZE];
    size_t addresses_count, own_count; /* without hints */
    lb_err worst;                      /* of a round in which none answered */
};

/* ---- words ---- */

static lb_err say(struct enrol_report *report, lb_err err, const char *text)
{
    snprintf(report->text, sizeof(report->text), "%s", text);
    return err;
}

static lb_err say_file(struct enrol_report *report, lb_err err, const char *where)
{
    if (err != LB_OK) {
        snprintf(report->text, sizeof(report->text), "cannot keep what belongs to %s: %s", where,
                 lb_err_text(err));
    }
    return err;
}

static void note_clock(struct enrol_report *report, uint64_t now_s)
{
    if (now_s != 0) {
        report->has_skew = true;
        report->skew_s = (int64_t)clock_wall_s() - (int64_t)now_s;
    }
}

/* ---- asking them in turn ---- */

static void add_address(struct errand *self, const char *address, size_t max)
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
static void note_failure(struct errand *self, lb_err err, const char *text)
{
    if (self->worst == LB_OK || self->worst == LB_UNAVAILABLE || self->worst == LB_TIMEOUT) {
        self->worst = err;
        (void)say(self->report, err, text);
    }
}

/* True: this is the answer. A refusal that may pass, or names a leader, is none. */
static bool is_answer(struct errand *self, const Lb__Join__Reply *reply)
{
    const Lb__Join__Refused *refused = reply->refused;

    if (reply->body_case != LB__JOIN__REPLY__BODY_REFUSED) {
        return true;
    }
    note_clock(self->report, refused->now_s);
    if (refused->leader[0] != '\0') {
        add_address(self, refused->leader, self->own_count + HINTS_MAX);
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
static lb_err ask_round(struct errand *self, Lb__Join__Reply **ret_reply)
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
            return say(self->report, err, problem.text);
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
    return self->worst != LB_OK ? self->worst
                                : say(self->report, LB_UNAVAILABLE, "no coordinator is known");
}

static lb_err pause_ms(struct errand *self, uint64_t ms)
{
    struct pollfd cancel = { .fd = self->limits->cancel_fd, .events = POLLIN };
    uint64_t until_ms = earlier(clock_monotonic_ms() + ms, self->limits->deadline_ms);

    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();

        if (now_ms >= until_ms) {
            return now_ms >= self->limits->deadline_ms ? LB_TIMEOUT : LB_OK;
        }
        if (poll(&cancel, 1, (int)earlier(until_ms - now_ms, MS_PER_S)) > 0) {
            return say(self->report, LB_CANCELLED, "stopped");
        }
    }
}

/* Until one has answered: a group that is choosing a leader has one in a moment. */
static lb_err ask(struct errand *self, uint64_t patience_ms, Lb__Join__Reply **ret_reply)
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
        waited = pause_ms(self, RETRY_MS);
        if (waited == LB_CANCELLED) {
            return waited;
        }
    }
}

static lb_err say_refused(struct enrol_report *report, const Lb__Join__Refused *refused)
{
    note_clock(report, refused->now_s);
    snprintf(report->text, sizeof(report->text), "%s refused: %.200s", report->coordinator,
             refused->reason[0] != '\0' ? refused->reason : lb_err_text((lb_err)refused->err));
    return LB_DENIED;
}

/* ---- joining ---- */

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

/* The identity last of all. */
static lb_err keep_joined(const struct enrol_place *place, const Lb__Join__Admitted *message,
                          const struct enrol_admitted *admitted, struct enrol_report *report)
{
    struct enrol_user user;
    lb_err err = enrol_enter(place, &user);

    if (err != LB_OK) {
        return say_file(report, err, place->member_folder);
    }
    err = enrol_put_root(place, admitted);
    if (err == LB_OK) {
        err = enrol_put_certificate(place, admitted);
    }
    if (err == LB_OK) {
        err = enrol_put_coordinators(place, message->coordinators, message->n_coordinators);
    }
    if (err == LB_OK && admitted->denied) {
        err = enrol_put_denied(place, bytes_of(message->denied.data, message->denied.len),
                               admitted->denied, 0);
    }
    enrol_leave(&user);
    if (err != LB_OK) {
        return say_file(report, err, place->member_folder);
    }
    err = enrol_put_bootstrap(place, report);
    if (err == LB_OK) {
        err = enrol_put_identity(place, admitted, message->network_name);
    }
    return say_file(report, err, place->identity_file);
}

static lb_err take_joined(const struct enrol_place *place, const struct enrol_joining *joining,
                          EVP_PKEY *key, const Lb__Join__Admitted *message,
                          struct enrol_report *report)
{
    struct enrol_admitted admitted;
    lb_err err;

    note_clock(report, message->now_s);
    keep_bootstrap(report, message);
    if (enrol_verify(message, key, joining->token.network, &admitted) != LB_OK) {
        return say(report, LB_CORRUPT,
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
static lb_err wait_for_approval(struct errand *self, const struct enrol_joining *joining,
                                const Lb__Join__Pending *pending)
{
    unsigned ask_again_s = clamp_ask_again(pending->ask_again_s);
    lb_err err;

    if (joining->on_pending) {
        joining->on_pending(joining->ctx, self->report->fingerprint, ask_again_s);
    }
    err = pause_ms(self, ask_again_s * MS_PER_S);
    if (err == LB_TIMEOUT) {
        snprintf(self->report->text, sizeof(self->report->text),
                 "it waits for an operator's approval (key %s); join again with the same token",
                 self->report->fingerprint);
    }
    return err;
}

static lb_err join_with(struct errand *self, const struct enrol_place *place,
                        const struct enrol_joining *joining, EVP_PKEY *key)
{
    for (;;) {
        Lb__Join__Reply *reply = NULL;
        lb_err err = ask(self, PATIENCE_MS, &reply);
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
            err = say_refused(self->report, reply->refused);
            break;
        default:
            err = say(self->report, LB_CORRUPT, "the coordinator answered something else");
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
    return say_file(report, err, place->member_folder);
}

static ProtobufCBinaryData binary_of(const void *data, size_t size)
{
    return (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)data, .len = size };
}

static lb_err join_as(const struct enrol_place *place, const struct enrol_joining *joining,
                      const struct enrol_limits *limits, EVP_PKEY *key, struct enrol_report *report)
{
    struct errand errand = { .limits = limits, .report = report };
    Lb__Join__Request request = LB__JOIN__REQUEST__INIT;
    Lb__Join__Join join = LB__JOIN__JOIN__INIT;
    uint8_t der[CERTIFICATE_REQUEST_MAX];
    char host_name[HOST_NAME_SIZE];
    size_t size;
    lb_err err = certificate_request_make(key, der, &size);

    if (err != LB_OK) {
        return say(report, err, "cannot make a signing request");
    }
    snprintf(host_name, sizeof(host_name), "%s", joining->host_name ? joining->host_name : "");
    join.invite = binary_of(joining->token.invite, JOIN_INVITE_SIZE);
    join.secret = binary_of(joining->token.secret, JOIN_SECRET_SIZE);
    join.request = binary_of(der, size);
    join.host_name = host_name;
    join.now_s = clock_wall_s();
    request.body_case = LB__JOIN__REQUEST__BODY_JOIN;
    request.join = &join;
    errand.request = &request;
    errand.options.cancel_fd = limits->cancel_fd;
    memcpy(errand.options.network, joining->token.network, NETWORK_ID_SIZE);
    for (size_t i = 0; i < joining->token.addresses_count; i++) {
        add_address(&errand, joining->token.addresses[i], ENROL_COORDINATORS_MAX);
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

/* ---- as a member ---- */

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
        return say_file(report, err, place->identity_file);
    }
    err = identity_parse(bytes_of(file.data, file.size), &identity);
    stored_free(&file);
    if (err == LB_OK) {
        err = enrol_enter(place, &user);
    }
    if (err != LB_OK) {
        return say_file(report, err, place->identity_file);
    }
    err =
        membership_load(place->member_folder, &identity, clock_wall_s(), ret_membership, &problem);
    enrol_leave(&user);
    if (err == LB_OK) {
        key_fingerprint(membership_key(*ret_membership), report->fingerprint);
        return LB_OK;
    }
    return say(report, err, problem.text);
}

static void ask_as(struct errand *self, const struct membership *membership)
{
    const char *const *addresses;
    size_t count = membership_coordinators(membership, &addresses);

    self->options.cancel_fd = self->limits->cancel_fd;
    self->options.denied = membership_denied(membership);
    self->options.root = membership_root(membership);
    self->options.key = membership_key(membership);
    self->options.leaf = membership_leaf(membership);
    self->options.intermediate = membership_intermediate(membership);
    self->options.clock_slack_s = CERTIFICATE_RENEW_LATE_S;
    memcpy(self->options.network, membership_identity(membership)->network, NETWORK_ID_SIZE);
    for (size_t i = 0; i < count; i++) {
        add_address(self, addresses[i], ENROL_COORDINATORS_MAX);
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
    if (err == LB_OK && admitted->denied) {
        err = enrol_put_denied(place, bytes_of(message->denied.data, message->denied.len),
                               admitted->denied, deny_list_number(membership_denied(membership)));
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

    note_clock(report, message->now_s);
    if (enrol_verify(message, membership_key(membership), identity->network, &admitted) != LB_OK) {
        return say(report, LB_CORRUPT,
                   "what the coordinator sent is no certificate of this network for this node");
    }
    if (!node_id_equal(&admitted.claims.node, &identity->node)) {
        err = say(report, LB_CORRUPT, "the coordinator sent the certificate of another node");
    } else {
        err = say_file(report, keep_renewed(place, membership, message, &admitted),
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

    note_clock(report, news->now_s);
    if (data.size > 0 &&
        deny_list_parse(data, membership_root(membership), now_s, &denied) != LB_OK) {
        return say(report, LB_CORRUPT, "the coordinator sent a deny list that does not count");
    }
    err = enrol_enter(place, &user);
    if (err == LB_OK) {
        err = enrol_put_coordinators(place, news->coordinators, news->n_coordinators);
        if (err == LB_OK && denied) {
            err = enrol_put_denied(place, data, denied,
                                   deny_list_number(membership_denied(membership)));
        }
        enrol_leave(&user);
    }
    deny_list_free(&denied);
    return say_file(report, err, place->member_folder);
}

static lb_err take_reply(const struct enrol_place *place, const struct membership *membership,
                         const Lb__Join__Request *request, const Lb__Join__Reply *reply,
                         struct enrol_report *report)
{
    bool is_renewal = request->body_case == LB__JOIN__REQUEST__BODY_RENEW;

    if (reply->body_case == LB__JOIN__REPLY__BODY_REFUSED) {
        return say_refused(report, reply->refused);
    }
    if (is_renewal && reply->body_case == LB__JOIN__REPLY__BODY_ADMITTED) {
        return take_renewed(place, membership, reply->admitted, report);
    }
    if (!is_renewal && reply->body_case == LB__JOIN__REPLY__BODY_NEWS) {
        return take_news(place, membership, reply->news, report);
    }
    return say(report, LB_CORRUPT, "the coordinator answered something else");
}

static lb_err run_errand(const struct enrol_place *place, const struct enrol_limits *limits,
                         const struct membership *membership, const Lb__Join__Request *request,
                         struct enrol_report *report)
{
    struct errand errand = { .limits = limits, .report = report, .request = request };
    Lb__Join__Reply *reply = NULL;
    lb_err err;

    ask_as(&errand, membership);
    err = ask(&errand, 0, &reply);
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
        renew.request = binary_of(der, size);
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
