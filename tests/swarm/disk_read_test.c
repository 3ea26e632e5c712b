/* What is read of a torrent's files: from where to where, from memory, at once, and when not. */
#include "services/swarm/disk.h"

#include "libcommon/random.h"
#include "tests/swarm/disk_pieces.h"

static const struct world_file one_large[] = { { "image.iso", 6 * MIB + 12345 }, { NULL, 0 } };

static void content_is_read_from_any_place_to_any_other(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct random random;
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    storage = pieces_begin_share(&world, pieces_several, SEVERAL_PIECE, &told);
    assert_int_equal(pieces_count(&world, storage), world.metainfo->layout.piece_count);
    random_init(&random, 3);
    for (unsigned i = 0; i < 300; i++) {
        struct disk_read range = { 0 };
        uint32_t whole;

        range.piece = (uint32_t)random_below(&random, world.metainfo->layout.piece_count);
        whole = layout_piece_size(&world.metainfo->layout, range.piece);
        range.offset = (uint32_t)random_below(&random, whole);
        range.size = 1 + (uint32_t)random_below(&random, whole - range.offset);
        pieces_read_well(&world, storage, range);
    }
    world_close(&world, &storage, &told);
    world_done(&world);
}

static void all_who_want_a_line_share_one_read(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct pieces_reading readings[40];
    struct disk_stats before, after;
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    disk_never_read_at_once(world.disk);
    storage = pieces_begin_share(&world, one_large, 4 * MIB, &told);
    disk_stats(world.disk, &before);
    for (unsigned i = 0; i < 40; i++) {
        struct disk_read range = { .offset = i * 16 * KIB, .size = 16 * KIB };

        assert_false(pieces_ask(&readings[i], storage, range));
    }
    for (unsigned i = 0; i < 40; i++) {
        world_wait(&world, &readings[i].done, 1);
        assert_int_equal(readings[i].err, LB_OK);
        pieces_take(&readings[i], &world);
    }
    disk_stats(world.disk, &after);
    assert_int_equal(after.read_bytes - before.read_bytes, DISK_LINE_SIZE);
    /* Over the edge of two lines, the first of them in memory. */
    assert_false(pieces_read_well(&world, storage,
                                  (struct disk_read){ .offset = MIB - 9, .size = DISK_READ_MAX }));
    assert_true(pieces_read_well(&world, storage,
                                 (struct disk_read){ .offset = MIB - 9, .size = DISK_READ_MAX }));
    world_close(&world, &storage, &told);
    world_done(&world);
}

/* From the page cache, where its file system can; what a job would notice such a read notices. */
static void reads_at_once_notice_a_change(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct pieces_reading reading;
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    storage = pieces_begin_share(&world, one_large, MIB, &told);
    for (uint32_t piece = 0; piece < 3; piece++)
        (void)pieces_read_well(&world, storage,
                               (struct disk_read){ .piece = piece, .size = 16 * KIB });
    world_write(&world, one_large[0].path, world.content, 5 * MIB); /* another size, and time */
    assert_false(pieces_ask(&reading, storage, (struct disk_read){ .piece = 3, .size = 16 * KIB }));
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
    { "behind the end of the piece", 0, SEVERAL_PIECE, 1 },
    { "over the end of the piece", 0, SEVERAL_PIECE - 1, 2 },
    { "an offset and size that wrap", 0, UINT32_MAX, 2 },
    { "a piece that is not here", 1, 0, 1 },
};

static void test_bad_read(void **state)
{
    const struct bad_read_row *row = *state;
    struct disk_read range = { .piece = row->piece, .offset = row->offset, .size = row->size };
    struct world world;
    struct told told = { 0 };
    struct pieces_reading reading;
    struct storage *storage;

    world_init(&world, 0);
    storage = pieces_begin_fetch(&world, pieces_several, SEVERAL_PIECE, &told);
    assert_int_equal(pieces_write(&world, storage, 0), LB_OK);
    assert_false(pieces_ask(&reading, storage, range));
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
    struct pieces_reading readings[2];
    struct disk_read range = { .size = 16 * KIB };
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    disk_never_read_at_once(world.disk);
    storage = pieces_begin_share(&world, one_large, MIB, &told);
    assert_false(pieces_ask(&readings[0], storage, range));
    assert_false(pieces_ask(&readings[1], storage, range));
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
    struct pieces_reading readings[3];
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    disk_never_read_at_once(world.disk);
    storage = pieces_begin_share(&world, one_large, MIB, &told);
    for (uint32_t i = 0; i < 3; i++)
        assert_false(
            pieces_ask(&readings[i], storage, (struct disk_read){ .piece = i, .size = 16 * KIB }));
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
    struct pieces_reading readings[6];
    struct disk_stats stats;
    struct storage *storage;

    (void)state;
    world_init(&world, DISK_MEMORY_MIN); /* four lines */
    disk_never_read_at_once(world.disk);
    storage = pieces_begin_share(&world, one_large, MIB, &told);
    for (uint32_t i = 0; i < 6; i++) {
        assert_false(pieces_ask(&readings[i], storage,
                                (struct disk_read){ .piece = i, .size = DISK_READ_MAX }));
        if (i < 4)
            world_wait(&world, &readings[i].done, 1);
    }
    /* Lines are given up for the fifth and sixth, but not the blocks that are held. */
    disk_stats(world.disk, &stats);
    assert_true(stats.memory_bytes <= DISK_MEMORY_MIN);
    for (uint32_t i = 0; i < 6; i++) {
        world_wait(&world, &readings[i].done, 1);
        assert_int_equal(readings[i].err, LB_OK);
        pieces_take(&readings[i], &world);
    }
    world_close(&world, &storage, &told);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_is_read_from_any_place_to_any_other),
        cmocka_unit_test(all_who_want_a_line_share_one_read),
        cmocka_unit_test(reads_at_once_notice_a_change),
        cmocka_unit_test(a_read_cancelled_is_not_heard_of_again),
        cmocka_unit_test(closing_answers_what_waits),
        cmocka_unit_test(memory_held_by_slow_readers_makes_others_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) + RUN_ROWS(bad_read_rows, test_bad_read);
}
