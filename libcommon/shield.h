/*
 * For a process that has a key in its memory: nobody but root looks into it.
 *
 * Not dumpable (prctl(2), PR_SET_DUMPABLE): no core, however the system writes them; no ptrace(2)
 * and no /proc/PID/mem, environ or fd for other processes of the same user. To be called before the
 * key is read; it cannot be undone by a program that was not told to. Built with AddressSanitizer a
 * process stays open, since that looks for leaks from outside.
 */
#pragma once

#include "libcommon/error.h"

/* LB_DENIED: the system refused. */
LB_MUST_CHECK lb_err shield_process(void);
