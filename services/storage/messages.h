/* Between protobuf messages and the structs of the cores. */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"
#include "proto/common.pb-c.h"
#include "proto/routing.pb-c.h"
#include "services/storage/item.h"
#include "services/storage/spread.h"

#include <stdbool.h>

struct bytes bytes_of_binary(const ProtobufCBinaryData *binary);
ProtobufCBinaryData binary_of(struct bytes bytes);
ProtobufCBinaryData binary_of_id(const struct node_id *id);

/*
 * Sizes are checked; nothing else is. The item points into the message. LB_INVALID when a key or a
 * signature has not its size, or only one of them is there.
 */
LB_MUST_CHECK lb_err item_from_message(const Lb__Item *message, struct item *ret_item);

/* The message points into the item. */
void item_to_message(const struct item *item, Lb__Item *ret_message);

/* A life as Item.ttl_s says it, at most 2^31 - 1; 0 stays 0: not said. */
uint32_t message_ttl(uint64_t ttl_s);

LB_MUST_CHECK lb_err contact_from_message(const Lb__Contact *message, struct contact *ret_contact);

/* The closest nodes of a lookup, at most max; those that make no sense are left out. */
size_t nodes_from_message(const Lb__Routing__Found *found, struct spread_node *ret_nodes,
                          size_t max);

/* What is looked for: decides which items count as valid. */
struct wanted {
    struct node_id target;
    bool is_mutable;
    uint8_t public_key[ED25519_KEY_SIZE]; /* mutable only */
    struct bytes salt;                    /* mutable only; borrowed */
};

/*
 * The best valid item that a lookup returned, pointing into the message. Verified from the highest
 * sequence number down, so that usually one signature is checked. False when there is none.
 */
bool best_from_message(const Lb__Routing__Found *found, const struct wanted *wanted,
                       struct item *ret_item);

/* The longest life in seconds that a holder of this very item names; 0: none does. */
uint64_t ttl_from_message(const Lb__Routing__Found *found, const struct item *item);

/* Is this the item that is wanted? Its salt is set from `wanted`: replies do not carry it. */
bool is_wanted(struct item *item, const struct wanted *wanted);
