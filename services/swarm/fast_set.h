/*
 * The pieces a peer may have though it is choked (BEP 6, "Allowed Fast Set Generation"): drawn from
 * its address and the infohash, so that calling again, or from another port, gives the same ones.
 * Pure.
 */
#pragma once

#include "libcommon/address.h"

#include <stddef.h>
#include <stdint.h>

#define FAST_SET_SIZE 10u /* BEP 6 */

/*
 * Up to `most` different pieces, fewer when there are fewer; returns how many. None for an IPv6
 * address: BEP 6 does not say how.
 */
size_t fast_set(const uint8_t infohash[20], const struct address *address, uint32_t pieces,
                uint32_t *ret_pieces, size_t most);
