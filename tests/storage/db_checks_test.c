/* Lives and checks of items (upkeep.h), and what is remembered of those that ended. */
#include "services/storage/db.h"

#include "services/storage/value.h"
#include "tests/storage/db_fixture.h"

#include <stdlib.h>
#include <string.h>

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
    if (db_read_check(world.db, NULL, skip, world.now_s, &target, &record) != LB_OK)
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
    is = db_read_check(world.db, NULL, skip, world.now_s, &target, &record) == LB_OK &&
         item_is_same(&record.item, item);
    db_read_end(world.db);
    return is;
}

static uint32_t overdue(uint64_t before_s)
{
    uint32_t count;

    assert_int_equal(db_read_begin(world.db), LB_OK);
    count = db_read_overdue(world.db, NULL, before_s, 100);
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
    assert_int_equal(remembered, policy_seen_max(WORLD_MAP_SMALL));
    assert_int_equal(put_for(&last, 100, 600), LB_CONFLICT); /* the latest are those kept */
}

/* Its old row in due is found by nobody any more, and must not hide what is due behind it. */
static void a_check_of_what_was_damaged_is_no_check(void **state)
{
    struct item damaged = world_mutable(1, 5, "1:a");
    struct item other = world_mutable(2, 5, "1:a");
    struct node_id target = item_target(&damaged);

    (void)state;
    assert_int_equal(put_for(&damaged, 100000, 100), LB_OK);
    assert_int_equal(put_for(&other, 100000, 600), LB_OK);
    world_close(&world);
    world_write_row(&world, "items", bytes_of(target.bytes, NODE_ID_SIZE), bytes_of_text("noise"));
    world_open(&world);
    assert_int_equal(put_for(&damaged, 100000, 700), LB_OK);
    assert_true(is_checked_after(0, &other));
    assert_true(is_checked_after(1, &damaged));
    assert_int_equal(read_check(2).check_s, 0);
}

static void write_schema(uint8_t number)
{
    const uint8_t schema[] = { 0, 0, 0, number };

    world_write_row(&world, "meta", bytes_of_text("schema"), bytes_of(schema, sizeof schema));
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
    world_write_row(&world, "items", target, bytes_of(buffer, writer.size));
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
    world_write_row(&world, "due", bytes_of(due, writer.size), bytes_of(NULL, 0));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        IN(set_up, a_check_of_what_was_damaged_is_no_check),
        IN(set_up, a_store_of_version_1_is_taken_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
