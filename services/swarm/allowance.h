/*
 * An allowance: how often something may happen. It fills at a steady rate up to a maximum, and each
 * time takes one away; so a burst is fine and a flood is not. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct allowance {
    uint32_t most;
    uint32_t per_second; /* at least 1 */
    uint32_t left;
    uint64_t filled_ms; /* until when what it gained is counted */
};

/* Full. */
void allowance_init(struct allowance *self, uint32_t most, uint32_t per_second, uint64_t now_ms);

/* Once more; false: there is none left, and nothing is taken. */
bool allowance_take(struct allowance *self, uint64_t now_ms);
