#include "tests/sim/node.h"

#include "tests/sim/checks.h"
#include "tests/sim/hostile.h"

#include <assert.h>
#include <string.h>

#define KIND_SHIFT    60
#define STORE_BASE_MS (400ull * 24 * 3600 * 1000) /* as store_clock.c begins */

uint64_t node_now_ms(const struct dht_node *self)
{
    return world_now_ms(self->dht->world);
}

uint64_t node_store_ms(const struct dht_node *self)
{
    return STORE_BASE_MS + node_now_ms(self);
}

uint64_t node_store_s(const struct dht_node *self)
{
    return node_store_ms(self) / 1000;
}

/* ---- sending ---- */

void node_send(struct dht_node *self, const struct address *to, struct bytes datagram)
{
    struct address from = world_address(self->dht->world, self->host);

    checks_sent(self, to, datagram);
    world_send(self->dht->world, self->host, &from, to, datagram.data, datagram.size);
}

uint64_t cookie_of(enum cookie_kind kind, uint64_t number)
{
    assert(number >> KIND_SHIFT == 0);
    return (uint64_t)kind << KIND_SHIFT | number;
}

bool node_ask(struct dht_node *self, const struct carrier_query *query)
{
    struct dht_traffic *traffic = &self->dht->traffic;
    struct bytes datagram;

    if (carrier_start(self->carrier, query, node_now_ms(self), &datagram) != LB_OK) {
        return false;
    }
    traffic->queries++;
    traffic->gets += query->krpc->method == KRPC_GET;
    traffic->puts += query->krpc->method == KRPC_PUT;
    traffic->offers += query->krpc->method == KRPC_OFFER;
    self->open[query->cookie >> KIND_SHIFT]++;
    node_send(self, &query->to.address, datagram);
    return true;
}

/* As queries.c of lb-routing and of lb-transport. */
static bool send_query(struct dht_node *self, const struct query *query)
{
    static const enum krpc_method methods[] = { [QUERY_PING] = KRPC_PING,
                                                [QUERY_FIND_NODE] = KRPC_FIND_NODE,
                                                [QUERY_GET_PEERS] = KRPC_GET_PEERS,
                                                [QUERY_GET] = KRPC_GET };
    struct krpc_query krpc = { .method = methods[query->method],
                               .target = query->target,
                               .has_seq = query->has_seq,
                               .seq = query->seq,
                               .check_s = query->check_s };

    return node_ask(self,
                    &(struct carrier_query){ .krpc = &krpc,
                                             .to = { query->id, query->to },
                                             .has_id = query->id_known,
                                             .cookie = cookie_of(COOKIE_ROUTER, query->ticket) });
}

/* ---- replies ---- */

bool node_read_item(const struct krpc_message *message, struct item *ret_item)
{
    bool is_mutable = (message->present & KRPC_HAS_KEY) != 0;

    *ret_item = (struct item){ .value = message->value,
                               .salt = message->salt,
                               .is_mutable = is_mutable,
                               .seq = is_mutable ? (uint64_t)message->seq : 0 };
    if (message->value.size == 0) {
        return false;
    }
    if (!is_mutable) {
        return true;
    }
    if (message->key.size != ED25519_KEY_SIZE || message->signature.size != ED25519_SIGN_SIZE ||
        message->seq < 0) {
        return false;
    }
    memcpy(ret_item->public_key, message->key.data, ED25519_KEY_SIZE);
    memcpy(ret_item->signature, message->signature.data, ED25519_SIGN_SIZE);
    return true;
}

struct krpc_item node_krpc_item(const struct item *item, uint64_t ends_s, uint64_t now_s)
{
    struct krpc_item krpc = { .value = item->value,
                              .ttl_s = ends_s > now_s ? (uint32_t)(ends_s - now_s) : 0 };

    if (item->is_mutable) {
        krpc.key = bytes_of(item->public_key, ED25519_KEY_SIZE);
        krpc.signature = bytes_of(item->signature, ED25519_SIGN_SIZE);
        krpc.salt = item->salt;
        krpc.seq = item->seq;
    }
    return krpc;
}

/* What a message says of an item; false: nothing. */
static bool find_item(const struct krpc_message *message, struct found_item *ret_item)
{
    if ((message->present & (KRPC_HAS_VALUE | KRPC_HAS_SEQ)) == 0) {
        return false;
    }
    *ret_item = (struct found_item){ .value = message->value,
                                     .public_key = message->key,
                                     .salt = message->salt,
                                     .signature = message->signature,
                                     .seq = message->seq > 0 ? (uint64_t)message->seq : 0,
                                     .ttl_s = message->ttl > 0 ? (uint32_t)message->ttl : 0 };
    return true;
}

/* NULL: there was no answer. */
static void router_answered(struct dht_node *self, uint32_t ticket,
                            const struct krpc_message *message, uint32_t rtt_us)
{
    struct contact nodes[LOOKUP_REPLY_NODES_MAX];
    struct found_item item;
    struct reply reply = { .outcome = REPLY_SILENT, .nodes = nodes, .rtt_us = rtt_us };
    size_t offset = 0;

    if (message != NULL && message->type == KRPC_ERROR) {
        reply.outcome = REPLY_REFUSED;
    } else if (message != NULL) {
        reply.outcome = REPLY_ANSWERED;
        reply.id = node_id_from(message->id.data);
        reply.token = message->token;
        reply.littlebird = message->littlebird;
        reply.item = find_item(message, &item) ? &item : NULL;
        while (reply.nodes_count < LOOKUP_REPLY_NODES_MAX &&
               krpc_next_node(message, 4, &offset, &nodes[reply.nodes_count])) {
            reply.nodes_count++;
        }
    }
    router_reply(self->router, ticket, &reply, node_now_ms(self));
}

static void take_end(struct dht_node *self, uint64_t cookie, const struct krpc_message *message,
                     uint32_t rtt_us)
{
    uint64_t number = cookie & (((uint64_t)1 << KIND_SHIFT) - 1);

    self->open[cookie >> KIND_SHIFT]--;
    switch ((enum cookie_kind)(cookie >> KIND_SHIFT)) {
    case COOKIE_ROUTER:
        router_answered(self, (uint32_t)number, message, rtt_us);
        break;
    case COOKIE_ERRAND:
        errand_answered(self, number, message);
        break;
    case COOKIE_UPKEEP:
        holding_answered(self, (uint32_t)number, message);
        break;
    case COOKIE_MISCHIEF:
        hostile_answered(self, number, message);
        break;
    case COOKIE_KINDS:
        break;
    }
}

static void take_sightings(struct dht_node *self, const struct carrier_result *result)
{
    static const enum sighting_kind kinds[] = { [CARRIER_SEEN_QUERIED] = SIGHTING_QUERIED,
                                                [CARRIER_SEEN_ANSWERED] = SIGHTING_ANSWERED,
                                                [CARRIER_SEEN_SILENT] = SIGHTING_SILENT };

    for (unsigned i = 0; i < result->sightings_count; i++) {
        const struct carrier_sighting *sighting = &result->sightings[i];
        if (sighting->seen == CARRIER_SEEN_ANSWERED) {
            checks_answered(self, &sighting->contact.address);
        }
        router_sighting(self->router, kinds[sighting->seen], &sighting->contact, sighting->rtt_us,
                        node_now_ms(self));
    }
}

/* ---- events ---- */

/* The router's list moves when it changes: fetched before each use. */
static void show_contacts(struct dht_node *self)
{
    uint32_t count;
    const struct contact *sorted = router_sorted(self->router, ROUTING_V4, &count);

    carrier_set_contacts(self->carrier, ROUTING_V4, sorted, count);
}

static void answer_store(struct dht_node *self, const struct carrier_result *result)
{
    struct address to = result->ask->from;
    struct bytes datagram = holding_answer(self, result->message, result->ask);

    if (datagram.size > 0) {
        self->dht->traffic.answers++;
        node_send(self, &to, datagram);
    }
}

static void receive(void *ctx, const struct address *from, const void *data, size_t size)
{
    struct dht_node *self = ctx;
    struct bytes datagram = bytes_of(data, size);
    struct carrier_result result;

    if (self->router == NULL) {
        return;
    }
    if (self->role != ROLE_HONEST && hostile_receive(self, from, datagram)) {
        return;
    }
    checks_receive(self, from, datagram);
    show_contacts(self);
    carrier_receive(self->carrier, from, datagram, node_now_ms(self), &result);
    take_sightings(self, &result);
    switch (result.verdict) {
    case CARRIER_SEND:
        self->dht->traffic.answers++;
        node_send(self, from, result.datagram);
        break;
    case CARRIER_ASK:
        answer_store(self, &result);
        break;
    case CARRIER_ANSWERED:
        take_end(self, result.cookie, result.message, result.rtt_us);
        break;
    default:
        break;
    }
    checks_received(self);
    /* A query that taught nothing leaves nothing to do. */
    if (result.verdict == CARRIER_ANSWERED || result.sightings_count > 0 || self->upkeep_ready) {
        node_pump(self);
    }
}

static void carrier_due(struct dht_node *self)
{
    struct carrier_result result;

    while (carrier_next(self->carrier, node_now_ms(self), &result)) {
        take_sightings(self, &result);
        if (result.verdict == CARRIER_SEND) {
            self->dht->traffic.resent++;
            node_send(self, &result.to, result.datagram);
        } else {
            take_end(self, result.cookie, NULL, 0);
        }
    }
}

static void timer(void *ctx, uint64_t cookie)
{
    struct dht_node *self = ctx;

    (void)cookie;
    /* A node that was paused is late. */
    if (self->router != NULL && self->timer_ms <= node_now_ms(self)) {
        carrier_due(self);
        node_pump(self);
    }
}

const struct behaviour node_behaviour = { .receive = receive, .timer = timer };

/* ---- what is due ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void arm(struct dht_node *self)
{
    uint64_t now_ms = node_now_ms(self), due_ms = router_deadline_ms(self->router);

    due_ms = earlier(due_ms, carrier_deadline_ms(self->carrier));
    due_ms = earlier(due_ms, errands_deadline_ms(self));
    due_ms = earlier(due_ms, holding_deadline_ms(self));
    due_ms = earlier(due_ms, hostile_deadline_ms(self));
    due_ms = due_ms > now_ms ? due_ms : now_ms + 1;
    if (due_ms < self->timer_ms || self->timer_ms <= now_ms) {
        self->timer_ms = due_ms;
        world_timer(self->dht->world, self->host, due_ms, 0);
    }
}

static void router_pump(struct dht_node *self)
{
    uint64_t now_ms = node_now_ms(self);
    const struct reply unsent = { .outcome = REPLY_UNSENT };
    struct search *search;
    struct query query;
    bool again = true;

    while (again) {
        again = false;
        while (router_next(self->router, now_ms, &query)) {
            if (send_query(self, &query)) {
                checks_query(self, &query);
            } else {
                router_reply(self->router, query.ticket, &unsent, now_ms);
            }
        }
        while ((search = router_finished(self->router, now_ms)) != NULL) {
            errand_found(search->order.ctx, search);
            search_free(&search);
            again = true;
        }
    }
}

void node_pump(struct dht_node *self)
{
    hostile_pump(self);
    do {
        errands_pump(self);
        router_pump(self);
    } while (holding_pump(self));
    if (self->joined_ms == 0 && router_is_joined(self->router)) {
        self->joined_ms = node_now_ms(self);
    }
    arm(self);
    checks_node(self);
}
