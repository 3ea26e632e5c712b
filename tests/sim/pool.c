#include "tests/sim/pool.h"

#include "libcommon/memory.h"

#include <stdlib.h>

void pool_init(struct pool *self, size_t item_size)
{
    *self = (struct pool){ .size = item_size };
}

void *pool_take(struct pool *self)
{
    if (self->unused == NULL) {
        char *chunk = xcalloc(POOL_CHUNK, self->size);
        self->chunks = xrealloc(self->chunks, (self->chunks_count + 1) * sizeof(char *));
        self->chunks[self->chunks_count++] = chunk;
        for (size_t i = 0; i < POOL_CHUNK; i++) {
            *(void **)(void *)(chunk + i * self->size) = self->unused;
            self->unused = chunk + i * self->size;
        }
    }
    void *item = self->unused;
    self->unused = *(void **)item;
    return item;
}

void pool_give(struct pool *self, void *item)
{
    *(void **)item = self->unused;
    self->unused = item;
}

void pool_done(struct pool *self)
{
    for (size_t i = 0; i < self->chunks_count; i++) {
        free(self->chunks[i]);
    }
    free(self->chunks);
}

void *pool_item(const struct pool *self, size_t index)
{
    if (index / POOL_CHUNK >= self->chunks_count) {
        return NULL;
    }
    return self->chunks[index / POOL_CHUNK] + index % POOL_CHUNK * self->size;
}
