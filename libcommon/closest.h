/*
 * The k contacts closest to a target out of an array sorted by node id: exactly those, and in the
 * order, that sorting all of them by XOR distance would give. Walks the implicit binary trie of the
 * sorted array by binary search: O(k log n), no allocation. Pure.
 */
#pragma once

#include "libcommon/address.h"

#include <stddef.h>

/*
 * sorted: ascending by node_id_compare, ids distinct. Writes at most k indices into ret_indices,
 * nearest first; returns how many, min(k, count).
 */
size_t closest_find(const struct contact *sorted, size_t count, const struct node_id *target,
                    size_t k, uint32_t *ret_indices);

/*
 * The same contacts in no stated order, at a third of the cost: by the first 64 bits of each id,
 * wherever these tell them apart.
 */
size_t closest_find_any(const struct contact *sorted, size_t count, const struct node_id *target,
                        size_t k, uint32_t *ret_indices);

/* The key of an id: those of ascending ids ascend. */
uint64_t closest_key(const struct node_id *id);

/* Likewise, with keys[i] the key of sorted[i]: these alone are read, and few cache lines of them.
 */
size_t closest_find_keyed(const struct contact *sorted, const uint64_t *keys, size_t count,
                          const struct node_id *target, size_t k, uint32_t *ret_indices);
