#include "tests/libcommon/nth_allocation.h"

#include "tests/libcommon/failing_malloc.h"

#include <signal.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NTH_MAX 5000u

struct shared {
    struct failing_malloc plan;
    alignas(max_align_t) char record[];
};

/* A failed assertion in the process is to end it, not to go on with the tests there. */
static void run(const struct nth_allocation *test, struct shared *shared)
{
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    test->begin(shared->record);
    failing_malloc_arm(&shared->plan);
    test->work(shared->record);
    failing_malloc_disarm();
    _exit(0);
}

static void run_nth(const struct nth_allocation *test, struct shared *shared, unsigned nth)
{
    pid_t pid;
    int status;

    memset(shared, 0, sizeof *shared + test->record_size);
    shared->plan.nth = nth;
    pid = fork();
    if (pid == 0)
        run(test, shared);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status) && !(WTERMSIG(status) == SIGABRT && shared->plan.ended))
        fail_msg("allocation %u %s refused, and signal %d came of it by %s", nth,
                 shared->plan.refused ? "was" : "was not", WTERMSIG(status), shared->plan.by);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    test->check(shared->record);
}

static void test_all(void **state)
{
    const struct nth_allocation *test = *state;
    const size_t size = sizeof(struct shared) + test->record_size;
    struct shared *shared =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned nth = 0;

    assert_true(shared != MAP_FAILED);
    do {
        nth++;
        assert_true(nth <= NTH_MAX);
        run_nth(test, shared, nth);
    } while (shared->plan.refused);
    assert_true(nth > test->calls_min);
    munmap(shared, size);
}

int nth_allocation_run(const char *group, const struct nth_allocation *tests, size_t count)
{
    return run_rows(group, tests, count, sizeof tests[0], test_all);
}
