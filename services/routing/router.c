#include "services/routing/router_inside.h"

#include "libcommon/memory.h"
#include "libcommon/secure_id.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MAINTENANCE_LEAST_MS 500u
#define MAINTENANCE_MOST_MS  60000u

struct router *router_new(const struct node_id *self_id, uint64_t seed, bool expects_bootstrap,
                          uint64_t now_ms)
{
    struct router *self = xcalloc(1, sizeof(*self));

    self->self_id = *self_id;
    random_init(&self->random, seed);
    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        table_init(&self->tables[i], self_id, (enum routing_family)i, &self->random);
    }
    silence_init(&self->silence, random_u64(&self->random));
    probes_init(&self->probes, now_ms);
    join_init(&self->join, expects_bootstrap, &self->random);
    self->maintenance_ms = now_ms + MAINTENANCE_LEAST_MS;
    self->began_ms = now_ms;
    self->far_buckets = NODE_ID_BITS;
    self->paths = 1;
    return self;
}

void router_trust_ids(struct router *self)
{
    self->are_certified = true;
    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        self->tables[i].are_certified = true;
    }
}

void router_free(struct router **self)
{
    if (*self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < (*self)->searches_count; i++) {
        search_free(&(*self)->searches[i]);
    }
    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        table_done(&(*self)->tables[i]);
        free((*self)->sorted[i]);
    }
    free((*self)->searches);
    free((*self)->flights);
    recall_done(&(*self)->recall);
    probes_done(&(*self)->probes);
    join_done(&(*self)->join);
    free(*self);
    *self = NULL;
}

/* ---- seeds and snapshot ---- */

void router_add_bootstrap(struct router *self, const struct address *address)
{
    if (address_is_usable(address)) {
        join_add_seed(&self->join, address, true);
    }
}

void router_add_seed(struct router *self, const struct address *address)
{
    if (address_is_usable(address)) {
        join_add_seed(&self->join, address, false);
    }
}

void router_load(struct router *self, const struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->count; i++) {
        router_add_seed(self, &snapshot->contacts[i].contact.address);
    }
}

struct saving {
    struct snapshot *snapshot;
    uint64_t now_ms;
};

static void save_entry(void *ctx, unsigned bucket, enum table_state state,
                       const struct table_entry *entry)
{
    struct saving *saving = ctx;
    struct snapshot *to = saving->snapshot;

    (void)bucket;
    if (state == TABLE_SPARE || state == TABLE_BAD || to->count >= SNAPSHOT_CONTACTS_MAX) {
        return;
    }
    to->contacts[to->count++] = (struct snapshot_contact){
        .contact = entry->contact,
        .silent_s = (uint32_t)((saving->now_ms - entry->answered_ms) / 1000),
        .age_s = (uint32_t)((saving->now_ms - entry->entered_ms) / 1000)
    };
}

static int compare_ages(const void *a, const void *b)
{
    uint32_t age_a = ((const struct snapshot_contact *)a)->age_s;
    uint32_t age_b = ((const struct snapshot_contact *)b)->age_s;

    return (age_a < age_b) - (age_a > age_b);
}

void router_save(const struct router *self, uint64_t now_ms, struct snapshot *ret_snapshot)
{
    struct saving saving = { ret_snapshot, now_ms };

    ret_snapshot->self_id = self->self_id;
    ret_snapshot->count = 0;
    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        table_each(&self->tables[i], now_ms, save_entry, &saving);
    }
    if (ret_snapshot->count > 1) {
        qsort(ret_snapshot->contacts, ret_snapshot->count, sizeof(ret_snapshot->contacts[0]),
              compare_ages);
    }
}

/* ---- queries on their way ---- */

struct flight *router_flight_find(struct router *self, uint32_t ticket)
{
    uint32_t index = ticket % ROUTER_FLIGHTS_MAX;

    if (index >= self->flights_count || self->flights[index].purpose == FLIGHT_FREE ||
        self->flights[index].serial != ticket / ROUTER_FLIGHTS_MAX) {
        return NULL;
    }
    return &self->flights[index];
}

bool router_flights_are_full(const struct router *self)
{
    return self->flights_used >= ROUTER_FLIGHTS_MAX;
}

/* There is room: router_flights_are_full() was asked. */
struct flight *router_flight_add(struct router *self, enum flight_purpose purpose,
                                 struct query *query)
{
    uint32_t index = 0;

    assert(!router_flights_are_full(self));
    if (self->flights_used == self->flights_count) {
        index = self->flights_count;
        self->flights_count = self->flights_count == 0 ? 16 : self->flights_count * 2;
        self->flights = xrealloc(self->flights, self->flights_count * sizeof(*self->flights));
        memset(&self->flights[index], 0, (self->flights_count - index) * sizeof(*self->flights));
    }
    while (self->flights[index].purpose != FLIGHT_FREE) {
        index++;
    }
    struct flight *flight = &self->flights[index];
    uint32_t serial = (flight->serial + 1) % (UINT32_MAX / ROUTER_FLIGHTS_MAX);
    *flight = (struct flight){ .purpose = purpose,
                               .serial = serial,
                               .contact = { query->id, query->to } };
    self->flights_used++;
    self->stats.queries++;
    query->ticket = serial * ROUTER_FLIGHTS_MAX + index;
    return flight;
}

/* ---- what to ask next ---- */

static uint64_t slow_ms(const struct router *self)
{
    uint64_t slow = (self->rtt_us + 4 * self->rtt_deviation_us) / 1000 + 1;

    if (self->rtt_us == 0 || slow > ROUTER_SLOW_MOST_MS) {
        return ROUTER_SLOW_MOST_MS;
    }
    return slow < ROUTER_SLOW_LEAST_MS ? ROUTER_SLOW_LEAST_MS : slow;
}

/* Look through the tables: pings that are due, buckets to refresh. */
static void maintain(struct router *self, uint64_t now_ms)
{
    uint64_t due_ms = now_ms + MAINTENANCE_MOST_MS;
    unsigned bucket;

    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        struct table *table = &self->tables[i];
        struct probe probe = { .reason = PROBE_ENTRY, .not_before_ms = now_ms };
        while (self->probes.count < PROBES_QUEUE_MAX / 2 &&
               table_next_probe(table, now_ms, &probe.contact)) {
            (void)probes_add(&self->probes, &probe);
        }
        while (router_is_joined(self) && self->searches_refresh < ROUTER_REFRESHES_MAX &&
               self->searches_own < ROUTER_OWN_MAX && table_next_refresh(table, now_ms, &bucket)) {
            struct node_id target = node_id_random_in_bucket(&self->self_id, bucket, &self->random);
            router_search_own(self, SEARCH_REFRESH, &target, now_ms);
        }
        uint64_t probe_ms = table_probe_deadline_ms(table);
        uint64_t refresh_ms = table_refresh_deadline_ms(table);
        due_ms = probe_ms < due_ms ? probe_ms : due_ms;
        due_ms = refresh_ms < due_ms ? refresh_ms : due_ms;
    }
    self->maintenance_ms =
        due_ms < now_ms + MAINTENANCE_LEAST_MS ? now_ms + MAINTENANCE_LEAST_MS : due_ms;
}

/* Joining: start its lookups; true when it wants an address asked. */
static bool next_join(struct router *self, uint64_t now_ms, struct query *ret_query)
{
    struct join_order order;
    struct node_id target;

    while (self->searches_own < ROUTER_OWN_MAX) {
        struct join_view view = router_view(self);
        switch (join_next(&self->join, &view, now_ms, &order)) {
        case JOIN_NOTHING:
            return false;
        case JOIN_ASK:
            *ret_query = (struct query){ .method = QUERY_FIND_NODE,
                                         .to = order.address,
                                         .target = self->self_id };
            router_flight_add(self, FLIGHT_SEED, ret_query)->seed = order.seed;
            return true;
        case JOIN_FIND_SELF:
            router_search_own(self, order.is_wide ? SEARCH_WIDE : SEARCH_SELF, &self->self_id,
                              now_ms);
            break;
        case JOIN_FIND_BUCKET:
            target = node_id_random_in_bucket(&self->self_id, order.bucket, &self->random);
            router_search_own(self, SEARCH_JOIN, &target, now_ms);
            break;
        }
    }
    return false;
}

static bool next_intro(struct router *self, struct query *ret_query)
{
    for (unsigned i = 0; i < ROUTER_INTROS_MAX; i++) {
        if (self->intros[i].state == INTRO_WAITING) {
            self->intros[i].state = INTRO_ASKED;
            *ret_query = (struct query){ .method = QUERY_FIND_NODE,
                                         .to = self->intros[i].address,
                                         .target = self->self_id };
            router_flight_add(self, FLIGHT_INTRO, ret_query)->intro = (uint16_t)i;
            return true;
        }
    }
    return false;
}

static bool next_of_search(struct router *self, uint32_t index, uint64_t now_ms,
                           struct query *ret_query)
{
    struct search *search = self->searches[index];
    unsigned lookup;

    if (!search_next(search, slow_ms(self), now_ms, ret_query, &lookup)) {
        return false;
    }
    uint32_t ticket = ret_query->ticket;
    if (silence_is_recent(&self->silence, &ret_query->to, SILENCE_MS, now_ms)) {
        lookup_suspect(search->lookups[lookup], ticket);
    }
    struct flight *flight = router_flight_add(self, FLIGHT_LOOKUP, ret_query);
    flight->search = (uint16_t)index;
    flight->search_serial = search->serial;
    flight->lookup_ticket = ticket;
    flight->lookup = (uint8_t)lookup;
    return true;
}

/* The searches in turn, so that none starves the others. */
static bool next_search(struct router *self, uint64_t now_ms, struct query *ret_query)
{
    router_start_waiting(self, now_ms);
    for (uint32_t i = 0; i < self->searches_count; i++) {
        uint32_t index = (self->next_search + i) % self->searches_count;
        struct search *search = self->searches[index];
        if (search == NULL || !search->started || (!search->ready && now_ms < search->wake_ms)) {
            continue;
        }
        if (next_of_search(self, index, now_ms, ret_query)) {
            self->next_search = index + 1;
            return true;
        }
    }
    return false;
}

static bool is_wanted(struct router *self, const struct probe *probe, uint64_t now_ms)
{
    const struct table *table = router_table_of(self, &probe->contact.address);

    return probe->reason != PROBE_MET || table_has_place(table, &probe->contact, now_ms);
}

static bool next_probe(struct router *self, uint64_t now_ms, struct query *ret_query)
{
    struct probe probe;

    while (self->probing < ROUTER_PROBES_MAX && probes_next(&self->probes, now_ms, &probe)) {
        if (!is_wanted(self, &probe, now_ms)) {
            self->probes.credit += 1000;
            continue;
        }
        *ret_query = (struct query){ .method = QUERY_PING,
                                     .to = probe.contact.address,
                                     .id = probe.contact.id };
        router_flight_add(self, FLIGHT_PROBE, ret_query)->probe = probe;
        self->probing++;
        self->stats.probes++;
        return true;
    }
    return false;
}

bool router_next(struct router *self, uint64_t now_ms, struct query *ret_query)
{
    if (now_ms < self->paused_ms || router_flights_are_full(self)) {
        return false;
    }
    if (now_ms >= self->maintenance_ms) {
        maintain(self, now_ms);
    }
    return next_intro(self, ret_query) || next_join(self, now_ms, ret_query) ||
           next_search(self, now_ms, ret_query) || next_probe(self, now_ms, ret_query);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When there may be something to ask, but for replies. */
static uint64_t asking_deadline_ms(const struct router *self)
{
    uint64_t deadline_ms = earlier(self->maintenance_ms, join_deadline_ms(&self->join));

    if (self->probing < ROUTER_PROBES_MAX) {
        deadline_ms = earlier(deadline_ms, probes_deadline_ms(&self->probes));
    }
    for (uint32_t i = 0; i < self->searches_count; i++) {
        const struct search *search = self->searches[i];
        if (search != NULL && search->started) {
            deadline_ms = earlier(deadline_ms, search->ready ? 0 : search->wake_ms);
        } else if (search != NULL && self->searches_running < ROUTER_LOOKUPS_MAX) {
            deadline_ms = earlier(deadline_ms, router_is_joined(self) ? 0 : search->held_ms);
        }
    }
    for (unsigned i = 0; i < ROUTER_INTROS_MAX; i++) {
        if (self->intros[i].state == INTRO_WAITING) {
            deadline_ms = 0;
        }
    }
    return deadline_ms > self->paused_ms ? deadline_ms : self->paused_ms;
}

uint64_t router_deadline_ms(const struct router *self)
{
    uint64_t deadline_ms = router_flights_are_full(self) ? UINT64_MAX : asking_deadline_ms(self);

    for (uint32_t i = 0; i < self->searches_count; i++) {
        if (self->searches[i] != NULL) {
            deadline_ms = earlier(deadline_ms, self->searches[i]->order.deadline_ms);
        }
    }
    return deadline_ms;
}

/* ---- views ---- */

uint64_t router_version(const struct router *self)
{
    return self->tables[ROUTING_V4].version + self->tables[ROUTING_V6].version;
}

const struct contact *router_sorted(struct router *self, enum routing_family family,
                                    uint32_t *ret_count)
{
    const struct table *table = &self->tables[family];

    if (self->sorted_version[family] != table->version) {
        self->sorted_version[family] = table->version;
        self->sorted[family] =
            xrealloc(self->sorted[family], (table->count + 1) * sizeof(struct contact));
        self->sorted_count[family] = (uint32_t)table_sorted(table, self->sorted[family]);
    }
    *ret_count = self->sorted_count[family];
    return self->sorted[family];
}

struct join_view router_view(const struct router *self)
{
    struct join_view view = { 0, 0, 0 };

    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        const struct table *table = &self->tables[i];
        unsigned depth = table->count == 0 ? 0 : table_depth(table);
        view.contacts += table->count;
        view.live += table->count - table->silent_count;
        view.depth = depth > view.depth ? depth : view.depth;
    }
    view.depth = view.depth < self->far_buckets ? view.depth : self->far_buckets;
    return view;
}

bool router_is_joined(const struct router *self)
{
    return join_is_joined(&self->join);
}

bool router_is_misfit(const struct router *self, struct address *ret_address)
{
    struct address address;

    for (unsigned i = 0; i < ROUTING_FAMILIES && !self->are_certified; i++) {
        if (external_find(&self->externals[i], &address)) {
            if (secure_id_fits(&self->self_id, &address)) {
                return false;
            }
            *ret_address = address;
            return true;
        }
    }
    return false;
}

size_t router_good_count(const struct router *self, uint64_t now_ms)
{
    return table_good_count(&self->tables[ROUTING_V4], now_ms) +
           table_good_count(&self->tables[ROUTING_V6], now_ms);
}

const char *router_check(const struct router *self)
{
    uint32_t used = 0, searches = 0;

    for (unsigned i = 0; i < ROUTING_FAMILIES; i++) {
        const char *problem = table_check(&self->tables[i]);
        if (problem != NULL) {
            return problem;
        }
    }
    for (uint32_t i = 0; i < self->flights_count; i++) {
        used += self->flights[i].purpose != FLIGHT_FREE;
    }
    for (uint32_t i = 0; i < self->searches_count; i++) {
        searches += self->searches[i] != NULL;
    }
    if (used != self->flights_used) {
        return "queries on their way are miscounted";
    }
    if (searches != self->searches_asked + self->searches_own) {
        return "searches are miscounted";
    }
    return NULL;
}
