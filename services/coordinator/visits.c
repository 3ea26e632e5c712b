#include "services/coordinator/visits.h"

#include "libcommon/clock.h"
#include "libcommon/config.h"
#include "libcommon/crypto.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/pki/join_token.h"
#include "services/coordinator/frames.h"
#include "services/coordinator/host_port.h"
#include "services/coordinator/inside.h"
#include "services/coordinator/join_message.h"
#include "services/coordinator/visits_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_AGAIN_S    5u
#define UNREAD_MAX     (64u * 1024)  /* bytes of answers; and one more, which may be a deny list */
#define FORWARDS_MAX   PROPOSALS_MAX /* of one coordinator at once */
#define BOOTSTRAP_MAX  16u
#define HOST_PORT_SIZE 280

/* ---- who asks ---- */

/* See visits_inside.h. */
enum certificate_refusal visit_who_asks(const struct visit *self,
                                        struct certificate_claims *ret_claims, bool *ret_late)
{
    const struct membership *own = self->coordinator->own;
    SSL *ssl = secure_ssl(self->secure);
    uint64_t now_s = clock_wall_s(), from_s, until_s;
    enum certificate_refusal refusal = membership_check_peer(own, ssl, now_s, ret_claims);

    *ret_late = refusal == REFUSED_EXPIRED;
    if (*ret_late &&
        certificate_dates(SSL_get0_peer_certificate(ssl), &from_s, &until_s) == LB_OK &&
        now_s - until_s < CERTIFICATE_RENEW_LATE_S) {
        /* As it was in its last second: what it was made by counted then. */
        refusal = membership_check_peer(own, ssl, until_s - 1, ret_claims);
    }
    return refusal;
}

/* ---- answers ---- */

static void pump(struct visit *self);

static struct asked *asked_new(struct visit *visit)
{
    struct asked *self = xcalloc(1, sizeof *self);

    self->visit = visit;
    self->coordinator = visit->coordinator;
    self->next = visit->asked;
    self->self = &visit->asked;
    if (visit->asked != NULL) {
        visit->asked->self = &self->next;
    }
    visit->asked = self;
    visit->asked_count++;
    return self;
}

static void unlink_asked(struct asked *self)
{
    *self->self = self->next;
    if (self->next != NULL) {
        self->next->self = self->self;
    }
    self->visit->asked_count--;
    self->visit = NULL;
}

static void send_reply(struct visit *visit, const Lb__Join__Reply *reply)
{
    visit->since_ms = actor_now_ms(visit->coordinator->actor);
    join_message_send(visit->secure, &reply->base);
}

/* Answered; and the next request of the visit, if it is there already. */
void asked_answer(struct asked *self, const Lb__Join__Reply *reply)
{
    struct visit *visit = self->visit;

    if (visit != NULL) {
        unlink_asked(self);
        send_reply(visit, reply);
        pump(visit);
    }
    free(self);
}

void asked_refuse(struct asked *self, lb_err err, const char *reason)
{
    Lb__Join__Refused refused = LB__JOIN__REFUSED__INIT;
    Lb__Join__Reply reply = LB__JOIN__REPLY__INIT;

    status_counter_add(self->coordinator->refused, 1);
    refused.err = (int32_t)err;
    refused.reason = (char *)reason;
    refused.now_s = clock_wall_s();
    reply.body_case = LB__JOIN__REPLY__BODY_REFUSED;
    reply.refused = &refused;
    asked_answer(self, &reply);
}

void asked_answer_pending(struct asked *self, const uint8_t key_digest[32])
{
    Lb__Join__Pending pending = LB__JOIN__PENDING__INIT;
    Lb__Join__Reply reply = LB__JOIN__REPLY__INIT;
    char fingerprint[KEY_FINGERPRINT_SIZE];

    key_fingerprint_of(key_digest, fingerprint);
    pending.fingerprint = fingerprint;
    pending.ask_again_s = ASK_AGAIN_S;
    reply.body_case = LB__JOIN__REPLY__BODY_PENDING;
    reply.pending = &pending;
    asked_answer(self, &reply);
}

/* ---- what everybody is told ---- */

struct told {
    char *coordinators[REGISTER_SERVERS_MAX];
    ProtobufCBinaryData intermediates[REGISTER_SERVERS_MAX];
    size_t coordinators_count; /* and intermediates */
    char bootstrap_text[REGISTER_SERVERS_MAX][HOST_PORT_SIZE];
    char *bootstrap[BOOTSTRAP_MAX];
    size_t bootstrap_count;
};

/* Where the DHT is to be found: at the coordinators' own nodes, and where ours has looked. */
static void tell(const struct coordinator *coordinator, struct told *ret_told)
{
    const struct config *config = actor_config(coordinator->actor);
    const struct register_server *servers;
    size_t count = register_servers(coordinator->reg, &servers);

    *ret_told = (struct told){ 0 };
    for (size_t i = 0; i < count; i++) {
        char host[REGISTER_ADDRESS_SIZE], port[HOST_PORT_PORT_SIZE];
        char *text = ret_told->bootstrap_text[i];

        ret_told->intermediates[ret_told->coordinators_count] =
            (ProtobufCBinaryData){ servers[i].intermediate_size,
                                   (uint8_t *)servers[i].intermediate };
        ret_told->coordinators[ret_told->coordinators_count++] = (char *)servers[i].address;
        if (servers[i].node_port != 0 &&
            host_port_split(servers[i].address, host, sizeof host, port)) {
            snprintf(text, HOST_PORT_SIZE, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host,
                     servers[i].node_port);
            ret_told->bootstrap[ret_told->bootstrap_count++] = text;
        }
    }
    for (size_t i = 0; i < config_list_count(config, CONFIG_BOOTSTRAP) &&
                       ret_told->bootstrap_count < BOOTSTRAP_MAX;
         i++) {
        ret_told->bootstrap[ret_told->bootstrap_count++] =
            (char *)config_list_item(config, CONFIG_BOOTSTRAP, i);
    }
}

static ProtobufCBinaryData denied_of(const struct coordinator *coordinator, uint64_t than)
{
    if (coordinator->denied == NULL || coordinator->denied_number <= than) {
        return (ProtobufCBinaryData){ 0, NULL };
    }
    return (ProtobufCBinaryData){ coordinator->denied_size, coordinator->denied };
}

/* ---- certificates ---- */

static void on_issued(void *ctx, const struct issued *issued)
{
    struct asked *self = ctx;
    struct coordinator *coordinator = self->coordinator;
    Lb__Join__Admitted admitted = LB__JOIN__ADMITTED__INIT;
    Lb__Join__Reply reply = LB__JOIN__REPLY__INIT;
    uint8_t root[CERTIFICATE_DER_MAX];
    struct told told;

    if (issued->err != LB_OK ||
        certificate_to_der(membership_root(coordinator->own), root, &admitted.root.len) != LB_OK) {
        asked_refuse(self, issued->err != LB_OK ? issued->err : LB_INTERNAL,
                     issued->reason != NULL ? issued->reason : "the certificate could not be made");
        return;
    }
    tell(coordinator, &told);
    admitted.leaf = (ProtobufCBinaryData){ issued->leaf.size, (uint8_t *)issued->leaf.data };
    admitted.intermediate =
        (ProtobufCBinaryData){ coordinator->intermediate_size, coordinator->intermediate };
    admitted.root.data = root;
    admitted.network_name = coordinator->identity.network_name;
    admitted.coordinators = told.coordinators;
    admitted.n_coordinators = told.coordinators_count;
    admitted.intermediates = told.intermediates;
    admitted.n_intermediates = told.coordinators_count;
    admitted.bootstrap = told.bootstrap;
    admitted.n_bootstrap = told.bootstrap_count;
    admitted.denied = denied_of(coordinator, 0);
    admitted.now_s = clock_wall_s();
    reply.body_case = LB__JOIN__REPLY__BODY_ADMITTED;
    reply.admitted = &admitted;
    asked_answer(self, &reply);
}

static void on_decided(void *ctx, const struct decision *decision)
{
    struct asked *self = ctx;

    switch (decision->outcome) {
    case REGISTER_ADMITTED:
        issue_leaf(self->coordinator, bytes_of(self->key, sizeof self->key), decision, on_issued,
                   self);
        break;
    case REGISTER_WAITS:
        asked_answer_pending(self, self->key_digest);
        break;
    default:
        asked_refuse(self, decision->err != LB_OK ? decision->err : LB_INTERNAL, decision->reason);
        break;
    }
}

/* The key of a signing request, into asked. */
bool asked_take_key(struct asked *self, const ProtobufCBinaryData *request)
{
    EVP_PKEY *key;

    if (request->len > CERTIFICATE_REQUEST_MAX ||
        certificate_request_parse(bytes_of(request->data, request->len), &key) != LB_OK) {
        return false;
    }
    key_public(key, self->key);
    key_digest(key, self->key_digest);
    key_free(&key);
    return true;
}

static void set_key(const struct asked *self, struct register_command *command)
{
    command->key.size = sizeof self->key;
    memcpy(command->key.data, self->key, sizeof self->key);
    memcpy(command->key_digest, self->key_digest, sizeof command->key_digest);
}

/* What a person reads in a list: no control characters, of whatever encoding. */
static void set_host(struct register_command *command, const char *host_name)
{
    snprintf(command->host_name, sizeof command->host_name, "%s", host_name);
    for (char *at = command->host_name; *at != '\0'; at++) {
        *at = (unsigned char)*at < 0x20 || (unsigned char)*at >= 0x7f ? '?' : *at;
    }
}

/* ---- requests ---- */

static bool is_clock_wrong(struct asked *self, uint64_t theirs_s, int64_t most_s)
{
    int64_t skew_s = coordinator_skew_s(clock_wall_s(), theirs_s);
    char reason[160];

    if (skew_s <= most_s && skew_s >= -most_s) {
        return false;
    }
    snprintf(reason, sizeof reason,
             "your clock is %" PRId64 " s %s the coordinator's: set it, and ask again",
             skew_s > 0 ? skew_s : -skew_s, skew_s > 0 ? "behind" : "ahead of");
    asked_refuse(self, LB_CONFLICT, reason);
    return true;
}

/* Before a token is used up for nothing. */
static bool cannot_sign(struct asked *self)
{
    const char *reason;

    if (issue_can(self->coordinator, clock_wall_s(), &reason)) {
        return false;
    }
    asked_refuse(self, LB_UNAVAILABLE, reason);
    return true;
}

static void on_join(struct asked *self, const Lb__Join__Join *join)
{
    struct register_command command = { .verb = VERB_JOIN, .now_s = clock_wall_s() };

    status_counter_add(self->coordinator->joins, 1);
    if (join->invite.len != JOIN_INVITE_SIZE || join->secret.len != JOIN_SECRET_SIZE ||
        !asked_take_key(self, &join->request)) {
        asked_refuse(self, LB_INVALID, "no token, or no signing request for a key of P-256");
        return;
    }
    if (cannot_sign(self) || is_clock_wrong(self, join->now_s, CERTIFICATE_BACKDATE_S)) {
        return;
    }
    memcpy(command.invite, join->invite.data, sizeof command.invite);
    sha256(bytes_of(join->secret.data, join->secret.len), command.secret);
    clock_entropy_bytes(command.node.bytes, sizeof command.node.bytes);
    command.not_after_s = issue_not_after(self->coordinator, command.now_s);
    set_key(self, &command);
    set_host(&command, join->host_name);
    proposals_make(self->coordinator->proposals, &command, COORDINATOR_LATE_MS, on_decided, self);
}

void asked_refuse_certificate(struct asked *self, enum certificate_refusal refusal)
{
    char reason[160];

    snprintf(reason, sizeof reason, "%s (%s)",
             refusal == REFUSED_REVOKED ? "this node was revoked"
             : refusal == REFUSED_EXPIRED
                 ? "the certificate ended more than 90 days ago: join again"
                 : "your certificate does not count here",
             certificate_refusal_text(refusal));
    asked_refuse(self, LB_DENIED, reason);
}

static void on_renew(struct asked *self, const Lb__Join__Renew *renew)
{
    struct register_command command = { .verb = VERB_RENEW, .now_s = clock_wall_s() };
    struct certificate_claims claims;
    enum certificate_refusal refusal;
    X509 *shown = SSL_get0_peer_certificate(secure_ssl(self->visit->secure));
    uint8_t digest[32];
    bool late;

    refusal = visit_who_asks(self->visit, &claims, &late);
    if (refusal != REFUSED_NOT &&
        !coordinator_is_issuer_denied(self->coordinator, shown, refusal, &claims)) {
        asked_refuse_certificate(self, refusal);
        return;
    }
    key_digest(X509_get0_pubkey(shown), digest);
    if (!asked_take_key(self, &renew->request) ||
        memcmp(digest, self->key_digest, sizeof digest) != 0) {
        asked_refuse(self, LB_DENIED, "a certificate is renewed for its own key only");
        return;
    }
    if (cannot_sign(self) || is_clock_wrong(self, renew->now_s, CERTIFICATE_CLOCK_OFF_S)) {
        return;
    }
    command.node = claims.node;
    memcpy(command.key_digest, digest, sizeof command.key_digest);
    command.not_after_s = issue_not_after(self->coordinator, command.now_s);
    proposals_make(self->coordinator->proposals, &command, COORDINATOR_LATE_MS, on_decided, self);
}

static void on_get_news(struct asked *self, const Lb__Join__GetNews *asks)
{
    Lb__Join__News news = LB__JOIN__NEWS__INIT;
    Lb__Join__Reply reply = LB__JOIN__REPLY__INIT;
    struct certificate_claims claims;
    enum certificate_refusal refusal;
    struct told told;
    bool late;

    refusal = visit_who_asks(self->visit, &claims, &late);
    if (refusal != REFUSED_NOT) {
        asked_refuse_certificate(self, refusal);
        return;
    }
    tell(self->coordinator, &told);
    news.denied = denied_of(self->coordinator, asks->deny_number);
    news.coordinators = told.coordinators;
    news.n_coordinators = told.coordinators_count;
    news.intermediates = told.intermediates;
    news.n_intermediates = told.coordinators_count;
    news.now_s = clock_wall_s();
    reply.body_case = LB__JOIN__REPLY__BODY_NEWS;
    reply.news = &news;
    asked_answer(self, &reply);
}

/* ---- the stream ---- */

static void take_request(struct visit *self, const Lb__Join__Request *request)
{
    struct asked *asked = asked_new(self);

    status_counter_add(self->coordinator->requests_tls, 1);
    switch (request->body_case) {
    case LB__JOIN__REQUEST__BODY_JOIN:
        on_join(asked, request->join);
        break;
    case LB__JOIN__REQUEST__BODY_RENEW:
        on_renew(asked, request->renew);
        break;
    case LB__JOIN__REQUEST__BODY_GET_NEWS:
        on_get_news(asked, request->get_news);
        break;
    case LB__JOIN__REQUEST__BODY_FORWARD:
        asked_forward(asked, request->forward);
        break;
    case LB__JOIN__REQUEST__BODY_ENLIST:
        asked_enlist(asked, request->enlist);
        break;
    default:
        asked_refuse(asked, LB_UNSUPPORTED, "this coordinator does not know that request");
        break;
    }
}

static void gone(struct visit *self)
{
    void (*on_gone)(void *ctx) = self->on_gone;
    void *ctx = self->ctx;

    visit_end(&self);
    on_gone(ctx);
}

/*
 * One at a time, but for coordinators, whose requests do not wait for each other; and none while
 * the answers before are not read: they may be as large as a deny list.
 */
static bool takes_more(const struct visit *self)
{
    return !secure_is_busy(self->secure) &&
           (self->asked_count == 0 ||
            (self->asked->is_forward && self->asked_count < FORWARDS_MAX));
}

/* A request that is answered at once comes back here: the loop below goes on. */
static void pump(struct visit *self)
{
    struct bytes frame;
    lb_err err = LB_OK;

    if (self->is_reading) {
        return;
    }
    self->is_reading = true;
    while (takes_more(self) && (err = frames_next(&self->frames, &frame)) == LB_OK) {
        struct join_message message;
        const Lb__Join__Request *request =
            join_message_unpack(&message, &lb__join__request__descriptor, frame);

        if (request != NULL) {
            take_request(self, request);
        }
        join_message_done(&message);
        if (request == NULL) {
            err = LB_INVALID;
            break;
        }
    }
    self->is_reading = false;
    if (err == LB_INVALID || err == LB_TOO_BIG) {
        log_debug("a visitor sent what is no request");
        gone(self);
        return;
    }
    secure_pause(self->secure, !takes_more(self)); /* more may come at once, and end the visit */
}

static void on_data(void *ctx, struct secure *secure, struct bytes data)
{
    struct visit *self = ctx;

    (void)secure;
    frames_add(&self->frames, data);
    pump(self);
}

static void on_calm(void *ctx, struct secure *secure)
{
    (void)secure;
    pump(ctx);
}

static void on_end(void *ctx, struct secure *secure, const char *why)
{
    (void)secure;
    (void)why;
    gone(ctx);
}

static const struct secure_events events = {
    .on_data = on_data,
    .on_calm = on_calm,
    .on_end = on_end,
};

struct visit *visit_new(struct coordinator *coordinator, struct secure **secure,
                        void (*on_gone)(void *ctx), void *ctx)
{
    struct visit *self = xcalloc(1, sizeof *self);

    self->coordinator = coordinator;
    self->secure = *secure;
    *secure = NULL;
    self->on_gone = on_gone;
    self->ctx = ctx;
    self->since_ms = actor_now_ms(coordinator->actor);
    frames_init(&self->frames, COORDINATOR_ASKED_MAX);
    secure_set_high(self->secure, UNREAD_MAX);
    secure_give(self->secure, &events, self);
    return self;
}

void visit_end(struct visit **self)
{
    if (*self == NULL) {
        return;
    }
    while ((*self)->asked != NULL) {
        unlink_asked((*self)->asked);
    }
    secure_close(&(*self)->secure);
    frames_done(&(*self)->frames);
    free(*self);
    *self = NULL;
}

uint64_t visit_idle_since_ms(const struct visit *self)
{
    return self->asked_count > 0 ? UINT64_MAX : self->since_ms;
}
