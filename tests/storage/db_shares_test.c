/* One store, several processes: who sees to what, and what is decided once. */
#include "libcommon/owner.h"
#include "services/storage/db.h"
#include "tests/storage/db_fixture.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEYS      60u
#define PROCESSES 3u
#define STEPS     40u /* of each process, compare and set */
#define FAILED    255u

static struct db_range range_of(unsigned instance, unsigned instances)
{
    struct db_range range;

    owner_range(instance, instances, &range.first, &range.last);
    return range;
}

static void put_keys_with_checks(void)
{
    for (unsigned i = 0; i < KEYS; i++) {
        struct item item = world_mutable(i, 5, "1:a");
        struct db_op op = world_put_op(&world, &item, "self");

        op.put.check_s = world.now_s + 1 + i * 37 % KEYS;
        op.put.silence_s = 10000;
        op.put.ttl_s = 100000;
        world_apply(&world, &op);
        assert_int_equal(op.err, LB_OK);
    }
}

/* How many there are in this share, in order, and nobody else's. */
static unsigned count_checks(unsigned instance, unsigned instances)
{
    struct db_range range = range_of(instance, instances);
    struct item_record record;
    struct node_id target;
    uint64_t before_s = 0;
    unsigned count = 0;

    while (db_read_check(world.db, &range, count, world.now_s, &target, &record) == LB_OK) {
        assert_int_equal(owner_of(&target, instances), instance);
        assert_true(record.check_s >= before_s);
        before_s = record.check_s;
        count++;
    }
    return count;
}

static void each_check_is_of_one_share(void **state)
{
    (void)state;
    put_keys_with_checks();
    assert_int_equal(db_read_begin(world.db), LB_OK);
    for (unsigned instances = 1; instances <= 5; instances++) {
        unsigned checks = 0, overdue = 0;

        for (unsigned i = 0; i < instances; i++) {
            struct db_range range = range_of(i, instances);

            checks += count_checks(i, instances);
            overdue += db_read_overdue(world.db, &range, world.now_s + KEYS / 2 + 1, 1000);
        }
        assert_int_equal(checks, KEYS);
        assert_int_equal(overdue, KEYS / 2);
        assert_int_equal(db_read_overdue(world.db, NULL, world.now_s + KEYS / 2 + 1, 1000),
                         KEYS / 2);
    }
    db_read_end(world.db);
}

/* ---- what is put again ---- */

static void publish_keys(void)
{
    for (unsigned i = 0; i < KEYS; i++) {
        struct item item = world_mutable(i, 5, "1:a");
        struct node_id target = item_target(&item);
        struct db_op op = { .kind = DB_PUBLISH,
                            .now_s = world.now_s,
                            .publish = { .publication = { .group = target,
                                                          .target = target,
                                                          .version = 5,
                                                          .due_s = world.now_s + 10 },
                                         .item = item } };

        world_apply(&world, &op);
        assert_int_equal(op.err, LB_OK);
    }
}

static uint32_t take(const struct db_range *range, struct db_taken taken[DB_TAKE_MAX])
{
    struct db_op op = {
        .kind = DB_TAKE_DUE,
        .now_s = world.now_s,
        .take = { .wanted = DB_TAKE_MAX, .retry_s = 300, .range = range, .taken = taken }
    };

    world_apply(&world, &op);
    assert_int_equal(op.err, LB_OK);
    return op.take.taken_count;
}

static bool is_due(const struct db_range *range)
{
    bool due;

    assert_int_equal(db_read_begin(world.db), LB_OK);
    due = db_read_is_due(world.db, DUE_PUBLISH, range, world.now_s);
    db_read_end(world.db);
    return due;
}

static void each_publication_is_taken_by_its_owner(void **state)
{
    static struct db_taken taken[DB_TAKE_MAX];
    unsigned total = 0;

    (void)state;
    publish_keys();
    world.now_s += 20;
    for (unsigned i = 0; i < PROCESSES; i++) {
        struct db_range range = range_of(i, PROCESSES);
        uint32_t count;

        assert_true(is_due(&range));
        while ((count = take(&range, taken)) > 0) {
            for (uint32_t n = 0; n < count; n++)
                assert_int_equal(owner_of(&taken[n].publication.group, PROCESSES), i);
            total += count;
        }
        assert_false(is_due(&range));
    }
    assert_int_equal(total, KEYS);
    assert_false(is_due(NULL));
}

/* ---- processes ---- */

static uint64_t read_seq(const struct node_id *target)
{
    struct item_record record;
    uint64_t seq = 0;

    assert_int_equal(db_read_begin(world.db), LB_OK);
    if (db_read_item(world.db, target, world.now_s, &record) == LB_OK)
        seq = record.item.seq;
    db_read_end(world.db);
    return seq;
}

/*
 * Returns how often it found the number that it had read. Each process puts a value of its own: the
 * same one again would be a put whose answer was lost (item.h).
 */
static unsigned count_up(void)
{
    struct item item = world_mutable(1, 1, "1:a");
    struct node_id target = item_target(&item);
    unsigned done = 0;
    char value[16];

    snprintf(value, sizeof value, "i%lde", (long)getpid());
    for (unsigned i = 0; i < STEPS; i++) {
        struct item next;
        struct db_op op;
        uint64_t seq = read_seq(&target);

        next = world_mutable(1, seq + 1, value);
        op = world_put_op(&world, &next, "self");
        op.put.has_cas = true;
        op.put.cas = seq;
        world_apply(&world, &op);
        if (op.err != LB_OK && op.put.verdict != ITEM_CAS_MISMATCH)
            return FAILED;
        done += op.err == LB_OK;
    }
    return done;
}

/* A process of its own that opens the store; its exit code is what the work returns. */
static pid_t start_process(unsigned (*work)(void))
{
    pid_t pid = fork();

    if (pid == 0) {
        world.db = NULL;
        if (world_try_open(&world) != LB_OK)
            _exit((int)FAILED);
        _exit((int)work());
    }
    assert_true(pid > 0);
    return pid;
}

static unsigned end_of(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return (unsigned)WEXITSTATUS(status);
}

static void compare_and_set_is_decided_once_over_all_processes(void **state)
{
    struct item item = world_mutable(1, 1, "1:a");
    struct node_id target = item_target(&item);
    pid_t pids[PROCESSES];
    unsigned done = 0;

    (void)state;
    assert_int_equal(world_put(&world, &item, "self"), LB_OK);
    world_close(&world); /* not to be used after fork() */
    for (unsigned i = 0; i < PROCESSES; i++)
        pids[i] = start_process(count_up);
    for (unsigned i = 0; i < PROCESSES; i++)
        done += end_of(pids[i]);
    world_open(&world);
    assert_in_range(done, STEPS, PROCESSES * STEPS); /* somebody always gets on */
    assert_int_equal(read_seq(&target), 1 + done);
}

static int told[2], asked[2]; /* the other process says that it is there; and may go */

static unsigned hold_open(void)
{
    char byte = 'x';

    if (write(told[1], &byte, 1) != 1 || read(asked[0], &byte, 1) != 1)
        return 1;
    return 0;
}

/* It would go on writing to the file that was moved away, under the same lock. */
static void a_file_that_another_process_has_open_is_not_set_aside(void **state)
{
    char byte = 'x';
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(told), 0);
    assert_int_equal(pipe(asked), 0);
    world_close(&world);
    pid = start_process(hold_open);
    assert_int_equal(read(told[0], &byte, 1), 1);
    assert_int_equal(db_set_aside(world.folder), LB_EXISTS);
    assert_int_equal(write(asked[1], &byte, 1), 1);
    assert_int_equal(end_of(pid), 0);
    assert_int_equal(db_set_aside(world.folder), LB_OK);
    world_open(&world);
    for (int i = 0; i < 2; i++) {
        close(told[i]);
        close(asked[i]);
    }
}

static unsigned write_one(void)
{
    struct item item = world_mutable(9, 1, "1:a");

    return world_put(&world, &item, "self") == LB_OK ? 0 : 1;
}

static void a_commit_of_another_process_is_noticed(void **state)
{
    uint64_t before;

    (void)state;
    world_close(&world);
    world_open(&world);
    before = db_last_commit(world.db);
    assert_true(db_last_commit(world.db) == before);
    assert_int_equal(end_of(start_process(write_one)), 0);
    assert_true(db_last_commit(world.db) > before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN(set_up, each_check_is_of_one_share),
        IN(set_up, each_publication_is_taken_by_its_owner),
        IN(set_up, compare_and_set_is_decided_once_over_all_processes),
        IN(set_up, a_file_that_another_process_has_open_is_not_set_aside),
        IN(set_up, a_commit_of_another_process_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
