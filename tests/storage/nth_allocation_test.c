/*
 * N-th allocation loops over the store: whichever is refused, to us or to LMDB, the process goes on
 * with an error or ends for want of memory; the store opens again, and what was acknowledged is
 * there.
 */
#include "tests/libcommon/nth_allocation.h"
#include "tests/storage/db_promise.h"

#include <string.h>

struct record {
    struct promise promise;
    char folder[64]; /* empty: the process ended before it had one */
};

static struct world world; /* of the process */

static void begin(void *ctx)
{
    struct record *record = ctx;

    promise_begin(&world, &record->promise);
    memcpy(record->folder, world.folder, sizeof record->folder);
}

static void work(void *ctx)
{
    struct record *record = ctx;

    promise_work(&world, &record->promise);
}

static void begin_and_close(void *ctx)
{
    begin(ctx);
    world_close(&world);
}

static void open_and_work(void *ctx)
{
    struct record *record = ctx;
    lb_err err = world_try_open(&world);

    assert_true(err != LB_CORRUPT && err != LB_UNSUPPORTED); /* or it would be set aside */
    if (err == LB_OK)
        promise_work(&world, &record->promise);
}

static void check(void *ctx)
{
    const struct record *record = ctx;
    struct world left = { .map_bytes = WORLD_MAP };

    assert_true(record->folder[0] != '\0');
    memcpy(left.folder, record->folder, sizeof left.folder);
    world_open(&left);
    promise_check(&left, &record->promise);
    world_done(&left);
}

int main(void)
{
    static const struct nth_allocation tests[] = {
        { "in a store that is open", sizeof(struct record), begin, work, check, 10 },
        { "while it is opened", sizeof(struct record), begin_and_close, open_and_work, check, 10 },
    };

    return nth_allocation_run("storage", tests, sizeof tests / sizeof tests[0]);
}
