#include "services/transport/shaping.h"

#include "libcommon/log.h"
#include "services/transport/service.h"

void shaping_init(struct shaping *self, struct transport *transport)
{
    self->transport = transport;
    overload_init(&self->datagrams, random_u64(&transport->random));
    for (unsigned i = 0; i < 2; i++)
        overload_init(&self->questions[i].overload, random_u64(&transport->random));
    uv_timer_init(actor_loop(transport->actor), &self->timer);
    self->timer.data = transport;
    self->open = true;
}

void shaping_close(struct shaping *self, uv_close_cb on_closed)
{
    self->open = false;
    uv_close((uv_handle_t *)&self->timer, on_closed);
}

void shaping_done(struct shaping *self)
{
    overload_done(&self->datagrams);
    for (unsigned i = 0; i < 2; i++)
        overload_done(&self->questions[i].overload);
}

/* ---- datagrams ---- */

static void apply(struct shaping *self)
{
    const struct overload *overload = &self->datagrams;

    for (unsigned i = 0; i < self->transport->ports_count; i++) {
        struct datagram_port *port = &self->transport->ports[i];

        if (!port->ops || port->ops->shape(port->self, overload->rules, overload->rules_count))
            continue;
        if (!self->gate_refused)
            log_warn("the kernel takes no filter: who asks too much is answered like the others");
        self->gate_refused = true;
    }
}

/* What the sockets did since the last period. */
static struct overload_period period_of_sockets(struct shaping *self)
{
    const struct transport *transport = self->transport;
    uint64_t taken = 0, reads = 0, short_reads = 0;
    struct overload_period period = { .taken = 0 };

    for (unsigned i = 0; i < transport->ports_count; i++) {
        const struct datagram_port *port = &transport->ports[i];
        uint32_t dropped = port->ops ? port->ops->dropped(port->self) : self->dropped[i];

        period.dropped += (uint32_t)(dropped - self->dropped[i]);
        self->dropped[i] = dropped;
        taken += port->counts.packets_in;
        reads += port->counts.reads;
        short_reads += port->counts.short_reads;
    }
    period.taken = taken - self->taken;
    period.busy = 10 * (short_reads - self->short_reads) <= reads - self->reads;
    self->taken = taken;
    self->reads = reads;
    self->short_reads = short_reads;
    return period;
}

static void discard(struct shaping *self)
{
    for (unsigned i = 0; i < self->transport->ports_count; i++) {
        struct datagram_port *port = &self->transport->ports[i];

        if (port->ops)
            port->ops->discard(port->self);
    }
    (void)period_of_sockets(self); /* what was until now does not count */
}

static void end_of_sockets(struct shaping *self)
{
    const struct overload_period period = period_of_sockets(self);
    unsigned before = self->datagrams.rules_count;

    if (!overload_end_period(&self->datagrams, &period))
        return;
    apply(self);
    if (self->datagrams.stale)
        discard(self);
    if ((before == 0) != (self->datagrams.rules_count == 0))
        log_info("more is asked than can be answered: %u sources are heard in part",
                 self->datagrams.rules_count);
}

/* ---- questions ---- */

bool shaping_admits(struct shaping *self, bool stores, const struct address *from)
{
    struct shaping_questions *questions = &self->questions[stores];

    if (!overload_admits(&questions->overload, from, &self->transport->random)) {
        questions->period.dropped++;
        return false;
    }
    if (questions->overload.counting)
        overload_count(&questions->overload, from);
    questions->period.taken++;
    return true;
}

void shaping_refused(struct shaping *self, bool stores, unsigned count)
{
    struct overload_period *period = &self->questions[stores].period;

    period->busy = true;
    period->dropped += count;
    period->taken = period->taken > count ? period->taken - count : 0;
}

static void end_of_questions(struct shaping_questions *self)
{
    (void)overload_end_period(&self->overload, &self->period);
    self->period = (struct overload_period){ .taken = 0 };
}

/* ---- the timer ---- */

static bool is_needed(const struct shaping *self)
{
    const struct transport *transport = self->transport;
    bool needed = self->datagrams.counting;

    for (unsigned i = 0; i < transport->ports_count; i++)
        needed |= transport->ports[i].counts.busy;
    for (unsigned i = 0; i < 2; i++)
        needed |= self->questions[i].overload.counting || self->questions[i].period.dropped > 0;
    return needed;
}

static void on_period(uv_timer_t *timer)
{
    struct transport *transport = timer->data;
    struct shaping *self = &transport->shaping;

    end_of_sockets(self);
    for (unsigned i = 0; i < 2; i++)
        end_of_questions(&self->questions[i]);
    if (is_needed(self))
        return;
    uv_timer_stop(timer);
    self->running = false;
}

void shaping_look(struct shaping *self)
{
    if (self->running || !self->open || !is_needed(self))
        return;
    self->running = true;
    (void)period_of_sockets(self); /* what was before does not count */
    for (unsigned i = 0; i < 2; i++)
        self->questions[i].period.taken = 0;
    uv_timer_start(&self->timer, on_period, OVERLOAD_PERIOD_MS, OVERLOAD_PERIOD_MS);
}
