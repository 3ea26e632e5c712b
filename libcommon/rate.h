/*
 * Rates as a person writes them, and rates for subnets: "10 Mbit/s", "5 MB/s", "10.2.0.0/16 20
 * Mbit/s". Pure.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/error.h"

#include <stdbool.h>
#include <stdint.h>

#define RATE_MAX        (UINT64_C(1) << 40) /* bytes per second */
#define SUBNET_RATE_MAX 64u                 /* of them in one list */

/*
 * A number, with a decimal point or without, and a unit: bit, kbit, Mbit, Gbit; B, kB, KiB, MB,
 * MiB, GB, GiB; with or without "/s" behind it, spaces before it or not. Without a unit: bytes per
 * second. "none" is 0. LB_INVALID otherwise, and over RATE_MAX.
 */
LB_MUST_CHECK lb_err rate_parse(const char *text, uint64_t *ret_bytes_per_s);

/* The addresses whose first prefix_bits bits (of the 128 of their mapped form) are those of ip. */
struct subnet {
    uint8_t ip[16];
    uint8_t prefix_bits;
};

bool subnet_has(const struct subnet *self, const struct address *address);

struct subnet_rate {
    struct subnet subnet;
    uint64_t bytes_per_s; /* at least 1 */
};

/*
 * "CIDR RATE, CIDR RATE, ...": LB_INVALID when one is malformed, LB_TOO_BIG when there are more
 * than SUBNET_RATE_MAX. An empty text has none.
 */
LB_MUST_CHECK lb_err subnet_rates_parse(const char *text,
                                        struct subnet_rate ret_rates[SUBNET_RATE_MAX],
                                        unsigned *ret_count);
