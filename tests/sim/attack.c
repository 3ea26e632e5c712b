#include "tests/sim/attack.h"

#include "libcommon/memory.h"
#include "tests/sim/node.h"

#include <stdlib.h>
#include <string.h>

#define TICK_MS     5u
#define HOSTS_MAX   64u
#define VALUE_BYTES 200u

/* One of its hosts; the world keeps pointers to it. */
struct attacker {
    struct attack *attack; /* NULL: it is over */
    uint32_t host;
    uint8_t token[KRPC_TOKEN_MAX];
    size_t token_size;
};

struct attack {
    struct dht *dht;
    struct attack_options options;
    struct random random;
    struct node_id id;
    struct attacker *attackers[HOSTS_MAX];
    uint32_t count;
    uint64_t due_milli; /* thousandths of a datagram that are due */
    struct attack_counts counts;
};

static struct address public_host(uint32_t number)
{
    return address_v4((uint8_t)(150 + (number >> 16) % 50), (uint8_t)(number >> 8), (uint8_t)number,
                      13, WORLD_PORT);
}

/* ---- what it sends ---- */

static void send(struct attack *self, struct attacker *by, const struct address *from,
                 const struct address *to, const uint8_t *data, size_t size)
{
    self->counts.sent++;
    world_send(self->dht->world, by->host, from, to, data, size);
}

static void send_query(struct attack *self, struct attacker *by, const struct address *from,
                       const struct address *to, const struct krpc_query *query)
{
    uint8_t data[KRPC_SEND_MAX], transaction[KRPC_OWN_TRANSACTION];

    random_bytes(&self->random, transaction, sizeof(transaction));
    size_t size = krpc_encode_query(query, transaction, data, sizeof(data));
    if (size > 0) {
        send(self, by, from, to, data, size);
    }
}

static struct address some_node(struct attack *self)
{
    uint32_t number = (uint32_t)random_below(&self->random, self->dht->options.nodes);

    return world_address(self->dht->world, number);
}

static void spoof_query(struct attack *self, struct attacker *by)
{
    struct address to = some_node(self);
    const struct krpc_query query = { .method = random_below(&self->random, 2) ? KRPC_GET
                                                                               : KRPC_FIND_NODE,
                                      .id = &self->id,
                                      .target = self->options.target };

    send_query(self, by, &self->options.victim, &to, &query);
}

/* It names itself as close as one may wish. */
static void spoof_reply(struct attack *self, struct attacker *by)
{
    struct address from = some_node(self), to = some_node(self);
    struct contact friend = { .id = node_id_random(&self->random),
                              .address = world_address(self->dht->world, by->host) };
    uint8_t data[KRPC_SEND_MAX], transaction[KRPC_OWN_TRANSACTION];
    const struct krpc_reply reply = { .transaction = bytes_of(transaction, sizeof(transaction)),
                                      .to = &to,
                                      .id = &friend.id,
                                      .nodes = &friend,
                                      .nodes_count = 1,
                                      .with_nodes = true };

    random_bytes(&self->random, transaction, sizeof(transaction));
    send(self, by, &from, &to, data, krpc_encode_reply(&reply, data, sizeof(data)));
}

static struct address node_address(const struct attack *self)
{
    return world_address(self->dht->world, self->options.node);
}

static void flood(struct attack *self, struct attacker *by)
{
    struct address from = world_address(self->dht->world, by->host), to = node_address(self);
    const struct krpc_query query = { .method = random_below(&self->random, 4) ? KRPC_FIND_NODE
                                                                               : KRPC_GET,
                                      .id = &self->id,
                                      .target = self->options.target };

    if (self->options.kind == ATTACK_FLOOD_FORGED) {
        from = self->options.is_public
                   ? public_host((uint32_t)random_below(&self->random, 1u << 20))
                   : world_default_address((1u << 22) +
                                           (uint32_t)random_below(&self->random, 1u << 20));
    }
    send_query(self, by, &from, &to, &query);
}

static void store(struct attack *self, struct attacker *by)
{
    struct address from = world_address(self->dht->world, by->host), to = node_address(self);
    struct krpc_query query = { .method = KRPC_GET,
                                .id = &self->id,
                                .target = node_id_random(&self->random) };

    if (by->token_size == 0 || self->counts.sent % 1000 == 0) {
        send_query(self, by, &from, &to, &query);
        return;
    }
    struct item *item = dht_make_item(random_u64(&self->random), 0, false, 0, VALUE_BYTES);
    query.method = KRPC_PUT;
    query.token = bytes_of(by->token, by->token_size);
    query.item = (struct krpc_item){ .value = item->value, .ttl_s = self->options.ttl_s };
    send_query(self, by, &from, &to, &query);
    free(item);
}

static void act(struct attack *self)
{
    struct attacker *by = self->attackers[self->counts.sent % self->count];

    switch (self->options.kind) {
    case ATTACK_SPOOF_QUERIES:
        spoof_query(self, by);
        break;
    case ATTACK_SPOOF_REPLIES:
        spoof_reply(self, by);
        break;
    case ATTACK_FLOOD:
    case ATTACK_FLOOD_FORGED:
        flood(self, by);
        break;
    case ATTACK_STORE_FLOOD:
        store(self, by);
        break;
    case ATTACKS_COUNT:
        break;
    }
}

/* ---- events ---- */

static void on_timer(void *ctx, uint64_t cookie)
{
    struct attacker *by = ctx;
    struct attack *self = by->attack;

    (void)cookie;
    if (self == NULL) {
        return;
    }
    self->due_milli += (uint64_t)self->options.per_s * TICK_MS;
    while (self->due_milli >= 1000) {
        self->due_milli -= 1000;
        act(self);
    }
    world_timer(self->dht->world, by->host, world_now_ms(self->dht->world) + TICK_MS, 0);
}

static void on_receive(void *ctx, const struct address *from, const void *data, size_t size)
{
    struct attacker *by = ctx;
    struct attack *self = by->attack;
    struct krpc_message message;

    (void)from;
    if (self == NULL || krpc_decode(bytes_of(data, size), &message) != LB_OK ||
        message.type == KRPC_QUERY) {
        return;
    }
    self->counts.answers++;
    if (message.type == KRPC_REPLY && message.token.size > 0) {
        memcpy(by->token, message.token.data, message.token.size);
        by->token_size = message.token.size;
    } else if (message.type == KRPC_REPLY) {
        self->counts.stored++;
    }
}

static const struct behaviour behaviour = { .receive = on_receive, .timer = on_timer };

/* ---- life ---- */

static void add_host(struct attack *self)
{
    struct attacker *attacker = xcalloc(1, sizeof(*attacker));
    struct address address = public_host((1u << 20) + self->dht->attackers_count);

    attacker->attack = self;
    attacker->host = world_add(self->dht->world, &behaviour, attacker,
                               self->options.is_public ? &address : NULL);
    self->attackers[self->count++] = attacker;
    dht_keep_attacker(self->dht, attacker);
}

struct attack *attack_start(struct dht *dht, const struct attack_options *options)
{
    struct attack *self = xcalloc(1, sizeof(*self));
    uint32_t hosts = options->hosts == 0 ? 1 : options->hosts;

    self->dht = dht;
    self->options = *options;
    random_init(&self->random, random_u64(&dht->random));
    self->id = node_id_random(&self->random);
    for (uint32_t i = 0; i < hosts && i < HOSTS_MAX; i++) {
        add_host(self);
    }
    world_timer(dht->world, self->attackers[0]->host, world_now_ms(dht->world) + 1, 0);
    return self;
}

void attack_stop(struct attack **self)
{
    if (*self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < (*self)->count; i++) {
        (*self)->attackers[i]->attack = NULL;
        world_set_up((*self)->dht->world, (*self)->attackers[i]->host, false);
    }
    free(*self);
    *self = NULL;
}

struct attack_counts attack_counts(const struct attack *self)
{
    return self->counts;
}
