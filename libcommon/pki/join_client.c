#include "libcommon/pki/join_client.h"

#include "libcommon/clock.h"
#include "libcommon/memory.h"
#include "libcommon/pki/join_stream.h"
#include "libcommon/pki/membership.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_HEAD 4 /* a u32, big endian */

/* One conversation. */
struct talk {
    const struct join_client_options *options;
    const char *address;
    struct join_client_problem *problem;
    struct join_stream *stream;
    SSL *ssl;
    enum certificate_refusal refusal; /* of the other end; REFUSED_NOT */
    bool is_of_other_network;
    bool is_no_coordinator;
};

/* ---- who is there ---- */

static bool is_root_of(X509 *certificate, const uint8_t network[NETWORK_ID_SIZE])
{
    const EVP_PKEY *key = X509_get0_pubkey(certificate);
    uint8_t digest[NETWORK_ID_SIZE];

    if (!key) {
        return false;
    }
    key_digest(key, digest);
    return memcmp(digest, network, NETWORK_ID_SIZE) == 0;
}

/* The root whose key we know by its digest: ours, or among what was sent. */
static X509 *find_root(const struct join_client_options *options, STACK_OF(X509) * sent)
{
    if (options->root) {
        return options->root;
    }
    for (int i = 0; i < sk_X509_num(sent); i++) {
        if (is_root_of(sk_X509_value(sent, i), options->network)) {
            return sk_X509_value(sent, i);
        }
    }
    return NULL;
}

/* Now; for who allows for a wrong clock the nearest moment at which the certificate counts. */
static uint64_t moment_for(const struct join_client_options *options, const X509 *leaf)
{
    uint64_t now_s = clock_wall_s();
    uint64_t before_s, after_s;

    if (certificate_dates(leaf, &before_s, &after_s) != LB_OK) {
        return now_s;
    }
    if (now_s < before_s && before_s - now_s <= options->clock_slack_s) {
        return before_s;
    }
    return now_s >= after_s && now_s - after_s <= options->clock_slack_s ? after_s - 1 : now_s;
}

/* Called by OpenSSL inside the handshake, in place of its own verification. */
static int check_coordinator(X509_STORE_CTX *context, void *argument)
{
    struct talk *self = argument;
    X509 *leaf = X509_STORE_CTX_get0_cert(context);
    STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(context);
    X509 *root = find_root(self->options, sent);
    struct certificate_claims claims;

    X509_STORE_CTX_set_error(context, X509_V_ERR_APPLICATION_VERIFICATION);
    if (!root) {
        self->is_of_other_network = true;
        return 0;
    }
    self->refusal = certificate_verify(leaf, sent, root, self->options->denied,
                                       moment_for(self->options, leaf), &claims);
    if (self->refusal != REFUSED_NOT) {
        return 0;
    }
    if (claims.role != CERTIFICATE_COORDINATOR) {
        self->is_no_coordinator = true;
        return 0;
    }
    X509_STORE_CTX_set_error(context, X509_V_OK);
    return 1;
}

/* ---- words for a person ---- */

static lb_err say(struct talk *self, lb_err err, const char *what)
{
    snprintf(self->problem->text, sizeof(self->problem->text), "%s: %s", self->address, what);
    return err;
}

static lb_err say_who(struct talk *self)
{
    char text[256];

    if (self->is_of_other_network || self->refusal == REFUSED_OTHER_CA) {
        return say(self, LB_DENIED,
                   "who answers there is not of this network (its root's key is another); it was "
                   "told nothing");
    }
    if (self->is_no_coordinator) {
        return say(self, LB_DENIED,
                   "who answers there is a member of this network, not a coordinator; it was told "
                   "nothing");
    }
    if (self->refusal == REFUSED_EXPIRED || self->refusal == REFUSED_NOT_YET_VALID) {
        return say(self, LB_DENIED,
                   self->refusal == REFUSED_EXPIRED
                       ? "the coordinator's certificate has expired: is the clock here ahead?"
                       : "the coordinator's certificate is not valid yet: is the clock here "
                         "behind?");
    }
    snprintf(text, sizeof(text),
             "the coordinator's certificate does not count (%s); it was told "
             "nothing",
             certificate_refusal_text(self->refusal));
    return say(self, LB_DENIED, text);
}

static lb_err say_stream(struct talk *self, lb_err err)
{
    switch (err) {
    case LB_TIMEOUT:
        return say(self, err, "no answer in time");
    case LB_CANCELLED:
        return say(self, err, "stopped");
    case LB_INVALID:
        return say(self, err, "no address: HOST:PORT is wanted");
    default:
        return say(self, err, join_stream_problem(self->stream));
    }
}

/* ---- the handshake ---- */

static void must(bool done)
{
    if (!done) {
        abort(); /* memory is gone, or the library is broken */
    }
}

static SSL_CTX *make_context(struct talk *self)
{
    static const uint8_t alpn[] = "\x09" JOIN_ALPN;
    const struct join_client_options *options = self->options;
    SSL_CTX *context = membership_joiner_context(TLS_client_method());

    must(SSL_CTX_set_alpn_protos(context, alpn, sizeof(alpn) - 1) == 0);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(context, check_coordinator, self);
    if (options->leaf) {
        must(SSL_CTX_use_certificate(context, options->leaf) == 1 &&
             SSL_CTX_use_PrivateKey(context, options->key) == 1 &&
             SSL_CTX_add1_chain_cert(context, options->intermediate) == 1);
    }
    return context;
}

/* What an SSL_...() that returned `result` waits for; LB_OK: do it again. */
static lb_err wait_for_more(struct talk *self, int result)
{
    switch (SSL_get_error(self->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return join_stream_wait(self->stream, false);
    case SSL_ERROR_WANT_WRITE:
        return join_stream_wait(self->stream, true);
    default:
        return LB_UNAVAILABLE;
    }
}

/* The alerts by which the other end refuses a certificate (RFC 8446, 6.2). */
static bool is_about_certificate(int alert)
{
    switch (alert) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_HANDSHAKE_FAILURE:
        return true;
    default:
        return false;
    }
}

/* A refusal by the other end comes as an alert, sometimes only when we first read. */
static lb_err say_ended(struct talk *self)
{
    unsigned long error = ERR_peek_last_error();
    int reason = ERR_GET_REASON(error);
    bool is_alert = ERR_GET_LIB(error) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET;
    int alert = is_alert ? reason - SSL_AD_REASON_OFFSET : -1;

    ERR_clear_error();
    if (alert == SSL_AD_NO_APPLICATION_PROTOCOL) {
        return say(self, LB_DENIED, "it speaks TLS, but is no coordinator; it was told nothing");
    }
    if (is_about_certificate(alert) && self->options->leaf) {
        return say(self, LB_DENIED,
                   "the coordinator does not take this node's certificate: the network has put it "
                   "out, or it ended more than 90 days ago");
    }
    return say(self, LB_UNAVAILABLE, "the connection ended before there was an answer");
}

static bool agreed_on_alpn(const SSL *ssl)
{
    const uint8_t *chosen;
    unsigned size;

    SSL_get0_alpn_selected(ssl, &chosen, &size);
    return bytes_equal_text(bytes_of(chosen, size), JOIN_ALPN);
}

static lb_err shake_hands(struct talk *self)
{
    int result;

    while ((result = SSL_connect(self->ssl)) != 1) {
        lb_err err = wait_for_more(self, result);

        if (self->is_of_other_network || self->is_no_coordinator || self->refusal != REFUSED_NOT) {
            ERR_clear_error();
            return say_who(self);
        }
        if (err == LB_UNAVAILABLE) {
            return say_ended(self);
        }
        if (err != LB_OK) {
            return say_stream(self, err);
        }
    }
    return agreed_on_alpn(self->ssl)
               ? LB_OK
               : say(self, LB_DENIED, "it speaks TLS, but is no coordinator; it was told nothing");
}

/* ---- question and answer ---- */

static lb_err send_all(struct talk *self, const uint8_t *data, size_t size)
{
    size_t sent = 0;

    while (sent < size) {
        size_t more = 0;
        int result = SSL_write_ex(self->ssl, data + sent, size - sent, &more);
        lb_err err = result == 1 ? LB_OK : wait_for_more(self, result);

        if (err == LB_UNAVAILABLE) {
            return say_ended(self);
        }
        if (err != LB_OK) {
            return say_stream(self, err);
        }
        sent += more;
    }
    return LB_OK;
}

static lb_err receive_all(struct talk *self, uint8_t *data, size_t size)
{
    size_t got = 0;

    while (got < size) {
        size_t more = 0;
        int result = SSL_read_ex(self->ssl, data + got, size - got, &more);
        lb_err err = result == 1 ? LB_OK : wait_for_more(self, result);

        if (err == LB_UNAVAILABLE) {
            return say_ended(self);
        }
        if (err != LB_OK) {
            return say_stream(self, err);
        }
        got += more;
    }
    return LB_OK;
}

static lb_err send_request(struct talk *self, const Lb__Join__Request *request)
{
    size_t size = lb__join__request__get_packed_size(request);
    uint8_t *frame;
    lb_err err;

    if (size > JOIN_REQUEST_MAX) {
        return say(self, LB_INVALID, "the request is too big");
    }
    frame = xmalloc(FRAME_HEAD + size);
    store_u32(frame, (uint32_t)size);
    lb__join__request__pack(request, frame + FRAME_HEAD);
    err = send_all(self, frame, FRAME_HEAD + size);
    OPENSSL_cleanse(frame, FRAME_HEAD + size); /* it may carry the secret */
    free(frame);
    return err;
}

static lb_err receive_reply(struct talk *self, Lb__Join__Reply **ret_reply)
{
    uint8_t head[FRAME_HEAD];
    uint8_t *body;
    uint32_t size;
    lb_err err = receive_all(self, head, sizeof(head));

    if (err != LB_OK) {
        return err;
    }
    size = load_u32(head);
    if (size == 0 || size > JOIN_REPLY_MAX) {
        return say(self, LB_CORRUPT, "what the coordinator answered is no reply");
    }
    body = xmalloc(size);
    err = receive_all(self, body, size);
    if (err == LB_OK) {
        *ret_reply = lb__join__reply__unpack(NULL, size, body);
        if (!*ret_reply) {
            err = say(self, LB_CORRUPT, "what the coordinator answered is no reply");
        }
    }
    free(body);
    return err;
}

static lb_err converse(struct talk *self, const Lb__Join__Request *request,
                       Lb__Join__Reply **ret_reply)
{
    Lb__Join__Reply *reply = NULL;
    lb_err err = shake_hands(self);

    if (err == LB_OK) {
        err = send_request(self, request);
    }
    if (err == LB_OK) {
        err = receive_reply(self, &reply);
    }
    if (err == LB_OK) {
        *ret_reply = reply;
        (void)SSL_shutdown(self->ssl);
    }
    ERR_clear_error();
    return err;
}

lb_err join_client_ask(const struct join_client_options *options, const char *address,
                       const Lb__Join__Request *request, Lb__Join__Reply **ret_reply,
                       struct join_client_problem *ret_problem)
{
    const struct join_stream_limits limits = { .connect_ms = JOIN_CONNECT_MS,
                                               .deadline_ms = options->deadline_ms,
                                               .cancel_fd = options->cancel_fd };
    struct talk self = {
        .options = options, .address = address, .problem = ret_problem, .refusal = REFUSED_NOT
    };
    SSL_CTX *context;
    lb_err err;

    ret_problem->text[0] = '\0';
    self.stream = join_stream_new(&limits);
    err = join_stream_connect(self.stream, address);
    if (err != LB_OK) {
        err = say_stream(&self, err);
        join_stream_free(&self.stream);
        return err;
    }
    context = make_context(&self);
    self.ssl = SSL_new(context);
    must(self.ssl != NULL);
    join_stream_attach(self.stream, self.ssl);
    err = converse(&self, request, ret_reply);
    SSL_free(self.ssl);
    SSL_CTX_free(context);
    join_stream_free(&self.stream);
    return err;
}
