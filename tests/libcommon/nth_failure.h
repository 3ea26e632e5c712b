/*
 * The N-th failure loop (THREATS 3.3): the same thing is done over and over, with the first, then
 * the second, third ... system call on its files failing (failing_io.h), until none is left that
 * could. Four tests, by what the failures are.
 */
#pragma once

#include "tests/libcommon/cmocka_row.h"

struct nth_failure;

/*
 * One round: it sets up, arms, does what may fail, disarms, and checks what came of it. Armed once
 * and disarmed once, in that order.
 */
typedef void nth_failure_round(struct nth_failure *self);
void nth_failure_arm(struct nth_failure *self);
void nth_failure_disarm(struct nth_failure *self);

/* More calls than calls_min are made between arm and disarm. Returns how many tests failed. */
#define NTH_FAILURE_RUN(round, calls_min) nth_failure_run(#round, round, calls_min)
int nth_failure_run(const char *group, nth_failure_round *round, unsigned calls_min);
