/*
 * Content of v2 and hybrids: made, checked, fetched and found again on the disk.
 */
#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/create.h"
#include "services/swarm/disk.h"
#include "services/swarm/piece_hash.h"
#include "tests/libcommon/cmocka_row.h"
#include "tests/swarm/disk_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIB          1024u
#define EMPTY_RECORD bytes_of(NULL, 0)

struct outcome {
    unsigned done;
    lb_err err;
    struct create_result result;
};

static void on_made(void *ctx, lb_err err, const struct create_result *result, const char *problem)
{
    struct outcome *self = ctx;

    (void)problem;
    self->done++;
    self->err = err;
    if (result)
        self->result = *result;
}

/* "one" or the folder "c" are made a torrent of; world.metainfo is it then. */
static struct resume *make(struct world *world, const char *name, enum metainfo_kind kind,
                           uint32_t piece_length)
{
    struct create_request request = { .kind = kind, .piece_length = piece_length };
    struct outcome outcome = { 0 };
    struct create *create;
    char path[512];

    world_path(world, name, path);
    request.path = path;
    assert_int_equal(create_start(world->pool, &request, on_made, &outcome, &create), LB_OK);
    world_wait(world, &outcome.done, 1);
    assert_int_equal(outcome.err, LB_OK);
    world->metainfo = outcome.result.metainfo;
    return outcome.result.resume;
}

static void write_random(const struct world *world, const char *path, size_t size)
{
    uint8_t *content = xmalloc(size + 1);
    struct random random;

    random_init(&random, size);
    random_bytes(&random, content, size);
    world_write(world, path, content, size);
    free(content);
}

static void check_all(struct world *world, struct storage *storage, struct told *told, unsigned bad)
{
    const uint32_t pieces = world->metainfo->layout.piece_count;

    told->checked_good = told->checked_bad = told->check_done = 0;
    assert_int_equal(storage_check(storage, NULL), LB_OK);
    world_wait(world, &told->check_done, 1);
    assert_int_equal(told->check_err, LB_OK);
    assert_int_equal(told->checked_bad, bad);
    assert_int_equal(told->checked_good, pieces - bad);
}

/* ---- what is shared ---- */

static const struct share_row {
    const char *what;
    enum metainfo_kind kind;
    uint32_t piece_length;
    size_t sizes[4]; /* of the files a, b/c, d, e; one alone: a file without a folder */
    unsigned files, pieces;
    size_t content;
} share_rows[] = {
    { "v2, one byte", METAINFO_V2, 16 * KIB, { 1 }, 1, 1, 1 },
    { "v2, exactly a piece", METAINFO_V2, 16 * KIB, { 16 * KIB }, 1, 1, 16 * KIB },
    { "v2, a piece and a byte", METAINFO_V2, 16 * KIB, { 16 * KIB + 1 }, 1, 2, 16 * KIB + 1 },
    { "v2, pieces of four blocks, the last cut",
      METAINFO_V2,
      64 * KIB,
      { 150 * KIB },
      1,
      3,
      150 * KIB },
    { "v2, smaller than its piece", METAINFO_V2, 64 * KIB, { 33 * KIB }, 1, 1, 33 * KIB },
    { "v2, a folder with an empty file",
      METAINFO_V2,
      32 * KIB,
      { 70 * KIB, 0, 5, 32 * KIB },
      4,
      5,
      102 * KIB + 5 },
    { "hybrid, one byte", METAINFO_HYBRID, 16 * KIB, { 1 }, 1, 1, 1 },
    { "hybrid, pieces of four blocks, the last cut",
      METAINFO_HYBRID,
      64 * KIB,
      { 150 * KIB },
      1,
      3,
      150 * KIB },
    { "hybrid, a folder with an empty file",
      METAINFO_HYBRID,
      32 * KIB,
      { 70 * KIB, 0, 5, 32 * KIB },
      4,
      5,
      102 * KIB + 5 },
    { "hybrid, empty files at both ends", METAINFO_HYBRID, 16 * KIB, { 0, 5, 5, 0 }, 4, 2, 10 },
};

static const char *const names[] = { "c/a", "c/b/c", "c/d", "c/e" };

static void draw_share(struct world *world, const struct share_row *row)
{
    if (row->files == 1)
        write_random(world, "c", row->sizes[0]);
    for (unsigned i = 0; i < row->files && row->files > 1; i++)
        write_random(world, names[i], row->sizes[i]);
}

/* What is made of files is seeded at once, is good when looked at, and a changed byte is found. */
static void test_share(void **state)
{
    const struct share_row *row = *state;
    struct world world;
    struct told told = { 0 };
    uint8_t *record;
    size_t size;

    world_init(&world, 0);
    draw_share(&world, row);
    struct resume *resume = make(&world, "c", row->kind, row->piece_length);
    assert_int_equal(world.metainfo->kind, row->kind);
    assert_int_equal(world.metainfo->layout.piece_count, row->pieces);
    assert_int_equal(world.metainfo->layout.content_length, row->content);
    assert_false(metainfo_lacks_layers(world.metainfo));
    resume_encode(resume, &record, &size);
    struct storage *storage = world_open(&world, STORAGE_SHARE, bytes_of(record, size), &told);
    assert_int_equal(bitfield_count(storage_have(storage), row->pieces), row->pieces);
    check_all(&world, storage, &told, 0);
    world_close(&world, &storage, &told);

    const char *path = row->files == 1 ? "c" : row->sizes[0] > 0 ? "c/a" : "c/b/c";
    uint8_t *content = world_read(&world, path, &size);
    content[size - 1] ^= 1;
    world_write(&world, path, content, size);
    free(content);
    told = (struct told){ 0 };
    storage = world_open(&world, STORAGE_SHARE, EMPTY_RECORD, &told);
    check_all(&world, storage, &told, 1);
    world_close(&world, &storage, &told);
    free(record);
    resume_free(&resume);
    world_done(&world);
}

/* ---- what is fetched ---- */

static void on_finished(void *ctx, lb_err err)
{
    struct told *told = ctx;

    told->done++;
    told->err = err;
}

/* The bytes of a block of a piece, from where they lie. */
static void read_block(const struct world *world, uint32_t piece, uint32_t block, uint8_t *to)
{
    const struct layout *layout = &world->metainfo->layout;
    struct layout_cursor cursor = layout_spans(layout, piece, block * LAYOUT_BLOCK_SIZE,
                                               layout_block_size(layout, piece, block));
    struct layout_span span;

    assert_true(layout_spans_next(&cursor, &span));
    size_t size;
    uint8_t *content = world_read(world, world->metainfo->paths[span.file], &size);
    memcpy(to, content + span.offset, span.size);
    free(content);
    assert_false(layout_spans_next(&cursor, &span));
}

/* One block of each piece is bad at first. */
static void fetch_piece(const struct world *from, struct world *to, struct storage *storage,
                        uint32_t piece, struct told *told)
{
    const uint32_t blocks = layout_block_count(&from->metainfo->layout, piece);

    for (int bad = 1; bad >= 0; bad--) {
        struct assembly *assembly = assembly_new(storage, piece);
        for (uint32_t i = 0; i < blocks; i++) {
            uint8_t block[LAYOUT_BLOCK_SIZE] = { 0 };
            read_block(from, piece, i, block);
            block[0] ^= (uint8_t)(bad && i == blocks - 1);
            assert_true(assembly_put(assembly, i, block));
        }
        told->done = 0;
        assembly_finish(assembly, on_finished, told);
        world_wait(to, &told->done, 1);
        assert_int_equal(told->err, bad ? LB_CORRUPT : LB_OK);
        assert_int_equal(assembly_digests(assembly) != NULL, bad);
        assembly_free(&assembly);
    }
}

static void test_fetch(void **state)
{
    const struct share_row *row = *state;
    struct world from, to;
    struct told told = { 0 };

    world_init(&from, 0);
    world_init(&to, 0);
    draw_share(&from, row);
    if (row->files > 1) {
        char path[512];
        world_path(&from, "c/d", path);
        assert_int_equal(chmod(path, 0755), 0);
    }
    struct resume *resume = make(&from, "c", row->kind, row->piece_length);
    to.metainfo = metainfo_keep(from.metainfo);
    struct storage *storage = world_open(&to, STORAGE_FETCH, EMPTY_RECORD, &told);
    assert_int_equal(told.err, LB_OK);
    for (uint32_t i = 0; i < row->pieces; i++)
        fetch_piece(&from, &to, storage, i, &told);
    world_wait_jobs(&to);
    check_all(&to, storage, &told, 0);
    world_close(&to, &storage, &told);
    for (uint32_t i = 0; i < to.metainfo->layout.files_count; i++) {
        if (to.metainfo->layout.files[i].padding)
            continue;
        const char *path = to.metainfo->paths[i];
        size_t size, its_size;
        uint8_t *content = world_read(&to, path, &size);
        uint8_t *its = world_read(&from, path, &its_size);
        char whole[512];
        struct stat found;

        assert_int_equal(size, its_size);
        assert_memory_equal(content, its, size);
        free(content);
        free(its);
        world_path(&to, path, whole);
        assert_int_equal(stat(whole, &found), 0);
        assert_int_equal((found.st_mode & S_IXUSR) != 0, strcmp(path, "c/d") == 0);
    }
    resume_free(&resume);
    world_done(&to);
    world_done(&from);
}

/* ---- what is unchanged ---- */

static void another_kind_or_mode_is_hashed_again(void **state)
{
    struct world world;
    char path[512], d[512];

    (void)state;
    world_init(&world, 0);
    for (unsigned i = 0; i < 4; i++)
        write_random(&world, names[i], 20000 * i);
    struct resume *resume = make(&world, "c", METAINFO_HYBRID, 0);
    world_path(&world, "c", path);
    world_path(&world, "c/d", d);
    for (unsigned step = 0; step < 3; step++) {
        const struct create_request request = { .path = path,
                                                .kind = step == 1 ? METAINFO_V2 : METAINFO_HYBRID,
                                                .known = world.metainfo,
                                                .known_resume = resume };
        struct outcome outcome = { 0 };
        struct create *create;

        if (step == 2)
            assert_int_equal(chmod(d, 0700), 0);
        assert_int_equal(create_start(world.pool, &request, on_made, &outcome, &create), LB_OK);
        world_wait(&world, &outcome.done, 1);
        assert_int_equal(outcome.err, LB_OK);
        assert_int_equal(outcome.result.unchanged, step == 0);
        metainfo_free(&outcome.result.metainfo);
        resume_free(&outcome.result.resume);
    }
    resume_free(&resume);
    world_done(&world);
}

/* ---- hashing ---- */

/* However the bytes of a piece are cut, its hash is the same. */
static void cuts_do_not_change_a_hash(void **state)
{
    enum { SIZE = 5 * 16384 + 77 };
    uint8_t *data = xmalloc(SIZE), sha[20], leaves[8][32], root[32];
    struct random random;

    (void)state;
    random_init(&random, 3);
    random_bytes(&random, data, SIZE);
    memset(data + 30000, 0, 40000);
    sha1(bytes_of(data, SIZE), sha);
    for (unsigned i = 0; i < 6; i++)
        sha256(bytes_of(data + i * 16384, i < 5 ? 16384 : 77), leaves[i]);
    merkle_root(leaves[0], 6, 0, 4, root);
    for (unsigned round = 0; round < 20; round++) {
        struct piece_hasher *hasher = piece_hasher_new(METAINFO_HYBRID);
        struct piece_hash hash;

        piece_hasher_begin(hasher, 4);
        for (size_t at = 0; at < SIZE;) {
            size_t size = 1 + random_below(&random, 40000);
            if (size > SIZE - at)
                size = SIZE - at;
            if (at == 30000)
                piece_hasher_add_zeros(hasher, size = 40000);
            else if (at < 30000 && at + size > 30000)
                piece_hasher_add(hasher, bytes_of(data + at, size = 30000 - at));
            else
                piece_hasher_add(hasher, bytes_of(data + at, size));
            at += size;
        }
        piece_hasher_finish(hasher, 0, &hash);
        assert_memory_equal(hash.sha1, sha, sizeof(sha));
        assert_memory_equal(hash.root, root, sizeof(root));
        piece_hasher_free(&hasher);
    }
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_kind_or_mode_is_hashed_again),
        cmocka_unit_test(cuts_do_not_change_a_hash),
    };
    int failed = 0;

    failed += RUN_ROWS(share_rows, test_share);
    failed += RUN_ROWS(share_rows, test_fetch);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
