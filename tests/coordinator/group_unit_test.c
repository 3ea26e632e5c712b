/*
 * A group of one on the loop of this process, with libraft's own files: what was decided is there
 * again after it was closed, from the log and from a snapshot; and it asks nobody.
 */
#include "services/coordinator/group.h"
#include "services/coordinator/raft_wire.h"
#include "tests/coordinator/register_world.h"
#include "tests/libcommon/cmocka_row.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define INVITES_PER_RUN 400u
#define COMMANDS        (GROUP_SNAPSHOT + 600u) /* so that a snapshot is made */

static char folder[] = "/tmp/lb-group-XXXXXX";

struct world_of_one {
    uv_loop_t loop;
    struct group *group;
    struct raft_wire *wire;
    struct network_register *reg;
    unsigned under_way, applied, done;
    bool closed;
};

static SSL_CTX *no_context(void *ctx)
{
    (void)ctx;
    return NULL;
}

static void no_matter(void *ctx, const char *why)
{
    (void)ctx;
    (void)why;
}

static void count_applied(void *ctx, const struct register_result *result)
{
    struct world_of_one *self = ctx;

    (void)result;
    self->applied++;
}

static void open_group(struct world_of_one *self)
{
    const struct raft_wire_world world = { .context = no_context, .on_refused = no_matter };
    struct group_settings settings = { .loop = &self->loop,
                                       .folder = folder,
                                       .number = 1,
                                       .address = "127.0.0.1:1",
                                       .is_first = true,
                                       .on_applied = count_applied,
                                       .ctx = self };
    const char *reason;

    memset(self, 0, sizeof *self);
    uv_loop_init(&self->loop);
    self->reg = settings.reg = register_new();
    self->wire = settings.wire = raft_wire_new(&self->loop, &world);
    assert_int_equal(group_start(&settings, &self->group, &reason), LB_OK);
    while (!group_is_fresh(self->group)) {
        uv_run(&self->loop, UV_RUN_ONCE);
    }
}

static void on_closed(void *ctx)
{
    struct world_of_one *self = ctx;

    self->closed = true;
}

static void close_group(struct world_of_one *self)
{
    group_close(self->group, on_closed, self);
    while (!self->closed) {
        uv_run(&self->loop, UV_RUN_ONCE);
    }
    group_free(&self->group);
    raft_wire_free(&self->wire);
    register_free(&self->reg);
    uv_run(&self->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&self->loop), 0);
}

static void on_proposed(void *ctx, enum proposal verdict, const struct register_result *result)
{
    struct world_of_one *self = ctx;

    assert_int_equal(verdict, PROPOSAL_APPLIED);
    assert_int_equal(result->err, LB_OK);
    self->under_way--;
    self->done++;
}

static void propose(struct world_of_one *self, const struct register_command *command)
{
    uint8_t data[REGISTER_COMMAND_MAX];
    size_t size = register_command_write(command, data);

    self->under_way++;
    group_propose(self->group, bytes_of(data, size), on_proposed, self);
    while (self->under_way > 64) {
        uv_run(&self->loop, UV_RUN_ONCE);
    }
}

static void drain(struct world_of_one *self)
{
    while (self->under_way > 0) {
        uv_run(&self->loop, UV_RUN_ONCE);
    }
}

static bool has_snapshot(void)
{
    DIR *names = opendir(folder);
    bool found = false;

    for (struct dirent *name; (name = readdir(names)) != NULL;) {
        found = found || strncmp(name->d_name, "snapshot-", 9) == 0;
    }
    closedir(names);
    return found;
}

static void snapshot_of(const struct network_register *reg, uint8_t **ret_data, size_t *ret_size)
{
    register_snapshot(reg, ret_data, ret_size);
    register_check(reg);
}

static void test_all_is_there_again(void **state)
{
    struct world_of_one world;
    struct world commands = { NULL, WORLD_T0 };
    struct register_command command = world_command(&commands, VERB_FOUND);
    uint8_t *before, *after;
    size_t before_size, after_size;

    (void)state;
    open_group(&world);
    world_set_key(&command, '0');
    propose(&world, &command);
    command = world_command(&commands, VERB_INVITE);
    for (uint32_t i = 0; i < INVITES_PER_RUN; i++) {
        store_u32(command.invite, i);
        propose(&world, &command);
    }
    drain(&world);
    snapshot_of(world.reg, &before, &before_size);
    close_group(&world);
    assert_false(has_snapshot());

    /* From the log. Its size is no multiple of eight: libraft's batches are read as they were. */
    open_group(&world);
    snapshot_of(world.reg, &after, &after_size);
    assert_true(bytes_equal(bytes_of(before, before_size), bytes_of(after, after_size)));
    free(before);
    free(after);

    /* And from a snapshot with what came after it. */
    command = world_command(&commands, VERB_SET_POLICY);
    for (uint32_t i = 0; i < COMMANDS; i++) {
        command.yes = i % 3 == 0;
        propose(&world, &command);
    }
    drain(&world);
    snapshot_of(world.reg, &before, &before_size);
    while (!has_snapshot()) {
        uv_run(&world.loop, UV_RUN_ONCE);
    }
    close_group(&world);
    open_group(&world);
    snapshot_of(world.reg, &after, &after_size);
    assert_true(bytes_equal(bytes_of(before, before_size), bytes_of(after, after_size)));
    assert_true(world.applied < COMMANDS);
    free(before);
    free(after);
    close_group(&world);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    char path[320];
    DIR *names = opendir(folder);

    (void)state;
    for (struct dirent *name; (name = readdir(names)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", folder, name->d_name);
        unlink(path);
    }
    closedir(names);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_all_is_there_again) };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
