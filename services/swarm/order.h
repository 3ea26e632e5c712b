/*
 * An order: what the node was told to do with one torrent, as it is kept on the disk, bencoded.
 * Read as untrusted input. Pure; allocates nothing.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ORDER_VERSION       2     /* 1, without what came later, is read too */
#define ORDER_FOLDER_SIZE   4096u /* with the NUL, as all of these */
#define ORDER_MAGNET_SIZE   16385u
#define ORDER_SELECT_SIZE   16385u
#define ORDER_IDENTITY_SIZE 256u
#define ORDER_SIZE_MAX      49152u /* encoded */
#define ORDER_PRIORITY_MAX  3u
#define ORDER_PRIORITY      2u /* unless told otherwise */

enum order_kind {
    ORDER_FETCH, /* write what peers send into folder */
    ORDER_SHARE  /* seed what lies in folder; never written to */
};

struct order {
    uint8_t infohash[20];
    enum order_kind kind;
    bool has_seed_for; /* else seed until removed */
    uint32_t seed_for_s;
    uint64_t added_s;       /* wall clock */
    uint64_t completed_s;   /* wall clock, 0: not yet */
    uint64_t verified_s;    /* wall clock, when all was read back; 0: it was not */
    uint64_t receive_limit; /* bytes per second, 0: none */
    uint64_t send_limit;
    uint32_t priority;                  /* 1 to ORDER_PRIORITY_MAX */
    bool verify;                        /* read everything back when it is complete */
    char folder[ORDER_FOLDER_SIZE];     /* absolute; the torrent's paths lie below it */
    char device[ORDER_FOLDER_SIZE];     /* absolute, a block device instead; "": none */
    char identity[ORDER_IDENTITY_SIZE]; /* of the device, see device.h */
    char base[ORDER_FOLDER_SIZE];       /* absolute, what to take blocks from; "": none */
    char select[ORDER_SELECT_SIZE];     /* see select.h; "": everything */
    char magnet[ORDER_MAGNET_SIZE];     /* as given; "" when the order came with its metainfo */
};

/* Into a writer of ORDER_SIZE_MAX, which always suffices. */
void order_encode(const struct order *self, struct writer *to);

/* LB_CORRUPT when malformed, LB_UNSUPPORTED for a later version. */
LB_MUST_CHECK lb_err order_parse(struct bytes data, struct order *ret_self);
