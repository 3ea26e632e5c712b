/*
 * The wires of a simulated swarm: hosts with an up and a down rate, and TCP connections between
 * them, as queues of messages on one virtual clock.
 *
 * What a connection sends waits first in the program (without bound), then in the kernel
 * (kernel_bytes; a block is `taken` when it is whole in there), from where the host's uplink takes
 * the connections in turn, one block or one packet of small messages at a time; packets go before
 * blocks of other connections, as they would between the packets of a block. A message arrives when
 * the uplink has sent it and the receiver's downlink, which begins with the first packet, has taken
 * it. A downlink has room for a queue of some 20 ms: when that is full, senders turn to others, as
 * TCP does. Each 1448 bytes cost 66 more: Ethernet, IPv4 and TCP headers with timestamps.
 *
 * Not modelled: loss, slow start, acknowledgements' bytes, Nagle, a network narrower than its
 * hosts' links. The clock counts microseconds; the calendar's unit, called ms there, is one.
 */
#pragma once

#include "services/swarm/wire.h"
#include "tests/sim/calendar.h"

#include <stdbool.h>
#include <stdint.h>

#define NET_SEGMENT      1448u
#define NET_HEADERS      66u
#define NET_KERNEL_BYTES (128u * 1024)
#define NET_DOWN_MS      20u
#define NET_DOWN_LEAST   (64u * 1024)
#define NET_HANDSHAKE    68u
#define NET_NOBODY       UINT32_MAX

struct net;
struct net_link;

/* A message that waits or is on its way. */
struct net_parcel {
    struct net_parcel *next; /* first: pool */
    uint8_t *owned;          /* payload */
    struct wire_message message;
    uint8_t what; /* enum net_what */
    bool spoilt;
};

enum net_ring { NET_RING_NONE, NET_RING_URGENT, NET_RING_BULK, NET_RING_BLOCKED };

/* One end of a connection. */
struct net_end {
    struct net_link *link;
    uint32_t host;
    uint32_t user; /* of the caller; NET_NOBODY at first */
    bool outgoing; /* it called */
    bool gone;     /* closed here: nothing is told of it any more */
    bool woken;    /* it is its turn, of those a downlink had no room for */
    uint8_t ring;  /* enum net_ring: where it waits for its turn */
    struct net_end *ring_next;
    struct net_end *next, *previous; /* of its host */
    struct net_parcel *first, *last; /* what it sends */
    struct net_parcel *outside;      /* the first that is not yet in the kernel */
    uint64_t kernel_bytes;
};

struct net_link {
    struct net_end ends[2];
    uint32_t refs;
    struct net_link *next, *previous; /* of all */
};

struct net_events {
    void *ctx;
    void (*hello)(void *ctx, struct net_end *end);
    void (*message)(void *ctx, struct net_end *end, const struct wire_message *message,
                    bool spoilt);
    void (*taken)(void *ctx, struct net_end *end, const struct wire_message *block);
    void (*closed)(void *ctx, struct net_end *end); /* by the other side, or never made */
    void (*settle)(void *ctx, uint32_t host);       /* after some of the above */
};

struct net_options {
    uint64_t latency_us; /* one way */
    uint64_t kernel_bytes;
    uint64_t block_bytes; /* the largest there are */
};

struct net *net_new(const struct net_options *options, const struct net_events *events);
void net_free(struct net **self);

/* Bytes per second. Returns the host's number, from 0. It is up. */
uint32_t net_add(struct net *self, uint64_t up, uint64_t down);

/* A host that goes down closes its connections; who calls it is refused. */
void net_set_up(struct net *self, uint32_t host, bool up);

/* The end that calls; it says hello when the connection is made, or hears `closed`. */
struct net_end *net_connect(struct net *self, uint32_t from, uint32_t to);
void net_hello(struct net *self, struct net_end *end);

/* The payload is copied, that of a PIECE made up. spoilt goes with it. */
void net_send(struct net *self, struct net_end *end, const struct wire_message *message,
              bool spoilt);

/* What is in the kernel still goes out; the rest is dropped. *end is NULL then. */
void net_close(struct net *self, struct net_end **end);
uint32_t net_other(const struct net_end *end);

/* Later, with what was given; there is no taking back. */
typedef void net_fn(void *ctx, uint32_t host, uint64_t cookie);
void net_call(struct net *self, uint64_t at_us, net_fn *fn, void *ctx, uint32_t host,
              uint64_t cookie);

uint64_t net_now_us(const struct net *self);

/* Carry out the next event. False: there is none at or before until_us; then the clock is there. */
bool net_step(struct net *self, uint64_t until_us);

/* Bytes a host's links have carried, headers included. */
struct net_counts {
    uint64_t up, down;
};
struct net_counts net_counts(const struct net *self, uint32_t host);
uint64_t net_steps(const struct net *self);

/* Of everything that arrived, in order and with its time. */
uint64_t net_hash(const struct net *self);
