/*
 * N-th failure loops over the store: whatever call on its files fails, once or from then on, an
 * operation says so, nothing crashes, the store opens again, and what was acknowledged is there.
 */
#include "tests/libcommon/nth_failure.h"
#include "tests/storage/db_promise.h"

#include <stdio.h>
#include <stdlib.h>

static void in_a_store_that_is_open(struct nth_failure *self)
{
    struct promise promise;
    struct world world;

    promise_begin(&world, &promise);
    nth_failure_arm(self);
    promise_work(&world, &promise);
    nth_failure_disarm(self);
    world_close(&world);
    world_open(&world);
    promise_check(&world, &promise);
    world_done(&world);
}

static void while_it_is_opened(struct nth_failure *self)
{
    struct promise promise;
    struct world world;
    lb_err err;

    promise_begin(&world, &promise);
    world_close(&world);
    nth_failure_arm(self);
    err = world_try_open(&world);
    nth_failure_disarm(self);
    assert_true(err != LB_CORRUPT); /* or it would be set aside */
    assert_true(err != LB_UNSUPPORTED);
    world_close(&world);
    world_open(&world);
    promise_check(&world, &promise);
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
    promise_check(&world, &promise);
    world_done(&world);
}

int main(void)
{
    return NTH_FAILURE_RUN(in_a_store_that_is_open, 10) + NTH_FAILURE_RUN(while_it_is_opened, 3) +
           NTH_FAILURE_RUN(while_it_is_made, 3);
}
