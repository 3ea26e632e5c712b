/*
 * What the routing cores ask of other nodes, and what comes back: the pure form of the messages
 * Query and Answer of proto/transport.proto.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum query_method { QUERY_PING, QUERY_FIND_NODE, QUERY_GET_PEERS, QUERY_GET };

struct query {
    uint32_t ticket; /* handed back with the reply */
    enum query_method method;
    struct address to;
    bool id_known; /* id must answer there; otherwise whoever does */
    struct node_id id;
    struct node_id target; /* not for QUERY_PING */
    bool has_seq;          /* QUERY_GET: the value is wanted only if its seq is greater (BEP 44) */
    uint64_t seq;
    uint32_t check_s; /* QUERY_GET: we hold that version and see to its replicas, next in so long */
};

enum reply_outcome {
    REPLY_ANSWERED,
    REPLY_REFUSED,     /* a KRPC error: it lives, but does not do that */
    REPLY_SILENT,      /* no answer in transport's time */
    REPLY_UNREACHABLE, /* the system would not send there: says nothing of the node */
    REPLY_UNSENT       /* transport was not there: ask again shortly */
};

/*
 * A BEP 44 item, not verified. Immutable: value alone. Without a value: the node stores that
 * version, but did not send it, since we hold it. Borrowed bytes.
 */
struct found_item {
    struct bytes value, public_key, salt, signature;
    uint64_t seq;
    uint32_t ttl_s; /* what it has left to live; 0: not said */
};

/* Everything borrowed. id, nodes, peers, token, item and observed belong to REPLY_ANSWERED. */
struct reply {
    enum reply_outcome outcome;
    struct node_id id; /* who answered */
    const struct contact *nodes;
    size_t nodes_count;
    const struct address *peers;
    size_t peers_count;
    struct bytes token;            /* size 0: none */
    const struct found_item *item; /* NULL: none */
    uint32_t rtt_us;
    const struct address *observed; /* how that node sees us (BEP 42); NULL: not said */
    bool littlebird;                /* the node is of our kind (proto/transport.proto, Answer) */
};
