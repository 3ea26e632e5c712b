#include "tests/sim/world.h"

#include "libcommon/memory.h"
#include "tests/sim/calendar.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* One switch; a room of machines that are sometimes busy. */
const uint16_t world_lan[WORLD_QUANTILES] = { 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 6, 15 };

/* One way between homes on several continents. */
const uint16_t world_internet[WORLD_QUANTILES] = { 8,  15, 20, 25,  30,  40,  50,  60,
                                                   70, 80, 90, 110, 130, 160, 220, 400 };

/* A timer, or a datagram with its bytes behind it. */
struct event {
    struct entry entry;
    uint64_t cookie;
    uint32_t host, sender;
    uint32_t moves;    /* of the receiver, when it was sent */
    uint16_t size;     /* of the datagram; 0: a timer */
    bool admitted;     /* it has a place in the receiver's queue */
    struct twin *twin; /* of a datagram that was doubled */
    struct address from;
    uint8_t data[];
};

/* What the two copies of a datagram share. */
struct twin {
    unsigned copies;
    bool delivered; /* one of them was */
};

struct host {
    const struct behaviour *behaviour;
    void *ctx;
    struct address address;
    bool up, paused;
    uint8_t group;
    uint32_t moves;
    uint32_t loss_out_ppm, loss_in_ppm;
    uint32_t held_datagrams;
    struct entry_queue held; /* while paused */
    int64_t skew_ms;
    uint64_t service_ns, busy_ns; /* what a datagram takes; until when it is busy */
    uint32_t queue_max;
    const struct world_gate *gate;
    void *gate_ctx;
    uint64_t discarded_seq; /* what was queued before that is lost */
    struct world_counts sent;
    uint64_t overruns;
};

struct world {
    struct world_options options;
    struct random random;
    uint64_t hash, events;
    bool repeat;
    struct world_counts sent;
    struct host *hosts;
    uint32_t hosts_count, hosts_capacity;
    uint32_t *places; /* by address, host + 1; those that have moved stand twice */
    uint32_t places_count, places_used;
    struct calendar calendar;
};

struct world *world_new(const struct world_options *options)
{
    struct world *self = xcalloc(1, sizeof(*self));

    self->options = *options;
    if (self->options.latency_ms == NULL) {
        self->options.latency_ms = world_lan;
    }
    random_init(&self->random, options->seed);
    self->calendar.now_ms = WORLD_START_MS;
    return self;
}

static void event_free(struct event *event)
{
    if (event->twin != NULL && --event->twin->copies == 0) {
        free(event->twin);
    }
    free(event);
}

static void held_free(struct entry_queue *held)
{
    struct entry *entry;

    while ((entry = entry_queue_take(held)) != NULL) {
        event_free((struct event *)entry);
    }
}

static void calendar_clear(struct calendar *calendar)
{
    uint64_t at_ms;

    while ((at_ms = calendar_first_ms(calendar)) != UINT64_MAX) {
        calendar_advance(calendar, at_ms);
        event_free((struct event *)calendar_take(calendar));
    }
    calendar_done(calendar);
}

void world_free(struct world **self)
{
    if (*self == NULL) {
        return;
    }
    calendar_clear(&(*self)->calendar);
    for (uint32_t i = 0; i < (*self)->hosts_count; i++) {
        held_free(&(*self)->hosts[i].held);
    }
    free((*self)->hosts);
    free((*self)->places);
    free(*self);
    *self = NULL;
}

void world_set_weather(struct world *self, uint32_t loss_ppm, uint32_t duplicate_ppm,
                       uint32_t reorder_ppm)
{
    self->options.loss_ppm = loss_ppm;
    self->options.duplicate_ppm = duplicate_ppm;
    self->options.reorder_ppm = reorder_ppm;
}

/* ---- addresses ---- */

struct address world_default_address(uint32_t host)
{
    uint32_t number = host + 1;

    return address_v4(10, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number,
                      WORLD_PORT);
}

struct address world_address(const struct world *self, uint32_t host)
{
    return self->hosts[host].address;
}

static void place_host(struct world *self, uint32_t host)
{
    uint64_t at = address_hash(&self->hosts[host].address, 0);

    while (self->places[at % self->places_count] != 0) {
        at++;
    }
    self->places[at % self->places_count] = host + 1;
    self->places_used++;
}

static void add_place(struct world *self, uint32_t host)
{
    if (2 * (self->places_used + 1) <= self->places_count) {
        place_host(self, host);
        return;
    }
    free(self->places);
    self->places_count = 4 * self->hosts_capacity;
    self->places = xcalloc(self->places_count, sizeof(*self->places));
    self->places_used = 0;
    for (uint32_t i = 0; i < self->hosts_count; i++) {
        place_host(self, i);
    }
}

uint32_t world_host(const struct world *self, const struct address *address)
{
    uint32_t number = load_u32(address->ip + 12) & 0xffffffu;

    /* Most stand at the address of their number. */
    if (number > 0 && number <= self->hosts_count &&
        address_equal(&self->hosts[number - 1].address, address)) {
        return number - 1;
    }
    for (uint64_t at = address_hash(address, 0); self->places[at % self->places_count] != 0; at++) {
        uint32_t host = self->places[at % self->places_count] - 1;
        if (address_equal(&self->hosts[host].address, address)) {
            return host;
        }
    }
    return UINT32_MAX;
}

uint32_t world_add(struct world *self, const struct behaviour *behaviour, void *ctx,
                   const struct address *address)
{
    uint32_t host = self->hosts_count;

    if (host == self->hosts_capacity) {
        self->hosts_capacity = self->hosts_capacity == 0 ? 64 : self->hosts_capacity * 2;
        self->hosts = xrealloc(self->hosts, self->hosts_capacity * sizeof(*self->hosts));
    }
    assert(host < (1u << 24) - 2);
    self->hosts[host] =
        (struct host){ .behaviour = behaviour,
                       .ctx = ctx,
                       .up = true,
                       .address = address != NULL ? *address : world_default_address(host) };
    self->hosts_count++;
    add_place(self, host);
    return host;
}

void world_move(struct world *self, uint32_t host, const struct address *address)
{
    assert(world_host(self, address) == UINT32_MAX);
    self->hosts[host].address = *address;
    self->hosts[host].moves++;
    add_place(self, host);
}

/* ---- what befalls a host ---- */

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

void world_set_loss(struct world *self, uint32_t host, uint32_t out_ppm, uint32_t in_ppm)
{
    self->hosts[host].loss_out_ppm = out_ppm;
    self->hosts[host].loss_in_ppm = in_ppm;
}

void world_set_skew_ms(struct world *self, uint32_t host, int64_t skew_ms)
{
    self->hosts[host].skew_ms = skew_ms;
}

uint64_t world_wall_ms(const struct world *self, uint32_t host)
{
    return WORLD_WALL_MS + (self->calendar.now_ms - WORLD_START_MS) +
           (uint64_t)self->hosts[host].skew_ms;
}

void world_set_capacity(struct world *self, uint32_t host, uint32_t per_s, uint32_t queue_max)
{
    self->hosts[host].service_ns = per_s == 0 ? 0 : 1000000000u / per_s;
    self->hosts[host].queue_max = queue_max;
}

void world_set_gate(struct world *self, uint32_t host, const struct world_gate *gate, void *ctx)
{
    self->hosts[host].gate = gate;
    self->hosts[host].gate_ctx = ctx;
}

void world_discard(struct world *self, uint32_t host)
{
    self->hosts[host].discarded_seq = self->calendar.seq;
    self->hosts[host].busy_ns = 0;
}

bool world_is_busy(const struct world *self, uint32_t host)
{
    return self->hosts[host].busy_ns > self->calendar.now_ms * 1000000u;
}

/* ---- counts ---- */

uint64_t world_now_ms(const struct world *self)
{
    return self->calendar.now_ms;
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

struct world_counts world_sent(const struct world *self, uint32_t host)
{
    return self->hosts[host].sent;
}

struct world_counts world_sent_by_all(const struct world *self)
{
    return self->sent;
}

uint64_t world_overruns(const struct world *self, uint32_t host)
{
    return self->hosts[host].overruns;
}

bool world_is_repeat(const struct world *self)
{
    return self->repeat;
}

void world_set_paused(struct world *self, uint32_t number, bool paused)
{
    struct host *host = &self->hosts[number];
    struct entry_queue held = host->held;
    struct entry *entry;

    host->paused = paused;
    if (paused) {
        return;
    }
    host->held = (struct entry_queue){ NULL, NULL };
    host->held_datagrams = 0;
    while ((entry = entry_queue_take(&held)) != NULL) {
        entry->at_ms = self->calendar.now_ms;
        calendar_add(&self->calendar, entry);
    }
}

bool world_is_paused(const struct world *self, uint32_t host)
{
    return self->hosts[host].paused;
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

static struct event *deliver_later(struct world *self, uint32_t sender, const struct address *from,
                                   uint32_t to, const void *data, size_t size)
{
    struct event *event = xmalloc(sizeof(*event) + size);

    *event = (struct event){ .entry.at_ms = self->calendar.now_ms + draw_latency_ms(self),
                             .host = to,
                             .sender = sender,
                             .moves = self->hosts[to].moves,
                             .size = (uint16_t)size,
                             .from = *from };
    memcpy(event->data, data, size);
    calendar_add(&self->calendar, &event->entry);
    return event;
}

void world_send(struct world *self, uint32_t host, const struct address *from,
                const struct address *to, const void *data, size_t size)
{
    uint32_t receiver = world_host(self, to);

    assert(size > 0);
    assert(size <= UINT16_MAX);
    if (!self->hosts[host].up) {
        return;
    }
    self->hosts[host].sent.datagrams++;
    self->hosts[host].sent.bytes += size;
    self->sent.datagrams++;
    self->sent.bytes += size;
    if (receiver == UINT32_MAX || happens(self, self->options.loss_ppm) ||
        happens(self, self->hosts[host].loss_out_ppm) ||
        happens(self, self->hosts[receiver].loss_in_ppm)) {
        return;
    }
    struct event *event = deliver_later(self, host, from, receiver, data, size);
    if (happens(self, self->options.duplicate_ppm)) {
        event->twin = xcalloc(1, sizeof(*event->twin));
        event->twin->copies = 2;
        deliver_later(self, host, from, receiver, data, size)->twin = event->twin;
    }
}

void world_timer(struct world *self, uint32_t host, uint64_t at_ms, uint64_t cookie)
{
    struct event *event = xmalloc(sizeof(*event));

    *event = (struct event){ .entry.at_ms =
                                 at_ms > self->calendar.now_ms ? at_ms : self->calendar.now_ms,
                             .host = host,
                             .cookie = cookie };
    calendar_add(&self->calendar, &event->entry);
}

/* ---- delivery ---- */

static void mix(struct world *self, const struct event *event)
{
    uint64_t value =
        event->entry.at_ms * 0x9e3779b97f4a7c15u ^ event->host ^ ((uint64_t)event->size << 32);

    for (size_t i = 0; i < event->size; i += 7) {
        value = (value ^ event->data[i]) * 0x100000001b3u;
    }
    self->hash = (self->hash ^ value) * 0xff51afd7ed558ccdu;
    self->hash ^= self->hash >> 33;
}

/* A host of bounded capacity: false, it has no place; else *ret_at_ms is when its turn comes. */
static bool queue_up(struct world *self, struct host *host, uint64_t *ret_at_ms)
{
    uint64_t now_ns = self->calendar.now_ms * 1000000u;

    host->busy_ns = host->busy_ns > now_ns ? host->busy_ns : now_ns;
    if ((host->busy_ns - now_ns) / host->service_ns >= host->queue_max) {
        host->overruns++;
        return false;
    }
    host->busy_ns += host->service_ns;
    *ret_at_ms = host->busy_ns / 1000000u;
    return true;
}

static bool is_reachable(const struct world *self, const struct event *event)
{
    const struct host *host = &self->hosts[event->host];

    return host->up && host->group == self->hosts[event->sender].group &&
           host->moves == event->moves;
}

/* Returns whether the event is done with. */
static bool deliver(struct world *self, struct event *event)
{
    struct host *host = &self->hosts[event->host];
    uint64_t turn_ms;

    if (!is_reachable(self, event)) {
        return true;
    }
    if (event->admitted && event->entry.seq < host->discarded_seq) {
        return true;
    }
    if (!event->admitted && host->gate != NULL && host->gate->admits != NULL &&
        !host->gate->admits(host->gate_ctx, &event->from)) {
        return true;
    }
    if (host->service_ns > 0 && !event->admitted) {
        if (!queue_up(self, host, &turn_ms)) {
            return true;
        }
        if (turn_ms > self->calendar.now_ms) {
            event->admitted = true;
            event->entry.at_ms = turn_ms;
            calendar_add(&self->calendar, &event->entry);
            return false;
        }
    }
    if (host->gate != NULL && host->gate->taken != NULL) {
        host->gate->taken(host->gate_ctx, &event->from);
    }
    mix(self, event);
    self->repeat = event->twin != NULL && event->twin->delivered;
    if (event->twin != NULL) {
        event->twin->delivered = true;
    }
    host->behaviour->receive(host->ctx, &event->from, event->data, event->size);
    self->repeat = false;
    return true;
}

/* A paused host: keep it for later. Returns whether the event is done with. */
static bool hold(struct host *host, struct event *event)
{
    if (!host->up || (event->size > 0 && host->held_datagrams == WORLD_SOCKET_MAX)) {
        return true;
    }
    host->held_datagrams += event->size > 0;
    entry_queue_add(&host->held, &event->entry);
    return false;
}

static bool carry_out(struct world *self, struct event *event)
{
    struct host *host = &self->hosts[event->host];

    if (host->paused) {
        return hold(host, event);
    }
    if (event->size > 0) {
        return deliver(self, event);
    }
    if (host->up) {
        host->behaviour->timer(host->ctx, event->cookie);
    }
    return true;
}

bool world_step(struct world *self, uint64_t until_ms)
{
    uint64_t at_ms = calendar_first_ms(&self->calendar);

    if (at_ms == UINT64_MAX || at_ms > until_ms) {
        if (until_ms != UINT64_MAX && until_ms > self->calendar.now_ms) {
            calendar_advance(&self->calendar, until_ms);
        }
        return false;
    }
    calendar_advance(&self->calendar, at_ms);
    struct event *event = (struct event *)calendar_take(&self->calendar);
    self->events++;
    if (carry_out(self, event)) {
        event_free(event);
    }
    return true;
}
