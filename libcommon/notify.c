#include "libcommon/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define STATUS_SIZE 256

/* What the manager has not been told yet. A process has one manager. */
static struct {
    bool ready, watchdog, stopping;
    char status[STATUS_SIZE]; /* "": nothing */
} untold;

/* $NOTIFY_SOCKET: a path, or an abstract address after '@'. 0: there is none. */
static socklen_t find_manager(struct sockaddr_un *ret_name)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t size = path != NULL ? strlen(path) : 0;

    if (size < 2 || size >= sizeof ret_name->sun_path || (path[0] != '/' && path[0] != '@'))
        return 0;
    *ret_name = (struct sockaddr_un){ .sun_family = AF_UNIX };
    memcpy(ret_name->sun_path, path, size);
    if (path[0] != '@')
        return (socklen_t)sizeof *ret_name;
    ret_name->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
}

/* False: its queue is full. To a manager that is not there nothing will ever be sent. */
static bool send_to_manager(const char *message)
{
    struct sockaddr_un name;
    socklen_t size = find_manager(&name);
    int fd = size > 0 ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
    bool sent = true;

    if (fd < 0)
        return true;
    if (sendto(fd, message, strlen(message), MSG_NOSIGNAL, (struct sockaddr *)&name, size) < 0)
        sent = errno != EAGAIN && errno != ENOBUFS;
    close(fd);
    return sent;
}

void notify_again(void)
{
    char message[STATUS_SIZE + 64];
    int size =
        snprintf(message, sizeof message, "%s%s%s%s%s", untold.ready ? "READY=1\n" : "",
                 untold.stopping ? "STOPPING=1\n" : "", untold.watchdog ? "WATCHDOG=1\n" : "",
                 untold.status, untold.status[0] != '\0' ? "\n" : "");

    if (size <= 0)
        return;
    message[size - 1] = '\0'; /* the last line needs no end */
    if (send_to_manager(message))
        memset(&untold, 0, sizeof untold);
}

void notify_ready(void)
{
    untold.ready = true;
    notify_again();
}

void notify_status(const char *format, ...)
{
    size_t used = strlen("STATUS=");
    va_list arguments;

    memcpy(untold.status, "STATUS=", used + 1);
    va_start(arguments, format);
    vsnprintf(untold.status + used, sizeof untold.status - used, format, arguments);
    va_end(arguments);
    for (char *c = untold.status + used; *c != '\0'; c++) {
        if (*c == '\n') /* would begin another assignment */
            *c = ' ';
    }
    notify_again();
}

void notify_stopping(void)
{
    untold.stopping = true;
    notify_again();
}

void notify_watchdog(void)
{
    untold.watchdog = true;
    notify_again();
}

void notify_keep_fd(const char *name, int fd)
{
    char message[64];

    snprintf(message, sizeof message, "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
    (void)sd_pid_notify_with_fds(0, 0, message, &fd, 1);
}

uint64_t notify_watchdog_interval_ms(void)
{
    uint64_t interval_us = 0;

    if (sd_watchdog_enabled(0, &interval_us) <= 0)
        return 0;
    return interval_us >= 2000 ? interval_us / 2000 : 1;
}

lb_err notify_listen_fd(const char *name, unsigned index, int *ret_fd)
{
    char **names = NULL;
    int count = sd_listen_fds_with_names(0, &names);
    lb_err err = LB_NOT_FOUND;

    for (int i = 0; i < count; i++) {
        int fd = SD_LISTEN_FDS_START + i;

        if (err == LB_NOT_FOUND && strcmp(names[i], name) == 0 && index-- == 0 &&
            fcntl(fd, F_GETFD) >= 0) {
            *ret_fd = fd;
            err = LB_OK;
        }
        free(names[i]);
    }
    free(names);
    return err;
}
