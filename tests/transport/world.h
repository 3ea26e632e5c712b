/*
 * What a node needs to answer, for the tests of this folder: a routing page with nodes of both
 * families, a presence page, and datagrams written as text.
 */
#pragma once

#include "libcommon/presence_page.h"
#include "libcommon/routing_page.h"
#include "services/transport/endpoint.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

#define WORLD_NODES 20 /* of each family; the id's first byte is its number */

struct world {
    struct routing_page *routing;
    struct presence_page *presence;
    struct random random;
    struct endpoint endpoint;
    struct endpoint_result result;
    uint8_t reply[KRPC_SEND_MAX];
    uint64_t now_us;
};

static const uint8_t world_key[TOKENS_KEY_SIZE] = { 1, 2, 3 };
static const struct node_id world_id = { { 0xff, 1, 2, 3 } };

static inline struct address world_v6(uint8_t last)
{
    struct address address = { .ip = { 0x20, 1, 0xd, 0xb8 }, .port = 6881 };

    address.ip[15] = last;
    return address;
}

/* One of several workers of the node. */
static inline void world_init_worker(struct world *self, uint32_t worker)
{
    const struct endpoint_limits limits = {
        .transactions = { .queries_max = 4, .rtts_max = 16, .worker = worker },
        .budget = BUDGET_LIMITS_DEFAULT,
        .sightings_max = 16,
    };
    struct contact v4[WORLD_NODES], v6[WORLD_NODES];
    const struct contact *contacts[ROUTING_FAMILIES] = { v4, v6 };
    const uint32_t counts[ROUTING_FAMILIES] = { WORLD_NODES, WORLD_NODES };

    memset(self, 0, sizeof(*self));
    for (uint8_t i = 0; i < WORLD_NODES; i++) {
        v4[i] = (struct contact){ { { i } }, address_v4(10, 0, 0, (uint8_t)(i + 1), 6881) };
        v6[i] = (struct contact){ { { i } }, world_v6((uint8_t)(i + 1)) };
    }
    self->now_us = 1000000000;
    self->routing = calloc(1, sizeof(*self->routing));
    self->presence = calloc(1, sizeof(*self->presence));
    routing_page_init(self->routing, &world_id, 1);
    routing_page_publish(self->routing, contacts, counts);
    presence_page_init(self->presence);
    random_init(&self->random, 1);
    endpoint_init(&self->endpoint, &limits, world_key, &self->random);
    self->endpoint.responder.routing = self->routing;
    self->endpoint.responder.presence = self->presence;
}

static inline void world_init(struct world *self)
{
    world_init_worker(self, 0);
}

static inline void world_done(struct world *self)
{
    endpoint_done(&self->endpoint);
    free(self->routing);
    free(self->presence);
}

/* Hand it a datagram; the outcome is in self->result. */
static inline void world_receive(struct world *self, const struct address *from,
                                 struct bytes datagram)
{
    endpoint_receive(&self->endpoint, from, datagram, self->now_us, self->reply, &self->result);
}

/* Another node, "abcdefghij0123456789", that is asked; the id of the query to it is given. */
static const struct address world_node = { .ip = { [10] = 0xff, 0xff, 10, 0, 0, 9 }, .port = 6881 };

static inline void world_start_ping(struct world *self, uint8_t ret_id[KRPC_OWN_TRANSACTION])
{
    struct krpc_query query = { .method = KRPC_PING };
    const struct contact to = { node_id_from((const uint8_t *)"abcdefghij0123456789"), world_node };
    const struct transaction_start start = { .query = &query, .to = &to, .has_id = true };
    struct krpc_message message;
    struct bytes datagram;

    assert_int_equal(endpoint_start(&self->endpoint, &query, &start, self->now_us, &datagram),
                     LB_OK);
    assert_int_equal(krpc_decode(datagram, &message), LB_OK);
    memcpy(ret_id, message.transaction.data, KRPC_OWN_TRANSACTION);
}
