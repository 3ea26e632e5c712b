/*
 * The message of local service discovery (BEP 14): who on this net has one of these infohashes.
 *
 * It looks like a HTTP request, goes by multicast to one group per family, and is never answered as
 * such: who has the infohash too connects to the port it names. Names of headers count in either
 * case, unknown headers are passed over, lines may end without their CR. A sender puts its own
 * `cookie` in and ignores what comes back with it. What is ours stands in a header of its own,
 * X-Littlebird, which others pass over. Pure.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LSD_PORT       6771
#define LSD_GROUP_V4   "239.192.152.143"
#define LSD_GROUP_V6   "ff15::efc0:988f"
#define LSD_SIZE_MAX   1400u /* BEP 14: never longer */
#define LSD_HASH_SIZE  20u
#define LSD_HASHES_MAX 20u /* of one message; more are passed over */
#define LSD_COOKIE_MAX 64u /* bytes; a longer one is no cookie */
#define LSD_REMARK_MAX 64u

struct lsd_message {
    bool over_v6;  /* writing only: which group it says that it goes to */
    uint16_t port; /* 1 to 65535 */
    uint8_t hashes[LSD_HASHES_MAX][LSD_HASH_SIZE];
    size_t hashes_count; /* at least 1 */
    struct bytes cookie; /* printable; empty: none */
    struct bytes remark; /* X-Littlebird, printable; empty: none */
};

/*
 * LB_INVALID when this is no BT-SEARCH, lacks its port or an infohash, or one of these is
 * malformed. cookie and remark are views into data.
 */
LB_MUST_CHECK lb_err lsd_decode(struct bytes data, struct lsd_message *ret_message);

/* Returns the bytes written, 0 when capacity is too small. */
size_t lsd_encode(const struct lsd_message *message, uint8_t *ret_data, size_t capacity);

/* Does the remark hold this word, between spaces? */
bool lsd_remarks(const struct lsd_message *message, const char *word);
