/*
 * A stand-in for Ed25519 in the simulator: thousands of nodes check millions of signatures there,
 * and what is tested is what becomes of valid and invalid items, not the arithmetic. A signature is
 * a 64-bit hash of the key and of what would be signed, written eight times. Anybody could forge
 * one, and nobody in the simulator does. Targets and all other rules are those of item.h.
 */
#pragma once

#include "services/storage/item.h"

/* Sets the signature; the rest of the item is set, mutable. */
void signing_sign(struct item *self);

/* As item_is_valid_at. */
bool signing_is_valid_at(const struct item *self, const struct node_id *target);

/* As item_verify. */
enum item_verdict signing_verify(const struct item *self);
