/* The files of a store: a full disk, foreign, cut, older, later and damaged ones. */
#include "services/storage/db.h"

#include "libcommon/memory.h"
#include "tests/libcommon/rights.h"
#include "tests/storage/db_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a full disk ---- */

static void fill(const char *folder, size_t keep_free)
{
    char path[128];
    char block[4096];
    int fd;
    size_t written = 0;

    memset(block, 'f', sizeof block);
    snprintf(path, sizeof path, "%s/filler", folder);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    while (write(fd, block, sizeof block) == (ssize_t)sizeof block)
        written += sizeof block;
    if (ftruncate(fd, (off_t)(written > keep_free ? written - keep_free : 0)) != 0)
        exit(3);
    close(fd);
}

static bool on_a_full_disk(void)
{
    enum { COUNT = 300 };
    static struct db_op ops[COUNT];
    static uint8_t buffers[COUNT][ITEM_VALUE_MAX];
    static struct item items[COUNT];
    unsigned stored = 0;
    unsigned refused = 0;
    char path[128];

    for (unsigned i = 0; i < COUNT; i++) {
        items[i] = world_item(i, 900, buffers[i]);
        ops[i] = world_put_op(&world, &items[i], "self");
    }
    if (world_put(&world, &items[0], "self") != LB_OK)
        return false;
    fill(world.folder, 500 * 1024); /* more than the reserve, less than the commit needs */
    world_apply_list(&world, ops + 1, COUNT - 1);
    for (unsigned i = 1; i < COUNT; i++) {
        stored += ops[i].err == LB_OK && world_has(&world, &items[i]);
        refused += ops[i].err == LB_NO_SPACE && !world_has(&world, &items[i]);
    }
    fprintf(stderr, "full disk: %u stored, %u refused\n", stored, refused);
    if (stored + refused != COUNT - 1 || stored == 0 || refused == 0)
        return false;
    if (!world_has(&world, &items[0]))
        return false;
    if (world_put(&world, &items[COUNT - 1], "self") != LB_NO_SPACE)
        return false;
    world.now_s += WORLD_ITEM_TTL_S + 1; /* removing goes on */
    if (world_sweep(&world) != stored + 1)
        return false;
    snprintf(path, sizeof path, "%s/filler", world.folder);
    (void)unlink(path);
    if (world_put(&world, &items[5], "self") != LB_OK || !world_has(&world, &items[5]))
        return false;
    fill(world.folder, 8 * 1024); /* others fill the disk to the last page */
    return world_put(&world, &items[6], "self") == LB_NO_SPACE && world_has(&world, &items[5]);
}

#define NO_DISK 100 /* an exit code; the errno is added */

static void a_full_disk_refuses_and_goes_on(void **state)
{
    pid_t child;
    int status = 0;

    (void)state;
    world_close(&world);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("lb", world.folder, "tmpfs", 0, "size=2m") != 0)
            _exit(NO_DISK + errno);
        world_open(&world);
        _exit(on_a_full_disk() ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    world_open(&world);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) >= NO_DISK)
        rights_missing("a small disk cannot be mounted", WEXITSTATUS(status) - NO_DISK);
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- what stands there ---- */

static void write_file(const char *content, size_t size)
{
    char path[128];
    int fd;

    snprintf(path, sizeof path, "%s/data.mdb", world.folder);
    fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, size), (ssize_t)size);
    close(fd);
}

static void a_file_of_something_else_is_set_aside(void **state)
{
    static char noise[8192];

    (void)state;
    memset(noise, 'n', sizeof noise);
    world_close(&world);
    write_file(noise, sizeof noise);
    assert_int_equal(world_try_open(&world), LB_CORRUPT);
    assert_null(world.db);
    assert_int_equal(db_set_aside(world.folder), LB_OK);
    world_open(&world);
    assert_int_equal(world_stats(&world).items, 0);
}

static void a_file_cut_short_is_set_aside(void **state)
{
    char path[128];
    struct stat whole;

    (void)state;
    assert_int_equal(world_put_many(&world, 0, 200, 500, "self"), 200);
    world_close(&world);
    snprintf(path, sizeof path, "%s/data.mdb", world.folder);
    assert_int_equal(stat(path, &whole), 0);
    for (int part = 3; part > 0; part--) {
        assert_int_equal(truncate(path, whole.st_size / 4 * part / 4096 * 4096), 0);
        assert_int_equal(world_try_open(&world), LB_CORRUPT);
        assert_null(world.db);
    }
    assert_int_equal(db_set_aside(world.folder), LB_OK);
    world_open(&world);
    assert_int_equal(world_stats(&world).items, 0);
}

static void write_schema(uint8_t number)
{
    const uint8_t schema[] = { 0, 0, 0, number };

    world_write_row(&world, "meta", bytes_of_text("schema"), bytes_of(schema, sizeof schema));
}

static void a_store_of_a_later_version_is_left_alone(void **state)
{
    (void)state;
    world_close(&world);
    write_schema(99);
    assert_int_equal(world_try_open(&world), LB_UNSUPPORTED);
    assert_null(world.db);
    write_schema(2);
    world_open(&world);
}

/* Records that somebody damaged: left out, replaced, swept; never the end. */
static void damaged_records_are_left_out(void **state)
{
    uint8_t buffer[ITEM_VALUE_MAX];
    struct item item = world_item(1, 100, buffer);
    struct node_id target = item_target(&item);

    (void)state;
    assert_int_equal(world_put(&world, &item, "self"), LB_OK);
    world_close(&world);
    world_write_row(&world, "items", bytes_of(target.bytes, NODE_ID_SIZE), bytes_of_text("noise"));
    world_write_row(&world, "items", bytes_of(target.bytes, 3), bytes_of_text("noise"));
    world_write_row(&world, "due", bytes_of(target.bytes, 3), bytes_of_text("noise"));
    world_open(&world);
    assert_false(world_has(&world, &item));
    world.now_s += WORLD_ITEM_TTL_S + 10;
    (void)world_sweep(&world);
    assert_int_equal(world_put(&world, &item, "self"), LB_OK);
    assert_true(world_has(&world, &item));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN(set_up, a_full_disk_refuses_and_goes_on),
        IN(set_up, a_file_of_something_else_is_set_aside),
        IN(set_up, a_file_cut_short_is_set_aside),
        IN(set_up, a_store_of_a_later_version_is_left_alone),
        IN(set_up, damaged_records_are_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
