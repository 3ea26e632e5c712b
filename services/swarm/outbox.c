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
    const struct outbox_segment *first = segment_at(self, 0);
    void *ends = first->ends;
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
    free(self->bytes.data);
    free(self->soon.data);
    *self = (struct outbox){ .done = self->done };
}

/* ---- runs of bytes ---- */

static uint8_t *reserve_bytes(struct outbox_bytes *run, size_t size)
{
    if (run->head > 0 && run->size + size > run->capacity) {
        memmove(run->data, run->data + run->head, run->size - run->head);
        run->size -= run->head;
        run->head = 0;
    }
    if (run->size + size > run->capacity) {
        size_t capacity = run->capacity == 0 ? BYTES_FIRST : 2 * run->capacity;
        while (capacity < run->size + size)
            capacity *= 2;
        run->data = xrealloc(run->data, capacity);
        run->capacity = capacity;
    }
    uint8_t *room = run->data + run->size;
    run->size += size;
    return room;
}

static size_t waiting(const struct outbox_bytes *run)
{
    return run->size - run->head;
}

static void shrink(struct outbox_bytes *run)
{
    if (run->head < run->size)
        return;
    run->head = run->size = 0;
    if (run->capacity <= BYTES_KEPT)
        return;
    free(run->data);
    *run = (struct outbox_bytes){ 0 };
}

/* ---- putting in ---- */

uint8_t *outbox_reserve(struct outbox *self, size_t size, enum outbox_place place)
{
    if (place == OUTBOX_SOON && (self->blocks > 0 || waiting(&self->soon) > 0))
        return reserve_bytes(&self->soon, size);
    const struct outbox_segment *last = self->count == 0 ? NULL : segment_at(self, self->count - 1);
    if (place == OUTBOX_HEAD || last == NULL || last->data != NULL || last->head)
        (void)add(self);
    struct outbox_segment *segment = segment_at(self, self->count - 1);
    segment->size += (uint32_t)size;
    segment->head = place == OUTBOX_HEAD;
    self->blocks += segment->head;
    return reserve_bytes(&self->bytes, size);
}

void outbox_point(struct outbox *self, const uint8_t *data, uint32_t size, void *ends)
{
    assert(data != NULL && size > 0);
    struct outbox_segment *segment = add(self);
    segment->data = data;
    segment->size = size;
    segment->ends = ends;
}

/* ---- taking out ---- */

struct gathering {
    struct iovec *parts;
    int count;
    int max;
    size_t size;
    size_t size_max;
};

static bool is_full(const struct gathering *self)
{
    return self->count == self->max || self->size >= self->size_max;
}

static void gather(struct gathering *self, const uint8_t *data, size_t size)
{
    if (size == 0 || is_full(self))
        return;
    self->parts[self->count++] =
        (struct iovec){ .iov_base = (void *)(uintptr_t)data, .iov_len = size };
    self->size += size;
}

int outbox_gather(const struct outbox *self, struct iovec *ret_parts, int parts_max,
                  size_t size_max, size_t *ret_size)
{
    struct gathering all = { .parts = ret_parts, .max = parts_max, .size_max = size_max };
    size_t bytes_at = self->bytes.head;
    bool soon = waiting(&self->soon) > 0;
    for (uint32_t i = 0; i < self->count && !is_full(&all); i++) {
        const struct outbox_segment *segment = segment_at(self, i);
        if (soon && segment->head) {
            gather(&all, self->soon.data + self->soon.head, waiting(&self->soon));
            soon = false;
        }
        if (segment->data != NULL) {
            gather(&all, segment->data, segment->size);
            continue;
        }
        gather(&all, self->bytes.data + bytes_at, segment->size);
        bytes_at += segment->size;
    }
    if (soon)
        gather(&all, self->soon.data + self->soon.head, waiting(&self->soon));
    *ret_size = all.size;
    return all.count;
}

/* As outbox_gather() has it. */
static bool is_soon_first(const struct outbox *self)
{
    if (waiting(&self->soon) == 0)
        return false;
    return self->count == 0 || segment_at(self, 0)->head;
}

static uint32_t consume_segment(struct outbox *self, size_t size)
{
    struct outbox_segment *first = segment_at(self, 0);
    const uint32_t taken = size < first->size ? (uint32_t)size : first->size;
    self->blocks -= first->head;
    first->head = false;
    first->size -= taken;
    if (first->data != NULL)
        first->data += taken;
    else
        self->bytes.head += taken;
    if (first->size == 0)
        drop_first(self, true);
    return taken;
}

void outbox_consume(struct outbox *self, size_t size)
{
    while (size > 0) {
        if (!is_soon_first(self)) {
            size -= consume_segment(self, size);
            continue;
        }
        const size_t taken = size < waiting(&self->soon) ? size : waiting(&self->soon);
        self->soon.head += taken;
        size -= taken;
    }
    shrink(&self->bytes);
    shrink(&self->soon);
}

bool outbox_is_empty(const struct outbox *self)
{
    return self->count == 0 && waiting(&self->soon) == 0;
}

size_t outbox_small_bytes(const struct outbox *self)
{
    return waiting(&self->bytes) + waiting(&self->soon);
}
