/*
 * Node ids that belong to an address (BEP 42, "DHT Security extension"): of a public address only
 * few ids are fit, so nobody chooses where in the id space to stand. Inside a site (address.h,
 * address_is_private) any id is fit. Pure.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/node_id.h"

#include <stdbool.h>

struct random;

bool secure_id_fits(const struct node_id *id, const struct address *address);

/* A random one of the ids that fit the address. */
struct node_id secure_id_random(const struct address *address, struct random *random);
