#include "tests/storage/db_promise.h"

#define SIZE 700u
#define KEY  77u

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

void promise_work(struct world *world, struct promise *promise)
{
    bool goes_on = put_version(world, 2, promise) && put_what_ends(world);

    for (unsigned i = 0; i < PROMISE_MEANWHILE && goes_on; i++)
        goes_on = put_number(world, PROMISE_BEFORE + i, promise);
    if (goes_on)
        (void)(sweep(world, promise) && put_version(world, 3, promise));
}

void promise_check(struct world *world, const struct promise *promise)
{
    struct promise after = { .seq = 0 };

    for (unsigned i = 0; i < PROMISE_BEFORE + PROMISE_MEANWHILE; i++) {
        assert_true(!promise->stored[i] || world_has_number(world, i, SIZE));
        assert_true(!promise->refused[i] || !world_has_number(world, i, SIZE));
    }
    assert_true(world_seq(world, KEY) >= promise->seq);
    assert_true(!promise->swept || world_seq(world, KEY + 1) == 0);
    assert_true(put_version(world, 4, &after) && after.seq == 4); /* it is a whole store */
    assert_int_equal(world_seq(world, KEY), 4);
}

void promise_begin(struct world *world, struct promise *promise)
{
    *promise = (struct promise){ .seq = 0 };
    world_init(world, WORLD_MAP);
    for (unsigned i = 0; i < PROMISE_BEFORE; i++)
        assert_true(put_number(world, i, promise));
    assert_true(put_version(world, 1, promise));
}
