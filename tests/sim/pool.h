/*
 * A pool of items of one size, for what there are hundreds of millions of, some at a time. Items
 * begin with a pointer, which links the unused ones; memory goes back with pool_done() alone.
 */
#pragma once

#include <stddef.h>

#define POOL_CHUNK 1024u /* items that are allocated together */

struct pool {
    size_t size; /* of an item */
    void *unused;
    char **chunks;
    size_t chunks_count;
};

void pool_init(struct pool *self, size_t item_size);
void pool_done(struct pool *self);

/* As it was left by whoever gave it back; zeroed, but for the pointer, when new. */
void *pool_take(struct pool *self);
void pool_give(struct pool *self, void *item);

/* Every item, taken or not: from 0 on, NULL after the last. */
void *pool_item(const struct pool *self, size_t index);
