/*
 * What another node's query is answered with.
 *
 * ping, find_node and the node part of get_peers and get come from the routing page that lb-routing
 * publishes; whether a value or peers may be there at all from storage's presence page. Only what
 * those cannot answer becomes a question for storage: get_peers and get of a target that may be
 * present, announce_peer and put with a token that is ours, lb_offer and sample_infohashes. A
 * method that is not known and names a target is find_node. Every reply is paid for (budget.h); one
 * that is too dear goes out with fewer nodes, peers and samples, and not at all when even that is
 * too dear. That to an lb_offer, which needs no token, is no longer than the query. A token of ours
 * proves its sender's address.
 * Replies hold the nodes of the family of the query, or of those in `want` (BEP 32), in no order:
 * BEP 5 asks for none, and sorting them costs more than finding them. Pure.
 */
#pragma once

#include "libcommon/presence_page.h"
#include "libcommon/routing_page.h"
#include "services/transport/budget.h"
#include "services/transport/krpc.h"
#include "services/transport/tokens.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RESPONDER_NODES       8u  /* BEP 5: K */
#define RESPONDER_PEERS_MAX   50u /* of one reply; fewer when they do not fit into KRPC_REPLY_MAX */
#define RESPONDER_SAMPLES_MAX 20u /* likewise; libtorrent gives as many */

struct responder {
    const struct routing_page *routing;   /* borrowed; NULL: no table, nothing is answered */
    const struct routing_list *list;      /* borrowed; where there is no page, in its place */
    const struct presence_page *presence; /* borrowed; NULL: anything may be there */
    struct tokens tokens;
    struct budget budget;
    bool is_member;    /* set by the owner: all this is inside DTLS, so lb_call is known */
    size_t reply_room; /* set by the owner: bytes of a reply; 0: KRPC_SEND_MAX */
};

enum responder_verdict {
    RESPONDER_REPLY,       /* *ret_size bytes stand in the buffer: send them to the asker */
    RESPONDER_REFUSAL,     /* likewise, and they are an error */
    RESPONDER_ASK,         /* ask storage; then responder_answer() with *ret_ask */
    RESPONDER_OVER_BUDGET, /* drop it */
    RESPONDER_NO_TABLE     /* drop it: we do not know who we are */
};

/* A query that waits for storage: what its reply will need. */
struct responder_ask {
    enum krpc_method method;
    struct address from;
    struct node_id target; /* get_peers, announce_peer, get, sample_infohashes */
    bool want_v4, want_v6;
    bool scrape;
    uint16_t asked; /* bytes of the query */
    uint8_t transaction_size;
    uint8_t transaction[KRPC_TRANSACTION_MAX];
};

enum responder_verdict responder_query(struct responder *self, const struct krpc_message *query,
                                       const struct address *from, uint64_t now_ms,
                                       uint8_t ret_reply[KRPC_SEND_MAX], size_t *ret_size,
                                       struct responder_ask *ret_ask);

/* Who we are; NULL without a table. */
const struct node_id *responder_self_id(const struct responder *self);

/* How many peers, or infohashes, a reply to this has room for. */
uint32_t responder_peers_max(const struct responder_ask *ask);
uint32_t responder_samples_max(const struct responder_ask *ask);

/* What storage said. Views are borrowed. */
struct responder_outcome {
    bool unavailable; /* it said nothing: nodes without a token, or error 202 */
    int32_t error;    /* 0, or a KRPC error code */
    struct bytes error_text;
    const struct bytes *peers; /* compact */
    size_t peers_count;
    struct bytes seeds_filter, peers_filter;
    const struct krpc_item *item;       /* NULL: none */
    struct bytes need;                  /* lb_offer */
    struct bytes body;                  /* lb_call */
    const struct krpc_samples *samples; /* sample_infohashes */
};

/* RESPONDER_ASK is never answered here. */
enum responder_verdict responder_answer(struct responder *self, const struct responder_ask *ask,
                                        const struct responder_outcome *outcome, uint64_t now_ms,
                                        uint8_t ret_reply[KRPC_SEND_MAX], size_t *ret_size);
