/* A node in one line for Nagios, Icinga and their like (Monitoring Plugins Development Guidelines).
 */
#pragma once

#include "services/cli/processes.h"
#include "services/cli/troubles.h"

/* The exit codes of a plugin. */
enum health { HEALTH_OK, HEALTH_WARNING, HEALTH_CRITICAL, HEALTH_UNKNOWN };

#define HEALTH_LINE_SIZE 1024

/*
 * "LITTLEBIRD WARNING - what (and 2 more) | performance data". OK: nothing is wrong. WARNING: it
 * serves, and something is. CRITICAL: a service that is needed does not serve.
 */
enum health health_format(const struct processes *processes, const struct troubles *troubles,
                          char ret_line[HEALTH_LINE_SIZE]);
