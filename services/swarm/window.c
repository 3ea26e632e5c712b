#include "services/swarm/window.h"

void window_init(struct window *self)
{
    *self = (struct window){ .target = WINDOW_MIN, .starting = true, .least_ms = UINT32_MAX };
}

void window_restart(struct window *self)
{
    const uint32_t least_ms = self->least_ms;
    window_init(self);
    self->least_ms = least_ms;
}

bool window_times(const struct window *self, struct picker_ask ask)
{
    return self->timing && self->timed.piece == ask.piece && self->timed.block == ask.block;
}

void window_asked(struct window *self, struct picker_ask ask, uint32_t under_way, uint64_t now_ms)
{
    const bool full = under_way >= self->target;
    if (self->timing) {
        self->full |= full;
        return;
    }
    self->timing = true;
    self->full = full;
    self->timed = ask;
    self->timed_ms = now_ms;
}

static void shrink(struct window *self, uint32_t by)
{
    self->starting = false;
    self->target -= by < self->target ? by : self->target;
}

void window_came(struct window *self, uint32_t most, struct window_load load, uint64_t now_ms)
{
    self->timing = false;
    const uint32_t took_ms = (uint32_t)(now_ms - self->timed_ms);
    if (took_ms < self->least_ms)
        self->least_ms = took_ms;
    const bool quick = took_ms <= self->least_ms + WINDOW_DELAY_MS;
    if (load.little && self->full && quick) {
        self->target += self->starting ? self->target : 1 + self->target / 8;
    } else if (load.little) {
        self->target += self->full && self->target < load.fair;
    } else if (!quick) {
        shrink(self, self->target / 4 + 1);
    } else if (self->target > load.fair) {
        shrink(self, (self->target - load.fair + 3) / 4);
    } else if (self->full && self->target < load.fair) {
        self->target++;
    }
    if (self->target > most)
        self->target = most;
    if (self->target < WINDOW_MIN)
        self->target = WINDOW_MIN;
}

void window_forget(struct window *self, struct picker_ask ask)
{
    if (window_times(self, ask))
        self->timing = false;
}
