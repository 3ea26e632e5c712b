/*
 * RUN/presence.shm, the writer's side: which targets the store may hold
 * (libcommon/presence_page.h).
 *
 * Built from the database while no process can commit, so it misses nothing; the page it replaces
 * is marked retired. A target is added before its store is acknowledged; an instance that finds its
 * page retired maps the new one and adds there. Used by one thread at a time: the one that writes.
 */
#pragma once

#include "libcommon/error.h"
#include "libcommon/node_id.h"
#include "libcommon/page.h"
#include "libcommon/paths.h"

#include <stdbool.h>
#include <stdint.h>

struct db;

struct presence {
    char path[PATHS_SIZE + 16];
    struct page page;  /* not mapped: transport then asks for every target */
    struct page fresh; /* while building */
    uint64_t targets;  /* counted while building */
};

void presence_init(struct presence *self, const char *pages_folder);
void presence_done(struct presence *self);

/* Make a new page from the database. When that fails the old page goes on: it says too much, never
 * too little. */
LB_MUST_CHECK lb_err presence_build(struct presence *self, struct db *db);

/* Map the page another instance made; LB_NOT_FOUND or LB_CORRUPT: presence_build() then. */
LB_MUST_CHECK lb_err presence_open(struct presence *self);

void presence_add(struct presence *self, const struct node_id *target);
