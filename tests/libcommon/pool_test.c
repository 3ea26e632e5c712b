#include "libcommon/pool.h"

#include "tests/libcommon/cmocka_row.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define LIMIT_S 120
#define JOBS    20000
#define LANES   7
#define WORKERS 4

struct task {
    struct job job;
    unsigned number;
    unsigned worked_as; /* 1 for the first of its lane, ... */
    pthread_t worker;
};

struct world {
    uv_loop_t loop;
    struct pool *pool;
    struct task tasks[JOBS];
    atomic_uint lane_turns[LANES];
    unsigned submitted, done;
};

static struct world world;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static int open_world(void **state)
{
    (void)state;
    alarm(LIMIT_S);
    memset(&world, 0, sizeof world);
    uv_loop_init(&world.loop);
    world.pool = pool_new(&world.loop, WORKERS);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    pool_free(&world.pool);
    assert_null(world.pool);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&world.loop);
}

static struct task *task_of(struct job *job)
{
    return (struct task *)job; /* embedded first */
}

static void count_in_lane(struct job *job)
{
    struct task *task = task_of(job);

    task->worker = pthread_self();
    task->worked_as = atomic_fetch_add(&world.lane_turns[task->number % LANES], 1) + 1;
}

static void nothing(struct job *job)
{
    task_of(job)->worker = pthread_self();
}

static void submit_more(void);

static void count_done(struct job *job, void *ctx)
{
    assert_ptr_equal(ctx, &world);
    assert_false(pthread_equal(task_of(job)->worker, pthread_self()));
    world.done++;
    submit_more();
    if (world.done == JOBS)
        uv_stop(&world.loop);
}

static lb_err submit(void (*work)(struct job *job), uint64_t lane)
{
    struct task *task = &world.tasks[world.submitted];

    *task = (struct task){ .job = { work, count_done, &world, lane }, .number = world.submitted };
    return pool_submit(world.pool, &task->job);
}

/* As many as the pool takes, each in the lane of its number. */
static void submit_more(void)
{
    while (world.submitted < JOBS && submit(count_in_lane, world.submitted % LANES + 1) == LB_OK)
        world.submitted++;
}

static void every_job_is_done_once_and_lanes_keep_their_order(void **state)
{
    (void)state;
    submit_more();
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(world.done, JOBS);
    assert_int_equal(pool_pending(world.pool), 0);
    for (unsigned i = 0; i < JOBS; i++)
        assert_int_equal(world.tasks[i].worked_as, i / LANES + 1);
}

static void wait_at_the_gate(struct job *job)
{
    task_of(job)->worker = pthread_self();
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

static void count_only(struct job *job, void *ctx)
{
    (void)job;
    (void)ctx;
    world.done++;
}

static void the_pool_takes_no_more_than_its_limit_and_finishes_all_at_its_end(void **state)
{
    (void)state;
    pthread_mutex_lock(&gate);
    for (; world.submitted < POOL_JOBS_MAX; world.submitted++) {
        struct task *task = &world.tasks[world.submitted];

        task->job = (struct job){ wait_at_the_gate, count_only, NULL, 0 };
        assert_int_equal(pool_submit(world.pool, &task->job), LB_OK);
    }
    assert_int_equal(submit(nothing, 0), LB_FULL);
    assert_int_equal(pool_pending(world.pool), POOL_JOBS_MAX);
    assert_int_equal(world.done, 0);
    pthread_mutex_unlock(&gate);
    pool_free(&world.pool);
    assert_int_equal(world.done, POOL_JOBS_MAX);
}

static void jobs_without_a_lane_are_spread(void **state)
{
    (void)state;
    pthread_mutex_lock(&gate);
    for (; world.submitted < WORKERS; world.submitted++) {
        struct task *task = &world.tasks[world.submitted];

        task->job = (struct job){ wait_at_the_gate, count_only, NULL, 0 };
        assert_int_equal(pool_submit(world.pool, &task->job), LB_OK);
    }
    pthread_mutex_unlock(&gate);
    pool_free(&world.pool);
    for (int i = 0; i < WORKERS; i++) {
        for (int j = 0; j < i; j++)
            assert_false(pthread_equal(world.tasks[i].worker, world.tasks[j].worker));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_job_is_done_once_and_lanes_keep_their_order,
                                        open_world, close_world),
        cmocka_unit_test_setup_teardown(
            the_pool_takes_no_more_than_its_limit_and_finishes_all_at_its_end, open_world,
            close_world),
        cmocka_unit_test_setup_teardown(jobs_without_a_lane_are_spread, open_world, close_world),
    };

    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
