/*
 * What somebody who asks for a lookup gets: one lookup in each address family in which we know
 * anybody (BEP 32: two networks), and their results as one list. Pure.
 */
#pragma once

#include "services/routing/lookup.h"

#define SEARCH_K_MAX       32u /* that may be asked for: proto/routing.proto */
#define SEARCH_CLOSEST_MAX (ROUTING_FAMILIES * LOOKUP_K_MAX)

enum search_purpose {
    SEARCH_ASKED, /* a service wants it */
    SEARCH_SELF,  /* join: our own id */
    SEARCH_WIDE,  /* likewise, with more neighbours */
    SEARCH_JOIN,  /* join: a bucket */
    SEARCH_REFRESH
};

struct search_order {
    struct lookup_aim aim;
    uint64_t deadline_ms; /* ends then with what it has */
    void *ctx;            /* the asker's; untouched */
};

struct search {
    enum search_purpose purpose;
    struct search_order order;
    uint32_t serial;
    struct node_id self_id;
    uint64_t asked_ms;
    uint64_t held_ms; /* not started before, unless we have joined; 0: as soon as may be */
    uint64_t wake_ms; /* when it may have something to ask, but for replies */
    bool started, ready;
    struct lookup *lookups[ROUTING_FAMILIES]; /* NULL: nobody known in that family */
};

void search_free(struct search **self);

bool search_is_finished(const struct search *self, uint64_t now_ms);

/*
 * Those that answered, nearest first: the k closest of each family, a node met in both once.
 * Returns how many. Borrowed until search_free.
 */
size_t search_closest(const struct search *self,
                      const struct candidate *ret_closest[SEARCH_CLOSEST_MAX]);

/* Our own id is nearer than the k-th of them, or there are fewer than k. */
bool search_self_is_close(const struct search *self);

/* Sums over the families; rounds is the larger one. */
struct search_effort {
    uint32_t queries, answers, rounds;
};
struct search_effort search_effort(const struct search *self);
