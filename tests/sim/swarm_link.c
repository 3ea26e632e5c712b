/* What a simulated network's connections are made of: messages that wait, links, turns. */
#include "libcommon/memory.h"
#include "tests/sim/swarm_net_inside.h"

#include <assert.h>
#include <stdlib.h>

struct net_parcel *net_new_parcel(struct net *self, enum net_what what)
{
    struct net_parcel *parcel = pool_take(&self->parcels);

    *parcel = (struct net_parcel){ .what = (uint8_t)what };
    return parcel;
}

static void free_parcel(struct net *self, struct net_parcel *parcel)
{
    free(parcel->owned);
    parcel->owned = NULL;
    pool_give(&self->parcels, parcel);
}

struct net_end *net_other_end(const struct net_end *end)
{
    return end == &end->link->ends[0] ? &end->link->ends[1] : &end->link->ends[0];
}

uint32_t net_other(const struct net_end *end)
{
    return net_other_end(end)->host;
}

void net_drop_parcels(struct net *self, struct net_parcel *parcel)
{
    while (parcel != NULL) {
        struct net_parcel *next = parcel->next;
        free_parcel(self, parcel);
        parcel = next;
    }
}

void net_unref(struct net *self, struct net_link *link)
{
    assert(link->refs > 0);
    if (--link->refs > 0) {
        return;
    }
    net_drop_parcels(self, link->ends[0].first);
    net_drop_parcels(self, link->ends[1].first);
    if (link->previous != NULL) {
        link->previous->next = link->next;
    } else {
        self->links = link->next;
    }
    if (link->next != NULL) {
        link->next->previous = link->previous;
    }
    free(link);
}

void net_leave_host(struct net *self, struct net_end *end)
{
    end->gone = true;
    if (end->previous != NULL) {
        end->previous->next = end->next;
    } else {
        self->hosts[end->host]->ends = end->next;
    }
    if (end->next != NULL) {
        end->next->previous = end->previous;
    }
}

void net_join_host(struct net *self, struct net_end *end)
{
    struct net_host *host = self->hosts[end->host];

    end->next = host->ends;
    if (host->ends != NULL) {
        host->ends->previous = end;
    }
    host->ends = end;
}

void net_ring_add(struct net_ring_queue *ring, struct net_end *end, enum net_ring which)
{
    assert(end->ring == NET_RING_NONE);
    end->ring = (uint8_t)which;
    end->ring_next = NULL;
    end->link->refs++;
    if (ring->first == NULL) {
        ring->first = end;
    } else {
        ring->last->ring_next = end;
    }
    ring->last = end;
    ring->count++;
}

void net_ring_add_first(struct net_ring_queue *ring, struct net_end *end, enum net_ring which)
{
    assert(end->ring == NET_RING_NONE);
    end->ring = (uint8_t)which;
    end->ring_next = ring->first;
    end->link->refs++;
    if (ring->first == NULL) {
        ring->last = end;
    }
    ring->first = end;
    ring->count++;
}

/* Its reference goes to the caller. */
struct net_end *net_ring_take(struct net_ring_queue *ring)
{
    struct net_end *end = ring->first;

    if (end != NULL) {
        ring->first = end->ring_next;
        end->ring = NET_RING_NONE;
        ring->count--;
    }
    return end;
}

struct net_link *net_new_link(struct net *self)
{
    struct net_link *link = xcalloc(1, sizeof(*link));

    link->next = self->links;
    if (self->links != NULL) {
        self->links->previous = link;
    }
    self->links = link;
    return link;
}
