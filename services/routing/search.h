/*
 * What somebody who asks for a lookup gets: in each address family in which we know anybody (BEP
 * 32: two networks) one lookup, or several on disjoint paths, and their results as one list.
 *
 * Against nodes that lie a search can go d ways at once that share no node (S/Kademlia, Baumgart
 * and Mies 2007, 4.3): what we know to begin with is dealt out among them. Once half of the ways
 * have ended the others get as long again, so that nobody is kept waiting by made-up nodes. Pure.
 */
#pragma once

#include "services/routing/lookup.h"

#define SEARCH_K_MAX       32u /* that may be asked for: proto/routing.proto */
#define SEARCH_PATHS_MAX   8u
#define SEARCH_LOOKUPS_MAX (ROUTING_FAMILIES * SEARCH_PATHS_MAX)
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
    unsigned paths;  /* 1 to SEARCH_PATHS_MAX; 0: as many as the router is set to */
    unsigned enough; /* LOOKUP_VALUE: ends once so many nodes have returned the same; 0: never */
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
    bool has_enough;
    bool hurried; /* half of its paths have ended */
    /* By family, then by path; NULL: nobody known to begin with. */
    struct lookup *lookups[SEARCH_LOOKUPS_MAX];
};

void search_free(struct search **self);

/*
 * Begin in one family, with the contacts nearest to the target, nearest first. are_recalled: the
 * first of them are where the last search for it ended.
 */
void search_begin(struct search *self, enum routing_family family, const struct contact *seeds,
                  size_t count, bool are_recalled);

/* What to ask next; *ret_lookup is the number of the lookup that wants it. */
bool search_next(struct search *self, uint64_t slow_ms, uint64_t now_ms, struct query *ret_query,
                 unsigned *ret_lookup);

/* The reply to a query of that lookup, whose ticket it was. */
void search_reply(struct search *self, unsigned lookup, uint32_t ticket, const struct reply *reply);

bool search_is_finished(const struct search *self, uint64_t now_ms);

/*
 * Those that answered, nearest first: the k closest of each family, a node met in both once.
 * Returns how many. Borrowed until search_free.
 */
size_t search_closest(const struct search *self,
                      const struct candidate *ret_closest[SEARCH_CLOSEST_MAX]);

/* Of one family; ret_closest has room for LOOKUP_K_MAX. */
size_t search_closest_of(const struct search *self, enum routing_family family,
                         const struct candidate **ret_closest);

/* In one family at least our own id is nearer than the k-th that answered, or fewer than k did. */
bool search_self_is_close(const struct search *self);

/* What all lookups found, once each: added to *ret_findings, which the caller ends. */
void search_findings(const struct search *self, struct findings *ret_findings);

/* Sums over the lookups; rounds is the largest. */
struct search_effort {
    uint32_t queries, answers, rounds;
};
struct search_effort search_effort(const struct search *self);
