#include "libcommon/bytes.h"
#include "libcommon/clock.h"
#include "libcommon/memory.h"
#include "libcommon/node_id.h"
#include "libcommon/pki/membership.h"
#include "services/swarm/secure_inside.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

static int on_server_name(SSL *ssl, int *ret_alert, void *arg)
{
    struct secure_stream *self = SSL_get_app_data(ssl);
    const struct secure *owner = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (self->outgoing)
        return SSL_TLSEXT_ERR_OK;
    if (name != NULL && strlen(name) == HEX_SIZE - 1 &&
        hex_decode(name, self->infohash, sizeof self->infohash) == LB_OK &&
        owner->knows(owner->ctx, self->infohash))
        return SSL_TLSEXT_ERR_OK;
    secure_refuse(self, SECURE_REFUSED_UNKNOWN_TORRENT);
    *ret_alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void on_message(int writes, int version, int type, const void *data, size_t size, SSL *ssl,
                       void *arg)
{
    struct secure_stream *self = SSL_get_app_data(ssl);
    (void)version;
    (void)data;
    (void)size;
    (void)arg;
    self->extra += self->open && !writes && type == SSL3_RT_HANDSHAKE;
}

/* ---- life ---- */

lb_err secure_renew(struct secure *self)
{
    SSL_CTX *context = membership_new_context(self->membership, TLS_method());
    if (context == NULL) {
        ERR_clear_error();
        return LB_IO;
    }
    SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(context, self);
    SSL_CTX_set_msg_callback(context, on_message);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_free(self->context); /* those that are open keep it */
    self->context = context;
    return LB_OK;
}

lb_err secure_new(struct membership *membership, secure_knows_fn *knows, void *ctx,
                  struct secure **ret_self)
{
    struct secure *self = xcalloc(1, sizeof *self);
    self->membership = membership;
    self->knows = knows;
    self->ctx = ctx;
    self->method = secure_make_method();
    if (self->method == NULL || secure_renew(self) != LB_OK) {
        secure_free(&self);
        return LB_IO;
    }
    *ret_self = self;
    return LB_OK;
}

static void free_when_unused(struct secure *self)
{
    if (!self->freed || self->streams > 0)
        return;
    SSL_CTX_free(self->context);
    BIO_meth_free(self->method);
    free(self);
}

void secure_free(struct secure **self)
{
    struct secure *freed = *self;
    *self = NULL;
    if (freed == NULL)
        return;
    freed->freed = true;
    free_when_unused(freed);
}

static const struct stream_kind secure_kind;

void secure_wrap(struct secure *self, struct stream *stream, const uint8_t *infohash)
{
    struct secure_stream *wrapped = xcalloc(1, sizeof *wrapped);
    wrapped->owner = self;
    self->streams++;
    wrapped->lower = *stream;
    wrapped->outgoing = infohash != NULL;
    wrapped->burst = SECURE_BURST_MIN;
    wrapped->refusal = SECURE_NOT_REFUSED;
    if (infohash != NULL)
        memcpy(wrapped->infohash, infohash, sizeof wrapped->infohash);
    stream->kind = &secure_kind;
    stream->secure = wrapped;
    stream->refusal = SECURE_NOT_REFUSED;
}

const struct certificate_claims *secure_peer(const struct stream *stream)
{
    return &stream->secure->peer;
}

const uint8_t *secure_infohash(const struct stream *stream)
{
    return stream->secure->infohash;
}

void secure_set_burst(struct stream *stream, uint32_t size)
{
    stream->secure->burst = size < SECURE_BURST_MIN   ? SECURE_BURST_MIN
                            : size > SECURE_BURST_MAX ? SECURE_BURST_MAX
                                                      : size;
}

enum certificate_refusal secure_look_again(const struct stream *stream, uint64_t now_s)
{
    const struct secure_stream *self = stream->secure;
    return certificate_still_counts(&self->peer, membership_denied(self->owner->membership), now_s);
}

static void secure_close(struct stream *stream)
{
    struct secure_stream *self = stream->secure;
    SSL_free(self->ssl);
    self->lower.kind->close(&self->lower);
    self->owner->streams--;
    free_when_unused(self->owner);
    free(self->unsent);
    free(self);
    stream->secure = NULL;
    stream->fd = -1;
}

/* ---- opening ---- */

static bool make_ssl(struct secure_stream *self)
{
    BIO *bio = BIO_new(self->owner->method);
    self->ssl = SSL_new(self->owner->context);
    if (bio == NULL || self->ssl == NULL) {
        BIO_free(bio);
        return false;
    }
    BIO_set_data(bio, self);
    SSL_set_bio(self->ssl, bio, bio);
    SSL_set_app_data(self->ssl, self);
    if (!self->outgoing) {
        SSL_set_accept_state(self->ssl);
        return true;
    }
    char name[HEX_SIZE];
    hex_encode(self->infohash, sizeof self->infohash, name);
    SSL_set_connect_state(self->ssl);
    return SSL_set_tlsext_host_name(self->ssl, name) == 1;
}

/* Who calls must say something before it costs memory. */
static enum stream_opening look_at_head(struct secure_stream *self)
{
    const struct iovec part = { .iov_base = self->head, .iov_len = sizeof self->head };
    const ssize_t got = self->lower.kind->read(&self->lower, &part, 1);
    if (got < 0 && secure_would_wait())
        return STREAM_OPENING;
    if (got <= 0) {
        secure_refuse(self, SECURE_NOT_REFUSED);
        return STREAM_REFUSED;
    }
    self->head_size = (uint32_t)got;
    if (self->head[0] == IS_HANDSHAKE)
        return STREAM_OPEN;
    secure_refuse(self, SECURE_REFUSED_PLAIN);
    return STREAM_REFUSED;
}

static enum stream_opening handshake(struct secure_stream *self)
{
    if (self->ssl == NULL && !self->outgoing) {
        const enum stream_opening head = look_at_head(self);
        if (head != STREAM_OPEN)
            return head;
    }
    if (self->ssl == NULL && !make_ssl(self)) {
        secure_refuse(self, REFUSED_OTHER);
        return STREAM_REFUSED;
    }
    ERR_clear_error();
    const int done = SSL_do_handshake(self->ssl);
    if (done != 1 && SSL_get_error(self->ssl, done) != SSL_ERROR_WANT_READ)
        secure_refuse(self, self->ended ? SECURE_NOT_REFUSED : secure_refusal_of(self->ssl));
    const bool sent = secure_send_out(self); /* an alert, if anything */
    if (!sent)
        secure_refuse(self, SECURE_NOT_REFUSED);
    if (self->failed)
        return STREAM_REFUSED;
    return done == 1 ? STREAM_OPEN : STREAM_OPENING;
}

static enum stream_opening secure_open(struct stream *stream)
{
    struct secure_stream *self = stream->secure;
    if (!secure_send_unsent(self))
        secure_refuse(self, SECURE_NOT_REFUSED);
    enum stream_opening opening = self->failed ? STREAM_REFUSED : handshake(self);
    if (opening == STREAM_OPEN) {
        const uint64_t now_s = clock_wall_s();
        enum certificate_refusal refusal =
            membership_check_peer(self->owner->membership, self->ssl, now_s, &self->peer);
        if (refusal == REFUSED_NOT)
            refusal = membership_admit(self->owner->membership, &self->peer, false, now_s);
        if (refusal != REFUSED_NOT) {
            secure_refuse(self, refusal);
            opening = STREAM_REFUSED;
        }
    }
    self->open = opening == STREAM_OPEN;
    stream->unsent = secure_has_unsent(self);
    stream->refusal = self->refusal;
    return opening;
}

/* ---- reading ---- */

/* Of the parts, what is not filled yet. */
struct parts {
    const struct iovec *parts;
    int count;
    int at;
    size_t used; /* of the part at `at` */
};

static size_t size_of(const struct iovec *parts, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    return size;
}

/* All records that are whole. */
static size_t decrypt(struct secure_stream *self, struct parts *to)
{
    size_t got = 0;
    while (to->at < to->count) {
        const struct iovec *part = &to->parts[to->at];
        size_t size = 0;
        if (SSL_read_ex(self->ssl, (uint8_t *)part->iov_base + to->used, part->iov_len - to->used,
                        &size) != 1)
            break;
        got += size;
        self->received += size;
        to->used += size;
        if (to->used == part->iov_len) {
            to->at++;
            to->used = 0;
        }
    }
    return got;
}

/* Why there is no more. */
static void look_at_end(struct secure_stream *self)
{
    unsigned refusal;
    switch (SSL_get_error(self->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
        return;
    case SSL_ERROR_ZERO_RETURN:
        self->ended = true;
        return;
    default: /* the version was agreed on: what has another now is broken */
        refusal = secure_refusal_of(self->ssl);
        secure_refuse(self, refusal == REFUSED_OLD_PROTOCOL ? REFUSED_OTHER : refusal);
    }
}

static ssize_t secure_read(struct stream *stream, const struct iovec *parts, int count)
{
    struct secure_stream *self = stream->secure;
    struct secure *owner = self->owner;
    struct parts to = { .parts = parts, .count = count };
    size_t got = 0;
    /* What comes must fit, together with a record of which a part is there already. */
    const size_t room = size_of(parts, count);
    assert(room > 2 * RECORD_ROOM);
    stream->again = false;
    if (!self->failed && !self->ended && secure_fill(self, room - RECORD_ROOM)) {
        ERR_clear_error();
        got = decrypt(self, &to);
        if (to.at < to.count)
            look_at_end(self);
        if (!secure_send_out(self))
            secure_refuse(self, SECURE_NOT_REFUSED);
        stream->unsent = secure_has_unsent(self);
    }
    owner->in_at = owner->in_size = 0;
    stream->refusal = self->refusal;
    if (got > 0) {
        stream->again = self->failed || self->ended;
        return (ssize_t)got;
    }
    if (self->ended && !self->failed)
        return 0;
    errno = self->failed ? EPROTO : EAGAIN;
    return -1;
}

/* ---- writing ---- */

/* As much as a record holds, in one piece. */
static size_t gather_record(struct secure *owner, struct parts *from)
{
    size_t size = 0;
    while (from->at < from->count && size < sizeof owner->record) {
        const struct iovec *part = &from->parts[from->at];
        size_t take = part->iov_len - from->used;
        if (take > sizeof owner->record - size)
            take = sizeof owner->record - size;
        memcpy(owner->record + size, (const uint8_t *)part->iov_base + from->used, take);
        size += take;
        from->used += take;
        if (from->used == part->iov_len) {
            from->at++;
            from->used = 0;
        }
    }
    return size;
}

/* Records behind each other, as many as make a burst. False: it is broken. */
static bool encrypt_burst(struct secure_stream *self, struct parts *from, size_t *taken)
{
    struct secure *owner = self->owner;
    while (from->at < from->count && owner->out_size < self->burst) {
        size_t written = 0;
        const size_t size = gather_record(owner, from);
        if (size > 0 && SSL_write_ex(self->ssl, owner->record, size, &written) != 1)
            return false;
        *taken += size;
    }
    return true;
}

static ssize_t secure_write(struct stream *stream, const struct iovec *parts, int count)
{
    struct secure_stream *self = stream->secure;
    struct parts from = { .parts = parts, .count = count };
    size_t taken = 0;
    bool good = !self->failed && secure_send_unsent(self);
    ERR_clear_error();
    while (good && !secure_has_unsent(self) && from.at < from.count)
        good = encrypt_burst(self, &from, &taken) && secure_send_out(self);
    self->owner->out_size = 0;
    stream->unsent = secure_has_unsent(self);
    if (!good) {
        secure_refuse(self, SECURE_NOT_REFUSED);
        stream->refusal = self->refusal;
        errno = EPROTO;
        return -1;
    }
    if (taken > 0 || !stream->unsent)
        return (ssize_t)taken;
    errno = EAGAIN;
    return -1;
}

static const struct stream_kind secure_kind = {
    .name = "tls",
    .open = secure_open,
    .read = secure_read,
    .write = secure_write,
    .close = secure_close,
};
