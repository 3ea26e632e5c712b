/*
 * A byte stream to a peer, as a table of functions: plain TCP here, TLS on a private network
 * (secure.h), without the connection noticing. Non-blocking: -1 with EAGAIN when it would wait.
 * Shell.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct stream;
struct secure_stream;

enum stream_opening {
    STREAM_OPEN,
    STREAM_OPENING, /* call again when it is readable, or writable if `unsent` */
    STREAM_REFUSED  /* `refusal` says why */
};

struct stream_kind {
    const char *name;
    enum stream_opening (*open)(struct stream *self); /* NULL: it is open at once */
    ssize_t (*read)(struct stream *self, const struct iovec *parts, int count);

    /* Returns how much was taken; what was taken and could not be sent yet is `unsent`. */
    ssize_t (*write)(struct stream *self, const struct iovec *parts, int count);
    void (*close)(struct stream *self);
};

struct stream {
    const struct stream_kind *kind;
    int fd;
    bool unsent;      /* write again, be it nothing, once it is writable */
    bool again;       /* read again at once: the end was seen behind what was read */
    unsigned refusal; /* enum secure_refusal */
    struct secure_stream *secure;
};

/* Takes the descriptor. */
void stream_plain(struct stream *ret_self, int fd);
