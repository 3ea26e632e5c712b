/*
 * Whatever the network and the order of answers, a lookup goes on until it has ended: as long as it
 * has not, something that it waits for is on its way, or a moment at which it goes on is named.
 * Small networks of one seed each: nodes know some of the others, a few are silent or hold back
 * whom they know.
 */
#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/routing/lookup.h"
#include "tests/libcommon/cmocka_row.h"

#include <inttypes.h>
#include <stdlib.h>

#define NODES_MAX 64
#define OPEN_MAX  256
#define SLOW_MS   100

struct network {
    struct random random;
    struct contact nodes[NODES_MAX];
    bool silent[NODES_MAX];
    unsigned count, known_percent;
    struct query open[OPEN_MAX]; /* on their way */
    unsigned open_count;
};

/* Ids that share many bits with the target and with each other: much is left to be proven. */
static struct node_id draw_id(struct network *self)
{
    struct node_id zero = { { 0 } };

    return node_id_random_in_bucket(&zero, (unsigned)random_below(&self->random, 12),
                                    &self->random);
}

static void network_init(struct network *self, uint64_t seed, unsigned silent_percent,
                         unsigned known_percent)
{
    *self = (struct network){ .known_percent = known_percent };
    random_init(&self->random, seed);
    self->count = 2 + (unsigned)random_below(&self->random, NODES_MAX - 2);
    for (unsigned i = 0; i < self->count; i++) {
        self->nodes[i] = (struct contact){ draw_id(self), address_v4(10, 0, 0, (uint8_t)i, 1) };
        self->silent[i] = i > 0 && random_below(&self->random, 100) < silent_percent;
    }
}

/* The K nearest to the target of those it happens to know. */
static size_t name_nodes(struct network *self, const struct node_id *target,
                         struct contact ret_nodes[8])
{
    size_t count = 0;

    for (unsigned i = 0; i < self->count; i++) {
        size_t at = count;

        if (random_below(&self->random, 100) >= self->known_percent)
            continue;
        while (at > 0 &&
               node_id_compare_distance(target, &self->nodes[i].id, &ret_nodes[at - 1].id) < 0) {
            if (at < 8)
                ret_nodes[at] = ret_nodes[at - 1];
            at--;
        }
        if (at < 8)
            ret_nodes[at] = self->nodes[i];
        count += count < 8;
    }
    return count;
}

/* One of those on their way comes back. */
static void answer_one(struct network *self, struct lookup *lookup)
{
    unsigned which = (unsigned)random_below(&self->random, self->open_count);
    struct query query = self->open[which];
    unsigned node = query.to.ip[15];
    struct contact nodes[8];
    struct reply reply = { .outcome = REPLY_SILENT, .nodes = nodes };

    self->open[which] = self->open[--self->open_count];
    if (!self->silent[node]) {
        reply.outcome = REPLY_ANSWERED;
        reply.id = self->nodes[node].id;
        reply.nodes_count = name_nodes(self, &query.target, nodes);
    }
    lookup_reply(lookup, query.ticket, &reply);
}

/* False when it stands still. */
static bool ends(struct network *self, struct lookup *lookup)
{
    uint64_t now_ms = 0;

    while (!lookup_is_finished(lookup)) {
        struct query query;

        while (lookup_next(lookup, now_ms, &query)) {
            assert_in_range(self->open_count, 0, OPEN_MAX - 1);
            self->open[self->open_count++] = query;
        }
        if (lookup_is_finished(lookup))
            break;
        uint64_t deadline_ms = lookup_deadline_ms(lookup);
        if (self->open_count == 0 && deadline_ms == UINT64_MAX)
            return false;
        if (self->open_count == 0 ||
            (deadline_ms != UINT64_MAX && random_below(&self->random, 4) == 0))
            now_ms = deadline_ms;
        else
            answer_one(self, lookup);
    }
    return true;
}

static const struct row {
    const char *what;
    unsigned silent_percent, known_percent, seeds;
} rows[] = {
    { "all are there and know each other", 0, 100, 300 },
    { "all are there and know half of each other", 0, 50, 2000 },
    { "some are silent", 20, 60, 4000 },
    { "most are silent, and few are known", 60, 30, 2000 },
};

static void check(void **state)
{
    const struct row *row = *state;
    struct network *network = xcalloc(1, sizeof(*network));

    for (uint64_t seed = 1; seed <= row->seeds; seed++) {
        const struct lookup_aim aim = { .kind = LOOKUP_NODES, .k = 1 + (unsigned)seed % 12 };
        struct node_id self_id = { { 0xff } };
        struct lookup *lookup = lookup_new(&self_id, &aim, ROUTING_V4);

        network_init(network, seed, row->silent_percent, row->known_percent);
        lookup_set_slow(lookup, SLOW_MS);
        lookup_seed(lookup, &network->nodes[0]);
        lookup_start(lookup);
        if (!ends(network, lookup))
            fail_msg("seed %" PRIu64 ": nothing is on its way, and it has not ended", seed);
        lookup_free(&lookup);
    }
    free(network);
}

int main(void)
{
    return RUN_ROWS(rows, check);
}
