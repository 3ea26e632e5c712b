/*
 * What a service tells its manager: one datagram of sd_notify(3), lines of KEY=VALUE.
 *
 * The sender is one of our own processes, but the bytes are treated as a stranger's: unknown keys
 * and lines without '=' are passed over, control bytes of a status become '?'. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define NOTICE_SIZE_MAX    4096 /* a longer datagram is cut there */
#define NOTICE_STATUS_SIZE 120  /* as the note of a status slot */

struct notice {
    bool ready;                      /* READY=1 */
    bool stopping;                   /* STOPPING=1 */
    bool beat;                       /* WATCHDOG=1 */
    bool broken;                     /* WATCHDOG=trigger: an invariant does not hold */
    bool has_status;                 /* STATUS= */
    bool store;                      /* FDSTORE=1 */
    char status[NOTICE_STATUS_SIZE]; /* cut to fit */
};

void notice_parse(struct notice *ret_self, const char *data, size_t size);
