/*
 * Whom a seed gives which piece: peers are drawn as letters, pieces as digits. A row says who has
 * gifts under way and since when, and who is given the next piece.
 */
#include "libcommon/random.h"
#include "services/swarm/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PIECES     10u
#define START_MS   100000u
#define PIECE_SIZE 65536u

/* ---- who ---- */

static const struct choice {
    const char *what;
    struct plan_peer peers[5]; /* under_way, given_ms, latency_ms */
    uint32_t count;
    uint32_t chosen;
} choices[] = {
    { "nobody is nobody", { { 0 } }, 0, PLAN_NOBODY },
    { "one alone is it, however slow", { { .under_way = 9, .latency_ms = 9999 } }, 1, 0 },
    { "who never had one comes before who had",
      { { .given_ms = 5 }, { .given_ms = 0 }, { .given_ms = 7 } },
      3,
      1 },
    { "who waited longest is next",
      { { .given_ms = 8 }, { .given_ms = 3 }, { .given_ms = 5 } },
      3,
      1 },
    { "who has least under way is next, however long others waited",
      { { .under_way = 2, .given_ms = 1 }, { .under_way = 1, .given_ms = 9 } },
      2,
      1 },
    { "four times the usual time is not slow yet",
      { { .latency_ms = 400 },
        { .latency_ms = 100, .given_ms = 9 },
        { .latency_ms = 100, .given_ms = 9 } },
      3,
      0 },
    { "who takes five times as long waits for the others",
      { { .latency_ms = 500 },
        { .latency_ms = 100, .under_way = 3 },
        { .latency_ms = 100, .under_way = 2 } },
      3,
      2 },
    { "one quick one makes nobody slow",
      { { .latency_ms = 10, .given_ms = 9 },
        { .latency_ms = 100 },
        { .latency_ms = 100, .given_ms = 9 } },
      3,
      1 },
};

static void test_choose(void **state)
{
    const struct choice *row = *state;
    struct plan_peer peers[5];
    memcpy(peers, row->peers, sizeof peers);
    plan_rank(peers, row->count);
    assert_int_equal(plan_choose(peers, row->count), row->chosen);
}

/* ---- what ---- */

static void plan_new(struct plan *plan)
{
    struct random random;
    random_init(&random, 7);
    plan_init(plan, PIECES, PIECE_SIZE, &random);
}

/* How many pieces it would give one after the other. */
static uint32_t give_all(struct plan *plan, const uint16_t *available, uint32_t peer)
{
    uint32_t count = 0;
    uint32_t piece = 0;
    while ((piece = plan_piece(plan, available)) != PLAN_NOBODY) {
        assert_int_equal(available[piece], 0);
        plan_give(plan, piece, peer, START_MS);
        count++;
    }
    return count;
}

static void test_each_piece_once(void **state)
{
    (void)state;
    struct plan plan;
    const uint16_t available[PIECES] = { 0, 0, 1, 0, 2 };
    plan_new(&plan);
    assert_int_equal(give_all(&plan, available, 1), PIECES - 2);
    assert_int_equal(plan_under_way(&plan, 1), PIECES - 2);
    plan_done(&plan);
}

static void test_another_seed_gives_it(void **state)
{
    (void)state;
    struct plan plan;
    const uint16_t available[PIECES] = { 0 };
    plan_new(&plan);
    plan_taken(&plan, 3, 5, START_MS);
    plan_taken(&plan, 3, 5, START_MS);
    plan_taken(&plan, PIECES, 5, START_MS);
    assert_int_equal(give_all(&plan, available, 1), PIECES - 1);
    /* The peer that was to get it there is gone: it waits again. */
    plan_left(&plan, 5);
    assert_int_equal(plan_piece(&plan, available), 3);
    plan_done(&plan);
}

static void test_who_leaves_gives_back(void **state)
{
    (void)state;
    struct plan plan;
    const uint16_t available[PIECES] = { 0 };
    plan_new(&plan);
    assert_int_equal(give_all(&plan, available, 1), PIECES);
    plan_left(&plan, 2);
    assert_int_equal(plan_piece(&plan, available), PLAN_NOBODY);
    plan_left(&plan, 1);
    assert_int_equal(give_all(&plan, available, 2), PIECES);
    plan_done(&plan);
}

static void test_what_came_is_timed(void **state)
{
    (void)state;
    struct plan plan;
    uint32_t ms = 0;
    plan_new(&plan);
    plan_give(&plan, 4, 1, START_MS);
    plan_give(&plan, 5, 1, START_MS);
    assert_false(plan_came(&plan, 6, 1, START_MS + 10, &ms));
    assert_true(plan_came(&plan, 4, 1, START_MS + 30, &ms));
    assert_int_equal(ms, 30);
    /* Somebody else has it first: it is out all the same. */
    assert_false(plan_came(&plan, 5, 2, START_MS + 40, &ms));
    assert_int_equal(plan_under_way(&plan, 1), 0);
    plan_done(&plan);
}

static void test_a_gift_is_lost(void **state)
{
    (void)state;
    struct plan plan;
    const uint16_t available[PIECES] = { 0 };
    plan_new(&plan);
    assert_int_equal(give_all(&plan, available, 1), PIECES);
    plan_turn(&plan, START_MS + PLAN_LOST_FACTOR * PLAN_STALE_MS - 1);
    assert_int_equal(plan_piece(&plan, available), PLAN_NOBODY);
    plan_turn(&plan, START_MS + PLAN_LOST_FACTOR * PLAN_STALE_MS);
    assert_int_equal(give_all(&plan, available, 2), PIECES);
    plan_done(&plan);
}

/* ---- how many ---- */

static uint32_t room(struct plan *plan, uint64_t now_ms)
{
    uint32_t count = 0;
    for (; plan_has_room(plan, 0, now_ms); count++)
        plan_give(plan, count, 1, now_ms);
    return count;
}

static void test_room(void **state)
{
    (void)state;
    struct plan plan;
    uint32_t ms = 0;
    struct random random;
    random_init(&random, 7);
    plan_init(&plan, 100, PIECE_SIZE, &random);
    /* At first two pieces are under way, and no more for as long as none comes through. */
    assert_int_equal(room(&plan, START_MS), PLAN_AHEAD_MIN);
    assert_false(plan_has_room(&plan, 0, START_MS + PLAN_STALE_MS - 1));
    /* Twenty in one window: thirty may be under way. */
    for (uint32_t i = 50; i < 70; i++)
        plan_give(&plan, i, 2, START_MS + 10);
    for (uint32_t i = 50; i < 70; i++)
        plan_came(&plan, i, 2, START_MS + 20, &ms);
    uint32_t more = 2;
    for (; plan_has_room(&plan, 0, START_MS + 20); more++)
        plan_give(&plan, more, 1, START_MS + 20);
    assert_int_equal(more, 30);
    /* What does not come through holds nobody up. */
    assert_true(plan_has_room(&plan, 0, START_MS + 20 + PLAN_STALE_MS));
    plan_done(&plan);
}

/* Large pieces on a slow link take their time and are not lost for that. */
static void test_large_pieces(void **state)
{
    (void)state;
    struct plan plan;
    struct random random;
    random_init(&random, 7);
    plan_init(&plan, 100, 16u << 20, &random);
    plan_set_rate(&plan, 1u << 20);
    assert_int_equal(room(&plan, START_MS), PLAN_AHEAD_MIN);
    assert_false(plan_has_room(&plan, 0, START_MS + 63999));
    assert_true(plan_has_room(&plan, 0, START_MS + 64000));
    plan_turn(&plan, START_MS + 639999);
    assert_int_equal(plan_under_way(&plan, 1), PLAN_AHEAD_MIN);
    plan_turn(&plan, START_MS + 640000);
    assert_int_equal(plan_under_way(&plan, 1), 0);
    plan_done(&plan);
}

int main(void)
{
    enum { ROWS = sizeof choices / sizeof choices[0], OTHERS = 7 };
    struct CMUnitTest tests[ROWS + OTHERS];
    size_t count = 0;
    for (size_t i = 0; i < ROWS; i++)
        tests[count++] = (struct CMUnitTest){ choices[i].what, test_choose, NULL, NULL,
                                              (void *)(uintptr_t)&choices[i] };
    const struct CMUnitTest others[OTHERS] = {
        cmocka_unit_test(test_each_piece_once),       cmocka_unit_test(test_another_seed_gives_it),
        cmocka_unit_test(test_who_leaves_gives_back), cmocka_unit_test(test_what_came_is_timed),
        cmocka_unit_test(test_a_gift_is_lost),        cmocka_unit_test(test_room),
        cmocka_unit_test(test_large_pieces),
    };
    for (size_t i = 0; i < OTHERS; i++)
        tests[count++] = others[i];
    return _cmocka_run_group_tests("plan", tests, count, NULL, NULL);
}
