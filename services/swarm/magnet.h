/*
 * Magnet links (BEP 9, 19, 52, 53):
 *
 *     magnet:?xt=urn:btih:HASH&xt=urn:btmh:1220HASH&dn=NAME&tr=TRACKER&x.pe=ADDR:PORT&so=0,2,4-6&ws=URL
 *
 * v1's HASH is 40 hexadecimal digits or 32 of base32, v2's 64 hexadecimal digits after the
 * multihash of SHA-256; a hybrid has both. Unknown keys are ignored, percent-encoding is undone,
 * keys may be numbered (xt.1, tr.2). What is over a limit is left out, not an error. Pure;
 * allocates nothing.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAGNET_TEXT_MAX      16384u /* bytes of a link */
#define MAGNET_NAME_SIZE     256u   /* a longer name is cut between characters */
#define MAGNET_TRACKERS_MAX  16u
#define MAGNET_TRACKER_SIZE  256u
#define MAGNET_WEB_SEEDS_MAX 64u
#define MAGNET_WEB_SEED_SIZE 256u /* with the NUL; a longer URL is left out */
#define MAGNET_PEERS_MAX     16u
#define MAGNET_SELECT_SIZE   1024u  /* with the NUL; a longer selection is left out */
#define MAGNET_FORMAT_SIZE   16384u /* what magnet_format() may need, with its NUL */

struct magnet {
    uint8_t infohash[20];    /* the key: v1's, of v2 alone the first 20 bytes of its hash */
    uint8_t infohash_v2[32]; /* when it has v2 */
    bool has_v1;
    bool has_v2;
    char select[MAGNET_SELECT_SIZE]; /* BEP 53: "0,2,4-6", indices of files; "": not said */
    char name[MAGNET_NAME_SIZE]; /* for display: safe UTF-8 without control characters; may be "" */
    uint32_t trackers_count;
    uint32_t peers_count;
    uint32_t web_seeds_count;
    char trackers[MAGNET_TRACKERS_MAX][MAGNET_TRACKER_SIZE]; /* kept, not used */
    char web_seeds[MAGNET_WEB_SEEDS_MAX]
                  [MAGNET_WEB_SEED_SIZE];   /* as they stand there; see webseed.h */
    struct address peers[MAGNET_PEERS_MAX]; /* usable ones with a numeric address */
};

/* LB_INVALID: no magnet link, or no valid hash; LB_TOO_BIG; LB_UNSUPPORTED: another multihash. */
LB_MUST_CHECK lb_err magnet_parse(const char *text, struct magnet *ret_self);

/* Write the link and a NUL, with as many of the web seeds as there is room for; size >=
 * MAGNET_FORMAT_SIZE always suffices, else LB_TOO_BIG. */
LB_MUST_CHECK lb_err magnet_format(const struct magnet *self, char *ret_text, size_t size);
