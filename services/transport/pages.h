/*
 * The shared-memory pages a transport worker reads: routing.shm and presence.shm.
 *
 * pages_check() is cheap and is called for every batch: it maps what is missing and what its writer
 * has retired. A page whose writer died unheard is found by looking at the name once a second.
 * While there is nothing new to map, the old page goes on serving.
 */
#pragma once

#include "libcommon/page_reader.h"

#include <stdbool.h>
#include <stdint.h>

#define PAGES_RETRY_MS 5
#define PAGES_LOOK_MS  1000

struct routing_page;
struct presence_page;

struct pages {
    struct page_reader routing_reader, presence_reader;
    const struct routing_page *routing;   /* NULL: none yet */
    const struct presence_page *presence; /* NULL: none yet */
    uint64_t retry_ms, look_ms;           /* when it is worth trying, and looking, again */
};

void pages_init(struct pages *self, const char *pages_folder);
void pages_done(struct pages *self);

/* True when .routing or .presence changed: pointers taken from here before are not valid any more.
 */
bool pages_check(struct pages *self, uint64_t now_ms);
