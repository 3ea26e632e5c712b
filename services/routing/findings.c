#include "services/routing/findings.h"

#include "libcommon/memory.h"

#include <stdlib.h>
#include <string.h>

void findings_done(struct findings *self)
{
    for (size_t i = 0; i < self->items_count; i++) {
        free(self->items[i]);
    }
    free(self->peers);
    *self = (struct findings){ 0 };
}

void findings_add_peer(struct findings *self, const struct address *peer)
{
    if (self->peers_count >= FINDINGS_PEERS_MAX || !address_is_usable(peer)) {
        return;
    }
    for (size_t i = 0; i < self->peers_count; i++) {
        if (address_equal(&self->peers[i], peer)) {
            return;
        }
    }
    if (self->peers_count == self->peers_capacity) {
        self->peers_capacity = self->peers_capacity == 0 ? 16 : self->peers_capacity * 2;
        self->peers = xrealloc(self->peers, self->peers_capacity * sizeof(*self->peers));
    }
    self->peers[self->peers_count++] = *peer;
}

bool findings_item_equal(const struct found_item *a, const struct found_item *b)
{
    return a->seq == b->seq && bytes_equal(a->value, b->value) &&
           bytes_equal(a->public_key, b->public_key) && bytes_equal(a->salt, b->salt) &&
           bytes_equal(a->signature, b->signature);
}

static struct bytes copy_bytes(uint8_t **cursor, struct bytes from)
{
    struct bytes copy = { .data = *cursor, .size = from.size };

    if (from.size > 0) {
        memcpy(*cursor, from.data, from.size);
        *cursor += from.size;
    }
    return copy;
}

bool findings_item_fits(const struct found_item *item)
{
    /* BEP 44: a value of at most 1000 bytes, a salt of at most 64. */
    return item->value.size > 0 && item->value.size <= 1000 && item->salt.size <= 64 &&
           (item->public_key.size == 0 || item->public_key.size == 32) &&
           (item->signature.size == 0 || item->signature.size == 64);
}

const struct found_item *findings_add_item(struct findings *self, const struct found_item *item)
{
    if (!findings_item_fits(item)) {
        return NULL;
    }
    for (size_t i = 0; i < self->items_count; i++) {
        struct found_item *kept = &self->items[i]->item;
        if (findings_item_equal(kept, item)) {
            kept->ttl_s = item->ttl_s > kept->ttl_s ? item->ttl_s : kept->ttl_s;
            return kept;
        }
    }
    if (self->items_count >= FINDINGS_ITEMS_MAX) {
        return NULL;
    }
    size_t size = item->value.size + item->public_key.size + item->salt.size + item->signature.size;
    struct kept_item *copy = xcalloc(1, sizeof(*copy) + size);
    uint8_t *cursor = copy->bytes;
    copy->item.value = copy_bytes(&cursor, item->value);
    copy->item.public_key = copy_bytes(&cursor, item->public_key);
    copy->item.salt = copy_bytes(&cursor, item->salt);
    copy->item.signature = copy_bytes(&cursor, item->signature);
    copy->item.seq = item->seq;
    copy->item.ttl_s = item->ttl_s;
    self->items[self->items_count++] = copy;
    return &copy->item;
}
