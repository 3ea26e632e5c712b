/*
 * Allocations that fail on purpose (THREATS 2.23): a test that links this has its own malloc,
 * calloc, realloc and their kin in front of libc's, for its libraries too. Between arm and disarm
 * every allocation of every thread is counted, and the N-th is refused.
 *
 * What our own code asks for goes through libcommon/memory.h, which ends the process when it is
 * refused, by design: Linux refuses next to nothing, and a process that is killed must come back
 * whole anyway. A hash that cannot be made does the same, and so do libuv, CZMQ and libzmq. What
 * other libraries ask for fails in them, and they say so.
 */
#pragma once

#include <stdbool.h>

/* Kept by the caller in memory that outlives this process, to be read when it has ended. */
struct failing_malloc {
    unsigned nth; /* from 1 on */
    bool refused; /* the N-th was */
    bool ended;   /* our own code or such a library called abort() then: it was no assertion */
    char by[64];  /* whose code did, or asserted */
};

void failing_malloc_arm(struct failing_malloc *plan);
void failing_malloc_disarm(void);
