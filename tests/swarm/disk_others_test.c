/* What others do to a torrent's files: changed, removed, replaced, put in the way, swapped. */
#include "services/swarm/disk.h"

#include "services/swarm/bitfield.h"
#include "tests/swarm/disk_pieces.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void a_file_changed_while_it_is_seeded_is_noticed(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct pieces_reading reading;
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    storage = pieces_begin_share(&world, pieces_several, SEVERAL_PIECE, &told);
    world_write(&world, "class/b", world.content, 70 * KIB);
    assert_false(pieces_ask(&reading, storage, (struct disk_read){ .piece = 4, .size = 5 }));
    world_wait(&world, &reading.done, 1);
    assert_int_equal(reading.err, LB_CONFLICT);
    assert_int_equal(told.troubled, 1);
    assert_non_null(strstr(storage_problem(storage), "class/b"));
    assert_int_equal(pieces_count(&world, storage), 3);
    /* The others are as good as before. */
    pieces_read_well(&world, storage, (struct disk_read){ .piece = 0, .size = 5 });
    world_close(&world, &storage, &told);
    world_done(&world);
}

static void a_file_removed_while_it_is_seeded_is_noticed(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct pieces_reading reading;
    struct storage *storage;
    char path[512];

    (void)state;
    world_init(&world, 0);
    storage = pieces_begin_share(&world, pieces_several, SEVERAL_PIECE, &told);
    world_path(&world, "class/b", path);
    assert_int_equal(unlink(path), 0);
    assert_false(pieces_ask(&reading, storage, (struct disk_read){ .piece = 4, .size = 5 }));
    world_wait(&world, &reading.done, 1);
    assert_int_equal(reading.err, LB_NOT_FOUND);
    assert_int_equal(told.troubled, 1);
    assert_int_equal(pieces_count(&world, storage), 3);
    world_close(&world, &storage, &told);
    world_done(&world);
}

static void a_file_replaced_by_the_same_is_taken_up(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct pieces_reading reading;
    struct storage *storage;
    char path[512];

    (void)state;
    world_init(&world, 0);
    storage = pieces_begin_share(&world, pieces_several, SEVERAL_PIECE, &told);
    pieces_read_well(&world, storage, (struct disk_read){ .piece = 3, .size = 5 }); /* now open */
    world_path(&world, "class/b", path);
    assert_int_equal(unlink(path), 0);
    world_write_all(&world);
    assert_false(pieces_ask(&reading, storage, (struct disk_read){ .piece = 4, .size = 5 }));
    world_wait(&world, &reading.done, 1);
    assert_int_not_equal(reading.err, LB_OK);
    pieces_check_all(&world, storage, &told);
    assert_int_equal(pieces_count(&world, storage), 6);
    for (uint32_t i = 0; i < 6; i++)
        pieces_read_well(&world, storage, (struct disk_read){ .piece = i, .size = 5 });
    world_close(&world, &storage, &told);
    world_done(&world);
}

/* One obstacle before a fetch is opened and piece 0 (class/a/first) is written. */
static const struct obstacle_row {
    const char *what;
    enum { SYMLINK, FIFO, FOLDER, FILE_THERE, TOO_LONG, NO_FOLDER } kind;
    const char *at;
    lb_err open, write;
} obstacle_rows[] = {
    { "the torrent's folder is a symlink", SYMLINK, "class", LB_DENIED, LB_OK },
    { "a folder is a symlink", SYMLINK, "class/a", LB_DENIED, LB_OK },
    { "a file is a symlink", SYMLINK, "class/a/first", LB_DENIED, LB_OK },
    { "a file is a FIFO", FIFO, "class/a/first", LB_DENIED, LB_OK },
    { "a file is a folder", FOLDER, "class/a/first", LB_DENIED, LB_OK },
    { "a folder is a file", FILE_THERE, "class/a", LB_DENIED, LB_OK },
    { "a file is longer: another one", TOO_LONG, "class/a/second", LB_EXISTS, LB_OK },
    { "the folder to write into is gone", NO_FOLDER, "", LB_NOT_FOUND, LB_OK },
    { "a shorter file is taken up", FILE_THERE, "class/a/first", LB_OK, LB_OK },
};

static void put_obstacle(const struct world *world, const struct obstacle_row *row,
                         const char *outside)
{
    char path[512];

    world_write(world, "class/x", NULL, 0);
    if (strncmp(row->at, "class/a/", 8) == 0)
        world_write(world, "class/a/x", NULL, 0);
    world_path(world, row->at, path);
    if (row->kind == SYMLINK && strcmp(row->at, "class") == 0) {
        char inside[512];

        world_path(world, "class/x", inside);
        unlink(inside);
        assert_int_equal(rmdir(path), 0);
    }
    if (row->kind == SYMLINK)
        assert_int_equal(symlink(outside, path), 0);
    else if (row->kind == FIFO)
        assert_int_equal(mkfifo(path, 0600), 0);
    else if (row->kind == FOLDER)
        assert_int_equal(mkdir(path, 0700), 0);
    else if (row->kind == FILE_THERE)
        world_write(world, row->at, (const uint8_t *)"x", 1);
    else if (row->kind == TOO_LONG)
        world_write(world, row->at, (const uint8_t *)"longer", 6);
}

static void test_obstacle(void **state)
{
    const struct obstacle_row *row = *state;
    struct world world, elsewhere;
    struct told told = { 0 };
    struct storage *storage;

    world_init(&elsewhere, 0);
    world_init(&world, 0);
    world_torrent(&world, pieces_several, SEVERAL_PIECE);
    put_obstacle(&world, row, elsewhere.folder);
    if (row->kind == NO_FOLDER)
        strcat(world.folder, "-gone");
    storage = world_open(&world, STORAGE_FETCH, NO_RECORD, &told);
    if (row->kind == NO_FOLDER)
        world.folder[strlen(world.folder) - 5] = '\0';
    assert_int_equal(told.err, row->open);
    if (row->open == LB_OK)
        assert_int_equal(pieces_write(&world, storage, 0), row->write);
    else
        assert_null(assembly_new(storage, 0));
    world_close(&world, &storage, &told);
    assert_int_equal(rmdir(elsewhere.folder), 0); /* nothing was put there */
    assert_int_equal(mkdir(elsewhere.folder, 0700), 0);
    world_done(&world);
    world_done(&elsewhere);
}

/* ---- somebody who swaps a folder for a symlink all the time ---- */

struct swapper {
    pthread_t thread;
    char folder[512], aside[512], outside[64];
    _Atomic bool stop;
};

static void *swap(void *ctx)
{
    struct swapper *self = ctx;

    while (!self->stop) {
        (void)!rename(self->folder, self->aside);
        (void)!symlink(self->outside, self->folder);
        (void)!unlink(self->folder);
        (void)!rename(self->aside, self->folder);
    }
    return NULL;
}

static void nothing_is_written_outside_whoever_swaps_folders(void **state)
{
    static const struct world_file files[] = { { "c/a/b/1", 40 * KIB }, { "c/a/b/2", 40 * KIB },
                                               { "c/a/b/3", 40 * KIB }, { "c/a/d/4", 40 * KIB },
                                               { "c/e/5", 40 * KIB },   { NULL, 0 } };
    const unsigned rounds = 30;
    struct swapper swapper = { .stop = false };
    struct world world, elsewhere;
    unsigned written = 0;

    (void)state;
    world_init(&elsewhere, 0);
    world_init(&world, 0);
    world_torrent(&world, files, SEVERAL_PIECE);
    memcpy(swapper.outside, elsewhere.folder, sizeof(swapper.outside));
    world_path(&world, "c/a", swapper.folder);
    world_path(&world, "c-aside", swapper.aside);
    assert_int_equal(pthread_create(&swapper.thread, NULL, swap, &swapper), 0);
    for (unsigned round = 0; round < rounds; round++) {
        struct told told = { 0 };
        struct storage *storage = world_open(&world, STORAGE_FETCH, NO_RECORD, &told);

        for (uint32_t i = 0; told.err == LB_OK && i < world.metainfo->layout.piece_count; i++) {
            lb_err err;

            if (bitfield_has(storage_have(storage), i))
                continue;
            err = pieces_write(&world, storage, i);
            assert_int_not_equal(err, LB_UNAVAILABLE); /* it takes writes on and on */
            written += err == LB_OK;
        }
        world_close(&world, &storage, &told);
    }
    swapper.stop = true;
    pthread_join(swapper.thread, NULL);
    assert_int_equal(rmdir(elsewhere.folder), 0); /* it is empty still */
    assert_int_equal(mkdir(elsewhere.folder, 0700), 0);
    assert_true(written > 0);
    world_done(&world);
    world_done(&elsewhere);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_changed_while_it_is_seeded_is_noticed),
        cmocka_unit_test(a_file_removed_while_it_is_seeded_is_noticed),
        cmocka_unit_test(a_file_replaced_by_the_same_is_taken_up),
        cmocka_unit_test(nothing_is_written_outside_whoever_swaps_folders),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) + RUN_ROWS(obstacle_rows, test_obstacle);
}
