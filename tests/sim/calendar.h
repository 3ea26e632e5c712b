/*
 * A calendar of events: what happens next, in the order of time, and within a millisecond in the
 * order in which it was entered.
 *
 * The events of the next CALENDAR_WHEEL milliseconds stand in a queue for each; later ones in a
 * heap, from which they move over as soon as their time is near enough. Entries are embedded in
 * what they are of. Zeroed memory is an empty one that stands at 0.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CALENDAR_WHEEL 32768u

struct entry {
    struct entry *next;
    uint64_t at_ms;
    uint64_t seq; /* set by calendar_add: grows with each */
};

struct entry_queue {
    struct entry *first, *last;
};

void entry_queue_add(struct entry_queue *self, struct entry *entry);

/* The first, taken out; NULL: there is none. */
struct entry *entry_queue_take(struct entry_queue *self);

struct calendar {
    uint64_t now_ms, seq;
    struct entry_queue wheel[CALENDAR_WHEEL];
    uint64_t occupied[CALENDAR_WHEEL / 64];
    size_t wheel_count;
    struct entry **heap; /* the earliest first */
    size_t heap_count, heap_capacity;
};

/* Every entry was taken out. */
void calendar_done(struct calendar *self);

/* entry->at_ms is not before now_ms. */
void calendar_add(struct calendar *self, struct entry *entry);

/* When the next event is; UINT64_MAX: there is none. */
uint64_t calendar_first_ms(const struct calendar *self);

/* The clock goes on; nothing stands before that time. */
void calendar_advance(struct calendar *self, uint64_t now_ms);

/* The next event of now_ms, which there is, taken out. */
struct entry *calendar_take(struct calendar *self);
