#include "services/routing/probes.h"

#include "libcommon/memory.h"

#include <stdlib.h>
#include <string.h>

void probes_init(struct probes *self, uint64_t now_ms)
{
    *self = (struct probes){ .credit = PROBES_BURST * 1000u, .credit_ms = now_ms };
}

void probes_done(struct probes *self)
{
    free(self->queue);
    self->queue = NULL;
    self->count = 0;
}

bool probes_add(struct probes *self, const struct probe *probe)
{
    if (self->count >= PROBES_QUEUE_MAX) {
        return false;
    }
    for (size_t i = 0; i < self->count; i++) {
        if (address_equal(&self->queue[i].contact.address, &probe->contact.address)) {
            if (self->queue[i].not_before_ms > probe->not_before_ms) {
                self->queue[i] = *probe;
            }
            return false;
        }
    }
    if (self->queue == NULL) {
        self->queue = xcalloc(PROBES_QUEUE_MAX, sizeof(*self->queue));
    }
    self->queue[self->count++] = *probe;
    return true;
}

static void refill(struct probes *self, uint64_t now_ms)
{
    uint64_t passed_ms = now_ms - self->credit_ms;
    uint64_t most = PROBES_BURST * 1000u;

    self->credit_ms = now_ms;
    self->credit = passed_ms >= most ? most : self->credit + passed_ms * PROBES_PER_S;
    self->credit = self->credit < most ? self->credit : most;
}

bool probes_next(struct probes *self, uint64_t now_ms, struct probe *ret_probe)
{
    if (self->count == 0) {
        return false;
    }
    refill(self, now_ms);
    if (self->credit < 1000) {
        return false;
    }
    for (size_t i = 0; i < self->count; i++) {
        if (self->queue[i].not_before_ms <= now_ms) {
            *ret_probe = self->queue[i];
            self->count--;
            memmove(&self->queue[i], &self->queue[i + 1], (self->count - i) * sizeof(*self->queue));
            self->credit -= 1000;
            if (self->count == 0) {
                probes_done(self); /* most of the time there is nothing to ping */
            }
            return true;
        }
    }
    return false;
}

uint64_t probes_deadline_ms(const struct probes *self)
{
    uint64_t deadline_ms = UINT64_MAX;

    for (size_t i = 0; i < self->count; i++) {
        if (self->queue[i].not_before_ms < deadline_ms) {
            deadline_ms = self->queue[i].not_before_ms;
        }
    }
    if (self->count > 0 && self->credit < 1000) {
        uint64_t paid_ms = self->credit_ms + (1000 - self->credit) / PROBES_PER_S + 1;
        deadline_ms = deadline_ms > paid_ms ? deadline_ms : paid_ms;
    }
    return deadline_ms;
}

void probes_forget(struct probes *self, const struct node_id *id)
{
    size_t kept = 0;

    for (size_t i = 0; i < self->count; i++) {
        const struct probe *probe = &self->queue[i];
        bool is_gone = node_id_equal(&probe->contact.id, id) ||
                       (probe->reason == PROBE_CHALLENGE && node_id_equal(&probe->rival.id, id));
        if (!is_gone) {
            self->queue[kept++] = *probe;
        }
    }
    self->count = kept;
    if (kept == 0) {
        probes_done(self);
    }
}

void probes_return(struct probes *self, const struct probe *probe)
{
    self->credit += 1000;
    (void)probes_add(self, probe);
}
