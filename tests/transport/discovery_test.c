#include "services/transport/discovery.h"

#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdlib.h>
#include <string.h>

/*
 * What one node does. In the script a: it hears one that is alone, c: one that is alone and a
 * client, j: one that is not, k: one that is not and is known; a digit lets so many seconds pass, m
 * five minutes. Below it + joins through it, - does not; for time, how often it announced itself.
 * After its first announcement, 1.
 */
static const struct row {
    const char *what;
    bool client;
    size_t contacts;
    const char *script, *does;
} rows[] = {
    { "alone, it is silent after the first for some seconds", false, 0, "12", "10" },
    { "and then asks again, ever less often", false, 0, "199999999", "111010001" },
    { "alone, it joins through whom it hears", false, 0, "1aj", "1++" },
    { "but not through a hundred", false, 0, "1aaaaaaaaaa", "1++++------" },
    { "who is known is not joined through", false, 0, "1k", "1-" },
    { "nor is a client", false, 0, "1c", "1-" },
    { "one that is not alone answers one that is", false, 20, "1a3", "1-1" },
    { "once for all that ask", false, 20, "1aaaa3", "1----1" },
    { "and not when somebody else has answered", false, 20, "1ak2", "1--0" },
    { "it answers clients too", false, 20, "1c3", "1-1" },
    { "even alone: nobody else may be there", false, 0, "1c3", "1-1" },
    { "it does not answer one that is not alone", false, 20, "1k2", "1-0" },
    { "of one or two others it takes up whom it does not know", false, 1, "1jj", "1++" },
    { "in a large table few", false, 2000, "1jjjj", "1----" },
    { "settled, it speaks every five minutes", false, 20, "1mmmmmmmm", "161110120" },
    { "a client asks while it is alone", true, 0, "19", "11" },
    { "and joins through whom it hears", true, 0, "1a", "1+" },
    { "then it is silent", true, 20, "1mmmm", "00000" },
    { "and answers nobody", true, 20, "1a3", "0-0" },
};

#define STEP_MS 10

static char pass(struct discovery *discovery, size_t contacts, uint64_t for_ms, uint64_t *now_ms)
{
    char count = '0';

    for (uint64_t end_ms = *now_ms + for_ms; *now_ms < end_ms; *now_ms += STEP_MS)
        count = (char)(count + discovery_next(discovery, contacts, *now_ms));
    return count;
}

static void does(void **state)
{
    const struct row *row = *state;
    struct discovery discovery;
    struct random random;
    uint64_t now_ms = 5000;
    char done[64] = "";

    random_init(&random, 3);
    discovery_init(&discovery, row->client, &random, now_ms);
    for (size_t i = 0; row->script[i]; i++) {
        char letter = row->script[i];
        const struct discovery_heard heard = { .alone = letter == 'a' || letter == 'c',
                                               .client = letter == 'c',
                                               .known = letter == 'k' };

        if (letter == 'm' || (letter >= '0' && letter <= '9'))
            done[i] = pass(&discovery, row->contacts,
                           letter == 'm' ? 300000 : 1000u * (unsigned)(letter - '0'), &now_ms);
        else
            done[i] = discovery_heard(&discovery, &heard, row->contacts, now_ms) ? '+' : '-';
    }
    assert_string_equal(done, row->does);
}

static void who_loses_all_others_asks_soon(void **state)
{
    struct discovery discovery;
    struct random random;
    uint64_t now_ms = 0;

    (void)state;
    random_init(&random, 3);
    discovery_init(&discovery, false, &random, now_ms);
    (void)pass(&discovery, 9, 3000000, &now_ms);
    assert_in_range(pass(&discovery, 0, 5500, &now_ms), '1', '2');
}

static void networks_are_told_apart(void **state)
{
    uint8_t hash[LSD_HASH_SIZE], other[LSD_HASH_SIZE];
    char text[2 * LSD_HASH_SIZE + 1];

    (void)state;
    discovery_infohash("littlebird", hash);
    hex_encode(hash, sizeof(hash), text);
    assert_string_equal(text, "2a96b3d96a5e6a948661c666fb8534ad7e5f249a");
    discovery_infohash("littlebird2", other);
    assert_memory_not_equal(hash, other, sizeof(hash));
}

/* ---- a net of them ---- */

#define NODES_MAX 1000u
#define WIRE_MS   10u

/*
 * Whose word reached whom; who joins through another becomes one network with all that this one
 * knows, as routing makes it.
 */
struct net {
    uint32_t count;
    struct discovery nodes[NODES_MAX];
    uint64_t start_ms[NODES_MAX];
    uint32_t network[NODES_MAX]; /* the smallest number in it */
    uint32_t sizes[NODES_MAX];   /* of the network of that number */
    uint32_t asked[NODES_MAX];   /* joined through so often */
    uint32_t sent, joined;
    struct random random;
};

static size_t contacts_of(const struct net *self, uint32_t node)
{
    uint32_t size = self->sizes[self->network[node]] - 1;

    return size < 160 ? size : 160;
}

static void join(struct net *self, uint32_t a, uint32_t b)
{
    uint32_t keep = self->network[a], gone = self->network[b];

    self->joined++;
    self->asked[b]++;
    if (keep == gone)
        return;
    if (keep > gone) {
        keep = self->network[b];
        gone = self->network[a];
    }
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->network[i] == gone)
            self->network[i] = keep;
    }
    self->sizes[keep] += self->sizes[gone];
    self->sizes[gone] = 0;
}

/* Of its own network a node knows as many as its table holds. */
static bool knows(struct net *self, uint32_t a, uint32_t b)
{
    return self->network[a] == self->network[b] &&
           random_below(&self->random, self->sizes[self->network[a]]) <= contacts_of(self, a);
}

static void speak(struct net *self, uint32_t speaker, bool alone, uint64_t now_ms)
{
    self->sent++;
    for (uint32_t i = 0; i < self->count; i++) {
        const struct discovery_heard heard = { .alone = alone, .known = knows(self, i, speaker) };

        if (i != speaker && self->start_ms[i] <= now_ms &&
            discovery_heard(&self->nodes[i], &heard, contacts_of(self, i), now_ms))
            join(self, i, speaker);
    }
}

/* count nodes start within spread_ms; what it took until 10 minutes later. */
static const struct net_row {
    const char *what;
    uint32_t count;
    uint64_t spread_ms;
    uint64_t one_s;      /* by when all are one network, at most */
    uint32_t sent_max;   /* multicasts a node in the first minute after the last start */
    uint32_t joined_max; /* joined through, a node, and ... */
    uint32_t asked_max;  /* ... the node that was asked most */
} net_rows[] = {
    { "two at once", 2, 10, 2, 6, 4, 4 },
    { "three", 3, 100, 10, 7, 6, 10 },
    { "a class of 30 at once", 30, 1000, 30, 8, 10, 60 },
    { "a class of 254 within a minute", 254, 60000, 62, 8, 16, 100 },
    { "a thousand at once", 1000, 1000, 60, 8, 16, 400 },
    { "a thousand within ten minutes", 1000, 600000, 601, 16, 30, 200 },
};

static void find_each_other(void **state)
{
    static struct net net;
    const struct net_row *row = *state;
    uint64_t one_ms = 0, sent = 0;

    memset(&net, 0, sizeof(net));
    random_init(&net.random, 11);
    net.count = row->count;
    for (uint32_t i = 0; i < row->count; i++) {
        net.start_ms[i] = random_below(&net.random, row->spread_ms);
        net.network[i] = i;
        net.sizes[i] = 1;
        discovery_init(&net.nodes[i], false, &net.random, net.start_ms[i]);
    }
    for (uint64_t now_ms = 0; now_ms < row->spread_ms + 600000; now_ms += WIRE_MS) {
        for (uint32_t i = 0; i < row->count; i++) {
            bool alone = contacts_of(&net, i) == 0;

            if (net.start_ms[i] <= now_ms &&
                (now_ms >= discovery_deadline_ms(&net.nodes[i]) || alone) &&
                discovery_next(&net.nodes[i], contacts_of(&net, i), now_ms))
                speak(&net, i, alone, now_ms);
        }
        if (one_ms == 0 && net.sizes[0] == row->count)
            one_ms = now_ms;
        if (now_ms == row->spread_ms + 60000)
            sent = net.sent;
    }
    uint32_t most = 0;
    for (uint32_t i = 0; i < row->count; i++)
        most = net.asked[i] > most ? net.asked[i] : most;
    print_message(
        "%u nodes: one after %.1f s, %.1f multicasts and %.1f joins a node, most asked %u\n",
        row->count, (double)one_ms / 1000, (double)sent / row->count,
        (double)net.joined / row->count, most);
    assert_int_equal(net.sizes[0], row->count);
    assert_in_range(one_ms, 0, row->one_s * 1000);
    assert_in_range(sent, 0, (uint64_t)row->sent_max * row->count);
    assert_in_range(net.joined, 0, (uint64_t)row->joined_max * row->count);
    assert_in_range(most, 0, row->asked_max);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_loses_all_others_asks_soon),
        cmocka_unit_test(networks_are_told_apart),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    failed += RUN_ROWS(rows, does);
    return failed + RUN_ROWS(net_rows, find_each_other);
}
