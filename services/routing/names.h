/*
 * Bootstrap addresses of the configuration, and of a member those it was told when it joined:
 * numeric ones are known at once, names are asked of transport, again and again with growing
 * intervals until they are found.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAMES_MAX            64
#define NAMES_RETRY_LEAST_MS 1000u
#define NAMES_RETRY_MOST_MS  60000u

struct routing;

struct names {
    struct routing *routing;
    char *entries[NAMES_MAX]; /* HOST:PORT */
    size_t count;
    bool found[NAMES_MAX];
    bool asking[NAMES_MAX];
    uint64_t retry_ms, interval_ms;
};

/* Before there is a router: which there are, in `count`. */
void names_read(struct names *self, struct routing *routing);
void names_done(struct names *self);

/* An entry that is no HOST:PORT is logged. */
void names_open(struct names *self);

/* Ask for names that are due. Returns when it is to be called again; UINT64_MAX: all are found. */
uint64_t names_update(struct names *self, uint64_t now_ms);
