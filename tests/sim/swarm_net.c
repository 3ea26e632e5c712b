#include "libcommon/memory.h"
#include "tests/sim/swarm_net_inside.h"

#include <assert.h>
#include <stdlib.h>

#define NS_PER_US 1000u
#define NS_PER_S  1000000000u
#define WOKEN     2u /* of those a downlink had no room for */

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
    struct net_host *from = self->hosts[end->host];
    struct net_end *peer = net_other_end(end);
    struct net_host *to = self->hosts[peer->host];
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
    struct net_host *host = self->hosts[end->host];

    if (end->ring != NET_RING_NONE || !in_kernel(end)) {
        return;
    }
    if (is_block(end->first)) {
        net_ring_add(&host->bulk, end, NET_RING_BULK);
    } else {
        net_ring_add(&host->urgent, end, NET_RING_URGENT);
    }
}

static void had_its_turn(struct net_host *to, struct net_end *end)
{
    to->woken -= end->woken;
    end->woken = false;
}

/* Who was overtaken keeps its place. */
static void block(struct net_host *to, struct net_end *end)
{
    if (end->woken) {
        net_ring_add_first(&to->blocked, end, NET_RING_BLOCKED);
    } else {
        net_ring_add(&to->blocked, end, NET_RING_BLOCKED);
    }
    had_its_turn(to, end);
}

/* All small packets, then one block for whose receiver there is room; until that is out. */
static void uplink(struct net *self, struct net_host *host)
{
    struct net_end *end;

    if (host->sending) {
        return;
    }
    if (host->up_free_ns + NS_PER_US <= now_ns(self)) {
        host->up_free_ns = now_ns(self); /* it has been idle */
    }
    while ((end = net_ring_take(&host->urgent)) != NULL) {
        if (in_kernel(end)) {
            send_frame(self, end);
            get_ready(self, end);
        }
        net_unref(self, end->link);
    }
    bool sent = false;
    while (!sent && (end = net_ring_take(&host->bulk)) != NULL) {
        struct net_host *to = self->hosts[net_other(end)];
        if (in_kernel(end) && to->down_pending >= to->down_room) {
            block(to, end);
        } else if (in_kernel(end)) {
            had_its_turn(to, end);
            send_frame(self, end);
            get_ready(self, end);
            sent = true;
        } else { /* it was closed meanwhile */
            had_its_turn(to, end);
        }
        net_unref(self, end->link);
    }
    if (host->up_free_ns > now_ns(self)) {
        host->sending = true;
        add_event(self, &host->uplink, host->up_free_ns);
    }
}

/* WOKEN of them for each block there is room for, as their own uplinks may be busy. */
static uint32_t to_be_woken(const struct net *self, const struct net_host *to)
{
    if (to->down_pending == 0) {
        return to->blocked.count;
    }
    if (to->down_pending >= to->down_room) {
        return 0;
    }
    const uint64_t room = (to->down_room - to->down_pending - 1) / self->options.block_bytes + 1;
    const uint64_t most = WOKEN * room;
    return most > to->woken ? (uint32_t)(most - to->woken) : 0;
}

static void wake(struct net *self, struct net_host *to)
{
    uint32_t most = to_be_woken(self, to);
    struct net_end *end;

    while (most-- > 0 && (end = net_ring_take(&to->blocked)) != NULL) {
        end->woken = true;
        to->woken++;
        get_ready(self, end);
        uplink(self, self->hosts[end->host]);
        net_unref(self, end->link);
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

/* The place of the first block that waits in the program; NULL: none does. */
static struct net_parcel **first_block_outside(struct net_end *end)
{
    bool outside = false;

    for (struct net_parcel **at = &end->first; *at != NULL; at = &(*at)->next) {
        outside |= *at == end->outside;
        if (outside && is_block(*at)) {
            return at;
        }
    }
    return NULL;
}

static void append(struct net *self, struct net_end *end, struct net_parcel *parcel)
{
    /* As in the service (outbox.h): these go before the blocks that wait in the program. */
    const bool soon = parcel->what == PARCEL_MESSAGE && wire_overtakes(&parcel->message);
    struct net_parcel **before = soon ? first_block_outside(end) : NULL;

    if (before != NULL) {
        if (*before == end->outside) {
            end->outside = parcel;
        }
        parcel->next = *before;
        *before = parcel;
        (void)admit(self, end);
        return;
    }
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
    struct net_parcel *parcel = net_new_parcel(self, PARCEL_MESSAGE);

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
    append(self, end, net_new_parcel(self, PARCEL_HELLO));
}

/* ---- making and closing ---- */

static void hear_close(struct net *self, struct net_end *end)
{
    if (end->gone) {
        return;
    }
    net_leave_host(self, end);
    net_drop_parcels(self, end->first);
    end->first = end->last = end->outside = NULL;
    self->events.closed(self->events.ctx, end);
    self->events.settle(self->events.ctx, end->host);
    net_unref(self, end->link);
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
    net_drop_parcels(self, end->outside);
    end->outside = NULL;
}

void net_close(struct net *self, struct net_end **end)
{
    struct net_end *closed = *end;

    *end = NULL;
    assert(!closed->gone);
    drop_outside(self, closed);
    net_leave_host(self, closed);
    closed->kernel_bytes = 0; /* so that it is let in at once */
    append(self, closed, net_new_parcel(self, PARCEL_CLOSE));
    net_unref(self, closed->link);
}

static void refuse(struct net *self, struct net_end *end)
{
    if (!end->gone) {
        net_leave_host(self, end);
        net_unref(self, end->link);
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
    net_unref(self, link);
}

struct net_end *net_connect(struct net *self, uint32_t from, uint32_t to)
{
    struct net_link *link = net_new_link(self);

    link->refs = 3; /* both ends and the call below */
    for (unsigned i = 0; i < 2; i++) {
        link->ends[i] = (struct net_end){
            .link = link,
            .host = i == 0 ? from : to,
            .user = NET_NOBODY,
            .outgoing = i == 0,
        };
        net_join_host(self, &link->ends[i]);
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
    struct net_end *end = frame->to, *sender = net_other_end(end);
    struct net_host *host = self->hosts[end->host];
    struct net_link *link = end->link;

    host->down_pending -= frame->cost;
    host->counts.down += frame->cost;
    sender->kernel_bytes -= least(sender->kernel_bytes, frame->bytes);
    for (struct net_parcel *parcel = frame->first; parcel != NULL && !end->gone;
         parcel = parcel->next) {
        deliver(self, end, parcel);
    }
    net_drop_parcels(self, frame->first);
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
    net_unref(self, link);
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
        struct net_host *host = (struct net_host *)event;
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
    pool_init(&self->parcels, sizeof(struct net_parcel));
    pool_init(&self->frames, sizeof(struct frame));
    pool_init(&self->calls, sizeof(struct call));
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
    struct net_parcel *parcel;
    for (size_t i = 0; (parcel = pool_item(&freed->parcels, i)) != NULL; i++) {
        free(parcel->owned);
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
    struct net_host *host = xcalloc(1, sizeof(*host));

    if (self->hosts_count == self->hosts_capacity) {
        self->hosts_capacity = self->hosts_capacity == 0 ? 64 : 2 * self->hosts_capacity;
        self->hosts = xrealloc(self->hosts, self->hosts_capacity * sizeof(struct net_host *));
    }
    *host = (struct net_host){ .uplink = { .kind = EVENT_UPLINK },
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
