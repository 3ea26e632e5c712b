#include "services/swarm/wave.h"

/* Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators": its mixer. */
static uint64_t mix(uint64_t value)
{
    value ^= value >> 30;
    value *= UINT64_C(0xbf58476d1ce4e5b9);
    value ^= value >> 27;
    value *= UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

bool wave_has_come(const struct wave *self, uint32_t piece, uint32_t holders)
{
    if (self->peers <= WAVE_FANOUT || holders >= self->peers)
        return true;
    const uint32_t waited = (self->now_ms - self->held_ms[piece]) / WAVE_MS;
    if (waited >= 16)
        return true;
    const uint64_t admitted = ((uint64_t)WAVE_FANOUT * (holders > 0 ? holders : 1)) << waited;
    return mix(self->key + piece * UINT64_C(0x9e3779b97f4a7c15)) % self->peers < admitted;
}
