/*
 * Traces on virtual time. The target is id 0, so a node's number (1 to 255) is its distance; node n
 * stands at 10.0.0.n. A trace is a line a moment:
 *
 *     "0 > 5 6 7"      at 0 ms exactly these are asked, in this order ("5~": asked for a part,
 * proof.h) "10 5: 1 2"      at 10 ms node 5 answers and names 1 and 2 "10 5!"          node 5 was
 * silent       "10 5?"  it refused (a KRPC error) "10 5/"          the query was not sent  "10 5=9:
 * 1" node 9 answered in its place "20 end 1 2"     the lookup has ended with these    "20 open 1 2"
 * it has not, so far these
 */
#include "services/routing/lookup.h"

#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOW_MS   100
#define LINES_MAX 32
#define NODES     256
#define SELF      250

static struct contact node(unsigned n)
{
    struct contact contact = { .address = address_v4(10, 0, 0, (uint8_t)n, 6881) };

    contact.id.bytes[NODE_ID_SIZE - 1] = (uint8_t)n;
    return contact;
}

struct world {
    struct lookup *lookup;
    uint32_t tickets[NODES]; /* of the last query to each node */
    uint32_t wide[NODES];    /* of the last one for a part */
};

static void begin_for(struct world *world, const struct lookup_aim *aim, const char *seeds)
{
    struct node_id self = node(SELF).id;
    char *rest;

    memset(world, 0, sizeof(*world));
    world->lookup = lookup_new(&self, aim, ROUTING_V4);
    lookup_set_slow(world->lookup, SLOW_MS);
    for (unsigned long n = strtoul(seeds, &rest, 10); n != 0; n = strtoul(rest, &rest, 10)) {
        struct contact seed = node((unsigned)n);
        lookup_seed(world->lookup, &seed);
    }
    lookup_start(world->lookup);
}

static void begin(struct world *world, enum lookup_kind kind, unsigned k, const char *seeds)
{
    const struct lookup_aim aim = { .kind = kind, .k = k };

    begin_for(world, &aim, seeds);
}

/* ---- one line ---- */

static void asked(struct world *world, uint64_t now_ms, char *ret_text, size_t size)
{
    struct query query;
    size_t length = 0;

    ret_text[0] = '\0';
    while (lookup_next(world->lookup, now_ms, &query)) {
        unsigned n = query.to.ip[15];
        bool wide = (query.ticket & LOOKUP_PROOF) != 0;
        (wide ? world->wide : world->tickets)[n] = query.ticket;
        length += (size_t)snprintf(ret_text + length, size - length, " %u%s", n, wide ? "~" : "");
    }
}

static void found(const struct world *world, char *ret_text, size_t size)
{
    const struct candidate *closest[LOOKUP_K_MAX];
    size_t count = lookup_closest(world->lookup, closest, LOOKUP_K_MAX);
    size_t length = 0;

    ret_text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        length += (size_t)snprintf(ret_text + length, size - length, " %u",
                                   closest[i]->contact.id.bytes[NODE_ID_SIZE - 1]);
    }
}

static void replies(struct world *world, const char *line)
{
    struct contact nodes[LOOKUP_REPLY_NODES_MAX];
    struct reply reply = { .outcome = REPLY_ANSWERED, .nodes = nodes };
    char *rest;
    unsigned long n = strtoul(line, &rest, 10), who = n;
    bool wide = *rest == '~';

    rest += wide;
    if (*rest == '=') {
        who = strtoul(rest + 1, &rest, 10);
    }
    reply.id = node((unsigned)who).id;
    reply.outcome = *rest == '!'   ? REPLY_SILENT
                    : *rest == '?' ? REPLY_REFUSED
                    : *rest == '/' ? REPLY_UNSENT
                                   : REPLY_ANSWERED;
    for (n = (rest++, n); reply.outcome == REPLY_ANSWERED;) {
        unsigned long named = strtoul(rest, &rest, 10);
        if (named == 0) {
            break;
        }
        nodes[reply.nodes_count++] = node((unsigned)named);
    }
    lookup_reply(world->lookup, (wide ? world->wide : world->tickets)[n], &reply);
}

static void play(struct world *world, const char *line)
{
    char text[256], *rest;
    uint64_t now_ms = strtoul(line, &rest, 10);

    rest++;
    if (*rest == '>') {
        asked(world, now_ms, text, sizeof(text));
        if (strcmp(text, rest + 1) != 0) {
            fail_msg("'%s': asked were%s", line, text);
        }
    } else if (*rest == 'e' || *rest == 'o') {
        found(world, text, sizeof(text));
        if (lookup_is_finished(world->lookup) != (*rest == 'e')) {
            fail_msg("'%s': finished is %d", line, lookup_is_finished(world->lookup));
        }
        const char *expected = rest + (*rest == 'e' ? 3 : 4);
        if (strcmp(text, expected) != 0) {
            fail_msg("'%s': found are%s", line, text);
        }
    } else {
        replies(world, rest);
    }
}

/* ---- traces ---- */

static const struct trace {
    const char *what;
    enum lookup_kind kind;
    unsigned k;
    const char *seeds;
    const char *lines[LINES_MAX];
} traces[] = {
    { "without seeds it ends at once", LOOKUP_NODES, 2, "", { "0 end" } },
    { "the nearest are asked, three at a time",
      LOOKUP_NODES,
      4,
      "9 8 7 6 5",
      { "0 > 5 6 7", "10 6: 5 7", "10 > 8", "11 5:", "11 >", "12 7:", "13 8:", "13 end 5 6 7 8" } },
    { "what answers name is asked next, nearest first",
      LOOKUP_NODES,
      2,
      "50 60",
      { "0 > 50 60", "10 50: 3 4 5", "10 > 3 4", "20 3: 4 2", "20 > 2", "30 4: 2 3", "30 2: 3 4",
        "30 end 2 3" } },
    { "it ends as soon as the k nearest have answered",
      LOOKUP_NODES,
      2,
      "1 2 90",
      { "0 > 1 2", "10 1:", "10 open 1", "10 2:", "10 end 1 2", "10 >" } },
    { "with fewer than k it ends when all have answered",
      LOOKUP_NODES,
      8,
      "1 2",
      { "0 > 1 2", "10 2: 1", "10 >", "10 open 2", "20 1: 2", "20 end 1 2" } },
    { "our own id is never asked",
      LOOKUP_NODES,
      2,
      "5 250",
      { "0 > 5", "10 5: 250 5", "10 end 5" } },
    { "a slow one gives its slot away and still counts when it answers",
      LOOKUP_NODES,
      3,
      "1 2 3 4 5",
      { "0 > 1 2 3", "99 >", "100 > 4 5", "110 4:", "111 5:", "112 2:", "113 >",
        "120 1:", "130 open 1 2 4", "140 3:", "140 end 1 2 3" } },
    { "a silent one is passed over",
      LOOKUP_NODES,
      2,
      "1 2 8",
      { "0 > 1 2", "10 2: 1 8", "20 1!", "20 > 8", "30 8: 1 2", "30 end 2 8" } },
    { "behind the dead nobody is looked for whom answers would have named",
      LOOKUP_NODES,
      2,
      "1 2 8",
      { "0 > 1 2", "10 2: 1 8 20 21 22 23 24 25", "20 1!", "20 > 8", "30 8: 1 2", "30 end 2 8" } },
    { "but where they name dead ones only it is asked who is farther on",
      LOOKUP_NODES,
      2,
      "2 40",
      { "0 > 2 40", "1 40:",          "10 2: 1 3 4 5 6 7 8 9",
        "10 > 1",   "11 1!",          "11 > 3",
        "11 3!",    "11 > 4",         "11 4!",
        "11 > 5",   "11 5!",          "11 > 6",
        "11 6!",    "11 > 7",         "11 7!",
        "11 > 8",   "11 8!",          "11 > 9",
        "11 9!",    "14 > 2~ 2~ 40~", "15 2~:",
        "16 40~:",  "114 >",          "114 end 2 40" } },
    { "by somebody who lives there, once one is known",
      LOOKUP_NODES,
      2,
      "2 40",
      { "0 > 2 40",   "1 40:",          "10 2: 1 3 4 5 6 7 8 9",
        "10 > 1",     "11 1!",          "11 > 3",
        "11 3!",      "11 > 4",         "11 4!",
        "11 > 5",     "11 5!",          "11 > 6",
        "11 6!",      "11 > 7",         "11 7!",
        "11 > 8",     "11 8!",          "11 > 9",
        "11 9!",      "14 > 2~ 2~ 40~", "15 2~: 20",
        "15 > 20",    "16 20:",         "16 > 20~",
        "17 20~: 18", "17 > 18",        "18 18:",
        "116 >",      "116 end 2 18" } },
    { "a refusal is as good as silence",
      LOOKUP_NODES,
      1,
      "1 2",
      { "0 > 1", "10 1?", "10 > 2", "20 2:", "20 end 2" } },
    { "who does not know get is asked for nodes, and is no result",
      LOOKUP_VALUE,
      1,
      "5",
      { "0 > 5", "10 5?", "10 > 5", "20 5: 3", "20 > 3", "30 3:", "30 end 3" } },
    { "what was not sent is asked again",
      LOOKUP_NODES,
      1,
      "1",
      { "0 > 1", "1 1/", "1 open", "2 > 1", "3 1:", "3 end 1" } },
    { "another node at the address takes the place by its own id",
      LOOKUP_NODES,
      1,
      "5",
      { "0 > 5", "10 5=7: 6", "10 > 6", "20 6:", "20 end 6" } },
    { "a known node at another's address is no second one",
      LOOKUP_NODES,
      2,
      "5 7",
      { "0 > 5 7", "10 7:", "11 5=7:", "11 end 7" } },
    { "nothing nearer: the rest of the k are asked together",
      LOOKUP_NODES,
      8,
      "1 2 3 4 5 6 7 8 9",
      { "0 > 1 2 3", "10 1: 2 3", "10 > 4 5 6 7 8" } },
    { "a second answer to one query is ignored",
      LOOKUP_NODES,
      2,
      "4 6",
      { "0 > 4 6", "10 4: 6", "11 4: 1", "11 >", "12 6:", "12 end 4 6" } },
};

static void runs(void **state)
{
    const struct trace *trace = *state;
    struct world world;

    begin(&world, trace->kind, trace->k, trace->seeds);
    for (unsigned i = 0; i < LINES_MAX && trace->lines[i] != NULL; i++) {
        play(&world, trace->lines[i]);
    }
    lookup_free(&world.lookup);
}

/* ---- exact among the dead ---- */

#define NETWORK_MAX 2000

static const struct network {
    const char *what;
    unsigned nodes, k, dead_percent;
    unsigned queries_mean; /* at most */
    unsigned liars_percent;
    unsigned wrong_max; /* of 100 lookups */
} networks[] = {
    { "one closest", 1000, 1, 30, 12, 0, 0 },
    { "8 closest, all alive: nobody is asked in vain", 1000, 8, 0, 12, 0, 0 },
    { "8 closest, 30 % dead", 1000, 8, 30, 22, 0, 0 },
    { "20 closest, all alive", 1000, 20, 0, 50, 0, 0 },
    { "20 closest, 30 % dead", 1000, 20, 30, 60, 0, 0 },
    { "20 closest, half dead", 2000, 20, 50, 80, 0, 0 },
    { "32 closest, 30 % dead", 1000, 32, 30, 80, 0, 0 },
    { "20 closest of 30", 30, 20, 30, 40, 0, 0 },
    /* Who is the only one to tell of a part can hide it; several paths are the answer to that. */
    { "20 closest, 2 % name made-up nodes beside what is asked", 1000, 20, 0, 60, 2, 1 },
    { "20 closest, 5 % do", 1000, 20, 0, 70, 5, 9 },
    { "20 closest, 5 % do, 30 % dead", 1000, 20, 30, 100, 5, 18 },
    { "20 closest of 15, 10 % do", 15, 20, 0, 50, 10, 9 },
};

enum fate { LIVES, DEAD, LIES };

static void draw(struct contact *nodes, enum fate *fates, const struct network *row,
                 struct random *random)
{
    for (unsigned i = 0; i < row->nodes; i++) {
        nodes[i].id = node_id_random(random);
        nodes[i].address = address_v4(10, 0, (uint8_t)(i >> 8), (uint8_t)i, 6881);
        fates[i] = random_below(random, 100) < row->dead_percent ? DEAD : LIVES;
        if (row->liars_percent > 0 && random_below(random, 100) < row->liars_percent) {
            fates[i] = LIES;
        }
    }
}

static struct node_id sort_target;

static int compare_distances(const void *a, const void *b)
{
    return node_id_compare_distance(&sort_target, &((const struct contact *)a)->id,
                                    &((const struct contact *)b)->id);
}

/* The count nodes nearest to an id, but for one. */
static size_t nearest(const struct contact *nodes, unsigned count, const struct node_id *id,
                      const struct contact *but, struct contact *ret_nearest)
{
    size_t found = 0;

    for (unsigned i = 0; i < count; i++) {
        size_t at = found < PROOF_ANSWER_FULL ? found++ : PROOF_ANSWER_FULL;
        if (address_equal(&nodes[i].address, &but->address)) {
            found -= at < PROOF_ANSWER_FULL;
            continue;
        }
        for (; at > 0 && node_id_compare_distance(id, &nodes[i].id, &ret_nearest[at - 1].id) < 0;
             at--) {
            if (at < PROOF_ANSWER_FULL) {
                ret_nearest[at] = ret_nearest[at - 1];
            }
        }
        if (at < PROOF_ANSWER_FULL) {
            ret_nearest[at] = nodes[i];
        }
    }
    return found;
}

/* Nodes beside an id that are not there. */
static size_t make_up(unsigned liar, const struct node_id *id, struct contact *ret_named)
{
    for (unsigned i = 0; i < PROOF_ANSWER_FULL; i++) {
        ret_named[i].id = *id;
        ret_named[i].id.bytes[NODE_ID_SIZE - 1] ^= (uint8_t)(1 << i);
        ret_named[i].address = address_v4(10, 99, id->bytes[0], id->bytes[1], 1);
        ret_named[i].address.port = (uint16_t)(1 + 8 * liar + i);
    }
    return PROOF_ANSWER_FULL;
}

/* Every node knows all others, alive or not, and names 8. */
static void look_up(struct lookup *lookup, const struct contact *nodes, const enum fate *fates,
                    unsigned count)
{
    struct contact named[PROOF_ANSWER_FULL];
    struct query query;

    for (uint64_t now_ms = 0; !lookup_is_finished(lookup); now_ms += 10) {
        while (lookup_next(lookup, now_ms, &query)) {
            unsigned n = (unsigned)query.to.ip[14] << 8 | query.to.ip[15];
            struct reply reply = { .outcome = REPLY_SILENT, .nodes = named };
            if (query.to.ip[13] == 0 && fates[n] != DEAD) {
                reply.outcome = REPLY_ANSWERED;
                reply.id = nodes[n].id;
                reply.nodes_count = fates[n] == LIES
                                        ? make_up(n, &query.target, named)
                                        : nearest(nodes, count, &query.target, &nodes[n], named);
            }
            lookup_reply(lookup, query.ticket, &reply);
        }
        assert_true(now_ms < 100000);
    }
}

static size_t live_by_distance(const struct network *row, const struct contact *nodes,
                               const enum fate *fates, const struct node_id *target,
                               struct contact *ret_sorted)
{
    size_t live = 0;

    for (unsigned j = 0; j < row->nodes; j++) {
        if (fates[j] != DEAD) {
            ret_sorted[live++] = nodes[j];
        }
    }
    sort_target = *target;
    qsort(ret_sorted, live, sizeof(*ret_sorted), compare_distances);
    return live;
}

static bool is_same(const struct candidate *const *closest, size_t count,
                    const struct contact *expected)
{
    for (size_t i = 0; i < count; i++) {
        if (!node_id_equal(&closest[i]->contact.id, &expected[i].id)) {
            return false;
        }
    }
    return true;
}

static void is_exact(void **state)
{
    static struct contact nodes[NETWORK_MAX], sorted[NETWORK_MAX];
    static enum fate fates[NETWORK_MAX];
    const struct network *row = *state;
    const struct candidate *closest[LOOKUP_K_MAX];
    struct node_id self = node(SELF).id;
    struct random random;
    unsigned queries = 0, wrong = 0;

    random_init(&random, 3);
    draw(nodes, fates, row, &random);
    for (unsigned i = 0; i < 100; i++) {
        struct lookup_aim aim = { .kind = LOOKUP_NODES, .k = row->k };
        aim.target = node_id_random(&random);
        struct lookup *lookup = lookup_new(&self, &aim, ROUTING_V4);
        for (unsigned j = 0; j < 8;) {
            unsigned n = (unsigned)random_below(&random, row->nodes);
            lookup_seed(lookup, &nodes[n]);
            j += fates[n] == LIVES;
        }
        lookup_start(lookup);
        look_up(lookup, nodes, fates, row->nodes);
        size_t count = lookup_closest(lookup, closest, LOOKUP_K_MAX);
        size_t live = live_by_distance(row, nodes, fates, &aim.target, sorted);
        wrong += count != (live < row->k ? live : row->k) || !is_same(closest, count, sorted);
        queries += lookup->queries;
        lookup_free(&lookup);
    }
    if (wrong > row->wrong_max || queries > 100 * row->queries_mean) {
        fail_msg("%u queries for 100 lookups, %u of them wrong", queries, wrong);
    }
}

/* ---- the rest ---- */

/* THREATS 2.3: who names a node at a wrong address does not hide it. */
static void a_node_is_asked_at_each_address_it_is_said_to_have(void **state)
{
    struct contact wrong = node(3), right = node(3), seeds[] = { node(1), node(2) };
    struct reply answer = { .outcome = REPLY_ANSWERED, .nodes_count = 1 };
    const struct reply silent = { .outcome = REPLY_SILENT };
    const struct candidate *closest[4];
    struct query query[3];
    struct world world;

    (void)state;
    wrong.address.ip[14] = 9;
    begin(&world, LOOKUP_NODES, 4, "1 2");
    assert_true(lookup_next(world.lookup, 0, &query[0]));
    assert_true(lookup_next(world.lookup, 0, &query[1]));
    for (unsigned i = 0; i < 2; i++) {
        answer.id = seeds[i].id;
        answer.nodes = i == 0 ? &wrong : &right;
        lookup_reply(world.lookup, query[i].ticket, &answer);
    }
    assert_true(lookup_next(world.lookup, 0, &query[2]));
    assert_true(address_equal(&query[2].to, &wrong.address));
    assert_false(lookup_next(world.lookup, 0, &query[0]));
    lookup_reply(world.lookup, query[2].ticket, &silent);
    assert_true(lookup_next(world.lookup, 0, &query[2]));
    assert_true(address_equal(&query[2].to, &right.address));
    answer = (struct reply){ .outcome = REPLY_ANSWERED, .id = right.id, .nodes = &wrong };
    answer.nodes_count = 1;
    lookup_reply(world.lookup, query[2].ticket, &answer);
    assert_false(lookup_next(world.lookup, 0, &query[2])); /* nor where it was asked before */
    assert_true(lookup_is_finished(world.lookup));
    assert_int_equal(lookup_closest(world.lookup, closest, 4), 3);
    lookup_free(&world.lookup);
}

static void a_suspect_is_not_waited_for(void **state)
{
    struct world world;
    struct query query;

    (void)state;
    begin(&world, LOOKUP_NODES, 1, "1");
    assert_true(lookup_next(world.lookup, 0, &query));
    lookup_suspect(world.lookup, query.ticket);
    assert_int_equal(lookup_deadline_ms(world.lookup), SLOW_MS);
    assert_false(lookup_next(world.lookup, SLOW_MS - 1, &query));
    assert_false(lookup_is_finished(world.lookup));
    assert_false(lookup_next(world.lookup, SLOW_MS, &query));
    assert_true(lookup_is_finished(world.lookup));
    lookup_free(&world.lookup);
}

static void peers_and_tokens_are_gathered(void **state)
{
    const struct address peers[] = { address_v4(10, 1, 0, 1, 1), address_v4(10, 1, 0, 2, 2),
                                     address_v4(10, 1, 0, 1, 1) };
    const struct candidate *closest;
    struct world world;
    struct query query;

    (void)state;
    begin(&world, LOOKUP_PEERS, 1, "1");
    assert_true(lookup_next(world.lookup, 0, &query));
    assert_int_equal(query.method, QUERY_GET_PEERS);
    struct reply reply = { .outcome = REPLY_ANSWERED,
                           .id = node(1).id,
                           .peers = peers,
                           .peers_count = 3,
                           .token = bytes_of_text("tok") };
    lookup_reply(world.lookup, query.ticket, &reply);
    assert_true(lookup_is_finished(world.lookup));
    assert_int_equal(world.lookup->findings.peers_count, 2);
    assert_int_equal(lookup_closest(world.lookup, &closest, 1), 1);
    assert_int_equal(closest->token_size, 3);
    assert_memory_equal(closest->token, "tok", 3);
    lookup_free(&world.lookup);
}

static void items_are_gathered_once_each(void **state)
{
    struct found_item items[] = { { .value = bytes_of_text("1:a") },
                                  { .value = bytes_of_text("1:b"), .seq = 7 },
                                  { .value = bytes_of_text("1:a") } };
    const struct candidate *closest[3];
    struct world world;
    struct query query;

    (void)state;
    begin(&world, LOOKUP_VALUE, 3, "1 2 3");
    while (lookup_next(world.lookup, 0, &query)) {
        unsigned n = query.to.ip[15];
        struct reply reply = { .outcome = REPLY_ANSWERED, .id = node(n).id, .item = &items[n - 1] };
        assert_int_equal(query.method, QUERY_GET);
        lookup_reply(world.lookup, query.ticket, &reply);
    }
    assert_true(lookup_is_finished(world.lookup));
    assert_int_equal(world.lookup->findings.items_count, 2);
    assert_int_equal(lookup_closest(world.lookup, closest, 3), 3);
    assert_true(closest[1]->has_item);
    assert_int_equal(closest[1]->item_seq, 7);
    lookup_free(&world.lookup);
}

/* Who holds what we hold says so, and need not send it. */
static void what_is_stored_but_not_sent_is_no_finding(void **state)
{
    const struct lookup_aim aim = {
        .kind = LOOKUP_VALUE, .k = 2, .has_seq = true, .seq = 7, .check_s = 600
    };
    const struct found_item items[] = { { .seq = 7 }, { .value = bytes_of_text("1:b"), .seq = 8 } };
    const struct candidate *closest[2];
    struct world world;
    struct query query;

    (void)state;
    begin_for(&world, &aim, "1 2");
    while (lookup_next(world.lookup, 0, &query)) {
        unsigned n = query.to.ip[15];
        struct reply reply = {
            .outcome = REPLY_ANSWERED, .id = node(n).id, .item = &items[n - 1], .littlebird = n == 1
        };
        assert_true(query.has_seq);
        assert_int_equal(query.seq, 7);
        assert_int_equal(query.check_s, 600);
        lookup_reply(world.lookup, query.ticket, &reply);
    }
    assert_int_equal(world.lookup->findings.items_count, 1);
    assert_int_equal(world.lookup->findings.items[0]->item.seq, 8);
    assert_int_equal(lookup_closest(world.lookup, closest, 2), 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(closest[i]->has_item);
        assert_int_equal(closest[i]->item_seq, 7 + i);
        assert_int_equal(closest[i]->littlebird, i == 0);
    }
    lookup_free(&world.lookup);
}

/* How long it still lives is no part of an item: holders may differ by some seconds. */
static void the_longest_life_of_an_item_is_told(void **state)
{
    struct findings findings = { 0 };
    struct found_item item = { .value = bytes_of_text("1:a") };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        item.ttl_s = i == 1 ? 100 : 99;
        assert_true(findings_add_item(&findings, &item));
    }
    assert_int_equal(findings.items_count, 1);
    assert_int_equal(findings.items[0]->item.ttl_s, 100);
    findings_done(&findings);
}

static void items_beyond_their_limits_are_left_out(void **state)
{
    static uint8_t bytes[1001];
    struct findings findings = { 0 };
    struct found_item value = { .value = bytes_of(bytes, 1001) };
    struct found_item salt = { .value = bytes_of(bytes, 3), .salt = bytes_of(bytes, 65) };
    struct found_item key = { .value = bytes_of(bytes, 3), .public_key = bytes_of(bytes, 31) };

    (void)state;
    assert_false(findings_add_item(&findings, &value));
    assert_false(findings_add_item(&findings, &salt));
    assert_false(findings_add_item(&findings, &key));
    assert_int_equal(findings.items_count, 0);
    findings_done(&findings);
}

static void what_is_gathered_is_bounded(void **state)
{
    struct findings findings = { 0 };

    (void)state;
    for (unsigned i = 0; i < 2 * FINDINGS_PEERS_MAX; i++) {
        struct address peer = address_v4(10, 2, (uint8_t)(i >> 8), (uint8_t)i, 1);
        uint8_t value[2] = { (uint8_t)(i >> 8), (uint8_t)i };
        struct found_item item = { .value = bytes_of(value, 2) };
        findings_add_peer(&findings, &peer);
        (void)findings_add_item(&findings, &item);
    }
    assert_int_equal(findings.peers_count, FINDINGS_PEERS_MAX);
    assert_int_equal(findings.items_count, FINDINGS_ITEMS_MAX);
    findings_done(&findings);
}

/* THREATS I5: a liar who always names nearer, silent nodes does not keep us busy for ever. */
static void endless_lies_end(void **state)
{
    struct world world;
    struct query query;
    uint64_t now_ms = 0;
    unsigned queries = 0;
    uint8_t next = 0;

    (void)state;
    begin(&world, LOOKUP_NODES, 8, "249");
    while (!lookup_is_finished(world.lookup)) {
        while (lookup_next(world.lookup, now_ms, &query)) {
            struct contact lies[LOOKUP_REPLY_NODES_MAX];
            struct reply reply = { .outcome = REPLY_ANSWERED, .id = query.id, .nodes = lies };
            queries++;
            for (unsigned i = 0; i < LOOKUP_REPLY_NODES_MAX; i++) {
                lies[i] = node(1);
                lies[i].id.bytes[5] = (uint8_t)(255 - queries);
                lies[i].id.bytes[18] = (uint8_t)i;
                lies[i].address.port = (uint16_t)(1000 + 100 * queries + i);
                lies[i].address.ip[14] = next++;
            }
            reply.nodes_count = LOOKUP_REPLY_NODES_MAX;
            lookup_reply(world.lookup, query.ticket, &reply);
        }
        now_ms += SLOW_MS;
        assert_true(now_ms < 1000000);
    }
    assert_true(queries <= LOOKUP_QUERIES_MAX);
    lookup_free(&world.lookup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_is_asked_at_each_address_it_is_said_to_have),
        cmocka_unit_test(a_suspect_is_not_waited_for),
        cmocka_unit_test(peers_and_tokens_are_gathered),
        cmocka_unit_test(items_are_gathered_once_each),
        cmocka_unit_test(what_is_stored_but_not_sent_is_no_finding),
        cmocka_unit_test(the_longest_life_of_an_item_is_told),
        cmocka_unit_test(items_beyond_their_limits_are_left_out),
        cmocka_unit_test(what_is_gathered_is_bounded),
        cmocka_unit_test(endless_lies_end),
    };

    return RUN_ROWS(traces, runs) + RUN_ROWS(networks, is_exact) +
           cmocka_run_group_tests(tests, NULL, NULL);
}
