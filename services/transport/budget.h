/*
 * How many reply bytes an address may draw from us: token buckets by address, by subnet, and for
 * all together.
 *
 * The source of a datagram is a claim: whoever writes a victim's address there makes us send to the
 * victim. So a reply of up to BUDGET_RATIO times the bytes it answers is free (RFC 9000, 8.1 has
 * the same figure), and what is longer is paid for from a bucket that refills steadily. An empty
 * one means shorter replies until it has refilled, never a ban: a ban could be drawn on any address
 * by forging it, and this way forging X's queries costs X nothing but the length of its replies.
 *
 *     address  a stranger has little; one that has proved within BUDGET_PROVED_MS that it receives
 *              what we send there (budget_prove) has its own, larger bucket
 *     subnet   IPv4 /24, IPv6 /56; strangers may use the upper half only
 *     total    counts every byte, free or not: what we want to send at all. Its lower half is left
 *              to those that have proved themselves, so that forged addresses do not displace them
 *
 * Bound (THREATS 2.6): bytes to an address that never proved itself are, in any 10 s, at most
 * 3 times its own and 16 KiB: a burst, and what refills in 10 s. It holds whatever is forged, since
 * strangers' buckets are never given anew: they are found by a hash alone, and two that share one
 * have less, not more. IPv6 addresses count by /64. Inside a site (address_is_private) nothing is
 * charged: a class behind one switch must not wait, and nobody outside can be made a victim; what
 * bounds a flood there is overload.h. Pure; allocates in init().
 */
#pragma once

#include "libcommon/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUDGET_RATIO     3u
#define BUDGET_PROVED_MS 3600000u /* nodes that know each other talk every quarter of an hour */

struct budget_rate {
    uint32_t per_second; /* bytes, 1 to 10^9 */
    uint32_t burst;      /* bytes at once */
};

struct budget_limits {
    uint32_t strangers_max; /* buckets of each kind: powers of two, known of 4 or more */
    uint32_t known_max;
    uint32_t subnets_max;
    struct budget_rate stranger, known, subnet, total;
};

/* A stranger: 8192 + 10 * 819 bytes are 16 KiB in 10 s. */
#define BUDGET_LIMITS_DEFAULT                                                                      \
    {                                                                                              \
        .strangers_max = 4096, .known_max = 1024, .subnets_max = 1024, .stranger = { 819, 8192 },  \
        .known = { 65536, 262144 }, .subnet = { 524288, 2097152 }, .total = {                      \
            8388608,                                                                               \
            8388608                                                                                \
        }                                                                                          \
    }

/* When a bucket will be full again, in nanoseconds of the caller's clock; in the past: it is. */
typedef uint64_t budget_bucket;

struct budget_price {
    uint64_t byte_ns;  /* the time in which one byte refills */
    uint64_t burst_ns; /* ... in which an empty bucket does */
};

struct budget_known {
    uint64_t source; /* hash of the address */
    uint64_t until_ms;
    budget_bucket bucket;
};

struct budget {
    struct budget_limits limits;
    struct budget_price stranger_price, known_price, subnet_price, total_price;
    budget_bucket *strangers, *subnets;
    struct budget_known *known; /* sets of 4 */
    budget_bucket total;
    uint64_t seed;
};

void budget_init(struct budget *self, struct budget_limits limits, uint64_t seed);
void budget_done(struct budget *self);

/*
 * Pay for sending `size` bytes to an address in answer to `asked` bytes from there (0: nobody asked
 * for it). False: nothing was paid, do not send it; a shorter one may do.
 */
bool budget_take(struct budget *self, const struct address *to, size_t size, size_t asked,
                 uint64_t now_ms);

/* The most bytes that budget_take() would pay for now. */
size_t budget_room(const struct budget *self, const struct address *to, size_t asked,
                   uint64_t now_ms);

/*
 * This address receives what is sent to it: it answered a query of ours, or brought back a token
 * that we gave it. Of more than known_max those that proved it longest ago are strangers again.
 */
void budget_prove(struct budget *self, const struct address *from, uint64_t now_ms);
