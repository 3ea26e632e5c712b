/*
 * Which queries are worth telling routing of: a node that asks us is a node that may be worth a
 * ping, but not once a packet.
 *
 * An address counts once in SIGHTINGS_INTERVAL_MS, remembered in a direct-mapped table (two
 * addresses that share a place push each other out and are told of more often); all together at
 * most SIGHTINGS_PER_SECOND, so that forged addresses do not become routing's load. Pure; allocates
 * in init().
 */
#pragma once

#include "libcommon/address.h"

#include <stdbool.h>
#include <stdint.h>

#define SIGHTINGS_INTERVAL_MS 60000u
#define SIGHTINGS_PER_SECOND  256u

struct sightings {
    struct sightings_place {
        uint32_t tag;
        uint32_t told_ms; /* wraps, compared by difference */
    } * places;
    uint32_t places_max; /* a power of two */
    uint64_t seed;
    uint64_t second; /* the one that `told` counts in */
    uint32_t told;
};

void sightings_init(struct sightings *self, uint32_t places_max, uint64_t seed);
void sightings_done(struct sightings *self);

/* True when this one is to be told; it is taken as told then. */
bool sightings_due(struct sightings *self, const struct address *from, uint64_t now_ms);
