#include "services/swarm/catalogue.h"

#include "libcommon/memory.h"
#include "tests/libcommon/cmocka_row.h"
#include "tests/swarm/disk_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct catalogue *open_catalogue(struct world *world)
{
    struct catalogue *catalogue = NULL;
    char path[512];

    world_path(world, "torrents", path);
    assert_int_equal(catalogue_open(&catalogue, path, world->pool), LB_OK);
    return catalogue;
}

static struct order *order_of(uint8_t number)
{
    struct order *order = xcalloc(1, sizeof(*order));

    memset(order->infohash, number, sizeof(order->infohash));
    strcpy(order->folder, "/home");
    order->added_s = number;
    return order;
}

static void on_done(void *ctx, lb_err err)
{
    struct told *told = ctx;

    told->done++;
    told->err = err;
}

static lb_err put(struct world *world, struct catalogue *catalogue, uint8_t number,
                  const char *torrent)
{
    struct order *order = order_of(number);
    struct told told = { 0 };
    lb_err err = catalogue_put(catalogue, order, bytes_of_text(torrent), on_done, &told);

    free(order);
    if (err != LB_OK)
        return err;
    assert_int_equal(told.done, 0);
    world_wait(world, &told.done, 1);
    return told.err;
}

static void assert_part(const struct catalogue *catalogue, uint8_t number, enum catalogue_part part,
                        const char *expected)
{
    uint8_t infohash[20], *data = NULL;
    size_t size = 0;
    lb_err err;

    memset(infohash, number, sizeof(infohash));
    err = catalogue_read(catalogue, infohash, part, &data, &size);
    assert_int_equal(err, expected ? LB_OK : LB_NOT_FOUND);
    if (expected)
        assert_true(bytes_equal_text(bytes_of(data, size), expected));
    free(data);
}

static void an_order_stands_once_it_is_told(void **state)
{
    struct world world;
    struct catalogue *catalogue, *after;
    struct told told = { 0 };
    uint8_t infohash[20], *record = xmemdup("record", 6);

    (void)state;
    world_init(&world, 0);
    catalogue = open_catalogue(&world);
    assert_int_equal(catalogue_count(catalogue), 0);
    assert_int_equal(put(&world, catalogue, 1, "torrent"), LB_OK);
    assert_int_equal(put(&world, catalogue, 2, ""), LB_OK);
    memset(infohash, 1, sizeof(infohash));
    assert_int_equal(
        catalogue_write(catalogue, infohash, CATALOGUE_RESUME, &record, 6, on_done, &told), LB_OK);
    assert_null(record);
    world_wait(&world, &told.done, 1);

    /* As after kill -9: nothing is closed. */
    after = open_catalogue(&world);
    assert_int_equal(catalogue_count(after), 2);
    assert_int_equal(catalogue_damaged(after), 0);
    assert_int_equal(catalogue_find(after, infohash)->added_s, 1);
    assert_part(after, 1, CATALOGUE_TORRENT, "torrent");
    assert_part(after, 1, CATALOGUE_RESUME, "record");
    assert_part(after, 2, CATALOGUE_TORRENT, NULL);
    catalogue_close(&after);

    assert_int_equal(catalogue_remove(catalogue, infohash, on_done, &told), LB_OK);
    assert_null(catalogue_find(catalogue, infohash));
    world_wait(&world, &told.done, 2);
    after = open_catalogue(&world);
    assert_int_equal(catalogue_count(after), 1);
    assert_part(after, 1, CATALOGUE_TORRENT, NULL);
    catalogue_close(&after);
    catalogue_close(&catalogue);
    world_done(&world);
}

static void an_order_is_replaced_as_a_whole(void **state)
{
    struct world world;
    struct catalogue *catalogue;
    struct order *order = order_of(1);
    struct told told = { 0 };

    (void)state;
    world_init(&world, 0);
    catalogue = open_catalogue(&world);
    /* Not waited for in between: they stay in order. */
    for (uint64_t i = 1; i <= 20; i++) {
        order->completed_s = i;
        assert_int_equal(catalogue_put(catalogue, order, bytes_of(NULL, 0), on_done, &told), LB_OK);
    }
    world_wait(&world, &told.done, 20);
    assert_int_equal(catalogue_count(catalogue), 1);
    catalogue_close(&catalogue);
    catalogue = open_catalogue(&world);
    assert_int_equal(catalogue_count(catalogue), 1);
    assert_int_equal(catalogue_at(catalogue, 0)->completed_s, 20);
    catalogue_close(&catalogue);
    free(order);
    world_done(&world);
}

#define ONES "0101010101010101010101010101010101010101"
#define TWOS "0202020202020202020202020202020202020202"

/* Order 1 stands; a file is put beside it, then all is opened again. */
static const struct row {
    const char *what, *name, *content;
    size_t damaged;
    bool stays;
    const char *becomes;
} rows[] = {
    { "a temporary file is swept", TWOS ".order.new", "d", 0, false, NULL },
    { "a torrent without an order is swept", TWOS ".torrent", "d", 0, false, NULL },
    { "a record without an order is swept", TWOS ".resume", "d", 0, false, NULL },
    { "who finished of what has no order, too", TWOS ".outcomes", "d", 0, false, NULL },
    { "parts of an order stay", ONES ".resume", "d", 0, true, NULL },
    { "a damaged order is set aside", TWOS ".order", "damaged", 1, false, TWOS ".order.damaged" },
    { "an empty order is set aside", TWOS ".order", "", 1, false, TWOS ".order.damaged" },
    { "a stranger's file stays", "README", "x", 0, true, NULL },
    { "a name nearly ours stays", "xx.torrent", "x", 0, true, NULL },
};

static bool is_there(const struct world *world, const char *name)
{
    char inside[128], path[512];

    snprintf(inside, sizeof(inside), "torrents/%s", name);
    world_path(world, inside, path);
    return access(path, F_OK) == 0;
}

static void test_left_over(void **state)
{
    const struct row *row = *state;
    struct world world;
    struct catalogue *catalogue;
    char inside[128];

    world_init(&world, 0);
    catalogue = open_catalogue(&world);
    assert_int_equal(put(&world, catalogue, 1, "torrent"), LB_OK);
    catalogue_close(&catalogue);
    snprintf(inside, sizeof(inside), "torrents/%s", row->name);
    world_write(&world, inside, (const uint8_t *)row->content, strlen(row->content));
    catalogue = open_catalogue(&world);
    assert_int_equal(catalogue_count(catalogue), 1);
    assert_int_equal(catalogue_damaged(catalogue), row->damaged);
    assert_int_equal(is_there(&world, row->name), row->stays);
    if (row->becomes)
        assert_true(is_there(&world, row->becomes));
    catalogue_close(&catalogue);
    world_done(&world);
}

static void an_order_under_another_name_is_damaged(void **state)
{
    struct world world;
    struct catalogue *catalogue;
    char from[512], to[512];

    (void)state;
    world_init(&world, 0);
    catalogue = open_catalogue(&world);
    assert_int_equal(put(&world, catalogue, 1, "torrent"), LB_OK);
    catalogue_close(&catalogue);
    world_path(&world, "torrents/" ONES ".order", from);
    world_path(&world, "torrents/" TWOS ".order", to);
    assert_int_equal(rename(from, to), 0);
    catalogue = open_catalogue(&world);
    assert_int_equal(catalogue_count(catalogue), 0);
    assert_int_equal(catalogue_damaged(catalogue), 1);
    catalogue_close(&catalogue);
    world_done(&world);
}

static void what_cannot_be_written_is_not_in_it(void **state)
{
    struct world world;
    struct catalogue *catalogue;
    char path[512];

    (void)state;
    world_init(&world, 0);
    catalogue = open_catalogue(&world);
    world_path(&world, "torrents", path);
    assert_int_equal(rmdir(path), 0); /* the folder is gone under it */
    assert_int_not_equal(put(&world, catalogue, 1, "torrent"), LB_OK);
    assert_int_equal(catalogue_count(catalogue), 0);
    catalogue_close(&catalogue);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_stands_once_it_is_told),
        cmocka_unit_test(an_order_is_replaced_as_a_whole),
        cmocka_unit_test(an_order_under_another_name_is_damaged),
        cmocka_unit_test(what_cannot_be_written_is_not_in_it),
    };

    return RUN_ROWS(rows, test_left_over) + cmocka_run_group_tests(tests, NULL, NULL);
}
