/*
 * What carries KRPC: one small interface, so that the service does not know whether a datagram goes
 * out as it is (udp.h) or inside DTLS.
 *
 * Payloads go to the receiver one by one; batch_done follows the last of a batch, and views into
 * payloads may be kept until it returns. A payload to send is written into the room that reserve()
 * gives and leaves with flush() at the latest.
 *
 * A reply leaves from the address that was asked (BEP 45, "Mandatory"): on a socket that is bound
 * to all addresses of a machine with several the kernel might choose another, and the asker would
 * take it for a stranger's. So the carrier tells where a datagram came to, and commit() takes it
 * back.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct overload_rule;

/* One of our own IP addresses. */
struct datagram_local {
    bool is_known;  /* else: whichever the kernel chooses, or the only one there is */
    uint8_t ip[16]; /* as in struct address */
};

struct datagram_receiver {
    void *ctx;
    void (*receive)(void *ctx, const struct address *from, const struct datagram_local *local,
                    struct bytes payload);
    void (*batch_done)(void *ctx);
};

/* Counted by the carrier, read by its owner. */
struct datagram_counts {
    uint64_t packets_in;
    uint64_t reads,
        short_reads; /* system calls to read; those that found less than they had room for */
    bool busy;       /* reads at every turn of the loop */
    uint64_t packets_out;
    uint64_t bytes_out;
    uint64_t send_failed; /* the kernel did not take them; they are gone, as on any network */
};

struct datagram_ops {
    uint8_t *(*reserve)(void *self); /* KRPC_SEND_MAX bytes, valid until commit or flush */
    /* local: from where it is to leave; NULL: not said */
    void (*commit)(void *self, const struct address *to, const struct datagram_local *local,
                   size_t size);
    void (*flush)(void *self);
    uint32_t (*dropped)(void *self); /* by the kernel before they were read; wraps */
    void (*discard)(void *self);     /* what waits to be read; not from within receive() */
    /* Hear some sources in part only (overload.h); false: that is not to be had. */
    bool (*shape)(void *self, const struct overload_rule *rules, unsigned count);
    /* Of the workers that share the address, only the first so many get anything from now on. */
    bool (*steer)(void *self, unsigned workers);
    void (*close)(void *self); /* frees it; from the loop's thread */
};

/* One bound socket and what is around it. */
struct datagram_port {
    const struct datagram_ops *ops; /* NULL: there is none */
    void *self;
    struct datagram_counts counts;
    struct address bound;
};
