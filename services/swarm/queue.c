#include "services/swarm/queue.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    const struct queue_item *one = a, *other = b;

    if (one->priority != other->priority)
        return one->priority > other->priority ? -1 : 1;
    if (one->added_s != other->added_s)
        return one->added_s < other->added_s ? -1 : 1;
    return memcmp(one->infohash, other->infohash, sizeof(one->infohash));
}

void queue_order(struct queue_item *items, size_t count, uint32_t active_max)
{
    const uint32_t most = active_max == QUEUE_NONE ? 0 : active_max;
    uint32_t active = 0, waiting = 0;

    if (count > 0)
        qsort(items, count, sizeof(*items), compare);
    for (size_t i = 0; i < count; i++) {
        items[i].place = 0;
        if (!items[i].fetching || items[i].idle || active_max == 0)
            continue;
        if (active < most)
            active++;
        else
            items[i].place = ++waiting;
    }
}
