#include "services/routing/crowd.h"

#include <assert.h>

void crowd_init(struct crowd *self, unsigned spare, bool is_off)
{
    self->count = 0;
    self->spare = spare;
    self->is_off = is_off;
}

static bool is_crowded(const struct crowd *self, const struct address *address)
{
    for (unsigned i = 0; i < self->count; i++) {
        if (address_same_subnet(self->subnets[i], address)) {
            return true;
        }
    }
    return false;
}

bool crowd_admits(const struct crowd *self, const struct address *address)
{
    return self->spare > 0 || self->count == 0 || !is_crowded(self, address);
}

void crowd_count(struct crowd *self, const struct address *address)
{
    if (self->is_off || address_is_private(address)) {
        return;
    }
    if (!is_crowded(self, address)) {
        assert(self->count < CROWD_MAX);
        self->subnets[self->count++] = address;
    } else if (self->spare > 0) {
        self->spare--;
    }
}
