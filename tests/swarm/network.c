#include "tests/swarm/network.h"

#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK      4096u
#define SMALL_COST 66u    /* headers of a small message sent by itself */
#define BLOCK_COST 1.0456 /* headers of full segments */
#define START_US   1000000u

struct item { /* a message in a connection */
    struct item *next;
    struct wire_message message;
    uint32_t size; /* bytes, with headers */
    uint32_t sent; /* by the uplink */
    uint32_t come; /* out of the downlink */
    bool admitted; /* in the socket buffer */
    bool hangup;
    uint8_t payload[];
};

struct way { /* one direction of a connection */
    uint32_t from, to;
    uint32_t peer; /* the number of `from` at `to` */
    uint32_t link;
    struct item *first, *last; /* not yet wholly sent */
    struct item *under_way, *under_way_last;
    uint32_t buffered; /* admitted, not sent */
    uint32_t flying;
    bool ready; /* in the uplink's ring */
    struct way *next_ready;
};

struct link {
    bool up;
    struct way way[2];
};

struct chunk {
    struct way *way;
    struct chunk *next;
    uint32_t size;
};

struct line { /* a node's links */
    struct way *ready, *ready_last;
    bool up_busy;
    struct chunk *first, *last;
    bool down_busy;
    uint64_t turn_us;
};

enum event_kind { EVENT_UPLINK, EVENT_ARRIVE, EVENT_DOWNLINK, EVENT_COME, EVENT_ACK, EVENT_TURN };

struct event {
    uint64_t at_us;
    uint64_t serial;
    enum event_kind kind;
    uint32_t node;
    uint32_t size;
    struct way *way;
};

struct network {
    struct network_plan plan;
    struct network_node nodes[NETWORK_NODES_MAX];
    struct line lines[NETWORK_NODES_MAX];
    struct link **links;
    uint32_t links_count;
    struct event *heap;
    size_t heap_count, heap_capacity;
    uint64_t serial;
    uint64_t now_us;
    uint64_t started_us;
    uint8_t info[64];
};

static uint64_t now_ms(const struct network *self)
{
    return self->now_us / 1000;
}

/* ---- events ---- */

static bool before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->serial < b->serial;
}

static void at(struct network *self, uint64_t at_us, enum event_kind kind, uint32_t node,
               struct way *way, uint32_t size)
{
    if (self->heap_count == self->heap_capacity) {
        self->heap_capacity = self->heap_capacity == 0 ? 1024 : 2 * self->heap_capacity;
        self->heap = xrealloc(self->heap, self->heap_capacity * sizeof *self->heap);
    }
    const struct event event = { at_us, self->serial++, kind, node, size, way };
    size_t i = self->heap_count++;
    for (; i > 0 && before(&event, &self->heap[(i - 1) / 2]); i = (i - 1) / 2)
        self->heap[i] = self->heap[(i - 1) / 2];
    self->heap[i] = event;
}

static struct event pop(struct network *self)
{
    const struct event top = self->heap[0];
    const struct event last = self->heap[--self->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= self->heap_count)
            break;
        if (child + 1 < self->heap_count && before(&self->heap[child + 1], &self->heap[child]))
            child++;
        if (!before(&self->heap[child], &last))
            break;
        self->heap[i] = self->heap[child];
        i = child;
    }
    self->heap[i] = last;
    return top;
}

/* ---- sending ---- */

static void uplink_next(struct network *self, uint32_t node)
{
    struct line *line = &self->lines[node];
    while (!line->up_busy && line->ready != NULL) {
        struct way *way = line->ready;
        line->ready = way->next_ready;
        if (line->ready == NULL)
            line->ready_last = NULL;
        way->ready = false;
        if (way->first == NULL || !way->first->admitted || way->flying >= self->plan.window)
            continue;
        const uint32_t left = way->first->size - way->first->sent;
        const uint32_t size = left < CHUNK ? left : CHUNK;
        const uint64_t us = (uint64_t)size * 1000000 / self->nodes[node].up_rate;
        line->up_busy = true;
        self->nodes[node].up_busy_us += us;
        way->flying += size;
        at(self, self->now_us + us, EVENT_UPLINK, node, way, size);
    }
}

static void make_ready(struct network *self, struct way *way)
{
    struct line *line = &self->lines[way->from];
    if (way->ready || way->first == NULL || !way->first->admitted ||
        way->flying >= self->plan.window)
        return;
    way->ready = true;
    way->next_ready = NULL;
    if (line->ready_last != NULL && line->ready != NULL)
        line->ready_last->next_ready = way;
    else
        line->ready = way;
    line->ready_last = way;
    uplink_next(self, way->from);
}

static void admit(struct network *self, struct way *way)
{
    for (struct item *item = way->first; item != NULL; item = item->next) {
        if (item->admitted)
            continue;
        if (way->buffered > 0 && way->buffered + item->size > self->plan.socket_buffer)
            return;
        item->admitted = true;
        way->buffered += item->size;
        if (item->message.kind == WIRE_PIECE && !item->hangup) {
            struct way *back = &self->links[way->link]->way[way == &self->links[way->link]->way[0]];
            torrent_sent(&self->nodes[way->from].torrent, back->peer, &item->message, true,
                         now_ms(self));
        }
    }
    make_ready(self, way);
}

static void put(struct network *self, struct way *way, const struct wire_message *message,
                bool hangup)
{
    struct item *item = xcalloc(1, sizeof *item + message->payload.size);
    item->message = *message;
    item->hangup = hangup;
    if (message->payload.size > 0) {
        memcpy(item->payload, message->payload.data, message->payload.size);
        item->message.payload.data = item->payload;
    }
    struct network_node *node = &self->nodes[way->from];
    if (message->kind == WIRE_PIECE && !hangup) {
        item->size = (uint32_t)((message->length + 13) * BLOCK_COST);
        node->sent_bytes += message->length;
    } else {
        /* What follows at once goes in the same segment. */
        const bool alone = way->last == NULL || way->last->sent > 0;
        item->size = 5 + 12 + (uint32_t)message->payload.size + (alone ? SMALL_COST : 0);
        node->control_bytes += item->size;
    }
    if (way->last != NULL)
        way->last->next = item;
    else
        way->first = item;
    way->last = item;
}

static struct way *way_to(struct network *self, uint32_t from, uint32_t peer)
{
    for (uint32_t i = 0; i < self->links_count; i++) {
        struct link *link = self->links[i];
        if (!link->up)
            continue;
        for (int d = 0; d < 2; d++)
            if (link->way[d].from == from && link->way[1 - d].peer == peer)
                return &link->way[d];
    }
    return NULL;
}

/* ---- torrents ---- */

static void drain(struct network *self, uint32_t node);

static void hang_up(struct network *self, struct link *link)
{
    if (!link->up)
        return;
    link->up = false;
    for (int d = 0; d < 2; d++) {
        struct network_node *node = &self->nodes[link->way[d].to];
        if (node->running)
            torrent_left(&node->torrent, link->way[d].peer, now_ms(self));
    }
}

static void connect_to(struct network *self, uint32_t from, const struct address *address)
{
    const uint32_t to = (uint32_t)address->ip[14] * 256 + address->ip[15];
    struct network_node *a = &self->nodes[from];
    struct network_node *b = &self->nodes[to];
    if (to >= self->plan.nodes || !b->running) {
        torrent_connect_failed(&a->torrent, address, now_ms(self));
        return;
    }
    struct wire_handshake hello_a = { .fast = true, .extended = true };
    struct wire_handshake hello_b = hello_a;
    memset(hello_a.peer_id, 'A' + (int)from, 20);
    memset(hello_b.peer_id, 'A' + (int)to, 20);
    struct address back = address_v4(10, 0, (uint8_t)(from / 256), (uint8_t)from, 0);
    back.port = (uint16_t)(50000 + self->links_count % 10000);
    const struct torrent_hello in = { .address = back, .handshake = &hello_a };
    const struct torrent_hello out = { .address = *address,
                                       .outgoing = true,
                                       .handshake = &hello_b };
    struct link *link = xcalloc(1, sizeof *link);
    if (torrent_join(&b->torrent, &in, now_ms(self), &link->way[0].peer) != LB_OK) {
        torrent_connect_failed(&a->torrent, address, now_ms(self));
        free(link);
        return;
    }
    if (torrent_join(&a->torrent, &out, now_ms(self), &link->way[1].peer) != LB_OK) {
        torrent_left(&b->torrent, link->way[0].peer, now_ms(self));
        free(link);
        return;
    }
    link->up = true;
    for (int d = 0; d < 2; d++) {
        link->way[d].from = d == 0 ? from : to;
        link->way[d].to = d == 0 ? to : from;
        link->way[d].link = self->links_count;
    }
    self->links = xrealloc(self->links, (self->links_count + 1) * sizeof(struct link *));
    self->links[self->links_count++] = link;
    drain(self, to);
}

static void perform(struct network *self, uint32_t index, const struct torrent_action *action)
{
    struct network_node *node = &self->nodes[index];
    struct way *way = NULL;
    switch (action->kind) {
    case TORRENT_SEND:
    case TORRENT_SEND_BLOCK:
        way = way_to(self, index, action->peer);
        if (way == NULL) {
            if (action->kind == TORRENT_SEND_BLOCK)
                torrent_sent(&node->torrent, action->peer, &action->message, false, now_ms(self));
            return;
        }
        put(self, way, &action->message, false);
        return;
    case TORRENT_CONNECT:
        connect_to(self, index, &action->address);
        return;
    case TORRENT_DISCONNECT:
        way = way_to(self, index, action->peer);
        if (way != NULL)
            put(self, way, &action->message, true);
        return;
    case TORRENT_VERIFY:
        torrent_verified(&node->torrent, action->message.piece, LB_OK, now_ms(self));
        return;
    case TORRENT_COMPLETE:
        if (!node->complete)
            node->done_us = self->now_us;
        node->complete = true;
        return;
    case TORRENT_ANNOUNCE:
        torrent_announced(&node->torrent, 3, now_ms(self));
        return;
    case TORRENT_FORGET:
    case TORRENT_METADATA:
        return;
    }
}

static void drain(struct network *self, uint32_t index)
{
    struct network_node *node = &self->nodes[index];
    struct torrent_action action;
    if (!node->running)
        return;
    bool more = true;
    while (more) {
        more = false;
        while (torrent_next(&node->torrent, now_ms(self), &action)) {
            perform(self, index, &action);
            more = true;
        }
        for (uint32_t i = 0; i < self->links_count; i++)
            for (int d = 0; d < 2; d++)
                if (self->links[i]->up && self->links[i]->way[d].from == index)
                    admit(self, &self->links[i]->way[d]);
    }
    const uint64_t turn_us = torrent_deadline_ms(&node->torrent) == UINT64_MAX
                                 ? UINT64_MAX
                                 : torrent_deadline_ms(&node->torrent) * 1000;
    struct line *line = &self->lines[index];
    if (turn_us < line->turn_us) {
        line->turn_us = turn_us < self->now_us ? self->now_us : turn_us;
        at(self, line->turn_us, EVENT_TURN, index, NULL, 0);
    }
}

/* ---- what happens ---- */

static void deliver(struct network *self, struct way *way, struct item *item)
{
    struct link *link = self->links[way->link];
    if (link->up && item->hangup) {
        hang_up(self, link);
    } else if (link->up) {
        struct network_node *node = &self->nodes[way->to];
        if (item->message.kind == WIRE_PIECE)
            node->received_bytes += item->message.length;
        (void)torrent_message(&node->torrent, way->peer, &item->message, now_ms(self));
    }
    free(item);
}

static void on_uplink(struct network *self, const struct event *event)
{
    struct way *way = event->way;
    struct item *item = way->first;
    self->lines[event->node].up_busy = false;
    item->sent += event->size;
    way->buffered -= event->size;
    if (item->sent == item->size) {
        way->first = item->next;
        if (way->first == NULL)
            way->last = NULL;
        item->next = NULL;
        if (way->under_way_last != NULL)
            way->under_way_last->next = item;
        else
            way->under_way = item;
        way->under_way_last = item;
    }
    at(self, self->now_us + self->plan.latency_us, EVENT_ARRIVE, way->to, way, event->size);
    make_ready(self, way);
    uplink_next(self, event->node);
    admit(self, way);
    drain(self, event->node);
}

static void downlink_next(struct network *self, uint32_t node)
{
    struct line *line = &self->lines[node];
    if (line->down_busy || line->first == NULL)
        return;
    const uint64_t us = (uint64_t)line->first->size * 1000000 / self->nodes[node].down_rate;
    line->down_busy = true;
    self->nodes[node].down_busy_us += us;
    at(self, self->now_us + us, EVENT_DOWNLINK, node, NULL, 0);
}

static void on_arrive(struct network *self, const struct event *event)
{
    struct line *line = &self->lines[event->node];
    struct chunk *chunk = xcalloc(1, sizeof *chunk);
    chunk->way = event->way;
    chunk->size = event->size;
    if (line->last != NULL)
        line->last->next = chunk;
    else
        line->first = chunk;
    line->last = chunk;
    downlink_next(self, event->node);
}

static void on_downlink(struct network *self, const struct event *event)
{
    struct line *line = &self->lines[event->node];
    struct chunk *chunk = line->first;
    line->first = chunk->next;
    if (line->first == NULL)
        line->last = NULL;
    line->down_busy = false;
    struct way *way = chunk->way;
    uint32_t size = chunk->size;
    free(chunk);
    at(self, self->now_us + self->plan.latency_us, EVENT_ACK, way->from, way, size);
    while (size > 0) {
        struct item *item = way->under_way != NULL ? way->under_way : way->first;
        const uint32_t take = item->size - item->come < size ? item->size - item->come : size;
        item->come += take;
        size -= take;
        if (item->come < item->size)
            continue;
        way->under_way = item->next;
        if (way->under_way == NULL)
            way->under_way_last = NULL;
        deliver(self, way, item);
    }
    downlink_next(self, event->node);
    drain(self, event->node);
}

static void on_turn(struct network *self, uint32_t index)
{
    struct network_node *node = &self->nodes[index];
    self->lines[index].turn_us = UINT64_MAX;
    if (!node->running)
        return;
    if (now_ms(self) >= torrent_deadline_ms(&node->torrent))
        torrent_turn(&node->torrent, now_ms(self));
    drain(self, index);
}

static bool all_complete(const struct network *self)
{
    for (uint32_t i = 0; i < self->plan.nodes; i++)
        if (self->nodes[i].running && !self->nodes[i].complete)
            return false;
    return true;
}

bool network_run(struct network *self, uint64_t us)
{
    const uint64_t end_us = self->now_us + us;
    while (self->heap_count > 0 && self->heap[0].at_us <= end_us && !all_complete(self)) {
        const struct event event = pop(self);
        self->now_us = event.at_us;
        switch (event.kind) {
        case EVENT_UPLINK:
            on_uplink(self, &event);
            break;
        case EVENT_ARRIVE:
            on_arrive(self, &event);
            break;
        case EVENT_DOWNLINK:
            on_downlink(self, &event);
            break;
        case EVENT_ACK:
            event.way->flying -= event.size;
            make_ready(self, event.way);
            break;
        case EVENT_COME:
            break;
        case EVENT_TURN:
            on_turn(self, event.node);
            break;
        }
    }
    if (all_complete(self))
        return true;
    self->now_us = end_us;
    return false;
}

/* ---- life ---- */

struct network *network_new(const struct network_plan *plan)
{
    struct network *self = xcalloc(1, sizeof *self);
    assert(plan->nodes <= NETWORK_NODES_MAX);
    self->plan = *plan;
    if (self->plan.socket_buffer == 0)
        self->plan.socket_buffer = 64 * 1024;
    if (self->plan.window == 0)
        self->plan.window = 64 * 1024;
    if (self->plan.latency_us == 0)
        self->plan.latency_us = 500;
    self->now_us = START_US;
    for (uint32_t i = 0; i < plan->nodes; i++) {
        self->nodes[i].up_rate = plan->rate;
        self->nodes[i].down_rate = plan->rate;
        self->lines[i].turn_us = UINT64_MAX;
    }
    return self;
}

void network_start(struct network *self, uint32_t index, bool complete)
{
    struct network_node *node = &self->nodes[index];
    struct torrent_options options = {
        .port = 6881,
        .peers_max = self->plan.peers_max != 0 ? self->plan.peers_max : 100,
        .peers_wanted = self->plan.peers_max != 0 ? self->plan.peers_max : 100,
        .upload_slots = 8,
        .announce_interval_ms = 600000,
        .version = "test",

        .mode = self->plan.foreign ? COOPERATE_NEVER : COOPERATE_AUTO,

    };
    memset(options.peer_id, 'A' + (int)index, 20);
    random_init(&node->random, self->plan.seed * 1000 + index + 1);
    torrent_init(&node->torrent, &options, &node->random, now_ms(self));
    node->running = true;
    node->start_us = self->now_us;
    uint8_t *have = xcalloc(bitfield_size(self->plan.pieces), 1);
    if (complete)
        bitfield_set_all(have, self->plan.pieces);
    const struct picker_shape shape = {
        .pieces = self->plan.pieces,
        .piece_size = self->plan.piece_size,
        .total_size = (uint64_t)self->plan.pieces * self->plan.piece_size,
        .block_size = self->plan.block_size,
    };
    torrent_begin(&node->torrent, bytes_of(self->info, sizeof self->info), shape, have,
                  now_ms(self));
    free(have);
    for (uint32_t i = 0; i < self->plan.nodes; i++) {
        const struct address address = address_v4(10, 0, (uint8_t)(i / 256), (uint8_t)i, 6881);
        if (i != index && self->nodes[i].running)
            torrent_add_address(&node->torrent, &address, false, now_ms(self));
    }
    drain(self, index);
}

void network_stop(struct network *self, uint32_t index)
{
    struct network_node *node = &self->nodes[index];
    for (uint32_t i = 0; i < self->links_count; i++)
        if (self->links[i]->way[0].from == index || self->links[i]->way[1].from == index)
            hang_up(self, self->links[i]);
    struct torrent_stats stats;
    torrent_get_stats(&node->torrent, &stats);
    node->wasted_bytes = stats.wasted_bytes;
    node->running = false;
    torrent_done(&node->torrent);
}

void network_free(struct network **self)
{
    struct network *freed = *self;
    *self = NULL;
    for (uint32_t i = 0; i < freed->plan.nodes; i++) {
        if (freed->nodes[i].running)
            network_stop(freed, i);
        for (struct chunk *at = freed->lines[i].first, *next = NULL; at != NULL; at = next) {
            next = at->next;
            free(at);
        }
    }
    for (uint32_t i = 0; i < freed->links_count; i++) {
        for (int d = 0; d < 2; d++) {
            struct item *heads[] = { freed->links[i]->way[d].first,
                                     freed->links[i]->way[d].under_way };
            for (int k = 0; k < 2; k++)
                for (struct item *at = heads[k], *next = NULL; at != NULL; at = next) {
                    next = at->next;
                    free(at);
                }
        }
        free(freed->links[i]);
    }
    free(freed->links);
    free(freed->heap);
    free(freed);
}

struct network_node *network_node(struct network *self, uint32_t node)
{
    return &self->nodes[node];
}

uint64_t network_now_us(const struct network *self)
{
    return self->now_us - START_US;
}

uint64_t network_bound_us(const struct network *self)
{
    const uint64_t total = (uint64_t)self->plan.pieces * self->plan.piece_size;
    uint64_t up = 0;
    uint64_t slowest = self->nodes[0].up_rate;
    for (uint32_t i = 0; i < self->plan.nodes; i++) {
        up += self->nodes[i].up_rate;
        if (i > 0 && self->nodes[i].down_rate < slowest)
            slowest = self->nodes[i].down_rate;
    }
    const uint64_t by_all = total * (self->plan.nodes - 1) * 1000 / (up / 1000);
    const uint64_t by_one = total * 1000 / (slowest / 1000);
    return by_all > by_one ? by_all : by_one;
}
