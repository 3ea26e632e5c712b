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

#define ORDER_VERSION     1
#define ORDER_FOLDER_SIZE 4096u  /* with the NUL */
#define ORDER_MAGNET_SIZE 16385u /* with the NUL */
#define ORDER_SIZE_MAX    24576u /* encoded */

enum order_kind {
    ORDER_FETCH, /* write what peers send into folder */
    ORDER_SHARE  /* seed what lies in folder; never written to */
};

struct order {
    uint8_t infohash[20];
    enum order_kind kind;
    bool has_seed_for; /* else seed until removed */
    uint32_t seed_for_s;
    uint64_t added_s;               /* wall clock */
    uint64_t completed_s;           /* wall clock, 0: not yet */
    char folder[ORDER_FOLDER_SIZE]; /* absolute; the torrent's paths lie below it */
    char magnet[ORDER_MAGNET_SIZE]; /* as given; "" when the order came with its metainfo */
};

/* Into a writer of ORDER_SIZE_MAX, which always suffices. */
void order_encode(const struct order *self, struct writer *to);

/* LB_CORRUPT when malformed, LB_UNSUPPORTED for a later version. */
LB_MUST_CHECK lb_err order_parse(struct bytes data, struct order *ret_self);
