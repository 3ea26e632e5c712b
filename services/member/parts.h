/*
 * A sealed message travels in parts of 900 bytes, in any order, some of them twice
 * (proto/peer.proto, MailPart). Here those that come are put together.
 *
 * Bounds: PARTS_OPEN_MAX messages at once, PARTS_OPEN_PER_SENDER_MAX of one node, each for
 * PARTS_LIFE_MS after its first part; so 2.6 MiB in all, and no node can keep others out for
 * longer. Pure; allocates what is being put together.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/node_id.h"

#include <stdbool.h>
#include <stdint.h>

#define PARTS_PART_BYTES          900u
#define PARTS_MESSAGE_MAX         (40u * 1024) /* SEALED_BYTES_MAX */
#define PARTS_MAX                 ((PARTS_MESSAGE_MAX + PARTS_PART_BYTES - 1) / PARTS_PART_BYTES)
#define PARTS_ID_SIZE             32 /* SHA-256 of the whole */
#define PARTS_OPEN_MAX            64u
#define PARTS_OPEN_PER_SENDER_MAX 4u
#define PARTS_LIFE_MS             60000u

/* How many parts a message of this size has, 0 when there is no such message; part's size. */
unsigned parts_count(uint32_t size);
uint32_t parts_size_of(uint32_t size, unsigned part);

struct parts_open {
    bool is_used;
    struct node_id sender; /* who hands it over */
    uint8_t id[PARTS_ID_SIZE];
    uint32_t size;
    uint64_t has; /* a bit a part */
    uint64_t end_ms;
    uint8_t *data;
};

struct parts {
    struct parts_open open[PARTS_OPEN_MAX];
};

struct parts_piece {
    struct node_id sender;
    struct bytes id;
    uint32_t size, offset;
    struct bytes data;
};

enum parts_verdict {
    PARTS_TAKEN,
    PARTS_WHOLE,
    PARTS_INVALID, /* sizes that do not fit, or a whole whose digest is not its id: it is dropped */
    PARTS_FULL     /* too many are begun by this node, or by all */
};

/* On PARTS_WHOLE *ret_whole is the message, piece->size bytes, the caller's to free. */
enum parts_verdict parts_add(struct parts *self, const struct parts_piece *piece, uint64_t now_ms,
                             uint8_t **ret_whole);
void parts_done(struct parts *self);
