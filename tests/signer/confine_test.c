/* What a process that holds a key can still do, and what others can see of it: a row is an attempt,
 * made in a child. */
#include "libcommon/shield.h"
#include "services/signer/confine.h"
#include "tests/libcommon/cmocka_row.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Each returns 0, or errno. */
typedef int attempt_fn(void);

static int failed_by(long result)
{
    return result < 0 ? errno : 0;
}

static int unix_socket(void)
{
    return failed_by(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int unix_pair(void)
{
    int fds[2];

    return failed_by(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
}

static int tcp(void)
{
    return failed_by(socket(AF_INET, SOCK_STREAM, 0));
}

static int udp_of_ipv6(void)
{
    return failed_by(socket(AF_INET6, SOCK_DGRAM, 0));
}

static int netlink(void)
{
    return failed_by(socket(AF_NETLINK, SOCK_RAW, 0));
}

static int machine_socket(void)
{
    return failed_by(socket(AF_VSOCK, SOCK_STREAM, 0));
}

/* The kernel looks at 32 bits of it alone. */
static int family_in_the_low_half(void)
{
    return failed_by(syscall(SYS_socket, (1ULL << 32) | AF_INET, SOCK_STREAM, 0));
}

static int ring(void)
{
    char parameters[120] = { 0 };

    return failed_by(syscall(SYS_io_uring_setup, 4, parameters));
}

static int program(void)
{
    char *const arguments[] = { (char *)(uintptr_t) "true", NULL };

    return failed_by(execv("/bin/true", arguments));
}

static int others_memory(void)
{
    char byte;
    struct iovec here = { &byte, 1 }, there = { &byte, 1 };

    return failed_by(process_vm_readv(getppid(), &here, 1, &there, 1, 0));
}

static int file(void)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    return fd < 0 ? errno : failed_by(write(fd, "x", 1));
}

static int child(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        _exit(tcp());
    }
    int status = 0;

    return pid < 0 || waitpid(pid, &status, 0) != pid ? errno : WEXITSTATUS(status);
}

static const struct row {
    const char *what;
    attempt_fn *attempt;
    int failed_by;
} rows[] = {
    { "a local socket", unix_socket, 0 },
    { "a pair of them", unix_pair, 0 },
    { "a file", file, 0 },
    { "TCP", tcp, EACCES },
    { "UDP", udp_of_ipv6, EACCES },
    { "netlink", netlink, EACCES },
    { "a socket to the host of a machine", machine_socket, EACCES },
    { "a family above whose number there is more", family_in_the_low_half, EACCES },
    { "io_uring", ring, EPERM },
    { "another program", program, EPERM },
    { "another's memory", others_memory, EPERM },
    { "TCP in a child", child, EACCES },
};

static int run_child(int (*work)(const void *), const void *about)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(work(about));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int attempt(const void *about)
{
    const struct row *row = about;

    return confine_enter() == LB_OK ? row->attempt() : 255;
}

static void confined(void **state)
{
    const struct row *row = *state;
    int status = run_child(attempt, row);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), row->failed_by);
}

struct thread {
    pthread_barrier_t confined;
    int failed_by;
};

static void *open_tcp(void *argument)
{
    struct thread *self = argument;

    pthread_barrier_wait(&self->confined);
    self->failed_by = tcp();
    return NULL;
}

static int confine_a_thread(const void *about)
{
    struct thread thread;
    pthread_t id;

    (void)about;
    if (pthread_barrier_init(&thread.confined, NULL, 2) != 0 ||
        pthread_create(&id, NULL, open_tcp, &thread) != 0 || confine_enter() != LB_OK) {
        return 255;
    }
    pthread_barrier_wait(&thread.confined);
    pthread_join(id, NULL);
    return thread.failed_by;
}

static void a_thread_that_was_there_before_is_confined_too(void **state)
{
    int status = run_child(confine_a_thread, NULL);

    (void)state;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EACCES);
}

#ifndef LB_SANITIZED /* see shield.h */

static int crash(const void *about)
{
    const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

    (void)about;
    (void)setrlimit(RLIMIT_CORE, &all);
    if (shield_process() != LB_OK || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) {
        return 255;
    }
    raise(SIGQUIT);
    return 0;
}

static void it_leaves_no_core(void **state)
{
    int status = run_child(crash, NULL);

    (void)state;
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGQUIT);
    assert_false(WCOREDUMP(status));
}

#define NOBODY 65534

/* Two processes of one user: the second may not look into the first. */
static int be_looked_into(const void *about)
{
    const bool *is_shielded = about;
    pid_t pid = getpid(), other;
    int status = 0;

    if (geteuid() == 0 && (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)) {
        return 255;
    }
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* setuid() has taken it away */
    if (*is_shielded && shield_process() != LB_OK) {
        return 255;
    }
    (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0); /* Yama apart */
    other = fork();
    if (other == 0) {
        long result = ptrace(PTRACE_SEIZE, pid, NULL, NULL);

        _exit(result < 0 ? errno : 0);
    }
    return other < 0 || waitpid(other, &status, 0) != other ? 255 : WEXITSTATUS(status);
}

static void nobody_of_its_user_traces_it(void **state)
{
    const bool yes = true, no = false;

    (void)state;
    if (WEXITSTATUS(run_child(be_looked_into, &no)) != 0) {
        printf("skipped: nobody may trace anybody here\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(run_child(be_looked_into, &yes)), EPERM);
}

#endif

int main(void)
{
    const struct CMUnitTest others[] = {
        cmocka_unit_test(a_thread_that_was_there_before_is_confined_too),
#ifndef LB_SANITIZED
        cmocka_unit_test(it_leaves_no_core),
        cmocka_unit_test(nobody_of_its_user_traces_it),
#endif
    };

    return RUN_ROWS(rows, confined) +
           cmocka_run_group_tests_name("a process with a key", others, NULL, NULL);
}
