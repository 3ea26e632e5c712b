#include "services/swarm/allowance.h"

#include <assert.h>

void allowance_init(struct allowance *self, uint32_t most, uint32_t per_second, uint64_t now_ms)
{
    assert(most > 0 && per_second > 0);
    *self = (struct allowance){
        .most = most,
        .per_second = per_second,
        .left = most,
        .filled_ms = now_ms,
    };
}

static void fill(struct allowance *self, uint64_t now_ms)
{
    const uint64_t elapsed_ms = now_ms > self->filled_ms ? now_ms - self->filled_ms : 0;
    const uint64_t to_full_ms = (uint64_t)(self->most - self->left) * 1000 / self->per_second + 1;
    if (elapsed_ms >= to_full_ms) {
        self->left = self->most;
        self->filled_ms = now_ms;
        return;
    }
    const uint64_t gained = elapsed_ms * self->per_second / 1000;
    self->left += (uint32_t)gained;
    if (self->left > self->most)
        self->left = self->most;
    /* What is less than one goes on counting. */
    self->filled_ms += gained * 1000 / self->per_second;
}

bool allowance_take(struct allowance *self, uint64_t now_ms)
{
    fill(self, now_ms);
    if (self->left == 0)
        return false;
    self->left--;
    return true;
}
