/*
 * N-th failure loops over the store: whatever call on its files fails, once or from then on, an
 * operation says so, nothing crashes, the store opens again, and what was acknowledged is there.
 */
#include "tests/libcommon/nth_failure.h"
#include "tests/storage/db_world.h"

#include <stdio.h>
#include <stdlib.h>

#define BEFORE    6u /* items that are stored before anything fails */
#define MEANWHILE 4u /* and one after the other, while it may */
#define SIZE      700u
#define KEY       77u

struct promise {
    bool stored[BEFORE + MEANWHILE];
    bool refused[BEFORE + MEANWHILE]; /* for want of room: it must not stand there */
    uint64_t seq;
    bool swept; /* all that had ended is gone */
};

/* The store is usable on: what db_apply() returns says that. */
static bool apply(struct world *world, struct db_op *op)
{
    lb_err err;

    op->next = NULL;
    err = db_apply(world->db, op, NULL);
    assert_true(err == LB_OK || err == LB_IO); /* never LB_CORRUPT: nothing is */
    assert_true(err == LB_OK || op->err == err);
    return err == LB_OK;
}

static bool put_number(struct world *world, unsigned number, struct promise *promise)
{
    uint8_t buffer[ITEM_VALUE_MAX];
    struct item item = world_item(number, SIZE, buffer);
    struct db_op op = world_put_op(world, &item, "10.0.0.1:1");
    bool goes_on = apply(world, &op);

    promise->stored[number] = op.err == LB_OK;
    promise->refused[number] = op.err == LB_NO_SPACE;
    assert_true(op.err == LB_OK || op.err == LB_NO_SPACE || op.err == LB_IO);
    assert_true(op.err != LB_OK || world_has_number(world, number, SIZE));
    return goes_on;
}

static bool put_version(struct world *world, uint64_t seq, struct promise *promise)
{
    struct item item = world_mutable(KEY, seq, "1:v");
    struct db_op op = world_put_op(world, &item, "10.0.0.1:1");
    bool goes_on = apply(world, &op);

    if (op.err == LB_OK)
        promise->seq = seq;
    return goes_on;
}

static bool put_what_ends(struct world *world)
{
    struct item item = world_mutable(KEY + 1, 1, "1:v");
    struct db_op op = world_put_op(world, &item, "10.0.0.1:1");

    op.put.ttl_s = 1;
    return apply(world, &op);
}

static bool sweep(struct world *world, struct promise *promise)
{
    struct db_op op = { .kind = DB_SWEEP, .now_s = world->now_s + 2, .sweep = { .budget = 64 } };
    bool goes_on = apply(world, &op);

    promise->swept = op.err == LB_OK;
    return goes_on;
}

/* Until the store is unusable: then the process would end. */
static void work(struct world *world, struct promise *promise)
{
    bool goes_on = put_version(world, 2, promise) && put_what_ends(world);

    for (unsigned i = 0; i < MEANWHILE && goes_on; i++)
        goes_on = put_number(world, BEFORE + i, promise);
    if (goes_on)
        (void)(sweep(world, promise) && put_version(world, 3, promise));
}

static void check(struct world *world, const struct promise *promise)
{
    struct promise after = { .seq = 0 };

    for (unsigned i = 0; i < BEFORE + MEANWHILE; i++) {
        assert_true(!promise->stored[i] || world_has_number(world, i, SIZE));
        assert_true(!promise->refused[i] || !world_has_number(world, i, SIZE));
    }
    assert_true(world_seq(world, KEY) >= promise->seq);
    assert_true(!promise->swept || world_seq(world, KEY + 1) == 0);
    assert_true(put_version(world, 4, &after) && after.seq == 4); /* it is a whole store */
    assert_int_equal(world_seq(world, KEY), 4);
}

static void begin(struct world *world, struct promise *promise)
{
    *promise = (struct promise){ .seq = 0 };
    world_init(world, WORLD_MAP);
    for (unsigned i = 0; i < BEFORE; i++)
        assert_true(put_number(world, i, promise));
    assert_true(put_version(world, 1, promise));
}

static void in_a_store_that_is_open(struct nth_failure *self)
{
    struct promise promise;
    struct world world;

    begin(&world, &promise);
    nth_failure_arm(self);
    work(&world, &promise);
    nth_failure_disarm(self);
    world_close(&world);
    world_open(&world);
    check(&world, &promise);
    world_done(&world);
}

static void while_it_is_opened(struct nth_failure *self)
{
    struct promise promise;
    struct world world;
    lb_err err;

    begin(&world, &promise);
    world_close(&world);
    nth_failure_arm(self);
    err = world_try_open(&world);
    nth_failure_disarm(self);
    assert_true(err != LB_CORRUPT); /* or it would be set aside */
    assert_true(err != LB_UNSUPPORTED);
    world_close(&world);
    world_open(&world);
    check(&world, &promise);
    world_done(&world);
}

static void while_it_is_made(struct nth_failure *self)
{
    struct promise promise = { .seq = 0 };
    struct world world = { .map_bytes = WORLD_MAP };

    snprintf(world.folder, sizeof world.folder, "/tmp/lb-storage-test-XXXXXX");
    assert_non_null(mkdtemp(world.folder));
    nth_failure_arm(self);
    (void)!world_try_open(&world);
    nth_failure_disarm(self);
    world_close(&world);
    world_open(&world);
    check(&world, &promise);
    world_done(&world);
}

int main(void)
{
    return NTH_FAILURE_RUN(in_a_store_that_is_open, 10) + NTH_FAILURE_RUN(while_it_is_opened, 3) +
           NTH_FAILURE_RUN(while_it_is_made, 3);
}
