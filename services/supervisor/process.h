/*
 * Starting a service as systemd would: sockets from descriptor 3 on, named in the environment, a
 * session of its own (so that Ctrl-C in a terminal reaches the supervisor alone, which then drains
 * the node in order), and a SIGTERM of its own when the supervisor dies.
 */
#pragma once

#include "libcommon/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCESS_SOCKETS_MAX   64
#define PROCESS_ARGUMENTS_MAX 256

struct process_start {
    const char *program;            /* its path */
    const char *const *arguments;   /* NULL ends them; the first is the program's name */
    const char *const *environment; /* "KEY=VALUE", added; NULL ends them */
    const int *sockets;
    const char *const *socket_names; /* for LISTEN_FDNAMES */
    size_t sockets_count;            /* at most PROCESS_SOCKETS_MAX */
};

/* LB_NOT_FOUND or LB_DENIED when there is no such program or it may not be run, LB_IO else; errno.
 */
LB_MUST_CHECK lb_err process_spawn(const struct process_start *start, pid_t *ret_pid);

/* Stopped by SIGSTOP or its like (state T of proc(5)): but SIGKILL it takes no signal. */
bool process_is_stopped(pid_t pid);

/*
 * End the processes of a supervisor that was killed: those that were told to notify notify_socket,
 * wherever they are, and those that do not let themselves be looked into (hidden.h). The kernel
 * sent them a SIGTERM when it died; the one that they are sent now says not to drain any more,
 * since a node that starts in their place serves sooner. Who is still there after grace_ms is
 * killed.
 */
void process_end_orphans(const char *notify_socket, uint64_t grace_ms);
