/*
 * What the files of the simulated network share: swarm_net.c (sending, arrivals, time) and
 * swarm_link.c (connections and what waits in them). Not for others.
 */
#pragma once

#include "tests/sim/pool.h"
#include "tests/sim/swarm_net.h"

enum net_what { PARCEL_MESSAGE, PARCEL_HELLO, PARCEL_CLOSE };

enum event_kind { EVENT_UPLINK, EVENT_ARRIVAL, EVENT_CALL };

struct event {
    struct entry entry; /* first: an entry is its event */
    enum event_kind kind;
};

struct net_ring_queue {
    struct net_end *first, *last;
    uint32_t count;
};

struct net_host {
    struct event uplink; /* in the calendar while sending */
    bool is_up, sending;
    uint64_t up, down; /* bytes per second */
    uint64_t up_free_ns, down_free_ns;
    uint64_t down_pending, down_room; /* bytes on their way to it */
    struct net_ring_queue urgent, bulk;
    struct net_ring_queue blocked; /* ends of others, that want to send to it */
    uint32_t woken;                /* of those, it is their turn */
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
    struct net_host **hosts;
    uint32_t hosts_count, hosts_capacity;
    struct pool parcels, frames, calls;
    struct net_link *links;
    uint64_t steps, hash;
};

struct net_parcel *net_new_parcel(struct net *self, enum net_what what);

/* This one and those behind it. */
void net_drop_parcels(struct net *self, struct net_parcel *parcel);

/* Without a reference so far. */
struct net_link *net_new_link(struct net *self);
void net_unref(struct net *self, struct net_link *link);
struct net_end *net_other_end(const struct net_end *end);

/* An end is known to its host until it is gone. */
void net_join_host(struct net *self, struct net_end *end);
void net_leave_host(struct net *self, struct net_end *end);

/* An end that waits for its turn holds a reference; net_ring_take() gives it to the caller. */
void net_ring_add(struct net_ring_queue *ring, struct net_end *end, enum net_ring which);
void net_ring_add_first(struct net_ring_queue *ring, struct net_end *end, enum net_ring which);
struct net_end *net_ring_take(struct net_ring_queue *ring);
