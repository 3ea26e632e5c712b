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

/* A value, and within the limits of BEP 44. */
bool findings_item_fits(const struct found_item *item);

/* But for ttl_s. */
bool findings_item_equal(const struct found_item *a, const struct found_item *b);

/*
 * Returns the copy that is kept, of equal ones the first, with the greatest ttl_s of them; NULL
 * when the item does not fit, or FINDINGS_ITEMS_MAX are kept. Valid until findings_done.
 */
const struct found_item *findings_add_item(struct findings *self, const struct found_item *item);
