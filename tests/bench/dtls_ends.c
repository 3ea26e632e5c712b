#include "tests/bench/dtls_ends.h"

#include "libcommon/clock.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MANY 100000u

static uint64_t thread_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void on_send(void *ctx, const struct address *to, const struct datagram_local *local,
                    struct bytes datagram)
{
    struct ends_side *self = ctx;
    struct ends *ends = self->ends;
    struct ends_datagram *place = &ends->queue[ends->count];

    (void)to;
    (void)local;
    if (ends->count == ENDS_QUEUE || datagram.size > sizeof(place->data))
        return;
    ends->count++;
    place->to_server = self == &ends->client;
    place->from = self->address;
    place->size = datagram.size;
    memcpy(place->data, datagram.data, datagram.size);
}

static void on_opened(void *ctx, const struct address *peer)
{
    (void)ctx;
    (void)peer;
}

static struct dtls *open_side(struct ends_side *side, struct membership *membership)
{
    const struct dtls_settings settings = {
        .membership = membership,
        .secrets = &side->ends->secrets,
        .world = { .ctx = side, .send = on_send, .opened = on_opened },
        .limits = { .sessions_max = MANY,
                    .handshakes_max = 64,
                    .handshakes_ip_max = 64,
                    .handshakes_s_max = MANY,
                    .recoveries_max = 1,
                    .idle_us = UINT64_MAX / 2,
                    .handshake_us = 10000000,
                    .silence_us = 10000000 },
        .seed = 1,
        .now_s = clock_wall_s(),
    };

    return dtls_new(&settings);
}

void ends_open(struct ends *self, struct membership *client, struct membership *server)
{
    memset(self, 0, sizeof(*self));
    self->now_us = 1000000000;
    clock_entropy_bytes(&self->secrets, sizeof(self->secrets));
    self->client.ends = self->server.ends = self;
    self->client.address = address_v4(10, 0, 0, 1, 6881);
    self->server.address = address_v4(10, 255, 255, 254, 6881);
    self->client.dtls = open_side(&self->client, client);
    self->server.dtls = open_side(&self->server, server);
}

void ends_close(struct ends *self)
{
    dtls_free(&self->client.dtls);
    dtls_free(&self->server.dtls);
}

void ends_another_client(struct ends *self, struct membership *client, const struct address *at)
{
    dtls_free(&self->client.dtls);
    self->client.address = *at;
    self->client.dtls = open_side(&self->client, client);
}

/* What stands between the two, counted for this side. */
struct measure {
    struct ends_side *side;
    uint64_t began_ns;
    size_t began_bytes;
};

static struct measure begin(struct ends_side *side)
{
    return (struct measure){ side, thread_ns(), mallinfo2().uordblks };
}

static void end(const struct measure *self)
{
    self->side->cpu_ns += thread_ns() - self->began_ns;
    self->side->heap_bytes += (int64_t)mallinfo2().uordblks - (int64_t)self->began_bytes;
}

static void deliver(struct ends *self, const struct ends_datagram *datagram)
{
    static const struct datagram_local unknown;
    struct ends_side *side = datagram->to_server ? &self->server : &self->client;
    const struct dtls_datagram in = { &datagram->from, &unknown,
                                      bytes_of(datagram->data, datagram->size) };
    struct measure measure = begin(side);
    uint8_t payload[2048];
    struct node_id node;

    (void)dtls_input(side->dtls, &in, self->now_us, payload, sizeof(payload), &node);
    end(&measure);
}

void ends_shake_hands(struct ends *self)
{
    struct measure measure = begin(&self->client);

    self->now_us += 1000;
    (void)dtls_reach(self->client.dtls, &self->server.address, NULL, self->now_us);
    end(&measure);
    for (unsigned i = 0; i < self->count; i++) {
        struct ends_datagram datagram = self->queue[i];

        deliver(self, &datagram);
    }
    self->count = 0;
    if (!dtls_has(self->client.dtls, &self->server.address) ||
        !dtls_has(self->server.dtls, &self->client.address)) {
        fprintf(stderr, "bench-dtls: a handshake came to nothing\n");
        exit(1);
    }
}

void ends_forget(struct ends *self)
{
    (void)dtls_unanswered(self->client.dtls, &self->server.address);
    (void)dtls_unanswered(self->server.dtls, &self->client.address);
}
