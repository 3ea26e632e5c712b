/*
 * What peers of our kind are told, and gifts among them of which some lie: they claim to be given
 * everything elsewhere, take gifts and fetch none, give without end. Peers here are played by the
 * test: what they say is put in, what they hear is looked at. Nobody's lie may keep the honest one
 * from what it lacks.
 */
#include "libcommon/random.h"
#include "services/swarm/extension.h"
#include "services/swarm/plan_message.h"
#include "services/swarm/torrent.h"
#include "tests/swarm/played.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PIECES    3000u
#define PEERS_MAX 40u

struct scene {
    struct random random;
    struct torrent torrent;
    uint64_t now_ms;
    uint32_t peers;
    uint32_t peer[PEERS_MAX];
    bool free[PEERS_MAX];      /* was told it may ask for anything */
    uint32_t given[PEERS_MAX]; /* pieces, all in all */
    uint32_t taking[PEERS_MAX];
    uint32_t fetched[PEERS_MAX];
    uint32_t revealed[PEERS_MAX]; /* pieces we were said to have */
    uint32_t told[PEERS_MAX];     /* the same, of several at once */
    uint32_t tellings[PEERS_MAX]; /* messages that took */
    bool fetches[PEERS_MAX];      /* has a piece as soon as it is given it */
};

static void init(struct scene *scene, bool seed)
{
    static uint8_t all[PIECES / 8];
    const struct torrent_options options = { .port = 1,
                                             .peers_max = 50,
                                             .peers_wanted = 50,
                                             .upload_slots = 4,
                                             .announce_interval_ms = 600000,
                                             .version = "test" };
    memset(scene, 0, sizeof *scene);
    memset(all, seed ? 0xff : 0, sizeof all);
    scene->now_ms = 1000000;
    random_init(&scene->random, 1);
    torrent_init(&scene->torrent, &options, &scene->random, scene->now_ms);
    torrent_begin(&scene->torrent, bytes_of((const uint8_t *)"de", 2),
                  (struct picker_shape){ PIECES, 32768, UINT64_C(32768) * PIECES, 0, NULL }, all,
                  scene->now_ms);
}

static void say(struct scene *scene, uint32_t i, enum plan_message_kind kind, uint32_t first,
                uint32_t count)
{
    struct plan_message plan = { .kind = kind, .count = count };
    uint8_t buffer[PLAN_MESSAGE_SIZE_MAX];
    struct writer writer;
    for (uint32_t k = 0; k < count; k++)
        plan.pieces[k] = first + k;
    writer_init(&writer, buffer, sizeof buffer);
    plan_message_put(&writer, &plan);
    const struct wire_message message = { .kind = WIRE_EXTENDED,
                                          .extended = EXTENSION_LB_PLAN,
                                          .payload = bytes_of(buffer, writer.size) };
    (void)torrent_message(&scene->torrent, scene->peer[i], &message, scene->now_ms);
}

static uint32_t join(struct scene *scene, bool fetches, uint32_t metadata)
{
    const uint32_t i = scene->peers++;
    scene->peer[i] = played_join(&scene->torrent, i, metadata, scene->now_ms);
    scene->fetches[i] = fetches;
    return i;
}

/* Of another kind. */
static uint32_t join_stranger(struct scene *scene)
{
    const uint32_t i = scene->peers++;
    struct wire_handshake hello = { .fast = true };
    hello.peer_id[0] = (uint8_t)('a' + i);
    const struct torrent_hello join = { .address = address_v4(10, 0, 0, (uint8_t)(i + 1), 9),
                                        .handshake = &hello };
    assert_int_equal(torrent_join(&scene->torrent, &join, scene->now_ms, &scene->peer[i]), LB_OK);
    return i;
}

static uint32_t index_of(const struct scene *scene, uint32_t peer)
{
    for (uint32_t i = 0; i < scene->peers; i++)
        if (scene->peer[i] == peer)
            return i;
    fail();
    return 0;
}

static void hear(struct scene *scene, uint32_t i, struct bytes payload)
{
    struct plan_message plan;
    assert_int_equal(plan_message_read(payload, &plan), LB_OK);
    if (plan.kind == PLAN_MESSAGE_FREE || plan.kind == PLAN_MESSAGE_PLANS)
        scene->free[i] = plan.kind == PLAN_MESSAGE_FREE;
    if (plan.kind == PLAN_MESSAGE_TAKING)
        scene->taking[i] += plan.count;
    if (plan.kind == PLAN_MESSAGE_HAVE) {
        scene->told[i] += plan.count;
        scene->tellings[i]++;
    }
    if (plan.kind != PLAN_MESSAGE_GIVE)
        return;
    scene->given[i] += plan.count;
    for (uint32_t k = 0; k < plan.count && scene->fetches[i]; k++) {
        const struct wire_message have = { .kind = WIRE_HAVE, .piece = plan.pieces[k] };
        (void)torrent_message(&scene->torrent, scene->peer[i], &have, scene->now_ms);
        scene->fetched[i]++;
    }
}

/* So many actions at most: who fetches at once would else have all at one time. */
static void drain(struct scene *scene, uint32_t most)
{
    struct torrent_action action;
    while (most-- > 0 && torrent_next(&scene->torrent, scene->now_ms, &action)) {
        if (action.kind == TORRENT_SEND && action.message.kind == WIRE_EXTENDED &&
            action.message.extended == PLAYED_PLAN)
            hear(scene, index_of(scene, action.peer), action.message.payload);
        if (action.kind == TORRENT_SEND && action.message.kind == WIRE_HAVE)
            scene->revealed[index_of(scene, action.peer)]++;
        if (action.kind == TORRENT_SEND && action.message.kind == WIRE_HAVE_ALL)
            scene->revealed[index_of(scene, action.peer)] = PIECES;
    }
}

static void pass(struct scene *scene, uint64_t ms)
{
    const uint64_t end = scene->now_ms + ms;
    while (scene->now_ms < end) {
        scene->now_ms += 100;
        if (scene->now_ms >= torrent_deadline_ms(&scene->torrent))
            torrent_turn(&scene->torrent, scene->now_ms);
        drain(scene, 20);
    }
}

static void test_who_claims_everything_holds_nobody_up(void **state)
{
    (void)state;
    struct scene scene;
    init(&scene, true);
    for (uint32_t liars = 0; liars < 3; liars++)
        (void)join(&scene, false, 2);
    drain(&scene, UINT32_MAX);
    for (uint32_t i = 0; i < 3; i++)
        for (uint32_t first = 0; first + 64 <= PIECES; first += 64)
            say(&scene, i, PLAN_MESSAGE_TAKING, first, 64);
    const uint32_t honest = join(&scene, true, 2);
    pass(&scene, 5000);
    assert_true(scene.fetched[honest] > 300);
    torrent_done(&scene.torrent);
}

static void test_who_fetches_no_gift_is_given_few(void **state)
{
    (void)state;
    struct scene scene;
    init(&scene, true);
    for (uint32_t liars = 0; liars < 3; liars++)
        (void)join(&scene, false, 2);
    const uint32_t honest = join(&scene, true, 2);
    pass(&scene, 40000);
    assert_true(scene.fetched[honest] > PIECES - 100);
    assert_true(scene.given[0] < PIECES / 20);
    assert_true(scene.fetched[honest] == PIECES || scene.free[honest]);
    torrent_done(&scene.torrent);
}

static void test_who_has_no_metadata_is_given_nothing(void **state)
{
    (void)state;
    struct scene scene;
    init(&scene, true);
    const uint32_t late = join(&scene, true, 0);
    (void)join(&scene, true, 2);
    (void)join(&scene, true, 2);
    pass(&scene, 500);
    assert_int_equal(scene.given[late], 0);
    played_say_hello(&scene.torrent, scene.peer[late], 2, scene.now_ms);
    pass(&scene, 500);
    assert_true(scene.given[late] > 0);
    torrent_done(&scene.torrent);
}

/* It gives all, again and again: the honest seed hears of no more than a few. */
static void test_who_gives_without_end_is_not_passed_on(void **state)
{
    (void)state;
    struct scene scene;
    const struct wire_message all = { .kind = WIRE_HAVE_ALL };
    init(&scene, false);
    const uint32_t honest = join(&scene, false, 2);
    const uint32_t liar = join(&scene, false, 2);
    for (uint32_t i = 0; i < 2; i++)
        (void)torrent_message(&scene.torrent, scene.peer[i], &all, scene.now_ms);
    say(&scene, liar, PLAN_MESSAGE_PLANS, 0, 0);
    for (uint32_t times = 0; times < 3; times++)
        for (uint32_t first = 0; first + 64 <= PIECES; first += 64)
            say(&scene, liar, PLAN_MESSAGE_GIVE, first, 64);
    drain(&scene, UINT32_MAX);
    assert_true(scene.taking[honest] <= PEER_GIVEN_MAX);
    assert_true(scene.taking[honest] > 0);
    torrent_done(&scene.torrent);
}

/* When nothing is left to give, what was given is still nobody else's. */
static void test_what_was_given_is_fetched_first_when_all_is_free(void **state)
{
    (void)state;
    struct scene scene;
    const struct wire_message all = { .kind = WIRE_HAVE_ALL };
    const struct wire_message unchoke = { .kind = WIRE_UNCHOKE };
    init(&scene, false);
    (void)join(&scene, false, 2);
    (void)torrent_message(&scene.torrent, scene.peer[0], &all, scene.now_ms);
    say(&scene, 0, PLAN_MESSAGE_PLANS, 0, 0);
    say(&scene, 0, PLAN_MESSAGE_GIVE, 2000, 3);
    say(&scene, 0, PLAN_MESSAGE_FREE, 0, 0);
    (void)torrent_message(&scene.torrent, scene.peer[0], &unchoke, scene.now_ms);
    struct torrent_action action;
    uint32_t asks = 0;
    while (torrent_next(&scene.torrent, scene.now_ms, &action)) {
        if (action.kind != TORRENT_SEND || action.message.kind != WIRE_REQUEST)
            continue;
        assert_int_equal(action.message.piece, 2000 + asks / 2); /* of two blocks each */
        if (++asks == 6)
            break;
    }
    assert_true(asks > 0);
    torrent_done(&scene.torrent);
}

static void test_several_pieces_are_told_in_one_message(void **state)
{
    (void)state;
    struct scene scene;
    init(&scene, true);
    (void)join(&scene, false, 2);
    say(&scene, 0, PLAN_MESSAGE_HAVE, 100, 64);
    for (uint32_t piece = 99; piece <= 164; piece++)
        assert_int_equal(scene.torrent.picker.available[piece], piece >= 100 && piece < 164);
    say(&scene, 0, PLAN_MESSAGE_HAVE, PIECES - 1, 2);
    assert_null(torrent_peer(&scene.torrent, scene.peer[0])); /* it has a piece there is not */
    torrent_done(&scene.torrent);
}

/* Of four peers one has what comes. */
static void let_ten_come(struct scene *scene)
{
    init(scene, false);
    for (uint32_t i = 0; i < 4; i++)
        (void)join(scene, false, 2);
    say(scene, 0, PLAN_MESSAGE_HAVE, 0, 10);
    drain(scene, UINT32_MAX);
    for (uint32_t piece = 0; piece < 10; piece++)
        torrent_found(&scene->torrent, piece, scene->now_ms);
    drain(scene, UINT32_MAX);
}

/* Who has it hears nothing of it, and the others a while later, of all together. */
static void test_what_another_has_is_told_later_and_together(void **state)
{
    (void)state;
    struct scene scene;
    let_ten_come(&scene);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(scene.told[i] + scene.revealed[i], 0);
    pass(&scene, HAVE_DELAY_MOST_MS);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(scene.told[i], i < 1 ? 0 : 10);
        assert_int_equal(scene.tellings[i], i < 1 ? 0 : 1);
        assert_int_equal(scene.revealed[i], 0);
    }
    torrent_done(&scene.torrent);
}

static void test_what_came_goes_with_the_next_block(void **state)
{
    (void)state;
    struct scene scene;
    let_ten_come(&scene);
    torrent_block_ready(&scene.torrent, scene.peer[2], scene.now_ms);
    drain(&scene, UINT32_MAX);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(scene.told[i], i == 2 ? 10 : 0);
    torrent_done(&scene.torrent);
}

static void test_what_nobody_has_is_told_at_once(void **state)
{
    (void)state;
    struct scene scene;
    init(&scene, false);
    for (uint32_t i = 0; i < 2; i++)
        (void)join(&scene, false, 2);
    drain(&scene, UINT32_MAX);
    torrent_found(&scene.torrent, 7, scene.now_ms);
    drain(&scene, UINT32_MAX);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(scene.revealed[i], 1);
    torrent_done(&scene.torrent);
}

/* The others will have it from these. */
static void test_of_many_only_some_are_told_at_once(void **state)
{
    (void)state;
    struct scene scene;
    uint32_t told = 0;
    init(&scene, false);
    for (uint32_t i = 0; i < PEERS_MAX; i++)
        (void)join(&scene, false, 2);
    drain(&scene, UINT32_MAX);
    for (uint32_t piece = 0; piece < 20; piece++)
        torrent_found(&scene.torrent, piece, scene.now_ms);
    drain(&scene, UINT32_MAX);
    for (uint32_t i = 0; i < PEERS_MAX; i++)
        told += scene.tellings[i] + scene.revealed[i];
    const uint32_t usual = 20 * WAVE_FANOUT_MOST;
    assert_in_range(told, usual / 2, 2 * usual);
    torrent_done(&scene.torrent);
}

/* BEP 16: of a lone seed strangers see little, until everything is out; who is of our kind, all. */
static void test_strangers_see_one_by_one(void **state)
{
    (void)state;
    struct scene scene;
    init(&scene, true);
    scene.torrent.options.super_seeding = true;
    drain(&scene, UINT32_MAX);
    const uint32_t one = join_stranger(&scene);
    const uint32_t other = join_stranger(&scene);
    const uint32_t ours = join(&scene, false, 2);
    drain(&scene, UINT32_MAX);
    assert_true(scene.revealed[one] + scene.revealed[other] > 0);
    assert_true(scene.revealed[one] + scene.revealed[other] < 20);
    assert_int_equal(scene.revealed[ours], PIECES);
    for (uint32_t i = 0; i < PIECES; i++) {
        const struct wire_message have = { .kind = WIRE_HAVE, .piece = i };
        (void)torrent_message(&scene.torrent, scene.peer[i % 2 == 0 ? one : other], &have,
                              scene.now_ms);
    }
    drain(&scene, UINT32_MAX);
    assert_true(scene.revealed[one] >= PIECES / 2);
    assert_true(scene.revealed[other] >= PIECES / 2);
    assert_true(scene.revealed[one] < PIECES);
    torrent_done(&scene.torrent);
}

/* It is not kept waiting for others that do not come. */
static void test_a_stranger_alone_sees_all(void **state)
{
    (void)state;
    struct scene scene;
    init(&scene, true);
    scene.torrent.options.super_seeding = true;
    drain(&scene, UINT32_MAX);
    const uint32_t one = join_stranger(&scene);
    drain(&scene, UINT32_MAX);
    assert_true(scene.revealed[one] < 20);
    scene.now_ms += 2000;
    torrent_turn(&scene.torrent, scene.now_ms);
    drain(&scene, UINT32_MAX);
    assert_true(scene.revealed[one] >= PIECES);
    torrent_done(&scene.torrent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_claims_everything_holds_nobody_up),
        cmocka_unit_test(test_who_fetches_no_gift_is_given_few),
        cmocka_unit_test(test_who_has_no_metadata_is_given_nothing),
        cmocka_unit_test(test_who_gives_without_end_is_not_passed_on),
        cmocka_unit_test(test_what_was_given_is_fetched_first_when_all_is_free),
        cmocka_unit_test(test_several_pieces_are_told_in_one_message),
        cmocka_unit_test(test_what_another_has_is_told_later_and_together),
        cmocka_unit_test(test_what_came_goes_with_the_next_block),
        cmocka_unit_test(test_of_many_only_some_are_told_at_once),
        cmocka_unit_test(test_what_nobody_has_is_told_at_once),
        cmocka_unit_test(test_strangers_see_one_by_one),
        cmocka_unit_test(test_a_stranger_alone_sees_all),
    };
    return cmocka_run_group_tests_name("gifts", tests, NULL, NULL);
}
