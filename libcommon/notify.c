#include "libcommon/notify.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

void notify_ready(void)
{
    (void)sd_notify(0, "READY=1");
}

void notify_status(const char *format, ...)
{
    char message[256] = "STATUS=";
    size_t used = strlen(message);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message + used, sizeof message - used, format, arguments);
    va_end(arguments);
    for (char *c = message + used; *c != '\0'; c++) {
        if (*c == '\n') /* would begin another assignment */
            *c = ' ';
    }
    (void)sd_notify(0, message);
}

void notify_stopping(void)
{
    (void)sd_notify(0, "STOPPING=1");
}

void notify_watchdog(void)
{
    (void)sd_notify(0, "WATCHDOG=1");
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
