#include "services/routing/answers.h"

#include "libcommon/actor.h"
#include "libcommon/memory.h"
#include "proto/routing.pb-c.h"
#include "services/routing/router.h"

#include <stdlib.h>

static ProtobufCBinaryData binary(struct bytes from)
{
    return (ProtobufCBinaryData){ .len = from.size, .data = (uint8_t *)(uintptr_t)from.data };
}

/* A contact and the bytes it points at. */
struct packed_contact {
    Lb__Contact message;
    uint8_t address[ADDRESS_COMPACT_V6];
};

static void pack_contact(const struct contact *from, struct packed_contact *to)
{
    lb__contact__init(&to->message);
    to->message.node_id = binary(bytes_of(from->id.bytes, NODE_ID_SIZE));
    to->message.address =
        binary(bytes_of(to->address, address_to_compact(&from->address, to->address)));
}

/* ---- Found ---- */

struct packed_found {
    struct packed_contact contacts[SEARCH_CLOSEST_MAX];
    Lb__Routing__Reached reached[SEARCH_CLOSEST_MAX], *reached_list[SEARCH_CLOSEST_MAX];
    ProtobufCBinaryData peers[FINDINGS_PEERS_MAX];
    uint8_t addresses[FINDINGS_PEERS_MAX][ADDRESS_COMPACT_V6];
    Lb__Item items[FINDINGS_ITEMS_MAX], *item_list[FINDINGS_ITEMS_MAX];
};

static void pack_closest(const struct search *search, struct packed_found *to,
                         Lb__Routing__Found *found)
{
    const struct candidate *closest[SEARCH_CLOSEST_MAX];

    found->n_closest = search_closest(search, closest);
    found->closest = to->reached_list;
    for (size_t i = 0; i < found->n_closest; i++) {
        pack_contact(&closest[i]->contact, &to->contacts[i]);
        lb__routing__reached__init(&to->reached[i]);
        to->reached[i].contact = &to->contacts[i].message;
        to->reached[i].token = binary(bytes_of(closest[i]->token, closest[i]->token_size));
        to->reached[i].has_item = closest[i]->has_item;
        to->reached[i].item_seq = closest[i]->item_seq;
        to->reached[i].littlebird = closest[i]->littlebird;
        to->reached_list[i] = &to->reached[i];
    }
}

static void pack_findings(const struct findings *from, struct packed_found *to,
                          Lb__Routing__Found *found)
{
    for (size_t i = 0; i < from->peers_count && found->n_peers < FINDINGS_PEERS_MAX; i++) {
        size_t at = found->n_peers++;
        to->peers[at].len = address_to_compact(&from->peers[i], to->addresses[at]);
        to->peers[at].data = to->addresses[at];
    }
    for (size_t i = 0; i < from->items_count && found->n_items < FINDINGS_ITEMS_MAX; i++) {
        const struct found_item *item = &from->items[i]->item;
        Lb__Item *message = &to->items[found->n_items];
        lb__item__init(message);
        message->value = binary(item->value);
        message->public_key = binary(item->public_key);
        message->salt = binary(item->salt);
        message->signature = binary(item->signature);
        message->seq = item->seq;
        message->ttl_s = item->ttl_s;
        to->item_list[found->n_items++] = message;
    }
}

void answers_found(struct call **call, const struct search *search, bool is_client, uint64_t now_ms)
{
    struct packed_found *packed = xmalloc(sizeof(*packed));
    struct search_effort effort = search_effort(search);
    struct findings merged = { 0 };
    Lb__Routing__Found found = LB__ROUTING__FOUND__INIT;
    Lb__Routing__Reply reply = LB__ROUTING__REPLY__INIT;

    search_findings(search, &merged);
    pack_closest(search, packed, &found);
    pack_findings(&merged, packed, &found);
    found.peers = packed->peers;
    found.items = packed->item_list;
    found.queries = effort.queries;
    found.answers = effort.answers;
    found.rounds = effort.rounds;
    found.elapsed_ms = (uint32_t)(now_ms - search->asked_ms);
    found.self_is_close = !is_client && search_self_is_close(search);
    reply.body_case = LB__ROUTING__REPLY__BODY_FOUND;
    reply.found = &found;
    call_reply(call, &reply.base);
    findings_done(&merged);
    free(packed);
}

/* ---- Table ---- */

struct packed_table {
    struct packed_contact *contacts;
    Lb__Routing__Entry *entries, **list;
    size_t count, capacity;
    uint64_t now_ms;
};

static Lb__Routing__Entry__State state_of(enum table_state state)
{
    switch (state) {
    case TABLE_GOOD:
        return LB__ROUTING__ENTRY__STATE__GOOD;
    case TABLE_QUESTIONABLE:
        return LB__ROUTING__ENTRY__STATE__QUESTIONABLE;
    case TABLE_BAD:
        return LB__ROUTING__ENTRY__STATE__BAD;
    default:
        return LB__ROUTING__ENTRY__STATE__REPLACEMENT;
    }
}

static void count_entry(void *ctx, unsigned bucket, enum table_state state,
                        const struct table_entry *entry)
{
    struct packed_table *packed = ctx;

    (void)bucket;
    (void)state;
    (void)entry;
    packed->capacity++;
}

static void pack_entry(void *ctx, unsigned bucket, enum table_state state,
                       const struct table_entry *entry)
{
    struct packed_table *packed = ctx;
    Lb__Routing__Entry *message = &packed->entries[packed->count];

    lb__routing__entry__init(message);
    pack_contact(&entry->contact, &packed->contacts[packed->count]);
    message->contact = &packed->contacts[packed->count].message;
    message->bucket = bucket;
    message->state = state_of(state);
    message->rtt_us = entry->rtt_us;
    message->last_answer_s = (uint32_t)((packed->now_ms - entry->answered_ms) / 1000);
    message->age_s = (uint32_t)((packed->now_ms - entry->entered_ms) / 1000);
    packed->list[packed->count++] = message;
}

static void each_entry(const struct router *router, uint64_t now_ms, table_visit_fn *visit,
                       struct packed_table *packed)
{
    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        table_each(&router->tables[i], now_ms, visit, packed);
    }
}

void answers_table(struct call **call, const struct router *router, uint64_t now_ms)
{
    struct packed_table packed = { .now_ms = now_ms };
    Lb__Routing__Table table = LB__ROUTING__TABLE__INIT;
    Lb__Routing__Reply reply = LB__ROUTING__REPLY__INIT;

    each_entry(router, now_ms, count_entry, &packed);
    packed.contacts = xcalloc(packed.capacity + 1, sizeof(*packed.contacts));
    packed.entries = xcalloc(packed.capacity + 1, sizeof(*packed.entries));
    packed.list = xcalloc(packed.capacity + 1, sizeof(struct Lb__Routing__Entry *));
    each_entry(router, now_ms, pack_entry, &packed);
    table.node_id = binary(bytes_of(router->self_id.bytes, NODE_ID_SIZE));
    table.n_entries = packed.count;
    table.entries = packed.list;
    table.joined = router_is_joined(router);
    reply.body_case = LB__ROUTING__REPLY__BODY_TABLE;
    reply.table = &table;
    call_reply(call, &reply.base);
    free(packed.contacts);
    free(packed.entries);
    free(packed.list);
}
