#include "services/swarm/device.h"

#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/disk.h"
#include "tests/libcommon/cmocka_row.h"
#include "tests/libcommon/rights.h"
#include "tests/swarm/disk_pieces.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <time.h>
#include <unistd.h>

#define PIECE (256 * KIB)
#define SIZE  (4 * MIB) /* of the device */
#define IMAGE (3 * MIB + 100 * KIB + 7)

/* ---- what the kernel tells ---- */

static const struct mount_row {
    const char *what;
    const char *text;
    bool found;
    unsigned major, minor;
    const char *where, *source;
} mount_rows[] = {
    { "a plain line", "36 35 8:1 / /mnt rw,noatime shared:1 - ext4 /dev/sda1 rw\n", true, 8, 1,
      "/mnt", "/dev/sda1" },
    { "no optional field", "36 35 7:0 / / rw - ext4 /dev/loop0 rw\n", true, 7, 0, "/",
      "/dev/loop0" },
    { "many optional fields", "1 2 0:40 / /a rw shared:1 master:2 x - btrfs /dev/sdb rw", true, 0,
      40, "/a", "/dev/sdb" },
    { "lines that make no sense are passed over", "\nx\n1 2 3 4 5\n1 2 8:2 / /b rw - a b c\n", true,
      8, 2, "/b", "b" },
    { "nothing", "", false, 0, 0, NULL, NULL },
    { "a line that is cut", "36 35 8:1", false, 0, 0, NULL, NULL },
};

static void test_mount(void **state)
{
    const struct mount_row *row = *state;
    struct bytes text = bytes_of_text(row->text);
    struct device_mount mount = { 0 };

    assert_int_equal(device_next_mount(&text, &mount), row->found);
    if (!row->found)
        return;
    assert_int_equal(mount.major, row->major);
    assert_int_equal(mount.minor, row->minor);
    assert_true(bytes_equal_text(mount.where, row->where));
    assert_true(bytes_equal_text(mount.source, row->source));
    assert_false(device_next_mount(&text, &mount));
}

static void swaps_are_read(void **state)
{
    struct bytes text =
        bytes_of_text("Filename\t\tType\n/dev/sda2      partition 1 2\n/swap file\n");
    struct bytes path;

    (void)state;
    assert_true(device_next_swap(&text, &path));
    assert_true(bytes_equal_text(path, "/dev/sda2"));
    assert_true(device_next_swap(&text, &path));
    assert_true(bytes_equal_text(path, "/swap"));
    assert_false(device_next_swap(&text, &path));
}

/* ---- loop devices ---- */

struct loop {
    int fd; /* of the device */
    char path[64];
    char file[512];
};

/* Attach the file to a device that is free now. Returns 0 or the errno. */
static int loop_attach(struct loop *self, int control)
{
    int file = open(self->file, O_RDWR | O_CLOEXEC), number, error = 0;

    assert_true(file >= 0);
    number = ioctl(control, LOOP_CTL_GET_FREE);
    snprintf(self->path, sizeof(self->path), "/dev/loop%d", number);
    self->fd = number < 0 ? -1 : open(self->path, O_RDWR | O_CLOEXEC);
    if (self->fd < 0 || ioctl(self->fd, LOOP_SET_FD, file) < 0) {
        error = errno;
        if (self->fd >= 0)
            close(self->fd);
        self->fd = -1;
    }
    close(file);
    return error;
}

/* A device of `size` bytes 'x'. Returns 0 or the errno. */
static int loop_init(struct loop *self, const struct world *world, size_t size)
{
    uint8_t *old = xmalloc(size);
    int control, error = EBUSY;

    memset(old, 'x', size);
    world_write(world, "device", old, size);
    free(old);
    world_path(world, "device", self->file);
    self->fd = -1;
    control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0)
        return errno;
    for (int tries = 0; error != 0 && tries < 10; tries++)
        error = loop_attach(self, control); /* another test may have been faster */
    close(control);
    if (error == 0)
        ioctl(self->fd, BLKROSET, &(int){ 0 }); /* as it was left by another */
    return error;
}

static void loop_done(struct loop *self)
{
    if (self->fd < 0)
        return;
    ioctl(self->fd, LOOP_CLR_FD);
    close(self->fd);
}

static void begin(struct world *world, struct loop *loop)
{
    int error;

    world_init(world, 0);
    error = loop_init(loop, world, SIZE);
    if (error == 0)
        return;
    world_done(world);
    rights_missing("no loop device", error);
}

static void end(struct world *world, struct loop *loop)
{
    loop_done(loop);
    world_done(world);
}

/* ---- the guard ---- */

static void assert_refused(const struct loop *loop, lb_err wanted, const char *why)
{
    struct device_facts facts;
    char problem[DEVICE_PROBLEM_SIZE] = "";

    assert_int_equal(device_look(loop->path, IMAGE, &facts, problem), wanted);
    assert_non_null(strstr(problem, loop->path));
    assert_non_null(strstr(problem, why));
}

static void what_is_no_device_is_refused(void **state)
{
    struct world world;
    struct device_facts facts;
    char problem[DEVICE_PROBLEM_SIZE] = "", path[512];

    (void)state;
    world_init(&world, 0);
    world_write(&world, "file", (const uint8_t *)"x", 1);
    world_path(&world, "file", path);
    assert_int_equal(device_look(path, 1, &facts, problem), LB_INVALID);
    assert_non_null(strstr(problem, "is no block device"));
    assert_int_equal(device_look("/dev/null", 1, &facts, problem), LB_INVALID);
    world_path(&world, "nothing", path);
    assert_int_equal(device_look(path, 1, &facts, problem), LB_NOT_FOUND);
    assert_non_null(strstr(problem, path));
    world_done(&world);
}

static void a_small_device_is_refused(void **state)
{
    struct world world;
    struct loop loop;
    struct device_facts facts;
    char problem[DEVICE_PROBLEM_SIZE];

    (void)state;
    begin(&world, &loop);
    assert_int_equal(device_look(loop.path, SIZE, &facts, problem), LB_OK);
    assert_int_equal(facts.size, SIZE);
    assert_true(facts.identity[0] != '\0');
    assert_int_equal(device_look(loop.path, SIZE + 1, &facts, problem), LB_TOO_BIG);
    assert_non_null(strstr(problem, "4194304"));
    end(&world, &loop);
}

static void run(const char *command, const char *path)
{
    char line[600];

    snprintf(line, sizeof(line), "%s %s >/dev/null 2>&1", command, path);
    assert_int_equal(system(line), 0);
}

static void a_mounted_device_is_refused(void **state)
{
    struct world world;
    struct loop loop;
    struct device_facts facts;
    char problem[DEVICE_PROBLEM_SIZE], where[512];
    int fd;
    uint64_t size;

    (void)state;
    begin(&world, &loop);
    run("/sbin/mkfs.ext4 -q -O ^has_journal", loop.path);
    world_write(&world, "mnt/x", NULL, 0);
    world_path(&world, "mnt", where);
    if (mount(loop.path, where, "ext4", 0, NULL) < 0) {
        int error = errno;

        end(&world, &loop);
        rights_missing("the device cannot be mounted", error);
    }
    assert_refused(&loop, LB_DENIED, "is mounted on");
    assert_int_equal(device_open(loop.path, "", IMAGE, &fd, &size, problem), LB_DENIED);
    assert_int_equal(umount(where), 0);
    assert_int_equal(device_look(loop.path, IMAGE, &facts, problem), LB_OK);
    end(&world, &loop);
}

static void swap_is_refused(void **state)
{
    struct world world;
    struct loop loop;

    (void)state;
    if (access("/proc/swaps", F_OK) != 0) {
        printf("skipped: this kernel knows no swap\n");
        skip();
    }
    begin(&world, &loop);
    run("/sbin/mkswap", loop.path);
    if (swapon(loop.path, 0) < 0) {
        int error = errno;

        end(&world, &loop);
        rights_missing("no swap on the device", error);
    }
    assert_refused(&loop, LB_DENIED, "is swap");
    assert_int_equal(swapoff(loop.path), 0);
    end(&world, &loop);
}

static void a_read_only_device_is_refused(void **state)
{
    struct world world;
    struct loop loop;
    int on = 1;

    (void)state;
    begin(&world, &loop);
    if (ioctl(loop.fd, BLKROSET, &on) < 0) {
        int error = errno;

        end(&world, &loop);
        rights_missing("the device cannot be made read-only", error);
    }
    assert_refused(&loop, LB_DENIED, "is read-only");
    end(&world, &loop);
}

static void a_device_opened_by_us_is_ours_alone(void **state)
{
    struct world world;
    struct loop loop;
    struct device_facts facts;
    char problem[DEVICE_PROBLEM_SIZE];
    int fd = -1, other = -1;
    uint64_t size;

    (void)state;
    begin(&world, &loop);
    assert_int_equal(device_look(loop.path, IMAGE, &facts, problem), LB_OK);
    assert_int_equal(device_open(loop.path, "another", IMAGE, &fd, &size, problem), LB_CONFLICT);
    assert_non_null(strstr(problem, loop.path));
    assert_int_equal(device_open(loop.path, facts.identity, IMAGE, &fd, &size, problem), LB_OK);
    assert_int_equal(size, SIZE);
    assert_int_equal(device_open(loop.path, facts.identity, IMAGE, &other, &size, problem),
                     LB_UNAVAILABLE);
    assert_non_null(strstr(problem, "in use"));
    close(fd);
    end(&world, &loop);
}

/* ---- writing ---- */

static void zeros_inside(uint8_t *content, size_t size)
{
    memset(content + 2 * PIECE, 0, 3 * PIECE);           /* whole pieces */
    memset(content + PIECE + 16 * KIB, 0, 128 * KIB);    /* a run in one */
    memset(content + 7 * PIECE + 16 * KIB, 0, 16 * KIB); /* a block of one */
    memset(content + size - 7, 0, 7);
}

static struct storage *open_device(struct world *world, const struct loop *loop,
                                   struct bytes record, struct told *told)
{
    struct storage_events events = world_events;
    struct device_facts facts;
    char problem[DEVICE_PROBLEM_SIZE];
    struct storage_device device = { .path = loop->path, .identity = facts.identity };
    struct storage *storage;

    assert_int_equal(device_look(loop->path, IMAGE, &facts, problem), LB_OK);
    *told = (struct told){ 0 };
    events.ctx = told;
    storage = storage_open_device(world->disk, world->metainfo, &device, record, &events);
    world_wait(world, &told->opened, 1);
    assert_int_equal(told->err, LB_OK);
    return storage;
}

static void take_record(struct storage *storage, uint64_t now_s, struct bytes *record)
{
    uint8_t *data;
    size_t size;

    free((void *)(uintptr_t)record->data);
    storage_record(storage, now_s, &data, &size);
    *record = bytes_of(data, size);
}

/* Half of the image, a crash, the rest; then all is read back from the device. */
static void an_image_is_written_and_resumed(void **state)
{
    static const struct world_file files[] = { { "image", IMAGE }, { NULL, 0 } };
    struct world world;
    struct loop loop;
    struct told told;
    struct storage *storage;
    struct bytes record = { 0 };
    uint32_t pieces;
    uint8_t *found;

    (void)state;
    begin(&world, &loop);
    found = xmalloc(SIZE);
    world.change = zeros_inside;
    world_torrent(&world, files, PIECE);
    pieces = world.metainfo->layout.piece_count;
    storage = open_device(&world, &loop, NO_RECORD, &told);
    assert_int_equal(bitfield_count(storage_doubtful(storage), pieces), 0);
    assert_int_equal(storage_reuse(storage, NULL, 0, NULL), LB_OK);
    world_wait(&world, &told.reuse_done, 1);
    assert_int_equal(told.reused, 3);
    for (uint32_t piece = 0; piece < pieces / 2; piece++)
        if (!bitfield_has(storage_have(storage), piece))
            assert_int_equal(pieces_write(&world, storage, piece), LB_OK);
    storage_sync(storage);
    world_wait(&world, &told.synced, 2);
    take_record(storage, (uint64_t)time(NULL), &record);
    world_close(&world, &storage, &told);

    /* What was synced stands; nothing is hashed for it. */
    uint64_t before = pieces_hashed_bytes(&world);
    storage = open_device(&world, &loop, record, &told);
    assert_int_equal(bitfield_count(storage_have(storage), pieces), pieces / 2);
    assert_int_equal(bitfield_count(storage_doubtful(storage), pieces), 0);
    assert_int_equal(pieces_hashed_bytes(&world), before);
    world_close(&world, &storage, &told);

    /* Much later nobody knows what was done to it. */
    storage = open_device(&world, &loop, record, &told);
    take_record(storage, (uint64_t)time(NULL) - 2 * RESUME_LEASE_S, &record);
    world_close(&world, &storage, &told);
    storage = open_device(&world, &loop, record, &told);
    assert_int_equal(bitfield_count(storage_have(storage), pieces), 0);
    assert_int_equal(bitfield_count(storage_doubtful(storage), pieces), pieces / 2);
    assert_int_equal(storage_check(storage, storage_doubtful(storage)), LB_OK);
    world_wait(&world, &told.check_done, 1);
    assert_int_equal(told.checked_good, pieces / 2);
    for (uint32_t piece = 0; piece < pieces; piece++)
        if (!bitfield_has(storage_have(storage), piece))
            assert_int_equal(pieces_write(&world, storage, piece), LB_OK);
    told.checked_good = 0;
    assert_int_equal(storage_read_back(storage, NULL), LB_OK);
    world_wait(&world, &told.check_done, 2);
    assert_int_equal(told.checked_good, pieces);
    assert_int_equal(told.checked_bad, 0);
    world_close(&world, &storage, &told);

    /* The image, and behind it what was there. */
    assert_int_equal(pread(loop.fd, found, SIZE, 0), SIZE);
    assert_memory_equal(found, world.content, IMAGE);
    for (size_t i = IMAGE; i < SIZE; i++)
        assert_int_equal(found[i], 'x');
    free((void *)(uintptr_t)record.data);
    free(found);
    end(&world, &loop);
}

/* The kernel's cache is whole, the disk is not. */
static void reading_back_asks_the_disk(void **state)
{
    static const struct world_file files[] = { { "image", IMAGE }, { NULL, 0 } };
    struct world world;
    struct loop loop;
    struct told told;
    struct storage *storage;
    int file;

    (void)state;
    begin(&world, &loop);
    world_torrent(&world, files, PIECE);
    storage = open_device(&world, &loop, NO_RECORD, &told);
    for (uint32_t piece = 0; piece < world.metainfo->layout.piece_count; piece++)
        assert_int_equal(pieces_write(&world, storage, piece), LB_OK);
    storage_sync(storage);
    world_wait(&world, &told.synced, 1);
    file = open(loop.file, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(file, "rotten", 6, 5 * PIECE + 99), 6);
    close(file);
    assert_int_equal(storage_check(storage, NULL), LB_OK);
    world_wait(&world, &told.check_done, 1);
    assert_int_equal(told.checked_bad, 0);
    assert_int_equal(storage_read_back(storage, NULL), LB_OK);
    world_wait(&world, &told.check_done, 2);
    assert_int_equal(told.checked_bad, 1);
    assert_false(bitfield_has(storage_have(storage), 5));
    world_close(&world, &storage, &told);
    end(&world, &loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(swaps_are_read),
        cmocka_unit_test(what_is_no_device_is_refused),
        cmocka_unit_test(a_small_device_is_refused),
        cmocka_unit_test(a_mounted_device_is_refused),
        cmocka_unit_test(swap_is_refused),
        cmocka_unit_test(a_read_only_device_is_refused),
        cmocka_unit_test(a_device_opened_by_us_is_ours_alone),
        cmocka_unit_test(an_image_is_written_and_resumed),
        cmocka_unit_test(reading_back_asks_the_disk),
    };
    int failed = 0;

    failed += RUN_ROWS(mount_rows, test_mount);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
