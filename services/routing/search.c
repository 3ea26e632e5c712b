#include "services/routing/search.h"

#include <assert.h>
#include <stdlib.h>

void search_free(struct search **self)
{
    if (*self == NULL) {
        return;
    }
    for (unsigned i = 0; i < SEARCH_LOOKUPS_MAX; i++) {
        lookup_free(&(*self)->lookups[i]);
    }
    free(*self);
    *self = NULL;
}

/* ---- asking ---- */

void search_begin(struct search *self, enum routing_family family, const struct contact *seeds,
                  size_t count, bool are_recalled)
{
    unsigned paths = self->order.paths;
    struct lookup **lookups = &self->lookups[family * SEARCH_PATHS_MAX];

    assert(paths >= 1);
    assert(paths <= SEARCH_PATHS_MAX);
    for (size_t i = 0; i < paths && i < count; i++) {
        lookups[i] = lookup_new(&self->self_id, &self->order.aim, family);
        if (paths > 1) {
            lookup_share(lookups[i], lookups, paths);
        }
        if (are_recalled) {
            lookup_expect_near(lookups[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        lookup_seed(lookups[i % paths], &seeds[i]);
    }
    for (size_t i = 0; i < paths && i < count; i++) {
        lookup_start(lookups[i]);
    }
}

/* Half of its paths have ended; in each family, since one of them may be far smaller. */
static bool is_half_over(const struct search *self)
{
    for (unsigned family = 0; family < ROUTING_FAMILIES; family++) {
        unsigned paths = 0, finished = 0;
        for (unsigned i = 0; i < SEARCH_PATHS_MAX; i++) {
            const struct lookup *lookup = self->lookups[family * SEARCH_PATHS_MAX + i];
            paths += lookup != NULL;
            finished += lookup != NULL && lookup_is_finished(lookup);
        }
        if (finished * 2 < paths) {
            return false;
        }
    }
    return true;
}

/* How long the last paths may take. */
static void hurry(struct search *self, uint64_t slow_ms, uint64_t now_ms)
{
    if (self->order.paths == 1 || self->hurried || !is_half_over(self)) {
        return;
    }
    uint64_t until_ms = now_ms + (now_ms - self->asked_ms) + slow_ms;
    self->hurried = true;
    if (until_ms < self->order.deadline_ms) {
        self->order.deadline_ms = until_ms;
    }
}

bool search_next(struct search *self, uint64_t slow_ms, uint64_t now_ms, struct query *ret_query,
                 unsigned *ret_lookup)
{
    self->ready = true;
    self->wake_ms = UINT64_MAX;
    for (unsigned i = 0; i < SEARCH_LOOKUPS_MAX && !self->has_enough; i++) {
        struct lookup *lookup = self->lookups[i];
        if (lookup == NULL) {
            continue;
        }
        lookup_set_slow(lookup, slow_ms);
        if (lookup_next(lookup, now_ms, ret_query)) {
            *ret_lookup = i;
            return true;
        }
        uint64_t wake_ms = lookup_deadline_ms(lookup);
        self->wake_ms = wake_ms < self->wake_ms ? wake_ms : self->wake_ms;
    }
    hurry(self, slow_ms, now_ms);
    self->ready = false;
    return false;
}

/* ---- enough ---- */

/* The same bytes were returned; or both only say that they store the version. */
static bool is_same(const struct candidate *a, const struct candidate *b)
{
    if (a->item_seq != b->item_seq || (a->item == NULL) != (b->item == NULL)) {
        return false;
    }
    return a->item == NULL || findings_item_equal(a->item, b->item);
}

/* The candidate of any lookup that comes index-th among those with an item; NULL: no more. */
static const struct candidate *holder(const struct search *self, unsigned *lookup, uint16_t *index)
{
    for (; *lookup < SEARCH_LOOKUPS_MAX; (*lookup)++, *index = 0) {
        const struct lookup *at = self->lookups[*lookup];
        while (at != NULL && *index < at->count) {
            const struct candidate *candidate = &at->candidates[at->order[(*index)++]];
            if (candidate->has_item) {
                return candidate;
            }
        }
    }
    return NULL;
}

/* How many returned the same as this one; 0 when somebody returned a newer one. */
static unsigned count_same(const struct search *self, const struct candidate *item)
{
    const struct candidate *other;
    unsigned lookup = 0, count = 0;
    uint16_t index = 0;

    while ((other = holder(self, &lookup, &index)) != NULL) {
        if (other->item_seq > item->item_seq) {
            return 0;
        }
        count += is_same(other, item);
    }
    return count;
}

void search_reply(struct search *self, unsigned lookup, uint32_t ticket, const struct reply *reply)
{
    const struct candidate *candidate;
    unsigned at = 0;
    uint16_t index = 0;

    assert(lookup < SEARCH_LOOKUPS_MAX);
    assert(self->lookups[lookup] != NULL);
    lookup_reply(self->lookups[lookup], ticket, reply);
    self->ready = true;
    if (self->order.enough == 0 || reply->item == NULL) {
        return;
    }
    while (!self->has_enough && (candidate = holder(self, &at, &index)) != NULL) {
        self->has_enough = count_same(self, candidate) >= self->order.enough;
    }
}

bool search_is_finished(const struct search *self, uint64_t now_ms)
{
    if (now_ms >= self->order.deadline_ms || self->has_enough) {
        return true;
    }
    bool finished = self->started;
    for (unsigned i = 0; i < SEARCH_LOOKUPS_MAX; i++) {
        finished = finished && (self->lookups[i] == NULL || lookup_is_finished(self->lookups[i]));
    }
    return finished;
}

/* ---- results ---- */

/* Of several lists, each nearest first, the k nearest of all, each id once. */
struct list {
    const struct candidate *found[LOOKUP_K_MAX];
    size_t count, taken;
};

/* crowd: who of them counts; NULL: all do. */
static size_t merge(const struct node_id *target, struct list *lists, size_t lists_count,
                    struct crowd *crowd, size_t max, const struct candidate **ret_merged)
{
    size_t count = 0;

    for (size_t i = 0; i < lists_count; i++) {
        lists[i].taken = 0;
    }

    for (;;) {
        struct list *best = NULL;
        for (size_t i = 0; i < lists_count; i++) {
            struct list *list = &lists[i];
            if (list->taken < list->count &&
                (best == NULL ||
                 node_id_compare_distance(target, &list->found[list->taken]->contact.id,
                                          &best->found[best->taken]->contact.id) < 0)) {
                best = list;
            }
        }
        if (best == NULL || count == max) {
            return count;
        }
        const struct candidate *next = best->found[best->taken++];
        if (count > 0 && node_id_equal(&ret_merged[count - 1]->contact.id, &next->contact.id)) {
            continue;
        }
        if (crowd != NULL && !crowd_admits(crowd, &next->contact.address)) {
            continue;
        }
        if (crowd != NULL) {
            crowd_count(crowd, &next->contact.address);
        }
        ret_merged[count++] = next;
    }
}

size_t search_closest_of(const struct search *self, enum routing_family family,
                         const struct candidate **ret_closest)
{
    const struct node_id *target = &self->order.aim.target;
    struct list lists[SEARCH_PATHS_MAX];
    size_t count = 0, found, k = self->order.aim.k;
    struct crowd crowd;

    for (unsigned i = 0; i < SEARCH_PATHS_MAX; i++) {
        const struct lookup *lookup = self->lookups[family * SEARCH_PATHS_MAX + i];
        if (lookup != NULL) {
            lists[count].count = lookup_closest(lookup, lists[count].found, LOOKUP_K_MAX);
            count++;
        }
    }
    crowd_init(
        &crowd, 0,
        self->order.aim.are_certified); /* each path may have found another one of a subnet */
    found = merge(target, lists, count, &crowd, k, ret_closest);
    if (found < k) {
        crowd_init(&crowd, (unsigned)(k - found), self->order.aim.are_certified);
        found = merge(target, lists, count, &crowd, k, ret_closest);
    }
    return found;
}

size_t search_closest(const struct search *self,
                      const struct candidate *ret_closest[SEARCH_CLOSEST_MAX])
{
    struct list lists[ROUTING_FAMILIES];

    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        lists[i].count = search_closest_of(self, (enum routing_family)i, lists[i].found);
    }
    return merge(&self->order.aim.target, lists, ROUTING_FAMILIES, NULL, SEARCH_CLOSEST_MAX,
                 ret_closest);
}

bool search_self_is_close(const struct search *self)
{
    const struct candidate *closest[LOOKUP_K_MAX];
    bool is_alone = true;

    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        size_t count = search_closest_of(self, (enum routing_family)i, closest);

        if (count == 0) {
            continue; /* a network we are not in */
        }
        is_alone = false;
        if (count < self->order.aim.k ||
            node_id_compare_distance(&self->order.aim.target, &self->self_id,
                                     &closest[count - 1]->contact.id) < 0) {
            return true;
        }
    }
    return is_alone;
}

void search_findings(const struct search *self, struct findings *ret_findings)
{
    for (unsigned i = 0; i < SEARCH_LOOKUPS_MAX; i++) {
        const struct lookup *lookup = self->lookups[i];
        for (size_t j = 0; lookup != NULL && j < lookup->findings.peers_count; j++) {
            findings_add_peer(ret_findings, &lookup->findings.peers[j]);
        }
        for (size_t j = 0; lookup != NULL && j < lookup->findings.items_count; j++) {
            (void)findings_add_item(ret_findings, &lookup->findings.items[j]->item);
        }
    }
}

struct search_effort search_effort(const struct search *self)
{
    struct search_effort effort = { 0, 0, 0 };

    for (unsigned i = 0; i < SEARCH_LOOKUPS_MAX; i++) {
        const struct lookup *lookup = self->lookups[i];
        if (lookup != NULL) {
            effort.queries += lookup->queries;
            effort.answers += lookup->answers;
            effort.rounds = lookup->rounds > effort.rounds ? lookup->rounds : effort.rounds;
        }
    }
    return effort;
}
