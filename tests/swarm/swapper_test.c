/*
 * Somebody who may write to the target folder swaps its files and folders for symlinks, as fast as
 * two threads can, while a torrent is fetched, checked, read back and filled with zeros there.
 * Nothing outside changes by a byte, and nothing outside is ever served (THREATS: a racing symlink
 * swapper).
 */
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/disk.h"
#include "tests/libcommon/cmocka_row.h"
#include "tests/swarm/disk_pieces.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE        (64 * KIB)
#define ROUNDS       12u
#define OUTSIDE_SIZE (200 * KIB)

static const struct world_file files[] = {
    { "c/a/b/1", 100 * KIB }, { "c/a/b/2", 40 * KIB }, { "c/a/b/3", 150 * KIB },
    { "c/a/d/4", 40 * KIB },  { "c/e/5", 200 * KIB },  { NULL, 0 },
};

/* A piece of zeros, so that holes are punched, too. */
static void zeros_inside(uint8_t *content, size_t size)
{
    assert_true(size > 3 * PIECE);
    memset(content + 2 * PIECE, 0, PIECE);
}

/* ---- the swapper ---- */

static const struct swap {
    const char *what, *there, *outside;
    int also; /* a second one beside it, which must not reach through the first; -1: none */
} swaps[] = {
    { "a file for a file", "c/a/b/1", "1", 1 },  { "the last file for a file", "c/e/5", "5", 2 },
    { "a folder for a folder", "c/a/b", "", 1 }, { "a folder near the root", "c/a", "", 1 },
    { "the torrent's own folder", "c", "", -1 },
};

struct swapper {
    pthread_t thread;
    char there[512], link[512];
    _Atomic bool stop;
    _Atomic unsigned count;
};

static void *run(void *ctx)
{
    struct swapper *self = ctx;

    while (!self->stop) {
        if (renameat2(AT_FDCWD, self->there, AT_FDCWD, self->link, RENAME_EXCHANGE) == 0)
            self->count++;
    }
    return NULL;
}

static void start(struct swapper *self, const struct world *world, const struct world *elsewhere,
                  const struct swap *swap, unsigned number)
{
    char name[32], target[700];

    memset(self, 0, sizeof(*self));
    world_path(world, swap->there, self->there);
    snprintf(name, sizeof(name), "link%u", number);
    world_path(world, name, self->link);
    snprintf(target, sizeof(target), "%s/%s", elsewhere->folder, swap->outside);
    assert_int_equal(symlink(target, self->link), 0);
    assert_int_equal(pthread_create(&self->thread, NULL, run, self), 0);
    while (self->count == 0) /* a busy machine may let all rounds pass before it runs at all */
        sched_yield();
}

static void stop(struct swapper *self)
{
    struct stat found;

    self->stop = true;
    pthread_join(self->thread, NULL);
    /* As it was, for who looks at the files now. */
    if (lstat(self->there, &found) == 0 && S_ISLNK(found.st_mode))
        assert_int_equal(renameat2(AT_FDCWD, self->there, AT_FDCWD, self->link, RENAME_EXCHANGE),
                         0);
}

/* ---- what lies outside ---- */

static const char *const outside[] = { "1", "2", "3", "4", "5", "b/1", "d/4", "a/b/1", "e/5" };

static void put_outside(const struct world *elsewhere)
{
    uint8_t *content = xmalloc(OUTSIDE_SIZE);

    memset(content, 'o', OUTSIDE_SIZE);
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
        world_write(elsewhere, outside[i], content, OUTSIDE_SIZE);
    free(content);
}

static void assert_outside_is_untouched(const struct world *elsewhere)
{
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        size_t size = 0;
        uint8_t *content = world_read(elsewhere, outside[i], &size);
        char path[512];

        assert_non_null(content);
        assert_int_equal(size, OUTSIDE_SIZE);
        for (size_t at = 0; at < size; at++)
            assert_int_equal(content[at], 'o'); /* a hole in it would be zeros */
        world_path(elsewhere, outside[i], path);
        free(content);
        unlink(path);
    }
    /* Nothing was made beside them: the folders are empty now. */
    static const char *const folders[] = { "b", "d", "a/b", "a", "e", "" };

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        char path[512];

        world_path(elsewhere, folders[i], path);
        assert_int_equal(rmdir(path), 0);
    }
    assert_int_equal(mkdir(elsewhere->folder, 0700), 0);
}

/* ---- what the node does meanwhile ---- */

static void one_round(struct world *world)
{
    struct told told = { 0 };
    struct storage *storage = world_open(world, STORAGE_FETCH, NO_RECORD, &told);
    uint32_t pieces = world->metainfo->layout.piece_count;

    if (told.err == LB_OK && storage_reuse(storage, NULL, 0, NULL) == LB_OK)
        world_wait(world, &told.reuse_done, 1);
    for (uint32_t piece = 0; piece < pieces; piece++)
        (void)pieces_write(world, storage, piece);
    if (storage_check(storage, NULL) == LB_OK)
        world_wait(world, &told.check_done, 1);
    if (storage_read_back(storage, NULL) == LB_OK)
        world_wait(world, &told.check_done, 2);
    for (uint32_t piece = 0; piece < pieces; piece++) /* what the torrent has, or nothing */
        (void)pieces_read(world, storage, (struct disk_read){ .piece = piece, .size = 16 * KIB });
    world_close(world, &storage, &told);
}

static void test_swap(void **state)
{
    const struct swap *row = *state;
    struct swapper one, two;
    struct world world, elsewhere;

    world_init(&elsewhere, 0);
    world_init(&world, 0);
    world.change = zeros_inside;
    world_torrent(&world, files, PIECE);
    put_outside(&elsewhere);
    world_write(&world, "c/a/b/1", NULL, 0);
    world_write(&world, "c/e/5", NULL, 0);
    start(&one, &world, &elsewhere, row, 1);
    if (row->also >= 0)
        start(&two, &world, &elsewhere, &swaps[row->also], 2);
    for (unsigned i = 0; i < ROUNDS; i++)
        one_round(&world);
    if (row->also >= 0)
        stop(&two);
    stop(&one);
    assert_true(one.count > 0);
    assert_outside_is_untouched(&elsewhere);
    world_done(&world);
    world_done(&elsewhere);
}

int main(void)
{
    return RUN_ROWS(swaps, test_swap);
}
