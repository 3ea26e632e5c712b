#include "services/transport/responder.h"

#include <assert.h>
#include <string.h>

/* What a reply is made of; the nodes live here until it is encoded. */
struct draft {
    struct krpc_reply reply;
    struct contact nodes[RESPONDER_NODES];
    struct contact nodes6[RESPONDER_NODES];
    uint8_t token[TOKEN_SIZE];
    struct krpc_samples samples;
};

const struct node_id *responder_self_id(const struct responder *self)
{
    if (self->routing)
        return &self->routing->self_id;
    return self->list ? &self->list->self_id : NULL;
}

/* What a reply goes to. */
struct asker {
    const struct address *from;
    struct bytes transaction;
    size_t asked; /* bytes of the query */
    uint64_t now_ms;
};

static bool pay(struct responder *self, const struct asker *to, size_t size)
{
    return size > 0 && budget_take(&self->budget, to->from, size, to->asked, to->now_ms);
}

static enum responder_verdict refuse(struct responder *self, const struct asker *to, int32_t code,
                                     struct bytes text, uint8_t *ret_reply, size_t *ret_size)
{
    size_t size =
        krpc_encode_error(to->transaction, to->from, code, text, ret_reply, KRPC_SEND_MAX);

    if (!pay(self, to, size))
        return RESPONDER_OVER_BUDGET;
    *ret_size = size;
    return RESPONDER_REFUSAL;
}

static void draft_begin(const struct responder *self, struct draft *draft, const struct asker *to)
{
    draft->samples = (struct krpc_samples){ .total = 0 };
    draft->reply = (struct krpc_reply){ .transaction = to->transaction,
                                        .to = to->from,
                                        .id = responder_self_id(self) };
}

static inline size_t closest(const struct responder *self, enum routing_family family,
                             const struct node_id *target, struct contact *ret_nodes)
{
    if (self->routing)
        return routing_page_closest_any(self->routing, family, target, RESPONDER_NODES, ret_nodes);
    return routing_list_closest_any(self->list, family, target, RESPONDER_NODES, ret_nodes);
}

static void draft_nodes(const struct responder *self, struct draft *draft,
                        const struct node_id *target, bool v4, bool v6)
{
    struct krpc_reply *reply = &draft->reply;

    if (v4) {
        reply->with_nodes = true;
        reply->nodes = draft->nodes;
        reply->nodes_count = closest(self, ROUTING_V4, target, draft->nodes);
    }
    if (v6) {
        reply->with_nodes6 = true;
        reply->nodes6 = draft->nodes6;
        reply->nodes6_count = closest(self, ROUTING_V6, target, draft->nodes6);
    }
}

static void draft_token(const struct responder *self, struct draft *draft, uint64_t now_ms)
{
    tokens_give(&self->tokens, draft->reply.to, now_ms, draft->token);
    draft->reply.token = bytes_of(draft->token, sizeof(draft->token));
}

/* Leave out what can be done without; false when nothing is left to leave out. */
static bool shrink(struct draft *draft)
{
    struct krpc_reply *reply = &draft->reply;

    if (reply->values_count > 0)
        reply->values_count /= 2;
    else if (draft->samples.infohashes.size > 0)
        draft->samples.infohashes.size -= NODE_ID_SIZE;
    else if (reply->with_nodes6 && reply->with_nodes)
        reply->with_nodes6 = false; /* as BEP 33 says, rather than the filters */
    else if (reply->seeds_filter.size + reply->peers_filter.size > 0)
        reply->seeds_filter = reply->peers_filter = bytes_of(NULL, 0);
    else if (reply->nodes6_count > 0 && reply->with_nodes6)
        reply->nodes6_count--;
    else if (reply->nodes_count > 0)
        reply->nodes_count--;
    else
        return false;
    return true;
}

static size_t encode(struct draft *draft, size_t capacity, uint8_t *ret_reply)
{
    size_t size;

    do
        size = krpc_encode_reply(&draft->reply, ret_reply, capacity);
    while (size == 0 && shrink(draft));
    return size;
}

static enum responder_verdict reply(struct responder *self, const struct asker *to,
                                    struct draft *draft, uint8_t *ret_reply, size_t *ret_size)
{
    bool is_long = draft->reply.item || draft->reply.body.size > 0;
    size_t capacity = !is_long           ? KRPC_REPLY_MAX
                      : self->reply_room ? self->reply_room
                                         : KRPC_SEND_MAX;
    size_t size = encode(draft, capacity, ret_reply);

    if (!pay(self, to, size)) {
        size_t room = budget_room(&self->budget, to->from, to->asked, to->now_ms);

        size = encode(draft, room < capacity ? room : capacity, ret_reply);
        if (!pay(self, to, size))
            return RESPONDER_OVER_BUDGET;
    }
    *ret_size = size;
    return RESPONDER_REPLY;
}

/* The families of nodes to return: those wanted, else that of the query. */
static void families(const struct krpc_message *query, const struct address *from, bool *ret_v4,
                     bool *ret_v6)
{
    bool said = query->want_v4 || query->want_v6, v4 = address_is_v4(from);

    *ret_v4 = said ? query->want_v4 : v4;
    *ret_v6 = said ? query->want_v6 : !v4;
}

static void ask_storage(const struct krpc_message *query, const struct address *from,
                        struct responder_ask *ret_ask)
{
    assert(query->transaction.size <= sizeof(ret_ask->transaction));
    ret_ask->method = query->method;
    ret_ask->from = *from;
    ret_ask->scrape = query->scrape == 1;
    ret_ask->asked = query->size;
    ret_ask->transaction_size = (uint8_t)query->transaction.size;
    memcpy(ret_ask->transaction, query->transaction.data, query->transaction.size);
    if (query->method != KRPC_PUT && query->method != KRPC_OFFER && query->method != KRPC_CALL)
        ret_ask->target = node_id_from(query->target.data);
    families(query, from, &ret_ask->want_v4, &ret_ask->want_v6);
}

static bool may_have(const struct responder *self, const struct node_id *target)
{
    return !self->presence || presence_page_may_have(self->presence, target);
}

enum responder_verdict responder_query(struct responder *self, const struct krpc_message *query,
                                       const struct address *from, uint64_t now_ms,
                                       uint8_t ret_reply[KRPC_SEND_MAX], size_t *ret_size,
                                       struct responder_ask *ret_ask)
{
    const struct asker to = {
        .from = from, .transaction = query->transaction, .asked = query->size, .now_ms = now_ms
    };
    struct draft draft;
    struct node_id target;
    bool v4, v6;

    if (!responder_self_id(self))
        return RESPONDER_NO_TABLE;
    if (query->method == KRPC_CALL && !self->is_member)
        return refuse(self, &to, KRPC_ERROR_METHOD, bytes_of_text("method unknown"), ret_reply,
                      ret_size);
    if (query->fault)
        return refuse(self, &to, query->fault, bytes_of_text(query->fault_text), ret_reply,
                      ret_size);
    draft_begin(self, &draft, &to);
    switch (query->method) {
    case KRPC_PING:
        break;
    case KRPC_ANNOUNCE_PEER:
    case KRPC_PUT:
        if (!tokens_accept(&self->tokens, from, query->token, now_ms))
            return refuse(self, &to, KRPC_ERROR_PROTOCOL, bytes_of_text("bad token"), ret_reply,
                          ret_size);
        budget_prove(&self->budget, from, now_ms);
        ask_storage(query, from, ret_ask);
        return RESPONDER_ASK;
    case KRPC_CALL:
    case KRPC_OFFER:
    case KRPC_SAMPLE_INFOHASHES:
        ask_storage(query, from, ret_ask);
        return RESPONDER_ASK;
    default:
        target = node_id_from(query->target.data);
        if (query->method == KRPC_GET || query->method == KRPC_GET_PEERS) {
            if (may_have(self, &target)) {
                ask_storage(query, from, ret_ask);
                return RESPONDER_ASK;
            }
            draft_token(self, &draft, now_ms);
        }
        families(query, from, &v4, &v6);
        draft_nodes(self, &draft, &target, v4, v6);
    }
    return reply(self, &to, &draft, ret_reply, ret_size);
}

/*
 * What a reply takes besides its peers or samples, counted with the longest form of each part:
 * envelope with an IPv6 "ip" and a long transaction id 112, token 17, "values" 10; nodes
 * 8 * 26 + 10, nodes6 8 * 38 + 12; two filters of 266. The rest of "samples" is 50.
 */
static size_t room_beside_nodes(const struct responder_ask *ask)
{
    return KRPC_REPLY_MAX - 140 - (ask->want_v4 ? 218u : 0u) - (ask->want_v6 ? 316u : 0u);
}

uint32_t responder_peers_max(const struct responder_ask *ask)
{
    size_t room = room_beside_nodes(ask), filters = ask->scrape ? 532 : 0;
    size_t each = address_is_v4(&ask->from) ? 2 + ADDRESS_COMPACT_V4 : 3 + ADDRESS_COMPACT_V6;
    size_t count = room > filters ? (room - filters) / each : 0;

    return count < RESPONDER_PEERS_MAX ? (uint32_t)count : RESPONDER_PEERS_MAX;
}

uint32_t responder_samples_max(const struct responder_ask *ask)
{
    size_t count = (room_beside_nodes(ask) - 50) / NODE_ID_SIZE;

    return count < RESPONDER_SAMPLES_MAX ? (uint32_t)count : RESPONDER_SAMPLES_MAX;
}

static void draft_outcome(const struct responder *self, struct draft *draft,
                          const struct responder_ask *ask, const struct responder_outcome *outcome,
                          uint64_t now_ms)
{
    struct krpc_reply *reply = &draft->reply;

    if (ask->method == KRPC_CALL) {
        reply->body = outcome->body;
        return;
    }
    if (ask->method != KRPC_OFFER)
        draft_nodes(self, draft, &ask->target, ask->want_v4, ask->want_v6);
    if (outcome->unavailable)
        return; /* BEP 33: no token says that we do not store now */
    if (ask->method != KRPC_SAMPLE_INFOHASHES)
        draft_token(self, draft, now_ms);
    reply->values = outcome->peers;
    reply->values_count = outcome->peers_count;
    reply->seeds_filter = outcome->seeds_filter;
    reply->peers_filter = outcome->peers_filter;
    reply->item = outcome->item;
    reply->need = outcome->need;
    if (outcome->samples) {
        draft->samples = *outcome->samples;
        reply->samples = &draft->samples;
    }
}

enum responder_verdict responder_answer(struct responder *self, const struct responder_ask *ask,
                                        const struct responder_outcome *outcome, uint64_t now_ms,
                                        uint8_t ret_reply[KRPC_SEND_MAX], size_t *ret_size)
{
    const struct asker to = { .from = &ask->from,
                              .transaction = bytes_of(ask->transaction, ask->transaction_size),
                              .asked = ask->asked,
                              .now_ms = now_ms };
    bool writes = ask->method == KRPC_ANNOUNCE_PEER || ask->method == KRPC_PUT;
    struct draft draft;

    if (!responder_self_id(self))
        return RESPONDER_NO_TABLE;
    if (outcome->unavailable && ask->method == KRPC_CALL)
        return refuse(self, &to, KRPC_ERROR_SERVER, bytes_of_text("the service is not available"),
                      ret_reply, ret_size);
    if (outcome->unavailable && (writes || ask->method == KRPC_OFFER))
        return refuse(self, &to, KRPC_ERROR_SERVER, bytes_of_text("storage is not available"),
                      ret_reply, ret_size);
    if (outcome->error)
        return refuse(self, &to, outcome->error, outcome->error_text, ret_reply, ret_size);
    draft_begin(self, &draft, &to);
    if (!writes)
        draft_outcome(self, &draft, ask, outcome, now_ms);
    return reply(self, &to, &draft, ret_reply, ret_size);
}
