/* The picker, on drawn torrents: one character a piece, or one a block. */
#include "libcommon/random.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/picker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BLOCK PICKER_BLOCK_SIZE

static struct picker_shape shape(uint32_t pieces, uint32_t blocks)
{
    return (struct picker_shape){
        .pieces = pieces,
        .piece_size = blocks * BLOCK,
        .total_size = (uint64_t)pieces * blocks * BLOCK,
    };
}

static void bits(const char *drawn, uint8_t *ret)
{
    memset(ret, 0, 64);
    for (uint32_t i = 0; drawn[i] != '\0'; i++)
        if (drawn[i] == '*')
            bitfield_set(ret, i);
}

/*
 * Which piece is begun. have: '#' is here, 'x' is not selected. available: how many other peers
 * have it. peer: '*' it has. picked: every piece that may be chosen, '*', as ties are drawn.
 */
static const struct new_row {
    const char *what, *have, *available, *peer, *picked;
} new_rows[] = {
    { "the only piece is picked", ".", "0", "*", "*" },
    { "the rarest piece is picked", "....", "3123", "****", ".*.." },
    { "not the rarest when the peer lacks it", "....", "3123", "*.**", "..*." },
    { "what is here is not picked", ".#..", "3123", "****", "..*." },
    { "equals are drawn", "....", "2112", "****", ".**." },
    { "nothing when the peer has nothing new", "##..", "1111", "**..", "...." },
    { "nothing when the peer has nothing", "....", "1111", "....", "...." },
    { "what only this peer has comes first", ".....", "10101", "*.***", "...*." },
    { "what is not selected is not picked", "x..", "012", "***", ".*." },
    { "nothing when only that is left", "x#x", "111", "***", "..." },
    { "many availabilities keep their order", "......", "956847", "******", "....*." },
};

static void test_new_piece(void **state)
{
    const struct new_row *row = *state;
    const uint32_t pieces = (uint32_t)strlen(row->have);
    uint8_t peer[64];
    bits(row->peer, peer);
    bool chosen[16] = { false };
    for (uint64_t seed = 0; seed < 64; seed++) {
        struct random random;
        random_init(&random, seed);
        struct picker picker;
        picker_init(&picker, shape(pieces, 1), pieces, &random);
        for (uint32_t i = 0; i < pieces; i++) {
            if (row->have[i] == '#')
                picker_set_have(&picker, i);
            for (int k = '0'; k < row->available[i]; k++)
                picker_add_piece(&picker, i);
        }
        uint8_t selected[64] = { 0 };
        for (uint32_t i = 0; i < pieces; i++)
            if (row->have[i] != 'x')
                bitfield_set(selected, i);
        picker_select(&picker, selected);
        picker_add_bitfield(&picker, peer);
        picker_check(&picker);
        struct picker_ask ask;
        const struct picker_view view = { .peer = 1, .bitfield = peer };
        if (picker_pick(&picker, &view, &ask, 1) == 1)
            chosen[ask.piece] = true;
        picker_check(&picker);
        picker_done(&picker);
    }
    for (uint32_t i = 0; i < pieces; i++)
        assert_int_equal(chosen[i], row->picked[i] == '*');
}

/* Peers are letters; what each was asked for is kept in order. */
struct world {
    struct random random;
    struct picker picker;
    uint8_t all[64];
    struct picker_ask asked[26][64];
    size_t asked_count[26];
};

static void setup(struct world *world, uint32_t pieces, uint32_t blocks, uint32_t open_max)
{
    *world = (struct world){ 0 };
    random_init(&world->random, 7);
    picker_init(&world->picker, shape(pieces, blocks), open_max, &world->random);
    bitfield_set_all(world->all, pieces);
}

static size_t pick(struct world *world, char who, size_t most, bool alone)
{
    const size_t index = (size_t)(who - 'a');
    const struct picker_view view = {
        .peer = (uint32_t)who,
        .bitfield = world->all,
        .alone = alone,
    };
    struct picker_ask *to = world->asked[index] + world->asked_count[index];
    const size_t count = picker_pick(&world->picker, &view, to, most);
    world->asked_count[index] += count;
    picker_check(&world->picker);
    return count;
}

static enum picker_verdict come(struct world *world, char who, size_t which)
{
    const enum picker_verdict verdict =
        picker_receive(&world->picker, world->asked[who - 'a'][which], (uint32_t)who);
    picker_check(&world->picker);
    return verdict;
}

static void test_partial_first(void **state)
{
    (void)state;
    struct world world;
    setup(&world, 4, 4, 4);
    picker_add_bitfield(&world.picker, world.all);
    assert_int_equal(pick(&world, 'a', 2, false), 2);
    assert_int_equal(pick(&world, 'b', 2, false), 2);
    /* Both share the piece begun. */
    assert_int_equal(world.asked[0][0].piece, world.asked[1][0].piece);
    assert_int_equal(world.picker.open_count, 1);
    assert_int_equal(pick(&world, 'c', 6, false), 6);
    assert_int_equal(world.picker.open_count, 3);
    picker_done(&world.picker);
}

static void test_give_back(void **state)
{
    (void)state;
    struct world world;
    setup(&world, 3, 2, 3);
    picker_add_bitfield(&world.picker, world.all);
    assert_int_equal(pick(&world, 'a', 3, false), 3);
    assert_int_equal(world.picker.open_count, 2);
    picker_give_back(&world.picker, world.asked[0][2]);
    picker_check(&world.picker);
    /* A piece of which nothing is here or asked for is as new. */
    assert_int_equal(world.picker.open_count, 1);
    picker_give_back(&world.picker, world.asked[0][0]);
    picker_check(&world.picker);
    assert_int_equal(pick(&world, 'b', 1, false), 1);
    assert_int_equal(world.asked[1][0].piece, world.asked[0][0].piece);
    assert_int_equal(world.asked[1][0].block, world.asked[0][0].block);
    /* Giving back twice, or what is no block at all, does nothing. */
    picker_give_back(&world.picker, (struct picker_ask){ 77, 0 });
    picker_give_back(&world.picker, (struct picker_ask){ world.asked[0][0].piece, 9 });
    picker_check(&world.picker);
    picker_done(&world.picker);
}

static void test_complete_and_verify(void **state)
{
    (void)state;
    struct world world;
    setup(&world, 1, 2, 1);
    picker_add_bitfield(&world.picker, world.all);
    assert_int_equal(pick(&world, 'a', 5, false), 2);
    assert_int_equal(come(&world, 'a', 1), PICKER_TAKEN);
    assert_int_equal(come(&world, 'a', 1), PICKER_TWICE);
    assert_int_equal(come(&world, 'a', 0), PICKER_COMPLETE);
    assert_int_equal(come(&world, 'a', 0), PICKER_TWICE);
    assert_false(picker_has(&world.picker, 0));
    uint32_t from[4];
    assert_int_equal(picker_contributors(&world.picker, 0, from, 4), 1);
    assert_int_equal(from[0], 'a');
    picker_verified(&world.picker, 0, false);
    picker_check(&world.picker);
    world.asked_count[0] = 0;
    assert_int_equal(pick(&world, 'a', 1, false), 1);
    assert_int_equal(pick(&world, 'b', 1, false), 1);
    (void)come(&world, 'a', 0);
    assert_int_equal(come(&world, 'b', 0), PICKER_COMPLETE);
    assert_int_equal(picker_contributors(&world.picker, 0, from, 4), 2);
    picker_verified(&world.picker, 0, true);
    picker_check(&world.picker);
    assert_true(picker_is_complete(&world.picker));
    assert_int_equal(picker_receive(&world.picker, (struct picker_ask){ 0, 0 }, 1),
                     PICKER_UNWANTED);
    picker_done(&world.picker);
}

static void test_endgame(void **state)
{
    (void)state;
    struct world world;
    setup(&world, 2, 2, 2);
    picker_add_bitfield(&world.picker, world.all);
    assert_int_equal(pick(&world, 'a', 3, false), 3);
    assert_false(picker_in_endgame(&world.picker));
    const struct picker_ask first = world.asked[0][0];
    assert_int_equal(pick(&world, 'b', 1, false), 1);
    assert_true(picker_in_endgame(&world.picker));
    assert_int_equal(pick(&world, 'c', 9, false), 0);
    /* At most PICKER_ASKS_MAX at once. */
    assert_true(picker_ask_again(&world.picker, first));
    assert_true(picker_ask_again(&world.picker, first));
    assert_false(picker_ask_again(&world.picker, first));
    picker_check(&world.picker);
    picker_give_back(&world.picker, first);
    assert_int_equal(picker_asked(&world.picker, first), 2);
    /* It came: nobody is asked for it any more. */
    assert_int_equal(come(&world, 'a', 0), PICKER_TAKEN);
    assert_int_equal(picker_asked(&world.picker, first), 0);
    assert_false(picker_ask_again(&world.picker, first));
    assert_false(picker_ask_again(&world.picker, (struct picker_ask){ 9, 9 }));
    picker_done(&world.picker);
}

static void test_alone(void **state)
{
    (void)state;
    struct world world;
    setup(&world, 3, 2, 3);
    picker_add_bitfield(&world.picker, world.all);
    assert_int_equal(pick(&world, 'a', 1, false), 1);
    assert_int_equal(pick(&world, 's', 3, true), 3);
    const uint32_t begun = world.asked[0][0].piece;
    for (size_t i = 0; i < 3; i++)
        assert_int_not_equal(world.asked['s' - 'a'][i].piece, begun);
    /* Others keep out of its pieces. */
    assert_int_equal(pick(&world, 'b', 9, false), 1);
    assert_int_equal(world.asked[1][0].piece, begun);
    /* When it fell silent all may go on. */
    picker_give_back(&world.picker, world.asked['s' - 'a'][0]);
    picker_disown(&world.picker, 's');
    assert_int_equal(pick(&world, 'c', 9, false), 2);
    picker_done(&world.picker);
}

/* A piece that failed comes first, and from one peer. */
static void test_fetch_alone(void **state)
{
    (void)state;
    struct world world;
    uint32_t from[2] = { 0 };
    uint32_t slot = 0;
    uint32_t piece = 9;
    setup(&world, 3, 2, 3);
    picker_add_bitfield(&world.picker, world.all);
    assert_int_equal(pick(&world, 'a', 1, false), 1);
    assert_int_equal(pick(&world, 'b', 1, false), 1);
    const uint32_t failed = world.asked[0][0].piece;
    assert_int_equal(come(&world, 'a', 0), PICKER_TAKEN);
    assert_int_equal(come(&world, 'b', 0), PICKER_COMPLETE);
    picker_senders(&world.picker, failed, from);
    assert_int_equal(from[0], 'a');
    assert_int_equal(from[1], 'b');
    assert_true(picker_next_from(&world.picker, 'b', &slot, &piece));
    assert_int_equal(piece, failed);
    assert_false(picker_next_from(&world.picker, 'b', &slot, &piece));
    picker_verified(&world.picker, failed, false);
    picker_fetch_alone(&world.picker, failed);
    const struct picker_view proven = { .peer = 'c', .bitfield = world.all, .proven = true };
    world.asked_count['c' - 'a'] += picker_pick(&world.picker, &proven, world.asked['c' - 'a'], 1);
    assert_int_equal(world.asked_count['c' - 'a'], 1);
    assert_int_equal(world.asked['c' - 'a'][0].piece, failed);
    /* Its other block is for no other peer. */
    assert_int_equal(pick(&world, 'd', 9, false), 4);
    assert_int_equal(pick(&world, 'c', 9, false), 1);
    assert_int_equal(world.asked['c' - 'a'][1].piece, failed);
    assert_int_equal(come(&world, 'c', 0), PICKER_TAKEN);
    assert_int_equal(come(&world, 'c', 1), PICKER_COMPLETE);
    picker_verified(&world.picker, failed, true);
    assert_int_equal(world.picker.alone_count, 0);
    picker_done(&world.picker);
}

/* Three peers, each with a piece of its own; four may be begun, two usually, one for gifts. */
static void test_idle_peers_begin_more(void **state)
{
    (void)state;
    struct world world;
    uint8_t has[3][64] = { 0 };
    struct picker_ask asks[4];
    setup(&world, 4, 2, 4);
    picker_set_usual(&world.picker, 2);
    for (uint32_t i = 0; i < 3; i++) {
        bitfield_set(has[i], i);
        picker_add_bitfield(&world.picker, has[i]);
    }
    for (uint32_t i = 0; i < 2; i++) {
        const struct picker_view view = { .peer = i, .bitfield = has[i] };
        assert_int_equal(picker_pick(&world.picker, &view, asks, 4), 2);
    }
    const struct picker_view busy = { .peer = 2, .bitfield = has[2] };
    const struct picker_view idle = { .peer = 2, .bitfield = has[2], .idle = true };
    assert_int_equal(picker_pick(&world.picker, &busy, asks, 4), 0);
    assert_int_equal(picker_pick(&world.picker, &idle, asks, 4), 2);
    picker_check(&world.picker);
    picker_done(&world.picker);
}

/* What only peers had that left takes no place from those who came, though one is kept for gifts.
 */
static void test_make_room_beside_gifts(void **state)
{
    (void)state;
    struct world world;
    uint8_t gone[64] = { 0 };
    uint8_t came[64] = { 0 };
    struct picker_ask asks[6];
    uint32_t piece = 9;
    setup(&world, 4, 2, 4);
    for (uint32_t i = 0; i < 3; i++)
        bitfield_set(gone, i);
    bitfield_set(came, 3);
    picker_add_bitfield(&world.picker, gone);
    picker_add_bitfield(&world.picker, came);
    const struct picker_view first = { .peer = 1, .bitfield = gone };
    const struct picker_view second = { .peer = 2, .bitfield = came, .idle = true };
    assert_int_equal(picker_pick(&world.picker, &first, asks, 6), 6);
    for (size_t i = 0; i < 6; i += 2) {
        assert_int_equal(picker_receive(&world.picker, asks[i], 1), PICKER_TAKEN);
        picker_give_back(&world.picker, asks[i + 1]);
    }
    assert_int_equal(picker_pick(&world.picker, &second, asks, 2), 0);
    assert_true(picker_make_room(&world.picker, &second, &piece));
    assert_in_range(piece, 0, 2);
    assert_int_equal(picker_pick(&world.picker, &second, asks, 2), 2);
    picker_check(&world.picker);
    picker_done(&world.picker);
}

static void test_make_room(void **state)
{
    (void)state;
    struct world world;
    setup(&world, 4, 2, 1);
    uint8_t one[64] = { 0 };
    uint8_t other[64] = { 0 };
    bitfield_set(one, 0);
    bitfield_set(other, 3);
    picker_add_bitfield(&world.picker, one);
    picker_add_bitfield(&world.picker, other);
    const struct picker_view first = { .peer = 1, .bitfield = one };
    const struct picker_view second = { .peer = 2, .bitfield = other };
    struct picker_ask asks[4];
    assert_int_equal(picker_pick(&world.picker, &first, asks, 2), 2);
    assert_int_equal(picker_receive(&world.picker, asks[0], 1), PICKER_TAKEN);
    uint32_t piece = 9;
    struct picker_ask more;
    assert_int_equal(picker_pick(&world.picker, &second, &more, 1), 0);
    /* Somebody is at work on it: it stays. */
    assert_false(picker_make_room(&world.picker, &second, &piece));
    picker_give_back(&world.picker, asks[1]);
    assert_true(picker_make_room(&world.picker, &second, &piece));
    assert_int_equal(piece, 0);
    picker_check(&world.picker);
    assert_int_equal(picker_pick(&world.picker, &second, &more, 1), 1);
    assert_int_equal(more.piece, 3);
    picker_done(&world.picker);
}

static void test_allowed_only(void **state)
{
    (void)state;
    struct world world;
    setup(&world, 4, 1, 4);
    picker_add_seed(&world.picker);
    const uint32_t allowed[] = { 2, 99 };
    const struct picker_view view = { .peer = 1, .only = allowed, .only_count = 2 };
    struct picker_ask asks[4];
    assert_int_equal(picker_pick(&world.picker, &view, asks, 4), 1);
    assert_int_equal(asks[0].piece, 2);
    picker_done(&world.picker);
}

static void test_last_piece(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, 1);
    struct picker picker;
    const struct picker_shape odd = { .pieces = 3,
                                      .piece_size = 2 * BLOCK,
                                      .total_size = 4 * BLOCK + 5 };
    picker_init(&picker, odd, 3, &random);
    assert_int_equal(picker_piece_size(&picker, 2), 5);
    assert_int_equal(picker_block_count(&picker, 2), 1);
    assert_int_equal(picker_block_size(&picker, 2, 0), 5);
    assert_int_equal(picker_block_size(&picker, 1, 1), BLOCK);
    picker_done(&picker);

    const struct picker_shape large = {
        .pieces = 3,
        .piece_size = 4 * BLOCK,
        .total_size = 9 * BLOCK,
        .block_size = 2 * BLOCK,
    };
    picker_init(&picker, large, 3, &random);
    assert_int_equal(picker_block_count(&picker, 0), 2);
    assert_int_equal(picker_block_size(&picker, 0, 1), 2 * BLOCK);
    assert_int_equal(picker_block_count(&picker, 2), 1);
    assert_int_equal(picker_block_size(&picker, 2, 0), BLOCK);
    picker_done(&picker);
}

/* A long random life keeps every invariant, and ends with everything here. */
static void test_random_life(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, 42);
    struct picker picker;
    picker_init(&picker, shape(300, 3), 20, &random);
    uint8_t peer[5][64];
    struct picker_ask asked[5][40];
    size_t count[5] = { 0 };
    for (int p = 0; p < 5; p++) {
        memset(peer[p], 0, sizeof peer[p]);
        for (uint32_t i = 0; i < 300; i++)
            if (p == 0 || random_below(&random, 2) == 0)
                bitfield_set(peer[p], i);
        picker_add_bitfield(&picker, peer[p]);
    }
    for (int step = 0; step < 20000 && !picker_is_complete(&picker); step++) {
        const uint32_t p = (uint32_t)random_below(&random, 5);
        const struct picker_view view = { .peer = p, .bitfield = peer[p] };
        switch (random_below(&random, 3)) {
        case 0:
            if (count[p] < 30)
                count[p] += picker_pick(&picker, &view, asked[p] + count[p], 4);
            break;
        case 1:
            if (count[p] > 0) {
                const struct picker_ask ask = asked[p][--count[p]];
                if (picker_receive(&picker, ask, p) == PICKER_COMPLETE)
                    picker_verified(&picker, ask.piece, random_below(&random, 5) != 0);
            }
            break;
        default:
            if (count[p] > 0 && random_below(&random, 4) == 0)
                picker_give_back(&picker, asked[p][--count[p]]);
            break;
        }
        if (step % 50 == 0)
            picker_check(&picker);
    }
    picker_check(&picker);
    assert_true(picker_is_complete(&picker));
    for (int p = 0; p < 5; p++)
        picker_remove_bitfield(&picker, peer[p]);
    picker_check(&picker);
    picker_done(&picker);
}

/* The selection may change at any time: what is begun is ended, what is here stays. */
static void test_selection_changes(void **state)
{
    (void)state;
    struct world world;
    setup(&world, 4, 2, 4);
    uint8_t some[64];
    picker_add_bitfield(&world.picker, world.all);
    bits("**..", some);
    picker_select(&world.picker, some);
    assert_int_equal(pick(&world, 'a', 9, false), 4);
    picker_set_have(&world.picker, 3);
    assert_false(picker_wants(&world.picker, 2));
    assert_true(picker_wants(&world.picker, 0));
    bits("...*", some);
    picker_select(&world.picker, some);
    picker_check(&world.picker);
    for (size_t i = 0; i < 4; i++)
        if (come(&world, 'a', i) == PICKER_COMPLETE)
            picker_verified(&world.picker, world.asked[0][i].piece, true);
    picker_check(&world.picker);
    assert_true(picker_is_complete(&world.picker));
    assert_false(picker_has_all(&world.picker));
    picker_lose(&world.picker, 0);
    picker_check(&world.picker);
    assert_true(picker_is_complete(&world.picker));
    picker_lose(&world.picker, 3);
    picker_check(&world.picker);
    assert_false(picker_is_complete(&world.picker));
    picker_select(&world.picker, NULL);
    picker_check(&world.picker);
    assert_int_equal(world.picker.missing, 3);
    assert_int_equal(world.picker.have, 1);
    picker_done(&world.picker);
}

/* In a large torrent a peer with few pieces is not searched for in vain: its rarest is found. */
static void test_sparse_peer_in_large_torrent(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, 3);
    struct picker picker;
    const uint32_t pieces = 5000;
    picker_init(&picker, shape(pieces, 1), 10, &random);
    uint8_t *all = calloc(bitfield_size(pieces), 1);
    uint8_t *few = calloc(bitfield_size(pieces), 1);
    assert_non_null(all);
    assert_non_null(few);
    bitfield_set_all(all, pieces);
    picker_add_bitfield(&picker, all);
    bitfield_set(few, 4711);
    bitfield_set(few, 4712);
    picker_add_bitfield(&picker, few);
    picker_add_piece(&picker, 4712);
    const struct picker_view view = { .peer = 1, .bitfield = few };
    struct picker_ask asks[3];
    assert_int_equal(picker_pick(&picker, &view, asks, 3), 2);
    assert_int_equal(asks[0].piece, 4711);
    assert_int_equal(asks[1].piece, 4712);
    picker_lose(&picker, 0);
    picker_set_have(&picker, 0);
    picker_lose(&picker, 0);
    picker_check(&picker);
    picker_done(&picker);
    free(all);
    free(few);
}

int main(void)
{
    enum { ROWS = sizeof new_rows / sizeof new_rows[0], OTHERS = 14 };
    struct CMUnitTest tests[ROWS + OTHERS];
    size_t count = 0;
    for (size_t i = 0; i < ROWS; i++)
        tests[count++] = (struct CMUnitTest){ new_rows[i].what, test_new_piece, NULL, NULL,
                                              (void *)(uintptr_t)&new_rows[i] };
    const struct CMUnitTest others[OTHERS] = {
        cmocka_unit_test(test_partial_first),
        cmocka_unit_test(test_give_back),
        cmocka_unit_test(test_complete_and_verify),
        cmocka_unit_test(test_endgame),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_fetch_alone),
        cmocka_unit_test(test_make_room),
        cmocka_unit_test(test_idle_peers_begin_more),
        cmocka_unit_test(test_make_room_beside_gifts),
        cmocka_unit_test(test_allowed_only),
        cmocka_unit_test(test_last_piece),
        cmocka_unit_test(test_selection_changes),
        cmocka_unit_test(test_random_life),
        cmocka_unit_test(test_sparse_peer_in_large_torrent),
    };
    for (size_t i = 0; i < OTHERS; i++)
        tests[count++] = others[i];
    return _cmocka_run_group_tests("picker", tests, count, NULL, NULL);
}
