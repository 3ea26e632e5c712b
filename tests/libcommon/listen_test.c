/* Real sockets on loopback: what the kernel does with our filter is what is tested. */
#include "libcommon/listen.h"

#include "tests/libcommon/cmocka_row.h"
#include "tests/libcommon/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS  4
#define SOURCES  60
#define LIMIT_MS 60000

static struct address loopback_v6(uint16_t port)
{
    struct address address = { .ip = { [15] = 1 }, .port = port };

    return address;
}

/* Send one datagram from source to target; false when the source is no address of ours. */
static bool send_from(const struct address *source, const struct address *target)
{
    struct sockaddr_storage from, to;
    unsigned from_size = address_to_sockaddr(source, &from);
    unsigned to_size = address_to_sockaddr(target, &to);
    int fd = socket(from.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&from, from_size) == 0;

    if (bound)
        assert_int_equal(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, to_size), 1);
    close(fd);
    return bound;
}

/* Which worker's socket got the datagram that is under way. */
static unsigned receive(const int fds[WORKERS])
{
    struct pollfd polls[WORKERS];
    char byte;

    for (int i = 0; i < WORKERS; i++)
        polls[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
    assert_int_equal(poll(polls, WORKERS, LIMIT_MS), 1);
    for (unsigned i = 0; i < WORKERS; i++) {
        if (polls[i].revents != 0) {
            assert_int_equal(recv(fds[i], &byte, 1, 0), 1);
            return i;
        }
    }
    return WORKERS;
}

static void close_all(const int fds[WORKERS])
{
    for (int i = 0; i < WORKERS; i++)
        close(fds[i]);
}

static void ipv4_datagrams_reach_the_worker_of_their_source(void **state)
{
    struct address any = address_v4(127, 0, 0, 1, 0), bound;
    bool reached[WORKERS] = { false };
    int fds[WORKERS];

    (void)state;
    assert_int_equal(listen_udp(&any, WORKERS, fds, &bound), LB_OK);
    assert_int_not_equal(bound.port, 0);
    for (uint8_t i = 1; i <= SOURCES; i++) {
        struct address source = address_v4(127, 0, i, i, 0);
        unsigned worker;

        assert_true(send_from(&source, &bound));
        worker = receive(fds);
        assert_int_equal(worker, address_worker(&source, WORKERS));
        reached[worker] = true;
    }
    for (int i = 0; i < WORKERS; i++)
        assert_true(reached[i]);
    close_all(fds);
}

/*
 * The number of workers as it changes: `bound` sockets there are, the kernel steers to `steered` of
 * them. A digit is a socket, in the order of binding; all sources are tried after each step.
 */
enum step { JOIN, STEER, CLOSE_LAST };
static const struct scaling {
    const char *what;
    enum step step;
    unsigned bound, steered;
} scalings[] = {
    { "one alone gets all", STEER, 1, 1 },
    { "a socket that joins gets nothing yet", JOIN, 2, 1 },
    { "nor do two more", JOIN, 4, 1 },
    { "steered to four, each has its share", STEER, 4, 4 },
    { "steered to two, the last two get nothing", STEER, 4, 2 },
    { "and may be closed", CLOSE_LAST, 2, 2 },
    { "one may join in their place", JOIN, 3, 2 },
    { "and is steered to", STEER, 3, 3 },
    { "down to one", STEER, 3, 1 },
    { "who stays when the others are closed", CLOSE_LAST, 1, 1 },
};

static void take_step(const struct scaling *row, const struct address *bound, int fds[WORKERS],
                      unsigned *count)
{
    while (*count < row->bound)
        assert_int_equal(listen_udp_join(bound, &fds[(*count)++]), LB_OK);
    while (*count > row->bound)
        close(fds[--*count]);
    if (row->step == STEER)
        assert_int_equal(listen_udp_steer(fds[0], row->steered), LB_OK);
    for (unsigned i = *count; i < WORKERS; i++)
        fds[i] = -1; /* poll() passes over it */
}

static void the_number_of_workers_changes_under_way(void **state)
{
    struct address any = address_v4(127, 0, 0, 1, 0), bound;
    int fds[WORKERS];
    unsigned count = 1;

    (void)state;
    assert_int_equal(listen_udp(&any, 1, fds, &bound), LB_OK);
    for (size_t i = 0; i < sizeof scalings / sizeof *scalings; i++) {
        take_step(&scalings[i], &bound, fds, &count);
        for (uint8_t n = 1; n <= SOURCES; n++) {
            struct address source = address_v4(127, 0, n, n, 0);

            assert_true(send_from(&source, &bound));
            if (receive(fds) != address_worker(&source, scalings[i].steered))
                fail_msg("%s: source %u", scalings[i].what, n);
        }
    }
    close(fds[0]);
}

/* A newer worker may steer; one that ends may, too: the program is the group's, not the socket's.
 */
static void any_socket_of_the_group_steers_for_all(void **state)
{
    struct address any = address_v4(127, 0, 0, 1, 0), source = address_v4(127, 0, 7, 7, 0), bound;
    int fds[WORKERS];

    (void)state;
    assert_int_equal(listen_udp(&any, WORKERS, fds, &bound), LB_OK);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(listen_udp_steer(fds[i], i + 1), LB_OK);
        assert_true(send_from(&source, &bound));
        assert_int_equal(receive(fds), address_worker(&source, i + 1));
    }
    close_all(fds);
}

static void who_joins_names_a_port(void **state)
{
    struct address any = address_v4(127, 0, 0, 1, 0);
    int fd = -7;

    (void)state;
    assert_int_equal(listen_udp_join(&any, &fd), LB_INVALID);
    assert_int_equal(fd, -7);
}

/* By the machine, not by what is tested: without it the test is skipped. */
static void need_ipv6(void)
{
    const struct address loopback = loopback_v6(0);
    struct sockaddr_storage name;
    unsigned size = address_to_sockaddr(&loopback, &name);
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&name, size) == 0;
    int error = errno;

    if (fd >= 0)
        close(fd);
    if (bound)
        return;
    printf("skipped: there is no IPv6 here: %s\n", strerror(error));
    skip();
}

/*
 * ::1 is the only IPv6 address of loopback, and would leave most of the filter untried: in a
 * network of our own every address of fd00::/8 is loopback, too.
 */
static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    close(fd);
    return written;
}

static bool enter_own_network(void)
{
    char map[32];

    snprintf(map, sizeof map, "0 %ld 1", (long)getuid());
    if (unshare(CLONE_NEWNET) != 0 &&
        (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0 || !write_text("/proc/self/uid_map", map)))
        return false;
    return write_text("/proc/sys/net/ipv6/ip_nonlocal_bind", "1") &&
           system("ip link set lo up && ip -6 route add local fd00::/8 dev lo") == 0;
}

static unsigned count_wrong(const int fds[WORKERS], const struct address *bound)
{
    unsigned wrong = 0;

    for (uint8_t i = 1; i <= SOURCES; i++) {
        struct address source = { .ip = { 0xfd, i, 3, i, 5, 6, (uint8_t)(7 * i), 8, 9, i, 11, 12,
                                          13, 14, (uint8_t)(i * i), i } };

        if (!send_from(&source, bound) || receive(fds) != address_worker(&source, WORKERS))
            wrong++;
    }
    return wrong;
}

enum { STEERED, NOT_BOUND, WRONG, NO_NETWORK = 100 }; /* and its errno is added */

static int steer_in_own_network(void)
{
    struct address any = loopback_v6(0), bound;
    int fds[WORKERS];

    errno = 0;
    if (!enter_own_network())
        return NO_NETWORK + errno;
    if (listen_udp(&any, WORKERS, fds, &bound) != LB_OK)
        return NOT_BOUND;
    return count_wrong(fds, &bound) == 0 ? STEERED : WRONG;
}

static void ipv6_datagrams_reach_the_worker_of_their_source(void **state)
{
    pid_t pid;
    int status;

    (void)state;
    need_ipv6();
    pid = fork();
    if (pid == 0)
        _exit(steer_in_own_network());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) >= NO_NETWORK)
        rights_missing("a network of its own", WEXITSTATUS(status) - NO_NETWORK);
    assert_int_equal(WEXITSTATUS(status), STEERED);
}

static void ipv6_source_ports_do_not_matter(void **state)
{
    struct address any = loopback_v6(0), source = any, bound;
    int fds[WORKERS];

    (void)state;
    need_ipv6();
    assert_int_equal(listen_udp(&any, WORKERS, fds, &bound), LB_OK);
    for (int i = 0; i < SOURCES; i++) {
        assert_true(send_from(&source, &bound));
        assert_int_equal(receive(fds), address_worker(&source, WORKERS));
    }
    close_all(fds);
}

static void an_ipv6_socket_leaves_ipv4_alone(void **state)
{
    struct address v6 = { .port = 0 }, v4, bound;
    int fd6, fd4;

    (void)state;
    need_ipv6();
    assert_int_equal(listen_udp(&v6, 1, &fd6, &bound), LB_OK);
    v4 = address_v4(0, 0, 0, 0, bound.port);
    assert_int_equal(listen_udp(&v4, 1, &fd4, &bound), LB_OK);
    close(fd4);
    close(fd6);
}

static void a_port_in_use_is_not_shared(void **state)
{
    struct address any = address_v4(127, 0, 0, 1, 0), bound, again;
    int fds[WORKERS], fd = -7;

    (void)state;
    assert_int_equal(listen_udp(&any, WORKERS, fds, &bound), LB_OK);
    assert_int_equal(listen_udp(&bound, 1, &fd, &again), LB_IO);
    assert_int_equal(errno, EADDRINUSE);
    assert_int_equal(fd, -7);
    close_all(fds);
    assert_int_equal(listen_tcp(&any, &fds[0], &bound), LB_OK);
    assert_int_equal(listen_tcp(&bound, &fd, &again), LB_IO);
    assert_int_equal(errno, EADDRINUSE);
    assert_int_equal(fd, -7);
    close(fds[0]);
}

static void an_address_of_another_machine_is_refused(void **state)
{
    struct address foreign = address_v4(192, 0, 2, 1, 0), bound;
    int fd = -7;

    (void)state;
    assert_int_equal(listen_udp(&foreign, 1, &fd, &bound), LB_IO);
    assert_int_equal(errno, EADDRNOTAVAIL);
    assert_int_equal(listen_tcp(&foreign, &fd, &bound), LB_IO);
    assert_int_equal(fd, -7);
}

static void sockets_are_non_blocking_and_close_on_exec(void **state)
{
    struct address any = address_v4(127, 0, 0, 1, 0), bound;
    int fds[2];

    (void)state;
    assert_int_equal(listen_udp(&any, 1, &fds[0], &bound), LB_OK);
    assert_int_equal(listen_tcp(&any, &fds[1], &bound), LB_OK);
    for (int i = 0; i < 2; i++) {
        assert_true((fcntl(fds[i], F_GETFL) & O_NONBLOCK) != 0);
        assert_true((fcntl(fds[i], F_GETFD) & FD_CLOEXEC) != 0);
        close(fds[i]);
    }
}

/* ---- in a folder ---- */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lb-listen-test-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void an_ipc_socket_replaces_a_stale_one_and_is_private(void **state)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int first, second, client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stat info;

    (void)state;
    snprintf(name.sun_path, sizeof name.sun_path, "%s/x.sock", folder);
    assert_int_equal(listen_ipc(name.sun_path, &first), LB_OK);
    close(first);
    assert_int_equal(listen_ipc(name.sun_path, &second), LB_OK);
    assert_int_equal(stat(name.sun_path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0660);
    assert_int_equal(connect(client, (struct sockaddr *)&name, sizeof name), 0);
    close(client);
    close(second);
}

static void an_ipc_path_that_is_too_long_is_refused(void **state)
{
    char path[128];
    int fd = -7;

    (void)state;
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[108] = '\0';
    assert_int_equal(listen_ipc(path, &fd), LB_TOO_BIG);
    assert_int_equal(listen_ipc("/nowhere/x.sock", &fd), LB_IO);
    assert_int_equal(fd, -7);
}

static void the_lock_is_held_by_one(void **state)
{
    char path[96], text[32] = "";
    int first, second = -7, fd;
    long owner = 0;

    (void)state;
    assert_int_equal(listen_lock(folder, &first), LB_OK);
    assert_int_equal(listen_lock(folder, &second), LB_EXISTS);
    assert_int_equal(second, -7);
    snprintf(path, sizeof path, "%s/lock", folder);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    assert_int_equal(atol(text), getpid());
    close(fd);
    assert_int_equal(listen_lock_owner(folder, &owner), LB_OK);
    assert_int_equal(owner, getpid());
    close(first);
    assert_int_equal(listen_lock_owner(folder, &owner), LB_NOT_FOUND);
    assert_int_equal(listen_lock_owner("/nowhere", &owner), LB_NOT_FOUND);
    assert_int_equal(listen_lock(folder, &second), LB_OK);
    close(second);
    assert_int_equal(listen_lock("/nowhere", &second), LB_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ipv4_datagrams_reach_the_worker_of_their_source),
        cmocka_unit_test(the_number_of_workers_changes_under_way),
        cmocka_unit_test(any_socket_of_the_group_steers_for_all),
        cmocka_unit_test(who_joins_names_a_port),
        cmocka_unit_test(ipv6_datagrams_reach_the_worker_of_their_source),
        cmocka_unit_test(ipv6_source_ports_do_not_matter),
        cmocka_unit_test(an_ipv6_socket_leaves_ipv4_alone),
        cmocka_unit_test(a_port_in_use_is_not_shared),
        cmocka_unit_test(an_address_of_another_machine_is_refused),
        cmocka_unit_test(sockets_are_non_blocking_and_close_on_exec),
        cmocka_unit_test(an_ipc_socket_replaces_a_stale_one_and_is_private),
        cmocka_unit_test(an_ipc_path_that_is_too_long_is_refused),
        cmocka_unit_test(the_lock_is_held_by_one),
    };

    return cmocka_run_group_tests_name("listen", tests, make_folder, remove_folder);
}
