/*
 * lb-signer takes from itself what it has no use for, before it has a key: by seccomp(2), for all
 * its threads, for good, and whoever started it, systemd or a person's own lb-supervisor.
 *
 * Sockets of any family but AF_UNIX are refused with EACCES: it has no network, neither to send a
 * key nor to be reached. So are, with EPERM, io_uring (which opens sockets past the filter),
 * programs (execve) and looking into other processes. System calls of foreign architectures end the
 * process. What a fault in it can still do is answer wrongly on the socket it was handed; that
 * socket lets lb-coordinator alone ask (libcommon/access.c). Source: THREATS 2, row 18; smtpd's
 * ca.c, which pledges "stdio".
 */
#pragma once

#include "libcommon/error.h"

/* LB_DENIED: the kernel refuses, or has no seccomp. */
LB_MUST_CHECK lb_err confine_enter(void);
