/* Starting a process: what a signal does to it before it runs a program of its own. */
#include "services/supervisor/process.h"

#include "tests/libcommon/cmocka_row.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 200

static int told[2];

/* As libuv's: it tells the loop by a pipe, which a child shares until it executes its program. */
static void on_signal(int number)
{
    if (write(told[1], &number, sizeof number) < 0)
        _exit(1);
}

static void start_and_stop_at_once(void)
{
    static const char *const arguments[] = { "sleep", "60", NULL };
    static const char *const environment[] = { NULL };
    const struct process_start start = { .program = "/bin/sleep",
                                         .arguments = arguments,
                                         .environment = environment };
    pid_t child = 0;
    int status = 0;

    assert_int_equal(process_spawn(&start, &child), LB_OK);
    assert_int_equal(kill(child, SIGTERM), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static void a_signal_to_a_child_is_not_taken_for_one_to_us(void **state)
{
    const struct sigaction action = { .sa_handler = on_signal };
    struct sigaction is;
    sigset_t mask;
    int number;

    (void)state;
    assert_int_equal(pipe2(told, O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(sigaction(SIGTERM, &action, NULL), 0);
    for (int i = 0; i < ROUNDS; i++)
        start_and_stop_at_once();
    assert_int_equal(read(told[0], &number, sizeof number), -1);

    /* With us all is as it was. */
    assert_int_equal(sigprocmask(SIG_SETMASK, NULL, &mask), 0);
    assert_false(sigismember(&mask, SIGTERM));
    assert_int_equal(sigaction(SIGTERM, NULL, &is), 0);
    assert_true(is.sa_handler == on_signal);
    raise(SIGTERM);
    assert_int_equal(read(told[0], &number, sizeof number), sizeof number);
}

/* Its name is one that a reader of /proc/PID/stat may stumble over. */
static void a_stopped_process_is_told_from_one_that_runs(void **state)
{
    pid_t child = fork();
    int status;

    (void)state;
    if (child == 0) {
        prctl(PR_SET_NAME, "a) T (b) S");
        for (;;)
            raise(SIGSTOP);
    }
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status));
    assert_true(process_is_stopped(child));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(process_is_stopped(child)); /* there is none */
    assert_false(process_is_stopped(getpid()));
    prctl(PR_SET_NAME, "a) T (b) T");
    assert_false(process_is_stopped(getpid()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_to_a_child_is_not_taken_for_one_to_us),
        cmocka_unit_test(a_stopped_process_is_told_from_one_that_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
