/* One screen about a node, for a person. */
#pragma once

#include "services/cli/processes.h"
#include "services/cli/troubles.h"

#include <stdio.h>

/* Head, a row for each process, and what is wrong with what to do next. */
void status_print(const struct processes *processes, const struct troubles *troubles, FILE *to);
