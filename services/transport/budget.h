/*
 * How many reply bytes an address may draw from us: token buckets by source IP and for all
 * together.
 *
 * The source of a datagram is a claim: whoever writes a victim's address there makes us send to the
 * victim what is up to twenty times as long (THREATS 2.6). So replies are paid for from a bucket
 * that refills steadily; an empty one means silence until it has refilled, never a ban, since a ban
 * could be drawn on any address by forging it. Inside a site (address_is_private) nothing is
 * charged: a class behind one switch must not wait, and nobody outside can be made a victim. IPv6
 * sources count by /64. An address not seen lately takes the place of the one its set has not seen
 * for longest and starts with a full bucket; the sum of all is what bounds that. Pure; allocates in
 * init().
 */
#pragma once

#include "libcommon/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct budget_limits {
    uint32_t sources_max;  /* buckets, a power of two of 4 or more */
    uint32_t source_rate;  /* bytes per second of one source */
    uint32_t source_burst; /* bytes at once */
    uint32_t total_rate;   /* of all sources */
    uint32_t total_burst;
};

/* Generous: 230 find_node replies a second to one public address. */
#define BUDGET_LIMITS_DEFAULT                                                                      \
    {                                                                                              \
        .sources_max = 1024, .source_rate = 65536, .source_burst = 262144, .total_rate = 8388608,  \
        .total_burst = 8388608                                                                     \
    }

struct budget_bucket {
    uint64_t source; /* hash of the prefix; 0: free */
    uint32_t bytes;  /* what is left */
    uint32_t now_ms; /* when it was so; wraps, compared by difference */
};

struct budget {
    struct budget_limits limits;
    struct budget_bucket *buckets; /* sets of 4 */
    struct budget_bucket total;
    uint64_t seed;
};

void budget_init(struct budget *self, struct budget_limits limits, uint64_t seed, uint64_t now_ms);
void budget_done(struct budget *self);

/* Pay for a reply of this size; false: do not send it. */
bool budget_take(struct budget *self, const struct address *to, size_t size, uint64_t now_ms);
