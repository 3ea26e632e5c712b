/*
 * Crossings: answers to our queries that the kernel gave to another worker than the one that had
 * asked. They go on to that one's mailbox, by the number in the transaction id (transactions.h), in
 * messages of up to CROSSINGS_BATCH_MAX.
 *
 * An answer comes from where the query went, and whoever asks chooses the worker that address is
 * steered to (address_worker()); so answers cross only for a moment after the number of workers has
 * changed, or when a neighbour asked another worker since the right one was being started, or when
 * the sockets were bound in another order than that of the workers (by systemd, should its units
 * start otherwise): then most of them do, which costs time and nothing else. Anybody can send what
 * looks like an answer to another worker: beyond CROSSINGS_PER_SECOND they are dropped.
 */
#pragma once

#include "services/transport/endpoint.h"

#define CROSSINGS_BATCH_MAX  64u /* proto/transport.proto */
#define CROSSINGS_PER_SECOND 8192u

struct call;
struct link;
struct transport;

struct crossing {
    unsigned worker;
    struct address from;
    struct bytes datagram; /* a view, until crossings_flush() */
};

struct crossings {
    struct transport *transport;                /* borrowed */
    struct link *workers[TRANSACTIONS_WORKERS]; /* NULL: not there yet, or ourselves */
    struct crossing list[CROSSINGS_BATCH_MAX];
    unsigned count;
    uint64_t second; /* the one that `taken` counts in */
    uint32_t taken;
};

/* At the start and whenever the number of workers may have changed; once there they stay known. */
void crossings_follow(struct crossings *self, struct transport *transport);

/* Take the datagram of a result whose verdict is ENDPOINT_FORWARD. */
void crossings_add(struct crossings *self, unsigned worker, const struct address *from,
                   struct bytes datagram, uint64_t now_us);

/* Hand them on; the views end here. */
void crossings_flush(struct crossings *self);

/* A handler: Crossed. */
void crossings_on_crossed(void *ctx, struct call *call, const void *body);
