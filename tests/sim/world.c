#include "tests/sim/world.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* One switch; a room of machines that are sometimes busy. */
const uint16_t world_lan[WORLD_QUANTILES] = { 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 6, 15 };

/* One way between homes on several continents. */
const uint16_t world_internet[WORLD_QUANTILES] = { 8,  15, 20, 25,  30,  40,  50,  60,
                                                   70, 80, 90, 110, 130, 160, 220, 400 };

struct host {
    const struct behaviour *behaviour;
    void *ctx;
    bool up;
    uint8_t group;
};

struct event {
    uint64_t at_ms, seq, cookie;
    uint32_t host;
    uint16_t size; /* of the datagram; 0: a timer */
    struct datagram *datagram;
};

struct datagram {
    struct address from;
    uint32_t sender;
    uint8_t data[];
};

struct world {
    struct world_options options;
    struct random random;
    uint64_t now_ms, seq, hash, events;
    struct host *hosts;
    uint32_t hosts_count, hosts_capacity;
    struct event *heap; /* the earliest first */
    size_t heap_count, heap_capacity;
};

struct world *world_new(const struct world_options *options)
{
    struct world *self = xcalloc(1, sizeof(*self));

    self->options = *options;
    if (self->options.latency_ms == NULL) {
        self->options.latency_ms = world_lan;
    }
    random_init(&self->random, options->seed);
    self->now_ms = WORLD_START_MS;
    return self;
}

void world_free(struct world **self)
{
    if (*self == NULL) {
        return;
    }
    for (size_t i = 0; i < (*self)->heap_count; i++) {
        free((*self)->heap[i].datagram);
    }
    free((*self)->heap);
    free((*self)->hosts);
    free(*self);
    *self = NULL;
}

uint32_t world_add(struct world *self, const struct behaviour *behaviour, void *ctx)
{
    if (self->hosts_count == self->hosts_capacity) {
        self->hosts_capacity = self->hosts_capacity == 0 ? 64 : self->hosts_capacity * 2;
        self->hosts = xrealloc(self->hosts, self->hosts_capacity * sizeof(*self->hosts));
    }
    assert(self->hosts_count < (1u << 24) - 2);
    self->hosts[self->hosts_count] =
        (struct host){ .behaviour = behaviour, .ctx = ctx, .up = true };
    return self->hosts_count++;
}

struct address world_address(uint32_t host)
{
    uint32_t number = host + 1;

    return address_v4(10, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number,
                      WORLD_PORT);
}

uint32_t world_host(const struct world *self, const struct address *address)
{
    uint32_t number = load_u32(address->ip + 12) & 0xffffffu;

    if (!address_is_v4(address) || address->ip[12] != 10 || address->port != WORLD_PORT ||
        number == 0 || number > self->hosts_count) {
        return UINT32_MAX;
    }
    return number - 1;
}

void world_set_up(struct world *self, uint32_t host, bool up)
{
    self->hosts[host].up = up;
}

bool world_is_up(const struct world *self, uint32_t host)
{
    return self->hosts[host].up;
}

void world_set_group(struct world *self, uint32_t host, unsigned group)
{
    self->hosts[host].group = (uint8_t)group;
}

uint64_t world_now_ms(const struct world *self)
{
    return self->now_ms;
}

struct random *world_random(struct world *self)
{
    return &self->random;
}

uint64_t world_hash(const struct world *self)
{
    return self->hash;
}

uint64_t world_events(const struct world *self)
{
    return self->events;
}

/* ---- the heap ---- */

static bool is_earlier(const struct event *a, const struct event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->seq < b->seq;
}

static void push(struct world *self, struct event event)
{
    if (self->heap_count == self->heap_capacity) {
        self->heap_capacity = self->heap_capacity == 0 ? 1024 : self->heap_capacity * 2;
        self->heap = xrealloc(self->heap, self->heap_capacity * sizeof(*self->heap));
    }
    event.seq = self->seq++;
    size_t at = self->heap_count++;
    while (at > 0 && is_earlier(&event, &self->heap[(at - 1) / 2])) {
        self->heap[at] = self->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    self->heap[at] = event;
}

static struct event pop(struct world *self)
{
    struct event first = self->heap[0];
    struct event last = self->heap[--self->heap_count];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= self->heap_count) {
            break;
        }
        if (child + 1 < self->heap_count &&
            is_earlier(&self->heap[child + 1], &self->heap[child])) {
            child++;
        }
        if (!is_earlier(&self->heap[child], &last)) {
            break;
        }
        self->heap[at] = self->heap[child];
        at = child;
    }
    self->heap[at] = last;
    return first;
}

/* ---- sending ---- */

static bool happens(struct world *self, uint32_t ppm)
{
    return ppm > 0 && random_below(&self->random, 1000000) < ppm;
}

static uint64_t draw_latency_ms(struct world *self)
{
    const uint16_t *quantiles = self->options.latency_ms;
    uint64_t which = random_below(&self->random, WORLD_QUANTILES);
    uint64_t least = which == 0 ? quantiles[0] : quantiles[which - 1];
    uint64_t latency_ms = least + random_below(&self->random, quantiles[which] - least + 1);

    if (happens(self, self->options.reorder_ppm)) {
        latency_ms += 1 + random_below(&self->random, 3u * quantiles[WORLD_QUANTILES - 1]);
    }
    return latency_ms;
}

static void deliver_later(struct world *self, uint32_t sender, const struct address *from,
                          uint32_t to, const void *data, size_t size)
{
    struct datagram *datagram = xmalloc(sizeof(*datagram) + size);

    datagram->from = *from;
    datagram->sender = sender;
    memcpy(datagram->data, data, size);
    push(self, (struct event){ .at_ms = self->now_ms + draw_latency_ms(self),
                               .host = to,
                               .size = (uint16_t)size,
                               .datagram = datagram });
}

void world_send(struct world *self, uint32_t host, const struct address *from,
                const struct address *to, const void *data, size_t size)
{
    uint32_t receiver = world_host(self, to);

    assert(size > 0);
    assert(size <= UINT16_MAX);
    if (receiver == UINT32_MAX || !self->hosts[host].up || happens(self, self->options.loss_ppm)) {
        return;
    }
    deliver_later(self, host, from, receiver, data, size);
    if (happens(self, self->options.duplicate_ppm)) {
        deliver_later(self, host, from, receiver, data, size);
    }
}

void world_timer(struct world *self, uint32_t host, uint64_t at_ms, uint64_t cookie)
{
    uint64_t when_ms = at_ms > self->now_ms ? at_ms : self->now_ms;

    push(self, (struct event){ .at_ms = when_ms, .host = host, .cookie = cookie });
}

static void mix(struct world *self, const struct event *event)
{
    uint64_t value =
        event->at_ms * 0x9e3779b97f4a7c15u ^ event->host ^ ((uint64_t)event->size << 32);

    if (event->datagram != NULL) {
        for (size_t i = 0; i < event->size; i += 7) {
            value = (value ^ event->datagram->data[i]) * 0x100000001b3u;
        }
    }
    self->hash = (self->hash ^ value) * 0xff51afd7ed558ccdu;
    self->hash ^= self->hash >> 33;
}

bool world_step(struct world *self, uint64_t until_ms)
{
    if (self->heap_count == 0 || self->heap[0].at_ms > until_ms) {
        self->now_ms = until_ms > self->now_ms ? until_ms : self->now_ms;
        return false;
    }
    struct event event = pop(self);
    struct host *host = &self->hosts[event.host];
    self->now_ms = event.at_ms;
    self->events++;
    if (event.datagram == NULL) {
        if (host->up) {
            host->behaviour->timer(host->ctx, event.cookie);
        }
        return true;
    }
    if (host->up && host->group == self->hosts[event.datagram->sender].group) {
        mix(self, &event);
        host->behaviour->receive(host->ctx, &event.datagram->from, event.datagram->data,
                                 event.size);
    }
    free(event.datagram);
    return true;
}
