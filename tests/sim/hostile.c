#include "tests/sim/hostile.h"

#include "libcommon/closest.h"
#include "libcommon/memory.h"
#include "tests/sim/node.h"

#include <stdlib.h>
#include <string.h>

#define STALE_MAX      64u
#define STALE_EVERY_MS 10000u

/* What a stale one has kept. */
struct mischief {
    struct item *first[STALE_MAX];
    struct node_id targets[STALE_MAX];
    unsigned count;
    uint64_t due_ms;
};

static int compare_contacts(const void *a, const void *b)
{
    return node_id_compare(&((const struct contact *)a)->id, &((const struct contact *)b)->id);
}

void hostile_meet(struct dht *dht)
{
    dht->hostile = xcalloc(dht->options.nodes + 1, sizeof(*dht->hostile));
    for (uint32_t i = 0; i < dht->options.nodes; i++) {
        if (dht->nodes[i].role != ROLE_HONEST) {
            dht->hostile[dht->hostile_count++] =
                (struct contact){ .id = dht->nodes[i].id, .address = world_address(dht->world, i) };
        }
    }
    qsort(dht->hostile, dht->hostile_count, sizeof(*dht->hostile), compare_contacts);
}

/* ---- whom it names ---- */

/* An id beside the target that no other host takes. */
static struct node_id claim(const struct node_id *target, const struct node_id *own)
{
    struct node_id id = *target;

    memcpy(id.bytes + NODE_ID_SIZE - 8, own->bytes, 8);
    return id;
}

static size_t name_friends(const struct dht_node *node, const struct node_id *target,
                           struct contact ret[RESPONDER_NODES])
{
    const struct dht *dht = node->dht;
    uint32_t indices[RESPONDER_NODES];
    size_t count = closest_find(dht->hostile, dht->hostile_count, target, RESPONDER_NODES, indices);

    for (size_t i = 0; i < count; i++) {
        ret[i] = dht->hostile[indices[i]];
        if (node->role == ROLE_CLAIMING) {
            ret[i].id = claim(target, &ret[i].id);
        }
    }
    return count;
}

static size_t name_nobody(struct dht_node *node, const struct node_id *target,
                          struct contact ret[RESPONDER_NODES])
{
    for (size_t i = 0; i < RESPONDER_NODES; i++) {
        uint32_t far = (1u << 23) + (uint32_t)random_below(&node->random, 1u << 22);
        ret[i] = (struct contact){ .id = *target, .address = world_default_address(far) };
        random_bytes(&node->random, ret[i].id.bytes + NODE_ID_SIZE - 8, 8);
    }
    return RESPONDER_NODES;
}

/* ---- what it answers ---- */

static void reply_with(struct dht_node *node, const struct address *to,
                       const struct krpc_reply *reply)
{
    uint8_t data[KRPC_SEND_MAX];
    size_t size = krpc_encode_reply(reply, data, sizeof(data));
    struct address from = world_address(node->dht->world, node->host);

    world_send(node->dht->world, node->host, &from, to, data, size);
}

static void name_nodes(struct dht_node *node, const struct address *to,
                       const struct krpc_message *query)
{
    struct contact nodes[RESPONDER_NODES];
    struct node_id target = node_id_from(query->target.data);
    struct node_id id = node->role == ROLE_CLAIMING ? claim(&target, &node->id) : node->id;
    const struct krpc_reply reply = {
        .transaction = query->transaction,
        .to = to,
        .id = &id,
        .nodes = nodes,
        .with_nodes = true,
        .nodes_count = node->role == ROLE_MADE_UP ? name_nobody(node, &target, nodes)
                                                  : name_friends(node, &target, nodes),
        .token = query->method == KRPC_FIND_NODE ? bytes_of(NULL, 0) : bytes_of_text("come in")
    };

    reply_with(node, to, &reply);
}

/* ---- the stale ---- */

static const struct item *find_first(const struct mischief *self, const struct node_id *target)
{
    for (unsigned i = 0; i < self->count; i++) {
        if (node_id_equal(&self->targets[i], target)) {
            return self->first[i];
        }
    }
    return NULL;
}

static void keep_first(struct dht_node *node, const struct krpc_message *message)
{
    struct mischief *self = node->mischief;
    struct item item;

    if (!node_read_item(message, &item) || !item.is_mutable || self->count == STALE_MAX) {
        return;
    }
    struct node_id target = item_target(&item);
    if (find_first(self, &target) == NULL) {
        self->targets[self->count] = target;
        self->first[self->count++] = store_copy(&item);
    }
}

/* Serves what it has kept; true when it had something. */
static bool serve_first(struct dht_node *node, const struct address *to,
                        const struct krpc_message *query)
{
    struct node_id target = node_id_from(query->target.data);
    const struct item *item = find_first(node->mischief, &target);

    if (item == NULL) {
        return false;
    }
    const struct krpc_item krpc = node_krpc_item(item, 0, 0);
    const struct krpc_reply reply = { .transaction = query->transaction,
                                      .to = to,
                                      .id = &node->id,
                                      .with_nodes = true,
                                      .token = bytes_of_text("come in"),
                                      .item = &krpc };
    reply_with(node, to, &reply);
    return true;
}

static bool receive_stale(struct dht_node *node, const struct address *from,
                          const struct krpc_message *query)
{
    if (node->mischief == NULL) {
        node->mischief = xcalloc(1, sizeof(struct mischief));
    }
    if (query->method == KRPC_PUT && query->fault == 0) {
        const struct krpc_reply reply = { .transaction = query->transaction,
                                          .to = from,
                                          .id = &node->id };
        keep_first(node, query);
        reply_with(node, from, &reply);
        return true;
    }
    return query->method == KRPC_GET && query->fault == 0 && serve_first(node, from, query);
}

bool hostile_receive(struct dht_node *node, const struct address *from, struct bytes datagram)
{
    struct krpc_message message;

    if (krpc_decode(datagram, &message) != LB_OK || message.type != KRPC_QUERY ||
        message.fault != 0 || message.method == KRPC_PING) {
        return false;
    }
    if (node->role == ROLE_SILENT) {
        return true;
    }
    if (node->role == ROLE_STALE) {
        return receive_stale(node, from, &message);
    }
    if (message.method == KRPC_FIND_NODE || message.method == KRPC_GET ||
        message.method == KRPC_GET_PEERS) {
        name_nodes(node, from, &message);
    }
    return true;
}

/* Ask somebody for a token, for the first version of some value. */
void hostile_pump(struct dht_node *node)
{
    struct mischief *self = node->mischief;
    uint64_t now_ms = node_now_ms(node);
    uint32_t count;

    if (self == NULL || self->count == 0 || now_ms < self->due_ms) {
        return;
    }
    self->due_ms = now_ms + STALE_EVERY_MS;
    const struct contact *sorted = router_sorted(node->router, ROUTING_V4, &count);
    if (count == 0) {
        return;
    }
    unsigned which = (unsigned)random_below(&node->random, self->count);
    struct krpc_query krpc = { .method = KRPC_GET, .target = self->targets[which] };
    (void)node_ask(node, &(struct carrier_query){ .krpc = &krpc,
                                                  .to = sorted[random_below(&node->random, count)],
                                                  .cookie = cookie_of(COOKIE_MISCHIEF, which) });
}

uint64_t hostile_deadline_ms(const struct dht_node *node)
{
    const struct mischief *self = node->mischief;

    return self == NULL || self->count == 0 ? UINT64_MAX : self->due_ms;
}

void hostile_answered(struct dht_node *node, uint64_t number, const struct krpc_message *message)
{
    struct mischief *self = node->mischief;
    uint32_t count;

    if (message == NULL || message->type != KRPC_REPLY || message->token.size == 0 ||
        self == NULL || number >= self->count) {
        return;
    }
    const struct contact *sorted = router_sorted(node->router, ROUTING_V4, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (memcmp(sorted[i].id.bytes, message->id.data, NODE_ID_SIZE) == 0) {
            struct krpc_query krpc = { .method = KRPC_PUT,
                                       .token = message->token,
                                       .item = node_krpc_item(self->first[number], 0, 0) };
            (void)node_ask(
                node, &(struct carrier_query){ .krpc = &krpc,
                                               .to = sorted[i],
                                               .cookie = cookie_of(COOKIE_MISCHIEF, STALE_MAX) });
            return;
        }
    }
}

void hostile_stop(struct dht_node *node)
{
    struct mischief *self = node->mischief;

    for (unsigned i = 0; self != NULL && i < self->count; i++) {
        free(self->first[i]);
    }
    free(self);
    node->mischief = NULL;
}
