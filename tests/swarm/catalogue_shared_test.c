/* Two workers, each with a catalogue of its own, in one folder. */
#include "services/swarm/catalogue_shared.h"

#include "libcommon/memory.h"
#include "tests/libcommon/cmocka_row.h"
#include "tests/swarm/disk_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint8_t ones[20] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
#define ONES "0101010101010101010101010101010101010101"

struct two {
    struct world world;
    struct catalogue *workers[2];
    struct told told;
};

static struct catalogue *open_worker(struct two *self, unsigned worker)
{
    struct catalogue *catalogue = NULL;
    char path[512];

    world_path(&self->world, "torrents", path);
    assert_int_equal(catalogue_open_shared(&catalogue, path, worker, self->world.pool), LB_OK);
    return catalogue;
}

static void two_init(struct two *self)
{
    memset(self, 0, sizeof(*self));
    world_init(&self->world, 0);
    for (unsigned i = 0; i < 2; i++)
        self->workers[i] = open_worker(self, i);
}

static void two_done(struct two *self)
{
    for (unsigned i = 0; i < 2; i++)
        catalogue_close(&self->workers[i]);
    world_done(&self->world);
}

static void on_done(void *ctx, lb_err err)
{
    struct told *told = ctx;

    told->done++;
    told->err = err;
}

static lb_err put(struct two *self, unsigned worker, uint64_t added_s)
{
    struct order *order = xcalloc(1, sizeof(*order));
    const unsigned before = self->told.done;
    lb_err err;

    memcpy(order->infohash, ones, 20);
    strcpy(order->folder, "/home");
    order->added_s = added_s;
    err =
        catalogue_put(self->workers[worker], order, bytes_of_text("torrent"), on_done, &self->told);
    free(order);
    if (err != LB_OK)
        return err;
    world_wait(&self->world, &self->told.done, before + 1);
    return self->told.err;
}

static void give(struct two *self, unsigned worker)
{
    const unsigned before = self->told.done;

    assert_int_equal(catalogue_give(self->workers[worker], ones, on_done, &self->told), LB_OK);
    world_wait(&self->world, &self->told.done, before + 1);
}

static bool is_there(struct two *self, const char *name)
{
    char inside[128], path[512];

    snprintf(inside, sizeof(inside), "torrents/%s", name);
    world_path(&self->world, inside, path);
    return access(path, F_OK) == 0;
}

static void an_order_has_one_holder(void **state)
{
    struct two two;

    (void)state;
    two_init(&two);
    assert_int_equal(put(&two, 0, 7), LB_OK);
    assert_int_equal(catalogue_take(two.workers[1], ones), LB_EXISTS);
    assert_int_equal(put(&two, 1, 8), LB_UNAVAILABLE);
    assert_int_equal(catalogue_count(two.workers[1]), 0);
    give(&two, 0);
    assert_int_equal(catalogue_count(two.workers[0]), 0);
    assert_int_equal(catalogue_take(two.workers[1], ones), LB_OK);
    assert_int_equal(catalogue_find(two.workers[1], ones)->added_s, 7);
    assert_int_equal(catalogue_take(two.workers[0], ones), LB_EXISTS);
    two_done(&two);
}

static void it_is_given_after_what_is_being_written(void **state)
{
    struct two two;
    uint8_t *data = NULL;
    size_t size = 0;

    (void)state;
    two_init(&two);
    assert_int_equal(put(&two, 0, 7), LB_OK);
    for (uint8_t i = 0; i < 20; i++) {
        uint8_t *record = xmemdup(&i, 1);

        assert_int_equal(
            catalogue_write(two.workers[0], ones, CATALOGUE_RESUME, &record, 1, NULL, NULL), LB_OK);
    }
    give(&two, 0);
    assert_int_equal(catalogue_take(two.workers[1], ones), LB_OK);
    assert_int_equal(catalogue_read(two.workers[1], ones, CATALOGUE_RESUME, &data, &size), LB_OK);
    assert_int_equal(data[0], 19);
    free(data);
    two_done(&two);
}

static void who_ends_holds_nothing(void **state)
{
    struct two two;

    (void)state;
    two_init(&two);
    assert_int_equal(put(&two, 0, 7), LB_OK);
    catalogue_close(&two.workers[0]);
    assert_int_equal(catalogue_take(two.workers[1], ones), LB_OK);
    two_done(&two);
}

static void what_is_removed_is_free(void **state)
{
    struct two two;
    unsigned before;

    (void)state;
    two_init(&two);
    assert_int_equal(put(&two, 0, 7), LB_OK);
    before = two.told.done;
    assert_int_equal(catalogue_remove(two.workers[0], ones, on_done, &two.told), LB_OK);
    assert_int_equal(catalogue_take(two.workers[1], ones), LB_EXISTS); /* while it goes */
    assert_int_equal(catalogue_take(two.workers[0], ones), LB_NOT_FOUND);
    world_wait(&two.world, &two.told.done, before + 1);
    assert_int_equal(catalogue_take(two.workers[1], ones), LB_NOT_FOUND);
    assert_int_equal(put(&two, 1, 8), LB_OK);
    two_done(&two);
}

/* Ordered again while the removal is on its way: it stays held. */
static void what_is_removed_and_ordered_again_is_held(void **state)
{
    struct two two;

    (void)state;
    two_init(&two);
    assert_int_equal(put(&two, 0, 7), LB_OK);
    assert_int_equal(catalogue_remove(two.workers[0], ones, NULL, NULL), LB_OK);
    assert_int_equal(put(&two, 0, 8), LB_OK);
    assert_int_equal(catalogue_take(two.workers[1], ones), LB_EXISTS);
    assert_int_equal(catalogue_find(two.workers[0], ones)->added_s, 8);
    two_done(&two);
}

static void all_workers_see_all_orders(void **state)
{
    struct two two;
    struct order *order = xcalloc(1, sizeof(*order));
    uint8_t *infohashes = NULL;
    size_t count = 0;

    (void)state;
    two_init(&two);
    assert_int_equal(put(&two, 0, 7), LB_OK);
    assert_int_equal(catalogue_list(two.workers[1], &infohashes, &count), LB_OK);
    assert_int_equal(count, 1);
    assert_memory_equal(infohashes, ones, 20);
    assert_int_equal(catalogue_peek(two.workers[1], ones, order), LB_OK);
    assert_int_equal(order->added_s, 7);
    free(infohashes);
    free(order);
    two_done(&two);
}

/* Worker 0 holds the ones; the file is there when worker 1 starts again. */
static const struct row {
    const char *what, *name;
    bool stays;
} rows[] = {
    { "what a live worker is writing stays", ONES ".order.new", true },
    { "what nobody is writing is swept", "0202020202020202020202020202020202020202.order.new",
      false },
    { "parts without an order are swept", "0202020202020202020202020202020202020202.torrent",
      false },
    { "what another hands over stays", "0202020202020202020202020202020202020202.torrent.hand0",
      true },
    { "what it handed over itself is swept",
      "0202020202020202020202020202020202020202.torrent.hand1", false },
};

static void test_sweep(void **state)
{
    const struct row *row = *state;
    struct two two;
    char inside[128];

    two_init(&two);
    assert_int_equal(put(&two, 0, 7), LB_OK);
    snprintf(inside, sizeof(inside), "torrents/%s", row->name);
    world_write(&two.world, inside, (const uint8_t *)"x", 1);
    catalogue_close(&two.workers[1]);
    two.workers[1] = open_worker(&two, 1);
    assert_int_equal(is_there(&two, row->name), row->stays);
    two_done(&two);
}

static void files_are_handed_to_the_owner(void **state)
{
    struct two two;
    uint8_t *torrent = xmemdup("torrent", 7), *record = xmemdup("record", 6), *data = NULL;
    size_t size = 0;

    (void)state;
    two_init(&two);
    assert_int_equal(
        catalogue_hand(two.workers[1], ones, 1, &torrent, 7, &record, 6, on_done, &two.told),
        LB_OK);
    world_wait(&two.world, &two.told.done, 1);
    assert_int_equal(two.told.err, LB_OK);
    assert_int_equal(catalogue_handed(two.workers[0], ones, 1, CATALOGUE_RESUME, &data, &size),
                     LB_OK);
    assert_true(bytes_equal_text(bytes_of(data, size), "record"));
    free(data);
    assert_int_equal(catalogue_handed(two.workers[0], ones, 0, CATALOGUE_RESUME, &data, &size),
                     LB_NOT_FOUND);
    catalogue_drop_handed(two.workers[0], ones, 1);
    assert_int_equal(catalogue_handed(two.workers[0], ones, 1, CATALOGUE_TORRENT, &data, &size),
                     LB_NOT_FOUND);
    two_done(&two);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_has_one_holder),
        cmocka_unit_test(it_is_given_after_what_is_being_written),
        cmocka_unit_test(who_ends_holds_nothing),
        cmocka_unit_test(what_is_removed_is_free),
        cmocka_unit_test(what_is_removed_and_ordered_again_is_held),
        cmocka_unit_test(all_workers_see_all_orders),
        cmocka_unit_test(files_are_handed_to_the_owner),
    };

    return RUN_ROWS(rows, test_sweep) + cmocka_run_group_tests(tests, NULL, NULL);
}
