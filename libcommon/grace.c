#include "libcommon/grace.h"

void grace_init(struct grace *self, uint64_t now_ms)
{
    *self = (struct grace){ .until_ms = now_ms + GRACE_MS };
}

bool grace_lasts(struct grace *self, bool is_whole, uint64_t now_ms)
{
    self->is_over = self->is_over || is_whole || now_ms >= self->until_ms;
    return !self->is_over;
}
