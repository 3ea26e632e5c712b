/*
 * Blocks of 16 KiB, reference-counted, from one arena with a limit: all content in memory lives in
 * them. Taken in slabs of 1 MiB from the kernel, given back by blocks_trim(). Used on the loop's
 * thread; jobs touch only the bytes of blocks that somebody holds for them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCKS_SIZE     16384u /* bytes of one */
#define BLOCKS_PER_SLAB 64u

struct slab;

struct disk_block {
    uint8_t *data;
    uint32_t references; /* 0: free */
    struct slab *slab;
    struct disk_block *next; /* free ones */
};

struct blocks {
    size_t limit; /* blocks; a wish: blocks_take() goes beyond it */
    size_t used;
    struct slab *slabs;
    struct disk_block *free;
};

void blocks_init(struct blocks *self, size_t limit);
void blocks_done(struct blocks *self); /* all must be free */

/* One block with one reference; never NULL. The caller heeds the limit: blocks_room(). */
struct disk_block *blocks_take(struct blocks *self);

/* How many more may be taken. */
size_t blocks_room(const struct blocks *self);

void blocks_hold(struct disk_block *block);
void blocks_drop(struct blocks *self, struct disk_block **block); /* one reference less */

/* Give slabs without a used block back to the kernel. */
void blocks_trim(struct blocks *self);

/* Bytes of all slabs. */
size_t blocks_mapped(const struct blocks *self);
