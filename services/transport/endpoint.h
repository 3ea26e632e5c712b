/*
 * A KRPC endpoint: what one datagram, or a moment, means for a node.
 *
 * The sum of the cores beside it, without a socket: datagrams go in with their source and the time;
 * out come replies to send, questions for storage, ended transactions, and sightings for routing.
 * The service joins it to sockets, the simulator to its network. The conversation is
 *
 *     endpoint_receive()   one datagram in; the verdict says what to do
 *     endpoint_start()     a query of our own; send the datagram it gives
 *     endpoint_next()      what is due by now: send again, or a query that stayed unanswered
 *     endpoint_deadline()  when to call that again
 *     endpoint_forwarded() one answer that reached another worker of this node
 *
 * Who is told of (THREATS 2.4): a node that answered our own query, whatever it said; one that did
 * not; and, now and then, one that asks us and is not read-only (BEP 43). Never ourselves. Whether
 * a node that answered is of our kind stands in its message. Pure.
 */
#pragma once

#include "services/transport/krpc.h"
#include "services/transport/responder.h"
#include "services/transport/sightings.h"
#include "services/transport/transactions.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(NAME, text): shown in the status page; those from BYTES_OUT on are the shell's to count. */
#define ENDPOINT_COUNTERS(X)                                                                       \
    X(PACKETS_IN, "packets_in")                                                                    \
    X(BYTES_IN, "bytes_in")                                                                        \
    X(MALFORMED, "malformed")                                                                      \
    X(PING, "queries_ping") /* the methods, in the order of enum krpc_method */                    \
    X(FIND_NODE, "queries_find_node")                                                              \
    X(GET_PEERS, "queries_get_peers")                                                              \
    X(ANNOUNCE_PEER, "queries_announce_peer")                                                      \
    X(GET, "queries_get")                                                                          \
    X(PUT, "queries_put")                                                                          \
    X(SAMPLE_INFOHASHES, "queries_samples")                                                        \
    X(OFFER, "queries_lb_offer")                                                                   \
    X(CALL, "queries_lb_call")                                                                     \
    X(UNKNOWN, "queries_unknown")                                                                  \
    X(ANSWERED, "answered")         /* replies and errors we gave */                               \
    X(REFUSED, "refused")           /* of these, errors */                                         \
    X(OVER_BUDGET, "over_budget")   /* queries dropped: not even a short answer is paid for */     \
    X(NO_TABLE, "no_table")         /* queries dropped since routing.shm is missing */             \
    X(QUESTIONS, "questions")       /* queries that went to storage */                             \
    X(SENT_QUERIES, "sent_queries") /* our own */                                                  \
    X(RESENT, "resent")                                                                            \
    X(REPLIES, "replies") /* to our own */                                                         \
    X(ERRORS, "errors")   /* likewise, KRPC errors */                                              \
    X(TIMEOUTS, "timeouts")                                                                        \
    X(LATE, "late")             /* replies after the time-out */                                   \
    X(STRANGE, "strange")       /* replies to nothing we asked, or from elsewhere */               \
    X(OTHER_ID, "tls_other_id") /* dropped: its id is not that of its sender's certificate */      \
    X(FORWARDED, "forwarded")   /* replies to what another worker asked, handed on to it */        \
    X(BYTES_OUT, "bytes_out")                                                                      \
    X(PACKETS_OUT, "packets_out")                                                                  \
    X(SEND_FAILED, "send_failed") /* the kernel did not take them */

#define ENDPOINT_COUNTER_ENUM(name, text) COUNT_##name,
enum endpoint_counter { ENDPOINT_COUNTERS(ENDPOINT_COUNTER_ENUM) COUNTERS_COUNT };
#undef ENDPOINT_COUNTER_ENUM

const char *endpoint_counter_text(enum endpoint_counter counter);

struct endpoint_limits {
    struct transactions_limits transactions;
    struct budget_limits budget;
    uint32_t sightings_max; /* addresses remembered, a power of two */
};

/* For a node of its own; a simulator of thousands takes less. */
#define ENDPOINT_LIMITS_DEFAULT                                                                    \
    {                                                                                              \
        .transactions = { .queries_max = 2048, .rtts_max = 4096 },                                 \
        .budget = BUDGET_LIMITS_DEFAULT, .sightings_max = 4096                                     \
    }

struct endpoint {
    struct responder responder; /* .routing and .presence are set by the owner, at any time */
    struct transactions transactions;
    struct sightings sightings;
    bool read_only; /* set by the owner: BEP 43, we ask and do not answer */
    /*
     * Set by the owner before each datagram: who sent it, as the certificate says; NULL: nobody
     * says. What claims another id is dropped, so no other ever reaches a table (THREATS 2.1).
     */
    const struct node_id *certified;
    uint16_t others; /* set by the owner: a bit for each other worker whose answers it hands on */
    uint64_t counters[COUNTERS_COUNT];
};

/* random is borrowed for the life of self; token_key as in tokens.h. */
void endpoint_init(struct endpoint *self, const struct endpoint_limits *limits,
                   const uint8_t token_key[TOKENS_KEY_SIZE], struct random *random);
void endpoint_done(struct endpoint *self);

enum endpoint_verdict {
    ENDPOINT_NOTHING,  /* dropped, and counted */
    ENDPOINT_SEND,     /* reply_size bytes stand in the reply buffer: send them back */
    ENDPOINT_ASK,      /* message and ask are set: ask storage, then endpoint_answer() */
    ENDPOINT_ANSWERED, /* message and end are set: our query was answered, by reply or error */
    ENDPOINT_FORWARD,  /* worker is set: it asked, give it the datagram for endpoint_forwarded() */
    ENDPOINT_RESEND,   /* datagram and end are set: send it to end.expected.address */
    ENDPOINT_SILENT    /* end is set: our query was not answered */
};

enum sighting_kind { SIGHTING_QUERIED, SIGHTING_ANSWERED, SIGHTING_SILENT };

struct sighting {
    struct contact contact;
    enum sighting_kind kind;
    uint32_t rtt_us; /* ANSWERED */
};

/* Only what the verdict names is set; and the sightings. */
struct endpoint_result {
    enum endpoint_verdict verdict;
    size_t reply_size;
    unsigned worker;
    struct bytes datagram;
    struct krpc_message message; /* views into the datagram */
    struct responder_ask ask;
    struct transaction_end end;
    uint8_t sightings_count; /* 0 to 2 */
    struct sighting sightings[2];
};

void endpoint_receive(struct endpoint *self, const struct address *from, struct bytes datagram,
                      uint64_t now_us, uint8_t ret_reply[KRPC_SEND_MAX],
                      struct endpoint_result *ret_result);

/*
 * What endpoint_receive() of another worker said FORWARD to. What is no answer to a query of ours
 * is dropped: no more can come of it.
 */
void endpoint_forwarded(struct endpoint *self, const struct address *from, struct bytes datagram,
                        uint64_t now_us, struct endpoint_result *ret_result);

/* Storage answered: bytes to send to ask->from, 0 when nothing is to be sent. */
size_t endpoint_answer(struct endpoint *self, const struct responder_ask *ask,
                       const struct responder_outcome *outcome, uint64_t now_us,
                       uint8_t ret_reply[KRPC_SEND_MAX]);

/*
 * A query of our own. query->id and query->read_only are set here. LB_UNAVAILABLE without a routing
 * page, LB_INVALID for an address that cannot be sent to; else as transactions_start().
 */
LB_MUST_CHECK lb_err endpoint_start(struct endpoint *self, struct krpc_query *query,
                                    const struct transaction_start *start, uint64_t now_us,
                                    struct bytes *ret_datagram);

/*
 * There is a way to this address now, which there was not, or it is another one: what was held for
 * it and what waits for an answer of it are due to be sent.
 */
void endpoint_opened(struct endpoint *self, const struct address *peer, uint64_t now_us);

/* The node we mean is not at this address, as we know without asking. */
void endpoint_missing(struct endpoint *self, const struct contact *contact,
                      struct endpoint_result *ret_result);

/* False when nothing is due: RESEND or SILENT otherwise. */
bool endpoint_next(struct endpoint *self, uint64_t now_us, struct endpoint_result *ret_result);
uint64_t endpoint_deadline_us(const struct endpoint *self);
