#include "services/swarm/holes.h"
#include "services/swarm/piece_hash.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/disk.h"
#include "tests/libcommon/cmocka_row.h"
#include "tests/swarm/disk_pieces.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct zero_row {
    const char *what;
    size_t size;
    size_t other; /* the place of a byte that is not 0; size: none */
    bool zeros;
} zero_rows[] = {
    { "nothing at all", 0, 0, true },
    { "one zero", 1, 1, true },
    { "one other", 1, 0, false },
    { "many zeros", 16384, 16384, true },
    { "the first differs", 16384, 0, false },
    { "the last differs", 16384, 16383, false },
    { "one inside differs", 16383, 777, false },
};

static void test_zeros(void **state)
{
    const struct zero_row *row = *state;
    uint8_t *data = xcalloc(row->size + 1, 1);

    if (row->other < row->size)
        data[row->other] = 3;
    assert_int_equal(holes_are_zeros(data, row->size), row->zeros);
    free(data);
}

/* ---- ranges made zeros, in a file of other bytes and in one of holes ---- */

static const struct make_row {
    const char *what;
    uint64_t offset, size;
    bool sparse;  /* the file was one hole before */
    bool is_hole; /* the range takes no room afterwards */
} make_rows[] = {
    { "a long run becomes a hole", 64 * KIB, 256 * KIB, false, true },
    { "a short run is written", 64 * KIB, 16 * KIB, false, false },
    { "a run at odd places", 12345, 200001, false, false },
    { "one byte", 77, 1, false, false },
    { "up to the end", 512 * KIB, 512 * KIB, false, true },
    { "a hole stays one", 64 * KIB, 256 * KIB, true, true },
    { "a short hole stays one", 64 * KIB, 16 * KIB, true, true },
};

static void test_make(void **state)
{
    const struct make_row *row = *state;
    struct world world;
    uint8_t *content = xcalloc(MIB, 1), *found;
    uint64_t begin, end;
    size_t size = 0;
    char path[512];
    int fd;

    world_init(&world, 0);
    world_path(&world, "file", path);
    if (!row->sparse)
        memset(content, 'x', MIB);
    world_write(&world, "file", content, row->sparse ? 0 : MIB);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, MIB), 0);
    assert_int_equal(holes_make(fd, row->offset, row->size), 0);
    memset(content + row->offset, 0, row->size);
    found = world_read(&world, "file", &size);
    assert_int_equal(size, MIB);
    assert_memory_equal(found, content, size);
    assert_int_equal(!holes_next_data(fd, row->offset, row->offset + row->size, &begin, &end),
                     row->is_hole);
    close(fd);
    free(found);
    free(content);
    world_done(&world);
}

static void a_hash_passes_over_holes(void **state)
{
    struct world world;
    struct stat status;
    uint8_t *content = xcalloc(4 * MIB, 1), *buffer = xmalloc(MIB);
    uint8_t wanted[SHA1_SIZE];
    struct piece_hasher *hasher = piece_hasher_new(METAINFO_V1);
    struct piece_hash found;
    struct holes_range range = { .size = 4 * MIB, .buffer = buffer, .buffer_size = 100000 };
    uint64_t read_bytes = 0;
    char path[512];

    (void)state;
    world_init(&world, 0);
    world_write(&world, "file", NULL, 0);
    world_path(&world, "file", path);
    range.fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(ftruncate(range.fd, 4 * MIB), 0);
    assert_int_equal(pwrite(range.fd, "some", 4, MIB + 5), 4);
    memcpy(content + MIB + 5, "some", 4);
    assert_int_equal(fstat(range.fd, &status), 0);
    range.sparse = holes_are_in(&status);
    assert_true(range.sparse);
    sha1(bytes_of(content, 4 * MIB), wanted);
    piece_hasher_begin(hasher, 0);
    assert_int_equal(holes_hash(hasher, &range, &read_bytes), LB_OK);
    piece_hasher_finish(hasher, 0, &found);
    assert_memory_equal(found.sha1, wanted, sizeof(wanted));
    assert_true(read_bytes <= 64 * KIB);
    memset(content, 0, 4 * MIB);
    sha1(bytes_of(content, 100001), wanted);
    piece_hash_of_zeros(METAINFO_V1, 0, 100001, 0, &found);
    assert_memory_equal(found.sha1, wanted, sizeof(wanted));
    piece_hasher_free(&hasher);
    close(range.fd);
    free(buffer);
    free(content);
    world_done(&world);
}

/* ---- zeros from peers ---- */

static void zeros_inside(uint8_t *content, size_t size)
{
    memset(content + 256 * KIB, 0, 512 * KIB); /* of the first piece */
    memset(content + 3 * MIB, 0, 2 * MIB);     /* the last two */
    assert_int_equal(size, 5 * MIB);
}

/* old: what lies there before, of the same size; NULL: nothing. */
static void fetch_over(const uint8_t *old, uint64_t bytes_max)
{
    static const struct world_file files[] = { { "image", 5 * MIB }, { NULL, 0 } };
    struct world world;
    struct told told = { 0 };
    struct storage *storage;
    struct stat status;
    size_t size = 0;
    uint8_t *found;
    char path[512];

    world_init(&world, 0);
    world.change = zeros_inside;
    world_torrent(&world, files, MIB);
    if (old)
        world_write(&world, "image", old, 5 * MIB);
    storage = world_open(&world, STORAGE_FETCH, NO_RECORD, &told);
    assert_int_equal(storage_reuse(storage, NULL, 0, NULL), LB_OK);
    world_wait(&world, &told.reuse_done, 1);
    assert_int_equal(told.reused, 2);
    for (uint32_t piece = 0; piece < 3; piece++)
        assert_int_equal(pieces_write(&world, storage, piece), LB_OK);
    world_close(&world, &storage, &told);
    found = world_read(&world, "image", &size);
    assert_int_equal(size, 5 * MIB);
    assert_memory_equal(found, world.content, size);
    world_path(&world, "image", path);
    assert_int_equal(stat(path, &status), 0);
    assert_true((uint64_t)status.st_blocks * 512 <= bytes_max);
    free(found);
    world_done(&world);
}

static void zeros_are_holes_in_a_new_file(void **state)
{
    (void)state;
    fetch_over(NULL, 5 * MIB / 2 + 64 * KIB);
}

static void zeros_replace_what_lay_there(void **state)
{
    uint8_t *old = xmalloc(5 * MIB);

    (void)state;
    memset(old, 'x', 5 * MIB);
    fetch_over(old, 5 * MIB / 2 + 64 * KIB);
    free(old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hash_passes_over_holes),
        cmocka_unit_test(zeros_are_holes_in_a_new_file),
        cmocka_unit_test(zeros_replace_what_lay_there),
    };
    int failed = 0;

    failed += RUN_ROWS(zero_rows, test_zeros);
    failed += RUN_ROWS(make_rows, test_make);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
