#include "services/transport/queries.h"

#include "proto/transport.pb-c.h"
#include "services/transport/service.h"

#include <string.h>

#define NODES_MAX 32  /* proto/transport.proto */
#define PEERS_MAX 200 /* likewise */

static struct bytes view(ProtobufCBinaryData from)
{
    return bytes_of(from.data, from.len);
}

static bool read_id(ProtobufCBinaryData from, struct node_id *ret_id)
{
    if (from.len != NODE_ID_SIZE)
        return false;
    *ret_id = node_id_from(from.data);
    return true;
}

/* NULL, or what is wrong. */
static const char *read_put(const Lb__Transport__Put *from, struct krpc_query *query)
{
    const Lb__Item *item = from->item;
    bool is_mutable;

    if (!item || item->value.len > KRPC_VALUE_MAX || !krpc_value_is_strict(view(item->value)))
        return "a value is bencoded, its keys in order, of up to 1000 bytes";
    is_mutable = item->public_key.len > 0;
    if (is_mutable && (item->public_key.len != KRPC_KEY_SIZE ||
                       item->signature.len != KRPC_SIGNATURE_SIZE || item->seq > INT64_MAX))
        return "a mutable item has a key of 32 bytes, a signature of 64 and a seq up to 2^63 - 1";
    if (item->salt.len > KRPC_SALT_MAX)
        return "a salt has at most 64 bytes";
    if (item->ttl_s > INT32_MAX)
        return "ttl_s is at most 2^31 - 1";
    if (from->token.len == 0 || from->token.len > KRPC_TOKEN_MAX)
        return "a token has 1 to 128 bytes";
    query->token = view(from->token);
    query->item = (struct krpc_item){ .value = view(item->value),
                                      .key = view(item->public_key),
                                      .salt = view(item->salt),
                                      .signature = view(item->signature),
                                      .seq = item->seq,
                                      .ttl_s = item->ttl_s };
    query->has_cas = is_mutable && from->compare_case == LB__TRANSPORT__PUT__COMPARE_CAS;
    query->cas = from->cas;
    return query->has_cas && query->cas > INT64_MAX ? "cas is at most 2^63 - 1" : NULL;
}

static const char *read_announce(const Lb__Transport__AnnouncePeer *from, struct krpc_query *query)
{
    if (!read_id(from->infohash, &query->target))
        return "infohash must be 20 bytes";
    if (from->port < 1 || from->port > UINT16_MAX)
        return "port must be 1 to 65535";
    if (from->token.len == 0 || from->token.len > KRPC_TOKEN_MAX)
        return "a token has 1 to 128 bytes";
    query->port = (uint16_t)from->port;
    query->token = view(from->token);
    query->seed = from->seed;
    return NULL;
}

static const char *read_get(const Lb__Transport__Get *from, struct krpc_query *query)
{
    if (!read_id(from->target, &query->target))
        return "target must be 20 bytes";
    query->has_seq = from->newer_case == LB__TRANSPORT__GET__NEWER_SEQ;
    query->seq = query->has_seq ? from->seq : 0;
    query->check_s = from->check_s;
    return query->seq > INT64_MAX || query->check_s > INT32_MAX
               ? "seq is at most 2^63 - 1, check_s at most 2^31 - 1"
               : NULL;
}

static const char *read_offer(const Lb__Transport__Offer *from, struct krpc_query *query)
{
    query->offer = view(from->digests);
    return krpc_offer_is_valid(query->offer) ? NULL : "digests must be 1 to 40 of 28 bytes";
}

const char *queries_read_call(const Lb__Transport__Call *from, struct krpc_query *query)
{
    query->method = KRPC_CALL;
    query->callee = from->to == LB__TRANSPORT__CALL__TO__TO_MEMBER    ? KRPC_CALLEE_MEMBER
                    : from->to == LB__TRANSPORT__CALL__TO__TO_STORAGE ? KRPC_CALLEE_STORAGE
                                                                      : KRPC_CALLEE_NONE;
    query->body = view(from->body);
    return query->callee != KRPC_CALLEE_NONE && query->body.size <= KRPC_CALL_MAX
               ? NULL
               : "a call says to whom it is, and at most 1000 bytes";
}

static const char *read_query(const Lb__Transport__Query *from, struct krpc_query *query)
{
    switch (from->method_case) {
    case LB__TRANSPORT__QUERY__METHOD_PING:
        query->method = KRPC_PING;
        return NULL;
    case LB__TRANSPORT__QUERY__METHOD_FIND_NODE:
        query->method = KRPC_FIND_NODE;
        return read_id(from->find_node->target, &query->target) ? NULL : "target must be 20 bytes";
    case LB__TRANSPORT__QUERY__METHOD_GET_PEERS:
        query->method = KRPC_GET_PEERS;
        return read_id(from->get_peers->infohash, &query->target) ? NULL
                                                                  : "infohash must be 20 bytes";
    case LB__TRANSPORT__QUERY__METHOD_GET:
        query->method = KRPC_GET;
        return read_get(from->get, query);
    case LB__TRANSPORT__QUERY__METHOD_ANNOUNCE_PEER:
        query->method = KRPC_ANNOUNCE_PEER;
        return read_announce(from->announce_peer, query);
    case LB__TRANSPORT__QUERY__METHOD_PUT:
        query->method = KRPC_PUT;
        return read_put(from->put, query);
    case LB__TRANSPORT__QUERY__METHOD_OFFER:
        query->method = KRPC_OFFER;
        return read_offer(from->offer, query);
    case LB__TRANSPORT__QUERY__METHOD_CALL:
        return queries_read_call(from->call, query);
    default:
        return "a query needs a method";
    }
}

/*
 * BEP 32, "Steady-state operation": a node asks for its own family only, unless the other one is
 * still to be filled.
 */
static void set_want(const struct transport *self, const struct address *to,
                     struct krpc_query *query)
{
    enum routing_family other = address_is_v4(to) ? ROUTING_V6 : ROUTING_V4;
    struct contact contacts[RESPONDER_NODES];

    if (self->ports_count < 2 || !self->pages.routing)
        return;
    query->want_v4 = query->want_v6 =
        routing_page_closest(self->pages.routing, other, &query->target, RESPONDER_NODES,
                             contacts) < RESPONDER_NODES;
}

/* On a member: is there a session to send it by? False: the call has failed. */
static bool reach(struct transport *self, struct call **call, struct transaction_start *start)
{
    switch (transport_member->reach(self->member, start->to, start->has_id)) {
    case MEMBER_OPEN:
        return true;
    case MEMBER_OPENING:
        start->is_held = true;
        return true;
    case MEMBER_BUSY:
        call_fail(call, LB_FULL, "as many sessions are being opened as may be");
        return false;
    case MEMBER_OTHER:
        break;
    }
    endpoint_missing(&self->endpoint, start->to, &self->result);
    reports_add(&self->reports, &self->result);
    call_fail(call, LB_TIMEOUT, "another node is there, or this one is denied");
    return false;
}

void queries_on_query(void *ctx, struct call *call, const void *body)
{
    const Lb__Transport__Query *from = body;
    struct transport *self = ctx;
    struct krpc_query query = { 0 };
    struct contact to = { 0 };
    struct transaction_start start = { .query = &query, .to = &to, .ctx = call };
    const char *problem = read_query(from, &query);
    struct bytes datagram;
    lb_err err;

    if (problem) {
        call_fail(&call, LB_INVALID, "%s", problem);
        return;
    }
    if (address_from_compact(view(from->address), &to.address) != LB_OK ||
        !address_is_usable(&to.address) ||
        (from->node_id.len > 0 && !read_id(from->node_id, &to.id))) {
        call_fail(&call, LB_INVALID, "address must be 6 or 18 bytes of a host, node_id 20 or none");
        return;
    }
    if (self->stopping || !transport_port(self, &to.address)) {
        call_fail(&call, LB_UNAVAILABLE, "there is no %s socket",
                  address_is_v4(&to.address) ? "IPv4" : "IPv6");
        return;
    }
    if (query.method == KRPC_CALL && !self->member) {
        call_fail(&call, LB_UNSUPPORTED, "this node is of no private network");
        return;
    }
    set_want(self, &to.address, &query);
    start.has_id = from->node_id.len > 0;
    start.once = query.has_cas; /* a second copy would meet what the first has stored */
    if (self->member && !reach(self, &call, &start))
        return;
    self->now_us = uv_hrtime() / 1000;
    err = endpoint_start(&self->endpoint, &query, &start, self->now_us, &datagram);
    if (err != LB_OK) {
        call_fail(&call, err, "%s",
                  err == LB_UNAVAILABLE ? "there is no routing table yet" : lb_err_text(err));
        return;
    }
    if (!start.is_held)
        transport_send(self, &to.address, datagram);
}

/* A member that has lost the session meanwhile opens another, and it is sent then. */
void queries_resend(struct transport *self)
{
    const struct transaction_end *end = &self->result.end;

    if (!self->member ||
        transport_member->reach(self->member, &end->expected, end->has_id) == MEMBER_OPEN)
        transport_send(self, &end->expected.address, self->result.datagram);
}

/* ---- answers ---- */

/* The parts an Answer points at, until it is packed. */
struct answer_parts {
    Lb__Contact contacts[NODES_MAX], *contact_list[NODES_MAX];
    struct contact nodes[NODES_MAX];
    uint8_t addresses[NODES_MAX][ADDRESS_COMPACT_V6];
    ProtobufCBinaryData peers[PEERS_MAX];
    uint8_t peer_addresses[PEERS_MAX][ADDRESS_COMPACT_V6];
    Lb__Item item;
    char error[KRPC_ERROR_TEXT_MAX + 1];
};

static ProtobufCBinaryData binary(struct bytes from)
{
    return (ProtobufCBinaryData){ .len = from.size, .data = (uint8_t *)(uintptr_t)from.data };
}

static void add_nodes(Lb__Transport__Answer *answer, struct answer_parts *parts,
                      const struct krpc_message *message, unsigned family)
{
    size_t offset = 0;

    while (answer->n_nodes < NODES_MAX) {
        size_t i = answer->n_nodes;

        if (!krpc_next_node(message, family, &offset, &parts->nodes[i]))
            return;
        lb__contact__init(&parts->contacts[i]);
        parts->contacts[i].node_id = binary(bytes_of(parts->nodes[i].id.bytes, NODE_ID_SIZE));
        parts->contacts[i].address = (ProtobufCBinaryData){
            .len = address_to_compact(&parts->nodes[i].address, parts->addresses[i]),
            .data = parts->addresses[i],
        };
        parts->contact_list[i] = &parts->contacts[i];
        answer->n_nodes++;
    }
}

static void add_peers(Lb__Transport__Answer *answer, struct answer_parts *parts,
                      const struct krpc_message *message)
{
    struct address peer;
    size_t offset = 0;

    while (answer->n_peers < PEERS_MAX && krpc_next_peer(message, &offset, &peer)) {
        size_t i = answer->n_peers++;

        parts->peers[i].len = address_to_compact(&peer, parts->peer_addresses[i]);
        parts->peers[i].data = parts->peer_addresses[i];
    }
}

static void add_item(Lb__Transport__Answer *answer, struct answer_parts *parts,
                     const struct krpc_message *message)
{
    bool is_sent = message->value.size > 0; /* else a number alone says that it is stored there */

    if (message->seq < 0 || !(is_sent || (message->present & KRPC_HAS_SEQ)))
        return;
    lb__item__init(&parts->item);
    parts->item.value = binary(message->value);
    parts->item.public_key = binary(message->key);
    parts->item.signature = binary(message->signature);
    parts->item.seq = (uint64_t)message->seq;
    parts->item.ttl_s = (uint32_t)message->ttl;
    answer->item = &parts->item;
}

/* Another node's text, made fit for a log line. */
static void add_error(Lb__Transport__Answer *answer, struct answer_parts *parts,
                      const struct krpc_message *message)
{
    struct bytes text = message->error_text;

    for (size_t i = 0; i < text.size; i++)
        parts->error[i] = text.data[i] >= ' ' && text.data[i] < 127 ? (char)text.data[i] : '?';
    parts->error[text.size] = '\0';
    answer->krpc_error = message->error_code;
    answer->krpc_message = parts->error;
}

void queries_answered(struct transport *self)
{
    const struct krpc_message *message = &self->result.message;
    struct call *call = self->result.end.ctx; /* NULL: nobody waits for it */
    Lb__Transport__Answer answer = LB__TRANSPORT__ANSWER__INIT;
    Lb__Transport__Reply reply = LB__TRANSPORT__REPLY__INIT;
    struct answer_parts parts;

    if (!call)
        return;
    answer.rtt_us = self->result.end.rtt_us;
    answer.nodes = parts.contact_list;
    answer.peers = parts.peers;
    answer.littlebird = message->littlebird;
    if (message->type == KRPC_ERROR) {
        add_error(&answer, &parts, message);
    } else {
        answer.node_id = binary(message->id);
        answer.token = binary(message->token);
        answer.need = binary(message->need);
        answer.body = binary(message->body);
        add_nodes(&answer, &parts, message, 4);
        add_nodes(&answer, &parts, message, 6);
        add_peers(&answer, &parts, message);
        add_item(&answer, &parts, message);
    }
    if (message->ip.size == ADDRESS_COMPACT_V4 || message->ip.size == ADDRESS_COMPACT_V6)
        answer.observed_address = binary(message->ip);
    reply.body_case = LB__TRANSPORT__REPLY__BODY_ANSWER;
    reply.answer = &answer;
    call_reply(&call, &reply.base);
}

void queries_silent(struct transport *self)
{
    struct call *call = self->result.end.ctx;

    if (self->member &&
        !transport_member->unanswered(self->member, &self->result.end.expected.address))
        self->result.sightings_count = 0;
    if (call)
        call_fail(&call, LB_TIMEOUT, "the node did not answer");
}

void queries_cancel(struct transport *self)
{
    struct transaction_end end;

    while (transactions_cancel(&self->endpoint.transactions, &end)) {
        struct call *call = end.ctx;

        if (call)
            call_fail(&call, LB_CANCELLED, "the service is stopping");
    }
}
