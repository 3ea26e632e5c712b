/*
 * KRPC messages: datagram to struct and back.
 *
 * Decoding is one pass over the datagram, in place: every view in struct krpc_message points into
 * it. No allocation, no recursion; nesting is bounded by KRPC_DEPTH_MAX, the rest by the datagram.
 * Keys may come in any order; a key that is known may come once only, others are passed over.
 * What is not a KRPC envelope is LB_INVALID, and gets no reply; a query with an envelope and wrong
 * arguments decodes with `fault` set to the error code to send.
 *
 * Sources: BEP 5 (messages, errors), 32 (want, nodes6), 33 (scrape), 42 (ip), 43 (ro), 44 (get,
 * put), 51 (sample_infohashes).
 *
 * Ours, among nodes whose "v" begins with "LB", all of it optional and passed over by others:
 *     put    "ttl": seconds the item has left to live; a reply to get says it too
 *     get    "chk": the asker holds version "seq" (0: an immutable item) and sees to its replicas,
 *            next in so many seconds; who holds no newer version answers with "seq" alone
 *     lb_offer  "offer": digests of what the asker holds, each a target and its sequence number
 *            (8 bytes, big endian; 0: immutable); the reply has "token", good for puts of any
 *            target, and "need", a letter a digest (KRPC_NEED_)
 *
 * Inside DTLS only, between members of a private network (elsewhere the method is not known):
 *     lb_call  "to": the service of the other node it is for, "member" or "storage"; "b": what is
 *            said to it (proto/peer.proto); the reply has "b" too
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KRPC_RECEIVE_MAX     2048u /* bytes of a datagram we look at; longer ones are malformed */
#define KRPC_SEND_MAX        1452u /* never sent longer: an Ethernet frame over IPv6, 1500 - 40 - 8 */
#define KRPC_REPLY_MAX       1024u /* a reply without an item: BEP 32, "Maximum packet size" */
#define KRPC_DEPTH_MAX       32u   /* lists and dictionaries open at once */
#define KRPC_TRANSACTION_MAX 32u   /* bytes of a foreign transaction id; longer is malformed */
#define KRPC_TOKEN_MAX       128u  /* bytes of a foreign token */
#define KRPC_ERROR_TEXT_MAX  128u  /* bytes kept of an error's text */
#define KRPC_VALUE_MAX       1000u /* BEP 44 */
#define KRPC_SALT_MAX        64u   /* BEP 44 */
#define KRPC_KEY_SIZE        32u
#define KRPC_SIGNATURE_SIZE  64u
#define KRPC_FILTER_SIZE     256u  /* BEP 33 */
#define KRPC_OWN_TRANSACTION 4u    /* bytes of the transaction ids we send */
#define KRPC_DIGEST_SIZE     28u   /* a target and a sequence number */
#define KRPC_DIGESTS_MAX     40u   /* of one lb_offer */
#define KRPC_CALL_MAX        1000u /* bytes of what an lb_call says, and of what it is answered */

enum krpc_type { KRPC_QUERY, KRPC_REPLY, KRPC_ERROR };

/* X(name, text, the arguments it needs besides id, those it reads when they are there) */
#define KRPC_METHODS(X)                                                                            \
    X(PING, "ping", 0, 0)                                                                          \
    X(FIND_NODE, "find_node", KRPC_HAS_TARGET, KRPC_HAS_WANT)                                      \
    X(GET_PEERS, "get_peers", KRPC_HAS_INFO_HASH,                                                  \
      KRPC_HAS_WANT | KRPC_HAS_NO_SEED | KRPC_HAS_SCRAPE)                                          \
    X(ANNOUNCE_PEER, "announce_peer", KRPC_HAS_INFO_HASH | KRPC_HAS_TOKEN,                         \
      KRPC_HAS_PORT | KRPC_HAS_IMPLIED_PORT | KRPC_HAS_SEED)                                       \
    X(GET, "get", KRPC_HAS_TARGET, KRPC_HAS_WANT | KRPC_HAS_SEQ | KRPC_HAS_CHECK)                  \
    X(PUT, "put", KRPC_HAS_TOKEN | KRPC_HAS_VALUE,                                                 \
      KRPC_HAS_KEY | KRPC_HAS_SALT | KRPC_HAS_SEQ | KRPC_HAS_SIGNATURE | KRPC_HAS_CAS |            \
          KRPC_HAS_TTL)                                                                            \
    X(SAMPLE_INFOHASHES, "sample_infohashes", KRPC_HAS_TARGET, KRPC_HAS_WANT)                      \
    X(OFFER, "lb_offer", KRPC_HAS_OFFER, 0)                                                        \
    X(CALL, "lb_call", KRPC_HAS_TO | KRPC_HAS_BODY, 0)

#define KRPC_METHOD_ENUM(name, ...) KRPC_##name,
enum krpc_method { KRPC_METHODS(KRPC_METHOD_ENUM) KRPC_UNKNOWN, KRPC_METHODS_COUNT };
#undef KRPC_METHOD_ENUM

enum krpc_error_code {
    KRPC_ERROR_GENERIC = 201,
    KRPC_ERROR_SERVER = 202,
    KRPC_ERROR_PROTOCOL = 203,
    KRPC_ERROR_METHOD = 204,
    KRPC_ERROR_VALUE_SIZE = 205, /* 205 and up: BEP 44 */
    KRPC_ERROR_SIGNATURE = 206,
    KRPC_ERROR_SALT_SIZE = 207,
    KRPC_ERROR_CAS = 301,
    KRPC_ERROR_SEQ = 302
};

/*
 * X(NAME, member, key, kind): the arguments and results that are read, the frequent ones first.
 * STRING: its content. LIST, ANY: the encoded value. INT: a number.
 */
#define KRPC_FIELDS(X)                                                                             \
    X(ID, id, "id", STRING)                                                                        \
    X(TARGET, target, "target", STRING)                                                            \
    X(INFO_HASH, info_hash, "info_hash", STRING)                                                   \
    X(WANT, want, "want", LIST)                                                                    \
    X(NODES, nodes, "nodes", STRING)                                                               \
    X(NODES6, nodes6, "nodes6", STRING)                                                            \
    X(TOKEN, token, "token", STRING)                                                               \
    X(VALUES, values, "values", LIST)                                                              \
    X(VALUE, value, "v", ANY)                                                                      \
    X(KEY, key, "k", STRING)                                                                       \
    X(SIGNATURE, signature, "sig", STRING)                                                         \
    X(SALT, salt, "salt", STRING)                                                                  \
    X(SEQ, seq, "seq", INT)                                                                        \
    X(CAS, cas, "cas", INT)                                                                        \
    X(PORT, port, "port", INT)                                                                     \
    X(IMPLIED_PORT, implied_port, "implied_port", INT)                                             \
    X(SEED, seed, "seed", INT)                                                                     \
    X(NO_SEED, no_seed, "noseed", INT)                                                             \
    X(SCRAPE, scrape, "scrape", INT)                                                               \
    X(SEEDS_FILTER, seeds_filter, "BFsd", STRING)                                                  \
    X(PEERS_FILTER, peers_filter, "BFpe", STRING)                                                  \
    X(TTL, ttl, "ttl", INT)                                                                        \
    X(CHECK, check, "chk", INT)                                                                    \
    X(OFFER, offer, "offer", STRING)                                                               \
    X(NEED, need, "need", STRING)                                                                  \
    X(TO, to, "to", STRING)                                                                        \
    X(BODY, body, "b", STRING)                                                                     \
    X(SAMPLES, samples, "samples", STRING)                                                         \
    X(TOTAL, total, "num", INT)                                                                    \
    X(INTERVAL, interval, "interval", INT)

#define KRPC_FIELD_ENUM(name, ...) KRPC_FIELD_##name,
enum krpc_field { KRPC_FIELDS(KRPC_FIELD_ENUM) KRPC_FIELDS_COUNT };
#undef KRPC_FIELD_ENUM
#define KRPC_FIELD_BIT(name, ...) KRPC_HAS_##name = 1u << KRPC_FIELD_##name,
enum { KRPC_FIELDS(KRPC_FIELD_BIT) KRPC_HAS_NOTHING = 0 };
#undef KRPC_FIELD_BIT

/* "to" of an lb_call. */
enum krpc_callee { KRPC_CALLEE_NONE, KRPC_CALLEE_MEMBER, KRPC_CALLEE_STORAGE };

/* "need", a letter a digest of the offer. */
enum krpc_need {
    KRPC_NEED_HAS = '0',    /* it has that version or a newer one */
    KRPC_NEED_WANTS = '1',  /* send it */
    KRPC_NEED_REFUSES = '2' /* not among the k closest by its own view, or no room */
};

struct krpc_message {
    uint16_t size; /* bytes of the datagram */
    enum krpc_type type;
    enum krpc_method method;  /* queries; UNKNOWN without a fault: answered as find_node */
    int32_t fault;            /* queries: 0, or the code of the error to answer with */
    const char *fault_text;   /* static */
    struct bytes transaction; /* 1 to KRPC_TRANSACTION_MAX bytes */
    struct bytes version;     /* "v" beside the body; empty: not said */
    struct bytes ip;          /* replies, BEP 42: how it sees us, compact; empty: not said */
    bool littlebird;          /* of our kind: version begins with "LB" */
    bool read_only;           /* BEP 43 */
    bool want_v4, want_v6;    /* queries, BEP 32; neither: the family of the query */
    int32_t error_code;       /* errors; KRPC_ERROR_GENERIC when it gave none */
    struct bytes error_text;  /* errors: at most KRPC_ERROR_TEXT_MAX bytes */

    uint32_t present;    /* KRPC_HAS_ bits; a member without its bit is empty or 0 */
    struct bytes id;     /* 20 bytes, but for errors and queries with a fault */
    struct bytes target; /* 20 bytes; also the info_hash; not of ping, put, lb_offer, lb_call */
    struct bytes info_hash;
    struct bytes want;
    struct bytes nodes, nodes6; /* replies: a multiple of 26 or 38 bytes, else left out */
    struct bytes token;
    struct bytes values; /* replies: krpc_next_peer() reads it */
    struct bytes value;  /* encoded; in a put at most KRPC_VALUE_MAX, in strict order */
    struct bytes key, signature, salt;
    int64_t seq, cas; /* with a key: not negative */
    int64_t port;     /* announce_peer: 1 to 65535, or anything when implied_port is set */
    int64_t implied_port, seed, no_seed, scrape;
    struct bytes seeds_filter, peers_filter;
    int64_t ttl;          /* put, and replies to get: 1 to INT32_MAX */
    int64_t check;        /* get: 1 to INT32_MAX */
    struct bytes offer;   /* lb_offer: krpc_offer_is_valid() */
    struct bytes need;    /* replies to lb_offer: 1 to KRPC_DIGESTS_MAX of enum krpc_need */
    struct bytes to;      /* lb_call: krpc_callee() reads it */
    struct bytes body;    /* lb_call and its replies: at most KRPC_CALL_MAX bytes */
    struct bytes samples; /* replies, BEP 51: a multiple of 20 bytes; of so many in total */
    int64_t total;        /* not negative */
    int64_t interval;     /* seconds, not negative */
};

/*
 * LB_INVALID when the datagram is no KRPC message: drop it; what *ret_message holds then means
 * nothing. data outlives *ret_message.
 */
LB_MUST_CHECK lb_err krpc_decode(struct bytes data, struct krpc_message *ret_message);

/*
 * The next contact of a reply's nodes (family 4) or nodes6 (family 6) that can be sent to; start
 * with *offset 0. False at the end.
 */
bool krpc_next_node(const struct krpc_message *self, unsigned family, size_t *offset,
                    struct contact *ret_contact);

/* The next peer address of a reply's values that can be connected to; start with *offset 0. */
bool krpc_next_peer(const struct krpc_message *self, size_t *offset, struct address *ret_address);

/*
 * Is this one bencoded value of up to KRPC_VALUE_MAX bytes with its keys in order. Another must not
 * be stored (BEP 44, "Messages"); one that is no bencode at all would break the message it is put
 * in.
 */
bool krpc_value_is_strict(struct bytes value);

/* 1 to KRPC_DIGESTS_MAX digests whose sequence numbers are at most INT64_MAX. */
bool krpc_offer_is_valid(struct bytes digests);

enum krpc_callee krpc_callee(const struct krpc_message *self);

const char *krpc_method_text(enum krpc_method method);

/* ---- writing; all return the bytes written, 0 when capacity is too small ---- */

/* A BEP 44 item; value encoded. Mutable when key is not empty. */
struct krpc_item {
    struct bytes value;
    struct bytes key;       /* 32 bytes or empty */
    struct bytes salt;      /* queries only */
    struct bytes signature; /* 64 bytes or empty */
    uint64_t seq;           /* at most INT64_MAX */
    uint32_t ttl_s;         /* left to live, at most INT32_MAX; 0: not said */
};

/* BEP 51. */
struct krpc_samples {
    struct bytes infohashes; /* 20 bytes each; may be none */
    uint64_t total;          /* stored, at most INT64_MAX */
    uint32_t interval_s;
};

/* Empty members and NULLs are left out. */
struct krpc_reply {
    struct bytes transaction;
    const struct address *to; /* said back as "ip", BEP 42 */
    const struct node_id *id;
    const struct contact *nodes; /* IPv4, BEP 5 */
    size_t nodes_count;
    const struct contact *nodes6; /* IPv6, BEP 32 */
    size_t nodes6_count;
    bool with_nodes, with_nodes6; /* the key stands there even if there is no node */
    struct bytes token;
    const struct bytes *values; /* compact addresses */
    size_t values_count;
    struct bytes seeds_filter, peers_filter; /* BEP 33 */
    const struct krpc_item
        *item;         /* a value that is empty: stored, not sent, so seq alone (BEP 44) */
    struct bytes need; /* lb_offer */
    struct bytes body; /* lb_call */
    const struct krpc_samples *samples;
};

size_t krpc_encode_reply(const struct krpc_reply *reply, uint8_t *ret_data, size_t capacity);
size_t krpc_encode_error(struct bytes transaction, const struct address *to, int32_t code,
                         struct bytes text, uint8_t *ret_data, size_t capacity);

struct krpc_query {
    enum krpc_method method;
    const struct node_id *id;
    struct node_id target; /* or infohash */
    bool read_only;        /* BEP 43 */
    bool want_v4, want_v6;
    bool has_seq; /* get: only what is newer than seq */
    uint64_t seq;
    uint32_t check_s;      /* get: 0: not said, else at most INT32_MAX */
    struct bytes token;    /* announce_peer, put */
    uint16_t port;         /* announce_peer */
    bool seed;             /* announce_peer */
    struct krpc_item item; /* put */
    bool has_cas;          /* put */
    uint64_t cas;
    struct bytes offer;      /* lb_offer */
    enum krpc_callee callee; /* lb_call */
    struct bytes body;       /* lb_call */
};

size_t krpc_encode_query(const struct krpc_query *query,
                         const uint8_t transaction[KRPC_OWN_TRANSACTION], uint8_t *ret_data,
                         size_t capacity);
