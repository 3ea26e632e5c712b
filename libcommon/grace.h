/*
 * The moment that a service which has just started waits for its neighbours before it says that it
 * serves: who asked for it to be started or restarted is told READY then, not DEGRADED. It goes by
 * once: a neighbour that is lost later is a fault to be told at once. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define GRACE_MS 1000u /* a node whose neighbours do not come starts all the same */

struct grace {
    uint64_t until_ms;
    bool is_over;
};

void grace_init(struct grace *self, uint64_t now_ms);

/* Still to wait? is_whole: all neighbours are there. */
bool grace_lasts(struct grace *self, bool is_whole, uint64_t now_ms);
