/*
 * One node a public subnet counts in a search (crowd.h, THREATS 2.2). In a network of 1000 that
 * know each other, ids beside the target are made up in few subnets: these answer, naming each
 * other only, and each of the 1000 has as many of them in its table as that lets in.
 */
#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/routing/search.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

#define HONEST   1000u
#define SYBILS   128u
#define NODES    (HONEST + SYBILS)
#define K        8u
#define SEEDS    8u
#define SLOW_MS  100u
#define SEARCHES 200u

enum place { SPREAD, ONE_NET, TWO_NETS, PRIVATE_NET };

static const struct row {
    const char *what;
    enum place honest, sybils;
    unsigned sybils_count, paths;
    unsigned reached_least,
        crowd_most; /* in the mean, in tenths: of the 8 closest honest; sybils */
    bool certified;
} rows[] = {
    { "nobody is crowded out where each has a subnet of its own", SPREAD, SPREAD, 0, 1, 80, 0,
      false },
    { "of 128 beside the target in one /24 one counts", SPREAD, ONE_NET, 128, 1, 70, 10, false },
    { "four paths may each meet another one, and one counts", SPREAD, ONE_NET, 128, 4, 70, 10,
      false },
    { "of 128 in two subnets two count", SPREAD, TWO_NETS, 128, 1, 60, 20, false },
    { "inside a site all count: the network itself keeps strangers out", SPREAD, PRIVATE_NET, 128,
      1, 0, 80, false },
    { "a campus all in one public subnet finds its closest", ONE_NET, SPREAD, 0, 1, 80, 0, false },
    { "and one in two", TWO_NETS, SPREAD, 0, 1, 80, 0, false },
    { "where ids are certified all count, in whatever subnet", SPREAD, ONE_NET, 128, 1, 0, 80,
      true },
};

struct network {
    struct random random;
    const struct row *row;
    struct contact nodes[NODES]; /* the honest, then the sybils */
    unsigned count;
    struct node_id target;
};

/* Where the n-th of its kind lives. */
static struct address address_of(enum place place, unsigned kind, unsigned n)
{
    uint16_t port = (uint16_t)(1000 + n);

    switch (place) {
    case SPREAD:
        return address_v4((uint8_t)(20 + kind), (uint8_t)(n >> 8), (uint8_t)n, 7, port);
    case ONE_NET:
        return address_v4((uint8_t)(40 + kind), 1, 1, (uint8_t)n, port);
    case TWO_NETS:
        return address_v4((uint8_t)(40 + kind), 1, (uint8_t)(n % 2), (uint8_t)n, port);
    default:
        return address_v4(10, (uint8_t)kind, 1, (uint8_t)n, port);
    }
}

static void keep_nearest(struct contact *nearest, size_t *count, const struct node_id *id,
                         const struct contact *contact)
{
    size_t at = *count;

    while (at > 0 && node_id_compare_distance(id, &contact->id, &nearest[at - 1].id) < 0) {
        if (at < K) {
            nearest[at] = nearest[at - 1];
        }
        at--;
    }
    if (at < K) {
        nearest[at] = *contact;
        *count += *count < K;
    }
}

/* A table takes one of a public subnet into a bucket (table.h): of the sybils another one each. */
static bool knows(const struct network *self, unsigned who, unsigned node)
{
    unsigned nets = self->row->sybils == TWO_NETS ? 2 : 1;

    if (node < HONEST || self->row->sybils == PRIVATE_NET) {
        return true;
    }
    return (node - HONEST) / nets == who % (self->row->sybils_count / nets);
}

/* An honest one names the 8 nearest it knows, a sybil the 8 nearest sybils. */
static size_t name_nodes(const struct network *self, unsigned who, const struct node_id *target,
                         struct contact ret_named[K])
{
    bool honest = who < HONEST;
    size_t count = 0;

    for (unsigned i = honest ? 0 : HONEST; i < self->count; i++) {
        if (i != who && (!honest || knows(self, who, i))) {
            keep_nearest(ret_named, &count, target, &self->nodes[i]);
        }
    }
    return count;
}

static unsigned find_node(const struct network *self, const struct address *address)
{
    for (unsigned i = 0; i < self->count; i++) {
        if (address_equal(&self->nodes[i].address, address)) {
            return i;
        }
    }
    fail();
    return 0;
}

/* The ids of sybils share 40 bits with the target: nearer than any true one. */
static void network_begin(struct network *self)
{
    self->target = node_id_random(&self->random);
    for (unsigned i = 0; i < HONEST; i++) {
        self->nodes[i] =
            (struct contact){ node_id_random(&self->random), address_of(self->row->honest, 0, i) };
    }
    for (unsigned i = 0; i < self->row->sybils_count; i++) {
        self->nodes[HONEST + i] =
            (struct contact){ node_id_random_in_bucket(&self->target, 40, &self->random),
                              address_of(self->row->sybils, 1, i) };
    }
    self->count = HONEST + self->row->sybils_count;
}

static void run(struct network *self, struct search *search)
{
    uint64_t now_ms = 0;
    unsigned lookup;
    struct query query;

    for (; !search_is_finished(search, now_ms); now_ms += 10) {
        while (search_next(search, SLOW_MS, now_ms, &query, &lookup)) {
            unsigned who = find_node(self, &query.to);
            struct contact named[K];
            struct reply reply = { .outcome = REPLY_ANSWERED,
                                   .id = self->nodes[who].id,
                                   .nodes = named };
            reply.nodes_count = name_nodes(self, who, &query.target, named);
            search_reply(search, lookup, query.ticket, &reply);
        }
    }
}

struct tally {
    unsigned reached, sybils, queries;
};

static void search_once(struct network *self, struct tally *tally)
{
    const struct search_order order = {
        .aim = { .kind = LOOKUP_NODES, .k = K, .target = self->target },
        .paths = self->row->paths,
        .deadline_ms = 20000
    };
    struct search *search = xcalloc(1, sizeof(*search));
    const struct candidate *closest[SEARCH_CLOSEST_MAX];
    struct contact seeds[SEEDS], truth[K];
    size_t count = 0;

    search->order = order;
    search->started = true;
    for (unsigned i = 0; i < SEEDS; i++) {
        seeds[i] = self->nodes[random_below(&self->random, HONEST)];
    }
    search_begin(search, ROUTING_V4, seeds, SEEDS, false);
    run(self, search);
    for (unsigned i = 0; i < HONEST; i++) {
        keep_nearest(truth, &count, &self->target, &self->nodes[i]);
    }
    count = search_closest(search, closest);
    assert_int_equal(count, K);
    for (size_t i = 0; i < count; i++) {
        tally->sybils += find_node(self, &closest[i]->contact.address) >= HONEST;
        for (unsigned j = 0; j < K; j++) {
            tally->reached += node_id_equal(&closest[i]->contact.id, &truth[j].id);
        }
    }
    tally->queries += search_effort(search).queries;
    search_free(&search);
}

static void reaches_the_closest(void **state)
{
    struct network *network = xcalloc(1, sizeof(*network));
    struct tally tally = { 0 };

    network->row = *state;
    random_init(&network->random, 11);
    for (unsigned i = 0; i < SEARCHES; i++) {
        network_begin(network);
        search_once(network, &tally);
    }
    print_message("%u.%02u of the 8 closest reached, %u.%02u sybils, %u queries a search\n",
                  tally.reached / SEARCHES, tally.reached * 100 / SEARCHES % 100,
                  tally.sybils / SEARCHES, tally.sybils * 100 / SEARCHES % 100,
                  tally.queries / SEARCHES);
    assert_true(10 * tally.reached >= network->row->reached_least * SEARCHES);
    assert_true(10 * tally.sybils <= network->row->crowd_most * SEARCHES);
    free(network);
}

int main(void)
{
    return RUN_ROWS(rows, reaches_the_closest);
}
