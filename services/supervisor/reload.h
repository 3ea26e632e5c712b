/*
 * Reading the configuration of the whole node again: all of it takes effect or nothing of it.
 *
 * The files are read and checked here first. Then every process is told through the status page and
 * reads them itself (libcommon/orders.h); the answer waits until all that serve have done so, for
 * at most RELOAD_WAIT_MS. Standalone and under systemd alike.
 */
#pragma once

#include "libcommon/page.h"

#include <stdbool.h>

#define RELOAD_WAIT_MS   5000u /* a process that hangs takes it over once it goes on */
#define RELOAD_CALLS_MAX 16    /* that wait at once; one more is refused */

struct actor;
struct call;
struct reload; /* opaque */

/* Borrows both. */
struct reload *reload_new(struct actor *actor, const struct page *page);

/* Takes the call and answers it. dry_run: only say what it would do. */
void reload_ask(struct reload *self, struct call *call, bool dry_run);

/* Without anybody who waits: SIGHUP. What is wrong is logged. */
void reload_hangup(struct reload *self);

/* Calls that wait are answered. Its timer needs one more turn of the loop. */
void reload_free(struct reload **self);
