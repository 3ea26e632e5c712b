/*
 * The one protocol between a service and its manager: sd_notify(3) datagrams to $NOTIFY_SOCKET and
 * sockets handed over by LISTEN_FDS (sd_listen_fds(3)), whether the manager is systemd or
 * lb-supervisor. Without a manager the calls do nothing.
 *
 * Sockets and watchdog are libsystemd's doing. Its sd_notify() is not used: it waits while the
 * manager's queue is full (net.unix.max_dgram_qlen, ten datagrams), so that a manager that hangs
 * would stop every service within seconds. Here nothing waits; what could not be sent is sent by
 * the next call, the status as it is then.
 */
#pragma once

#include "libcommon/error.h"

#include <stdbool.h>
#include <stdint.h>

void notify_ready(void);
void notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));
void notify_stopping(void);
void notify_watchdog(void);

/* Send what could not be sent before, if there is any: to be called now and then. */
void notify_again(void);

/*
 * Have the manager keep a copy of fd while we are started again: notify_listen_fd(name) finds it
 * then. For what we bound ourselves at the start; it waits for the manager to have read the like.
 * systemd keeps as many as FileDescriptorStoreMax= says; lb-supervisor has bound all of them
 * itself.
 */
void notify_keep_fd(const char *name, int fd);

/* How often notify_watchdog is due, in ms; 0: no watchdog. Half of WATCHDOG_USEC. */
uint64_t notify_watchdog_interval_ms(void);

/*
 * The inherited descriptor of this name (FileDescriptorName=, LISTEN_FDNAMES), index counting those
 * of the same name from 0. LB_NOT_FOUND when the manager handed none over. The descriptor is the
 * caller's from then on, close-on-exec.
 */
LB_MUST_CHECK lb_err notify_listen_fd(const char *name, unsigned index, int *ret_fd);
