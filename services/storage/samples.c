#include "services/storage/samples.h"

#include <string.h>

bool samples_are_due(const struct samples *self, uint64_t now_s)
{
    return now_s >= self->until_s || self->total <= SAMPLES_MAX;
}

void samples_begin(struct samples *self, uint64_t now_s)
{
    *self = (struct samples){ .until_s = now_s + SAMPLES_INTERVAL_S };
}

void samples_see(struct samples *self, const uint8_t infohash[NODE_ID_SIZE], struct random *random)
{
    uint64_t place = self->seen;

    self->seen++;
    if (self->count < SAMPLES_MAX)
        self->count++;
    else
        place = random_below(random, self->seen);
    if (place < SAMPLES_MAX)
        memcpy(self->infohashes[place], infohash, NODE_ID_SIZE);
}
