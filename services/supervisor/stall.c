#include "services/supervisor/stall.h"

void stall_init(struct stall *self, uint64_t limit_ms)
{
    *self = (struct stall){ .limit_ms = limit_ms };
}

bool stall_look(struct stall *self, uint64_t answered, uint32_t overdue_ms, uint64_t now_ms)
{
    bool goes_on = self->overdue && overdue_ms > 0 && answered == self->answered;

    if (goes_on && now_ms - self->since_ms < self->limit_ms) {
        return false;
    }
    self->overdue = overdue_ms > 0;
    self->answered = answered;
    self->since_ms = now_ms;
    return goes_on;
}
