/*
 * System calls on files that fail on purpose, for N-th failure loops (THREATS 3.3): a test that
 * links this has its own open, pread, pwrite, fsync, ftruncate, mmap ... in front of libc's, for
 * its libraries too. Only calls on regular files and folders count; sockets, pipes and event
 * descriptors are left alone. Between arm and disarm every call is counted, by all threads; the
 * N-th fails, or all from the N-th on, without having done anything.
 *
 * Not failed: malloc (memory.h: out of memory aborts, by design), close, unlink, lseek, fstat.
 */
#pragma once

#include <stdbool.h>

enum failing_io_kind {
    FAILING_ONCE,   /* the N-th call only */
    FAILING_FROM_ON /* the N-th and all after it */
};

struct failing_io {
    enum failing_io_kind kind;
    unsigned nth;      /* from 1 on */
    int error;         /* of calls that move or sync data, and of mmap: EIO, ENOSPC ... */
    int error_of_open; /* of open, openat, openat2: EMFILE ... */
};

void failing_io_arm(const struct failing_io *plan);

/* Did one fail? Then there is a next N to try. */
bool failing_io_disarm(void);
