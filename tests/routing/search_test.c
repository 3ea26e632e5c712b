/*
 * What a search adds to a lookup: an end when enough nodes have returned the same, and disjoint
 * paths against liars.
 */
#include "services/routing/search.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOW_MS 100u

static struct search *new_search(const struct search_order *order)
{
    struct search *search = xcalloc(1, sizeof(*search));

    search->order = *order;
    search->started = true;
    memset(search->self_id.bytes, 0x55, NODE_ID_SIZE);
    return search;
}

/* ---- enough ---- */

#define NODES 8u

static struct contact near(unsigned n)
{
    struct contact contact = { .address = address_v4(10, 0, 0, (uint8_t)n, 6881) };

    contact.id.bytes[NODE_ID_SIZE - 1] = (uint8_t)n;
    return contact;
}

/* a and b differ in their bytes, c is newer; s: only says that it stores the version of a. */
static const struct found_item items[] = {
    ['a' - 'a'] = { .value = { (const uint8_t *)"1:a", 3 }, .seq = 7 },
    ['b' - 'a'] = { .value = { (const uint8_t *)"1:b", 3 }, .seq = 7 },
    ['c' - 'a'] = { .value = { (const uint8_t *)"1:c", 3 }, .seq = 8 },
    ['s' - 'a'] = { .seq = 7 },
};

static const struct enough_row {
    const char *what;
    unsigned enough, paths;
    const char *answers; /* of the nodes, nearest first; -: no item */
    unsigned answered;   /* when it ended */
} enough_rows[] = {
    { "two that return the same are enough", 2, 1, "aa------", 2 },
    { "where it is not said how many are, all are asked", 0, 1, "aaaaaaaa", 8 },
    { "other bytes of one version do not count", 2, 1, "abb-----", 3 },
    { "who only stores it counts by the version", 3, 1, "sss-----", 3 },
    { "but not with those who sent it", 2, 1, "as-a----", 4 },
    { "what is older than another does not count", 2, 1, "caaaaaac", 8 },
    { "what is newer does", 2, 1, "acc-----", 3 },
    { "when there are not as many all are asked", 3, 1, "aa------", 8 },
    { "nodes of all paths count", 4, 2, "aaaa----", 5 },
};

static void ends_with_enough(void **state)
{
    const struct enough_row *row = *state;
    const struct search_order order = { .aim = { .kind = LOOKUP_VALUE, .k = NODES },
                                        .paths = row->paths,
                                        .enough = row->enough,
                                        .deadline_ms = UINT64_MAX };
    struct search *search = new_search(&order);
    struct contact seeds[NODES];
    struct query queries[NODES];
    unsigned lookups[NODES], asked = 0, answered = 0;

    for (unsigned i = 0; i < NODES; i++) {
        seeds[i] = near(i + 1);
    }
    search_begin(search, ROUTING_V4, seeds, NODES, false);
    while (!search_is_finished(search, 0)) {
        while (search_next(search, SLOW_MS, 0, &queries[asked], &lookups[asked])) {
            asked++;
        }
        assert_true(answered < asked);
        unsigned n = queries[answered].to.ip[15];
        char letter = row->answers[n - 1];
        struct reply reply = { .outcome = REPLY_ANSWERED, .id = queries[answered].id };
        reply.item = letter == '-' ? NULL : &items[letter - 'a'];
        search_reply(search, lookups[answered], queries[answered].ticket, &reply);
        answered++;
    }
    assert_int_equal(answered, row->answered);
    if (row->enough > 0 && answered < NODES) {
        assert_false(search_next(search, SLOW_MS, 0, queries, lookups));
    }
    search_free(&search);
}

/* ---- liars ---- */

#define NETWORK     1000u
#define VIEW_MAX    160u
#define ANSWER      8u
#define FLIGHTS_MAX 256u
#define SEEDS       8u
#define SILENT_MS   1500u

/* Nodes ascending by id, and whom each knows: up to 8 of each bucket, as BEP 5 has it. */
struct network {
    struct random random;
    struct contact nodes[NETWORK];
    bool liars[NETWORK];
    uint32_t views[NETWORK][VIEW_MAX];
    unsigned view_counts[NETWORK];
};

static int compare_ids(const void *a, const void *b)
{
    return node_id_compare(&((const struct contact *)a)->id, &((const struct contact *)b)->id);
}

static void know_bucket(struct network *self, unsigned node, unsigned bucket)
{
    uint32_t members[NETWORK];
    unsigned count = 0;

    for (unsigned i = 0; i < NETWORK; i++) {
        if (i != node && node_id_shared_bits(&self->nodes[node].id, &self->nodes[i].id) == bucket) {
            members[count++] = i;
        }
    }
    for (unsigned taken = 0; taken < 8 && count > 0; taken++) {
        unsigned at = (unsigned)random_below(&self->random, count);
        self->views[node][self->view_counts[node]++] = members[at];
        members[at] = members[--count];
    }
}

static struct network *new_network(unsigned liars_percent)
{
    struct network *self = xcalloc(1, sizeof(*self));

    random_init(&self->random, 7);
    for (unsigned i = 0; i < NETWORK; i++) {
        self->nodes[i].id = node_id_random(&self->random);
    }
    qsort(self->nodes, NETWORK, sizeof(self->nodes[0]), compare_ids);
    for (unsigned i = 0; i < NETWORK; i++) {
        self->nodes[i].address = address_v4(10, 0, (uint8_t)(i >> 8), (uint8_t)i, 6881);
        self->liars[i] = random_below(&self->random, 100) < liars_percent;
        for (unsigned bucket = 0; bucket < 16; bucket++) {
            know_bucket(self, i, bucket);
        }
    }
    return self;
}

/* Keeps the count nearest to an id in order; returns how many there are now. */
static size_t keep_nearest(struct contact *nearest, size_t count, size_t max,
                           const struct node_id *id, const struct contact *contact)
{
    size_t at = count < max ? count : max;

    while (at > 0 && node_id_compare_distance(id, &contact->id, &nearest[at - 1].id) < 0) {
        if (at < max) {
            nearest[at] = nearest[at - 1];
        }
        at--;
    }
    if (at < max) {
        nearest[at] = *contact;
    }
    return count < max ? count + 1 : max;
}

static size_t truly_nearest(const struct network *self, const struct node_id *id, unsigned but,
                            bool only_liars, size_t max, struct contact *ret_nearest)
{
    size_t count = 0;

    for (unsigned i = 0; i < NETWORK; i++) {
        if (i != but && (!only_liars || self->liars[i])) {
            count = keep_nearest(ret_nearest, count, max, id, &self->nodes[i]);
        }
    }
    return count;
}

static size_t nearest_in_view(const struct network *self, const struct node_id *id, unsigned node,
                              size_t max, struct contact *ret_nearest)
{
    size_t count = 0;

    for (unsigned i = 0; i < self->view_counts[node]; i++) {
        count = keep_nearest(ret_nearest, count, max, id, &self->nodes[self->views[node][i]]);
    }
    return count;
}

enum lie { LIE_FRIENDS, LIE_MADE_UP, LIE_MOVED };

/* Nodes that nobody has, nearer to the target than all there are. */
static size_t make_up(struct network *self, const struct node_id *target,
                      struct contact ret_named[ANSWER])
{
    for (unsigned i = 0; i < ANSWER; i++) {
        uint64_t number = random_u64(&self->random);
        ret_named[i].id = *target;
        memcpy(&ret_named[i].id.bytes[4], &number, sizeof(number));
        ret_named[i].address = address_v4(10, 99, (uint8_t)(number >> 8), (uint8_t)number,
                                          (uint16_t)(number >> 16 | 1));
    }
    return ANSWER;
}

/* The nearest there are, but at addresses where nobody is. */
static size_t move_away(struct network *self, const struct node_id *target,
                        struct contact ret_named[ANSWER])
{
    size_t count = truly_nearest(self, target, NETWORK, false, ANSWER, ret_named);

    for (size_t i = 0; i < count; i++) {
        uint64_t number = random_u64(&self->random);
        ret_named[i].address = address_v4(10, 99, (uint8_t)(number >> 8), (uint8_t)number,
                                          (uint16_t)(number >> 16 | 1));
    }
    return count;
}

/* Returns how many are named. */
static size_t tell_lies(struct network *self, const struct node_id *target, unsigned liar,
                        enum lie lie, struct contact ret_named[ANSWER])
{
    switch (lie) {
    case LIE_FRIENDS:
        return truly_nearest(self, target, liar, true, ANSWER, ret_named);
    case LIE_MADE_UP:
        return make_up(self, target, ret_named);
    default:
        return move_away(self, target, ret_named);
    }
}

struct flight {
    struct query query;
    unsigned lookup;
    uint64_t due_ms;
};

static void deliver(struct network *self, struct search *search, const struct flight *flight,
                    enum lie lie)
{
    struct contact named[ANSWER];
    struct reply reply = { .outcome = REPLY_SILENT, .nodes = named };
    unsigned n = (unsigned)flight->query.to.ip[14] << 8 | flight->query.to.ip[15];

    if (flight->query.to.ip[13] == 0) {
        reply.outcome = REPLY_ANSWERED;
        reply.id = self->nodes[n].id;
        reply.nodes_count = self->liars[n]
                                ? tell_lies(self, &flight->query.target, n, lie, named)
                                : nearest_in_view(self, &flight->query.target, n, ANSWER, named);
    }
    search_reply(search, flight->lookup, flight->query.ticket, &reply);
}

static void run(struct network *self, struct search *search, enum lie lie)
{
    static struct flight flights[FLIGHTS_MAX];
    unsigned count = 0;

    for (uint64_t now_ms = 0; !search_is_finished(search, now_ms); now_ms += 10) {
        for (unsigned i = 0; i < count;) {
            if (flights[i].due_ms > now_ms) {
                i++;
                continue;
            }
            struct flight flight = flights[i];
            flights[i] = flights[--count];
            deliver(self, search, &flight, lie);
        }
        struct flight *next = &flights[count];
        while (count < FLIGHTS_MAX &&
               search_next(search, SLOW_MS, now_ms, &next->query, &next->lookup)) {
            next->due_ms = now_ms + (next->query.to.ip[13] == 0 ? 20 : SILENT_MS);
            next = &flights[++count];
        }
    }
}

/* S/Kademlia, Baumgart and Mies 2007, 5; THREATS 2.3. */
struct liars_row {
    const char *what;
    enum lie lie;
    unsigned liars_percent, paths, searches;
    unsigned exact_least, exact_most;
    unsigned queries_most; /* in the mean */
};

/* A newcomer that knows few nodes, near and far, so that liars can keep it from the rest. */
static size_t draw_seeds(struct network *self, const struct node_id *target,
                         struct contact ret_seeds[SEEDS])
{
    size_t count = 0;

    for (unsigned i = 0; i < SEEDS; i++) {
        const struct contact *seed = &self->nodes[random_below(&self->random, NETWORK)];
        count = keep_nearest(ret_seeds, count, SEEDS, target, seed);
    }
    return count;
}

/* Of so many searches for random targets by newcomers, how many found exactly the 8. */
static unsigned count_exact(struct network *self, const struct liars_row *row,
                            unsigned *ret_queries)
{
    const struct candidate *closest[SEARCH_CLOSEST_MAX];
    struct contact truth[ANSWER], seeds[SEEDS];
    unsigned exact = 0;

    *ret_queries = 0;
    for (unsigned i = 0; i < row->searches; i++) {
        const struct search_order order = {
            .aim = { .kind = LOOKUP_NODES, .k = ANSWER, .target = node_id_random(&self->random) },
            .paths = row->paths,
            .deadline_ms = 20000
        };
        struct search *search = new_search(&order);
        search_begin(search, ROUTING_V4, seeds, draw_seeds(self, &order.aim.target, seeds), false);
        run(self, search, row->lie);
        size_t count = search_closest(search, closest), same = 0;
        size_t expected = truly_nearest(self, &order.aim.target, NETWORK, false, ANSWER, truth);
        for (size_t j = 0; j < count && j < expected; j++) {
            same += node_id_equal(&closest[j]->contact.id, &truth[j].id);
        }
        exact += same == expected;
        *ret_queries += search_effort(search).queries;
        search_free(&search);
    }
    return exact;
}

static const struct liars_row liars_rows[] = {
    { "one path, nobody lies", LIE_FRIENDS, 0, 1, 1000, 1000, 1000, 14 },
    { "four paths, nobody lies", LIE_FRIENDS, 0, 4, 1000, 1000, 1000, 35 },
    { "one path, 20 % name only each other", LIE_FRIENDS, 20, 1, 1000, 0, 970, 14 },
    { "four paths, 20 % name only each other", LIE_FRIENDS, 20, 4, 1000, 995, 1000, 35 },
    { "one path, 40 % name only each other", LIE_FRIENDS, 40, 1, 1000, 0, 700, 14 },
    { "four paths, 40 % name only each other", LIE_FRIENDS, 40, 4, 1000, 900, 1000, 35 },
    { "eight paths, 40 % name only each other", LIE_FRIENDS, 40, 8, 1000, 960, 1000, 50 },
    { "one path, 20 % name nodes that are not there", LIE_MADE_UP, 20, 1, 100, 0, 100, 200 },
    { "four paths, 20 % name nodes that are not there", LIE_MADE_UP, 20, 4, 100, 99, 100, 800 },
    { "one path, 20 % name the nearest where they are not", LIE_MOVED, 20, 1, 1000, 850, 1000, 40 },
    { "four paths, 20 % name the nearest where they are not", LIE_MOVED, 20, 4, 1000, 995, 1000,
      100 },
};

static void finds_the_closest_among_liars(void **state)
{
    const struct liars_row *row = *state;
    struct network *network = new_network(row->liars_percent);
    unsigned queries, exact = count_exact(network, row, &queries);

    free(network);
    print_message("exact %u of %u, %u queries a search\n", exact, row->searches,
                  queries / row->searches);
    assert_in_range(exact, row->exact_least, row->exact_most);
    assert_true(queries <= row->queries_most * row->searches);
}

/* The few nodes of a small IPv6 network have answered before the first of IPv4 do. */
static void a_small_family_does_not_hurry_the_other(void **state)
{
    const struct search_order order = { .aim = { .kind = LOOKUP_NODES, .k = ANSWER },
                                        .paths = 2,
                                        .deadline_ms = 60000 };
    struct search *search = new_search(&order);
    struct contact v4[] = { near(1), near(2) }, v6[] = { near(1), near(2) };
    unsigned lookup, answered = 0;
    struct query query;

    (void)state;
    v6[0].address = (struct address){ .ip = { 0xfd, [15] = 1 }, .port = 6881 };
    v6[1].address = (struct address){ .ip = { 0xfd, [15] = 2 }, .port = 6881 };
    search_begin(search, ROUTING_V4, v4, 2, false);
    search_begin(search, ROUTING_V6, v6, 2, false);
    while (search_next(search, SLOW_MS, 10, &query, &lookup)) {
        struct reply reply = { .outcome = REPLY_ANSWERED, .id = query.id };
        if (!address_is_v4(&query.to)) {
            search_reply(search, lookup, query.ticket, &reply);
            answered++;
        }
    }
    assert_int_equal(answered, 2);
    assert_false(search_next(search, SLOW_MS, 20, &query, &lookup));
    assert_false(search_is_finished(search, 1000));
    search_free(&search);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_family_does_not_hurry_the_other),
    };

    return RUN_ROWS(enough_rows, ends_with_enough) +
           RUN_ROWS(liars_rows, finds_the_closest_among_liars) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
