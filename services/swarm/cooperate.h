/*
 * Cooperation: which peers we work with for the finish of all, instead of trading rate for rate.
 *
 * With those we trust nobody chokes and everything goes to where it is lacking. Towards all others
 * the rules of BEP 3 hold (choke.h). Trusted is a peer of our own kind (it speaks `lb_plan`) whose
 * address is of the local net; or any of our kind; or none, by mode. Pure.
 */
#pragma once

#include "libcommon/address.h"

#include <stdbool.h>
#include <stdint.h>

/* In the order of libcommon/config's CONFIG_MODE. */
enum cooperate_mode {
    COOPERATE_AUTO,  /* with those of our kind at private, loopback and link-local addresses */
    COOPERATE_NEVER, /* mode = open */
    COOPERATE_ALWAYS /* mode = cooperative: with all of our kind */
};

bool cooperate_with(enum cooperate_mode mode, bool our_kind, const struct address *address);
