/* One session: an SSL object, and the BIO through which it reads and writes datagrams. */
#include "services/transport/dtls_inside.h"

#include "libcommon/memory.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_FLIGHT_US 250000u  /* a flight is sent again: RFC 6347, 4.2.4.1 lets us be quicker */
#define LAST_FLIGHT_US  4000000u /* ... each time later, up to this */

/* OpenSSL fails here only when memory is gone or the library is broken. */
static void must(bool done)
{
    if (!done)
        abort();
}

/* ---- the BIO ---- */

static int bio_write(BIO *bio, const char *data, int size)
{
    struct dtls_session *self = BIO_get_data(bio);
    const struct association *to = self->association;

    BIO_clear_retry_flags(bio);
    if (!self->is_silent && size > 0)
        self->dtls->world.send(self->dtls->world.ctx, &to->peer, &to->local,
                               bytes_of(data, (size_t)size));
    return size;
}

/* A datagram is read at once; what does not fit is lost, as recv(2) has it. */
static int bio_read(BIO *bio, char *data, int size)
{
    struct dtls_session *self = BIO_get_data(bio);
    struct bytes input = self->input;

    BIO_clear_retry_flags(bio);
    if (input.size == 0 || size <= 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    self->input = bytes_of(NULL, 0);
    if (input.size > (size_t)size)
        input.size = (size_t)size;
    memcpy(data, input.data, input.size);
    return (int)input.size;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DUP:
        return 1;
    case BIO_CTRL_DGRAM_QUERY_MTU:
    case BIO_CTRL_DGRAM_GET_FALLBACK_MTU:
        return DTLS_MTU;
    default:
        return 0;
    }
}

BIO_METHOD *dtls_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "datagrams");

    must(method && BIO_meth_set_write(method, bio_write) == 1 &&
         BIO_meth_set_read(method, bio_read) == 1 && BIO_meth_set_ctrl(method, bio_ctrl) == 1);
    return method;
}

/* ---- life ---- */

static unsigned next_flight_us(SSL *ssl, unsigned before_us)
{
    (void)ssl;
    if (before_us == 0)
        return FIRST_FLIGHT_US;
    return before_us < LAST_FLIGHT_US / 2 ? 2 * before_us : LAST_FLIGHT_US;
}

struct dtls_session *dtls_session_new(struct dtls *dtls, struct association *association,
                                      bool is_server, uint64_t now_us)
{
    struct dtls_session *self = xcalloc(1, sizeof(*self));
    BIO *bio = BIO_new(dtls->method);

    *self = (struct dtls_session){ .dtls = dtls,
                                   .association = association,
                                   .ssl = SSL_new(dtls->context),
                                   .is_server = is_server,
                                   .began_us = now_us,
                                   .flight_us = UINT64_MAX };
    must(bio && self->ssl);
    BIO_set_data(bio, self);
    BIO_set_init(bio, 1);
    SSL_set_bio(self->ssl, bio, bio);
    SSL_set_app_data(self->ssl, self);
    SSL_set_options(self->ssl, SSL_OP_NO_QUERY_MTU);
    /* It counts what a datagram carries without what encrypting adds. */
    must(SSL_set_mtu(self->ssl, DTLS_MTU - DTLS_RECORD_OVERHEAD) > 0);
    DTLS_set_timer_cb(self->ssl, next_flight_us);
    if (is_server)
        SSL_set_accept_state(self->ssl);
    else
        SSL_set_connect_state(self->ssl);
    return self;
}

void dtls_session_free(struct dtls_session **self_)
{
    struct dtls_session *self = *self_;

    *self_ = NULL;
    if (!self)
        return;
    self->is_silent = true;
    SSL_free(self->ssl); /* and the BIO */
    free(self);
}

/* ---- the handshake ---- */

static void read_timer(struct dtls_session *self, uint64_t now_us)
{
    struct timeval left;

    self->flight_us = UINT64_MAX;
    if (DTLSv1_get_timeout(self->ssl, &left) == 1)
        self->flight_us = now_us + (uint64_t)left.tv_sec * 1000000 + (uint64_t)left.tv_usec;
}

/* A failure is not told: who is there has not been proved, and the reason is counted. */
static enum dtls_progress step(struct dtls_session *self, uint64_t now_us)
{
    int result, error;

    ERR_clear_error();
    result = SSL_do_handshake(self->ssl);
    error = result == 1 ? SSL_ERROR_NONE : SSL_get_error(self->ssl, result);
    self->input = bytes_of(NULL, 0);
    if (error == SSL_ERROR_NONE) {
        self->flight_us = UINT64_MAX;
        return DTLS_DONE;
    }
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        return DTLS_FAILED;
    read_timer(self, now_us);
    return DTLS_WAITS;
}

enum dtls_progress dtls_session_shake(struct dtls_session *self, struct bytes datagram,
                                      uint64_t now_us)
{
    self->input = datagram;
    self->heard |= datagram.size > 0;
    return step(self, now_us);
}

/*
 * DTLSv1_listen() alone puts an SSL object behind the exchange of the cookie; it asks whether the
 * cookie counts, which is known by then.
 */
enum dtls_progress dtls_session_accept(struct dtls_session *self, struct bytes hello,
                                       uint64_t now_us)
{
    BIO_ADDR *unused = BIO_ADDR_new();
    int result;

    must(unused != NULL);
    ERR_clear_error();
    self->input = hello;
    self->heard = true;
    result = DTLSv1_listen(self->ssl, unused);
    BIO_ADDR_free(unused);
    return result == 1 ? step(self, now_us) : DTLS_FAILED;
}

enum dtls_progress dtls_session_again(struct dtls_session *self, uint64_t now_us)
{
    ERR_clear_error();
    if (DTLSv1_handle_timeout(self->ssl) < 0)
        return DTLS_FAILED;
    read_timer(self, now_us);
    return DTLS_WAITS;
}

void dtls_session_random(const struct dtls_session *self, uint8_t ret_random[HELLO_RANDOM_SIZE])
{
    memset(ret_random, 0, HELLO_RANDOM_SIZE);
    (void)SSL_get_client_random(self->ssl, ret_random, HELLO_RANDOM_SIZE);
}

/* ---- payloads ---- */

/* What stands behind the first payload of a datagram. */
static void drain(struct dtls_session *self)
{
    uint8_t rest[256];

    while (SSL_has_pending(self->ssl) && SSL_read(self->ssl, rest, sizeof(rest)) > 0)
        ;
}

size_t dtls_session_read(struct dtls_session *self, struct bytes datagram, uint8_t *ret_payload,
                         size_t capacity, bool *ret_closed)
{
    int size, error;

    ERR_clear_error();
    self->input = datagram;
    size = SSL_read(self->ssl, ret_payload, (int)capacity);
    error = size > 0 ? SSL_ERROR_NONE : SSL_get_error(self->ssl, size);
    if (size > 0)
        drain(self);
    self->input = bytes_of(NULL, 0);
    *ret_closed = error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ;
    return size > 0 ? (size_t)size : 0;
}

bool dtls_session_write(struct dtls_session *self, struct bytes payload)
{
    ERR_clear_error();
    return SSL_write(self->ssl, payload.data, (int)payload.size) == (int)payload.size;
}

void dtls_session_goodbye(struct dtls_session *self)
{
    ERR_clear_error();
    (void)SSL_shutdown(self->ssl);
}
