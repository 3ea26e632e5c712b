/*
 * DHT scrapes: how many seeds and peers a torrent has, as Bloom filters that an asker joins with
 * those of other nodes (BEP 33, "Bloom Filters": m = 2048, k = 2, over the SHA-1 of an IP address).
 * Ports do not count: many peers behind one address are one. Pure.
 */
#pragma once

#include "libcommon/address.h"

#include <stdbool.h>
#include <stdint.h>

#define SCRAPE_FILTER_SIZE 256u

/* One that is {0} is empty. */
struct scrape {
    uint8_t seeds[SCRAPE_FILTER_SIZE];
    uint8_t peers[SCRAPE_FILTER_SIZE]; /* those that are no seeds */
    uint32_t count;                    /* added, to both */
};

void scrape_add(struct scrape *self, const struct address *peer, bool seed);
