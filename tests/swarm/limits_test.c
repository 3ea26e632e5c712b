/*
 * Limits, on a virtual clock: flows that always want more, the rate each gets over seconds, and how
 * often somebody had to wake up for it.
 */
#include "services/swarm/limits.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK     16384u
#define KB        1000u
#define FLOWS_MAX 64
#define SHARES    3
#define NEVER     UINT64_MAX
#define SECONDS   20u

struct world {
    struct limits limits;
    struct limits_share shares[SHARES];
    struct limits_flow flows[FLOWS_MAX];
    uint64_t moved[FLOWS_MAX];
    bool wants[FLOWS_MAX];
    unsigned flows_count;
    uint64_t now_ms;
    uint64_t wakes;
    size_t most; /* blocks a flow asks for at once */
};

static void feed(struct world *world, unsigned i)
{
    if (world->wants[i])
        world->moved[i] += BLOCK * limits_take(&world->flows[i], world->most, BLOCK, world->now_ms);
}

/* Whoever waits is called when its time comes; the others want something every millisecond. */
static void run(struct world *world, uint64_t ms)
{
    for (const uint64_t end = world->now_ms + ms; world->now_ms < end; world->now_ms++) {
        struct limits_flow *flow;

        if (world->now_ms >= limits_deadline_ms(&world->limits)) {
            world->wakes++;
            while ((flow = limits_next(&world->limits, world->now_ms)))
                feed(world, flow->peer);
        }
        for (unsigned i = 0; i < world->flows_count; i++)
            if (!limits_waits(&world->flows[i]))
                feed(world, i);
    }
}

/*
 * node, a, b: kB/s of the node and of torrents a and b, 0: none. subnet: kB/s of 10.2.0.0/16, we
 * are outside, or inside with `inside`. flows: for each "a" or "b", "A" or "B" when its peer is in
 * that subnet. rates: kB/s each of these must get, in the order of flows.
 */
static const struct row {
    const char *what;
    unsigned node, a, b, subnet;
    bool inside;
    unsigned weight_a;
    const char *flows;
    unsigned rates[8];
} rows[] = {
    { "the node's limit is for one", 1000, 0, 0, 0, false, 1, "a", { 1000 } },
    { "a limit smaller than a block a second", 5, 0, 0, 0, false, 1, "a", { 5 } },
    { "a limit of a gigabit", 125000, 0, 0, 0, false, 1, "a", { 125000 } },
    { "peers share it evenly", 1000, 0, 0, 0, false, 1, "aaaa", { 250, 250, 250, 250 } },
    { "torrents share it evenly, however many peers they have",
      1000,
      0,
      0,
      0,
      false,
      1,
      "aaab",
      { 167, 167, 167, 500 } },
    { "by weight", 1000, 0, 0, 0, false, 4, "ab", { 800, 200 } },
    { "by weight among many", 1000, 0, 0, 0, false, 4, "aabb", { 400, 400, 100, 100 } },
    { "a torrent's own limit", 0, 100, 300, 0, false, 1, "aab", { 50, 50, 300 } },
    { "what one may not take the other gets", 1000, 100, 0, 0, false, 1, "ab", { 100, 900 } },
    { "what crosses the border", 1000, 0, 0, 200, false, 1, "aA", { 800, 200 } },
    { "who is inside together is not held back", 0, 0, 500, 200, true, 1, "aB", { 200, 500 } },
    { "all that crosses shares it", 1000, 0, 0, 200, false, 1, "AAa", { 100, 100, 800 } },
    { "three limits at once", 1000, 600, 0, 200, false, 1, "AaB", { 100, 500, 100 } },
};

static void setup(struct world *world, const struct row *row)
{
    struct subnet_rate subnets[SUBNET_RATE_MAX];
    const struct address outside = address_v4(10, 1, 0, 1, 1);
    const struct address inside = address_v4(10, 2, 0, 1, 1);
    unsigned count = 0;

    memset(world, 0, sizeof(*world));
    world->now_ms = 1000000;
    world->most = 16;
    if (row->subnet > 0) {
        char text[64];

        snprintf(text, sizeof(text), "10.2.0.0/16 %u kB/s", row->subnet);
        assert_int_equal(subnet_rates_parse(text, subnets, &count), LB_OK);
    }
    limits_init(&world->limits, subnets, count, row->inside ? &inside : &outside, 1);
    limits_set(&world->limits, LIMITS_SEND, (uint64_t)row->node * KB, world->now_ms);
    limits_share_init(&world->shares[0], &world->limits, world, row->weight_a);
    limits_share_init(&world->shares[1], &world->limits, world, 1);
    limits_share_set(&world->shares[0], LIMITS_SEND, (uint64_t)row->a * KB, world->now_ms);
    limits_share_set(&world->shares[1], LIMITS_SEND, (uint64_t)row->b * KB, world->now_ms);
    for (const char *flow = row->flows; *flow != '\0'; flow++) {
        const unsigned i = world->flows_count++;
        const bool in = *flow == 'A' || *flow == 'B';

        limits_flow_init(&world->flows[i], &world->shares[*flow == 'b' || *flow == 'B'], i,
                         LIMITS_SEND, in ? &inside : &outside);
        world->wants[i] = true;
    }
}

static void test_rates(void **state)
{
    const struct row *row = *state;
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    setup(world, row);
    run(world, 1000);
    memset(world->moved, 0, sizeof(world->moved));
    run(world, SECONDS * 1000);
    for (unsigned i = 0; i < world->flows_count; i++) {
        const uint64_t wanted = (uint64_t)row->rates[i] * KB * SECONDS;
        const uint64_t off =
            world->moved[i] > wanted ? world->moved[i] - wanted : wanted - world->moved[i];

        /* Within 5 %, or a block. */
        if (off > wanted / 20 && off > BLOCK)
            fail_msg("flow %u: %llu kB/s, not %u", i,
                     (unsigned long long)(world->moved[i] / KB / SECONDS), row->rates[i]);
    }
    assert_true(world->wakes <= (SECONDS + 1) * 1000 / LIMITS_STEP_MS);
    for (unsigned i = 0; i < world->flows_count; i++)
        limits_flow_done(&world->flows[i]);
    assert_true(limits_deadline_ms(&world->limits) == NEVER);
    free(world);
}

static const struct row open_row = { "", 0, 0, 0, 0, false, 1, "aa", { 0 } };

static void without_limits_nobody_waits(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    struct limits_flow free_flow;
    const struct address address = address_v4(10, 1, 0, 1, 1);

    (void)state;
    assert_non_null(world);
    setup(world, &open_row);
    assert_int_equal(limits_take(&world->flows[0], 500, BLOCK, world->now_ms), 500);
    assert_false(limits_waits(&world->flows[0]));
    limits_flow_init(&free_flow, NULL, 0, LIMITS_SEND, &address);
    assert_int_equal(limits_take(&free_flow, 500, BLOCK, world->now_ms), 500);
    limits_give_back(&free_flow, BLOCK);
    limits_flow_done(&free_flow);
    assert_true(limits_deadline_ms(&world->limits) == NEVER);
    free(world);
}

/* Directions have nothing to do with each other. */
static void receiving_is_not_sending(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    const struct address address = address_v4(10, 1, 0, 1, 1);
    struct limits_flow in;

    (void)state;
    assert_non_null(world);
    setup(world, &open_row);
    limits_set(&world->limits, LIMITS_RECEIVE, 1000, world->now_ms);
    limits_flow_init(&in, &world->shares[0], 7, LIMITS_RECEIVE, &address);
    world->now_ms += 1000;
    assert_int_equal(limits_take(&world->flows[0], 10, BLOCK, world->now_ms), 10);
    assert_int_equal(limits_take(&in, 10, BLOCK, world->now_ms), 1);
    assert_true(limits_waits(&in));
    limits_flow_done(&in);
    free(world);
}

/* What was given back may be taken again. */
static void what_did_not_go_counts_not(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    (void)state;
    assert_non_null(world);
    setup(world, &rows[0]);
    world->now_ms += 1000;
    assert_int_equal(limits_take(&world->flows[0], 100, BLOCK, world->now_ms), 7);
    limits_forget(&world->flows[0]);
    limits_give_back(&world->flows[0], 7 * BLOCK);
    assert_int_equal(limits_take(&world->flows[0], 100, BLOCK, world->now_ms), 7);
    limits_flow_done(&world->flows[0]);
    free(world);
}

static void what_goes_untaken_is_waited_for(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    (void)state;
    assert_non_null(world);
    setup(world, &rows[0]);
    world->now_ms += 1000;
    assert_int_equal(limits_take(&world->flows[0], 1, BLOCK, world->now_ms), 1);
    limits_charge(&world->flows[0], 5 * BLOCK);
    assert_int_equal(limits_take(&world->flows[0], 100, BLOCK, world->now_ms), 1);
    limits_flow_done(&world->flows[0]);
    free(world);
}

/* A new rate holds at once, also for those who wait for the old one; none lets all go. */
static void a_change_is_felt_at_once(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    uint64_t before;

    (void)state;
    assert_non_null(world);
    setup(world, &rows[1]);
    run(world, 2000);
    limits_set(&world->limits, LIMITS_SEND, 1000 * KB, world->now_ms);
    before = world->moved[0];
    run(world, 1000);
    assert_in_range(world->moved[0] - before, 900 * KB, 1150 * KB);
    limits_set(&world->limits, LIMITS_SEND, 0, world->now_ms);
    before = world->moved[0];
    run(world, 10);
    assert_in_range(world->moved[0] - before, 150 * BLOCK, 180 * BLOCK);
    limits_flow_done(&world->flows[0]);
    free(world);
}

/* Who had nothing to send for long has saved up no more than a moment's worth. */
static void a_pause_is_not_saved_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    uint64_t before;

    (void)state;
    assert_non_null(world);
    setup(world, &rows[3]);
    world->wants[3] = false;
    run(world, 5000);
    world->wants[3] = true;
    before = world->moved[3];
    run(world, 1000);
    assert_in_range(world->moved[3] - before, 200 * KB, 300 * KB);
    world->now_ms += 90000000;
    before = world->moved[0] + world->moved[1] + world->moved[2] + world->moved[3];
    run(world, 1000);
    assert_in_range(world->moved[0] + world->moved[1] + world->moved[2] + world->moved[3] - before,
                    1000 * KB, 1200 * KB);
    for (unsigned i = 0; i < 4; i++)
        limits_flow_done(&world->flows[i]);
    free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_limits_nobody_waits),
        cmocka_unit_test(receiving_is_not_sending),
        cmocka_unit_test(what_did_not_go_counts_not),
        cmocka_unit_test(what_goes_untaken_is_waited_for),
        cmocka_unit_test(a_change_is_felt_at_once),
        cmocka_unit_test(a_pause_is_not_saved_up),
    };

    return RUN_ROWS(rows, test_rates) + cmocka_run_group_tests(tests, NULL, NULL);
}
