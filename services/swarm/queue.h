/*
 * The queue of fetches: which of them run when only so many may at once. Those of higher priority
 * come first, then those ordered first; so the order is the same after a restart, and a new one of
 * high priority takes the place of a lesser one. One that has nobody to fetch from takes no place.
 * Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUEUE_NONE UINT32_MAX /* for active_max: not one may run */

struct queue_item {
    uint32_t priority;
    uint64_t added_s;     /* wall clock */
    uint8_t infohash[20]; /* decides between equals */
    bool fetching;  /* it has something to fetch, and nothing but the queue keeps it from it */
    bool idle;      /* it runs and has found nobody to fetch from for long */
    uint32_t place; /* out: 0, it runs or has no need to; else its place among those who wait */
    void *ctx;      /* the caller's */
};

/* Sets each place, and sorts. active_max: 0 for no limit. */
void queue_order(struct queue_item *items, size_t count, uint32_t active_max);
