#include "services/swarm/blocks.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

struct slab {
    uint8_t *memory;
    uint32_t used;
    struct slab *next;
    struct disk_block blocks[BLOCKS_PER_SLAB];
};

#define SLAB_BYTES ((size_t)BLOCKS_PER_SLAB * BLOCKS_SIZE)

void blocks_init(struct blocks *self, size_t limit)
{
    *self = (struct blocks){ .limit = limit };
}

static void slab_add(struct blocks *self)
{
    struct slab *slab = xcalloc(1, sizeof(*slab));

    slab->memory =
        mmap(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (slab->memory == MAP_FAILED)
        abort(); /* as xmalloc(): out of memory */
    slab->next = self->slabs;
    self->slabs = slab;
    for (size_t i = BLOCKS_PER_SLAB; i-- > 0;) {
        struct disk_block *block = &slab->blocks[i];

        block->data = slab->memory + i * BLOCKS_SIZE;
        block->slab = slab;
        block->next = self->free;
        self->free = block;
    }
}

struct disk_block *blocks_take(struct blocks *self)
{
    struct disk_block *block;

    if (!self->free)
        slab_add(self);
    block = self->free;
    self->free = block->next;
    assert(block->references == 0);
    block->references = 1;
    block->next = NULL;
    block->slab->used++;
    self->used++;
    return block;
}

size_t blocks_room(const struct blocks *self)
{
    return self->used < self->limit ? self->limit - self->used : 0;
}

void blocks_hold(struct disk_block *block)
{
    assert(block->references > 0);
    block->references++;
}

void blocks_drop(struct blocks *self, struct disk_block **block)
{
    struct disk_block *dropped = *block;

    *block = NULL;
    if (!dropped)
        return;
    assert(dropped->references > 0);
    if (--dropped->references > 0)
        return;
    dropped->next = self->free;
    self->free = dropped;
    dropped->slab->used--;
    self->used--;
}

void blocks_trim(struct blocks *self)
{
    struct disk_block **free_link = &self->free;
    struct slab **link = &self->slabs;

    while (*free_link) {
        if ((*free_link)->slab->used == 0)
            *free_link = (*free_link)->next;
        else
            free_link = &(*free_link)->next;
    }
    while (*link) {
        struct slab *slab = *link;

        if (slab->used > 0) {
            link = &slab->next;
            continue;
        }
        *link = slab->next;
        munmap(slab->memory, SLAB_BYTES);
        free(slab);
    }
}

size_t blocks_mapped(const struct blocks *self)
{
    size_t bytes = 0;

    for (const struct slab *slab = self->slabs; slab; slab = slab->next)
        bytes += SLAB_BYTES;
    return bytes;
}

void blocks_done(struct blocks *self)
{
    assert(self->used == 0);
    blocks_trim(self);
}
