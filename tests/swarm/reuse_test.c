#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/disk.h"
#include "services/swarm/holes.h"
#include "services/swarm/reuse.h"
#include "tests/libcommon/cmocka_row.h"
#include "tests/swarm/disk_world.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE        (64u * 1024)
#define MIB          (1024u * 1024)
#define EMPTY_RECORD bytes_of(NULL, 0)

static struct storage *open_and_reuse(struct world *world, const struct storage_base *bases,
                                      uint32_t count, struct told *told)
{
    struct storage *storage = world_open(world, STORAGE_FETCH, EMPTY_RECORD, told);

    assert_int_equal(told->err, LB_OK);
    assert_int_equal(storage_reuse(storage, bases, count, NULL), LB_OK);
    assert_int_equal(storage_reuse(storage, bases, count, NULL), LB_EXISTS);
    world_wait(world, &told->reuse_done, 1);
    assert_int_equal(told->err, LB_OK);
    return storage;
}

/* What is in have reads as it should. */
static void assert_have_is_true(struct world *world, struct storage *storage, struct told *told)
{
    uint32_t pieces = world->metainfo->layout.piece_count;
    uint32_t had = bitfield_count(storage_have(storage), pieces);
    uint8_t *have = xmemdup(storage_have(storage), bitfield_size(pieces));

    told->checked_good = told->checked_bad = told->check_done = 0;
    assert_int_equal(storage_check(storage, have), LB_OK);
    world_wait(world, &told->check_done, 1);
    assert_int_equal(told->checked_good, had);
    assert_int_equal(told->checked_bad, 0);
    free(have);
}

/* ---- by letters ---- */

/*
 * Content by pieces: a letter stands for a piece of that byte alone, '.' for zeros, and "~" at the
 * end cuts the last piece in half.
 */
static uint8_t *draw(const char *letters, size_t *ret_size)
{
    size_t count = strcspn(letters, "~");
    uint8_t *content = xmalloc(count * PIECE);

    for (size_t i = 0; i < count; i++)
        memset(content + i * PIECE, letters[i] == '.' ? 0 : letters[i], PIECE);
    *ret_size = count * PIECE - (letters[count] == '~' ? PIECE / 2 : 0);
    return content;
}

static const char *drawn;

static void change_to_drawn(uint8_t *content, size_t size)
{
    size_t drawn_size;
    uint8_t *wanted = draw(drawn, &drawn_size);

    assert_int_equal(size, drawn_size);
    memcpy(content, wanted, size);
    free(wanted);
}

static const struct row {
    const char *what;
    const char *old;   /* NULL: there is none */
    const char *image; /* the new one */
    const char *taken; /* x: found, '.': not */
} rows[] = {
    { "the same image", "abcdef", "abcdef", "xxxxxx" },
    { "nothing in common", "uvwxyz", "abcdef", "......" },
    { "one piece has changed", "abcdef", "abXdef", "xx.xxx" },
    { "the image has grown", "abcd", "abcdef", "xxxx.." },
    { "the image has shrunk", "abcdef", "abcd", "xxxx" },
    { "everything has moved by a piece", "abcdef", "Xabcde", ".xxxxx" },
    { "the order has changed", "abcdef", "fedcba", "xxxxxx" },
    { "one piece is found many times", "a", "aaaa", "xxxx" },
    { "an old piece many times, once needed", "aaaaaaaa", "Xa", ".x" },
    { "a short last piece, at its place", "abc~", "abc~", "xxx" },
    { "a short last piece, of a longer one", "abcd", "abc~", "xxx" },
    { "a short last piece is not a long one", "abc~", "abcd", "xx.." },
    { "zeros need no old image", NULL, "a..b.", ".xx.x" },
    { "zeros and an old image", "ab", "a..b.", "xxxxx" },
    { "all is zeros", NULL, "....", "xxxx" },
    { "a short piece of zeros", NULL, "a.~", ".x" },
};

static void test_row(void **state)
{
    const struct row *row = *state;
    struct world world;
    struct told told = { 0 };
    struct storage *storage;
    struct storage_base base = { 0 };
    size_t size;
    uint8_t *content = draw(row->image, &size);
    char path[512];

    world_init(&world, 0);
    free(content);
    drawn = row->image;
    world.change = change_to_drawn;
    world_torrent(&world, (struct world_file[]){ { "image", size }, { NULL, 0 } }, PIECE);
    if (row->old) {
        content = draw(row->old, &size);
        world_write(&world, "old/last week", content, size);
        free(content);
    }
    world_path(&world, "old/last week", path);
    base.path = path;
    storage = open_and_reuse(&world, &base, row->old ? 1 : 0, &told);
    for (uint32_t i = 0; row->taken[i]; i++)
        assert_int_equal(bitfield_has(storage_have(storage), i), row->taken[i] == 'x');
    assert_have_is_true(&world, storage, &told);
    world_close(&world, &storage, &told);
    world_done(&world);
}

/* ---- folders ---- */

static const struct world_file folder[] = {
    { "class/a/first", 300000 }, { "class/empty", 0 }, { "class/a/second", 5 }, { "", 7000 },
    { "class/b", 5 * 65536 },    { NULL, 0 },
};

static uint32_t reuse_folder(struct world *world, struct metainfo *known, struct told *told)
{
    struct storage *storage;
    struct storage_base base = { .known = known };
    char path[512], target[512];
    uint32_t have;

    /* The old one stands aside, and a new folder takes its place. */
    world_path(world, "class", target);
    world_path(world, "class of last week", path);
    assert_int_equal(rename(target, path), 0);
    base.path = path;
    storage = open_and_reuse(world, &base, 1, told);
    have = bitfield_count(storage_have(storage), world->metainfo->layout.piece_count);
    assert_int_equal(have, told->reused);
    assert_have_is_true(world, storage, told);
    world_close(world, &storage, told);
    return have;
}

static void a_folder_is_found_by_its_names(void **state)
{
    struct world world;
    struct told told = { 0 };

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, folder, PIECE);
    world_write_all(&world);
    world_write(&world, "class/a/second", (const uint8_t *)"other", 5);
    /* All but the piece that holds the five bytes. */
    assert_int_equal(reuse_folder(&world, NULL, &told), world.metainfo->layout.piece_count - 1);
    world_done(&world);
}

static void what_is_known_of_a_base_saves_looking(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct disk_stats before, after;

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, folder, PIECE);
    world_write_all(&world);
    disk_stats(world.disk, &before);
    assert_int_equal(reuse_folder(&world, world.metainfo, &told),
                     world.metainfo->layout.piece_count);
    disk_stats(world.disk, &after);
    assert_true(after.hashed_bytes > before.hashed_bytes);
    world_done(&world);
}

/* ---- the weekly image ---- */

#define WEEKLY (20u * MIB)

static void a_weekly_image_costs_what_has_changed(void **state)
{
    static const struct world_file image[] = { { "image", WEEKLY }, { NULL, 0 } };
    struct world world;
    struct told told = { 0 };
    struct storage *storage;
    struct storage_base base = { 0 };
    uint32_t pieces, have, changed = 0;
    uint8_t *old;
    char path[512];

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, image, PIECE);
    pieces = world.metainfo->layout.piece_count;
    old = xmemdup(world.content, WEEKLY);
    for (uint32_t i = 0; i < pieces; i += 100, changed++)
        old[(size_t)i * PIECE + 4711] ^= 1;
    world_write(&world, "old", old, WEEKLY);
    world_path(&world, "old", path);
    base.path = path;
    storage = open_and_reuse(&world, &base, 1, &told);
    have = bitfield_count(storage_have(storage), pieces);
    assert_int_equal(have, pieces - changed);
    assert_int_equal(changed, (pieces + 99) / 100); /* one in a hundred is to be fetched */
    world_close(&world, &storage, &told);
    free(old);
    world_done(&world);
}

/* ---- what else may happen ---- */

static void a_base_that_is_the_target_is_left_alone(void **state)
{
    static const struct world_file image[] = { { "image", 3 * PIECE }, { NULL, 0 } };
    struct world world;
    struct told told = { 0 };
    struct storage *storage;
    struct storage_base bases[2] = { { 0 } };
    char path[512], missing[512];

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, image, PIECE);
    world_write(&world, "image", world.content + PIECE,
                PIECE); /* the second, at the first's place */
    world_path(&world, "image", path);
    world_path(&world, "nothing/there", missing);
    bases[0].path = path;
    bases[1].path = missing;
    storage = open_and_reuse(&world, bases, 2, &told);
    assert_int_equal(told.reused, 0);
    world_close(&world, &storage, &told);
    world_done(&world);
}

static void it_ends_with_its_storage(void **state)
{
    static const struct world_file image[] = { { "image", 40 * MIB }, { NULL, 0 } };
    struct world world;
    struct told told = { 0 };
    struct storage *storage;
    struct storage_base base = { 0 };
    char path[512];

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, image, PIECE);
    world_write(&world, "old", world.content, 40 * MIB);
    world_path(&world, "old", path);
    base.path = path;
    storage = world_open(&world, STORAGE_FETCH, EMPTY_RECORD, &told);
    assert_int_equal(storage_reuse(storage, &base, 1, NULL), LB_OK);
    world_close(&world, &storage, &told);
    assert_int_equal(told.reuse_done, 0);
    world_done(&world);
}

static void shares_take_nothing(void **state)
{
    static const struct world_file image[] = { { "image", PIECE }, { NULL, 0 } };
    struct world world;
    struct told told = { 0 };
    struct storage *storage;

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, image, PIECE);
    world_write_all(&world);
    storage = world_open(&world, STORAGE_SHARE, EMPTY_RECORD, &told);
    assert_int_equal(storage_reuse(storage, NULL, 0, NULL), LB_UNAVAILABLE);
    world_close(&world, &storage, &told);
    world_done(&world);
}

static void only_what_is_wanted_is_taken(void **state)
{
    struct world world;
    struct told told = { 0 };
    struct storage *storage;
    uint8_t wanted = 0x40; /* the second */

    (void)state;
    world_init(&world, 0);
    drawn = "....";
    world.change = change_to_drawn;
    world_torrent(&world, (struct world_file[]){ { "image", 4 * PIECE }, { NULL, 0 } }, PIECE);
    storage = world_open(&world, STORAGE_FETCH, EMPTY_RECORD, &told);
    assert_int_equal(storage_reuse(storage, NULL, 0, &wanted), LB_OK);
    world_wait(&world, &told.reuse_done, 1);
    assert_int_equal(told.reused, 1);
    assert_int_equal(storage_have(storage)[0], wanted);
    world_close(&world, &storage, &told);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_is_found_by_its_names),
        cmocka_unit_test(what_is_known_of_a_base_saves_looking),
        cmocka_unit_test(a_weekly_image_costs_what_has_changed),
        cmocka_unit_test(a_base_that_is_the_target_is_left_alone),
        cmocka_unit_test(it_ends_with_its_storage),
        cmocka_unit_test(shares_take_nothing),
        cmocka_unit_test(only_what_is_wanted_is_taken),
    };
    int failed = 0;

    failed += RUN_ROWS(rows, test_row);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
