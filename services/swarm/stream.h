/*
 * A byte stream to a peer, as a table of functions: plain TCP here; TLS can stand beside it without
 * the connection noticing. Non-blocking: -1 with EAGAIN when it would wait. Shell.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct stream;

struct stream_kind {
    const char *name;
    ssize_t (*read)(struct stream *self, const struct iovec *parts, int count);
    ssize_t (*write)(struct stream *self, const struct iovec *parts, int count);
    void (*close)(struct stream *self);
};

struct stream {
    const struct stream_kind *kind;
    int fd;
};

/* Takes the descriptor. */
void stream_plain(struct stream *ret_self, int fd);
