#include "services/routing/queries.h"

#include "libcommon/memory.h"
#include "proto/transport.pb-c.h"
#include "services/routing/service.h"

#include <stdlib.h>

#define QUERY_TIMEOUT_MS 15000 /* far beyond transport's own patience */
#define NODES_MAX        32    /* proto/transport.proto */
#define PEERS_MAX        200   /* likewise */

/* A call of transport, under way. */
struct outgoing {
    struct routing *routing;
    struct link *link;
    uint32_t ticket;
    bool is_v4;
};

static struct bytes view(ProtobufCBinaryData from)
{
    return bytes_of(from.data, from.len);
}

/* ---- answers ---- */

static size_t read_nodes(const Lb__Transport__Answer *answer, struct contact *ret_nodes)
{
    size_t count = 0;

    for (size_t i = 0; i < answer->n_nodes && i < NODES_MAX; i++) {
        const Lb__Contact *from = answer->nodes[i];
        if (from->node_id.len == NODE_ID_SIZE &&
            address_from_compact(view(from->address), &ret_nodes[count].address) == LB_OK &&
            address_is_usable(&ret_nodes[count].address)) {
            ret_nodes[count++].id = node_id_from(from->node_id.data);
        }
    }
    return count;
}

static size_t read_peers(const Lb__Transport__Answer *answer, struct address *ret_peers)
{
    size_t count = 0;

    for (size_t i = 0; i < answer->n_peers && i < PEERS_MAX; i++) {
        if (address_from_compact(view(answer->peers[i]), &ret_peers[count]) == LB_OK) {
            count++;
        }
    }
    return count;
}

static void take_answer(struct routing *self, uint32_t ticket, const Lb__Transport__Answer *answer)
{
    struct contact nodes[NODES_MAX];
    struct address peers[PEERS_MAX];
    struct address observed;
    struct found_item item;
    struct reply reply = { .outcome = REPLY_REFUSED, .rtt_us = answer->rtt_us };

    if (answer->krpc_error == 0 && answer->node_id.len == NODE_ID_SIZE) {
        reply.outcome = REPLY_ANSWERED;
        reply.id = node_id_from(answer->node_id.data);
        reply.nodes = nodes;
        reply.nodes_count = read_nodes(answer, nodes);
        reply.peers = peers;
        reply.peers_count = read_peers(answer, peers);
        reply.token = view(answer->token);
        reply.littlebird = answer->littlebird;
        if (address_from_compact(view(answer->observed_address), &observed) == LB_OK) {
            reply.observed = &observed;
        }
    }
    if (reply.outcome == REPLY_ANSWERED && answer->item != NULL) {
        item = (struct found_item){ .value = view(answer->item->value),
                                    .public_key = view(answer->item->public_key),
                                    .salt = view(answer->item->salt),
                                    .signature = view(answer->item->signature),
                                    .seq = answer->item->seq,
                                    .ttl_s = answer->item->ttl_s };
        reply.item = &item;
    }
    router_reply(self->router, ticket, &reply, actor_now_ms(self->actor));
}

/* Whether transport is known not to serve this family at all. */
static bool is_unserved(const struct routing *self, bool is_v4)
{
    return self->families_known && !(is_v4 ? self->has_v4 : self->has_v6);
}

static enum reply_outcome outcome_of(const struct outgoing *outgoing, lb_err err)
{
    if (err == LB_INVALID || is_unserved(outgoing->routing, outgoing->is_v4)) {
        return REPLY_UNREACHABLE; /* asking again would not help */
    }
    /* Only transport itself can tell that a node was silent. */
    return err == LB_TIMEOUT && link_is_up(outgoing->link) ? REPLY_SILENT : REPLY_UNSENT;
}

static void on_answer(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct outgoing *outgoing = ctx;
    struct routing *self = outgoing->routing;
    const Lb__Transport__Reply *reply = body;

    (void)reason;
    if (!self->stopping) {
        if (err == LB_OK && reply->body_case == LB__TRANSPORT__REPLY__BODY_ANSWER) {
            take_answer(self, outgoing->ticket, reply->answer);
        } else {
            struct reply failed = { .outcome = outcome_of(outgoing, err) };
            router_reply(self->router, outgoing->ticket, &failed, actor_now_ms(self->actor));
        }
    }
    free(outgoing);
}

/* ---- queries ---- */

static ProtobufCBinaryData binary(const void *data, size_t size)
{
    return (ProtobufCBinaryData){ .len = size, .data = (uint8_t *)(uintptr_t)data };
}

static void call_transport(struct outgoing *outgoing, const struct query *query)
{
    uint8_t compact[ADDRESS_COMPACT_V6];
    Lb__Transport__Query body = LB__TRANSPORT__QUERY__INIT;
    Lb__Transport__Request request = LB__TRANSPORT__REQUEST__INIT;
    Lb__Transport__Ping ping = LB__TRANSPORT__PING__INIT;
    Lb__Transport__FindNode find_node = LB__TRANSPORT__FIND_NODE__INIT;
    Lb__Transport__GetPeers get_peers = LB__TRANSPORT__GET_PEERS__INIT;
    Lb__Transport__Get get = LB__TRANSPORT__GET__INIT;

    body.address = binary(compact, address_to_compact(&query->to, compact));
    find_node.target = get_peers.infohash = get.target = binary(query->target.bytes, NODE_ID_SIZE);
    switch (query->method) {
    case QUERY_PING:
        body.method_case = LB__TRANSPORT__QUERY__METHOD_PING;
        body.ping = &ping;
        break;
    case QUERY_FIND_NODE:
        body.method_case = LB__TRANSPORT__QUERY__METHOD_FIND_NODE;
        body.find_node = &find_node;
        break;
    case QUERY_GET_PEERS:
        body.method_case = LB__TRANSPORT__QUERY__METHOD_GET_PEERS;
        body.get_peers = &get_peers;
        break;
    case QUERY_GET:
        body.method_case = LB__TRANSPORT__QUERY__METHOD_GET;
        body.get = &get;
        get.newer_case =
            query->has_seq ? LB__TRANSPORT__GET__NEWER_SEQ : LB__TRANSPORT__GET__NEWER__NOT_SET;
        get.seq = query->seq;
        get.check_s = query->check_s;
        break;
    }
    request.body_case = LB__TRANSPORT__REQUEST__BODY_QUERY;
    request.query = &body;
    link_call(outgoing->link, &request.base, QUERY_TIMEOUT_MS, on_answer, outgoing);
}

void queries_send(struct routing *self, const struct query *query)
{
    bool is_v4 = address_is_v4(&query->to);
    struct link *link =
        instances_pick(&self->transports, address_worker(&query->to, self->transports.active));

    if (!link_is_up(link) || is_unserved(self, is_v4)) {
        struct reply reply = { .outcome = link_is_up(link) ? REPLY_UNREACHABLE : REPLY_UNSENT };
        router_reply(self->router, query->ticket, &reply, actor_now_ms(self->actor));
        return;
    }
    struct outgoing *outgoing = xmalloc(sizeof(*outgoing));
    *outgoing = (struct outgoing){ self, link, query->ticket, is_v4 };
    call_transport(outgoing, query);
}

/* ---- families ---- */

static void on_info(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct routing *self = ctx;
    const Lb__Transport__Reply *reply = body;

    (void)reason;
    self->families_asked = 0;
    if (err != LB_OK || reply->body_case != LB__TRANSPORT__REPLY__BODY_INFO) {
        return;
    }
    self->has_v4 = self->has_v6 = false;
    for (size_t i = 0; i < reply->info->n_local_addresses; i++) {
        self->has_v4 |= reply->info->local_addresses[i].len == ADDRESS_COMPACT_V4;
        self->has_v6 |= reply->info->local_addresses[i].len == ADDRESS_COMPACT_V6;
    }
    self->families_known = true;
}

void queries_learn_families(struct routing *self)
{
    Lb__Transport__GetInfo body = LB__TRANSPORT__GET_INFO__INIT;
    Lb__Transport__Request request = LB__TRANSPORT__REQUEST__INIT;

    if (!instances_are_up(&self->transports)) {
        self->families_known = false;
        return;
    }
    if (self->families_known || self->families_asked > 0) {
        return;
    }
    self->families_asked = 1;
    request.body_case = LB__TRANSPORT__REQUEST__BODY_GET_INFO;
    request.get_info = &body;
    link_call(instances_pick(&self->transports, 0), &request.base, QUERY_TIMEOUT_MS, on_info, self);
}
