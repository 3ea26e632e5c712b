#include "services/storage/messages.h"

#include <string.h>

#define FOUND_ITEMS_MAX 64u

struct bytes bytes_of_binary(const ProtobufCBinaryData *binary)
{
    return bytes_of(binary->data, binary->len);
}

/* protobuf-c has no const; packing only reads. */
ProtobufCBinaryData binary_of(struct bytes bytes)
{
    return (ProtobufCBinaryData){ .len = bytes.size, .data = (uint8_t *)(uintptr_t)bytes.data };
}

ProtobufCBinaryData binary_of_id(const struct node_id *id)
{
    return binary_of(bytes_of(id->bytes, NODE_ID_SIZE));
}

lb_err item_from_message(const Lb__Item *message, struct item *ret_item)
{
    struct item item = { .value = bytes_of_binary(&message->value),
                         .salt = bytes_of_binary(&message->salt) };

    if (message->public_key.len > 0 || message->signature.len > 0) {
        if (message->public_key.len != sizeof item.public_key ||
            message->signature.len != sizeof item.signature)
            return LB_INVALID;
        item.is_mutable = true;
        item.seq = message->seq;
        memcpy(item.public_key, message->public_key.data, sizeof item.public_key);
        memcpy(item.signature, message->signature.data, sizeof item.signature);
    }
    *ret_item = item;
    return LB_OK;
}

void item_to_message(const struct item *item, Lb__Item *ret_message)
{
    lb__item__init(ret_message);
    ret_message->value = binary_of(item->value);
    if (!item->is_mutable)
        return;
    ret_message->salt = binary_of(item->salt);
    ret_message->seq = item->seq;
    ret_message->public_key = binary_of(bytes_of(item->public_key, sizeof item->public_key));
    ret_message->signature = binary_of(bytes_of(item->signature, sizeof item->signature));
}

uint32_t message_ttl(uint64_t ttl_s)
{
    return ttl_s < INT32_MAX ? (uint32_t)ttl_s : INT32_MAX;
}

lb_err contact_from_message(const Lb__Contact *message, struct contact *ret_contact)
{
    if (message == NULL || message->node_id.len != NODE_ID_SIZE)
        return LB_INVALID;
    if (address_from_compact(bytes_of_binary(&message->address), &ret_contact->address) != LB_OK)
        return LB_INVALID;
    ret_contact->id = node_id_from(message->node_id.data);
    return LB_OK;
}

size_t nodes_from_message(const Lb__Routing__Found *found, struct spread_node *ret_nodes,
                          size_t max)
{
    size_t count = 0;

    for (size_t i = 0; i < found->n_closest && count < max; i++) {
        const Lb__Routing__Reached *reached = found->closest[i];
        struct spread_node *node = &ret_nodes[count];

        if (contact_from_message(reached->contact, &node->contact) != LB_OK)
            continue;
        node->token_size = reached->token.len <= sizeof node->token ? reached->token.len : 0;
        if (node->token_size > 0)
            memcpy(node->token, reached->token.data, node->token_size);
        node->has_item = reached->has_item;
        node->item_seq = reached->item_seq;
        node->littlebird = reached->littlebird;
        count++;
    }
    return count;
}

bool is_wanted(struct item *item, const struct wanted *wanted)
{
    if (item->is_mutable != wanted->is_mutable)
        return false;
    if (item->is_mutable) {
        if (memcmp(item->public_key, wanted->public_key, sizeof item->public_key) != 0)
            return false;
        item->salt = wanted->salt;
    }
    return item_is_valid_at(item, &wanted->target);
}

bool best_from_message(const Lb__Routing__Found *found, const struct wanted *wanted,
                       struct item *ret_item)
{
    bool looked_at[FOUND_ITEMS_MAX] = { false };
    size_t count = found->n_items < FOUND_ITEMS_MAX ? found->n_items : FOUND_ITEMS_MAX;

    for (size_t round = 0; round < count; round++) {
        struct item best = { 0 };
        size_t best_index = SIZE_MAX;

        for (size_t i = 0; i < count; i++) {
            struct item item;

            if (looked_at[i] || item_from_message(found->items[i], &item) != LB_OK)
                continue;
            if (best_index == SIZE_MAX || item_is_newer(&item, &best)) {
                best = item;
                best_index = i;
            }
        }
        if (best_index == SIZE_MAX)
            return false;
        looked_at[best_index] = true;
        if (is_wanted(&best, wanted)) {
            *ret_item = best;
            return true;
        }
    }
    return false;
}

uint64_t ttl_from_message(const Lb__Routing__Found *found, const struct item *item)
{
    uint64_t longest_s = 0;

    for (size_t i = 0; i < found->n_items; i++) {
        const Lb__Item *message = found->items[i];

        if (message->ttl_s > longest_s && message->seq == item->seq &&
            bytes_equal(bytes_of_binary(&message->value), item->value))
            longest_s = message->ttl_s;
    }
    return longest_s;
}
