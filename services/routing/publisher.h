/*
 * routing.shm: made anew by each process with a higher generation, rewritten at most every
 * PUBLISHER_EVERY_MS while contacts change.
 *
 * When an earlier process of this node left a page, its contacts are worth asking at once, and it
 * goes on serving transport until ours has something to say or PUBLISHER_WAIT_MS have passed: so a
 * restart of routing leaves no gap in what the node answers.
 */
#pragma once

#include "libcommon/error.h"
#include "libcommon/page.h"
#include "libcommon/paths.h"
#include "services/routing/router.h"

#include <stdbool.h>
#include <stdint.h>

#define PUBLISHER_EVERY_MS 50u
#define PUBLISHER_WAIT_MS  3000u

struct publisher {
    char path[PATHS_SIZE + 16];
    struct page old, page; /* the earlier process's; ours, once it is published */
    uint64_t started_ms;
    uint64_t published_ms;
    uint64_t version; /* of the router, as published; UINT64_MAX: nothing yet */
};

/*
 * Find the earlier page; its contacts are added to the router as addresses to ask. Without one ours
 * is published at once, so that transport can answer from the first moment.
 */
LB_MUST_CHECK lb_err publisher_open(struct publisher *self, const char *pages_folder,
                                    struct router *router, uint64_t now_ms);

/* Publish what changed if it is time to. Returns when it is to be called again; UINT64_MAX: not. */
uint64_t publisher_update(struct publisher *self, struct router *router, uint64_t now_ms);
void publisher_close(struct publisher *self);
