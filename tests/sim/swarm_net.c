#include "tests/sim/swarm_net.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>

#define NS_PER_US  1000u
#define NS_PER_S   1000000000u
#define WOKEN      2u /* of those a downlink had no room for, with each arrival */
#define POOL_CHUNK 1024u

struct pool {
    size_t size; /* of an item */
    void *unused;
    char **chunks;
    size_t chunks_count;
};

enum net_what { PARCEL_MESSAGE, PARCEL_HELLO, PARCEL_CLOSE };

enum event_kind { EVENT_UPLINK, EVENT_ARRIVAL, EVENT_CALL };

struct event {
    struct entry entry; /* first: an entry is its event */
    enum event_kind kind;
};

struct ring {
    struct net_end *first, *last;
    uint32_t count;
};

struct host {
    struct event uplink; /* in the calendar while sending */
    bool is_up, sending;
    uint64_t up, down; /* bytes per second */
    uint64_t up_free_ns, down_free_ns;
    uint64_t down_pending, down_room; /* bytes on their way to it */
    struct ring urgent, bulk;
    struct ring blocked; /* ends of others, that want to send to it */
    struct net_end *ends;
    struct net_counts counts;
};

/* What the uplink sends at once: a block, or a packet of small messages. */
struct frame {
    struct event event;
    struct net_end *to;
    struct net_parcel *first;
    uint64_t bytes, cost;
};

struct call {
    struct event event;
    net_fn *fn;
    void *ctx;
    uint64_t cookie;
    uint32_t host;
};

struct net {
    struct net_options options;
    struct net_events events;
    struct calendar calendar;
    struct host **hosts;
    uint32_t hosts_count, hosts_capacity;
    struct pool parcels, frames, calls;
    struct net_link *links;
    uint64_t steps, hash;
};

/* ---- memory: pools, since there are hundreds of millions of these ---- */

/* Items begin with a pointer, which links the unused ones. */
static void *pool_take(struct pool *self)
{
    if (self->unused == NULL) {
        char *chunk = xcalloc(POOL_CHUNK, self->size);
        self->chunks = xrealloc(self->chunks, (self->chunks_count + 1) * sizeof(char *));
        self->chunks[self->chunks_count++] = chunk;
        for (size_t i = 0; i < POOL_CHUNK; i++) {
            *(void **)(void *)(chunk + i * self->size) = self->unused;
            self->unused = chunk + i * self->size;
        }
    }
    void *item = self->unused;
    self->unused = *(void **)item;
    return item;
}

static void pool_give(struct pool *self, void *item)
{
    *(void **)item = self->unused;
    self->unused = item;
}

static void pool_done(struct pool *self)
{
    for (size_t i = 0; i < self->chunks_count; i++) {
        free(self->chunks[i]);
    }
    free(self->chunks);
}

static struct net_parcel *new_parcel(struct net *self, enum net_what what)
{
    struct net_parcel *parcel = pool_take(&self->parcels);

    *parcel = (struct net_parcel){ .what = (uint8_t)what };
    return parcel;
}

static void free_parcel(struct net *self, struct net_parcel *parcel)
{
    free(parcel->owned);
    parcel->owned = NULL;
    pool_give(&self->parcels, parcel);
}

/* ---- sizes and times ---- */

static uint64_t parcel_bytes(const struct net_parcel *parcel)
{
    switch (parcel->what) {
    case PARCEL_HELLO:
        return NET_HANDSHAKE;
    case PARCEL_CLOSE:
        return 1;
    default:
        return wire_size(&parcel->message) +
               (parcel->message.kind == WIRE_PIECE ? parcel->message.length : 0);
    }
}

static uint64_t cost_of(uint64_t bytes)
{
    return bytes + (bytes + NET_SEGMENT - 1) / NET_SEGMENT * NET_HEADERS;
}

static uint64_t duration_ns(uint64_t bytes, uint64_t rate)
{
    return bytes * NS_PER_S / rate;
}

static uint64_t now_ns(const struct net *self)
{
    return self->calendar.now_ms * NS_PER_US;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void add_event(struct net *self, struct event *event, uint64_t at_ns)
{
    event->entry.at_ms = later((at_ns + NS_PER_US - 1) / NS_PER_US, self->calendar.now_ms);
    calendar_add(&self->calendar, &event->entry);
}

/* ---- links ---- */

static struct net_end *other_end(const struct net_end *end)
{
    return end == &end->link->ends[0] ? &end->link->ends[1] : &end->link->ends[0];
}

uint32_t net_other(const struct net_end *end)
{
    return other_end(end)->host;
}

static void drop_from(struct net *self, struct net_parcel *parcel)
{
    while (parcel != NULL) {
        struct net_parcel *next = parcel->next;
        free_parcel(self, parcel);
        parcel = next;
    }
}

static void unref(struct net *self, struct net_link *link)
{
    assert(link->refs > 0);
    if (--link->refs > 0) {
        return;
    }
    drop_from(self, link->ends[0].first);
    drop_from(self, link->ends[1].first);
    if (link->previous != NULL) {
        link->previous->next = link->next;
    } else {
        self->links = link->next;
    }
    if (link->next != NULL) {
        link->next->previous = link->previous;
    }
    free(link);
}

static void leave_host(struct net *self, struct net_end *end)
{
    end->gone = true;
    if (end->previous != NULL) {
        end->previous->next = end->next;
    } else {
        self->hosts[end->host]->ends = end->next;
    }
    if (end->next != NULL) {
        end->next->previous = end->previous;
    }
}

static void join_host(struct net *self, struct net_end *end)
{
    struct host *host = self->hosts[end->host];

    end->next = host->ends;
    if (host->ends != NULL) {
        host->ends->previous = end;
    }
    host->ends = end;
}

static void ring_add(struct ring *ring, struct net_end *end, enum net_ring which)
{
    assert(end->ring == NET_RING_NONE);
    end->ring = (uint8_t)which;
    end->ring_next = NULL;
    end->link->refs++;
    if (ring->first == NULL) {
        ring->first = end;
    } else {
        ring->last->ring_next = end;
    }
    ring->last = end;
    ring->count++;
}

/* Its reference goes to the caller. */
static struct net_end *ring_take(struct ring *ring)
{
    struct net_end *end = ring->first;

    if (end != NULL) {
        ring->first = end->ring_next;
        end->ring = NET_RING_NONE;
        ring->count--;
    }
    return end;
}

/* ---- sending ---- */

static bool is_block(const struct net_parcel *parcel)
{
    return parcel->what == PARCEL_MESSAGE && parcel->message.kind == WIRE_PIECE;
}

static bool in_kernel(const struct net_end *end)
{
    return end->first != NULL && end->first != end->outside;
}

static void cut_frame(struct net_end *end, struct frame *frame)
{
    struct net_parcel *last = end->first;

    frame->first = last;
    frame->bytes = parcel_bytes(last);
    while (!is_block(frame->first) && last->next != NULL && last->next != end->outside &&
           !is_block(last->next) && frame->bytes + parcel_bytes(last->next) <= NET_SEGMENT) {
        last = last->next;
        frame->bytes += parcel_bytes(last);
    }
    end->first = last->next;
    if (end->first == NULL) {
        end->last = NULL;
    }
    last->next = NULL;
    frame->cost = cost_of(frame->bytes);
}

static void send_frame(struct net *self, struct net_end *end)
{
    struct host *from = self->hosts[end->host];
    struct net_end *peer = other_end(end);
    struct host *to = self->hosts[peer->host];
    struct frame *frame = pool_take(&self->frames);
    const uint64_t latency_ns = self->options.latency_us * NS_PER_US;

    cut_frame(end, frame);
    frame->to = peer;
    frame->event.kind = EVENT_ARRIVAL;
    end->link->refs++;
    const uint64_t begin_ns = from->up_free_ns;
    from->up_free_ns += duration_ns(frame->cost, from->up);
    from->counts.up += frame->cost;
    to->down_free_ns =
        later(begin_ns + latency_ns, to->down_free_ns) + duration_ns(frame->cost, to->down);
    to->down_pending += frame->cost;
    add_event(self, &frame->event, later(to->down_free_ns, from->up_free_ns + latency_ns));
}

static void get_ready(struct net *self, struct net_end *end)
{
    struct host *host = self->hosts[end->host];

    if (end->ring != NET_RING_NONE || !in_kernel(end)) {
        return;
    }
    if (is_block(end->first)) {
        ring_add(&host->bulk, end, NET_RING_BULK);
    } else {
        ring_add(&host->urgent, end, NET_RING_URGENT);
    }
}

/* All small packets, then one block for whose receiver there is room; until that is out. */
static void uplink(struct net *self, struct host *host)
{
    struct net_end *end;

    if (host->sending) {
        return;
    }
    if (host->up_free_ns + NS_PER_US <= now_ns(self)) {
        host->up_free_ns = now_ns(self); /* it has been idle */
    }
    while ((end = ring_take(&host->urgent)) != NULL) {
        if (in_kernel(end)) {
            send_frame(self, end);
            get_ready(self, end);
        }
        unref(self, end->link);
    }
    bool sent = false;
    while (!sent && (end = ring_take(&host->bulk)) != NULL) {
        struct host *to = self->hosts[net_other(end)];
        if (in_kernel(end) && to->down_pending >= to->down_room) {
            ring_add(&to->blocked, end, NET_RING_BLOCKED);
        } else if (in_kernel(end)) {
            send_frame(self, end);
            get_ready(self, end);
            sent = true;
        }
        unref(self, end->link);
    }
    if (host->up_free_ns > now_ns(self)) {
        host->sending = true;
        add_event(self, &host->uplink, host->up_free_ns);
    }
}

static void wake(struct net *self, struct host *to)
{
    uint32_t most = to->down_pending == 0 ? to->blocked.count : WOKEN;
    struct net_end *end;

    while (most-- > 0 && (end = ring_take(&to->blocked)) != NULL) {
        get_ready(self, end);
        uplink(self, self->hosts[end->host]);
        unref(self, end->link);
    }
}

/* Returns whether a block became the kernel's. */
static bool admit(struct net *self, struct net_end *end)
{
    bool taken = false;

    while (end->outside != NULL) {
        struct net_parcel *parcel = end->outside;
        const uint64_t bytes = parcel_bytes(parcel);
        if (end->kernel_bytes > 0 && end->kernel_bytes + bytes > self->options.kernel_bytes) {
            break;
        }
        end->kernel_bytes += bytes;
        end->outside = parcel->next;
        if (is_block(parcel) && !end->gone) {
            taken = true;
            self->events.taken(self->events.ctx, end, &parcel->message);
        }
    }
    get_ready(self, end);
    uplink(self, self->hosts[end->host]);
    return taken;
}

static void append(struct net *self, struct net_end *end, struct net_parcel *parcel)
{
    parcel->next = NULL;
    if (end->last != NULL) {
        end->last->next = parcel;
    } else {
        end->first = parcel;
    }
    end->last = parcel;
    if (end->outside == NULL) {
        end->outside = parcel;
    }
    (void)admit(self, end);
}

void net_send(struct net *self, struct net_end *end, const struct wire_message *message,
              bool spoilt)
{
    struct net_parcel *parcel = new_parcel(self, PARCEL_MESSAGE);

    assert(!end->gone);
    parcel->message = *message;
    parcel->spoilt = spoilt;
    if (message->payload.size > 0) {
        parcel->owned = xmemdup(message->payload.data, message->payload.size);
        parcel->message.payload.data = parcel->owned;
    }
    append(self, end, parcel);
}

void net_hello(struct net *self, struct net_end *end)
{
    assert(!end->gone);
    append(self, end, new_parcel(self, PARCEL_HELLO));
}

/* ---- making and closing ---- */

static void hear_close(struct net *self, struct net_end *end)
{
    if (end->gone) {
        return;
    }
    leave_host(self, end);
    drop_from(self, end->first);
    end->first = end->last = end->outside = NULL;
    self->events.closed(self->events.ctx, end);
    self->events.settle(self->events.ctx, end->host);
    unref(self, end->link);
}

static void drop_outside(struct net *self, struct net_end *end)
{
    struct net_parcel *at = end->first;

    if (end->outside == NULL) {
        return;
    }
    if (at == end->outside) {
        end->first = end->last = NULL;
    } else {
        while (at->next != end->outside) {
            at = at->next;
        }
        at->next = NULL;
        end->last = at;
    }
    drop_from(self, end->outside);
    end->outside = NULL;
}

void net_close(struct net *self, struct net_end **end)
{
    struct net_end *closed = *end;

    *end = NULL;
    assert(!closed->gone);
    drop_outside(self, closed);
    leave_host(self, closed);
    closed->kernel_bytes = 0; /* so that it is let in at once */
    append(self, closed, new_parcel(self, PARCEL_CLOSE));
    unref(self, closed->link);
}

static void refuse(struct net *self, struct net_end *end)
{
    if (!end->gone) {
        leave_host(self, end);
        unref(self, end->link);
    }
}

static void on_connected(void *ctx, uint32_t host, uint64_t cookie)
{
    struct net *self = ctx;
    struct net_link *link = (struct net_link *)(uintptr_t)cookie;
    struct net_end *caller = &link->ends[0], *called = &link->ends[1];

    if (caller->gone) {
        refuse(self, called);
    } else if (!self->hosts[host]->is_up || called->gone) {
        refuse(self, called);
        hear_close(self, caller);
    } else {
        net_hello(self, caller);
    }
    unref(self, link);
}

static struct net_link *new_link(struct net *self)
{
    struct net_link *link = xcalloc(1, sizeof(*link));

    link->next = self->links;
    if (self->links != NULL) {
        self->links->previous = link;
    }
    self->links = link;
    return link;
}

struct net_end *net_connect(struct net *self, uint32_t from, uint32_t to)
{
    struct net_link *link = new_link(self);

    link->refs = 3; /* both ends and the call below */
    for (unsigned i = 0; i < 2; i++) {
        link->ends[i] = (struct net_end){
            .link = link,
            .host = i == 0 ? from : to,
            .user = NET_NOBODY,
            .outgoing = i == 0,
        };
        join_host(self, &link->ends[i]);
    }
    net_call(self, net_now_us(self) + 2 * self->options.latency_us, on_connected, self, to,
             (uintptr_t)link);
    return &link->ends[0];
}

/* ---- arrivals ---- */

static void hash_in(struct net *self, uint64_t value)
{
    self->hash = (self->hash ^ value) * 0x9e3779b97f4a7c15u;
    self->hash ^= self->hash >> 29;
}

static void deliver(struct net *self, struct net_end *end, const struct net_parcel *parcel)
{
    hash_in(self, self->calendar.now_ms);
    hash_in(self, (uint64_t)end->host << 32 | net_other(end));
    hash_in(self, (uint64_t)parcel->message.kind << 32 | parcel->message.piece);
    switch (parcel->what) {
    case PARCEL_HELLO:
        self->events.hello(self->events.ctx, end);
        break;
    case PARCEL_CLOSE:
        hear_close(self, end);
        break;
    default:
        self->events.message(self->events.ctx, end, &parcel->message, parcel->spoilt);
        break;
    }
}

static void arrive(struct net *self, struct frame *frame)
{
    struct net_end *end = frame->to, *sender = other_end(end);
    struct host *host = self->hosts[end->host];
    struct net_link *link = end->link;

    host->down_pending -= frame->cost;
    host->counts.down += frame->cost;
    sender->kernel_bytes -= least(sender->kernel_bytes, frame->bytes);
    for (struct net_parcel *parcel = frame->first; parcel != NULL && !end->gone;
         parcel = parcel->next) {
        deliver(self, end, parcel);
    }
    drop_from(self, frame->first);
    if (end->gone) {
        hear_close(self, sender); /* as by a reset */
    } else {
        self->events.settle(self->events.ctx, end->host);
    }
    pool_give(&self->frames, frame);
    if (!sender->gone && admit(self, sender)) {
        self->events.settle(self->events.ctx, sender->host);
    }
    wake(self, host);
    unref(self, link);
}

/* ---- time ---- */

void net_call(struct net *self, uint64_t at_us, net_fn *fn, void *ctx, uint32_t host,
              uint64_t cookie)
{
    struct call *call = pool_take(&self->calls);

    *call = (struct call){
        .event = { .kind = EVENT_CALL },
        .fn = fn,
        .ctx = ctx,
        .cookie = cookie,
        .host = host,
    };
    add_event(self, &call->event, at_us * NS_PER_US);
}

static void make_call(struct net *self, struct call *call)
{
    const struct call made = *call;

    pool_give(&self->calls, call);
    made.fn(made.ctx, made.host, made.cookie);
}

bool net_step(struct net *self, uint64_t until_us)
{
    const uint64_t at_us = calendar_first_ms(&self->calendar);

    if (at_us > until_us) {
        calendar_advance(&self->calendar, later(until_us, self->calendar.now_ms));
        return false;
    }
    calendar_advance(&self->calendar, at_us);
    struct event *event = (struct event *)calendar_take(&self->calendar);
    self->steps++;
    switch (event->kind) {
    case EVENT_UPLINK: {
        struct host *host = (struct host *)event;
        host->sending = false;
        uplink(self, host);
        break;
    }
    case EVENT_ARRIVAL:
        arrive(self, (struct frame *)event);
        break;
    case EVENT_CALL:
        make_call(self, (struct call *)event);
        break;
    }
    return true;
}

uint64_t net_now_us(const struct net *self)
{
    return self->calendar.now_ms;
}

/* ---- life ---- */

struct net *net_new(const struct net_options *options, const struct net_events *events)
{
    struct net *self = xcalloc(1, sizeof(*self));

    self->options = *options;
    self->events = *events;
    self->parcels.size = sizeof(struct net_parcel);
    self->frames.size = sizeof(struct frame);
    self->calls.size = sizeof(struct call);
    if (self->options.kernel_bytes < 2 * self->options.block_bytes) {
        self->options.kernel_bytes = 2 * self->options.block_bytes;
    }
    return self;
}

void net_free(struct net **self)
{
    struct net *freed = *self;

    *self = NULL;
    if (freed == NULL) {
        return;
    }
    while (freed->links != NULL) {
        struct net_link *link = freed->links;
        freed->links = link->next;
        free(link);
    }
    for (size_t i = 0; i < freed->parcels.chunks_count; i++) {
        struct net_parcel *parcels = (struct net_parcel *)(void *)freed->parcels.chunks[i];
        for (size_t k = 0; k < POOL_CHUNK; k++) {
            free(parcels[k].owned);
        }
    }
    pool_done(&freed->parcels);
    pool_done(&freed->frames);
    pool_done(&freed->calls);
    for (uint32_t i = 0; i < freed->hosts_count; i++) {
        free(freed->hosts[i]);
    }
    free(freed->hosts);
    calendar_done(&freed->calendar);
    free(freed);
}

uint32_t net_add(struct net *self, uint64_t up, uint64_t down)
{
    struct host *host = xcalloc(1, sizeof(*host));

    if (self->hosts_count == self->hosts_capacity) {
        self->hosts_capacity = self->hosts_capacity == 0 ? 64 : 2 * self->hosts_capacity;
        self->hosts = xrealloc(self->hosts, self->hosts_capacity * sizeof(struct host *));
    }
    *host = (struct host){ .uplink = { .kind = EVENT_UPLINK },
                           .is_up = true,
                           .up = up,
                           .down = down,
                           .down_room = later(down * NET_DOWN_MS / 1000, NET_DOWN_LEAST) };
    host->down_room = later(host->down_room, 2 * self->options.block_bytes);
    self->hosts[self->hosts_count] = host;
    return self->hosts_count++;
}

void net_set_up(struct net *self, uint32_t host, bool up)
{
    self->hosts[host]->is_up = up;
    while (!up && self->hosts[host]->ends != NULL) {
        struct net_end *end = self->hosts[host]->ends;
        net_close(self, &end);
    }
}

struct net_counts net_counts(const struct net *self, uint32_t host)
{
    return self->hosts[host]->counts;
}

uint64_t net_steps(const struct net *self)
{
    return self->steps;
}

uint64_t net_hash(const struct net *self)
{
    return self->hash;
}
