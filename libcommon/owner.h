/*
 * Which instance of a service owns a key: a target or an infohash.
 *
 * The ids are shared out in equal parts by their place, which is their first two bytes, big endian:
 * instance = place * instances / 65536. Everybody who sends something about a key uses the number
 * of instances that are active (actor_active()), and so finds the same one. While that number
 * changes two may differ for half a second: what must not be done twice is decided elsewhere, in
 * the store's transactions. Pure.
 */
#pragma once

#include "libcommon/node_id.h"

#include <stdint.h>

/* Of an id of at least two bytes. */
uint16_t owner_place(const uint8_t *id);

/* instances: at least 1. */
unsigned owner_of_place(uint16_t place, unsigned instances);
unsigned owner_of(const struct node_id *id, unsigned instances);

/* The first and the last id that this one of `instances` (at most 65536) owns. */
void owner_range(unsigned instance, unsigned instances, struct node_id *ret_first,
                 struct node_id *ret_last);
