#include "services/swarm/create.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"
#include "tests/libcommon/cmocka_row.h"
#include "tests/swarm/disk_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIB 1024u
#define MIB (1024u * 1024)

struct outcome {
    unsigned done;
    lb_err err;
    struct create_result result;
    char problem[CREATE_PROBLEM_SIZE];
};

static void on_done(void *ctx, lb_err err, const struct create_result *result, const char *problem)
{
    struct outcome *self = ctx;

    self->done++;
    self->err = err;
    if (result)
        self->result = *result;
    else
        snprintf(self->problem, sizeof(self->problem), "%s", problem);
}

static void outcome_done(struct outcome *self)
{
    metainfo_free(&self->result.metainfo);
    resume_free(&self->result.resume);
}

/* `request` with the path made absolute. */
static void make(struct world *world, const char *path, struct create_request request,
                 struct outcome *ret_outcome)
{
    struct create *create;
    char whole[512];

    *ret_outcome = (struct outcome){ 0 };
    world_path(world, path, whole);
    request.path = whole;
    assert_int_equal(create_start(world->pool, &request, on_done, ret_outcome, &create), LB_OK);
    world_wait(world, &ret_outcome->done, 1);
}

static const struct length_row {
    const char *what;
    enum metainfo_kind kind;
    uint64_t length;
    uint32_t piece_length;
} length_rows[] = {
    { "one byte", METAINFO_V1, 1, 16 * KIB },
    { "64 MiB", METAINFO_V1, 64 * MIB, 16 * KIB },
    { "one more", METAINFO_V1, 64 * MIB + 1, 32 * KIB },
    { "128 MiB", METAINFO_V1, 128 * MIB, 32 * KIB },
    { "5 GB", METAINFO_V1, 5000000000u, 2 * MIB },
    { "256 GiB", METAINFO_V1, 256ull << 30, 4 * MIB },
    { "one more than 256 GiB", METAINFO_V1, (256ull << 30) + 1, 8 * MIB },
    { "64 MiB for v2", METAINFO_V2, 64 * MIB, 16 * KIB },
    { "one byte for both", METAINFO_HYBRID, 1, 32 * KIB },
    { "64 MiB for both", METAINFO_HYBRID, 64 * MIB, 32 * KIB },
    { "5 GB for both", METAINFO_HYBRID, 5000000000u, 2 * MIB },
    { "the most", METAINFO_V1, METAINFO_LENGTH_MAX, METAINFO_PIECE_LENGTH_MAX },
};

static void test_length(void **state)
{
    const struct length_row *row = *state;

    assert_int_equal(create_piece_length(row->kind, row->length), row->piece_length);
}

/* The same content in memory and on disk gives the same infohash, and a record to seed from. */
static void what_is_made_can_be_seeded_without_hashing(void **state)
{
    static const struct world_file files[] = {
        { "course/a", 300 * KIB + 1 }, { "course/b/1", 5 }, { "course/b/10", 0 },
        { "course/b/2", 90 * KIB },    { "course/b-", 7 },  { NULL, 0 }
    };
    struct world world;
    struct outcome outcome;
    struct told told = { 0 };
    struct storage *storage;
    struct disk_stats stats;
    uint8_t *record;
    size_t size;

    (void)state;
    world_init(&world, 0);
    world_torrent(&world, files, 32 * KIB);
    world_write_all(&world);
    make(&world, "course/", (struct create_request){ .piece_length = 32 * KIB }, &outcome);
    assert_int_equal(outcome.err, LB_OK);
    assert_string_equal(outcome.result.folder, world.folder);
    assert_string_equal(outcome.result.metainfo->name, "course");
    assert_false(outcome.result.unchanged);
    assert_int_equal(outcome.result.empty_folders, 0);
    /* Sorted: a folder's content where the folder's name stands. */
    assert_string_equal(outcome.result.metainfo->paths[1], "course/b/1");
    assert_string_equal(outcome.result.metainfo->paths[4], "course/b-");
    assert_memory_equal(outcome.result.metainfo->infohash, world.metainfo->infohash, 20);

    resume_encode(outcome.result.resume, &record, &size);
    storage = world_open(&world, STORAGE_SHARE, bytes_of(record, size), &told);
    assert_int_equal(bitfield_count(storage_have(storage), world.metainfo->layout.piece_count),
                     world.metainfo->layout.piece_count);
    disk_stats(world.disk, &stats);
    assert_int_equal(stats.hashed_bytes, 0);
    world_close(&world, &storage, &told);
    free(record);
    outcome_done(&outcome);
    world_done(&world);
}

static void a_file_alone_is_a_torrent_without_a_folder(void **state)
{
    struct world world;
    struct outcome outcome;
    uint8_t *content = xcalloc(1, 40 * MIB), hash[20];

    (void)state;
    world_init(&world, 0);
    content[39 * MIB] = 1;
    world_write(&world, "image.iso", content, 40 * MIB);
    make(&world, "image.iso", (struct create_request){ .is_private = true }, &outcome);
    assert_int_equal(outcome.err, LB_OK);
    assert_false(outcome.result.metainfo->is_folder);
    assert_true(outcome.result.metainfo->is_private);
    assert_int_equal(outcome.result.metainfo->layout.piece_length, 16 * KIB);
    for (uint32_t i = 0; i < outcome.result.metainfo->layout.piece_count; i++) {
        sha1(bytes_of(content + (size_t)i * 16 * KIB, 16 * KIB), hash);
        assert_memory_equal(metainfo_piece_hash(outcome.result.metainfo, i), hash, 20);
    }
    free(content);
    outcome_done(&outcome);
    world_done(&world);
}

static void what_is_unchanged_is_not_hashed_again(void **state)
{
    struct world world;
    struct outcome first, second;
    struct create_request request = { 0 };
    uint8_t content[100] = { 1 };

    (void)state;
    world_init(&world, 0);
    world_write(&world, "c/a", content, sizeof(content));
    world_write(&world, "c/b", content, sizeof(content));
    make(&world, "c", request, &first);
    assert_int_equal(first.err, LB_OK);
    request.known = first.result.metainfo;
    request.known_resume = first.result.resume;
    make(&world, "c", request, &second);
    assert_int_equal(second.err, LB_OK);
    assert_true(second.result.unchanged);
    assert_ptr_equal(second.result.metainfo, first.result.metainfo);
    outcome_done(&second);

    /* Of another network it is another torrent. */
    request.ssl_cert = bytes_of_text("ROOT");
    make(&world, "c", request, &second);
    assert_int_equal(second.err, LB_OK);
    assert_false(second.result.unchanged);
    assert_true(bytes_equal_text(second.result.metainfo->ssl_cert, "ROOT"));
    assert_memory_not_equal(second.result.metainfo->infohash, first.result.metainfo->infohash, 20);
    outcome_done(&second);
    request.ssl_cert = bytes_of(NULL, 0);

    content[0] = 2;
    world_write(&world, "c/b", content, sizeof(content));
    make(&world, "c", request, &second);
    assert_int_equal(second.err, LB_OK);
    assert_false(second.result.unchanged);
    assert_memory_not_equal(second.result.metainfo->infohash, first.result.metainfo->infohash, 20);
    outcome_done(&second);

    world_write(&world, "c/d", content, 1);
    make(&world, "c", request, &second);
    assert_false(second.result.unchanged);
    outcome_done(&second);
    outcome_done(&first);
    world_done(&world);
}

static void empty_folders_are_counted(void **state)
{
    struct world world;
    struct outcome outcome;
    char path[512];

    (void)state;
    world_init(&world, 0);
    world_write(&world, "c/a", (const uint8_t *)"x", 1);
    world_path(&world, "c/b", path);
    assert_int_equal(mkdir(path, 0700), 0);
    make(&world, "c", (struct create_request){ 0 }, &outcome);
    assert_int_equal(outcome.err, LB_OK);
    assert_int_equal(outcome.result.empty_folders, 1);
    outcome_done(&outcome);
    world_done(&world);
}

/* What makes a folder c (with a file a in it) impossible to share. */
static const struct obstacle_row {
    const char *what;
    enum { GOOD, GONE, EMPTY, SYMLINK, SYMLINK_ITSELF, FIFO, BAD_NAME, LINE_FEED } kind;
    lb_err err;
    const char *problem;
} obstacle_rows[] = {
    { "none", GOOD, LB_OK, "" },
    { "it is not there", GONE, LB_NOT_FOUND, "No such file" },
    { "only an empty file", EMPTY, LB_INVALID, "no content" },
    { "a symlink in it", SYMLINK, LB_INVALID, "c/link is a symbolic link" },
    { "it is a symlink", SYMLINK_ITSELF, LB_INVALID, "c is a symbolic link" },
    { "a FIFO in it", FIFO, LB_INVALID, "c/pipe is no regular file" },
    { "a name that is no UTF-8", BAD_NAME, LB_INVALID, "c/%FF: this name cannot" },
    { "a name with a line feed", LINE_FEED, LB_INVALID, "c/x%0A: this name cannot" },
};

static void put_obstacle(const struct world *world, const struct obstacle_row *row)
{
    char path[512], other[512];

    if (row->kind != GONE)
        world_write(world, "c/a", (const uint8_t *)"x", row->kind != EMPTY);
    world_path(world, row->kind == FIFO ? "c/pipe" : "c/link", path);
    if (row->kind == SYMLINK)
        assert_int_equal(symlink("a", path), 0);
    if (row->kind == FIFO)
        assert_int_equal(mkfifo(path, 0600), 0);
    if (row->kind == BAD_NAME)
        world_write(world, "c/\xff", NULL, 0);
    if (row->kind == LINE_FEED)
        world_write(world, "c/x\n", NULL, 0);
    if (row->kind == SYMLINK_ITSELF) {
        world_path(world, "c", path);
        world_path(world, "d", other);
        assert_int_equal(rename(path, other), 0);
        assert_int_equal(symlink("d", path), 0);
    }
}

static void test_obstacle(void **state)
{
    const struct obstacle_row *row = *state;
    struct world world;
    struct outcome outcome;

    world_init(&world, 0);
    put_obstacle(&world, row);
    make(&world, "c", (struct create_request){ 0 }, &outcome);
    assert_int_equal(outcome.err, row->err);
    if (!strstr(outcome.problem, row->problem))
        fail_msg("the problem says: %s", outcome.problem);
    outcome_done(&outcome);
    world_done(&world);
}

static const struct request_row {
    const char *what, *path;
    uint32_t piece_length;
} request_rows[] = {
    { "a relative path", "image.iso", 0 },
    { "nothing", "", 0 },
    { "the root", "/", 0 },
    { "a folder's parent", "/tmp/..", 0 },
    { "a folder itself", "/tmp/.", 0 },
    { "pieces too small", "/tmp/x", 8 * KIB },
    { "pieces too large", "/tmp/x", 32 * MIB },
    { "pieces of no power of two", "/tmp/x", 48 * KIB },
};

static void test_request(void **state)
{
    const struct request_row *row = *state;
    struct create_request request = { .path = row->path, .piece_length = row->piece_length };
    struct create *create = NULL;
    struct world world;

    world_init(&world, 0);
    assert_int_equal(create_start(world.pool, &request, on_done, NULL, &create), LB_INVALID);
    assert_null(create);
    world_done(&world);
}

static bool is_under_way(void *ctx)
{
    uint64_t done, total;

    create_progress(ctx, &done, &total);
    return done > 0;
}

/* A file that is written to while others are still hashed. */
static void a_change_meanwhile_is_noticed(void **state)
{
    struct world world;
    struct outcome outcome = { 0 };
    struct create *create;
    char path[512];
    uint8_t *content = xcalloc(1, 96 * MIB);
    uint64_t done, total;

    (void)state;
    world_init(&world, 0);
    world_write(&world, "c/a", content, 96 * MIB);
    world_write(&world, "c/b", content, 1);
    world_path(&world, "c", path);
    assert_int_equal(create_start(world.pool, &(struct create_request){ .path = path }, on_done,
                                  &outcome, &create),
                     LB_OK);
    world_until(&world, is_under_way, create);
    create_progress(create, &done, &total);
    assert_int_equal(total, 96 * MIB + 1);
    world_write(&world, "c/a", content, 96 * MIB);
    world_wait(&world, &outcome.done, 1);
    assert_int_equal(outcome.err, LB_CONFLICT);
    assert_non_null(strstr(outcome.problem, "c/a changed"));
    free(content);
    world_done(&world);
}

static void it_can_be_cancelled(void **state)
{
    struct world world;
    struct outcome outcome = { 0 };
    struct create *create;
    char path[512];

    (void)state;
    world_init(&world, 0);
    world_write(&world, "a", (const uint8_t *)"x", 1);
    world_path(&world, "a", path);
    assert_int_equal(create_start(world.pool, &(struct create_request){ .path = path }, on_done,
                                  &outcome, &create),
                     LB_OK);
    create_cancel(create);
    world_wait(&world, &outcome.done, 1);
    assert_int_equal(outcome.err, LB_CANCELLED);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_made_can_be_seeded_without_hashing),
        cmocka_unit_test(a_file_alone_is_a_torrent_without_a_folder),
        cmocka_unit_test(what_is_unchanged_is_not_hashed_again),
        cmocka_unit_test(empty_folders_are_counted),
        cmocka_unit_test(a_change_meanwhile_is_noticed),
        cmocka_unit_test(it_can_be_cancelled),
    };
    int failed = 0;

    failed += RUN_ROWS(length_rows, test_length);
    failed += RUN_ROWS(request_rows, test_request);
    failed += RUN_ROWS(obstacle_rows, test_obstacle);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
