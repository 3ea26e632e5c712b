#include "services/gateway/dht_methods.h"

#include "libcommon/address.h"
#include "libcommon/memory.h"
#include "libcommon/node_id.h"
#include "proto/littlebird/v1/dht.pb-c.h"
#include "proto/routing.pb-c.h"

#include <stdlib.h>

lb_err dht_ask_lookup(const void *request, message_take_fn *send, void *ctx,
                      const char **ret_problem)
{
    const Littlebird__V1__LookupRequest *from = request;
    Lb__Routing__Lookup lookup = LB__ROUTING__LOOKUP__INIT;
    Lb__Routing__Request message = LB__ROUTING__REQUEST__INIT;

    if (from->target.len != NODE_ID_SIZE) {
        *ret_problem = "target must be 20 bytes";
        return LB_INVALID;
    }
    lookup.target = from->target;
    lookup.kind = LB__ROUTING__LOOKUP__KIND__NODES;
    message.body_case = LB__ROUTING__REQUEST__BODY_LOOKUP;
    message.lookup = &lookup;
    send(ctx, &message.base);
    return LB_OK;
}

/* Nodes of a response, and the memory they need. */
struct nodes {
    Littlebird__V1__DhtNode *nodes;
    Littlebird__V1__DhtNode **pointers;
    char (*texts)[ADDRESS_TEXT_SIZE];
};

static struct nodes nodes_new(size_t count)
{
    return (struct nodes){ .nodes = xcalloc(count, sizeof(Littlebird__V1__DhtNode)),
                           .pointers = xcalloc(count, sizeof(Littlebird__V1__DhtNode *)),
                           .texts = xcalloc(count, ADDRESS_TEXT_SIZE) };
}

static void nodes_free(struct nodes *self)
{
    free(self->nodes);
    free(self->pointers);
    free(self->texts);
}

/* An address that is none stays empty. */
static Littlebird__V1__DhtNode *nodes_set(struct nodes *self, size_t index,
                                          const Lb__Contact *contact)
{
    Littlebird__V1__DhtNode *node = &self->nodes[index];
    struct address address;

    littlebird__v1__dht_node__init(node);
    self->pointers[index] = node;
    if (!contact)
        return node;
    node->node_id = contact->node_id;
    if (address_from_compact(bytes_of(contact->address.data, contact->address.len), &address) ==
        LB_OK) {
        address_format(&address, self->texts[index]);
        node->address = self->texts[index];
    }
    return node;
}

bool dht_translate_lookup(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Routing__Reply *from = reply;
    Littlebird__V1__LookupResponse response = LITTLEBIRD__V1__LOOKUP_RESPONSE__INIT;
    const Lb__Routing__Found *found = from->found;
    struct nodes nodes;

    if (from->body_case != LB__ROUTING__REPLY__BODY_FOUND)
        return false;
    nodes = nodes_new(found->n_closest);
    for (size_t i = 0; i < found->n_closest; i++)
        nodes_set(&nodes, i, found->closest[i]->contact);
    response.closest = nodes.pointers;
    response.n_closest = found->n_closest;
    response.queries = found->queries;
    response.answers = found->answers;
    response.rounds = found->rounds;
    response.elapsed_ms = found->elapsed_ms;
    respond(ctx, &response.base);
    nodes_free(&nodes);
    return true;
}

lb_err dht_ask_table(const void *request, message_take_fn *send, void *ctx,
                     const char **ret_problem)
{
    Lb__Routing__GetTable get = LB__ROUTING__GET_TABLE__INIT;
    Lb__Routing__Request message = LB__ROUTING__REQUEST__INIT;

    (void)request;
    (void)ret_problem;
    message.body_case = LB__ROUTING__REQUEST__BODY_GET_TABLE;
    message.get_table = &get;
    send(ctx, &message.base);
    return LB_OK;
}

static const char *entry_state_text(Lb__Routing__Entry__State state)
{
    switch (state) {
    case LB__ROUTING__ENTRY__STATE__GOOD:
        return "good";
    case LB__ROUTING__ENTRY__STATE__QUESTIONABLE:
        return "questionable";
    case LB__ROUTING__ENTRY__STATE__BAD:
        return "bad";
    case LB__ROUTING__ENTRY__STATE__REPLACEMENT:
        return "replacement";
    default:
        return "";
    }
}

bool dht_translate_table(const void *reply, message_take_fn *respond, void *ctx)
{
    const Lb__Routing__Reply *from = reply;
    Littlebird__V1__GetTableResponse response = LITTLEBIRD__V1__GET_TABLE_RESPONSE__INIT;
    const Lb__Routing__Table *table = from->table;
    struct nodes nodes;

    if (from->body_case != LB__ROUTING__REPLY__BODY_TABLE)
        return false;
    nodes = nodes_new(table->n_entries);
    for (size_t i = 0; i < table->n_entries; i++) {
        const Lb__Routing__Entry *entry = table->entries[i];
        Littlebird__V1__DhtNode *node = nodes_set(&nodes, i, entry->contact);

        node->state = (char *)(uintptr_t)entry_state_text(entry->state);
        node->bucket = entry->bucket;
        node->rtt_us = entry->rtt_us;
        node->last_answer_s = entry->last_answer_s;
        node->age_s = entry->age_s;
    }
    response.node_id = table->node_id;
    response.nodes = nodes.pointers;
    response.n_nodes = table->n_entries;
    response.joined = table->joined;
    respond(ctx, &response.base);
    nodes_free(&nodes);
    return true;
}
