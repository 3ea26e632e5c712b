#include "services/swarm/outbox.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define BYTES_FIRST 512u
#define BYTES_KEPT  4096u /* of an empty outbox; peers that are silent should cost little */

void outbox_init(struct outbox *self, outbox_fn *done)
{
    *self = (struct outbox){ .done = done };
}

static struct outbox_segment *segment_at(const struct outbox *self, uint32_t index)
{
    return &self->segments[(self->head + index) % self->capacity];
}

static struct outbox_segment *add(struct outbox *self)
{
    if (self->count == self->capacity) {
        const uint32_t capacity = self->capacity == 0 ? 8 : 2 * self->capacity;
        struct outbox_segment *segments = xcalloc(capacity, sizeof *segments);
        for (uint32_t i = 0; i < self->count; i++)
            segments[i] = *segment_at(self, i);
        free(self->segments);
        self->segments = segments;
        self->head = 0;
        self->capacity = capacity;
    }
    struct outbox_segment *added = segment_at(self, self->count++);
    *added = (struct outbox_segment){ 0 };
    return added;
}

static void drop_first(struct outbox *self, bool sent)
{
    void *ends = segment_at(self, 0)->ends;
    self->head = (self->head + 1) % self->capacity;
    self->count--;
    if (ends != NULL)
        self->done(ends, sent);
}

void outbox_clear(struct outbox *self)
{
    while (self->count > 0)
        drop_first(self, false);
    free(self->segments);
    free(self->bytes);
    *self = (struct outbox){ .done = self->done };
}

uint8_t *outbox_reserve(struct outbox *self, size_t size)
{
    if (self->bytes_head > 0 && self->bytes_size + size > self->bytes_capacity) {
        memmove(self->bytes, self->bytes + self->bytes_head, self->bytes_size - self->bytes_head);
        self->bytes_size -= self->bytes_head;
        self->bytes_head = 0;
    }
    if (self->bytes_size + size > self->bytes_capacity) {
        size_t capacity = self->bytes_capacity == 0 ? BYTES_FIRST : 2 * self->bytes_capacity;
        while (capacity < self->bytes_size + size)
            capacity *= 2;
        self->bytes = xrealloc(self->bytes, capacity);
        self->bytes_capacity = capacity;
    }
    if (self->count == 0 || segment_at(self, self->count - 1)->data != NULL)
        (void)add(self);
    segment_at(self, self->count - 1)->size += (uint32_t)size;
    uint8_t *room = self->bytes + self->bytes_size;
    self->bytes_size += size;
    return room;
}

void outbox_point(struct outbox *self, const uint8_t *data, uint32_t size, void *ends)
{
    assert(data != NULL && size > 0);
    struct outbox_segment *segment = add(self);
    segment->data = data;
    segment->size = size;
    segment->ends = ends;
}

int outbox_gather(const struct outbox *self, struct iovec *ret_parts, int parts_max,
                  size_t size_max, size_t *ret_size)
{
    int count = 0;
    size_t size = 0;
    size_t bytes_at = self->bytes_head;
    for (uint32_t i = 0; i < self->count && count < parts_max && size < size_max; i++) {
        const struct outbox_segment *segment = segment_at(self, i);
        const uint8_t *data = segment->data;
        if (data == NULL) {
            data = self->bytes + bytes_at;
            bytes_at += segment->size;
        }
        ret_parts[count++] =
            (struct iovec){ .iov_base = (void *)(uintptr_t)data, .iov_len = segment->size };
        size += segment->size;
    }
    *ret_size = size;
    return count;
}

static void shrink(struct outbox *self)
{
    if (self->bytes_head < self->bytes_size)
        return;
    self->bytes_head = self->bytes_size = 0;
    if (self->bytes_capacity <= BYTES_KEPT)
        return;
    free(self->bytes);
    self->bytes = NULL;
    self->bytes_capacity = 0;
}

void outbox_consume(struct outbox *self, size_t size)
{
    while (size > 0) {
        struct outbox_segment *first = segment_at(self, 0);
        const uint32_t taken = size < first->size ? (uint32_t)size : first->size;
        size -= taken;
        first->size -= taken;
        if (first->data != NULL)
            first->data += taken;
        else
            self->bytes_head += taken;
        if (first->size > 0)
            break;
        drop_first(self, true);
    }
    shrink(self);
}

bool outbox_is_empty(const struct outbox *self)
{
    return self->count == 0;
}

size_t outbox_small_bytes(const struct outbox *self)
{
    return self->bytes_size - self->bytes_head;
}
