#include "services/coordinator/secure.h"

#include "libcommon/memory.h"
#include "libcommon/pki/membership.h"
#include "services/coordinator/host_port.h"

#include <assert.h>
#include <netdb.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define CHUNK_SIZE 16384
#define LINGER_MS  2000u
#define HOST_SIZE  256

enum phase { RESOLVING, CONNECTING, SHAKING, OPEN, ENDED };

struct secure {
    uv_tcp_t tcp;
    uv_timer_t timer; /* of the setup; then of the end */
    uv_getaddrinfo_t resolving;
    uv_connect_t connecting;
    struct addrinfo *found, *next; /* addresses of the name; those not tried yet */
    SSL *ssl;
    BIO *in, *out; /* the SSL's */
    enum phase phase;
    bool is_closing; /* by the owner */
    bool is_shut;    /* handles are being closed */
    bool is_between; /* the socket of one address is being closed for that of the next */
    bool paused, was_busy;
    const char *broken; /* found while its owner wrote: it ends by the next turn of the loop */
    unsigned holds;     /* handles and requests that are not done with it */
    size_t backlog, high;
    struct address peer;
    const struct secure_events *events;
    void *ctx;
    char buffer[CHUNK_SIZE];
};

struct written {
    uv_write_t request;
    struct secure *secure;
    size_t size;
    uint8_t data[];
};

/* ---- the end ---- */

static void release(struct secure *self)
{
    assert(self->holds > 0);
    if (--self->holds == 0) {
        SSL_free(self->ssl);
        uv_freeaddrinfo(self->found);
        free(self);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    release(handle->data);
}

static void shut(struct secure *self)
{
    if (self->is_shut) {
        return;
    }
    self->is_shut = true;
    self->phase = ENDED;
    if (!self->is_between) {
        uv_close((uv_handle_t *)&self->tcp, on_handle_closed);
    }
    uv_close((uv_handle_t *)&self->timer, on_handle_closed);
}

static void end(struct secure *self, const char *why)
{
    bool told = self->phase == ENDED || self->is_closing;

    self->phase = ENDED;
    ERR_clear_error();
    if (self->is_closing) {
        shut(self);
    } else if (!told) {
        self->events->on_end(self->ctx, self, why);
    }
}

static void on_broken(uv_timer_t *timer)
{
    struct secure *self = timer->data;

    end(self, self->broken);
}

/* Not from inside the owner's call. */
static void end_later(struct secure *self, const char *why)
{
    if (self->broken == NULL && !self->is_shut) {
        self->broken = why;
        uv_timer_start(&self->timer, on_broken, 0, 0);
    }
}

static void on_linger(uv_timer_t *timer)
{
    shut(timer->data);
}

static void flush(struct secure *self);

void secure_close(struct secure **self)
{
    struct secure *it = *self;

    if (it == NULL) {
        return;
    }
    *self = NULL;
    assert(!it->is_closing);
    it->is_closing = true;
    if (it->phase == OPEN) {
        (void)SSL_shutdown(it->ssl);
        ERR_clear_error();
        flush(it);
    }
    if (it->phase != OPEN || it->backlog == 0) {
        shut(it);
    } else {
        uv_read_stop((uv_stream_t *)&it->tcp);
        uv_timer_start(&it->timer, on_linger, LINGER_MS, 0);
    }
}

/* ---- out ---- */

static void on_written(uv_write_t *request, int status)
{
    struct written *written = request->data;
    struct secure *self = written->secure;

    self->backlog -= written->size;
    free(written);
    if (status != 0 && !self->is_shut) {
        end(self, uv_strerror(status));
    } else if (self->is_closing && self->backlog == 0) {
        shut(self);
    } else if (self->was_busy && !secure_is_busy(self) && self->phase == OPEN) {
        self->was_busy = false;
        if (self->events->on_calm != NULL) {
            self->events->on_calm(self->ctx, self);
        }
    }
    release(self);
}

static void send_chunk(struct secure *self, size_t size)
{
    struct written *written = xmalloc(sizeof *written + size);
    uv_buf_t buffer = uv_buf_init((char *)written->data, (unsigned)size);

    written->secure = self;
    written->size = size;
    written->request.data = written;
    (void)BIO_read(self->out, written->data, (int)size);
    self->backlog += size;
    self->holds++;
    if (uv_write(&written->request, (uv_stream_t *)&self->tcp, &buffer, 1, on_written) != 0) {
        self->backlog -= size;
        self->holds--;
        free(written);
        end_later(self, "cannot write");
    }
}

/* Whatever OpenSSL wants sent. */
static void flush(struct secure *self)
{
    size_t pending;

    while (self->phase != ENDED && self->broken == NULL &&
           (pending = BIO_ctrl_pending(self->out)) > 0) {
        send_chunk(self, pending < CHUNK_SIZE * 4 ? pending : CHUNK_SIZE * 4);
    }
    self->was_busy = self->was_busy || secure_is_busy(self);
}

void secure_write(struct secure *self, struct bytes data)
{
    assert(!self->is_closing);
    while (self->phase == OPEN && self->broken == NULL && data.size > 0) {
        size_t done = 0;

        if (SSL_write_ex(self->ssl, data.data, data.size, &done) != 1) {
            end_later(self, "TLS does not take it");
            return;
        }
        data.data += done;
        data.size -= done;
    }
    flush(self);
    if (self->phase == OPEN && self->backlog > SECURE_BACKLOG_MAX) {
        end_later(self, "the other end does not read");
    }
}

bool secure_is_busy(const struct secure *self)
{
    return self->backlog > self->high;
}

void secure_set_high(struct secure *self, size_t size)
{
    self->high = size;
}

/* ---- in ---- */

/* Why OpenSSL gives up; for a person. */
static const char *failure(const struct secure *self)
{
    enum certificate_refusal refusal = membership_handshake_refusal(self->ssl);

    return refusal == REFUSED_OTHER ? "the TLS handshake failed"
                                    : certificate_refusal_text(refusal);
}

static void shake(struct secure *self)
{
    int result = SSL_do_handshake(self->ssl);
    int error = result == 1 ? SSL_ERROR_NONE : SSL_get_error(self->ssl, result);

    flush(self); /* an alert too */
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        return;
    }
    if (error != SSL_ERROR_NONE) {
        end(self, failure(self));
        return;
    }
    if (self->phase == SHAKING) {
        self->phase = OPEN;
        uv_timer_stop(&self->timer);
        self->events->on_open(self->ctx, self);
    }
}

static void receive(struct secure *self)
{
    uint8_t data[CHUNK_SIZE];

    while (self->phase == OPEN && !self->is_closing && !self->paused) {
        size_t size = 0;
        int error;

        if (SSL_read_ex(self->ssl, data, sizeof data, &size) == 1) {
            self->events->on_data(self->ctx, self, bytes_of(data, size));
            continue;
        }
        error = SSL_get_error(self->ssl, 0);
        if (error == SSL_ERROR_WANT_READ) {
            break;
        }
        end(self, error == SSL_ERROR_ZERO_RETURN ? "closed by the other end" : failure(self));
    }
    if (self->phase == OPEN) {
        flush(self);
    }
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct secure *self = stream->data;

    self->holds++;
    if (size < 0) {
        end(self, size == UV_EOF ? "closed by the other end" : uv_strerror((int)size));
    } else if (size > 0 && self->phase != ENDED) {
        if (BIO_write(self->in, buffer->base, (int)size) != size) {
            abort();
        }
        if (self->phase == SHAKING) {
            shake(self);
        }
        receive(self);
    }
    release(self);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    struct secure *self = handle->data;

    (void)suggested;
    *ret_buffer = uv_buf_init(self->buffer, sizeof self->buffer);
}

void secure_pause(struct secure *self, bool paused)
{
    bool was = self->paused;

    self->paused = paused;
    if (self->phase != OPEN || was == paused) {
        return;
    }
    if (paused) {
        uv_read_stop((uv_stream_t *)&self->tcp);
    } else {
        uv_read_start((uv_stream_t *)&self->tcp, on_alloc, on_read);
        self->holds++;
        receive(self);
        release(self);
    }
}

/* ---- the beginning ---- */

static void on_setup_limit(uv_timer_t *timer)
{
    end(timer->data, "no TLS handshake in time");
}

static struct secure *secure_new(struct uv_loop_s *loop, SSL_CTX *context,
                                 const struct secure_events *events, void *ctx)
{
    struct secure *self = xcalloc(1, sizeof *self);

    self->events = events;
    self->ctx = ctx;
    self->high = SECURE_BACKLOG_HIGH;
    self->ssl = SSL_new(context);
    self->in = BIO_new(BIO_s_mem());
    self->out = BIO_new(BIO_s_mem());
    if (self->ssl == NULL || self->in == NULL || self->out == NULL ||
        uv_tcp_init(loop, &self->tcp) != 0 || uv_timer_init(loop, &self->timer) != 0) {
        abort();
    }
    SSL_set_bio(self->ssl, self->in, self->out);
    self->tcp.data = self->timer.data = self->resolving.data = self->connecting.data = self;
    self->holds = 2;
    uv_timer_start(&self->timer, on_setup_limit, SECURE_SETUP_MS, 0);
    return self;
}

static void begin_handshake(struct secure *self)
{
    self->phase = SHAKING;
    uv_tcp_nodelay(&self->tcp, 1);
    uv_read_start((uv_stream_t *)&self->tcp, on_alloc, on_read);
    shake(self);
}

struct secure *secure_accept(struct uv_loop_s *loop, struct uv_stream_s *listener, SSL_CTX *context,
                             const struct secure_events *events, void *ctx)
{
    struct secure *self = secure_new(loop, context, events, ctx);
    struct sockaddr_storage from;
    int size = sizeof from;

    SSL_set_accept_state(self->ssl);
    if (uv_accept(listener, (uv_stream_t *)&self->tcp) != 0 ||
        uv_tcp_getpeername(&self->tcp, (struct sockaddr *)&from, &size) != 0 ||
        address_from_sockaddr((struct sockaddr *)&from, &self->peer) != LB_OK) {
        self->is_closing = true;
        shut(self);
        return NULL;
    }
    begin_handshake(self);
    return self;
}

static void try_next(struct secure *self);

/* One that has failed leaves a socket that is of no use for the next: another one in its place. */
static void on_failed_closed(uv_handle_t *handle)
{
    struct secure *self = handle->data;

    if (uv_tcp_init(handle->loop, &self->tcp) != 0) {
        abort();
    }
    self->tcp.data = self;
    self->is_between = false;
    if (self->is_shut) { /* meanwhile */
        uv_close((uv_handle_t *)&self->tcp, on_handle_closed);
    } else if (self->phase == CONNECTING) {
        try_next(self);
    }
}

static void connect_failed(struct secure *self, int status)
{
    if (self->phase != CONNECTING || self->is_shut || self->next == NULL) {
        end(self, uv_strerror(status));
        return;
    }
    self->is_between = true;
    uv_close((uv_handle_t *)&self->tcp, on_failed_closed);
}

static void on_connected(uv_connect_t *request, int status)
{
    struct secure *self = request->data;

    if (status != 0) {
        connect_failed(self, status);
    } else if (self->phase == CONNECTING) {
        begin_handshake(self);
    }
    release(self);
}

/* In the order of RFC 6724: mostly IPv6 first. The limit of the setup is for all together. */
static void try_next(struct secure *self)
{
    const struct sockaddr *address = self->next->ai_addr;
    int status;

    self->next = self->next->ai_next;
    self->holds++;
    status = uv_tcp_connect(&self->connecting, &self->tcp, address, on_connected);
    if (status != 0) {
        self->holds--;
        connect_failed(self, status);
    }
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct secure *self = request->data;

    if (self->is_shut || self->phase != RESOLVING) {
        uv_freeaddrinfo(found);
        end(self, uv_strerror(UV_ECANCELED));
    } else if (status != 0) {
        end(self, uv_strerror(status));
    } else {
        self->phase = CONNECTING;
        self->found = self->next = found;
        try_next(self);
    }
    release(self);
}

static void on_no_address(uv_timer_t *timer)
{
    end(timer->data, "not an address");
}

struct secure *secure_connect(struct uv_loop_s *loop, const char *where, SSL_CTX *context,
                              const char *alpn, const struct secure_events *events, void *ctx)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
    struct secure *self = secure_new(loop, context, events, ctx);
    uint8_t protocol[32];
    char host[HOST_SIZE], port[HOST_PORT_PORT_SIZE];
    size_t size = strlen(alpn);

    assert(size < sizeof protocol);
    protocol[0] = (uint8_t)size;
    memcpy(protocol + 1, alpn, size);
    SSL_set_connect_state(self->ssl);
    if (SSL_set_alpn_protos(self->ssl, protocol, (unsigned)size + 1) != 0) {
        abort();
    }
    if (!host_port_split(where, host, sizeof host, port)) {
        uv_timer_start(&self->timer, on_no_address, 0, 0);
        return self;
    }
    self->holds++;
    if (uv_getaddrinfo(loop, &self->resolving, on_resolved, host, port, &hints) != 0) {
        self->holds--;
        uv_timer_start(&self->timer, on_no_address, 0, 0);
    }
    return self;
}

void secure_give(struct secure *self, const struct secure_events *events, void *ctx)
{
    self->events = events;
    self->ctx = ctx;
}

SSL *secure_ssl(const struct secure *self)
{
    return self->ssl;
}

bool secure_speaks(const struct secure *self, const char *alpn)
{
    const uint8_t *selected;
    unsigned size;

    SSL_get0_alpn_selected(self->ssl, &selected, &size);
    return bytes_equal_text(bytes_of(selected, size), alpn);
}

const struct address *secure_peer(const struct secure *self)
{
    return &self->peer;
}

/* ---- ALPN ---- */

static int select_alpn(SSL *ssl, const unsigned char **ret_out, unsigned char *ret_size,
                       const unsigned char *offered, unsigned offered_size, void *ctx)
{
    static const unsigned char ours[] = "\x09" SECURE_ALPN_JOIN "\x09" SECURE_ALPN_RAFT;
    unsigned char *out;

    (void)ctx;
    if (SSL_select_next_proto(&out, ret_size, ours, sizeof ours - 1, offered, offered_size) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *ret_out = out;
    if (bytes_equal_text(bytes_of(out, *ret_size), SECURE_ALPN_RAFT)) {
        SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    return SSL_TLSEXT_ERR_OK;
}

void secure_select_alpn(SSL_CTX *context)
{
    SSL_CTX_set_alpn_select_cb(context, select_alpn, NULL);
}
