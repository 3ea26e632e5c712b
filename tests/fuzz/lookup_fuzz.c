/*
 * A router among hostile nodes: the input says what each query brings, and who turns up unasked. It
 * must keep its invariants, stay within its limits, and every lookup must end.
 *
 * One byte an event (its low bits choose), then what the event needs; ids and addresses come from
 * few bytes, so that they meet each other.
 */
#include "services/routing/router.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX 256
#define LOOKUPS_MAX 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
};

static uint8_t next_byte(struct input *input)
{
    if (input->size == 0) {
        return 0;
    }
    input->size--;
    return *input->data++;
}

static struct contact next_contact(struct input *input)
{
    struct contact contact = { .address = { { 0 }, 0 } };
    uint8_t id = next_byte(input), where = next_byte(input);

    contact.id.bytes[0] = id & 0xc0;
    contact.id.bytes[19] = id & 0x3f;
    contact.address = address_v4(where < 128 ? 10 : 198, 51, where & 7, where & 31, 6881);
    if (where == 255) {
        contact.address.port = 0;
    }
    if (where % 16 == 9) {
        memset(contact.address.ip, where, sizeof(contact.address.ip)); /* IPv6, maybe multicast */
    }
    return contact;
}

struct world {
    struct router *router;
    struct query waiting[WAITING_MAX];
    size_t waiting_count;
    unsigned asked, ended;
    uint64_t now_ms;
};

static void pump(struct world *world)
{
    struct search *search;
    struct query query;

    while (world->waiting_count < WAITING_MAX &&
           router_next(world->router, world->now_ms, &query)) {
        assert(address_is_usable(&query.to));
        world->waiting[world->waiting_count++] = query;
    }
    while ((search = router_finished(world->router, world->now_ms)) != NULL) {
        const struct candidate *closest[SEARCH_CLOSEST_MAX];
        assert(search_effort(search).queries <= ROUTING_FAMILIES * LOOKUP_QUERIES_MAX);
        for (size_t i = 0, count = search_closest(search, closest); i < count; i++) {
            assert(!node_id_equal(&closest[i]->contact.id, &world->router->self_id));
        }
        (void)search_self_is_close(search);
        search_free(&search);
        world->ended++;
    }
}

static void reply_to(struct world *world, size_t index, struct input *input)
{
    struct contact nodes[LOOKUP_REPLY_NODES_MAX + 4];
    struct query query = world->waiting[index];
    uint8_t how = next_byte(input);
    struct reply reply = { .outcome = REPLY_ANSWERED, .nodes = nodes, .rtt_us = how * 1000u };

    world->waiting[index] = world->waiting[--world->waiting_count];
    reply.id = (how & 0x80) != 0 ? next_contact(input).id : query.id;
    if ((how & 0x60) == 0x60) {
        reply.outcome = (enum reply_outcome)(1 + how % 4);
    }
    reply.nodes_count = (how & 0x1f) + (how == 0x1f ? 5u : 0u);
    for (size_t i = 0; i < reply.nodes_count; i++) {
        nodes[i] = next_contact(input);
    }
    reply.token = bytes_of(nodes, how);
    router_reply(world->router, query.ticket, &reply, world->now_ms);
    router_reply(world->router, query.ticket, &reply, world->now_ms); /* and a duplicate */
}

static void step(struct world *world, struct input *input)
{
    uint8_t event = next_byte(input);
    struct contact contact;

    switch (event % 5) {
    case 0:
        contact = next_contact(input);
        router_sighting(world->router, (enum sighting_kind)(event / 5 % 3), &contact, 1000,
                        world->now_ms);
        break;
    case 1:
        world->now_ms += (uint64_t)event * event * 4;
        break;
    case 2:
        if (world->asked < LOOKUPS_MAX) {
            contact = next_contact(input);
            const struct search_order order = {
                .aim = { .kind = (enum lookup_kind)(event / 5 % 3),
                         .target = contact.id,
                         .k = 1 + event % LOOKUP_K_MAX,
                         .has_seq = event % 2 != 0 },
                .deadline_ms = UINT64_MAX,
            };
            lb_err err = router_search(world->router, &order, world->now_ms);
            world->asked += err == LB_OK;
        }
        break;
    default:
        if (world->waiting_count > 0) {
            reply_to(world, event / 5 % world->waiting_count, input);
        }
        break;
    }
    pump(world);
}

/* All that is on its way is answered by silence: now every lookup must end. */
static void silence(struct world *world)
{
    for (unsigned i = 0; i < 2000 && world->ended < world->asked; i++) {
        struct reply silent = { .outcome = REPLY_SILENT };
        while (world->waiting_count > 0) {
            uint32_t ticket = world->waiting[--world->waiting_count].ticket;
            router_reply(world->router, ticket, &silent, world->now_ms);
        }
        world->now_ms += 100;
        pump(world);
    }
    assert(world->ended == world->asked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct node_id self = { { 0x40 } };
    struct world world = { .now_ms = 1000000 };
    struct input input = { data, size < 4096 ? size : 4096 };

    world.router = router_new(&self, 1, false, world.now_ms);
    while (input.size > 0) {
        step(&world, &input);
    }
    const char *problem = router_check(world.router);
    if (problem != NULL) {
        abort();
    }
    silence(&world);
    router_free(&world.router);
    return 0;
}
