/*
 * What is wrong with a node and what to do next, from the rows of its processes: for lb-admin
 * status, which says it as zpool status does, and for lb-admin health. Pure.
 */
#pragma once

#include "services/cli/processes.h"

#include <stdbool.h>
#include <stddef.h>

#define TROUBLES_MAX       (PROCESSES_MAX + SERVICES_COUNT)
#define TROUBLE_TEXT_SIZE  256
#define TROUBLE_SILENT_MS  3000u  /* six heartbeats */
#define TROUBLE_BACKLOG_MS 5000u  /* the oldest request waits for so long */
#define TROUBLE_START_MS   60000u /* a start takes longer than usual */

enum trouble_weight { TROUBLE_NONE, TROUBLE_WARNING, TROUBLE_CRITICAL };

struct trouble {
    enum trouble_weight weight; /* critical: a service that is needed does not serve */
    char what[TROUBLE_TEXT_SIZE];
    char advice[TROUBLE_TEXT_SIZE]; /* "": it passes by itself */
};

struct troubles {
    struct trouble list[TROUBLES_MAX]; /* the critical ones first */
    size_t count;
};

/* is_system: systemd is the manager. Of a node that does not run there is one: that it does not. */
void troubles_find(struct troubles *ret_self, const struct process *rows, size_t count,
                   bool is_system);

/* TROUBLE_NONE when there is none. */
enum trouble_weight troubles_worst(const struct troubles *self);
