#include "services/supervisor/inbox.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 64 /* that may come with one datagram; more are closed by the kernel */

lb_err inbox_init(struct inbox *self, const char *run_folder)
{
    int size = snprintf(self->address.sun_path, sizeof self->address.sun_path, "%s/notify.sock",
                        run_folder);

    self->fd = -1;
    self->address.sun_family = AF_UNIX;
    return size > 0 && (size_t)size < sizeof self->address.sun_path ? LB_OK : LB_TOO_BIG;
}

lb_err inbox_bind(struct inbox *self)
{
    int on = 1;

    self->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (self->fd < 0) {
        return LB_IO;
    }
    unlink(self->address.sun_path);
    if (setsockopt(self->fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
        bind(self->fd, (const struct sockaddr *)&self->address, sizeof self->address) != 0) {
        return LB_IO;
    }
    return LB_OK;
}

void inbox_close(struct inbox *self)
{
    if (self->fd >= 0) {
        unlink(self->address.sun_path);
        close(self->fd);
        self->fd = -1;
    }
}

static void close_descriptors(const struct cmsghdr *part)
{
    size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

    for (size_t i = 0; i < count; i++) {
        int fd;

        memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
        close(fd);
    }
}

static pid_t take_control(struct msghdr *message)
{
    pid_t sender = 0;

    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_CREDENTIALS) {
            struct ucred credentials;

            memcpy(&credentials, CMSG_DATA(part), sizeof credentials);
            sender = credentials.pid;
        } else if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
            close_descriptors(part);
        }
    }
    return sender;
}

bool inbox_receive(struct inbox *self, struct notice *ret_notice, pid_t *ret_sender)
{
    char data[NOTICE_SIZE_MAX];
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = { .iov_base = data, .iov_len = sizeof data };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
    };
    ssize_t size;

    do {
        size = recvmsg(self->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (size < 0 && errno == EINTR);
    if (size < 0) {
        return false;
    }
    *ret_sender = take_control(&message);
    notice_parse(ret_notice, data, (size_t)size);
    return true;
}
