#include "tests/sim/calendar.h"

#include "libcommon/memory.h"

#include <stdbool.h>
#include <stdlib.h>

#define WORD_BITS 64u

void entry_queue_add(struct entry_queue *self, struct entry *entry)
{
    entry->next = NULL;
    if (self->first == NULL) {
        self->first = entry;
    } else {
        self->last->next = entry;
    }
    self->last = entry;
}

struct entry *entry_queue_take(struct entry_queue *self)
{
    struct entry *entry = self->first;

    if (entry != NULL) {
        self->first = entry->next;
    }
    return entry;
}

void calendar_done(struct calendar *self)
{
    free(self->heap);
    self->heap = NULL;
}

/* ---- the heap of the far future ---- */

static bool is_earlier(const struct entry *a, const struct entry *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->seq < b->seq;
}

static void heap_push(struct calendar *self, struct entry *entry)
{
    if (self->heap_count == self->heap_capacity) {
        self->heap_capacity = self->heap_capacity == 0 ? 1024 : self->heap_capacity * 2;
        self->heap = xrealloc(self->heap, self->heap_capacity * sizeof(struct entry *));
    }
    size_t at = self->heap_count++;
    while (at > 0 && is_earlier(entry, self->heap[(at - 1) / 2])) {
        self->heap[at] = self->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    self->heap[at] = entry;
}

static struct entry *heap_pop(struct calendar *self)
{
    struct entry *first = self->heap[0], *last = self->heap[--self->heap_count];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= self->heap_count) {
            break;
        }
        if (child + 1 < self->heap_count && is_earlier(self->heap[child + 1], self->heap[child])) {
            child++;
        }
        if (!is_earlier(self->heap[child], last)) {
            break;
        }
        self->heap[at] = self->heap[child];
        at = child;
    }
    self->heap[at] = last;
    return first;
}

/* ---- the wheel ---- */

static void wheel_add(struct calendar *self, struct entry *entry)
{
    size_t slot = entry->at_ms % CALENDAR_WHEEL;

    entry_queue_add(&self->wheel[slot], entry);
    self->occupied[slot / WORD_BITS] |= (uint64_t)1 << slot % WORD_BITS;
    self->wheel_count++;
}

/* The time of the first entry in the wheel, which is not empty. */
static uint64_t wheel_first_ms(const struct calendar *self)
{
    uint64_t at_ms = self->now_ms;

    for (;;) {
        size_t slot = at_ms % CALENDAR_WHEEL;
        uint64_t bits = self->occupied[slot / WORD_BITS] >> slot % WORD_BITS;
        if (bits != 0) {
            return at_ms + (unsigned)__builtin_ctzll(bits);
        }
        at_ms += WORD_BITS - slot % WORD_BITS;
    }
}

/* ---- both ---- */

void calendar_add(struct calendar *self, struct entry *entry)
{
    entry->seq = self->seq++;
    if (entry->at_ms < self->now_ms + CALENDAR_WHEEL) {
        wheel_add(self, entry);
    } else {
        heap_push(self, entry);
    }
}

uint64_t calendar_first_ms(const struct calendar *self)
{
    if (self->wheel_count > 0) {
        return wheel_first_ms(self);
    }
    return self->heap_count > 0 ? self->heap[0]->at_ms : UINT64_MAX;
}

void calendar_advance(struct calendar *self, uint64_t now_ms)
{
    self->now_ms = now_ms;
    while (self->heap_count > 0 && self->heap[0]->at_ms < now_ms + CALENDAR_WHEEL) {
        wheel_add(self, heap_pop(self));
    }
}

struct entry *calendar_take(struct calendar *self)
{
    size_t slot = self->now_ms % CALENDAR_WHEEL;
    struct entry *entry = entry_queue_take(&self->wheel[slot]);

    if (self->wheel[slot].first == NULL) {
        self->occupied[slot / WORD_BITS] &= ~((uint64_t)1 << slot % WORD_BITS);
    }
    self->wheel_count--;
    return entry;
}
