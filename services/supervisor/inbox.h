/*
 * The socket to which the services send their notifications, RUN/notify.sock. The kernel vouches
 * for who sent what.
 */
#pragma once

#include "libcommon/error.h"
#include "services/supervisor/notice.h"

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

struct inbox {
    int fd; /* -1: not open */
    struct sockaddr_un address;
};

/* The path alone; LB_TOO_BIG when it does not fit. */
LB_MUST_CHECK lb_err inbox_init(struct inbox *self, const char *run_folder);

/* LB_IO with errno set. */
LB_MUST_CHECK lb_err inbox_bind(struct inbox *self);
void inbox_close(struct inbox *self);

/* The next notification and its sender; false when there is none now. */
bool inbox_receive(struct inbox *self, struct notice *ret_notice, pid_t *ret_sender);
