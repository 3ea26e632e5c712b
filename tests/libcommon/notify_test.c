/* The manager's side is played by this test: a datagram socket, and descriptors from 3 on. */
#include "libcommon/notify.h"

#include "tests/libcommon/cmocka_row.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int manager;

/* An abstract address: no file to clean up. */
static int open_manager(void **state)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    char text[64];

    (void)state;
    snprintf(text, sizeof text, "@lb-notify-test-%ld", (long)getpid());
    memcpy(name.sun_path, text, strlen(text));
    name.sun_path[0] = '\0';
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setenv("NOTIFY_SOCKET", text, 1);
    return bind(manager, (struct sockaddr *)&name,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(text)));
}

static void expect(const char *message)
{
    char got[512];
    ssize_t size = recv(manager, got, sizeof got - 1, 0);

    assert_true(size >= 0);
    got[size] = '\0';
    assert_string_equal(got, message);
}

static void the_manager_hears_everything(void **state)
{
    (void)state;
    notify_ready();
    expect("READY=1");
    notify_status("%d peers", 312);
    expect("STATUS=312 peers");
    notify_status("%s", "one\nWATCHDOG=trigger");
    expect("STATUS=one WATCHDOG=trigger");
    notify_watchdog();
    expect("WATCHDOG=1");
    notify_stopping();
    expect("STOPPING=1");
}

/* As ten datagrams that it has not read make a manager that hangs. */
static void a_manager_that_hangs_holds_nobody_up(void **state)
{
    char got[512];
    int told = 0;

    (void)state;
    for (int i = 0; i < 1000; i++)
        notify_status("%d peers", i);
    notify_ready();
    notify_watchdog();
    while (recv(manager, got, sizeof got, 0) > 0)
        told++;
    assert_true(told > 0 && told < 1000);
    notify_again();
    expect("READY=1\nWATCHDOG=1\nSTATUS=999 peers");
    notify_again();
    assert_int_equal(recv(manager, got, sizeof got, 0), -1); /* nothing is told twice */
}

static void without_a_manager_nothing_happens(void **state)
{
    char *before = strdup(getenv("NOTIFY_SOCKET"));
    char got[16];

    (void)state;
    unsetenv("NOTIFY_SOCKET");
    notify_ready();
    assert_int_equal(recv(manager, got, sizeof got, 0), -1);
    setenv("NOTIFY_SOCKET", before, 1);
    free(before);
}

static const struct watchdog_row {
    const char *what;
    const char *usec, *pid; /* NULL: not set; "self": our own */
    uint64_t interval_ms;
} watchdog_rows[] = {
    { "no watchdog", NULL, NULL, 0 },       { "half of ten seconds", "10000000", NULL, 5000 },
    { "for us", "10000000", "self", 5000 }, { "for another process", "10000000", "1", 0 },
    { "no number", "soon", NULL, 0 },       { "a very short one", "100", NULL, 1 },
};

static void watchdog(void **state)
{
    const struct watchdog_row *row = *state;
    char self[32];

    snprintf(self, sizeof self, "%ld", (long)getpid());
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    if (row->usec != NULL)
        setenv("WATCHDOG_USEC", row->usec, 1);
    if (row->pid != NULL)
        setenv("WATCHDOG_PID", strcmp(row->pid, "self") == 0 ? self : row->pid, 1);
    assert_int_equal(notify_watchdog_interval_ms(), row->interval_ms);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

/* As a manager does it: descriptors 3, 4 and 5 and their names, then a new process. */
static int take_handed_over(void)
{
    char self[32];
    int fd = -1;

    for (int i = 3; i < 6; i++) {
        int null = open("/dev/null", O_RDONLY);

        if (null != i && dup2(null, i) != i)
            return 1;
        if (null > 5)
            close(null);
    }
    snprintf(self, sizeof self, "%ld", (long)getpid());
    setenv("LISTEN_PID", self, 1);
    setenv("LISTEN_FDS", "3", 1);
    setenv("LISTEN_FDNAMES", "udp:mailbox:udp", 1);
    if (notify_listen_fd("udp", 0, &fd) != LB_OK || fd != 3)
        return 2;
    if (notify_listen_fd("udp", 1, &fd) != LB_OK || fd != 5)
        return 3;
    if (notify_listen_fd("mailbox", 0, &fd) != LB_OK || fd != 4)
        return 4;
    if ((fcntl(4, F_GETFD) & FD_CLOEXEC) == 0)
        return 5;
    if (notify_listen_fd("udp", 2, &fd) != LB_NOT_FOUND || fd != 4)
        return 6;
    if (notify_listen_fd("tcp", 0, &fd) != LB_NOT_FOUND)
        return 7;
    setenv("LISTEN_PID", "1", 1); /* meant for another process */
    return notify_listen_fd("udp", 0, &fd) == LB_NOT_FOUND ? 0 : 8;
}

static void sockets_are_handed_over_by_name(void **state)
{
    pid_t pid = fork();
    int status;

    (void)state;
    if (pid == 0)
        _exit(take_handed_over());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void without_a_manager_there_are_none(void **state)
{
    int fd = -7;

    (void)state;
    assert_int_equal(notify_listen_fd("udp", 0, &fd), LB_NOT_FOUND);
    assert_int_equal(fd, -7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_manager_hears_everything),
        cmocka_unit_test(a_manager_that_hangs_holds_nobody_up),
        cmocka_unit_test(without_a_manager_nothing_happens),
        cmocka_unit_test(sockets_are_handed_over_by_name),
        cmocka_unit_test(without_a_manager_there_are_none),
    };

    return cmocka_run_group_tests_name("notify", tests, open_manager, NULL) +
           RUN_ROWS(watchdog_rows, watchdog);
}
