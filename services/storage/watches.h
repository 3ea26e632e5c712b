/*
 * Watches: gets that wait for a version newer than the one their caller knows.
 *
 * Answered at once when our own store takes such a version; since it need not come here, the key is
 * looked up too, at growing intervals, until the caller's time ends (TIMEOUT: it asks again). The
 * intervals are jittered so that a class that began to watch together does not look together.
 */
#pragma once

#include "libcommon/node_id.h"

#include <stdbool.h>
#include <stdint.h>

struct getting;
struct storage;

/* Takes the getting, whose is_watch is set. */
void watch_start(struct getting *getting, uint64_t after_seq);

/* Our own store has taken an item at this target. */
void watches_stored(struct storage *storage, const struct node_id *target);

/* Every second: what other instances stored, whose time to look has come, whose time is over. */
void watches_tick(struct storage *storage);

/*
 * With several instances what another stored is looked for whenever anybody has committed anything,
 * every STORAGE_PACE_MS. True while there are watches to look for.
 */
bool watches_pace(struct storage *storage);

/* We end: the callers are told LB_UNAVAILABLE, so that they ask the next process. */
void watches_cancel(struct storage *storage);
