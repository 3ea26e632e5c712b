/*
 * The N-th allocation loop (THREATS 2.23, 3.3): the same thing is done over and over, each time in
 * a process of its own, with the first, then the second, third ... allocation refused, until none
 * is left that could be. Each time that process goes on with an error or ends for want of memory
 * (failing_malloc.h); anything else, such as a null pointer that was followed, fails the test. Then
 * what it left behind is looked at.
 */
#pragma once

#include "tests/libcommon/cmocka_row.h"

#include <stddef.h>

struct nth_allocation {
    const char *what;
    /* The three share a record of record_size bytes, zeroed, across the processes. */
    size_t record_size;
    void (*begin)(void *record); /* in the process: nothing is refused yet */
    void (*work)(void *record);  /* in the process */
    void (*check)(void *record); /* in the test, and cleans up */
    unsigned calls_min;          /* more allocations than these are made by work */
};

/* How many tests failed. */
int nth_allocation_run(const char *group, const struct nth_allocation *tests, size_t count);
