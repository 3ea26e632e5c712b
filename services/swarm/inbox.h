/*
 * What comes from one peer, as messages. While reads are small they go to one buffer, and blocks
 * are copied from there by who takes them. Once a read brings a block or more, the next is laid out
 * as if only blocks came, each to memory where it may stay: the header of a PIECE, a block, a
 * header, a block, and the buffer behind them. As long as that is what comes, no byte is copied;
 * whatever else comes is put together in the buffer, with all that follows it, and read as before.
 * So the layout is only a guess, and grows and shrinks with how often it is right. (Copying costs a
 * receiver at loopback's speed 0.2 CPU-s/GB of 1.1, and to receive into cold memory instead of a
 * buffer that is in the cache costs 0.02.) Pure; allocates what wire.h does.
 *
 * Bounds: INBOX_PLACES blocks for all inboxes of a room, and of blocks begun and not whole
 * INBOX_BEGUN_MAX in all; beyond that they are copied.
 */
#pragma once

#include "services/swarm/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct iovec;

#define INBOX_PLACES    32u
#define INBOX_BEGUN_MAX 64u
#define INBOX_READ_SIZE (256u * 1024) /* of a read that is not laid out: it stays in the L2 cache  \
                                       */
#define INBOX_PARTS_MAX (2u * INBOX_PLACES + 2)

/* Memory of one block, WIRE_BLOCK_SIZE; block NULL: none. */
struct inbox_place {
    void *block; /* the caller's */
    uint8_t *data;
};

/* Where reads go; one for many inboxes, each of which is read to its end before the next. */
struct inbox_room {
    struct inbox_place places[INBOX_PLACES]; /* those that are missing the caller fills in */
    uint32_t begun;                          /* by all inboxes */

    uint32_t expected; /* of the read under way: blocks laid out */
    uint32_t at;       /* the next of them */
    size_t kept;       /* or, when there are none: what went behind the message begun */
    bool together;     /* the rest lies in `data` */
    bool surprised;
    size_t size; /* of the read */
    size_t left;
    struct bytes data;
    uint8_t headers[INBOX_PLACES][WIRE_PIECE_HEADER];
    uint8_t buffer[INBOX_PLACES * (WIRE_PIECE_HEADER + WIRE_BLOCK_SIZE) + INBOX_READ_SIZE];
};

struct inbox {
    struct wire_reader reader;
    uint32_t expected;        /* blocks laid out in the next read */
    struct inbox_place place; /* of a block begun */
    uint32_t filled;
    struct wire_message begun;
};

void inbox_init(struct inbox *self);

void inbox_done(struct inbox *self);

/* No more is read: the place of a block begun, if any, is the caller's. Messages stay valid. */
void inbox_stop(struct inbox *self, struct inbox_room *room, struct inbox_place *ret_place);

/* How many of the room's places, from the first on, are wanted for the next read. */
uint32_t inbox_wants(const struct inbox *self);

/* Where the next read goes: at most INBOX_PARTS_MAX parts. Returns how many; *ret_size: in all. */
int inbox_lay_out(struct inbox *self, struct inbox_room *room, struct iovec *ret_parts,
                  size_t *ret_size);
void inbox_came(struct inbox *self, struct inbox_room *room, size_t size);

/*
 * The next message of the read, until WIRE_MORE. Where ret_place->block is not NULL, the payload is
 * a place of its own: who does not keep it puts it back with inbox_put_back() before the next call.
 */
enum wire_verdict inbox_next(struct inbox *self, struct inbox_room *room,
                             struct wire_message *ret_message, struct wire_handshake *ret_hello,
                             struct inbox_place *ret_place);

/* False: the room has all its places. */
bool inbox_put_back(struct inbox_room *room, const struct inbox_place *place);
