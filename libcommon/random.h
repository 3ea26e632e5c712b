/*
 * Seeded random numbers (xoshiro256**, Blackman and Vigna 2018). Cores take one, so that a run is
 * repeated by its seed; services seed it from the kernel. Not for secrets. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state[4];
};

void random_init(struct random *self, uint64_t seed);
uint64_t random_u64(struct random *self);

/* Uniform in [0, limit); limit > 0. */
uint64_t random_below(struct random *self, uint64_t limit);
void random_bytes(struct random *self, void *ret_data, size_t size);
