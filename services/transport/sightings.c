#include "services/transport/sightings.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>

void sightings_init(struct sightings *self, uint32_t places_max, uint64_t seed)
{
    assert(places_max > 0 && (places_max & (places_max - 1)) == 0);
    *self = (struct sightings){ .places_max = places_max, .seed = seed };
    self->places = xcalloc(places_max, sizeof(*self->places));
}

void sightings_done(struct sightings *self)
{
    free(self->places);
    self->places = NULL;
}

bool sightings_due(struct sightings *self, const struct address *from, uint64_t now_ms)
{
    uint64_t hash = address_hash(from, self->seed);
    uint32_t tag = (uint32_t)(hash >> 32) | 1; /* 0: free */
    struct sightings_place *place = &self->places[hash & (self->places_max - 1)];

    if (place->tag == tag && (uint32_t)now_ms - place->told_ms < SIGHTINGS_INTERVAL_MS)
        return false;
    if (self->second != now_ms / 1000) {
        self->second = now_ms / 1000;
        self->told = 0;
    }
    if (self->told == SIGHTINGS_PER_SECOND)
        return false;
    self->told++;
    *place = (struct sightings_place){ .tag = tag, .told_ms = (uint32_t)now_ms };
    return true;
}
