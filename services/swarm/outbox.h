/*
 * What waits to be written to one peer: small messages, gathered in runs of bytes, and blocks,
 * which are only pointed at. Everything goes in order, but what is put OUTBOX_SOON goes before the
 * blocks that wait (not amid one): with a slow peer those are seconds, and a HAVE or a request that
 * waits for them idles links elsewhere. Pure; allocates.
 *
 * Invariants: in each run of bytes size - head is the sum of the sizes of its segments; `soon` is
 * empty unless a block waited when it was put there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct iovec;

enum outbox_place {
    OUTBOX_IN_TURN,
    OUTBOX_SOON, /* before the blocks that wait, after all else that was put soon */
    OUTBOX_HEAD  /* the head of a block, whose bytes follow by outbox_point() */
};

/* A run of bytes: the next of `bytes`, or somebody else's. */
struct outbox_segment {
    const uint8_t *data; /* NULL: of `bytes` */
    uint32_t size;
    bool head;  /* a block begins, and nothing of it is out */
    void *ends; /* it is the last of this block */
};

struct outbox_bytes {
    uint8_t *data;
    size_t head;
    size_t size;
    size_t capacity;
};

/* A block went out whole, or (sent false) will not. */
typedef void outbox_fn(void *block, bool sent);

struct outbox {
    outbox_fn *done;
    struct outbox_bytes bytes; /* of segments */
    struct outbox_bytes soon;
    uint32_t blocks;                 /* of which nothing is out */
    struct outbox_segment *segments; /* a ring */
    uint32_t head;
    uint32_t count;
    uint32_t capacity;
};

void outbox_init(struct outbox *self, outbox_fn *done);

/* Blocks that wait are done with, unsent. It is empty then, and may be used again. */
void outbox_clear(struct outbox *self);

/* Room for one message of `size` bytes, to be filled before the next call. */
uint8_t *outbox_reserve(struct outbox *self, size_t size, enum outbox_place place);

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
