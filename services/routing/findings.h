/*
 * What a lookup gathers besides nodes: distinct peers (BEP 5) and distinct items (BEP 44), as
 * given, not verified. Pure; zeroed memory is an empty one.
 */
#pragma once

#include "services/routing/query.h"

#define FINDINGS_PEERS_MAX 1000u /* what comes then is left out */
#define FINDINGS_ITEMS_MAX 32u

/* A copy of an item; the bytes of its fields follow in one allocation. */
struct kept_item {
    struct found_item item;
    uint8_t bytes[];
};

struct findings {
    struct address *peers;
    size_t peers_count, peers_capacity;
    struct kept_item *items[FINDINGS_ITEMS_MAX];
    size_t items_count;
};

void findings_done(struct findings *self);
void findings_add_peer(struct findings *self, const struct address *peer);

/*
 * False when the item breaks a limit of BEP 44; such a one is left out. Of equal ones that differ
 * in ttl_s the greatest stays.
 */
bool findings_add_item(struct findings *self, const struct found_item *item);
