/*
 * Under which of this machine's addresses another node sees us, for the peers we announce
 * ourselves: the one we listen on, or, when that is any, what the kernel's routing table says. It
 * is asked by connecting a UDP socket, which sends nothing.
 */
#pragma once

#include "libcommon/address.h"

#include <stdbool.h>

struct local_address; /* opaque: one socket for each family */

struct local_address *local_address_new(void);

/* We listen on this address of its family alone; an unspecified IP changes nothing. */
void local_address_listen(struct local_address *self, const struct address *address);
void local_address_free(struct local_address **self);

/* The port is left 0. False when the kernel knows no way there, or lets us have no socket. */
bool local_address_towards(struct local_address *self, const struct address *to,
                           struct address *ret_own);
