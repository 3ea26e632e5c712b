/*
 * What waits to be written to one peer, in order: small messages, gathered in one run of bytes, and
 * blocks, which are only pointed at. Pure; allocates.
 *
 * Invariant: bytes_size - bytes_head is the sum of the sizes of the segments without data.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct iovec;

/* A run of bytes: the next of `bytes`, or somebody else's. */
struct outbox_segment {
    const uint8_t *data; /* NULL: of `bytes` */
    uint32_t size;
    void *ends; /* it is the last of this block */
};

/* A block went out whole, or (sent false) will not. */
typedef void outbox_fn(void *block, bool sent);

struct outbox {
    outbox_fn *done;
    uint8_t *bytes;
    size_t bytes_head;
    size_t bytes_size;
    size_t bytes_capacity;
    struct outbox_segment *segments; /* a ring */
    uint32_t head;
    uint32_t count;
    uint32_t capacity;
};

void outbox_init(struct outbox *self, outbox_fn *done);

/* Blocks that wait are done with, unsent. It is empty then, and may be used again. */
void outbox_clear(struct outbox *self);

/* Room for `size` bytes at the end, to be filled before the next call. */
uint8_t *outbox_reserve(struct outbox *self, size_t size);

/* Bytes that stay where they are until done; ends: with the last part, the block, else NULL. */
void outbox_point(struct outbox *self, const uint8_t *data, uint32_t size, void *ends);

/* What is first, in at most parts_max parts and about size_max bytes; returns how many parts. */
int outbox_gather(const struct outbox *self, struct iovec *ret_parts, int parts_max,
                  size_t size_max, size_t *ret_size);

/* The first `size` bytes were written: at most what outbox_gather() gave. */
void outbox_consume(struct outbox *self, size_t size);
bool outbox_is_empty(const struct outbox *self);

/* Bytes of small messages that wait. */
size_t outbox_small_bytes(const struct outbox *self);
