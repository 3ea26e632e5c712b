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

/* So many go to each holder. */
static uint32_t fanout(const struct wave *self)
{
    const uint32_t part = self->peers / WAVE_PART;
    if (self->slow)
        return WAVE_FANOUT_SLOW;
    return part < WAVE_FANOUT ? WAVE_FANOUT : part > WAVE_FANOUT_MOST ? WAVE_FANOUT_MOST : part;
}

bool wave_has_come(const struct wave *self, uint32_t piece, uint32_t holders)
{
    if (self->peers <= WAVE_FANOUT || holders >= self->peers)
        return true;
    const uint32_t waited = (self->now_ms - self->held_ms[piece]) / WAVE_MS;
    if (waited >= 16)
        return true;
    const uint64_t first = (uint64_t)fanout(self) * (holders > 0 ? holders : 1);
    return mix(self->key + piece * UINT64_C(0x9e3779b97f4a7c15)) % self->peers < first << waited;
}
