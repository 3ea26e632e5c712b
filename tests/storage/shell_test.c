/* The parts of the shell that do without other services: node key, presence page, commits. */
#include "libcommon/presence_page.h"
#include "services/storage/commits.h"
#include "services/storage/local_address.h"
#include "services/storage/node_key.h"
#include "services/storage/presence.h"
#include "services/storage/service.h"
#include "tests/storage/db_world.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

/* ---- node key ---- */

struct key_world {
    char folder[64];
    char keys[80];
    char key[96];
};

static struct key_world keys;

static int set_up_keys(void **state)
{
    (void)state;
    snprintf(keys.folder, sizeof keys.folder, "/tmp/lb-storage-key-XXXXXX");
    assert_non_null(mkdtemp(keys.folder));
    snprintf(keys.keys, sizeof keys.keys, "%s/keys", keys.folder);
    snprintf(keys.key, sizeof keys.key, "%s/node.key", keys.keys);
    return 0;
}

static int tear_down_keys(void **state)
{
    (void)state;
    (void)unlink(keys.key);
    (void)rmdir(keys.keys);
    (void)rmdir(keys.folder);
    return 0;
}

static void a_key_is_made_once(void **state)
{
    struct node_key first;
    struct node_key second;
    struct stat status;

    (void)state;
    assert_int_equal(node_key_load(keys.folder, &first), LB_OK);
    assert_int_equal(stat(keys.key, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(stat(keys.keys, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(node_key_load(keys.folder, &second), LB_OK);
    assert_memory_equal(&first, &second, sizeof first);
}

static void a_key_others_may_read_is_refused(void **state)
{
    struct node_key key;

    (void)state;
    assert_int_equal(node_key_load(keys.folder, &key), LB_OK);
    assert_int_equal(chmod(keys.key, 0640), 0);
    assert_int_equal(node_key_load(keys.folder, &key), LB_DENIED);
    assert_int_equal(chmod(keys.key, 0600), 0);
    assert_int_equal(node_key_load(keys.folder, &key), LB_OK);
}

static void write_key(const char *text)
{
    int fd = open(keys.key, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

#define DIGITS "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void a_damaged_key_is_not_written_over(void **state)
{
    static const char *const damaged[] = { "", "hello\n", DIGITS, DIGITS "\n\n", DIGITS "0" };
    struct node_key key;
    struct stat status;

    (void)state;
    assert_int_equal(mkdir(keys.keys, 0700), 0);
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        write_key(damaged[i]);
        assert_int_equal(node_key_load(keys.folder, &key), LB_CORRUPT);
        assert_int_equal(stat(keys.key, &status), 0);
        assert_int_equal(status.st_size, strlen(damaged[i]));
    }
    write_key(DIGITS "\n");
    assert_int_equal(node_key_load(keys.folder, &key), LB_OK);
    assert_int_equal(key.seed[1], 0x11);
}

static void a_link_is_not_followed(void **state)
{
    struct node_key key;

    (void)state;
    assert_int_equal(mkdir(keys.keys, 0700), 0);
    assert_int_equal(symlink("/etc/hostname", keys.key), 0);
    assert_int_equal(node_key_load(keys.folder, &key), LB_DENIED);
}

/* ---- presence and commits ---- */

struct shell_world {
    struct world world;
    struct presence presence;
    uv_loop_t loop;
    struct commits *commits;
};

static struct shell_world shell;

static int set_up_shell(void **state)
{
    (void)state;
    world_init(&shell.world, WORLD_MAP);
    presence_init(&shell.presence, shell.world.folder);
    assert_int_equal(presence_build(&shell.presence, shell.world.db), LB_OK);
    assert_int_equal(uv_loop_init(&shell.loop), 0);
    shell.commits = commits_new(&shell.loop, shell.world.db, &shell.presence);
    return 0;
}

static int tear_down_shell(void **state)
{
    (void)state;
    commits_free(&shell.commits);
    for (int turn = 0; turn < 100 && uv_loop_close(&shell.loop) == UV_EBUSY; turn++)
        uv_run(&shell.loop, UV_RUN_NOWAIT);
    presence_done(&shell.presence);
    world_done(&shell.world);
    return 0;
}

static bool may_have(const struct item *item)
{
    struct node_id target = item_target(item);
    struct page page = { 0 };
    bool may;

    /* As transport does: by its name, read-only. */
    assert_int_equal(page_open(&page, shell.presence.path, sizeof(struct presence_page), false),
                     LB_OK);
    may = presence_page_may_have(page.memory, &target);
    page_close(&page);
    return may;
}

struct putting {
    struct commit commit;
    unsigned *left;
    bool told_before_done;
};

static void on_done(struct commit *commit)
{
    struct putting *putting = (struct putting *)commit;

    putting->told_before_done = may_have(&commit->op.put.item);
    --*putting->left;
}

static void submit(struct putting *putting, const struct item *item, unsigned *left, bool verify)
{
    *putting = (struct putting){ .left = left };
    putting->commit.op = world_put_op(&shell.world, item, "10.0.0.1:1");
    putting->commit.done = on_done;
    putting->commit.verify = verify;
    assert_int_equal(commits_submit(shell.commits, &putting->commit), LB_OK);
    ++*left;
}

static void run_until(const unsigned *left)
{
    while (*left > 0)
        uv_run(&shell.loop, UV_RUN_ONCE);
}

static void a_turn_of_the_loop_is_one_commit(void **state)
{
    enum { COUNT = 100 };
    static struct putting puttings[COUNT];
    static uint8_t buffers[COUNT][ITEM_VALUE_MAX];
    unsigned left = 0;

    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        struct item item = world_item(i, 100, buffers[i]);

        submit(&puttings[i], &item, &left, false);
    }
    assert_false(commits_is_idle(shell.commits));
    run_until(&left);
    assert_int_equal(commits_stats(shell.commits).commits, 1);
    assert_int_equal(commits_stats(shell.commits).operations, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(puttings[i].commit.op.err, LB_OK);
        assert_true(puttings[i].told_before_done);
        assert_true(world_has_number(&shell.world, i, 100));
    }
    assert_true(commits_is_idle(shell.commits));
}

static void a_bad_signature_is_found_before_the_commit(void **state)
{
    static const uint8_t seed[ED25519_SEED_SIZE] = { 1 };
    struct putting good;
    struct putting bad;
    struct item item = { .value = bytes_of_text("1:a"), .is_mutable = true, .seq = 1 };
    struct item forged = world_mutable(1, 9, "1:b");
    unsigned left = 0;

    (void)state;
    item_sign(&item, seed);
    submit(&bad, &forged, &left, true);
    submit(&good, &item, &left, true);
    run_until(&left);
    assert_int_equal(good.commit.op.err, LB_OK);
    assert_int_equal(bad.commit.op.err, LB_CONFLICT);
    assert_int_equal(bad.commit.op.put.verdict, ITEM_BAD_SIGNATURE);
    assert_true(world_has(&shell.world, &item));
    assert_false(world_has(&shell.world, &forged));
}

static void what_waits_at_the_end_is_cancelled(void **state)
{
    struct putting putting;
    uint8_t buffer[ITEM_VALUE_MAX];
    struct item item = world_item(1, 100, buffer);
    unsigned left = 0;

    (void)state;
    submit(&putting, &item, &left, false);
    commits_free(&shell.commits);
    assert_int_equal(left, 0);
    assert_int_equal(putting.commit.op.err, LB_CANCELLED);
    assert_false(world_has(&shell.world, &item));
}

static void presence_outlives_its_writer(void **state)
{
    struct presence next;
    struct page old = { 0 };
    uint8_t buffers[3][ITEM_VALUE_MAX];
    struct item stored = world_item(1, 100, buffers[0]);
    struct item later = world_item(2, 100, buffers[1]);
    struct item never = world_item(3, 100, buffers[2]);
    struct node_id target = item_target(&later);
    struct presence_page *old_page;

    (void)state;
    assert_int_equal(world_put(&shell.world, &stored, "self"), LB_OK);
    assert_int_equal(page_open(&old, shell.presence.path, sizeof(struct presence_page), false),
                     LB_OK);
    old_page = old.memory;
    assert_false(may_have(&stored)); /* it was not told: as if the writer had died just then */
    presence_init(&next, shell.world.folder);
    assert_int_equal(presence_build(&next, shell.world.db), LB_OK);
    assert_int_equal(next.targets, 1);
    assert_true(may_have(&stored));
    assert_false(may_have(&never));
    assert_int_equal(atomic_load(&old_page->retired), 1);
    /* Another instance still writes to the old page: it finds that out and follows. */
    presence_add(&shell.presence, &target);
    assert_true(may_have(&later));
    page_close(&old);
    presence_done(&next);
}

/* ---- our own address ---- */

static void we_are_seen_where_we_listen(void **state)
{
    struct local_address *local = local_address_new();
    struct address there = address_v4(127, 0, 0, 9, 6881);
    struct address any = address_v4(0, 0, 0, 0, 6881);
    struct address bound = address_v4(127, 0, 0, 7, 6881);
    struct address own;

    (void)state;
    local_address_listen(local, &any);
    if (local_address_towards(local, &there, &own)) {
        assert_true(address_is_private(&own));
        assert_int_equal(own.port, 0);
    }
    local_address_listen(local, &bound);
    assert_true(local_address_towards(local, &there, &own));
    assert_true(address_same_ip(&own, &bound));
    local_address_free(&local);
    assert_null(local);
}

/* ---- the table of handlers ---- */

static void every_request_has_a_handler(void **state)
{
    const ProtobufCMessageDescriptor *request = storage_definition.request;

    (void)state;
    for (unsigned i = 0; i < request->n_fields; i++) {
        assert_true(request->fields[i].id < storage_definition.handlers_count);
        assert_non_null(storage_definition.handlers[request->fields[i].id]);
    }
}

#define WITH_KEYS(test)  cmocka_unit_test_setup_teardown(test, set_up_keys, tear_down_keys)
#define WITH_SHELL(test) cmocka_unit_test_setup_teardown(test, set_up_shell, tear_down_shell)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_KEYS(a_key_is_made_once),
        WITH_KEYS(a_key_others_may_read_is_refused),
        WITH_KEYS(a_damaged_key_is_not_written_over),
        WITH_KEYS(a_link_is_not_followed),
        WITH_SHELL(a_turn_of_the_loop_is_one_commit),
        WITH_SHELL(a_bad_signature_is_found_before_the_commit),
        WITH_SHELL(what_waits_at_the_end_is_cancelled),
        WITH_SHELL(presence_outlives_its_writer),
        cmocka_unit_test(we_are_seen_where_we_listen),
        cmocka_unit_test(every_request_has_a_handler),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
