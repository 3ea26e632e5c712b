/*
 * A KRPC endpoint as a state machine: whatever arrives in whatever order, and whatever storage
 * says, what it sends is well formed and of bounded size, and no query of ours ends twice or is
 * forgotten.
 *
 * The input is lines: "+" and two bytes let time pass; "p", "f", "g", "a", "G", "P", "S", "O" and a
 * byte ask that node something; "<" and a byte are a datagram from that node, in which "****"
 * becomes the id of our last query and "TOKENTOK" a token of ours for it; "s" and one or two bytes
 * are storage's outcome for the oldest question; "r" and a byte make us read-only by its lowest
 * bit, and a member of a private network by the next; "C" and a byte ask as the others do, and "h"
 * holds a ping until "o" and the same byte say that there is a way.
 */
#include "services/transport/endpoint.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define QUERIES_MAX 16
#define ASKS_MAX    8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct endpoint endpoint;
    struct random random;
    struct endpoint_result result;
    struct responder_ask asks[ASKS_MAX];
    unsigned asks_count;
    uint8_t last_id[KRPC_OWN_TRANSACTION];
    uint64_t now_us;
    unsigned under_way;
};

/* Made once: nothing here writes to them. */
static struct routing_page routing;
static struct presence_page presence;

static void make_pages(void)
{
    struct contact nodes[2][20];
    const struct contact *contacts[ROUTING_FAMILIES] = { nodes[0], nodes[1] };
    const uint32_t counts[ROUTING_FAMILIES] = { 20, 20 };

    memset(nodes, 0, sizeof(nodes));
    for (uint8_t i = 0; i < 20; i++) {
        nodes[0][i] = (struct contact){ { { i } }, address_v4(10, 0, 0, i, 6881) };
        nodes[1][i] = (struct contact){ { { i } }, { .ip = { 0x20, 1, i }, .port = 6881 } };
    }
    routing_page_init(&routing, &nodes[0][3].id, 1);
    routing_page_publish(&routing, contacts, counts);
    presence_page_init(&presence);
    presence_page_add(&presence, &nodes[0][5].id);
}

static void world_init(struct world *self)
{
    static const uint8_t key[TOKENS_KEY_SIZE] = { 7 };
    const struct endpoint_limits limits = {
        .transactions = { .queries_max = QUERIES_MAX, .rtts_max = 16 },
        .budget = BUDGET_LIMITS_DEFAULT,
        .sightings_max = 16,
    };

    if (routing.magic == 0)
        make_pages();
    memset(self, 0, sizeof(*self));
    self->now_us = 1000000000;
    random_init(&self->random, 1);
    endpoint_init(&self->endpoint, &limits, key, &self->random);
    self->endpoint.responder.routing = &routing;
    self->endpoint.responder.presence = &presence;
}

static struct address address_of(uint8_t node)
{
    if (node & 1)
        return (struct address){ .ip = { 0x20, 1, [15] = node }, .port = node };
    return address_v4(node & 2 ? 10 : 192, 0, 2, node, node);
}

static void check_sent(const uint8_t *datagram, size_t size)
{
    struct krpc_message message;

    assert(size > 0 && size <= KRPC_SEND_MAX);
    assert(krpc_decode(bytes_of(datagram, size), &message) == LB_OK);
    assert(message.type != KRPC_QUERY || message.fault == 0);
}

static void check_sightings(const struct world *self)
{
    assert(self->result.sightings_count <= 2);
    for (unsigned i = 0; i < self->result.sightings_count; i++)
        assert(!node_id_equal(&self->result.sightings[i].contact.id, &routing.self_id));
}

static void receive(struct world *self, uint8_t node, uint8_t *datagram, size_t size)
{
    const struct address from = address_of(node);
    uint8_t reply[KRPC_SEND_MAX];
    uint8_t *place = memmem(datagram, size, "****", 4);

    if (place)
        memcpy(place, self->last_id, sizeof(self->last_id));
    place = memmem(datagram, size, "TOKENTOK", 8);
    if (place)
        tokens_give(&self->endpoint.responder.tokens, &from, self->now_us / 1000, place);
    endpoint_receive(&self->endpoint, &from, bytes_of(datagram, size), self->now_us, reply,
                     &self->result);
    check_sightings(self);
    assert(!self->endpoint.read_only ||
           (self->result.verdict != ENDPOINT_SEND && self->result.verdict != ENDPOINT_ASK));
    if (self->result.verdict == ENDPOINT_SEND)
        check_sent(reply, self->result.reply_size);
    if (self->result.verdict == ENDPOINT_ASK && self->asks_count < ASKS_MAX)
        self->asks[self->asks_count++] = self->result.ask;
    if (self->result.verdict == ENDPOINT_ANSWERED)
        self->under_way--;
}

static void start(struct world *self, enum krpc_method method, uint8_t node, bool is_held)
{
    static const uint8_t key[KRPC_KEY_SIZE], signature[KRPC_SIGNATURE_SIZE];
    static const uint8_t digests[KRPC_DIGESTS_MAX * KRPC_DIGEST_SIZE];
    struct krpc_query query = { .method = method,
                                .target = { { node } },
                                .port = 1,
                                .token = bytes_of_text("token"),
                                .item = { .value = bytes_of_text("1:x") },
                                .offer = bytes_of(digests,
                                                  node & 16 ? sizeof(digests) : KRPC_DIGEST_SIZE),
                                .callee = node & 16 ? KRPC_CALLEE_MEMBER : KRPC_CALLEE_STORAGE,
                                .body = bytes_of(digests, node & 32 ? KRPC_CALL_MAX : 0) };
    const struct contact to = { .id = { { node } }, .address = address_of(node) };
    const struct transaction_start parameters = {
        .query = &query, .to = &to, .has_id = node & 4, .once = node & 8, .is_held = is_held
    };
    struct krpc_message message;
    struct bytes datagram;
    lb_err err;

    if (node & 32) {
        query.has_seq = true;
        query.seq = INT64_MAX;
        query.check_s = query.item.ttl_s = INT32_MAX;
    }
    if (node & 16) {
        query.item.key = bytes_of(key, sizeof(key));
        query.item.signature = bytes_of(signature, sizeof(signature));
    }
    err = endpoint_start(&self->endpoint, &query, &parameters, self->now_us, &datagram);
    if (err != LB_OK) {
        assert(err == LB_INVALID ? !address_is_usable(&to.address)
                                 : err == LB_FULL && self->under_way == QUERIES_MAX);
        return;
    }
    self->under_way++;
    check_sent(datagram.data, datagram.size);
    assert(krpc_decode(datagram, &message) == LB_OK);
    assert(message.littlebird && message.read_only == self->endpoint.read_only);
    memcpy(self->last_id, message.transaction.data, sizeof(self->last_id));
}

static void pass(struct world *self, uint64_t ms)
{
    self->now_us += 1000 * ms;
    while (endpoint_next(&self->endpoint, self->now_us, &self->result)) {
        check_sightings(self);
        if (self->result.verdict == ENDPOINT_RESEND)
            check_sent(self->result.datagram.data, self->result.datagram.size);
        else
            self->under_way--;
    }
    assert(endpoint_deadline_us(&self->endpoint) > self->now_us);
}

/* Whatever it says, also what it was not asked for. */
static void storage_says(struct world *self, uint8_t what, uint8_t more)
{
    static const uint8_t blob[KRPC_VALUE_MAX] = "996:";
    static const uint8_t need[KRPC_DIGESTS_MAX] = "012";
    const struct krpc_item item = { .value = bytes_of(blob, what & 1 ? sizeof(blob) : 0),
                                    .key = bytes_of(blob, what & 2 ? KRPC_KEY_SIZE : 0),
                                    .signature = bytes_of(blob, what & 2 ? KRPC_SIGNATURE_SIZE : 0),
                                    .seq = what,
                                    .ttl_s = more & 1 ? INT32_MAX : 0 };
    const struct krpc_samples samples = {
        .infohashes = bytes_of(blob, NODE_ID_SIZE * (size_t)(more >> 3 & 31)),
        .total = INT64_MAX,
        .interval_s = 21600,
    };
    const struct bytes peers[2] = { bytes_of(blob, 6), bytes_of(blob, 6) };
    const struct responder_outcome outcome = {
        .unavailable = what & 4,
        .error = what & 8 ? 301 : 0,
        .error_text = bytes_of_text("no"),
        .peers = peers,
        .peers_count = what & 16 ? 2 : 0,
        .seeds_filter = bytes_of(blob, what & 32 ? KRPC_FILTER_SIZE : 0),
        .item = what & 64 ? &item : NULL,
        .need = bytes_of(need, more & 2 ? sizeof(need) : 0),
        .body = bytes_of(blob, more & 8 ? KRPC_CALL_MAX : 0),
        .samples = more & 4 ? &samples : NULL,
    };
    uint8_t reply[KRPC_SEND_MAX];
    size_t size;

    if (self->asks_count == 0)
        return;
    size = endpoint_answer(&self->endpoint, &self->asks[0], &outcome, self->now_us, reply);
    if (size > 0)
        check_sent(reply, size);
    memmove(&self->asks[0], &self->asks[1], --self->asks_count * sizeof(self->asks[0]));
}

static void set_kind(struct world *self, uint8_t bits)
{
    self->endpoint.read_only = bits & 1;
    self->endpoint.responder.is_member = bits & 2;
}

static void open_way(struct world *self, uint8_t node)
{
    const struct address address = address_of(node);

    endpoint_opened(&self->endpoint, &address, self->now_us);
    pass(self, 0);
}

static void act(struct world *self, uint8_t *line, size_t size)
{
    static const char methods[] = "pfgaGPSOC"; /* in the order of enum krpc_method */
    const char *method = size > 0 && line[0] ? strchr(methods, line[0]) : NULL;

    if (size < 2)
        return;
    if (line[0] == '+')
        pass(self, line[1] * 256u + (size > 2 ? line[2] : 0u));
    else if (line[0] == '<')
        receive(self, line[1], line + 2, size - 2);
    else if (line[0] == 's')
        storage_says(self, line[1], size > 2 ? line[2] : 0);
    else if (line[0] == 'r')
        set_kind(self, line[1]);
    else if (line[0] == 'h')
        start(self, KRPC_PING, line[1], true);
    else if (line[0] == 'o')
        open_way(self, line[1]);
    else if (method)
        start(self, (enum krpc_method)(method - methods), line[1], false);
    transactions_check(&self->endpoint.transactions);
    assert(self->under_way == self->endpoint.transactions.count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    struct world *world = malloc(sizeof(*world));

    assert(copy && world);
    if (size > 0)
        memcpy(copy, data, size);
    world_init(world);
    for (size_t at = 0; at < size;) {
        uint8_t *end = memchr(copy + at, '\n', size - at);
        size_t length = end ? (size_t)(end - (copy + at)) : size - at;

        act(world, copy + at, length);
        at += length + 1;
    }
    pass(world, 10000); /* everything is sent again or given up ... */
    pass(world, 10000); /* ... and ends */
    assert(world->under_way == 0);
    endpoint_done(&world->endpoint);
    free(world);
    free(copy);
    return 0;
}
