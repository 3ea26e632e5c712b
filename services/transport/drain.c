#include "services/transport/drain.h"

#include "services/transport/service.h"

static uint64_t packets_in(const struct transport *self)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < self->ports_count; i++)
        count += self->ports[i].counts.packets_in;
    return count;
}

static bool is_surplus(const struct transport *self)
{
    return actor_instance(self->actor) >= actor_active(self->actor, SERVICE_TRANSPORT);
}

/* Nothing has come since the look before. */
static bool is_quiet(struct transport *self)
{
    uint64_t before = self->drain.packets_in;

    self->drain.packets_in = packets_in(self);
    return before == self->drain.packets_in;
}

static void on_look(uv_timer_t *timer)
{
    struct transport *self = timer->data;
    bool is_final = is_surplus(self);
    bool is_over =
        uv_now(timer->loop) - self->drain.began_ms >= (is_final ? DRAIN_FINAL_MS : DRAIN_MS);
    bool is_quiet_now = is_quiet(self);
    bool is_idle = self->endpoint.transactions.count == 0 && questions_are_idle(&self->questions) &&
                   (!self->member || transport_member->is_idle(self->member)) &&
                   (is_quiet_now || !is_final);

    if (is_over || is_idle)
        transport_end(self);
}

void drain_begin(struct transport *self)
{
    self->drain.began_ms = actor_now_ms(self->actor);
    self->drain.packets_in = packets_in(self);
    uv_timer_start(&self->care_timer, on_look, 0, DRAIN_LOOK_MS);
}
