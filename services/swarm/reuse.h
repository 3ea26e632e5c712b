/*
 * Which pieces of a torrent have a given key (piece_key()): to find its content in what lies on the
 * disk already. Pure; allocates. Never changes once it is made, so that workers may ask it.
 */
#pragma once

#include "services/swarm/metainfo.h"

#include <stdint.h>

#define REUSE_NONE UINT32_MAX

struct reuse_index; /* opaque */

/* Of the pieces in `wanted`, a bitfield. metainfo is borrowed for as long as the index lives. */
struct reuse_index *reuse_index_new(const struct metainfo *metainfo, const uint8_t *wanted);
void reuse_index_free(struct reuse_index **self);

/* The first piece of this hash, then the next of the same; REUSE_NONE: there is none. */
uint32_t reuse_index_find(const struct reuse_index *self, const uint8_t hash[METAINFO_HASH_SIZE]);
uint32_t reuse_index_next(const struct reuse_index *self, uint32_t piece);
