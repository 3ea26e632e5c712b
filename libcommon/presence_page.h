/*
 * presence.shm: which DHT targets lb-storage may hold, as a Bloom filter in shared memory, so that
 * a transport worker answers get and get_peers for unknown targets without asking storage.
 *
 * A clear bit proves absence; set bits prove nothing. Storage sets the bits of a target before it
 * acknowledges the store, and builds a fresh page (page.h, as routing_page.h does) when it starts
 * and when expiry has left many bits stale. Targets are hashes, so their own bits are the hash
 * functions. Pure: works on memory it is given.
 */
#pragma once

#include "libcommon/node_id.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRESENCE_PAGE_MAGIC  0x4c42505245534e43ULL /* "LBPRESNC" */
#define PRESENCE_PAGE_LAYOUT 2u
#define PRESENCE_PAGE_BITS   (1u << 21)

struct presence_page {
    uint64_t magic;
    uint32_t layout;
    _Atomic uint32_t retired; /* 1: another file took this one's name; map again */
    uint64_t reserved[6];     /* words begin with a cache line */
    _Atomic uint64_t words[PRESENCE_PAGE_BITS / 64];
};

void presence_page_init(struct presence_page *self); /* in zeroed memory */
bool presence_page_is_valid(const struct presence_page *self, size_t size);
void presence_page_add(struct presence_page *self, const struct node_id *target);
bool presence_page_may_have(const struct presence_page *self, const struct node_id *target);
