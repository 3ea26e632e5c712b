#include "libcommon/pki/join_stream.h"

#include "libcommon/clock.h"
#include "libcommon/memory.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST_SIZE    254 /* a DNS name and a NUL */
#define PORT_SIZE    6
#define POLL_MAX_MS  60000
#define PROBLEM_SIZE 160

struct join_stream {
    struct join_stream_limits limits;
    int fd;
    BIO_METHOD *method;
    char problem[PROBLEM_SIZE];
};

struct join_stream *join_stream_new(const struct join_stream_limits *limits)
{
    struct join_stream *self = xcalloc(1, sizeof(*self));

    self->limits = *limits;
    self->fd = -1;
    return self;
}

void join_stream_free(struct join_stream **self)
{
    if (!*self) {
        return;
    }
    if ((*self)->fd >= 0) {
        close((*self)->fd);
    }
    BIO_meth_free((*self)->method);
    free(*self);
    *self = NULL;
}

const char *join_stream_problem(const struct join_stream *self)
{
    return self->problem[0] != '\0' ? self->problem : "cannot be reached";
}

/* ---- waiting ---- */

static int left_ms(uint64_t until_ms)
{
    uint64_t now_ms = clock_monotonic_ms();

    if (until_ms <= now_ms) {
        return 0;
    }
    return until_ms - now_ms < POLL_MAX_MS ? (int)(until_ms - now_ms) : POLL_MAX_MS;
}

static lb_err wait_until(struct join_stream *self, bool to_write, uint64_t until_ms)
{
    struct pollfd fds[2] = { { .fd = self->fd, .events = to_write ? POLLOUT : POLLIN },
                             { .fd = self->limits.cancel_fd, .events = POLLIN } };

    for (;;) {
        int left = left_ms(until_ms);
        int ready = poll(fds, 2, left);

        if (ready < 0 && errno != EINTR) {
            return LB_UNAVAILABLE;
        }
        if (ready > 0 && fds[1].revents != 0) {
            return LB_CANCELLED;
        }
        if (ready > 0) {
            return LB_OK;
        }
        if (left == 0) {
            return LB_TIMEOUT;
        }
    }
}

lb_err join_stream_wait(struct join_stream *self, bool to_write)
{
    return wait_until(self, to_write, self->limits.deadline_ms);
}

/* ---- connecting ---- */

/* "HOST:PORT" or "[IPV6]:PORT", into its two. */
static bool split(const char *address, char ret_host[HOST_SIZE], char ret_port[PORT_SIZE])
{
    const char *colon = strrchr(address, ':');
    size_t size;

    if (!colon || colon == address) {
        return false;
    }
    size = (size_t)(colon - address);
    if (address[0] == '[' && colon[-1] == ']') {
        address++;
        size -= 2;
    } else if (memchr(address, ':', size)) {
        return false;
    }
    if (size == 0 || size >= HOST_SIZE || strlen(colon + 1) >= PORT_SIZE || colon[1] == '\0' ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1)) {
        return false;
    }
    memcpy(ret_host, address, size);
    ret_host[size] = '\0';
    snprintf(ret_port, PORT_SIZE, "%s", colon + 1);
    return true;
}

static lb_err fail(struct join_stream *self, const char *why)
{
    snprintf(self->problem, sizeof(self->problem), "%s", why);
    if (self->fd >= 0) {
        close(self->fd);
        self->fd = -1;
    }
    return LB_UNAVAILABLE;
}

static lb_err connect_to(struct join_stream *self, const struct addrinfo *to)
{
    uint64_t until_ms = clock_monotonic_ms() + self->limits.connect_ms;
    int error = 0;
    socklen_t size = sizeof(error);
    lb_err err;

    self->fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (self->fd < 0) {
        return fail(self, strerror(errno));
    }
    /* A question follows the handshake at once: it is not to wait for an acknowledgement. */
    (void)setsockopt(self->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    if (connect(self->fd, to->ai_addr, to->ai_addrlen) == 0) {
        return LB_OK;
    }
    if (errno != EINPROGRESS) {
        return fail(self, strerror(errno));
    }
    until_ms = until_ms < self->limits.deadline_ms ? until_ms : self->limits.deadline_ms;
    err = wait_until(self, true, until_ms);
    if (err != LB_OK) {
        (void)fail(self, "no answer in time");
        return err == LB_CANCELLED ? err : LB_UNAVAILABLE;
    }
    if (getsockopt(self->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
        return fail(self, strerror(error != 0 ? error : errno));
    }
    return LB_OK;
}

lb_err join_stream_connect(struct join_stream *self, const char *address)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    char host[HOST_SIZE];
    char port[PORT_SIZE];
    lb_err err = LB_UNAVAILABLE;
    int rc;

    if (!split(address, host, port)) {
        return LB_INVALID;
    }
    rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0) {
        return fail(self, gai_strerror(rc));
    }
    for (const struct addrinfo *to = found; to && err == LB_UNAVAILABLE; to = to->ai_next) {
        if (left_ms(self->limits.deadline_ms) == 0) {
            err = LB_TIMEOUT;
            break;
        }
        err = connect_to(self, to);
    }
    freeaddrinfo(found);
    return err;
}

/* ---- beneath OpenSSL: its own socket BIO would raise SIGPIPE ---- */

static int write_some(BIO *bio, const char *data, int size)
{
    const struct join_stream *self = BIO_get_data(bio);
    ssize_t sent = send(self->fd, data, (size_t)size, MSG_NOSIGNAL);

    BIO_clear_retry_flags(bio);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
        BIO_set_retry_write(bio);
    }
    return (int)sent;
}

static int read_some(BIO *bio, char *data, int size)
{
    const struct join_stream *self = BIO_get_data(bio);
    ssize_t got = recv(self->fd, data, (size_t)size, 0);

    BIO_clear_retry_flags(bio);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        BIO_set_retry_read(bio);
    }
    return (int)got;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

void join_stream_attach(struct join_stream *self, SSL *ssl)
{
    BIO *bio;

    self->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "join stream");
    if (!self->method || BIO_meth_set_write(self->method, write_some) != 1 ||
        BIO_meth_set_read(self->method, read_some) != 1 ||
        BIO_meth_set_ctrl(self->method, control) != 1) {
        abort();
    }
    bio = BIO_new(self->method);
    if (!bio) {
        abort();
    }
    BIO_set_data(bio, self);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
}
