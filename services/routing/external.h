/*
 * Our own address as other nodes see it (BEP 42, "ip" in answers): believed when enough of them say
 * the same, so that a few liars cannot move us.
 *
 * The last vote of each of the last EXTERNAL_VOTES_MAX voters counts, one for each subnet (/24,
 * IPv6: /64); an address inside a site (address_is_private) is no vote, since behind a translator
 * or in a class it is not what the world sees. Pure; zeroed memory knows nothing.
 */
#pragma once

#include "libcommon/address.h"

#include <stdbool.h>
#include <stdint.h>

#define EXTERNAL_VOTES_MAX   16u
#define EXTERNAL_VOTES_LEAST 5u /* and more than half of all */

struct external {
    struct {
        struct address voter, seen; /* seen has port 0: the port is not asked for */
    } votes[EXTERNAL_VOTES_MAX];
    unsigned count, next;
};

/* A node has answered and said that we stand at `seen`. */
void external_vote(struct external *self, const struct address *voter, const struct address *seen);

/* The address most agree on; false while too few do. Its port is 0. */
bool external_find(const struct external *self, struct address *ret_address);
