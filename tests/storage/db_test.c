#include "services/storage/db.h"

#include "libcommon/memory.h"
#include "services/storage/value.h"
#include "tests/storage/db_world.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct world world;

static int set_up(void **state)
{
    (void)state;
    world_init(&world, WORLD_MAP);
    return 0;
}

static int set_up_small(void **state)
{
    (void)state;
    world_init(&world, 1024 * 1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_done(&world);
    return 0;
}

/* ---- items ---- */

static void what_is_put_is_read(void **state)
{
    uint8_t buffer[ITEM_VALUE_MAX];
    struct item item = world_item(1, 996, buffer);
    struct item other = world_mutable(1, 7, "3:abc");

    (void)state;
    assert_false(world_has(&world, &item));
    assert_int_equal(world_put(&world, &item, "8.8.8.8:1"), LB_OK);
    assert_int_equal(world_put(&world, &other, "self"), LB_OK);
    assert_true(world_has(&world, &item));
    assert_true(world_has(&world, &other));
    assert_int_equal(world_stats(&world).items, 2);
    world_close(&world);
    world_open(&world);
    assert_true(world_has(&world, &item));
    assert_true(world_has(&world, &other));
}

/* The rules themselves are tested in item_test.c; here, that the store asks them. */
static void versions_are_kept_in_order(void **state)
{
    struct item first = world_mutable(1, 5, "1:a");
    struct item lower = world_mutable(1, 4, "1:b");
    struct item higher = world_mutable(1, 6, "1:c");
    struct db_op op = world_put_op(&world, &lower, "8.8.8.8:1");

    (void)state;
    assert_int_equal(world_put(&world, &first, "8.8.8.8:1"), LB_OK);
    world_apply(&world, &op);
    assert_int_equal(op.err, LB_CONFLICT);
    assert_int_equal(op.put.verdict, ITEM_SEQ_TOO_LOW);
    op = world_put_op(&world, &higher, "8.8.8.8:1");
    op.put.has_cas = true;
    op.put.cas = 4;
    world_apply(&world, &op);
    assert_int_equal(op.put.verdict, ITEM_CAS_MISMATCH);
    assert_true(world_has(&world, &first));
    op.put.cas = 5;
    world_apply(&world, &op);
    assert_int_equal(op.err, LB_OK);
    assert_true(world_has(&world, &higher));
    world_apply(&world, &op); /* the same datagram again */
    assert_int_equal(op.err, LB_OK);
    op.put.source = world_source("9.9.9.9:1"); /* another writer of the same */
    world_apply(&world, &op);
    assert_int_equal(op.put.verdict, ITEM_CAS_MISMATCH);
    world_close(&world);
    world_open(&world);
    assert_int_equal(world_put(&world, &first, "8.8.8.8:1"), LB_CONFLICT);
}

static void items_expire(void **state)
{
    uint8_t buffers[3][ITEM_VALUE_MAX];
    struct item stays = world_item(1, 100, buffers[0]);
    struct item refreshed = world_item(2, 100, buffers[1]);
    struct item mutable = world_mutable(1, 5, "1:a");
    struct item older = world_mutable(1, 4, "1:b");

    (void)state;
    assert_int_equal(world_put(&world, &stays, "8.8.8.8:1"), LB_OK);
    assert_int_equal(world_put(&world, &refreshed, "8.8.8.8:1"), LB_OK);
    assert_int_equal(world_put(&world, &mutable, "8.8.8.8:1"), LB_OK);
    world.now_s += WORLD_ITEM_TTL_S - 10;
    assert_int_equal(world_put(&world, &refreshed, "9.9.9.9:1"), LB_OK);
    assert_int_equal(world_sweep(&world), 0);
    world.now_s += 20;
    assert_false(world_has(&world, &stays)); /* gone for readers before it is swept */
    assert_true(world_has(&world, &refreshed));
    assert_int_equal(world_stats(&world).items, 3);
    assert_int_equal(world_sweep(&world), 2);
    assert_int_equal(world_stats(&world).items, 1);
    assert_int_equal(world_put(&world, &older, "8.8.8.8:1"), LB_CONFLICT); /* its number stays */
    assert_int_equal(world_put(&world, &mutable, "8.8.8.8:1"), LB_OK);
    world.now_s += WORLD_ITEM_TTL_S + 10;
    assert_int_equal(world_sweep(&world), 2);
    assert_int_equal(world_stats(&world).items, 0);
    world_close(&world);
    world_open(&world);
    assert_int_equal(world_put(&world, &older, "8.8.8.8:1"), LB_CONFLICT);
    world.now_s += POLICY_SEEN_S + 1;
    assert_int_equal(world_sweep(&world), 1); /* the number, after a month */
    assert_int_equal(world_sweep(&world), 0);
    assert_int_equal(world_put(&world, &older, "8.8.8.8:1"), LB_OK);
}

static void an_expired_item_is_replaced_before_it_is_swept(void **state)
{
    struct item mutable = world_mutable(1, 5, "1:a");
    struct item older = world_mutable(1, 4, "1:b");

    (void)state;
    assert_int_equal(world_put(&world, &mutable, "8.8.8.8:1"), LB_OK);
    world.now_s += WORLD_ITEM_TTL_S + 10;
    assert_int_equal(world_put(&world, &older, "8.8.8.8:1"), LB_CONFLICT);
    assert_false(world_has(&world, &mutable));
    assert_int_equal(world_put(&world, &mutable, "8.8.8.8:1"), LB_OK);
    assert_int_equal(world_sweep(&world), 0);
    assert_true(world_has(&world, &mutable));
}

/* ---- lives and checks ---- */

static lb_err put_for(const struct item *item, uint64_t ttl_s, uint64_t check_in_s)
{
    struct db_op op = world_put_op(&world, item, "8.8.8.8:1");

    op.put.ttl_s = ttl_s;
    op.put.check_s = world.now_s + check_in_s;
    op.put.silence_s = 10000;
    world_apply(&world, &op);
    return op.err;
}

static void an_item_lives_as_long_as_it_was_given(void **state)
{
    struct item item = world_mutable(1, 5, "1:a");
    struct item newer = world_mutable(1, 6, "1:b");

    (void)state;
    assert_int_equal(put_for(&item, 100000, 600), LB_OK);
    assert_int_equal(put_for(&item, 50000, 600), LB_OK); /* another copy, that was put earlier */
    world.now_s += 100000;
    assert_true(world_has(&world, &item));
    assert_int_equal(world_sweep(&world), 0);
    world.now_s += 1;
    assert_false(world_has(&world, &item));
    assert_int_equal(put_for(&item, 100000, 600), LB_OK);
    assert_int_equal(put_for(&newer, 100, 600), LB_OK); /* the newest version says how long */
    world.now_s += 101;
    assert_false(world_has(&world, &newer));
    assert_int_equal(world_sweep(&world), 1);
    assert_int_equal(put_for(&item, 100000, 600), LB_CONFLICT);
}

static void a_life_has_its_limit(void **state)
{
    struct item item = world_mutable(1, 5, "1:a");

    (void)state;
    assert_int_equal(put_for(&item, UINT64_MAX, 600), LB_OK);
    world.now_s += VALUE_TTL_MAX_S;
    assert_true(world_has(&world, &item));
    world.now_s += 1;
    assert_false(world_has(&world, &item));
}

static struct item_record read_check(uint32_t skip)
{
    struct item_record record = { 0 };
    struct node_id target;

    assert_int_equal(db_read_begin(world.db), LB_OK);
    if (db_read_check(world.db, skip, world.now_s, &target, &record) != LB_OK)
        record.check_s = 0;
    db_read_end(world.db);
    return record;
}

static bool is_checked_after(uint32_t skip, const struct item *item)
{
    struct item_record record;
    struct node_id target;
    bool is;

    assert_int_equal(db_read_begin(world.db), LB_OK);
    is = db_read_check(world.db, skip, world.now_s, &target, &record) == LB_OK &&
         item_is_same(&record.item, item);
    db_read_end(world.db);
    return is;
}

static uint32_t overdue(uint64_t before_s)
{
    uint32_t count;

    assert_int_equal(db_read_begin(world.db), LB_OK);
    count = db_read_overdue(world.db, before_s, 100);
    db_read_end(world.db);
    return count;
}

static lb_err apply_check(enum db_op_kind kind, const struct item *item, uint64_t check_s)
{
    struct db_op op = { .kind = kind,
                        .now_s = world.now_s,
                        .check = { .target = item_target(item),
                                   .seq = item->seq,
                                   .check_s = check_s,
                                   .checked_s = world.now_s,
                                   .calm = 2 } };

    world_apply(&world, &op);
    return op.err;
}

static void checks_come_up_in_their_order(void **state)
{
    struct item first = world_mutable(1, 5, "1:a");
    struct item second = world_mutable(2, 5, "1:a");
    struct item never = world_mutable(3, 5, "1:a");
    uint64_t now_s = world.now_s;

    (void)state;
    assert_int_equal(put_for(&second, 100000, 700), LB_OK);
    assert_int_equal(put_for(&first, 100000, 600), LB_OK);
    assert_int_equal(world_put(&world, &never, "8.8.8.8:1"), LB_OK);
    assert_true(is_checked_after(0, &first));
    assert_true(is_checked_after(1, &second));
    assert_int_equal(read_check(2).check_s, 0);
    assert_int_equal(overdue(now_s + 600), 0);
    assert_int_equal(overdue(now_s + 601), 1);
    assert_int_equal(overdue(now_s + 5000), 2);
    assert_int_equal(apply_check(DB_SET_CHECK, &first, now_s + 900), LB_OK);
    assert_true(is_checked_after(0, &second));
    assert_int_equal(read_check(1).check_s, now_s + 900);
    assert_int_equal(read_check(1).calm, 2);
    assert_int_equal(overdue(now_s + 5000), 2);
    world_close(&world);
    world_open(&world);
    assert_int_equal(read_check(1).check_s, now_s + 900);
}

/* Until the sweep comes to them; there may be as many as the store holds. */
static void what_has_ended_is_not_counted_among_checks(void **state)
{
    struct item first = world_mutable(1, 5, "1:a");
    struct item second = world_mutable(2, 5, "1:a");

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct item ended = world_mutable(100 + i, 5, "1:a");

        assert_int_equal(put_for(&ended, 10, 400), LB_OK);
    }
    assert_int_equal(put_for(&first, 100000, 600), LB_OK);
    assert_int_equal(put_for(&second, 100000, 700), LB_OK);
    world.now_s += 11;
    assert_true(is_checked_after(0, &first));
    assert_true(is_checked_after(1, &second));
    assert_int_equal(read_check(2).check_s, 0);
}

static void a_check_is_of_one_version(void **state)
{
    struct item item = world_mutable(1, 5, "1:a");
    struct item newer = world_mutable(1, 6, "1:b");
    uint64_t now_s = world.now_s;

    (void)state;
    assert_int_equal(put_for(&item, 100000, 600), LB_OK);
    assert_int_equal(put_for(&newer, 100000, 500), LB_OK);
    assert_int_equal(apply_check(DB_SET_CHECK, &item, now_s + 3600), LB_NOT_FOUND);
    assert_int_equal(read_check(0).check_s, now_s + 500);
    assert_int_equal(overdue(now_s + 5000), 1);
}

/* A check has met a newer version that could not be stored here: what stands here is seen to. */
static void a_check_of_a_newer_version_counts_for_the_older(void **state)
{
    struct item item = world_mutable(1, 5, "1:a");
    struct item newer = world_mutable(1, 6, "1:b");
    uint64_t now_s = world.now_s;

    (void)state;
    assert_int_equal(put_for(&item, 100000, 600), LB_OK);
    assert_int_equal(apply_check(DB_SET_CHECK, &newer, now_s + 3600), LB_OK);
    assert_int_equal(read_check(0).check_s, now_s + 3600);
    assert_int_equal(read_check(0).item.seq, 5);
    assert_int_equal(overdue(now_s + 5000), 1);
}

/* Else who puts one version here and the next elsewhere would not be counted any more. */
static void a_version_that_a_check_brings_takes_the_space_of_the_one_before(void **state)
{
    struct item item = world_mutable(1, 5, "1:a");
    struct item newer = world_mutable(1, 6, "1:b");
    struct item other = world_mutable(2, 6, "1:b");
    struct db_op ops[] = { world_put_op(&world, &newer, "self"),
                           world_put_op(&world, &other, "self") };
    struct record_source source = world_source("8.8.8.8:1");
    struct item_record record;

    (void)state;
    assert_int_equal(put_for(&item, 100000, 600), LB_OK);
    ops[0].put.keeps_source = ops[1].put.keeps_source = true;
    world_apply_list(&world, ops, 2);
    assert_int_equal(ops[0].err, LB_OK);
    assert_int_equal(ops[1].err, LB_OK);
    assert_int_equal(db_read_begin(world.db), LB_OK);
    assert_int_equal(db_read_item(world.db, &ops[0].put.target, world.now_s, &record), LB_OK);
    assert_int_equal(record.item.seq, 6);
    assert_true(record_source_equal(&record.source, &source));
    assert_int_equal(db_read_item(world.db, &ops[1].put.target, world.now_s, &record), LB_OK);
    assert_true(record.source.is_self);
    db_read_end(world.db);
}

static void a_put_again_puts_the_check_off_but_not_for_ever(void **state)
{
    struct item item = world_mutable(1, 5, "1:a");
    uint64_t now_s = world.now_s;

    (void)state;
    assert_int_equal(put_for(&item, 100000, 600), LB_OK);
    world.now_s += 500;
    assert_int_equal(put_for(&item, 100000, 600), LB_OK);
    assert_int_equal(read_check(0).check_s, now_s + 1100);
    assert_int_equal(put_for(&item, 100000, 100), LB_OK); /* not sooner */
    assert_int_equal(read_check(0).check_s, now_s + 1100);
    assert_int_equal(put_for(&item, 100000, 50000), LB_OK);
    assert_int_equal(read_check(0).check_s, now_s + 10000);
    assert_int_equal(overdue(now_s + 100000), 1);
}

static void what_is_dropped_is_not_taken_older(void **state)
{
    uint8_t buffer[ITEM_VALUE_MAX];
    struct item item = world_mutable(1, 5, "1:a");
    struct item older = world_mutable(1, 4, "1:b");
    struct item fixed = world_item(1, 100, buffer);
    struct node_id target = item_target(&item);

    (void)state;
    assert_int_equal(put_for(&item, 100000, 600), LB_OK);
    assert_int_equal(put_for(&fixed, 100000, 600), LB_OK);
    assert_int_equal(apply_check(DB_DROP, &older, 0), LB_NOT_FOUND); /* a newer one came */
    assert_true(world_has(&world, &item));
    assert_int_equal(apply_check(DB_DROP, &item, 0), LB_OK);
    assert_int_equal(apply_check(DB_DROP, &fixed, 0), LB_OK);
    assert_int_equal(apply_check(DB_DROP, &fixed, 0), LB_NOT_FOUND);
    assert_int_equal(world_stats(&world).items, 0);
    assert_int_equal(overdue(UINT64_MAX), 0);
    world_close(&world);
    world_open(&world);
    assert_int_equal(db_read_begin(world.db), LB_OK);
    assert_int_equal(db_read_seen(world.db, &target, world.now_s), 5);
    db_read_end(world.db);
    assert_int_equal(put_for(&older, 100000, 600), LB_CONFLICT);
    assert_int_equal(put_for(&item, 100000, 600), LB_OK); /* the same may come back */
    assert_int_equal(put_for(&fixed, 100000, 600), LB_OK);
}

static void items_are_walked_in_order(void **state)
{
    struct item ended = world_mutable(7, 5, "1:a");
    struct node_id from = { { 0 } };
    struct item_record record;
    struct node_id target;
    unsigned count = 0;

    (void)state;
    assert_int_equal(world_put_many(&world, 0, 50, 100, "self"), 50);
    assert_int_equal(put_for(&ended, 1, 600), LB_OK);
    world.now_s += 2;
    assert_int_equal(db_read_begin(world.db), LB_OK);
    while (db_read_next_item(world.db, &from, world.now_s, &target, &record) == LB_OK) {
        struct node_id is_at = item_target(&record.item);

        assert_true(node_id_equal(&is_at, &target));
        assert_true(node_id_compare(&from, &target) <= 0);
        from = target;
        from.bytes[NODE_ID_SIZE - 1]++; /* SHA-1 has no two so near */
        count++;
    }
    db_read_end(world.db);
    assert_int_equal(count, 50);
}

/* Numbers of what ended are remembered, but not without end. */
static void remembered_numbers_are_bounded(void **state)
{
    enum { COUNT = 1000, TOGETHER = 100 };
    struct db_op ops[TOGETHER];
    struct item last = world_mutable(COUNT - 1, 4, "1:a");
    unsigned remembered = 0;

    (void)state;
    for (unsigned i = 0; i < COUNT; i += TOGETHER) {
        for (unsigned k = 0; k < TOGETHER; k++) {
            struct item item = world_mutable(i + k, 5, "1:a");

            ops[k] = world_put_op(&world, &item, "8.8.8.8:1");
            ops[k].put.ttl_s = 1;
        }
        world_apply_list(&world, ops, TOGETHER);
        world.now_s += 2;
        assert_int_equal(world_sweep(&world), TOGETHER);
    }
    assert_int_equal(db_read_begin(world.db), LB_OK);
    for (unsigned i = 0; i < COUNT; i++) {
        struct item item = world_mutable(i, 5, "1:a");
        struct node_id target = item_target(&item);

        remembered += db_read_seen(world.db, &target, world.now_s) == 5;
    }
    db_read_end(world.db);
    assert_int_equal(remembered, policy_seen_max(1024 * 1024));
    assert_int_equal(put_for(&last, 100, 600), LB_CONFLICT); /* the latest are those kept */
}

/* ---- limits ---- */

static void a_full_store_keeps_what_is_near(void **state)
{
    enum { COUNT = 3000, NEAR = 0x10, FAR = 0x80 };
    uint8_t buffer[ITEM_VALUE_MAX];
    unsigned near = 0;
    unsigned near_kept = 0;
    unsigned far_kept = 0;

    (void)state;
    world.own_id_known = true; /* all zero bits */
    (void)world_put_many(&world, 0, COUNT, 900, "self");
    for (unsigned i = 0; i < COUNT; i++) {
        struct item item = world_item(i, 900, buffer);
        unsigned distance = item_target(&item).bytes[0];

        near += distance < NEAR;
        near_kept += distance < NEAR && world_has(&world, &item);
        far_kept += distance >= FAR && world_has(&world, &item);
    }
    assert_in_range(near, 150, 230); /* a sixteenth of them */
    assert_int_equal(near_kept, near);
    assert_in_range(far_kept, 0, 8); /* one may come just when there is room */
    assert_in_range(world_stats(&world).items, 200, 600);
}

static void what_gave_way_is_not_rolled_back(void **state)
{
    struct item version = { 0 };
    struct item before;
    unsigned number = 0;

    (void)state;
    world.own_id_known = true;
    do {
        version = world_mutable(number++, 5, "1:a");
    } while (item_target(&version).bytes[0] < 0xf0);
    before = world_mutable(number - 1, 4, "1:b");
    assert_int_equal(world_put(&world, &version, "8.8.8.8:1"), LB_OK);
    (void)world_put_many(&world, 0, 1500, 900, "self");
    assert_false(world_has(&world, &version));
    assert_int_equal(world_put(&world, &before, "8.8.8.8:1"), LB_CONFLICT);
    world.now_s += POLICY_SEEN_S + 1;
    (void)world_sweep(&world);
    assert_int_equal(world_put(&world, &before, "8.8.8.8:1"), LB_OK);
}

static void a_flood_from_one_source_displaces_nobody(void **state)
{
    unsigned kept = 0;

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        char source[32];

        snprintf(source, sizeof source, "11.0.%u.1:6881", i);
        assert_int_equal(world_put_many(&world, i, 1, 500, source), 1);
    }
    assert_in_range(world_put_many(&world, 1000, 3000, 900, "66.6.6.6:6"), 50, 600);
    for (unsigned i = 0; i < 100; i++)
        kept += world_has_number(&world, i, 500);
    assert_int_equal(kept, 100);
    world.now_s += WORLD_ITEM_TTL_S + 1; /* what it stored has expired: it may store again */
    (void)world_sweep(&world);
    assert_int_equal(world_put_many(&world, 5000, 1, 900, "66.6.6.6:6"), 1);
}

/* More in one commit than the map can take: what does not fit is refused, the rest is stored. */
/* THREATS 2, row 5. Most are refused for their source's share, so the million is soon through. */
static void a_million_items_from_one_source_are_kept_within_bounds(void **state)
{
    enum { MILLION = 1000000, TOGETHER = 4000, OTHERS = 50 };
    static struct db_op ops[TOGETHER];
    static char values[TOGETHER][16];
    struct random random;

    (void)state;
    random_init(&random, 10);
    assert_int_equal(world_put_many(&world, 0, OTHERS, 500, "11.0.0.1:1"), OTHERS);
    for (unsigned first = 0; first < MILLION; first += TOGETHER) {
        for (unsigned i = 0; i < TOGETHER; i++) {
            int size = snprintf(values[i], sizeof values[i], "i%ue", first + i);
            struct item item = { .value = bytes_of(values[i], (size_t)size) };

            ops[i] = (struct db_op){ .kind = DB_PUT, .now_s = world.now_s };
            ops[i].put = (struct db_put){ .target = node_id_random(&random),
                                          .item = item,
                                          .source = world_source("66.6.6.6:6"),
                                          .ttl_s = UINT32_MAX };
        }
        world_apply_list(&world, ops, TOGETHER);
    }
    assert_true(world_stats(&world).item_bytes <= WORLD_MAP / 100 * POLICY_ITEMS_PERCENT / 2);
    assert_true(world_stats(&world).disk_bytes <= WORLD_MAP / 4);
    for (unsigned i = 0; i < OTHERS; i++)
        assert_true(world_has_number(&world, i, 500));
}

static void a_commit_too_large_is_halved(void **state)
{
    enum { COUNT = 1500 };
    struct db_op *ops = xcalloc(COUNT, sizeof *ops);
    uint8_t(*buffers)[ITEM_VALUE_MAX] = xcalloc(COUNT, sizeof *buffers);
    struct item *items = xcalloc(COUNT, sizeof *items);
    unsigned stored = 0;

    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        items[i] = world_item(i, 900, buffers[i]);
        ops[i] = world_put_op(&world, &items[i], "self");
    }
    world_apply_list(&world, ops, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        /* A later one may have displaced it: what counts is that none is there that was refused. */
        if (ops[i].err != LB_OK)
            assert_false(world_has(&world, &items[i]));
        stored += world_has(&world, &items[i]);
    }
    assert_in_range(stored, 100, 900);
    assert_int_equal(world_stats(&world).items, stored);
    world.now_s += WORLD_ITEM_TTL_S + 1;
    assert_int_equal(world_sweep(&world), stored);
    assert_int_equal(world_put(&world, &items[0], "self"), LB_OK);
    free(items);
    free(buffers);
    free(ops);
}

/* ---- a full disk ---- */

static void fill(const char *folder, size_t keep_free)
{
    char path[128];
    char block[4096];
    int fd;
    size_t written = 0;

    memset(block, 'f', sizeof block);
    snprintf(path, sizeof path, "%s/filler", folder);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    while (write(fd, block, sizeof block) == (ssize_t)sizeof block)
        written += sizeof block;
    if (ftruncate(fd, (off_t)(written > keep_free ? written - keep_free : 0)) != 0)
        exit(3);
    close(fd);
}

static bool on_a_full_disk(void)
{
    enum { COUNT = 300 };
    static struct db_op ops[COUNT];
    static uint8_t buffers[COUNT][ITEM_VALUE_MAX];
    static struct item items[COUNT];
    unsigned stored = 0;
    unsigned refused = 0;
    char path[128];

    for (unsigned i = 0; i < COUNT; i++) {
        items[i] = world_item(i, 900, buffers[i]);
        ops[i] = world_put_op(&world, &items[i], "self");
    }
    if (world_put(&world, &items[0], "self") != LB_OK)
        return false;
    fill(world.folder, 500 * 1024); /* more than the reserve, less than the commit needs */
    world_apply_list(&world, ops + 1, COUNT - 1);
    for (unsigned i = 1; i < COUNT; i++) {
        stored += ops[i].err == LB_OK && world_has(&world, &items[i]);
        refused += ops[i].err == LB_NO_SPACE && !world_has(&world, &items[i]);
    }
    fprintf(stderr, "full disk: %u stored, %u refused\n", stored, refused);
    if (stored + refused != COUNT - 1 || stored == 0 || refused == 0)
        return false;
    if (!world_has(&world, &items[0]))
        return false;
    if (world_put(&world, &items[COUNT - 1], "self") != LB_NO_SPACE)
        return false;
    world.now_s += WORLD_ITEM_TTL_S + 1; /* removing goes on */
    if (world_sweep(&world) != stored + 1)
        return false;
    snprintf(path, sizeof path, "%s/filler", world.folder);
    (void)unlink(path);
    if (world_put(&world, &items[5], "self") != LB_OK || !world_has(&world, &items[5]))
        return false;
    fill(world.folder, 8 * 1024); /* others fill the disk to the last page */
    return world_put(&world, &items[6], "self") == LB_NO_SPACE && world_has(&world, &items[5]);
}

static void a_full_disk_refuses_and_goes_on(void **state)
{
    pid_t child;
    int status = 0;

    (void)state;
    world_close(&world);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("lb", world.folder, "tmpfs", 0, "size=2m") != 0)
            _exit(77);
        world_open(&world);
        _exit(on_a_full_disk() ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    world_open(&world);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip(); /* only root may mount a small disk */
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- peers ---- */

static const struct node_id infohash = { { 1, 2, 3 } };
static const struct node_id other_infohash = { { 9 } };

static void peers_are_found(void **state)
{
    struct peer_record peers[10];

    (void)state;
    assert_int_equal(world_peers(&world, &infohash, false, false, peers, 10), 0);
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.4:5", false, "1.2.3.4:9"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.4:6", true, "1.2.3.4:9"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "[2a00::1]:7", false, "[2a00::1]:9"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "0.0.0.0:8", true, "self"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.4:5", false, "1.2.3.4:9"), LB_OK);
    assert_int_equal(world_peers(&world, &infohash, false, false, peers, 10), 3);
    assert_int_equal(world_peers(&world, &infohash, false, true, peers, 10), 1);
    assert_int_equal(peers[0].peer.port, 5);
    assert_int_equal(world_peers(&world, &infohash, true, false, peers, 10), 2);
    assert_int_equal(world_peers(&world, &infohash, false, false, peers, 2), 2);
    assert_int_equal(world_peers(&world, &other_infohash, false, false, peers, 10), 0);
    assert_int_equal(world_stats(&world).peers, 4);
}

static void peers_expire(void **state)
{
    struct peer_record peers[10];

    (void)state;
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.4:5", false, "1.2.3.4:9"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.5:5", false, "1.2.3.5:9"), LB_OK);
    world.now_s += WORLD_PEER_TTL_S - 5;
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.5:5", false, "1.2.3.5:9"), LB_OK);
    world.now_s += 10;
    assert_int_equal(world_peers(&world, &infohash, false, false, peers, 10), 1);
    assert_int_equal(world_sweep(&world), 1);
    assert_int_equal(world_stats(&world).peers, 1);
    world.now_s += WORLD_PEER_TTL_S;
    assert_int_equal(world_sweep(&world), 1);
    assert_int_equal(world_stats(&world).peers, 0);
}

struct counted {
    unsigned v4, v6, own, seeds;
};

static void count_peer(void *ctx, const struct peer_record *peer)
{
    struct counted *self = ctx;

    if (peer->is_self)
        self->own++;
    else if (address_is_v4(&peer->peer))
        self->v4++;
    else
        self->v6++;
    self->seeds += peer->seed;
}

static struct counted count_peers(const struct node_id *of)
{
    struct counted counted = { 0 };

    assert_int_equal(db_read_begin(world.db), LB_OK);
    db_each_peer(world.db, of, world.now_s, count_peer, &counted);
    db_read_end(world.db);
    return counted;
}

static void every_peer_is_told_whatever_it_is(void **state)
{
    struct counted counted;

    (void)state;
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.4:5", false, "1.2.3.4:9"), LB_OK);
    world.now_s += WORLD_PEER_TTL_S - 5;
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.4:6", true, "1.2.3.4:9"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "[2a00::1]:7", true, "[2a00::1]:9"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "0.0.0.0:8", true, "self"), LB_OK);
    assert_int_equal(world_announce(&world, &other_infohash, "1.2.3.4:5", false, "1.2.3.4:9"),
                     LB_OK);
    counted = count_peers(&infohash);
    assert_memory_equal(&counted, &((struct counted){ 2, 1, 1, 3 }), sizeof counted);
    world.now_s += 10; /* not swept yet, but expired */
    counted = count_peers(&infohash);
    assert_memory_equal(&counted, &((struct counted){ 1, 1, 1, 3 }), sizeof counted);
    counted = count_peers(&world.own_id);
    assert_memory_equal(&counted, &((struct counted){ 0 }), sizeof counted);
}

/* Infohashes first to first + count - 1, with two peers each. */
static void announce_infohashes(unsigned first, unsigned count)
{
    struct db_op *ops = xcalloc(2 * (size_t)count, sizeof *ops);

    for (unsigned i = 0; i < 2 * count; i++) {
        struct db_announce *announce = &ops[i].announce;

        ops[i].kind = DB_ANNOUNCE;
        ops[i].now_s = world.now_s;
        store_u32(announce->infohash.bytes, (first + i / 2) * 2654435761u);
        announce->peer = address_v4(10, 0, (uint8_t)(i >> 8), (uint8_t)i, 1);
        announce->source.address = announce->peer;
    }
    world_apply_list(&world, ops, 2 * (size_t)count);
    for (unsigned i = 0; i < 2 * count; i++)
        assert_int_equal(ops[i].err, LB_OK);
    free(ops);
}

static struct samples sample(struct random *random)
{
    struct samples samples;

    assert_int_equal(db_read_begin(world.db), LB_OK);
    db_read_samples(world.db, world.now_s, random, &samples);
    db_read_end(world.db);
    for (unsigned i = 1; i < samples.count; i++)
        assert_memory_not_equal(samples.infohashes[0], samples.infohashes[i], NODE_ID_SIZE);
    return samples;
}

static void infohashes_are_sampled(void **state)
{
    struct random random;
    struct samples samples;

    (void)state;
    random_init(&random, 3);
    samples = sample(&random);
    assert_int_equal(samples.count + samples.total, 0);
    announce_infohashes(0, 3);
    samples = sample(&random);
    assert_int_equal(samples.count, 3);
    assert_int_equal(samples.total, 3);
    announce_infohashes(3, 97);
    samples = sample(&random);
    assert_int_equal(samples.count, SAMPLES_MAX);
    assert_int_equal(samples.total, 100);
    announce_infohashes(100, DB_SAMPLE_WALK_MAX); /* more than are walked over: estimated */
    samples = sample(&random);
    assert_int_equal(samples.seen, DB_SAMPLE_WALK_MAX);
    assert_in_range(samples.total, DB_SAMPLE_WALK_MAX, DB_SAMPLE_WALK_MAX + 200);
}

static void announce_many(unsigned count, unsigned first)
{
    struct db_op *ops = xcalloc(count, sizeof *ops);

    for (unsigned i = 0; i < count; i++) {
        unsigned number = first + i;

        ops[i] = (struct db_op){
            .kind = DB_ANNOUNCE,
            .now_s = world.now_s,
            .announce = { .infohash = infohash,
                          .peer = address_v4(10, (uint8_t)(number >> 16), (uint8_t)(number >> 8),
                                             (uint8_t)number, 6881),
                          .random = number * 2654435761u },
        };
        ops[i].announce.source.address = ops[i].announce.peer;
    }
    world_apply_list(&world, ops, count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(ops[i].err, LB_OK);
    free(ops);
}

static void a_crowd_is_bounded_and_the_choice_is_fair(void **state)
{
    static struct peer_record peers[POLICY_PEERS_ANSWER];
    unsigned seen[1000] = { 0 };
    unsigned never = 0;

    (void)state;
    announce_many(1000, 0);
    assert_int_equal(world_stats(&world).peers, 1000);
    for (uint32_t i = 0; i < 400; i++) {
        const struct db_peers_query query = { .infohash = infohash,
                                              .random = i * 2654435761u,
                                              .peers_max = 50 };
        size_t count;

        assert_int_equal(db_read_begin(world.db), LB_OK);
        count = db_read_peers(world.db, &query, world.now_s, peers);
        db_read_end(world.db);
        assert_int_equal(count, 50);
        for (size_t k = 0; k < count; k++)
            seen[(unsigned)peers[k].peer.ip[14] * 256 + peers[k].peer.ip[15]]++;
    }
    for (unsigned i = 0; i < 1000; i++)
        never += seen[i] == 0;
    assert_int_equal(never, 0); /* each is wanted 20 times on average */
    announce_many(1500, 1000);
    assert_int_equal(world_stats(&world).peers, POLICY_PEERS_MAX);
    world.now_s += WORLD_PEER_TTL_S + 1;
    assert_int_equal(world_sweep(&world), POLICY_PEERS_MAX);
}

static void a_source_may_not_announce_without_end(void **state)
{
    static struct db_op ops[1010];
    unsigned refused = 0;

    (void)state;
    for (unsigned i = 0; i < 1010; i++)
        ops[i] = (struct db_op){ .kind = DB_ANNOUNCE,
                                 .now_s = world.now_s,
                                 .announce = { .infohash = infohash,
                                               .peer = address_v4(66, 6, 6, 6, (uint16_t)(i + 1)),
                                               .source = world_source("66.6.6.6:6") } };
    world_apply_list(&world, ops, 1010);
    for (unsigned i = 0; i < 1010; i++)
        refused += ops[i].err == LB_FULL;
    assert_int_equal(refused, 10);
    assert_int_equal(world_announce(&world, &infohash, "7.7.7.7:7", false, "7.7.7.7:7"), LB_OK);
}

/* ---- publications ---- */

static void publish(const struct node_id *group, const struct item *item, uint64_t version,
                    uint64_t due_s)
{
    struct db_op op = { .kind = DB_PUBLISH,
                        .now_s = world.now_s,
                        .publish = { .publication = { .group = *group,
                                                      .target = item_target(item),
                                                      .version = version,
                                                      .due_s = due_s },
                                     .item = *item } };

    world_apply(&world, &op);
    assert_int_equal(op.err, LB_OK);
}

static uint32_t take(struct db_taken taken[DB_TAKE_MAX])
{
    struct db_op op = { .kind = DB_TAKE_DUE,
                        .now_s = world.now_s,
                        .take = { .wanted = 2, .retry_s = 300, .taken = taken } };

    world_apply(&world, &op);
    assert_int_equal(op.err, LB_OK);
    return op.take.taken_count;
}

static void what_is_published_comes_up_again(void **state)
{
    static struct db_taken taken[DB_TAKE_MAX];
    struct item items[3] = { world_mutable(1, 5, "1:a"), world_mutable(2, 5, "1:b"),
                             world_mutable(3, 5, "1:c") };
    struct item_record record;
    struct node_id root = item_target(&items[0]);

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct node_id target = item_target(&items[i]);

        publish(&target, &items[i], 5, world.now_s + 100 + i);
    }
    assert_int_equal(take(taken), 0);
    world.now_s += 200;
    assert_int_equal(take(taken), 2);
    assert_true(node_id_equal(&taken[0].publication.group, &root));
    assert_int_equal(item_record_get(bytes_of(taken[0].record, taken[0].record_size), &record),
                     LB_OK);
    assert_true(item_is_same(&record.item, &items[0]));
    assert_int_equal(take(taken), 1);
    assert_int_equal(take(taken), 0); /* set back, though nobody said how it went */
    publish(&root, &items[0], 5, world.now_s + 1000);
    world.now_s += 400;
    assert_int_equal(take(taken), 2);
    assert_int_equal(take(taken), 0);
    world.now_s += 700;
    assert_int_equal(take(taken), 2);
    assert_int_equal(take(taken), 1);
}

static bool is_published(const struct node_id *root, const struct item *item)
{
    struct item_record record;
    bool is;

    assert_int_equal(db_read_begin(world.db), LB_OK);
    is = db_read_published(world.db, root, &record) == LB_OK && item_is_same(&record.item, item);
    db_read_end(world.db);
    return is;
}

static void a_new_version_takes_the_place_of_all_parts_of_the_old(void **state)
{
    static struct db_taken taken[DB_TAKE_MAX];
    uint8_t buffers[3][ITEM_VALUE_MAX];
    struct item root = world_mutable(1, 5, "1:a");
    struct item new_root = world_mutable(1, 6, "1:b");
    struct item old_part = world_item(1, 100, buffers[0]);
    struct item shared_part = world_item(2, 100, buffers[1]);
    struct item new_part = world_item(3, 100, buffers[2]);
    struct node_id group = item_target(&root);
    struct item other = world_mutable(2, 1, "1:o");
    struct node_id other_group = item_target(&other);
    struct db_op op = { .kind = DB_PRUNE };

    (void)state;
    publish(&other_group, &other, 1, world.now_s + 50);
    publish(&group, &old_part, 5, world.now_s + 10);
    publish(&group, &shared_part, 5, world.now_s + 10);
    publish(&group, &root, 5, world.now_s + 10);
    assert_int_equal(world_stats(&world).published, 4);
    publish(&group, &shared_part, 6, world.now_s + 20);
    publish(&group, &new_part, 6, world.now_s + 20);
    publish(&group, &new_root, 6, world.now_s + 20);
    op.group = (struct db_publication){ .group = group, .version = 6 };
    world_apply(&world, &op);
    assert_int_equal(world_stats(&world).published, 4);
    assert_true(is_published(&group, &new_root));
    world.now_s += 30;
    assert_int_equal(take(taken), 2);
    assert_int_equal(take(taken), 1);
    op.kind = DB_UNPUBLISH;
    world_apply(&world, &op);
    assert_int_equal(world_stats(&world).published, 1);
    assert_false(is_published(&group, &new_root));
    assert_true(is_published(&other_group, &other));
    world.now_s += 1000;
    assert_int_equal(take(taken), 1);
}

/* While version 5 was being put again the user has put version 6. */
static void what_was_put_meanwhile_is_not_forgotten_with_the_old(void **state)
{
    struct item old = world_mutable(1, 5, "1:a");
    struct item new = world_mutable(1, 6, "1:b");
    struct node_id group = item_target(&old);
    struct db_op again = { .kind = DB_PUBLISH,
                           .now_s = world.now_s,
                           .publish = { .publication = { .group = group,
                                                         .target = group,
                                                         .version = 5,
                                                         .due_s = world.now_s + 3600 },
                                        .item = old,
                                        .is_again = true } };
    struct db_op forget = { .kind = DB_UNPUBLISH, .group = { .group = group, .version = 5 } };

    (void)state;
    publish(&group, &new, 6, world.now_s + 10);
    world_apply(&world, &again);
    assert_int_equal(again.err, LB_NOT_FOUND);
    assert_true(is_published(&group, &new));
    world_apply(&world, &forget);
    assert_true(is_published(&group, &new));
    forget.group.version = 6;
    world_apply(&world, &forget);
    assert_int_equal(world_stats(&world).published, 0);
    world_apply(&world, &again); /* nor does it come back after it was removed */
    assert_int_equal(again.err, LB_NOT_FOUND);
    assert_int_equal(world_stats(&world).published, 0);
    publish(&group, &old, 5, world.now_s + 10);
    world_apply(&world, &again);
    assert_int_equal(again.err, LB_OK);
}

/* ---- the presence page's source ---- */

struct collected {
    unsigned targets;
    bool finished;
};

static void collect(void *ctx, const struct node_id *target)
{
    struct collected *collected = ctx;

    assert_true(target->bytes[0] == 1 || target->bytes[0] == 9 || target->bytes[0] != 0);
    collected->targets++;
}

static lb_err finished(void *ctx)
{
    struct collected *collected = ctx;

    collected->finished = true;
    return LB_OK;
}

static void every_target_is_told_once(void **state)
{
    uint8_t buffer[ITEM_VALUE_MAX];
    struct item item = world_item(1, 100, buffer);
    struct collected collected = { 0 };

    (void)state;
    assert_int_equal(world_put(&world, &item, "self"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.4:5", false, "1.2.3.4:9"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.4:6", false, "1.2.3.4:9"), LB_OK);
    assert_int_equal(world_announce(&world, &other_infohash, "1.2.3.4:6", false, "1.2.3.4:9"),
                     LB_OK);
    assert_int_equal(db_each_target(world.db, collect, finished, &collected), LB_OK);
    assert_int_equal(collected.targets, 3);
    assert_true(collected.finished);
}

/* ---- files ---- */

/* Behind the back of the store, which is closed. */
static void write_row(const char *table, struct bytes key_bytes, struct bytes value)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val key = { .mv_size = key_bytes.size, .mv_data = (void *)(uintptr_t)key_bytes.data };
    MDB_val data = { .mv_size = value.size, .mv_data = (void *)(uintptr_t)value.data };

    assert_int_equal(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, 16);
    assert_int_equal(mdb_env_open(env, world.folder, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, table, 0, &dbi), 0);
    assert_int_equal(mdb_put(txn, dbi, &key, &data, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void write_file(const char *content, size_t size)
{
    char path[128];
    int fd;

    snprintf(path, sizeof path, "%s/data.mdb", world.folder);
    fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, size), (ssize_t)size);
    close(fd);
}

static void a_file_of_something_else_is_set_aside(void **state)
{
    static char noise[8192];

    (void)state;
    memset(noise, 'n', sizeof noise);
    world_close(&world);
    write_file(noise, sizeof noise);
    assert_int_equal(world_try_open(&world), LB_CORRUPT);
    assert_null(world.db);
    assert_int_equal(db_set_aside(world.folder), LB_OK);
    world_open(&world);
    assert_int_equal(world_stats(&world).items, 0);
}

static void a_file_cut_short_is_set_aside(void **state)
{
    char path[128];
    struct stat whole;

    (void)state;
    assert_int_equal(world_put_many(&world, 0, 200, 500, "self"), 200);
    world_close(&world);
    snprintf(path, sizeof path, "%s/data.mdb", world.folder);
    assert_int_equal(stat(path, &whole), 0);
    for (int part = 3; part > 0; part--) {
        assert_int_equal(truncate(path, whole.st_size / 4 * part / 4096 * 4096), 0);
        assert_int_equal(world_try_open(&world), LB_CORRUPT);
        assert_null(world.db);
    }
    assert_int_equal(db_set_aside(world.folder), LB_OK);
    world_open(&world);
    assert_int_equal(world_stats(&world).items, 0);
}

static void write_schema(uint8_t number)
{
    const uint8_t schema[] = { 0, 0, 0, number };

    write_row("meta", bytes_of_text("schema"), bytes_of(schema, sizeof schema));
}

static void a_store_of_a_later_version_is_left_alone(void **state)
{
    (void)state;
    world_close(&world);
    write_schema(99);
    assert_int_equal(world_try_open(&world), LB_UNSUPPORTED);
    assert_null(world.db);
    write_schema(2);
    world_open(&world);
}

/* An item of version 1: value "5:hello", without an end and a check of its own. */
static void write_item_of_version_1(struct bytes target, uint64_t stored_s)
{
    uint8_t buffer[64];
    struct writer writer;

    writer_init(&writer, buffer, sizeof buffer);
    writer_u8(&writer, 1);
    writer_u8(&writer, 0);
    writer_u64(&writer, stored_s);
    writer_u64(&writer, stored_s);
    writer_u8(&writer, 0);
    writer_u8(&writer, 0);
    writer_u16(&writer, 7);
    writer_put(&writer, "5:hello", 7);
    write_row("items", target, bytes_of(buffer, writer.size));
}

static void a_store_of_version_1_is_taken_over(void **state)
{
    struct item item = { .value = bytes_of_text("5:hello") };
    struct node_id target = item_target(&item);
    uint8_t due[RECORD_DUE_MAX];
    struct writer writer;
    uint64_t now_s = world.now_s;

    (void)state;
    world_close(&world);
    write_schema(1);
    write_item_of_version_1(bytes_of(target.bytes, NODE_ID_SIZE), now_s);
    writer_init(&writer, due, sizeof due);
    due_record_put(&(struct due_record){ .kind = DUE_ITEM,
                                         .due_s = now_s + 100,
                                         .id = bytes_of(target.bytes, NODE_ID_SIZE) },
                   &writer);
    write_row("due", bytes_of(due, writer.size), bytes_of(NULL, 0));
    world_open(&world);
    assert_true(world_has(&world, &item));
    assert_int_equal(overdue(UINT64_MAX), 0);
    world.now_s = now_s + WORLD_ITEM_TTL_S;
    assert_int_equal(world_sweep(&world), 0);
    assert_true(world_has(&world, &item));
    assert_int_equal(put_for(&item, 100000, 600), LB_OK); /* from now on as the others */
    assert_int_equal(read_check(0).check_s, world.now_s + 600);
    assert_int_equal(read_check(0).checked_s, world.now_s);
    world.now_s += 100001;
    assert_int_equal(world_sweep(&world), 1);
    assert_int_equal(overdue(UINT64_MAX), 0);
}

/* Records that somebody damaged: left out, replaced, swept; never the end. */
static void damaged_records_are_left_out(void **state)
{
    uint8_t buffer[ITEM_VALUE_MAX];
    struct item item = world_item(1, 100, buffer);
    struct node_id target = item_target(&item);

    (void)state;
    assert_int_equal(world_put(&world, &item, "self"), LB_OK);
    world_close(&world);
    write_row("items", bytes_of(target.bytes, NODE_ID_SIZE), bytes_of_text("noise"));
    write_row("items", bytes_of(target.bytes, 3), bytes_of_text("noise"));
    write_row("due", bytes_of(target.bytes, 3), bytes_of_text("noise"));
    world_open(&world);
    assert_false(world_has(&world, &item));
    world.now_s += WORLD_ITEM_TTL_S + 10;
    (void)world_sweep(&world);
    assert_int_equal(world_put(&world, &item, "self"), LB_OK);
    assert_true(world_has(&world, &item));
}

#define IN(world_function, test) cmocka_unit_test_setup_teardown(test, world_function, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN(set_up, what_is_put_is_read),
        IN(set_up, versions_are_kept_in_order),
        IN(set_up, items_expire),
        IN(set_up, an_expired_item_is_replaced_before_it_is_swept),
        IN(set_up, an_item_lives_as_long_as_it_was_given),
        IN(set_up, a_life_has_its_limit),
        IN(set_up, checks_come_up_in_their_order),
        IN(set_up, what_has_ended_is_not_counted_among_checks),
        IN(set_up, a_check_is_of_one_version),
        IN(set_up, a_check_of_a_newer_version_counts_for_the_older),
        IN(set_up, a_version_that_a_check_brings_takes_the_space_of_the_one_before),
        IN(set_up, a_put_again_puts_the_check_off_but_not_for_ever),
        IN(set_up, what_is_dropped_is_not_taken_older),
        IN(set_up, items_are_walked_in_order),
        IN(set_up_small, remembered_numbers_are_bounded),
        IN(set_up_small, a_full_store_keeps_what_is_near),
        IN(set_up_small, what_gave_way_is_not_rolled_back),
        IN(set_up, a_flood_from_one_source_displaces_nobody),
        IN(set_up, a_million_items_from_one_source_are_kept_within_bounds),
        IN(set_up_small, a_commit_too_large_is_halved),
        IN(set_up, a_full_disk_refuses_and_goes_on),
        IN(set_up, peers_are_found),
        IN(set_up, peers_expire),
        IN(set_up, every_peer_is_told_whatever_it_is),
        IN(set_up, infohashes_are_sampled),
        IN(set_up, a_crowd_is_bounded_and_the_choice_is_fair),
        IN(set_up, a_source_may_not_announce_without_end),
        IN(set_up, what_is_published_comes_up_again),
        IN(set_up, a_new_version_takes_the_place_of_all_parts_of_the_old),
        IN(set_up, what_was_put_meanwhile_is_not_forgotten_with_the_old),
        IN(set_up, every_target_is_told_once),
        IN(set_up, a_file_of_something_else_is_set_aside),
        IN(set_up, a_file_cut_short_is_set_aside),
        IN(set_up, a_store_of_a_later_version_is_left_alone),
        IN(set_up, a_store_of_version_1_is_taken_over),
        IN(set_up, damaged_records_are_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
