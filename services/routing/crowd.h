/*
 * One node a public subnet among those that a lookup counts (THREATS 2.2): a /24, or in IPv6 a /64,
 * is cheap to fill with ids beside a target. The nearest of a subnet that has answered counts;
 * those behind it do not, unless there are too few others. Who has not answered crowds nobody out,
 * so that naming made-up nodes beside true ones does not hide these. Inside a site, where a class
 * may share one /24, nothing is limited, nor where ids are certified. libtorrent does likewise
 * (restrict_search_ips), by who comes first. Pure.
 */
#pragma once

#include "libcommon/address.h"

#define CROWD_MAX 48u /* that can be counted, as LOOKUP_K_MAX */

/* Shown the nodes that are to be counted, nearest first. */
struct crowd {
    const struct address *subnets[CROWD_MAX]; /* borrowed */
    unsigned count;
    unsigned spare; /* more that count although they are crowded out */
    bool is_off;    /* all count */
};

void crowd_init(struct crowd *self, unsigned spare, bool is_off);

/* Whether the next one counts if it answers. */
bool crowd_admits(const struct crowd *self, const struct address *address);

/* It has answered and counts. */
void crowd_count(struct crowd *self, const struct address *address);
