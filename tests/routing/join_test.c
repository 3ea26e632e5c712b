/*
 * Traces on virtual time, a line a moment:
 *
 *     "0 0/0/0 > a1 a2"  with 0 contacts, 0 of them live, depth 0, exactly this is wanted: seeds 1
 *                        and 2 asked; "s": our own id looked up, "w": widely; "b3": a random id of
 *                        bucket 3
 *     "10 done 1"        seed 1 was asked, whatever came      "10 unsent 1"  it could not be asked
 *     "10 self 7 8"      the lookup of our own id found these  "10 bucket"    one of a bucket ended
 *     "10 joined"        we count as joined                   "10 apart"     we do not
 *     "10 due 1125 1875" join_deadline_ms() is from the first to the second
 */
#include "services/routing/join.h"

#include "libcommon/random.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 32

struct world {
    struct random random;
    struct join join;
};

static struct address seed(unsigned n)
{
    return address_v4(10, 0, 0, (uint8_t)n, 6881);
}

static void begin(struct world *world, unsigned bootstraps, unsigned others)
{
    random_init(&world->random, 1);
    join_init(&world->join, bootstraps > 0, &world->random);
    for (unsigned i = 1; i <= bootstraps + others; i++) {
        struct address address = seed(i);
        join_add_seed(&world->join, &address, i <= bootstraps);
    }
}

static void steps(struct world *world, const struct join_view *view, uint64_t now_ms,
                  char *ret_text, size_t size)
{
    struct join_order order;
    size_t length = 0;

    ret_text[0] = '\0';
    for (;;) {
        switch (join_next(&world->join, view, now_ms, &order)) {
        case JOIN_NOTHING:
            return;
        case JOIN_ASK:
            length +=
                (size_t)snprintf(ret_text + length, size - length, " a%u", order.address.ip[15]);
            assert_int_equal(order.seed + 1, order.address.ip[15]);
            break;
        case JOIN_FIND_SELF:
            length += (size_t)snprintf(ret_text + length, size - length, " %c",
                                       order.is_wide ? 'w' : 's');
            break;
        case JOIN_FIND_BUCKET:
            length += (size_t)snprintf(ret_text + length, size - length, " b%u", order.bucket);
            break;
        }
    }
}

static void found_self(struct world *world, const char *numbers, uint64_t now_ms)
{
    struct node_id ids[16];
    size_t count = 0;
    char *rest;

    memset(ids, 0, sizeof(ids));
    for (unsigned long n = strtoul(numbers, &rest, 10); n != 0; n = strtoul(rest, &rest, 10)) {
        ids[count++].bytes[0] = (uint8_t)n;
    }
    join_found_self(&world->join, ids, count, now_ms);
}

static void play(struct world *world, const char *line)
{
    unsigned long long now_ms, from, to;
    struct join_view view;
    char text[256];
    unsigned number;
    int at = 0;

    if (sscanf(line, "%llu %zu/%zu/%u >%n", &now_ms, &view.contacts, &view.live, &view.depth,
               &at) == 4 &&
        at > 0) {
        steps(world, &view, now_ms, text, sizeof(text));
        if (strcmp(text, line + at) != 0) {
            fail_msg("'%s': wanted was%s", line, text);
        }
    } else if (sscanf(line, "%llu done %u", &now_ms, &number) == 2) {
        join_asked(&world->join, number - 1, true);
    } else if (sscanf(line, "%llu unsent %u", &now_ms, &number) == 2) {
        join_asked(&world->join, number - 1, false);
    } else if (sscanf(line, "%llu due %llu %llu", &now_ms, &from, &to) == 3) {
        uint64_t due_ms = join_deadline_ms(&world->join);
        if (due_ms < from || due_ms > to) {
            fail_msg("'%s': due is %llu", line, (unsigned long long)due_ms);
        }
    } else if (strstr(line, "self") != NULL) {
        found_self(world, strstr(line, "self") + 4, strtoull(line, NULL, 10));
    } else if (strstr(line, "bucket") != NULL) {
        join_found_bucket(&world->join);
    } else if (join_is_joined(&world->join) != (strstr(line, "joined") != NULL)) {
        fail_msg("'%s': it is not so", line);
    }
}

static const struct trace {
    const char *what;
    unsigned bootstraps, others;
    const char *lines[LINES_MAX];
} traces[] = {
    { "the first node is joined as it is", 0, 0, { "0 0/0/0 >", "0 joined" } },
    { "and looks around when somebody comes",
      0,
      0,
      { "0 0/0/0 >", "500 1/1/2 > s", "500 joined", "510 self 7", "510 1/1/2 > b0 b1",
        "510 joined" } },
    { "through a bootstrap node: itself, then the buckets up to its nearest neighbour's",
      1,
      0,
      { "0 0/0/0 > a1", "0 apart", "20 done 1", "20 1/1/3 > s", "20 apart", "30 self 5 6",
        "30 joined", "30 6/6/4 > b0 b1 b2", "31 bucket", "31 6/6/4 > b3", "32 6/6/4 >" } },
    { "alone it asks again after 1 s, 2 s, 4 s, 8 s, about",
      1,
      0,
      { "0 0/0/0 > a1", "0 due 99999999 18446744073709551615", "1000 done 1", "1000 0/0/0 >",
        "1000 due 1750 2250", "2250 0/0/0 > a1", "3000 done 1", "3000 0/0/0 >",
        "3000 due 4500 5500", "5500 0/0/0 > a1", "6000 done 1", "6000 0/0/0 >",
        "6000 due 9000 11000", "11000 0/0/0 > a1", "12000 done 1", "12000 0/0/0 >",
        "12000 due 18000 22000" } },
    { "a question that could not be put is put again at once",
      1,
      0,
      { "0 0/0/0 > a1", "1 unsent 1", "1 due 0 0", "50 0/0/0 > a1" } },
    { "bootstrap nodes first, then those of the snapshot",
      1,
      3,
      { "0 0/0/0 > a1 a2 a3 a4", "9 done 2", "9 done 3", "9 0/0/0 >", "9 apart" } },
    { "a snapshot of the dead leaves a node without bootstrap content, but still asking",
      0,
      2,
      { "0 0/0/0 > a1 a2", "0 apart", "2000 done 1", "2000 done 2", "2000 0/0/0 >", "2000 joined",
        "2000 due 2750 3250", "3250 0/0/0 > a1 a2" } },
    { "once somebody answered seeds are asked with more patience",
      0,
      12,
      { "0 0/0/0 > a1 a2 a3 a4 a5 a6 a7 a8 a9 a10 a11 a12", "1 done 1", "1 1/1/1 > s" } },
    { "its own id is looked up again, once widely, soon while that finds new nodes, then less and "
      "less",
      0,
      0,
      { "0 1/1/0 > s", "10 self 5", "10 due 1135 1885", "2000 1/1/0 > w", "2010 self 5 6",
        "2010 due 3135 3885", "4000 1/1/0 > s", "4010 self 6 5", "4010 due 6260 7760",
        "8000 1/1/0 > s", "8010 self 5 6", "8010 due 12510 15510" } },
    { "it looks widely again soon after, and each time once it is settled",
      0,
      0,
      { "0 1/1/0 > s",       "1 self 5",       "2000 1/1/0 > w",    "2001 self 5",
        "10000 1/1/0 > s",   "10001 self 5",   "20000 1/1/0 > s",   "20001 self 5",
        "50000 1/1/0 > w",   "50001 self 5",   "90000 1/1/0 > s",   "90001 self 5",
        "200000 1/1/0 > s",  "200001 self 5",  "400000 1/1/0 > s",  "400001 self 5",
        "800000 1/1/0 > s",  "800001 self 5",  "1600000 1/1/0 > s", "1600001 self 5",
        "3200000 1/1/0 > s", "3200001 self 5", "6400000 1/1/0 > w" } },
    { "when all fall silent every seed is asked again",
      1,
      1,
      { "0 0/0/0 > a1 a2", "1 done 1", "1 done 2", "1 2/2/0 > s", "9 self 1 2", "60000 2/0/0 > w",
        "60000 due 60750 61250", "60001 self", "61250 2/0/0 > a1 a2" } },
    { "bootstrap nodes are asked again now and then in any case",
      1,
      1,
      { "0 0/0/0 > a1 a2", "1 done 1", "1 done 2", "1 2/2/0 > s", "2000000 2/2/0 > a1" } },
};

static void runs(void **state)
{
    const struct trace *trace = *state;
    struct world world;

    begin(&world, trace->bootstraps, trace->others);
    for (unsigned i = 0; i < LINES_MAX && trace->lines[i] != NULL; i++) {
        play(&world, trace->lines[i]);
    }
    join_done(&world.join);
}

static void seeds_are_bounded_and_asked_in_a_window(void **state)
{
    const struct join_view nobody = { 0, 0, 0 };
    struct join_order order;
    struct world world;
    unsigned asked = 0;

    (void)state;
    begin(&world, 0, 0);
    for (unsigned i = 0; i < 2 * JOIN_SEEDS_MAX; i++) {
        struct address address = address_v4(10, 1, (uint8_t)(i >> 8), (uint8_t)i, 6881);
        join_add_seed(&world.join, &address, false);
        join_add_seed(&world.join, &address, false);
    }
    assert_int_equal(world.join.seeds_count, JOIN_SEEDS_MAX);
    while (join_next(&world.join, &nobody, 0, &order) == JOIN_ASK) {
        asked++;
    }
    assert_int_equal(asked, JOIN_ASKS_MAX);
    join_done(&world.join);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seeds_are_bounded_and_asked_in_a_window),
    };

    return RUN_ROWS(traces, runs) + cmocka_run_group_tests(tests, NULL, NULL);
}
