/*
 * The store clock: how old stored things are, whatever the wall clock does.
 *
 * It counts like the monotonic clock. Within one boot of the machine it goes on exactly where it
 * was, also through a crash. Across boots the wall clock says how long the pause was, but only
 * within bounds: a wall clock that was set back counts as no pause, one that leaps ahead as at most
 * gap_max_ms, so that a wrong clock never wipes the store. All instances of one node that share a
 * database get the same time from the same saved line. Pure.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <stdint.h>

#define STORE_CLOCK_BOOT_SIZE 16
#define STORE_CLOCK_RECORD    64u /* bytes at most */

/* The clocks of the machine at one moment. */
struct store_moment {
    uint8_t boot_id[STORE_CLOCK_BOOT_SIZE];
    uint64_t monotonic_ms;
    uint64_t wall_ms;
};

/* One point that ties the store clock to the machine's; this is what is saved. */
struct store_clock {
    uint64_t store_ms;
    struct store_moment at;
};

/* For a new store. Not zero, so that ages never underflow. */
void store_clock_begin(struct store_clock *self, const struct store_moment *now);

/* Go on from what was saved. */
void store_clock_resume(struct store_clock *self, const struct store_clock *saved,
                        const struct store_moment *now, uint64_t gap_max_ms);

uint64_t store_clock_ms(const struct store_clock *self, uint64_t monotonic_ms);
uint64_t store_clock_s(const struct store_clock *self, uint64_t monotonic_ms);

/* The same line, tied to a later moment: save this now and then, for the sake of the wall time. */
void store_clock_advance(struct store_clock *self, const struct store_moment *now);

void store_clock_put(const struct store_clock *self, struct writer *to);
LB_MUST_CHECK lb_err store_clock_get(struct bytes from, struct store_clock *ret_self);
