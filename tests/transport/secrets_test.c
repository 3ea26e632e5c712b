#include "services/transport/secrets.h"

#include "tests/libcommon/cmocka_row.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOUR SECRETS_PERIOD_MS

struct world {
    char folder[64], file[96];
};

static void world_init(struct world *self)
{
    snprintf(self->folder, sizeof(self->folder), "/tmp/secrets-test-XXXXXX");
    assert_non_null(mkdtemp(self->folder));
    snprintf(self->file, sizeof(self->file), "%s/dtls.key", self->folder);
}

static void world_done(struct world *self)
{
    unlink(self->file);
    assert_int_equal(rmdir(self->folder), 0); /* nothing else was left there */
}

static void same(const struct secrets *a, const struct secrets *b)
{
    assert_memory_equal(a->hello.bytes, b->hello.bytes, HELLO_KEY_SIZE);
    assert_int_equal(a->period, b->period);
    assert_memory_equal(a->ticket, b->ticket, SECRETS_TICKET_KEY_SIZE);
    assert_memory_equal(a->ticket_before, b->ticket_before, SECRETS_TICKET_KEY_SIZE);
}

static void workers_have_the_same(void **state)
{
    struct secrets a, b;
    struct world world;
    struct stat stat_now;

    (void)state;
    world_init(&world);
    secrets_load(world.folder, 7 * HOUR, &a);
    secrets_load(world.folder, 7 * HOUR + 1, &b);
    same(&a, &b);
    assert_int_equal(stat(world.file, &stat_now), 0);
    assert_int_equal(stat_now.st_mode & 0777, 0600);
    world_done(&world);
}

static void each_hour_has_its_own_and_all_come_to_it(void **state)
{
    struct secrets a, b, c, before;
    struct world world;

    (void)state;
    world_init(&world);
    secrets_load(world.folder, 0, &a);
    b = before = a;
    assert_false(secrets_rotate(&a, world.folder, HOUR - 1));
    assert_true(secrets_rotate(&a, world.folder, HOUR));
    assert_memory_equal(a.ticket_before, before.ticket, SECRETS_TICKET_KEY_SIZE);
    assert_memory_not_equal(a.ticket, before.ticket, SECRETS_TICKET_KEY_SIZE);
    assert_true(secrets_rotate(&b, world.folder, HOUR + 5)); /* a worker that was late */
    same(&a, &b);
    secrets_load(world.folder, HOUR + 9, &c); /* one that is started now */
    same(&a, &c);
    assert_true(secrets_rotate(&a, world.folder, 5 * HOUR)); /* nobody looked for hours */
    secrets_load(world.folder, 5 * HOUR, &c);
    same(&a, &c);
    world_done(&world);
}

/* Who takes the file learns nothing of what was said under the keys before. */
static void the_file_does_not_hold_older_keys(void **state)
{
    uint8_t data[256];
    struct secrets a, before;
    struct world world;
    ssize_t size;
    int fd;

    (void)state;
    world_init(&world);
    secrets_load(world.folder, 0, &a);
    before = a;
    assert_true(secrets_rotate(&a, world.folder, HOUR));
    assert_true(secrets_rotate(&a, world.folder, 2 * HOUR));
    fd = open(world.file, O_RDONLY);
    assert_true(fd >= 0);
    size = read(fd, data, sizeof(data));
    close(fd);
    assert_true(size > SECRETS_TICKET_KEY_SIZE);
    assert_null(memmem(data, (size_t)size, before.ticket, SECRETS_TICKET_KEY_SIZE));
    world_done(&world);
}

static const struct row {
    const char *what;
    const char *content; /* NULL: of another clock, as a folder that outlived a boot has it */
} rows[] = {
    { "a file that was cut", "no key" },
    { "an empty file", "" },
    { "a file of a later hour", NULL },
};

static void is_made_anew(void **state)
{
    const struct row *row = *state;
    struct secrets a, b, later;
    struct world world;
    int fd;

    world_init(&world);
    if (row->content) {
        fd = open(world.file, O_WRONLY | O_CREAT, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, row->content, strlen(row->content)), strlen(row->content));
        close(fd);
    } else {
        secrets_load(world.folder, 100 * HOUR, &later);
    }
    secrets_load(world.folder, 2 * HOUR, &a);
    secrets_load(world.folder, 2 * HOUR, &b);
    same(&a, &b);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers_have_the_same),
        cmocka_unit_test(each_hour_has_its_own_and_all_come_to_it),
        cmocka_unit_test(the_file_does_not_hold_older_keys),
    };

    return (RUN_ROWS(rows, is_made_anew) + cmocka_run_group_tests(tests, NULL, NULL)) != 0;
}
