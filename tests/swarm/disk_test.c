/* Pieces that are put together, written and taken up again after a restart; a full disk. */
#include "services/swarm/disk.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"
#include "tests/libcommon/rights.h"
#include "tests/swarm/disk_pieces.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

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
    world_torrent(&world, pieces_several, SEVERAL_PIECE);
    assert_int_equal(world.metainfo->layout.piece_count, 6);
    storage = world_open(&world, STORAGE_FETCH, NO_RECORD, &told);
    assert_int_equal(told.err, LB_OK);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(pieces_write(&world, storage, order[i]), LB_OK);
        assert_int_equal(pieces_count(&world, storage), i + 1);
        /* Served from memory at once. */
        assert_true(pieces_read_well(&world, storage,
                                     (struct disk_read){ .piece = order[i], .size = 16 * KIB }));
    }
    disk_stats(world.disk, &stats);
    assert_int_equal(stats.read_bytes, 0);
    assert_int_equal(stats.hashed_bytes, world.metainfo->layout.length);
    assert_null(assembly_new(storage, 0)); /* it is here */
    pieces_assert_files(&world);
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
    storage = pieces_begin_fetch(&world, pieces_several, SEVERAL_PIECE, &told);
    assembly = assembly_new(storage, 2);
    memcpy(bad, pieces_block(&world, 2, 1), sizeof(bad));
    bad[100] ^= 1;
    assert_true(assembly_put(assembly, 0, pieces_block(&world, 2, 0)));
    assert_false(assembly_put(assembly, 0, bad)); /* the first counts */
    assert_false(assembly_put(assembly, 2, bad));
    assert_true(assembly_put(assembly, 1, bad));
    assembly_finish(assembly, pieces_finished, &told);
    assert_false(assembly_put(assembly, 1, bad));
    world_wait(&world, &told.done, 1);
    assert_int_equal(told.err, LB_CORRUPT);
    assert_int_equal(pieces_count(&world, storage), 0);
    sha1(bytes_of(pieces_block(&world, 2, 0), LAYOUT_BLOCK_SIZE), digest);
    assert_memory_equal(assembly_digests(assembly), digest, SHA1_SIZE);
    sha1(bytes_of(bad, sizeof(bad)), digest);
    assert_memory_equal(assembly_digests(assembly) + SHA1_SIZE, digest, SHA1_SIZE);
    assembly_free(&assembly);
    disk_stats(world.disk, &stats);
    assert_int_equal(stats.written_bytes, 0);
    assert_int_equal(stats.dirty_bytes, 0);
    assert_int_equal(pieces_write(&world, storage, 2), LB_OK);
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
    storage = pieces_begin_fetch(&world, files, 512 * KIB, &told);
    for (unsigned i = 0; i < 32; i++)
        assemblies[i] = assembly_new(storage, i);
    for (uint32_t block = 0; block < 32; block++) {
        for (uint32_t i = 0; i < 32; i++) {
            paused |= disk_wants_pause(world.disk);
            if (disk_wants_pause(world.disk))
                world_until(&world, may_go_on, world.disk);
            assert_true(assembly_put(assemblies[i], block, pieces_block(&world, i, block)));
            disk_stats(world.disk, &stats);
            assert_true(stats.memory_bytes <= DISK_MEMORY_MIN);
        }
    }
    assert_true(paused);
    for (unsigned i = 0; i < 32; i++)
        assembly_finish(assemblies[i], pieces_finished, &told);
    for (unsigned i = 0; i < 32; i++)
        world_wait(&world, &told.done, i + 1);
    assert_int_equal(pieces_count(&world, storage), 32);
    for (unsigned i = 0; i < 32; i++)
        assembly_free(&assemblies[i]);
    pieces_assert_files(&world);
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
    storage = pieces_begin_fetch(&world, pieces_several, SEVERAL_PIECE, &told);
    for (unsigned i = 0; i < 20; i++) {
        struct assembly *assembly = assembly_new(storage, 1);

        pieces_put_all(&world, assembly);
        assembly_finish(assembly, pieces_finished, &told);
        assembly_free(&assembly);
    }
    assert_int_equal(pieces_write(&world, storage, 1), LB_OK);
    world_wait_jobs(&world);
    assert_int_equal(told.done, 0);
    world_close(&world, &storage, &told);
    world_done(&world);
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
        int error = errno;

        world_done(&world);
        rights_missing("a small tmpfs cannot be mounted", error);
    }
    storage = pieces_begin_fetch(&world, files, MIB, &told);
    assembly = assembly_new(storage, 0);
    pieces_put_all(&world, assembly);
    assembly_finish(assembly, pieces_finished, &told);
    world_wait(&world, &told.done, 1);
    assert_int_equal(told.err, LB_NO_SPACE);
    assert_non_null(strstr(storage_problem(storage), "image.iso"));
    assert_int_equal(pieces_count(&world, storage), 0);
    /* Room is made; the same blocks are written. */
    assert_int_equal(mount("tmpfs", world.folder, "tmpfs", MS_REMOUNT, "size=8m"), 0);
    assembly_finish(assembly, pieces_finished, &told);
    world_wait(&world, &told.done, 2);
    assert_int_equal(told.err, LB_OK);
    assembly_free(&assembly);
    assert_int_equal(pieces_count(&world, storage), 1);
    world_close(&world, &storage, &told);
    assert_int_equal(umount(world.folder), 0);
    world_done(&world);
}

/* ---- resume ---- */

static void what_is_synced_is_not_hashed_again(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct storage *storage;
    struct bytes record;
    uint64_t before;

    (void)state;
    world_init(&world, 0);
    storage = pieces_begin_fetch(&world, pieces_several, SEVERAL_PIECE, &told);
    assert_int_equal(pieces_write(&world, storage, 0), LB_OK);
    assert_int_equal(pieces_write(&world, storage, 4), LB_OK);
    storage_sync(storage);
    assert_int_equal(told.synced, 0);
    world_wait(&world, &told.synced, 1);
    assert_int_equal(told.err, LB_OK);
    record = pieces_record(storage);
    /* Written after the record was made, as before a kill -9: within the lease. */
    assert_int_equal(pieces_write(&world, storage, 1), LB_OK);
    world_close(&world, &storage, &told);

    before = pieces_hashed_bytes(&world);
    storage = world_open(&world, STORAGE_FETCH, record, &told);
    assert_int_equal(pieces_count(&world, storage), 2);
    assert_true(bitfield_has(storage_have(storage), 0));
    assert_true(bitfield_has(storage_have(storage), 4));
    assert_int_equal(bitfield_count(storage_doubtful(storage), 6), 0);
    assert_int_equal(pieces_hashed_bytes(&world), before);
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
    world_torrent(&world, pieces_several, SEVERAL_PIECE);
    world_write_all(&world);
    storage = world_open(&world, STORAGE_FETCH, NO_RECORD, &told);
    assert_int_equal(bitfield_count(storage_doubtful(storage), 6), 6); /* there is no record */
    pieces_check_all(&world, storage, &told);
    assert_int_equal(told.checked_good, 6);
    world_wait(&world, &told.synced, 1);
    record = pieces_record(storage);
    world_close(&world, &storage, &told);

    /* class/b lies in pieces 3, 4 and 5. */
    changed = xmemdup(world_file_content(&world, 4), 70 * KIB);
    changed[69 * KIB] ^= 1;
    world_write(&world, "class/b", changed, 70 * KIB);
    free(changed);
    told = (struct told){ 0 };
    storage = world_open(&world, STORAGE_FETCH, record, &told);
    assert_int_equal(pieces_count(&world, storage), 3);
    assert_int_equal(bitfield_count(storage_doubtful(storage), 6), 3);
    assert_int_equal(storage_check(storage, storage_doubtful(storage)), LB_OK);
    assert_int_equal(storage_check(storage, NULL), LB_EXISTS);
    world_wait(&world, &told.check_done, 1);
    assert_int_equal(told.checked_good, 2);
    assert_int_equal(told.checked_bad, 1);
    assert_int_equal(pieces_count(&world, storage), 5);
    assert_int_equal(pieces_write(&world, storage, 5), LB_OK);
    pieces_assert_files(&world);
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
    storage = world_open(&world, STORAGE_SHARE, NO_RECORD, &told);
    told.cancel = storage;
    assert_int_equal(storage_check(storage, NULL), LB_OK);
    world_wait(&world, &told.check_done, 1);
    assert_int_equal(told.check_err, LB_CANCELLED);
    assert_true(told.checked_good < 80);
    assert_int_equal(told.checked_bad, 0);
    world_close(&world, &storage, &told);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_in_any_order_make_the_files),
        cmocka_unit_test(a_bad_piece_is_not_written),
        cmocka_unit_test(little_memory_is_enough),
        cmocka_unit_test(an_assembly_may_be_freed_while_it_is_written),
        cmocka_unit_test(a_full_disk_is_told_and_survived),
        cmocka_unit_test(what_is_synced_is_not_hashed_again),
        cmocka_unit_test(only_the_pieces_of_a_changed_file_are_hashed),
        cmocka_unit_test(a_check_can_be_cancelled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
