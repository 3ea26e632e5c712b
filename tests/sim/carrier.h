/*
 * A simulated node's transport: the endpoint core of lb-transport with real KRPC bytes, and what
 * the shell of lb-transport does around it, without sockets and protobuf.
 *
 * It answers from the router's own sorted lists in the place of a routing page (routing_list), and
 * asks the store without a presence page. Opaque, for both transport and routing have a `struct
 * sighting`. A conversation like the endpoint's, in milliseconds.
 */
#pragma once

#include "services/transport/krpc.h"
#include "services/transport/responder.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct carrier;
struct random;

struct carrier_options {
    uint32_t queries_max, rtts_max, sightings_max; /* powers of two, 4 or more */
    struct budget_limits budget;
};

/* For thousands of nodes in one process; the rates are BUDGET_LIMITS_DEFAULT's. */
#define CARRIER_OPTIONS_SMALL                                                                      \
    {                                                                                              \
        .queries_max = 64, .rtts_max = 64, .sightings_max = 32, .budget = {                        \
            .strangers_max = 32,                                                                   \
            .known_max = 32,                                                                       \
            .subnets_max = 32,                                                                     \
            .stranger = { 819, 8192 },                                                             \
            .known = { 65536, 262144 },                                                            \
            .subnet = { 524288, 2097152 },                                                         \
            .total = { 8388608, 8388608 }                                                          \
        }                                                                                          \
    }

/* random is borrowed. */
struct carrier *carrier_new(const struct carrier_options *options, const struct node_id *self_id,
                            struct random *random);
void carrier_free(struct carrier **self);

/* What to answer from, until called again: ascending by id, borrowed. */
void carrier_set_contacts(struct carrier *self, enum routing_family family,
                          const struct contact *contacts, uint32_t count);

enum carrier_verdict {
    CARRIER_NOTHING,
    CARRIER_SEND,     /* datagram: to `to` */
    CARRIER_ASK,      /* message and ask: ask the store, then carrier_answer() */
    CARRIER_ANSWERED, /* message, cookie, rtt_us: our query was answered, by a reply or an error */
    CARRIER_SILENT    /* cookie: our query was not answered */
};

enum carrier_seen { CARRIER_SEEN_QUERIED, CARRIER_SEEN_ANSWERED, CARRIER_SEEN_SILENT };

struct carrier_sighting {
    struct contact contact;
    enum carrier_seen seen;
    uint32_t rtt_us;
};

/* All that is borrowed is valid until the next call of any carrier. */
struct carrier_result {
    enum carrier_verdict verdict;
    struct address to;
    struct bytes datagram;
    const struct krpc_message *message;
    const struct responder_ask *ask;
    uint64_t cookie;
    uint32_t rtt_us;
    unsigned sightings_count;
    struct carrier_sighting sightings[2];
};

void carrier_receive(struct carrier *self, const struct address *from, struct bytes datagram,
                     uint64_t now_ms, struct carrier_result *ret_result);

/* The reply to send to ask->from; empty: none. */
struct bytes carrier_answer(struct carrier *self, const struct responder_ask *ask,
                            const struct responder_outcome *outcome, uint64_t now_ms);

struct carrier_query {
    struct krpc_query *krpc;
    struct contact to;
    bool has_id; /* to.id must answer there */
    bool once;   /* not sent a second time */
    uint64_t cookie;
};

/* A query of our own: send *ret_datagram to it. As endpoint_start(). */
LB_MUST_CHECK lb_err carrier_start(struct carrier *self, const struct carrier_query *query,
                                   uint64_t now_ms, struct bytes *ret_datagram);

/* SEND or SILENT; false: nothing is due. */
bool carrier_next(struct carrier *self, uint64_t now_ms, struct carrier_result *ret_result);
uint64_t carrier_deadline_ms(const struct carrier *self);

/* Queries of our own on their way. */
uint32_t carrier_count(const struct carrier *self);

/* All invariants of what lies beneath: asserts. */
void carrier_check(const struct carrier *self);

struct carrier_counts {
    uint64_t answered, over_budget, strange, late, timeouts, resent;
};
struct carrier_counts carrier_counts(const struct carrier *self);
