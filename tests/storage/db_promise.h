/*
 * What a store has promised while something fails around it: items and versions that it said it has
 * stored, and what it said it has not.
 */
#pragma once

#include "tests/storage/db_world.h"

#include <stdbool.h>

#define PROMISE_BEFORE    6u /* items that are stored before anything fails */
#define PROMISE_MEANWHILE 4u /* and one after the other, while it may */

struct promise {
    bool stored[PROMISE_BEFORE + PROMISE_MEANWHILE];
    bool
        refused[PROMISE_BEFORE + PROMISE_MEANWHILE]; /* for want of room: it must not stand there */
    uint64_t seq;
    bool swept; /* all that had ended is gone */
};

/* A new store with what is there before. */
void promise_begin(struct world *world, struct promise *promise);

/* Puts, a new version, a sweep, until the store is unusable: then the process would end. */
void promise_work(struct world *world, struct promise *promise);

/* The store is open again: it is whole, and as was promised. */
void promise_check(struct world *world, const struct promise *promise);
