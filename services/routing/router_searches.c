#include "services/routing/router_inside.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <string.h>

/* ---- searches ---- */

static bool has_id(const struct contact *contacts, size_t count, const struct node_id *id)
{
    for (size_t i = 0; i < count; i++) {
        if (node_id_equal(&contacts[i].id, id)) {
            return true;
        }
    }
    return false;
}

/*
 * Where the last search ended, then the nearest of the table. On several paths from the table
 * alone: with what one search found dealt out among all, nodes that captured one path would have
 * them all.
 */
static void begin_family(struct router *self, struct search *search, enum routing_family family,
                         uint64_t now_ms)
{
    struct contact seeds[RECALL_NODES_MAX + ROUTER_SEEDS_MAX];
    uint32_t indices[ROUTER_SEEDS_MAX], count;
    const struct node_id *target = &search->order.aim.target;
    const struct contact *sorted = router_sorted(self, family, &count);
    bool is_trusting = search->purpose == SEARCH_ASKED && search->order.paths == 1;
    size_t recalled = is_trusting ? recall_find(&self->recall, target, family, now_ms, seeds) : 0;
    size_t found =
        closest_find(sorted, count, target, (size_t)search->order.paths * ROUTER_SEEDS, indices);
    size_t total = recalled;

    for (size_t i = 0; i < found; i++) {
        if (!has_id(seeds, recalled, &sorted[indices[i]].id)) {
            seeds[total++] = sorted[indices[i]];
        }
    }
    search_begin(search, family, seeds, total, recalled > 0);
}

static void search_start(struct router *self, struct search *search, uint64_t now_ms)
{
    search->started = true;
    search->ready = true;
    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        table_touch(&self->tables[i], &search->order.aim.target, now_ms);
        begin_family(self, search, (enum routing_family)i, now_ms);
    }
}

/* Where it ended the next search for this target begins. */
static void search_recall(struct router *self, const struct search *search, uint64_t now_ms)
{
    const struct candidate *closest[LOOKUP_K_MAX];
    struct contact nodes[LOOKUP_K_MAX];

    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        enum routing_family family = (enum routing_family)i;
        size_t count = search_closest_of(search, family, closest);
        for (size_t j = 0; j < count; j++) {
            nodes[j] = closest[j]->contact;
        }
        recall_keep(&self->recall, &search->order.aim.target, family, nodes, count, now_ms);
    }
}

static struct search *search_add(struct router *self, const struct search *template)
{
    uint32_t index = 0;

    while (index < self->searches_count && self->searches[index] != NULL) {
        index++;
    }
    assert(index < ROUTER_SEARCHES_MAX);
    if (index == self->searches_count) {
        uint32_t count = self->searches_count == 0 ? 4 : self->searches_count * 2;
        count = count < ROUTER_SEARCHES_MAX ? count : ROUTER_SEARCHES_MAX;
        self->searches = xrealloc(self->searches, count * sizeof(*self->searches));
        memset(&self->searches[index], 0, (count - index) * sizeof(struct search *));
        self->searches_count = count;
    }
    struct search *search = xmemdup(template, sizeof(*template));
    search->self_id = self->self_id;
    search->serial = ++self->next_serial;
    self->searches[index] = search;
    return search;
}

void router_start_waiting(struct router *self, uint64_t now_ms)
{
    bool joined = router_is_joined(self);

    if (self->searches_running == self->searches_asked) {
        return;
    }
    for (uint32_t i = 0; i < self->searches_count && self->searches_running < ROUTER_LOOKUPS_MAX;
         i++) {
        struct search *search = self->searches[i];
        if (search != NULL && !search->started && (joined || now_ms >= search->held_ms)) {
            self->searches_running++;
            search_start(self, search, now_ms);
        }
    }
}

/* How long a search waits for a join: while one is under way, and half of its time at most. */
static uint64_t held_until_ms(const struct router *self, const struct search *search)
{
    uint64_t half_ms = (search->order.deadline_ms - search->asked_ms) / 2;
    bool is_joining =
        router_view(self).contacts > 0 || search->asked_ms < self->began_ms + ROUTER_JOIN_MS;

    if (router_is_joined(self) || !is_joining) {
        return 0;
    }
    return search->asked_ms + (half_ms < ROUTER_JOIN_MS ? half_ms : ROUTER_JOIN_MS);
}

lb_err router_search(struct router *self, const struct search_order *order, uint64_t now_ms)
{
    struct search search = { .purpose = SEARCH_ASKED, .order = *order, .asked_ms = now_ms };

    if (self->searches_asked >= ROUTER_LOOKUPS_MAX + ROUTER_WAITING_MAX) {
        return LB_FULL;
    }
    if (search.order.paths == 0) {
        search.order.paths = self->paths;
    }
    search.order.aim.are_certified = self->are_certified;
    if (order->deadline_ms > now_ms + ROUTER_SEARCH_MS) {
        search.order.deadline_ms = now_ms + ROUTER_SEARCH_MS;
    }
    search.held_ms = held_until_ms(self, &search);
    (void)search_add(self, &search);
    self->searches_asked++;
    self->stats.lookups++;
    router_start_waiting(self, now_ms);
    return LB_OK;
}

void router_search_own(struct router *self, enum search_purpose purpose,
                       const struct node_id *target, uint64_t now_ms)
{
    struct search search = { .purpose = purpose,
                             .order = { .aim = { .kind = LOOKUP_NODES,
                                                 .target = *target,
                                                 .k = purpose == SEARCH_WIDE ? ROUTER_WIDE_K
                                                                             : TABLE_K,
                                                 .are_certified = self->are_certified },
                                        .paths = 1,
                                        .deadline_ms = now_ms + ROUTER_SEARCH_MS },
                             .asked_ms = now_ms };

    self->searches_own++;
    self->searches_refresh += purpose == SEARCH_REFRESH;
    self->stats.refreshes += purpose == SEARCH_JOIN || purpose == SEARCH_REFRESH;
    search_start(self, search_add(self, &search), now_ms);
}

/*
 * A lookup of our own id has found all that are as near as its last result: the buckets beyond need
 * no refresh.
 */
static void self_found(struct router *self, const struct search *search, uint64_t now_ms)
{
    const struct candidate *closest[LOOKUP_K_MAX];

    unsigned far_buckets = 0, families = 0;

    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        size_t count = search_closest_of(search, (enum routing_family)i, closest);
        if (count == 0) {
            continue;
        }
        unsigned far =
            count < search->order.aim.k
                ? 0
                : node_id_shared_bits(&self->self_id, &closest[count - 1]->contact.id) + 1;
        table_touch_from(&self->tables[i], far, now_ms);
        far_buckets = far > far_buckets ? far : far_buckets;
        families++;
    }
    if (families > 0) {
        self->far_buckets = far_buckets;
    }
}

/* A search of our own has ended: tell who wanted it. */
static void own_finished(struct router *self, struct search *search, uint64_t now_ms)
{
    const struct candidate *closest[SEARCH_CLOSEST_MAX];
    struct node_id ids[SEARCH_CLOSEST_MAX];

    self->searches_own--;
    if (search->purpose == SEARCH_REFRESH) {
        self->searches_refresh--;
    } else if (search->purpose == SEARCH_JOIN) {
        join_found_bucket(&self->join);
    } else {
        size_t count = search_closest(search, closest);
        self_found(self, search, now_ms);
        for (size_t i = 0; i < count; i++) {
            ids[i] = closest[i]->contact.id;
        }
        join_found_self(&self->join, ids, count, now_ms);
    }
}

struct search *router_finished(struct router *self, uint64_t now_ms)
{
    for (uint32_t i = 0; i < self->searches_count; i++) {
        struct search *search = self->searches[i];
        if (search == NULL || !search_is_finished(search, now_ms)) {
            continue;
        }
        self->searches[i] = NULL;
        if (search->purpose == SEARCH_ASKED) {
            self->searches_asked--;
            self->searches_running -= search->started;
            search_recall(self, search, now_ms);
            router_start_waiting(self, now_ms);
            return search;
        }
        own_finished(self, search, now_ms);
        search_free(&search);
    }
    return NULL;
}

struct search *router_drop_search(struct router *self)
{
    for (uint32_t i = 0; i < self->searches_count; i++) {
        struct search *search = self->searches[i];
        if (search != NULL && search->purpose == SEARCH_ASKED) {
            self->searches[i] = NULL;
            self->searches_asked--;
            self->searches_running -= search->started;
            return search;
        }
    }
    return NULL;
}

/* ---- introductions ---- */

lb_err router_introduce(struct router *self, const struct address *address, void *ctx)
{
    for (unsigned i = 0; i < ROUTER_INTROS_MAX; i++) {
        if (self->intros[i].state == INTRO_FREE) {
            self->intros[i] =
                (struct intro){ .state = INTRO_WAITING, .address = *address, .ctx = ctx };
            return LB_OK;
        }
    }
    return LB_FULL;
}

bool router_introduced(struct router *self, struct intro *ret_intro)
{
    for (unsigned i = 0; i < ROUTER_INTROS_MAX; i++) {
        if (self->intros[i].state == INTRO_ANSWERED || self->intros[i].state == INTRO_SILENT) {
            *ret_intro = self->intros[i];
            self->intros[i].state = INTRO_FREE;
            return true;
        }
    }
    return false;
}

bool router_drop_intro(struct router *self, struct intro *ret_intro)
{
    for (unsigned i = 0; i < ROUTER_INTROS_MAX; i++) {
        if (self->intros[i].state != INTRO_FREE) {
            *ret_intro = self->intros[i];
            self->intros[i].state = INTRO_FREE;
            return true;
        }
    }
    return false;
}
