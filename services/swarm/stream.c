#include "services/swarm/stream.h"

#include <sys/socket.h>
#include <unistd.h>

static ssize_t plain_read(struct stream *self, const struct iovec *parts, int count)
{
    return readv(self->fd, parts, count);
}

static ssize_t plain_write(struct stream *self, const struct iovec *parts, int count)
{
    const struct msghdr message = {
        .msg_iov = (struct iovec *)parts,
        .msg_iovlen = (size_t)count,
    };
    return sendmsg(self->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void plain_close(struct stream *self)
{
    close(self->fd);
    self->fd = -1;
}

static const struct stream_kind plain = {
    .name = "tcp",
    .read = plain_read,
    .write = plain_write,
    .close = plain_close,
};

void stream_plain(struct stream *ret_self, int fd)
{
    *ret_self = (struct stream){ .kind = &plain, .fd = fd };
}
