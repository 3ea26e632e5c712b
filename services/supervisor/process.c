#include "services/supervisor/process.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/supervisor/hidden.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FIRST_SOCKET    3 /* SD_LISTEN_FDS_START */
#define PID_PREFIX      "LISTEN_PID="
#define PID_DIGITS      10
#define ORPHANS_MAX     256 /* 50 are a whole node */
#define KILL_TIMEOUT_MS 2000
#define EXIT_NO_EXEC    71 /* EX_OSERR */

/* What the manager of the supervisor told the supervisor is not meant for its children. */
static bool is_inherited(const char *entry)
{
    static const char *const ours[] = { "LISTEN_PID=",     "LISTEN_FDS=",    "LISTEN_FDNAMES=",
                                        "WATCHDOG_PID=",   "WATCHDOG_USEC=", "NOTIFY_SOCKET=",
                                        "LB_PARENT_DEATH=" };

    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (strncmp(entry, ours[i], strlen(ours[i])) == 0) {
            return false;
        }
    }
    return true;
}

static char *join_names(const struct process_start *start)
{
    char *joined = xstrdup("LISTEN_FDNAMES=");

    for (size_t i = 0; i < start->sockets_count; i++) {
        char *longer = xasprintf("%s%s%s", joined, i > 0 ? ":" : "", start->socket_names[i]);

        free(joined);
        joined = longer;
    }
    return joined;
}

/* The first entry is LISTEN_PID, filled in by the child. All entries and the list are the caller's.
 */
static char **make_environment(const struct process_start *start)
{
    size_t inherited = 0;
    size_t added = 0;
    size_t count = 0;
    char **list;

    while (environ[inherited]) {
        inherited++;
    }
    while (start->environment[added]) {
        added++;
    }
    list = xcalloc(inherited + added + 4, sizeof *list);
    list[count++] = xasprintf(PID_PREFIX "%0*d", PID_DIGITS, 0);
    list[count++] = xasprintf("LISTEN_FDS=%zu", start->sockets_count);
    list[count++] = join_names(start);
    for (size_t i = 0; i < added; i++) {
        list[count++] = xstrdup(start->environment[i]);
    }
    for (size_t i = 0; i < inherited; i++) {
        if (is_inherited(environ[i])) {
            list[count++] = xstrdup(environ[i]);
        }
    }
    return list;
}

static void free_environment(char **list)
{
    for (size_t i = 0; list[i]; i++) {
        free(list[i]);
    }
    free(list);
}

/*
 * After fork in a process with threads: nothing but calls that are safe in a signal handler. No
 * leading zeros: libsystemd would read them as octal.
 */
static void write_pid(char *entry)
{
    char digits[PID_DIGITS];
    size_t count = 0;
    char *out = entry + strlen(PID_PREFIX);

    for (long pid = (long)getpid(); pid > 0 && count < PID_DIGITS; pid /= 10) {
        digits[count++] = (char)('0' + pid % 10);
    }
    while (count > 0) {
        *out++ = digits[--count];
    }
    *out = '\0';
}

static void take_sockets(const struct process_start *start, int null)
{
    dup2(null, STDIN_FILENO);
    for (size_t i = 0; i < start->sockets_count; i++) {
        dup2(start->sockets[i], FIRST_SOCKET + (int)i);
    }
    close_range(FIRST_SOCKET + (unsigned)start->sockets_count, ~0u, 0);
}

/*
 * From here on a signal does what it does to a program that has just begun. Our handlers are not
 * the child's: libuv's would write into the pipe of our own loop, which the child still shares.
 */
static void drop_handlers(void)
{
    const struct sigaction usual = { .sa_handler = SIG_DFL };
    struct sigaction is;
    sigset_t none;

    for (int number = 1; number <= SIGRTMAX; number++) {
        if (sigaction(number, NULL, &is) == 0 && is.sa_handler != SIG_IGN) {
            sigaction(number, &usual, NULL);
        }
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void become_child(const struct process_start *start, char **environment, int null,
                         pid_t parent)
{
    static const char complaint[] = "supervisor: a program cannot be executed\n";

    drop_handlers();
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) { /* it died before it could be noticed */
        _exit(0);
    }
    take_sockets(start, null);
    write_pid(environment[0]);
    execve(start->program, (char *const *)start->arguments, environment);
    if (write(STDERR_FILENO, complaint, sizeof complaint - 1) < 0) {
        _exit(EXIT_NO_EXEC);
    }
    _exit(EXIT_NO_EXEC);
}

lb_err process_spawn(const struct process_start *start, pid_t *ret_pid)
{
    pid_t parent = getpid();
    char **environment;
    sigset_t before;
    sigset_t all;
    pid_t pid;
    int error;
    int null;

    assert(start->sockets_count <= PROCESS_SOCKETS_MAX);
    if (access(start->program, X_OK) != 0) {
        return errno == EACCES ? LB_DENIED : LB_NOT_FOUND;
    }
    null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0) {
        return LB_IO;
    }
    environment = make_environment(start);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before); /* until the child has dropped our handlers */
    pid = fork();
    if (pid == 0) {
        become_child(start, environment, null, parent);
    }
    error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    free_environment(environment);
    close(null);
    errno = error;
    if (pid < 0) {
        return LB_IO;
    }
    *ret_pid = pid;
    return LB_OK;
}

bool process_is_stopped(pid_t pid)
{
    char path[64];
    char stat[512];
    const char *name_end = NULL;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    file = fopen(path, "re");
    if (!file) {
        return false;
    }
    if (fgets(stat, sizeof stat, file)) {
        name_end = strrchr(stat, ')'); /* the name may hold one itself */
    }
    fclose(file);
    return name_end && strncmp(name_end, ") T ", 4) == 0;
}

/* ---- orphans ---- */

/* Does the environment of that process name our socket? It is ours then, whatever its pid was. */
static bool notifies(pid_t pid, const char *entry, const char *notify_socket)
{
    char path[64];
    char *text = NULL;
    size_t capacity = 0;
    bool found = false;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%ld/environ", (long)pid);
    file = fopen(path, "re");
    if (!file) {
        return errno == EACCES && hidden_is_of(pid, notify_socket);
    }
    while (!found && getdelim(&text, &capacity, '\0', file) > 0) {
        found = strcmp(text, entry) == 0;
    }
    free(text);
    fclose(file);
    return found;
}

/* A descriptor of the process, or -1 when it is none of ours. */
static int open_orphan(pid_t pid, const char *entry, const char *notify_socket)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (fd >= 0 && !notifies(pid, entry, notify_socket)) { /* after opening: the pid is pinned */
        close(fd);
        fd = -1;
    }
    return fd;
}

static bool is_number(const char *name)
{
    return name[0] != '\0' && strspn(name, "0123456789") == strlen(name);
}

/* Descriptors of all there are; the status page may have lost sight of some of them. */
static size_t open_orphans(const char *notify_socket, int ret_fds[ORPHANS_MAX])
{
    char *entry = xasprintf("NOTIFY_SOCKET=%s", notify_socket);
    DIR *folder = opendir("/proc");
    const struct dirent *found;
    size_t count = 0;

    while (folder && count < ORPHANS_MAX && (found = readdir(folder)) != NULL) {
        pid_t pid = is_number(found->d_name) ? (pid_t)atol(found->d_name) : 0;
        int fd = pid > 0 && pid != getpid() ? open_orphan(pid, entry, notify_socket) : -1;

        if (fd >= 0) {
            log_warn("ending process %ld of a supervisor that is gone", (long)pid);
            ret_fds[count++] = fd;
        }
    }
    if (folder) {
        closedir(folder);
    }
    free(entry);
    return count;
}

/* Until all have ended or the time is over; those that have are closed and left out. */
static size_t await_ends(int *fds, size_t count, uint64_t timeout_ms)
{
    uint64_t until_ms = clock_monotonic_ms() + timeout_ms;

    while (count > 0) {
        uint64_t now_ms = clock_monotonic_ms();
        struct pollfd ended = { .fd = fds[count - 1], .events = POLLIN };
        int ready = now_ms < until_ms ? poll(&ended, 1, (int)(until_ms - now_ms)) : 0;

        if (ready == 0) {
            break;
        }
        if (ready > 0) {
            close(fds[--count]);
        }
    }
    return count;
}

static void signal_all(const int *fds, size_t count, int number)
{
    for (size_t i = 0; i < count; i++) {
        syscall(SYS_pidfd_send_signal, fds[i], number, NULL, 0);
    }
}

void process_end_orphans(const char *notify_socket, uint64_t grace_ms)
{
    int fds[ORPHANS_MAX];
    size_t count = open_orphans(notify_socket, fds);

    signal_all(fds, count, SIGTERM);
    count = await_ends(fds, count, grace_ms);
    if (count > 0) {
        log_warn("killing %zu processes of a supervisor that is gone", count);
        signal_all(fds, count, SIGKILL);
        count = await_ends(fds, count, KILL_TIMEOUT_MS);
    }
    for (size_t i = 0; i < count; i++) {
        log_error("a process of a supervisor that is gone does not end");
        close(fds[i]);
    }
}
