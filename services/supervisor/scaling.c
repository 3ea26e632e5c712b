#include "services/supervisor/scaling.h"

#include <assert.h>

static uint32_t bit(unsigned instance)
{
    return UINT32_C(1) << instance;
}

void scaling_init(struct scaling *self, unsigned instances)
{
    assert(instances >= 1 && instances <= SCALING_MAX);
    *self = (struct scaling){ .wanted = instances, .running = instances, .active = instances };
}

void scaling_want(struct scaling *self, unsigned wanted)
{
    assert(wanted >= 1 && wanted <= SCALING_MAX);
    self->wanted = wanted;
}

void scaling_fail(struct scaling *self, unsigned instance)
{
    assert(instance >= self->active && instance < self->running && instance < self->wanted);
    self->wanted = instance;
    self->failed_instance = instance;
}

static struct scaling_order order(enum scaling_verb verb, unsigned instance)
{
    return (struct scaling_order){ .verb = verb, .instance = instance };
}

static struct scaling_order publish(struct scaling *self, unsigned active)
{
    self->active = active;
    return order(SCALING_PUBLISH, active);
}

static struct scaling_order start(struct scaling *self, unsigned instance)
{
    self->stopped &= ~bit(instance);
    return order(SCALING_START, instance);
}

/* Told to stop, and no process is left: also when it failed in ending, or had before. */
static bool is_gone(const struct scaling *self, const enum manager_condition *conditions,
                    unsigned instance)
{
    return (self->stopped & bit(instance)) &&
           (conditions[instance] == MANAGER_ENDED || conditions[instance] == MANAGER_FAILED);
}

/* Who is ready though its stop must be over was started since, and not by us: as if never told. */
static void forget_old_stops(struct scaling *self, const enum manager_condition *conditions,
                             uint64_t now_ms)
{
    for (unsigned i = self->active; i < self->running; i++) {
        if (conditions[i] == MANAGER_READY && now_ms >= self->stopped_ms + SCALING_STOP_MAX_MS) {
            self->stopped &= ~bit(i);
        }
    }
}

/* Does one of those that are to come fail? Then it is no growing any more. */
static bool look_for_failure(struct scaling *self, const enum manager_condition *conditions)
{
    for (unsigned i = self->active; i < self->running && i < self->wanted; i++) {
        if (conditions[i] == MANAGER_FAILED && !(self->stopped & bit(i))) {
            scaling_fail(self, i);
            return true;
        }
    }
    return false;
}

static struct scaling_order grow(struct scaling *self, const enum manager_condition *conditions)
{
    for (unsigned i = self->active; i < self->running && i < self->wanted; i++) {
        if (is_gone(self, conditions, i)) {
            return start(self, i); /* it is wanted again */
        }
    }
    if (self->running < self->wanted) {
        return start(self, self->running++);
    }
    if (conditions[self->active] == MANAGER_READY && !(self->stopped & bit(self->active))) {
        return publish(self, self->active + 1);
    }
    return order(SCALING_WAIT, 0);
}

static struct scaling_order shrink(struct scaling *self, const enum manager_condition *conditions,
                                   uint64_t now_ms)
{
    unsigned last = self->running - 1;

    if (now_ms < self->settled_ms) {
        return order(SCALING_WAIT, 0);
    }
    for (unsigned i = self->running; i-- > self->wanted;) {
        if (!(self->stopped & bit(i))) {
            self->stopped |= bit(i);
            self->stopped_ms = now_ms;
            return order(SCALING_STOP, i);
        }
    }
    if (is_gone(self, conditions, last)) {
        self->stopped &= ~bit(last);
        self->running--;
        return order(SCALING_RELEASE, last);
    }
    return order(SCALING_WAIT, 0);
}

struct scaling_order scaling_next(struct scaling *self, const enum manager_condition *conditions,
                                  uint64_t now_ms)
{
    struct scaling_order next = { .verb = SCALING_WAIT };

    assert(self->active >= 1 && self->active <= self->running && self->running <= SCALING_MAX);
    forget_old_stops(self, conditions, now_ms);
    if (self->active > self->wanted) {
        self->settled_ms = now_ms + STATUS_SETTLE_MS;
        return publish(self, self->wanted);
    }
    if (self->active < self->wanted && !look_for_failure(self, conditions)) {
        next = grow(self, conditions);
    }
    if (next.verb == SCALING_WAIT && self->running > self->wanted) {
        next = shrink(self, conditions, now_ms);
    }
    if (next.verb == SCALING_WAIT && self->running == self->wanted &&
        self->active == self->wanted) {
        next.verb = SCALING_DONE;
    }
    return next;
}

uint64_t scaling_deadline_ms(const struct scaling *self, uint64_t now_ms)
{
    uint64_t stop_ms = self->stopped_ms + SCALING_STOP_MAX_MS;

    if (self->running > self->wanted && now_ms < self->settled_ms) {
        return self->settled_ms;
    }
    return self->stopped != 0 && now_ms < stop_ms ? stop_ms : SCALING_NEVER;
}
