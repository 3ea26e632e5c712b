#include "tests/transport/dtls_world.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

/* Of the net that is being used: one at a time. */
static uint64_t virtual_us;

int gettimeofday(struct timeval *restrict ret_now, void *restrict zone)
{
    (void)zone;
    *ret_now = (struct timeval){ .tv_sec = (time_t)(virtual_us / 1000000),
                                 .tv_usec = (suseconds_t)(virtual_us % 1000000) };
    return 0;
}

static void set_time(struct dtls_net *self, uint64_t now_us)
{
    self->now_us = now_us;
    virtual_us = now_us;
}

/* ---- the network ---- */

static void put_on_its_way(struct dtls_net *self, const struct dtls_packet *packet)
{
    uint64_t range_us = self->delay_most_us - self->delay_least_us;

    if (random_below(&self->random, 1000) < self->loss)
        return;
    assert(self->packets_count < DTLS_PACKETS_MAX);
    self->packets[self->packets_count] = *packet;
    self->packets[self->packets_count++].at_us =
        self->now_us + self->delay_least_us + random_below(&self->random, range_us + 1);
}

void dtls_net_inject(struct dtls_net *self, const struct address *from, const struct address *to,
                     struct bytes data)
{
    struct dtls_packet packet = { .from = *from, .to = *to, .size = data.size };

    assert(data.size <= sizeof(packet.data));
    memcpy(packet.data, data.data, data.size);
    put_on_its_way(self, &packet);
}

static void on_send(void *ctx, const struct address *to, const struct datagram_local *local,
                    struct bytes datagram)
{
    struct dtls_end *self = ctx;
    struct dtls_net *net = self->net;
    struct dtls_packet packet = { .from = self->address, .to = *to, .size = datagram.size };

    (void)local;
    assert(datagram.size <= sizeof(packet.data));
    memcpy(packet.data, datagram.data, datagram.size);
    self->sent++;
    self->sent_bytes += datagram.size;
    if (datagram.size > self->largest)
        self->largest = datagram.size;
    if (net->tap && !net->tap(net->tap_ctx, &packet))
        return;
    put_on_its_way(net, &packet);
    if (random_below(&net->random, 1000) < net->copies)
        put_on_its_way(net, &packet);
}

static void on_opened(void *ctx, const struct address *peer)
{
    struct dtls_end *self = ctx;

    (void)peer;
    self->opened++;
}

static struct dtls_end *end_at(struct dtls_net *self, const struct address *address)
{
    for (unsigned i = 0; i < self->count; i++) {
        if (address_equal(&self->ends[i].address, address))
            return &self->ends[i];
    }
    return NULL;
}

static void deliver(struct dtls_net *self, const struct dtls_packet *packet)
{
    static const struct datagram_local unknown;
    struct dtls_end *to = end_at(self, &packet->to), *from = end_at(self, &packet->from);
    const struct dtls_datagram datagram = { &packet->from, &unknown,
                                            bytes_of(packet->data, packet->size) };
    uint8_t payload[DTLS_PACKET_SIZE];
    struct node_id node;
    size_t size;

    if (!to || to->is_cut || (from && from->is_cut))
        return;
    size = dtls_input(to->dtls, &datagram, self->now_us, payload, sizeof(payload), &node);
    if (size == 0)
        return;
    to->received++;
    to->payload_size = size;
    to->payload_node = node;
    memcpy(to->payload, payload, size);
}

/* The next packet to arrive; packets_count: none is on its way. */
static unsigned next_packet(const struct dtls_net *self)
{
    unsigned next = self->packets_count;

    for (unsigned i = 0; i < self->packets_count; i++) {
        if (next == self->packets_count || self->packets[i].at_us < self->packets[next].at_us)
            next = i;
    }
    return next;
}

static uint64_t next_deadline_us(const struct dtls_net *self)
{
    uint64_t next_us = UINT64_MAX;

    for (unsigned i = 0; i < self->count; i++) {
        uint64_t at_us = dtls_deadline_us(self->ends[i].dtls);

        if (at_us < next_us)
            next_us = at_us;
    }
    return next_us;
}

/* One event; false: there is none before end_us. */
static bool step(struct dtls_net *self, uint64_t end_us)
{
    unsigned next = next_packet(self);
    uint64_t packet_us = next < self->packets_count ? self->packets[next].at_us : UINT64_MAX;
    uint64_t deadline_us = next_deadline_us(self);

    if (packet_us > end_us && deadline_us > end_us)
        return false;
    if (packet_us <= deadline_us) {
        struct dtls_packet packet = self->packets[next];

        self->packets[next] = self->packets[--self->packets_count];
        set_time(self, packet_us);
        deliver(self, &packet);
        return true;
    }
    set_time(self, deadline_us > self->now_us ? deadline_us : self->now_us);
    for (unsigned i = 0; i < self->count; i++)
        dtls_next(self->ends[i].dtls, self->now_us);
    return true;
}

void dtls_net_run(struct dtls_net *self, uint64_t for_us)
{
    uint64_t end_us = self->now_us + for_us;

    while (step(self, end_us))
        dtls_net_check(self);
    set_time(self, end_us);
}

/* ---- ends ---- */

static void start(struct dtls_end *self, const struct dtls_limits *limits)
{
    const struct dtls_settings settings = {
        .membership = self->membership,
        .secrets = &self->secrets,
        .world = { .ctx = self, .send = on_send, .opened = on_opened },
        .limits = limits ? *limits : (struct dtls_limits)DTLS_LIMITS_DEFAULT,
        .seed = random_u64(&self->net->random),
        .now_s = self->net->now_s,
    };

    self->dtls = dtls_new(&settings);
}

struct dtls_end *dtls_net_add(struct dtls_net *self, enum pki_flaw flaw,
                              const struct dtls_limits *limits)
{
    unsigned number = ++self->count;
    struct dtls_end *end = &self->ends[number - 1];

    assert(number <= DTLS_ENDS_MAX);
    *end = (struct dtls_end){ .net = self, .address = address_v4(10, 0, 0, (uint8_t)number, 6881) };
    pki_member_make(&self->pki, number, CERTIFICATE_MEMBER, flaw, &end->member);
    end->membership = pki_membership(&self->pki, &end->member);
    random_bytes(&self->random, &end->secrets, sizeof(end->secrets));
    start(end, limits);
    return end;
}

void dtls_net_make(struct dtls_net *self, unsigned count, const struct dtls_limits *limits,
                   uint64_t seed)
{
    *self = (struct dtls_net){ .now_s = (uint64_t)time(NULL),
                               .delay_least_us = 500,
                               .delay_most_us = 500,
                               .packets = xcalloc(DTLS_PACKETS_MAX, sizeof(*self->packets)) };
    set_time(self, 1000000000);
    random_init(&self->random, seed);
    pki_network_make(&self->pki, "lab", self->now_s);
    while (self->count < count)
        (void)dtls_net_add(self, PKI_SOUND, limits);
}

void dtls_net_done(struct dtls_net *self)
{
    for (unsigned i = 0; i < self->count; i++) {
        dtls_free(&self->ends[i].dtls);
        membership_free(&self->ends[i].membership);
        pki_member_done(&self->ends[i].member);
    }
    pki_network_done(&self->pki);
    free(self->packets);
}

void dtls_end_restart(struct dtls_end *self)
{
    dtls_free(&self->dtls);
    start(self, NULL);
}

bool dtls_end_has(const struct dtls_end *self, const struct dtls_end *peer)
{
    return dtls_has(self->dtls, &peer->address);
}

bool dtls_end_open(struct dtls_end *self, struct dtls_end *to, uint64_t for_us)
{
    uint64_t end_us = self->net->now_us + for_us;

    if (dtls_reach(self->dtls, &to->address, NULL, self->net->now_us) == DTLS_OPEN)
        return true;
    while (!dtls_end_has(self, to) && step(self->net, end_us))
        dtls_net_check(self->net);
    return dtls_end_has(self, to);
}

bool dtls_end_talks(struct dtls_end *self, struct dtls_end *to)
{
    static const char text[] = "d1:q4:ping1:t2:aa1:y1:qe";
    unsigned before = to->received;

    if (!dtls_send(self->dtls, &to->address, NULL, bytes_of_text(text), self->net->now_us))
        return false;
    dtls_net_run(self->net, 20000);
    return to->received == before + 1 && to->payload_size == sizeof(text) - 1 &&
           memcmp(to->payload, text, sizeof(text) - 1) == 0 &&
           node_id_equal(&to->payload_node, &self->member.identity.node);
}

uint64_t dtls_end_refusals(const struct dtls_end *self, enum certificate_refusal refusal)
{
    return dtls_counters(self->dtls)[DTLS_COUNT_REFUSALS + refusal];
}

void dtls_net_check(const struct dtls_net *self)
{
    for (unsigned i = 0; i < self->count; i++)
        dtls_check(self->ends[i].dtls);
}
