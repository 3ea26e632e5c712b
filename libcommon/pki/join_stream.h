/*
 * The TCP connection beneath join_client.h: to a name or an address, each of its addresses in turn,
 * with a deadline and a way to give up at once.
 */
#pragma once

#include "libcommon/error.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stdint.h>

struct join_stream; /* opaque */

struct join_stream_limits {
    uint64_t connect_ms;  /* for each address of a name */
    uint64_t deadline_ms; /* of clock_monotonic_ms() */
    int cancel_fd;        /* -1: none */
};

struct join_stream *join_stream_new(const struct join_stream_limits *limits);
void join_stream_free(struct join_stream **self);

/*
 * address: HOST:PORT or [IPV6]:PORT, else LB_INVALID. LB_UNAVAILABLE: join_stream_problem() says
 * why. LB_TIMEOUT, LB_CANCELLED.
 */
LB_MUST_CHECK lb_err join_stream_connect(struct join_stream *self, const char *address);
const char *join_stream_problem(const struct join_stream *self);

/* Until it can be read, or written. LB_TIMEOUT, LB_CANCELLED. */
LB_MUST_CHECK lb_err join_stream_wait(struct join_stream *self, bool to_write);

/* ssl reads and writes this connection from now on, and raises no SIGPIPE. Borrowed. */
void join_stream_attach(struct join_stream *self, SSL *ssl);
