#include "services/swarm/apportion.h"

#include <assert.h>

#define LEAST_PART 8u /* of an equal part: what one who needs nothing keeps */

uint64_t apportion_least(uint64_t limit, unsigned count)
{
    const uint64_t least = limit / count / LEAST_PART;

    return least > 0 ? least : 1;
}

/* A quarter more than it uses, so that it may grow. */
static uint64_t want_of(const struct apportion_claim *claim, uint64_t least)
{
    const uint64_t want = claim->used + claim->used / 4;

    if (claim->waits)
        return UINT64_MAX;
    return want > least ? want : least;
}

/* Max-min fair: who wants less than an equal part of what is left gets it, until nobody does. */
static uint64_t target_of(uint64_t limit, const struct apportion_claim *claims, unsigned count,
                          unsigned asker)
{
    const uint64_t least = apportion_least(limit, count);
    bool settled[APPORTION_WORKERS_MAX] = { false };
    uint64_t left = limit;
    unsigned open = count;
    bool again = true;

    while (again && open > 0) {
        again = false;
        for (unsigned i = 0; i < count; i++) {
            const uint64_t want = want_of(&claims[i], least);

            if (settled[i] || want > left / open)
                continue;
            settled[i] = again = true;
            left -= want;
            open--;
            if (open == 0)
                break;
        }
    }
    if (open > 0)
        return settled[asker] ? want_of(&claims[asker], least) : left / open;
    return want_of(&claims[asker], least) + left / count;
}

uint64_t apportion(uint64_t limit, const struct apportion_claim *claims, unsigned count,
                   unsigned asker)
{
    uint64_t others = 0, target;

    assert(asker < count && count <= APPORTION_WORKERS_MAX);
    if (limit == 0)
        return 0;
    for (unsigned i = 0; i < count; i++)
        others += i != asker ? claims[i].holds : 0;
    target = target_of(limit, claims, count, asker);
    if (others >= limit)
        return 1;
    if (target > limit - others)
        target = limit - others;
    return target > 0 ? target : 1;
}
