/*
 * N-th failure loops over what lb-swarm keeps in files: whatever call fails, once or from then on,
 * somebody is told, nothing crashes, no wrong byte is served or called verified, and what was said
 * to be durable is there afterwards.
 */
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/catalogue.h"
#include "tests/libcommon/nth_failure.h"
#include "tests/swarm/disk_fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COMPLETED_S 5u

/* ---- the catalogue ---- */

static lb_err open_catalogue(const struct world *world, struct catalogue **ret_catalogue)
{
    char path[512];

    world_path(world, "torrents", path);
    return catalogue_open(ret_catalogue, path, world->pool);
}

static lb_err put(struct world *world, struct catalogue *catalogue, uint8_t number,
                  uint64_t completed_s, const char *torrent)
{
    struct order *order = xcalloc(1, sizeof *order);
    struct told told = { 0 };

    memset(order->infohash, number, sizeof order->infohash);
    strcpy(order->folder, "/home");
    order->completed_s = completed_s;
    if (catalogue_put(catalogue, order, bytes_of_text(torrent), pieces_finished, &told) == LB_OK)
        world_wait(world, &told.done, 1);
    else
        told.err = LB_IO;
    free(order);
    return told.err;
}

static lb_err write_record(struct world *world, struct catalogue *catalogue, uint8_t number)
{
    uint8_t infohash[20], *record = xmemdup("record", 6);
    struct told told = { 0 };

    memset(infohash, number, sizeof infohash);
    assert_int_equal(
        catalogue_write(catalogue, infohash, CATALOGUE_RESUME, &record, 6, pieces_finished, &told),
        LB_OK);
    world_wait(world, &told.done, 1);
    return told.err;
}

static lb_err forget(struct world *world, struct catalogue *catalogue, uint8_t number)
{
    uint8_t infohash[20];
    struct told told = { 0 };

    memset(infohash, number, sizeof infohash);
    assert_int_equal(catalogue_remove(catalogue, infohash, pieces_finished, &told), LB_OK);
    world_wait(world, &told.done, 1);
    return told.err;
}

static const struct order *find(const struct catalogue *catalogue, uint8_t number)
{
    uint8_t infohash[20];

    memset(infohash, number, sizeof infohash);
    return catalogue_find(catalogue, infohash);
}

/* It is read whole, or not at all. */
static bool has_part(const struct catalogue *catalogue, uint8_t number, enum catalogue_part part,
                     const char *expected)
{
    uint8_t infohash[20], *data = NULL;
    size_t size = 0;
    bool has;

    memset(infohash, number, sizeof infohash);
    has = catalogue_read(catalogue, infohash, part, &data, &size) == LB_OK;
    assert_true(!has || bytes_equal_text(bytes_of(data, size), expected));
    free(data);
    return has;
}

/* Orders 1 (with its torrent) and 3 stand. */
static struct catalogue *begin_catalogue(struct world *world)
{
    struct catalogue *catalogue = NULL;

    world_init(world, 0);
    assert_int_equal(open_catalogue(world, &catalogue), LB_OK);
    assert_int_equal(put(world, catalogue, 1, 0, "torrent"), LB_OK);
    assert_int_equal(put(world, catalogue, 3, 0, ""), LB_OK);
    return catalogue;
}

static void end_catalogue(struct world *world, struct catalogue **catalogue)
{
    catalogue_close(catalogue);
    world_done(world);
}

static void orders_are_written(struct nth_failure *self)
{
    struct world world;
    struct catalogue *catalogue = begin_catalogue(&world);
    lb_err second, completed, record, removed;

    nth_failure_arm(self);
    second = put(&world, catalogue, 2, 0, "other");
    completed = put(&world, catalogue, 1, COMPLETED_S, "");
    record = write_record(&world, catalogue, 1);
    removed = forget(&world, catalogue, 3);
    nth_failure_disarm(self);
    catalogue_close(&catalogue);
    assert_int_equal(open_catalogue(&world, &catalogue), LB_OK);
    assert_int_equal(catalogue_damaged(catalogue), 0);
    assert_non_null(find(catalogue, 1));
    assert_true(has_part(catalogue, 1, CATALOGUE_TORRENT, "torrent"));
    assert_true(completed != LB_OK || find(catalogue, 1)->completed_s == COMPLETED_S);
    assert_true(has_part(catalogue, 1, CATALOGUE_RESUME, "record") || record != LB_OK);
    assert_true(second != LB_OK || find(catalogue, 2) != NULL);
    assert_true(has_part(catalogue, 2, CATALOGUE_TORRENT, "other") || !find(catalogue, 2));
    assert_true(removed != LB_OK || find(catalogue, 3) == NULL);
    end_catalogue(&world, &catalogue);
}

static void orders_are_read(struct nth_failure *self)
{
    struct world world;
    struct catalogue *catalogue = begin_catalogue(&world);

    assert_int_equal(write_record(&world, catalogue, 1), LB_OK);
    catalogue_close(&catalogue);
    nth_failure_arm(self);
    if (open_catalogue(&world, &catalogue) == LB_OK) {
        assert_int_equal(catalogue_count(catalogue) + catalogue_damaged(catalogue), 2);
        (void)has_part(catalogue, 1, CATALOGUE_TORRENT, "torrent");
        (void)has_part(catalogue, 1, CATALOGUE_RESUME, "record");
    }
    nth_failure_disarm(self);
    catalogue_close(&catalogue);
    assert_int_equal(open_catalogue(&world, &catalogue), LB_OK);
    assert_int_equal(catalogue_count(catalogue), 2); /* not lost by what passes */
    assert_int_equal(catalogue_damaged(catalogue), 0);
    assert_true(has_part(catalogue, 1, CATALOGUE_TORRENT, "torrent"));
    assert_true(has_part(catalogue, 1, CATALOGUE_RESUME, "record"));
    end_catalogue(&world, &catalogue);
}

/* ---- content ---- */

static void pieces_are_written_and_read(struct nth_failure *self)
{
    struct world world;
    struct fetch_promise promise = { .record_size = 0 };

    world_init(&world, 0);
    world_torrent(&world, fetch_files, FETCH_PIECE);
    disk_never_read_at_once(world.disk);
    nth_failure_arm(self);
    fetch_work(&world, &promise);
    nth_failure_disarm(self);
    fetch_check(&world, &promise);
    world_done(&world);
}

static void content_is_checked(struct nth_failure *self)
{
    struct world world;
    struct told told = { 0 };
    struct storage *storage;

    world_init(&world, 0);
    world_torrent(&world, fetch_files, FETCH_PIECE);
    world_write_all(&world);
    world_write(&world, "class/b", world.content, 70 * 1024); /* not what belongs there */
    nth_failure_arm(self);
    storage = world_open(&world, STORAGE_SHARE, NO_RECORD, &told);
    if (told.err == LB_OK && storage_check(storage, NULL) == LB_OK) {
        world_wait(&world, &told.check_done, 1);
        for (uint32_t piece = 0; piece < world.metainfo->layout.piece_count; piece++)
            if (bitfield_has(storage_have(storage), piece))
                (void)fetch_read_piece(&world, storage, piece); /* each byte is compared */
    }
    nth_failure_disarm(self);
    world_close(&world, &storage, &told);
    world_done(&world);
}

int main(void)
{
    return NTH_FAILURE_RUN(orders_are_written, 10) + NTH_FAILURE_RUN(orders_are_read, 5) +
           NTH_FAILURE_RUN(pieces_are_written_and_read, 10) +
           NTH_FAILURE_RUN(content_is_checked, 5);
}
