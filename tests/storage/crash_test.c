/*
 * What is acknowledged survives SIGKILL (THREATS 2, rows 8 and 24): a child stores and tells over a
 * pipe what db_apply() has called stored; it is killed somewhere in the middle; everything it told
 * must be there, no version lower than told. Nor is one accepted that is lower than one that has
 * ended, or was dropped, in between.
 */
#include "libcommon/random.h"
#include "tests/storage/db_world.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS    12u
#define GROUP     5u
#define KEYS      7u
#define TOLD_MAX  400u /* groups before the kill, at most */
#define ITEM_SIZE 300u

/* Group g stores items g*GROUP ... and version g + 1 of key g % KEYS, in one commit. */
static struct item version_of(unsigned group)
{
    return world_mutable(group % KEYS, group + 1, "1:v");
}

/* ... and one of a key that is dropped, and one of a key that ends, within the same commit. */
static struct item dropped_of(unsigned group)
{
    return world_mutable(1000 + group % KEYS, group + 1, "1:v");
}

static struct item ended_of(unsigned group)
{
    return world_mutable(2000 + group % KEYS, group + 1, "1:v");
}

enum { OP_VERSION = GROUP, OP_DROPPED, OP_DROP, OP_ENDED, OP_SWEEP, OPS };

static void make_gone_ops(struct world *world, unsigned group, struct db_op ops[OPS])
{
    struct item dropped = dropped_of(group);
    struct item ended = ended_of(group);

    ops[OP_DROPPED] = world_put_op(world, &dropped, "10.0.0.1:1");
    ops[OP_DROP] = (struct db_op){ .kind = DB_DROP, .now_s = world->now_s };
    ops[OP_DROP].check = (struct db_check){ .target = item_target(&dropped), .seq = dropped.seq };
    ops[OP_ENDED] = world_put_op(world, &ended, "10.0.0.1:1");
    ops[OP_ENDED].put.ttl_s = 1;
    ops[OP_SWEEP] = (struct db_op){ .kind = DB_SWEEP, .now_s = world->now_s + 2 };
    ops[OP_SWEEP].sweep.budget = 64;
}

static void store_group(struct world *world, unsigned group)
{
    static uint8_t buffers[GROUP][ITEM_VALUE_MAX];
    struct db_op ops[OPS];
    struct item version = version_of(group);

    for (unsigned i = 0; i < GROUP; i++) {
        struct item item = world_item(group * GROUP + i, ITEM_SIZE, buffers[i]);

        ops[i] = world_put_op(world, &item, "10.0.0.1:1");
    }
    ops[OP_VERSION] = world_put_op(world, &version, "10.0.0.1:1");
    make_gone_ops(world, group, ops);
    world_apply_list(world, ops, OPS);
    for (unsigned i = 0; i < OPS; i++) {
        /* Another process may have stored a newer version. */
        if (ops[i].err != LB_OK && (i < GROUP || ops[i].err != LB_CONFLICT) &&
            !(i == OP_DROP && ops[i].err == LB_NOT_FOUND))
            _exit(2);
    }
}

static void child_stores(struct world *world, unsigned group, int told)
{
    world_open(world);
    for (;; group++) {
        store_group(world, group);
        if (write(told, &group, sizeof group) != (ssize_t)sizeof group)
            _exit(3);
    }
}

/* Returns the last group that was told. */
static unsigned run_and_kill(struct world *world, unsigned first, unsigned wait_for)
{
    int told[2];
    unsigned group = 0;
    unsigned last = first;
    pid_t child;
    int status;

    assert_int_equal(pipe(told), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(told[0]);
        child_stores(world, first, told[1]);
    }
    close(told[1]);
    for (unsigned count = 0; count < wait_for; count++)
        assert_int_equal(read(told[0], &last, sizeof last), sizeof last);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    while (read(told[0], &group, sizeof group) == (ssize_t)sizeof group)
        last = group; /* told before it died */
    close(told[0]);
    return last;
}

static void is_not_undercut(struct world *world, struct item item)
{
    assert_false(world_has(world, &item));
    item.seq--;
    if (item.seq > 0)
        assert_int_equal(world_put(world, &item, "10.0.0.1:1"), LB_CONFLICT);
}

static void check(struct world *world, unsigned last)
{
    for (unsigned number = 0; number < (last + 1) * GROUP; number++)
        assert_true(world_has_number(world, number, ITEM_SIZE));
    for (unsigned key = 0; key < KEYS && key <= last; key++) {
        unsigned newest =
            last - (last + KEYS - key) % KEYS; /* the last group that wrote this key */

        assert_true(world_seq(world, key) >= newest + 1);
        is_not_undercut(world, dropped_of(newest));
        is_not_undercut(world, ended_of(newest));
    }
}

static void what_was_told_is_there(void **state)
{
    struct world world;
    struct random random;
    unsigned next = 0;

    (void)state;
    random_init(&random, 20261121);
    world_init(&world, 64 * 1024 * 1024);
    for (unsigned round = 0; round < ROUNDS && next < TOLD_MAX; round++) {
        unsigned last;

        world_close(&world);
        last = run_and_kill(&world, next, 1 + (unsigned)random_below(&random, 25));
        world_open(&world);
        check(&world, last);
        next = last + 1;
    }
    world_done(&world);
}

/* Several processes share the store; one is killed in the middle of a commit and holds up nobody.
 */
static void a_killed_writer_holds_up_nobody(void **state)
{
    struct world world;
    unsigned last;

    (void)state;
    world_init(&world, 64 * 1024 * 1024);
    world_close(&world);
    for (unsigned round = 0; round < 3; round++) {
        int told[2];
        unsigned group = 0;
        pid_t other;
        int status;

        assert_int_equal(pipe(told), 0);
        other = fork();
        assert_true(other >= 0);
        if (other == 0) {
            close(told[0]);
            child_stores(&world, 0, told[1]);
        }
        close(told[1]);
        last = run_and_kill(&world, 0, 5 + round);
        for (unsigned i = 0; i < 10; i++) /* the other one still gets its turn */
            assert_int_equal(read(told[0], &group, sizeof group), sizeof group);
        kill(other, SIGKILL);
        assert_int_equal(waitpid(other, &status, 0), other);
        close(told[0]);
        world_open(&world);
        check(&world, last > group ? last : group);
        world_close(&world);
    }
    world_open(&world);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_told_is_there),
        cmocka_unit_test(a_killed_writer_holds_up_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
