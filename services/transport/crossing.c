#include "services/transport/crossing.h"

#include "libcommon/actor.h"
#include "proto/transport.pb-c.h"
#include "services/transport/queries.h"
#include "services/transport/service.h"

#define US_PER_S 1000000u

void crossings_follow(struct crossings *self, struct transport *transport)
{
    unsigned active = actor_active(transport->actor, SERVICE_TRANSPORT);

    self->transport = transport;
    for (unsigned i = 0; i < active && i < TRANSACTIONS_WORKERS; i++) {
        if (self->workers[i] || i == actor_instance(transport->actor))
            continue;
        self->workers[i] =
            actor_link(transport->actor, SERVICE_TRANSPORT, i, &lb__transport__reply__descriptor);
        transport->endpoint.others |= (uint16_t)(1u << i);
    }
}

static bool take_one(struct crossings *self, uint64_t now_us)
{
    if (self->second != now_us / US_PER_S) {
        self->second = now_us / US_PER_S;
        self->taken = 0;
    }
    return self->taken++ < CROSSINGS_PER_SECOND;
}

void crossings_add(struct crossings *self, unsigned worker, const struct address *from,
                   struct bytes datagram, uint64_t now_us)
{
    if (!take_one(self, now_us))
        return;
    if (self->count == CROSSINGS_BATCH_MAX)
        crossings_flush(self);
    self->list[self->count++] = (struct crossing){ worker, *from, datagram };
}

/* Those of one worker. */
static void send_to(struct crossings *self, unsigned worker)
{
    Lb__Transport__Request request = LB__TRANSPORT__REQUEST__INIT;
    Lb__Transport__Crossed crossed = LB__TRANSPORT__CROSSED__INIT;
    Lb__Transport__CrossedDatagram list[CROSSINGS_BATCH_MAX], *pointers[CROSSINGS_BATCH_MAX];
    uint8_t addresses[CROSSINGS_BATCH_MAX][ADDRESS_COMPACT_V6];

    for (unsigned i = 0; i < self->count; i++) {
        const struct crossing *crossing = &self->list[i];
        size_t place = crossed.n_datagrams;

        if (crossing->worker != worker)
            continue;
        lb__transport__crossed_datagram__init(&list[place]);
        list[place].address.len = address_to_compact(&crossing->from, addresses[place]);
        list[place].address.data = addresses[place];
        list[place].datagram =
            (ProtobufCBinaryData){ .len = crossing->datagram.size,
                                   .data = (uint8_t *)(uintptr_t)crossing->datagram.data };
        pointers[place] = &list[place];
        crossed.n_datagrams++;
    }
    if (crossed.n_datagrams == 0)
        return;
    crossed.datagrams = pointers;
    request.body_case = LB__TRANSPORT__REQUEST__BODY_CROSSED;
    request.crossed = &crossed;
    link_tell(self->workers[worker], &request.base);
}

void crossings_flush(struct crossings *self)
{
    for (unsigned worker = 0; self->count > 0 && worker < TRANSACTIONS_WORKERS; worker++) {
        if (self->workers[worker])
            send_to(self, worker);
    }
    self->count = 0;
}

static void take_crossed(struct transport *self, const Lb__Transport__CrossedDatagram *from)
{
    struct bytes datagram = bytes_of(from->datagram.data, from->datagram.len);
    struct address address;

    if (datagram.size > KRPC_RECEIVE_MAX ||
        address_from_compact(bytes_of(from->address.data, from->address.len), &address) != LB_OK)
        return;
    endpoint_forwarded(&self->endpoint, &address, datagram, self->now_us, &self->result);
    if (self->result.verdict == ENDPOINT_ANSWERED)
        queries_answered(self);
    if (self->result.sightings_count > 0)
        reports_add(&self->reports, &self->result);
}

void crossings_on_crossed(void *ctx, struct call *call, const void *body)
{
    struct transport *self = ctx;
    const Lb__Transport__Crossed *crossed = body;

    self->now_us = uv_hrtime() / 1000;
    for (size_t i = 0; i < crossed->n_datagrams && i < CROSSINGS_BATCH_MAX; i++)
        take_crossed(self, crossed->datagrams[i]);
    call_done(&call);
}
