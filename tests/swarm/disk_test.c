#include "services/swarm/disk.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/swarm/bitfield.h"
#include "tests/libcommon/cmocka_row.h"
#include "tests/swarm/disk_world.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KIB          1024u
#define MIB          (1024u * 1024)
#define PIECE        (32 * KIB)
#define EMPTY_RECORD bytes_of(NULL, 0)

static const struct world_file several[] = {
    { "class/a/first", 100 * KIB + 3 },
    { "class/empty", 0 },
    { "class/a/second", 5 },
    { "", 7 * KIB },
    { "class/b", 70 * KIB },
    { NULL, 0 },
};
static const struct world_file one_large[] = { { "image.iso", 6 * MIB + 12345 }, { NULL, 0 } };

/* ---- helpers ---- */

struct reading {
    struct disk_read read;
    unsigned done;
    lb_err err;
};

static void on_read(struct disk_read *read, lb_err err)
{
    struct reading *self = read->ctx;

    self->done++;
    self->err = err;
}

static bool ask(struct reading *self, struct storage *storage, struct disk_read range)
{
    *self = (struct reading){ .read = range };
    self->read.ctx = self;
    self->read.done = on_read;
    return storage_read(storage, &self->read);
}

static void assert_read_is(const struct reading *self, const struct world *world)
{
    const uint8_t *expected = world->content +
                              (uint64_t)self->read.piece * world->metainfo->layout.piece_length +
                              self->read.offset;
    uint32_t at = 0;

    for (uint32_t i = 0; i < self->read.data.parts_count; i++) {
        const struct disk_part *part = &self->read.data.parts[i];

        assert_memory_equal(part->data, expected + at, part->size);
        at += part->size;
    }
    assert_int_equal(at, self->read.size);
}

/* Read a range and compare; returns whether it was in memory. */
static bool read_and_compare(struct world *world, struct storage *storage, struct disk_read range)
{
    struct reading reading;
    bool cached = ask(&reading, storage, range);

    if (!cached) {
        world_wait(world, &reading.done, 1);
        assert_int_equal(reading.err, LB_OK);
    }
    assert_read_is(&reading, world);
    disk_data_release(world->disk, &reading.read.data);
    return cached;
}

static void on_finished(void *ctx, lb_err err)
{
    struct told *told = ctx;

    told->done++;
    told->err = err;
}

static const uint8_t *block_of(const struct world *world, uint32_t piece, uint32_t block)
{
    return world->content + (uint64_t)piece * world->metainfo->layout.piece_length +
           (uint64_t)block * LAYOUT_BLOCK_SIZE;
}

static void put_all(struct world *world, struct assembly *assembly)
{
    uint32_t piece = assembly_piece(assembly);

    for (uint32_t i = 0; i < layout_block_count(&world->metainfo->layout, piece); i++)
        assert_true(assembly_put(assembly, i, block_of(world, piece, i)));
    assert_true(assembly_complete(assembly));
}

static lb_err write_piece(struct world *world, struct storage *storage, uint32_t piece)
{
    struct assembly *assembly = assembly_new(storage, piece);
    struct told told = { 0 };

    assert_non_null(assembly);
    put_all(world, assembly);
    assembly_finish(assembly, on_finished, &told);
    world_wait(world, &told.done, 1);
    assembly_free(&assembly);
    return told.err;
}

static void assert_files_are_whole(const struct world *world)
{
    const struct metainfo *metainfo = world->metainfo;

    for (uint32_t i = 0; i < metainfo->layout.files_count; i++) {
        size_t size = 0;
        uint8_t *data;

        if (metainfo->layout.files[i].padding)
            continue;
        data = world_read(world, metainfo->paths[i], &size);
        assert_non_null(data);
        assert_int_equal(size, metainfo->layout.files[i].length);
        assert_memory_equal(data, world_file_content(world, i), size);
        free(data);
    }
}

static uint32_t count_have(const struct world *world, const struct storage *storage)
{
    return bitfield_count(storage_have(storage), world->metainfo->layout.piece_count);
}

static void check_all(struct world *world, struct storage *storage, struct told *told)
{
    unsigned before = told->check_done;

    assert_int_equal(storage_check(storage, NULL), LB_OK);
    world_wait(world, &told->check_done, before + 1);
    assert_int_equal(told->check_err, LB_OK);
}

static uint64_t hashed(const struct world *world)
{
    struct disk_stats stats;

    disk_stats(world->disk, &stats);
    return stats.hashed_bytes;
}

/* ---- reading ---- */

static void content_is_read_from_any_place_to_any_other(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct random random;
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, several, PIECE);
    world_write_all(&world);
    storage = world_open(&world, STORAGE_SHARE, EMPTY_RECORD, &told);
    check_all(&world, storage, &told);
    assert_int_equal(count_have(&world, storage), world.metainfo->layout.piece_count);
    random_init(&random, 3);
    for (unsigned i = 0; i < 300; i++) {
        struct disk_read range = { 0 };
        uint32_t whole;

        range.piece = (uint32_t)random_below(&random, world.metainfo->layout.piece_count);
        whole = layout_piece_size(&world.metainfo->layout, range.piece);
        range.offset = (uint32_t)random_below(&random, whole);
        range.size = 1 + (uint32_t)random_below(&random, whole - range.offset);
        read_and_compare(&world, storage, range);
    }
    world_close(&world, &storage, &told);
    world_done(&world);
}

static void all_who_want_a_line_share_one_read(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct reading readings[40];
    struct disk_stats before, after;
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    disk_never_read_at_once(world.disk);
    world_torrent(&world, one_large, 4 * MIB);
    world_write_all(&world);
    storage = world_open(&world, STORAGE_SHARE, EMPTY_RECORD, &told);
    check_all(&world, storage, &told);
    disk_stats(world.disk, &before);
    for (unsigned i = 0; i < 40; i++) {
        struct disk_read range = { .offset = i * 16 * KIB, .size = 16 * KIB };

        assert_false(ask(&readings[i], storage, range));
    }
    for (unsigned i = 0; i < 40; i++) {
        world_wait(&world, &readings[i].done, 1);
        assert_int_equal(readings[i].err, LB_OK);
        assert_read_is(&readings[i], &world);
        disk_data_release(world.disk, &readings[i].read.data);
    }
    disk_stats(world.disk, &after);
    assert_int_equal(after.read_bytes - before.read_bytes, DISK_LINE_SIZE);
    /* Over the edge of two lines, the first of them in memory. */
    assert_false(read_and_compare(&world, storage,
                                  (struct disk_read){ .offset = MIB - 9, .size = DISK_READ_MAX }));
    assert_true(read_and_compare(&world, storage,
                                 (struct disk_read){ .offset = MIB - 9, .size = DISK_READ_MAX }));
    world_close(&world, &storage, &told);
    world_done(&world);
}

/* From the page cache, where its file system can; what a job would notice such a read notices. */
static void reads_at_once_notice_a_change(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct reading reading;
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, one_large, MIB);
    world_write_all(&world);
    storage = world_open(&world, STORAGE_SHARE, EMPTY_RECORD, &told);
    check_all(&world, storage, &told);
    for (uint32_t piece = 0; piece < 3; piece++)
        (void)read_and_compare(&world, storage,
                               (struct disk_read){ .piece = piece, .size = 16 * KIB });
    world_write(&world, one_large[0].path, world.content, 5 * MIB); /* another size, and time */
    assert_false(ask(&reading, storage, (struct disk_read){ .piece = 3, .size = 16 * KIB }));
    world_wait(&world, &reading.done, 1);
    assert_int_equal(reading.err, LB_CONFLICT);
    world_close(&world, &storage, &told);
    world_done(&world);
}

static const struct bad_read_row {
    const char *what;
    uint32_t piece, offset, size;
} bad_read_rows[] = {
    { "no such piece", 9, 0, 1 },
    { "no such piece by far", UINT32_MAX, 0, 1 },
    { "nothing", 0, 0, 0 },
    { "behind the end of the piece", 0, PIECE, 1 },
    { "over the end of the piece", 0, PIECE - 1, 2 },
    { "an offset and size that wrap", 0, UINT32_MAX, 2 },
    { "a piece that is not here", 1, 0, 1 },
};

static void test_bad_read(void **state)
{
    const struct bad_read_row *row = *state;
    struct disk_read range = { .piece = row->piece, .offset = row->offset, .size = row->size };
    struct world world;
    struct told told = { 0 };
    struct reading reading;
    struct storage *storage;

    world_init(&world, 0);
    world_torrent(&world, several, PIECE);
    storage = world_open(&world, STORAGE_FETCH, EMPTY_RECORD, &told);
    assert_int_equal(write_piece(&world, storage, 0), LB_OK);
    assert_false(ask(&reading, storage, range));
    assert_int_equal(reading.done, 0); /* never from inside */
    world_wait(&world, &reading.done, 1);
    assert_int_equal(reading.err, LB_INVALID);
    world_close(&world, &storage, &told);
    world_done(&world);
}

static void a_read_cancelled_is_not_heard_of_again(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct reading readings[2];
    struct disk_read range = { .size = 16 * KIB };
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    disk_never_read_at_once(world.disk);
    world_torrent(&world, one_large, MIB);
    world_write_all(&world);
    storage = world_open(&world, STORAGE_SHARE, EMPTY_RECORD, &told);
    check_all(&world, storage, &told);
    assert_false(ask(&readings[0], storage, range));
    assert_false(ask(&readings[1], storage, range));
    disk_read_cancel(&readings[0].read);
    disk_read_cancel(&readings[0].read);
    world_wait(&world, &readings[1].done, 1);
    disk_data_release(world.disk, &readings[1].read.data);
    world_wait_jobs(&world);
    assert_int_equal(readings[0].done, 0);
    world_close(&world, &storage, &told);
    world_done(&world);
}

static void closing_answers_what_waits(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct reading readings[3];
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    disk_never_read_at_once(world.disk);
    world_torrent(&world, one_large, MIB);
    world_write_all(&world);
    storage = world_open(&world, STORAGE_SHARE, EMPTY_RECORD, &told);
    check_all(&world, storage, &told);
    for (uint32_t i = 0; i < 3; i++)
        assert_false(
            ask(&readings[i], storage, (struct disk_read){ .piece = i, .size = 16 * KIB }));
    world_close(&world, &storage, &told);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(readings[i].done, 1);
        assert_int_equal(readings[i].err, LB_CANCELLED);
    }
    world_done(&world);
}

static void memory_held_by_slow_readers_makes_others_wait(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct reading readings[6];
    struct disk_stats stats;
    struct storage *storage;

    (void)state;
    world_init(&world, DISK_MEMORY_MIN); /* four lines */
    disk_never_read_at_once(world.disk);
    world_torrent(&world, one_large, MIB);
    world_write_all(&world);
    storage = world_open(&world, STORAGE_SHARE, EMPTY_RECORD, &told);
    check_all(&world, storage, &told);
    for (uint32_t i = 0; i < 6; i++) {
        assert_false(
            ask(&readings[i], storage, (struct disk_read){ .piece = i, .size = DISK_READ_MAX }));
        if (i < 4)
            world_wait(&world, &readings[i].done, 1);
    }
    /* Lines are given up for the fifth and sixth, but not the blocks that are held. */
    disk_stats(world.disk, &stats);
    assert_true(stats.memory_bytes <= DISK_MEMORY_MIN);
    for (uint32_t i = 0; i < 6; i++) {
        world_wait(&world, &readings[i].done, 1);
        assert_int_equal(readings[i].err, LB_OK);
        assert_read_is(&readings[i], &world);
        disk_data_release(world.disk, &readings[i].read.data);
    }
    world_close(&world, &storage, &told);
    world_done(&world);
}

/* ---- writing ---- */

static void pieces_in_any_order_make_the_files(void **state)
{
    static const uint32_t order[] = { 3, 0, 5, 1, 4, 2 };
    struct world world;
    struct told told = { 0 };
    struct disk_stats stats;
    struct storage *storage;
    char padding[512];

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, several, PIECE);
    assert_int_equal(world.metainfo->layout.piece_count, 6);
    storage = world_open(&world, STORAGE_FETCH, EMPTY_RECORD, &told);
    assert_int_equal(told.err, LB_OK);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(write_piece(&world, storage, order[i]), LB_OK);
        assert_int_equal(count_have(&world, storage), i + 1);
        /* Served from memory at once. */
        assert_true(read_and_compare(&world, storage,
                                     (struct disk_read){ .piece = order[i], .size = 16 * KIB }));
    }
    disk_stats(world.disk, &stats);
    assert_int_equal(stats.read_bytes, 0);
    assert_int_equal(stats.hashed_bytes, world.metainfo->layout.length);
    assert_null(assembly_new(storage, 0)); /* it is here */
    assert_files_are_whole(&world);
    world_path(&world, "class/.pad", padding);
    assert_int_equal(access(padding, F_OK), -1);
    world_close(&world, &storage, &told);
    world_done(&world);
}

static void a_bad_piece_is_not_written(void **state)
{
    struct world world;
    struct told told = { 0 };
    uint8_t bad[LAYOUT_BLOCK_SIZE], digest[SHA1_SIZE];
    struct assembly *assembly;
    struct disk_stats stats;
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, several, PIECE);
    storage = world_open(&world, STORAGE_FETCH, EMPTY_RECORD, &told);
    assembly = assembly_new(storage, 2);
    memcpy(bad, block_of(&world, 2, 1), sizeof(bad));
    bad[100] ^= 1;
    assert_true(assembly_put(assembly, 0, block_of(&world, 2, 0)));
    assert_false(assembly_put(assembly, 0, bad)); /* the first counts */
    assert_false(assembly_put(assembly, 2, bad));
    assert_true(assembly_put(assembly, 1, bad));
    assembly_finish(assembly, on_finished, &told);
    assert_false(assembly_put(assembly, 1, bad));
    world_wait(&world, &told.done, 1);
    assert_int_equal(told.err, LB_CORRUPT);
    assert_int_equal(count_have(&world, storage), 0);
    sha1(bytes_of(block_of(&world, 2, 0), LAYOUT_BLOCK_SIZE), digest);
    assert_memory_equal(assembly_digests(assembly), digest, SHA1_SIZE);
    sha1(bytes_of(bad, sizeof(bad)), digest);
    assert_memory_equal(assembly_digests(assembly) + SHA1_SIZE, digest, SHA1_SIZE);
    assembly_free(&assembly);
    disk_stats(world.disk, &stats);
    assert_int_equal(stats.written_bytes, 0);
    assert_int_equal(stats.dirty_bytes, 0);
    assert_int_equal(write_piece(&world, storage, 2), LB_OK);
    world_close(&world, &storage, &told);
    world_done(&world);
}

static bool may_go_on(void *ctx)
{
    return !disk_wants_pause(ctx);
}

/* More incomplete pieces than memory holds: they are written out, and completed all the same. */
static void little_memory_is_enough(void **state)
{
    static const struct world_file files[] = { { "c/a", 9 * MIB },
                                               { "c/b", 7 * MIB },
                                               { NULL, 0 } };
    struct world world;
    struct told told = { 0 };
    struct assembly *assemblies[32];
    struct disk_stats stats;
    struct storage *storage;
    bool paused = false;

    (void)state;
    world_init(&world, DISK_MEMORY_MIN);
    world_torrent(&world, files, 512 * KIB);
    storage = world_open(&world, STORAGE_FETCH, EMPTY_RECORD, &told);
    for (unsigned i = 0; i < 32; i++)
        assemblies[i] = assembly_new(storage, i);
    for (uint32_t block = 0; block < 32; block++) {
        for (uint32_t i = 0; i < 32; i++) {
            paused |= disk_wants_pause(world.disk);
            if (disk_wants_pause(world.disk))
                world_until(&world, may_go_on, world.disk);
            assert_true(assembly_put(assemblies[i], block, block_of(&world, i, block)));
            disk_stats(world.disk, &stats);
            assert_true(stats.memory_bytes <= DISK_MEMORY_MIN);
        }
    }
    assert_true(paused);
    for (unsigned i = 0; i < 32; i++)
        assembly_finish(assemblies[i], on_finished, &told);
    for (unsigned i = 0; i < 32; i++)
        world_wait(&world, &told.done, i + 1);
    assert_int_equal(count_have(&world, storage), 32);
    for (unsigned i = 0; i < 32; i++)
        assembly_free(&assemblies[i]);
    assert_files_are_whole(&world);
    world_close(&world, &storage, &told);
    world_done(&world);
}

static void an_assembly_may_be_freed_while_it_is_written(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, several, PIECE);
    storage = world_open(&world, STORAGE_FETCH, EMPTY_RECORD, &told);
    for (unsigned i = 0; i < 20; i++) {
        struct assembly *assembly = assembly_new(storage, 1);

        put_all(&world, assembly);
        assembly_finish(assembly, on_finished, &told);
        assembly_free(&assembly);
    }
    assert_int_equal(write_piece(&world, storage, 1), LB_OK);
    world_wait_jobs(&world);
    assert_int_equal(told.done, 0);
    world_close(&world, &storage, &told);
    world_done(&world);
}

/* ---- resume ---- */

static struct bytes record_of(const struct storage *storage)
{
    uint8_t *data;
    size_t size;

    storage_record(storage, (uint64_t)time(NULL), &data, &size);
    return bytes_of(data, size);
}

static void what_is_synced_is_not_hashed_again(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct storage *storage;
    struct bytes record;
    uint64_t before;

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, several, PIECE);
    storage = world_open(&world, STORAGE_FETCH, EMPTY_RECORD, &told);
    assert_int_equal(write_piece(&world, storage, 0), LB_OK);
    assert_int_equal(write_piece(&world, storage, 4), LB_OK);
    storage_sync(storage);
    assert_int_equal(told.synced, 0);
    world_wait(&world, &told.synced, 1);
    assert_int_equal(told.err, LB_OK);
    record = record_of(storage);
    /* Written after the record was made, as before a kill -9: within the lease. */
    assert_int_equal(write_piece(&world, storage, 1), LB_OK);
    world_close(&world, &storage, &told);

    before = hashed(&world);
    storage = world_open(&world, STORAGE_FETCH, record, &told);
    assert_int_equal(count_have(&world, storage), 2);
    assert_true(bitfield_has(storage_have(storage), 0));
    assert_true(bitfield_has(storage_have(storage), 4));
    assert_int_equal(bitfield_count(storage_doubtful(storage), 6), 0);
    assert_int_equal(hashed(&world), before);
    free((void *)(uintptr_t)record.data);
    world_close(&world, &storage, &told);
    world_done(&world);
}

static void only_the_pieces_of_a_changed_file_are_hashed(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct storage *storage;
    struct bytes record;
    uint8_t *changed;

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, several, PIECE);
    world_write_all(&world);
    storage = world_open(&world, STORAGE_FETCH, EMPTY_RECORD, &told);
    assert_int_equal(bitfield_count(storage_doubtful(storage), 6), 6); /* there is no record */
    check_all(&world, storage, &told);
    assert_int_equal(told.checked_good, 6);
    world_wait(&world, &told.synced, 1);
    record = record_of(storage);
    world_close(&world, &storage, &told);

    /* class/b lies in pieces 3, 4 and 5. */
    changed = xmemdup(world_file_content(&world, 4), 70 * KIB);
    changed[69 * KIB] ^= 1;
    world_write(&world, "class/b", changed, 70 * KIB);
    free(changed);
    told = (struct told){ 0 };
    storage = world_open(&world, STORAGE_FETCH, record, &told);
    assert_int_equal(count_have(&world, storage), 3);
    assert_int_equal(bitfield_count(storage_doubtful(storage), 6), 3);
    assert_int_equal(storage_check(storage, storage_doubtful(storage)), LB_OK);
    assert_int_equal(storage_check(storage, NULL), LB_EXISTS);
    world_wait(&world, &told.check_done, 1);
    assert_int_equal(told.checked_good, 2);
    assert_int_equal(told.checked_bad, 1);
    assert_int_equal(count_have(&world, storage), 5);
    assert_int_equal(write_piece(&world, storage, 5), LB_OK);
    assert_files_are_whole(&world);
    free((void *)(uintptr_t)record.data);
    world_close(&world, &storage, &told);
    world_done(&world);
}

static void a_check_can_be_cancelled(void **state)
{
    static const struct world_file files[] = { { "image.iso", 80 * MIB }, { NULL, 0 } };
    struct world world;
    struct told told = { 0 };
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, files, MIB);
    world_write_all(&world);
    storage = world_open(&world, STORAGE_SHARE, EMPTY_RECORD, &told);
    told.cancel = storage;
    assert_int_equal(storage_check(storage, NULL), LB_OK);
    world_wait(&world, &told.check_done, 1);
    assert_int_equal(told.check_err, LB_CANCELLED);
    assert_true(told.checked_good < 80);
    assert_int_equal(told.checked_bad, 0);
    world_close(&world, &storage, &told);
    world_done(&world);
}

/* ---- what others do to the files ---- */

static void a_file_changed_while_it_is_seeded_is_noticed(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct reading reading;
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, several, PIECE);
    world_write_all(&world);
    storage = world_open(&world, STORAGE_SHARE, EMPTY_RECORD, &told);
    check_all(&world, storage, &told);
    world_write(&world, "class/b", world.content, 70 * KIB);
    assert_false(ask(&reading, storage, (struct disk_read){ .piece = 4, .size = 5 }));
    world_wait(&world, &reading.done, 1);
    assert_int_equal(reading.err, LB_CONFLICT);
    assert_int_equal(told.troubled, 1);
    assert_non_null(strstr(storage_problem(storage), "class/b"));
    assert_int_equal(count_have(&world, storage), 3);
    /* The others are as good as before. */
    read_and_compare(&world, storage, (struct disk_read){ .piece = 0, .size = 5 });
    world_close(&world, &storage, &told);
    world_done(&world);
}

static void a_file_removed_while_it_is_seeded_is_noticed(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct reading reading;
    struct storage *storage;
    char path[512];

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, several, PIECE);
    world_write_all(&world);
    storage = world_open(&world, STORAGE_SHARE, EMPTY_RECORD, &told);
    check_all(&world, storage, &told);
    world_path(&world, "class/b", path);
    assert_int_equal(unlink(path), 0);
    assert_false(ask(&reading, storage, (struct disk_read){ .piece = 4, .size = 5 }));
    world_wait(&world, &reading.done, 1);
    assert_int_equal(reading.err, LB_NOT_FOUND);
    assert_int_equal(told.troubled, 1);
    assert_int_equal(count_have(&world, storage), 3);
    world_close(&world, &storage, &told);
    world_done(&world);
}

static void a_file_replaced_by_the_same_is_taken_up(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct reading reading;
    struct storage *storage;
    char path[512];

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, several, PIECE);
    world_write_all(&world);
    storage = world_open(&world, STORAGE_SHARE, EMPTY_RECORD, &told);
    check_all(&world, storage, &told);
    read_and_compare(&world, storage, (struct disk_read){ .piece = 3, .size = 5 }); /* now open */
    world_path(&world, "class/b", path);
    assert_int_equal(unlink(path), 0);
    world_write_all(&world);
    assert_false(ask(&reading, storage, (struct disk_read){ .piece = 4, .size = 5 }));
    world_wait(&world, &reading.done, 1);
    assert_int_not_equal(reading.err, LB_OK);
    check_all(&world, storage, &told);
    assert_int_equal(count_have(&world, storage), 6);
    for (uint32_t i = 0; i < 6; i++)
        read_and_compare(&world, storage, (struct disk_read){ .piece = i, .size = 5 });
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
    world_torrent(&world, several, PIECE);
    put_obstacle(&world, row, elsewhere.folder);
    if (row->kind == NO_FOLDER)
        strcat(world.folder, "-gone");
    storage = world_open(&world, STORAGE_FETCH, EMPTY_RECORD, &told);
    if (row->kind == NO_FOLDER)
        world.folder[strlen(world.folder) - 5] = '\0';
    assert_int_equal(told.err, row->open);
    if (row->open == LB_OK)
        assert_int_equal(write_piece(&world, storage, 0), row->write);
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
    world_torrent(&world, files, PIECE);
    memcpy(swapper.outside, elsewhere.folder, sizeof(swapper.outside));
    world_path(&world, "c/a", swapper.folder);
    world_path(&world, "c-aside", swapper.aside);
    assert_int_equal(pthread_create(&swapper.thread, NULL, swap, &swapper), 0);
    for (unsigned round = 0; round < rounds; round++) {
        struct told told = { 0 };
        struct storage *storage = world_open(&world, STORAGE_FETCH, EMPTY_RECORD, &told);

        for (uint32_t i = 0; told.err == LB_OK && i < world.metainfo->layout.piece_count; i++) {
            if (bitfield_has(storage_have(storage), i))
                continue;
            written += write_piece(&world, storage, i) == LB_OK;
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

/* ---- a full disk ---- */

static void a_full_disk_is_told_and_survived(void **state)
{
    static const struct world_file files[] = { { "image.iso", 2 * MIB }, { NULL, 0 } };
    struct world world;
    struct told told = { 0 };
    struct assembly *assembly;
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    if (mount("tmpfs", world.folder, "tmpfs", 0, "size=1m") < 0) {
        printf("skipped: a small tmpfs cannot be mounted: %s\n", strerror(errno));
        world_done(&world);
        skip();
    }
    world_torrent(&world, files, MIB);
    storage = world_open(&world, STORAGE_FETCH, EMPTY_RECORD, &told);
    assembly = assembly_new(storage, 0);
    put_all(&world, assembly);
    assembly_finish(assembly, on_finished, &told);
    world_wait(&world, &told.done, 1);
    assert_int_equal(told.err, LB_NO_SPACE);
    assert_non_null(strstr(storage_problem(storage), "image.iso"));
    assert_int_equal(count_have(&world, storage), 0);
    /* Room is made; the same blocks are written. */
    assert_int_equal(mount("tmpfs", world.folder, "tmpfs", MS_REMOUNT, "size=8m"), 0);
    assembly_finish(assembly, on_finished, &told);
    world_wait(&world, &told.done, 2);
    assert_int_equal(told.err, LB_OK);
    assembly_free(&assembly);
    assert_int_equal(count_have(&world, storage), 1);
    world_close(&world, &storage, &told);
    assert_int_equal(umount(world.folder), 0);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest reads[] = {
        cmocka_unit_test(content_is_read_from_any_place_to_any_other),
        cmocka_unit_test(all_who_want_a_line_share_one_read),
        cmocka_unit_test(reads_at_once_notice_a_change),
        cmocka_unit_test(a_read_cancelled_is_not_heard_of_again),
        cmocka_unit_test(closing_answers_what_waits),
        cmocka_unit_test(memory_held_by_slow_readers_makes_others_wait),
    };
    const struct CMUnitTest writes[] = {
        cmocka_unit_test(pieces_in_any_order_make_the_files),
        cmocka_unit_test(a_bad_piece_is_not_written),
        cmocka_unit_test(little_memory_is_enough),
        cmocka_unit_test(an_assembly_may_be_freed_while_it_is_written),
        cmocka_unit_test(a_full_disk_is_told_and_survived),
    };
    const struct CMUnitTest resumes[] = {
        cmocka_unit_test(what_is_synced_is_not_hashed_again),
        cmocka_unit_test(only_the_pieces_of_a_changed_file_are_hashed),
        cmocka_unit_test(a_check_can_be_cancelled),
    };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(a_file_changed_while_it_is_seeded_is_noticed),
        cmocka_unit_test(a_file_removed_while_it_is_seeded_is_noticed),
        cmocka_unit_test(a_file_replaced_by_the_same_is_taken_up),
        cmocka_unit_test(nothing_is_written_outside_whoever_swaps_folders),
    };
    int failed = 0;

    failed += cmocka_run_group_tests(reads, NULL, NULL);
    failed += RUN_ROWS(bad_read_rows, test_bad_read);
    failed += cmocka_run_group_tests(writes, NULL, NULL);
    failed += cmocka_run_group_tests(resumes, NULL, NULL);
    failed += cmocka_run_group_tests(others, NULL, NULL);
    failed += RUN_ROWS(obstacle_rows, test_obstacle);
    return failed;
}
