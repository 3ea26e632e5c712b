/* Before what cannot be taken back: a person at a terminal is asked, a script is not. */
#pragma once

#include "services/cli/args.h"

/*
 * EXIT_DONE: go on. With --yes nobody is asked. Otherwise EXIT_FAILED, and that nothing was done is
 * said.
 */
int confirm(const struct args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));
