/*
 * The share of the keys that this instance of lb-storage sees to: checks, hand-over, republishing,
 * each by one instance only. The rule is that of owner.h; when the number of instances changes,
 * the new owner goes on by the times that stand in the store.
 */
#pragma once

#include "services/storage/db.h"

#include <stdbool.h>

struct storage;

struct share {
    bool is_any; /* not while this instance is not active yet, or not any more */
    struct db_range range;
};

/* At the start and when the number of instances may have changed. True: the share is another. */
bool share_follow(struct storage *storage);

/*
 * We are asked to stop: does the node leave, or do other instances go on serving? Look a little
 * later than that: all of them are asked at once, and say so in the status page.
 */
#define SHARE_LOOK_MS 100u
bool share_is_leaving(const struct storage *storage);
