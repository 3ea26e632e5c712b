/* littlebird up and down. */
#include "libcommon/clock.h"
#include "libcommon/listen.h"
#include "libcommon/memory.h"
#include "proto/littlebird/v1/node.pb-c.h"
#include "services/cli/commands.h"
#include "services/cli/exit.h"
#include "services/cli/processes.h"
#include "services/cli/session.h"
#include "services/cli/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SETTLE_MS       2000u   /* serving already: how long until all is well, at most */
#define READY_LIMIT_MS  120000u /* a large store, a slow disk, a busy machine */
#define STOP_LIMIT_MS   90000u  /* the supervisor's own limit is 60 s */
#define API_TIMEOUT_MS  10000u
#define POLL_MS         20
#define LOG_BYTES_MAX   (16 * 1024 * 1024) /* then it is put aside once, as littlebird.log.1 */
#define LOG_SHOWN_BYTES 4000
#define ARGUMENTS_MAX   (2 * ARGS_GIVEN_MAX + 8)
#define EXIT_NO_PROGRAM 127
#define PLACE_SIZE      256 /* a path from this program's folder */

struct start {
    const struct args *args;
    struct paths paths;
    char program[PATH_MAX];
    char root[PATHS_SIZE];
    char log[PATHS_SIZE + 32];
    off_t log_begin; /* what stands there from before */
    struct settings settings;
    char *arguments[ARGUMENTS_MAX];
    int arguments_count;
};

static void pause_a_moment(void)
{
    static const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };

    nanosleep(&pause, NULL);
}

/* ---- what to start ---- */

/* Beside this program in a build folder, else where it is installed, seen from this program. */
static int find_supervisor(struct start *self)
{
    static const char *const places[] = { "lb-supervisor", LB_LIBEXEC "/lb-supervisor" };
    ssize_t size = readlink("/proc/self/exe", self->program, PATH_MAX - PLACE_SIZE);
    char *name;

    self->program[size > 0 ? size : 0] = '\0';
    name = strrchr(self->program, '/');
    name = name != NULL ? name + 1 : self->program;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        snprintf(name, PLACE_SIZE, "%s", places[i]);
        if (access(self->program, X_OK) == 0)
            return EXIT_DONE;
    }
    return args_failed(self->args,
                       "cannot find lb-supervisor, neither beside this program nor as %s",
                       self->program);
}

static void add_argument(struct start *self, const char *text)
{
    if (self->arguments_count < ARGUMENTS_MAX - 1)
        self->arguments[self->arguments_count++] = (char *)(uintptr_t)text;
}

/* The supervisor must mean the same node as we do, wherever it stands. */
static void make_arguments(struct start *self)
{
    const char *dir = args_value(self->args, "dir");
    struct paths system;

    if (dir == NULL)
        dir = getenv("LITTLEBIRD_DIR");
    paths_system(&system);
    add_argument(self, "lb-supervisor");
    if (dir != NULL && dir[0] != '\0') {
        snprintf(self->root, sizeof self->root, "%s", self->paths.run_folder);
        *strrchr(self->root, '/') = '\0'; /* D of D/run */
        add_argument(self, "--dir");
        add_argument(self, self->root[0] != '\0' ? self->root : "/");
    } else if (strcmp(self->paths.run_folder, system.run_folder) == 0) {
        add_argument(self, "--system");
    }
    for (size_t i = 0; self->settings.overrides[i] != NULL; i++) {
        add_argument(self, "--set");
        add_argument(self, self->settings.overrides[i]);
    }
}

static int check_not_running(const struct start *self)
{
    long pid = 0;

    switch (listen_lock_owner(self->paths.run_folder, &pid)) {
    case LB_NOT_FOUND:
        return EXIT_DONE;
    case LB_OK:
        return args_failed(self->args, "a node runs there already (%s, process %ld)",
                           self->paths.run_folder, pid);
    default:
        return args_failed(self->args, "cannot look into %s: %s", self->paths.run_folder,
                           strerror(errno));
    }
}

static int prepare(struct start *self)
{
    int code = session_paths(self->args, &self->paths);
    lb_err err;

    if (code == EXIT_DONE)
        code = find_supervisor(self);
    if (code == EXIT_DONE)
        code = check_not_running(self);
    if (code == EXIT_DONE)
        code = settings_check(&self->settings, self->args, &self->paths);
    if (code != EXIT_DONE)
        return code;
    err = paths_make(&self->paths);
    if (err != LB_OK)
        return args_failed(self->args, "cannot make the folders %s and %s: %s",
                           self->paths.state_folder, self->paths.run_folder, lb_err_text(err));
    make_arguments(self);
    return EXIT_DONE;
}

/* ---- in the background ---- */

static int open_log(struct start *self)
{
    char old[PATHS_SIZE + 40];
    struct stat info;
    int fd;

    snprintf(self->log, sizeof self->log, "%s/littlebird.log", self->paths.state_folder);
    snprintf(old, sizeof old, "%s.1", self->log);
    if (stat(self->log, &info) == 0 && info.st_size > LOG_BYTES_MAX)
        rename(self->log, old);
    fd = open(self->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd >= 0 && fstat(fd, &info) == 0)
        self->log_begin = info.st_size;
    return fd;
}

/* The child's part: its own session, no terminal, everything it says into the log. */
static void become_supervisor(const struct start *self, int log)
{
    int nothing = open("/dev/null", O_RDONLY);

    setsid();
    if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
        dup2(log, STDERR_FILENO) < 0)
        _exit(EXIT_NO_PROGRAM);
    if (nothing > STDERR_FILENO)
        close(nothing);
    execv(self->program, self->arguments);
    fprintf(stderr, "cannot run %s: %s\n", self->program, strerror(errno));
    _exit(EXIT_NO_PROGRAM);
}

/* What was logged since we started it, its end. */
static void show_log(const struct start *self)
{
    char text[LOG_SHOWN_BYTES + 1];
    int fd = open(self->log, O_RDONLY | O_CLOEXEC);
    off_t begin = self->log_begin;
    struct statvfs disk;
    struct stat info;
    ssize_t size;

    if (fd < 0 || fstat(fd, &info) != 0)
        return;
    if (info.st_size - begin > LOG_SHOWN_BYTES)
        begin = info.st_size - LOG_SHOWN_BYTES;
    size = pread(fd, text, LOG_SHOWN_BYTES, begin);
    close(fd);
    text[size > 0 ? size : 0] = '\0';
    if (size <= 0 && statvfs(self->log, &disk) == 0 && disk.f_bavail == 0)
        fprintf(stderr, "  no space is left on the disk of its folder\n");
    for (char *line = text; *line != '\0';) {
        int length = (int)strcspn(line, "\n");

        fprintf(stderr, "  %.*s\n", length, line);
        line += length + (line[length] == '\n');
    }
    fprintf(stderr, "(from %s)\n", self->log);
}

/* True when the process ended within the time. */
static bool wait_for_end(pid_t pid, uint64_t limit_ms)
{
    uint64_t until_ms = clock_monotonic_ms() + limit_ms;

    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (clock_monotonic_ms() >= until_ms)
            return false;
        pause_a_moment();
    }
    return true;
}

/* A node that did not come up is not left behind half running. */
static int give_up(const struct start *self, pid_t pid, const char *why)
{
    kill(pid, SIGTERM);
    args_failed(self->args, "%s", why);
    show_log(self);
    if (!wait_for_end(pid, STOP_LIMIT_MS))
        args_failed(self->args, "process %ld does not end", (long)pid);
    return EXIT_FAILED;
}

static int wait_for_api(const struct start *self, pid_t pid)
{
    Littlebird__V1__GetServerInfoRequest request = LITTLEBIRD__V1__GET_SERVER_INFO_REQUEST__INIT;
    struct client_call call = { .method = "NodeService/GetServerInfo",
                                .request = &request.base,
                                .response = &littlebird__v1__get_server_info_response__descriptor,
                                .timeout_ms = API_TIMEOUT_MS };
    struct client *client = client_new(&self->paths, NULL);
    const void *response;
    lb_err err = client_call(client, &call, &response);

    client_free(&client);
    if (err == LB_OK)
        return EXIT_DONE;
    return give_up(self, pid, "the services are ready, but the API does not answer");
}

static int wait_until_ready(const struct start *self, pid_t pid)
{
    uint64_t until_ms = clock_monotonic_ms() + READY_LIMIT_MS, settled_ms = 0;
    char why[PROCESSES_WHY_SIZE];
    int status;

    for (;;) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            args_failed(self->args, "the node did not start (%s %d):",
                        WIFEXITED(status) ? "exit code" : "signal",
                        WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
            show_log(self);
            return EXIT_FAILED;
        }
        switch (processes_readiness(&self->paths, (uint32_t)pid, why)) {
        case READINESS_READY:
            return wait_for_api(self, pid);
        case READINESS_DEGRADED: /* alone in the network, say: that may stay so */
            if (settled_ms == 0)
                settled_ms = clock_monotonic_ms() + SETTLE_MS;
            if (clock_monotonic_ms() >= settled_ms)
                return wait_for_api(self, pid);
            break;
        case READINESS_FAILED:
            return give_up(self, pid, why);
        case READINESS_STARTING:
            break;
        }
        if (session_interrupted()) {
            give_up(self, pid, "interrupted");
            return EXIT_INTERRUPTED;
        }
        if (clock_monotonic_ms() >= until_ms)
            return give_up(self, pid, why);
        pause_a_moment();
    }
}

static int detach(struct start *self)
{
    int log = open_log(self);
    int code;
    pid_t pid;

    if (log < 0)
        return args_failed(self->args, "cannot write %s: %s", self->log, strerror(errno));
    pid = fork();
    if (pid == 0)
        become_supervisor(self, log);
    close(log);
    session_catch_interrupt(); /* a node that is half up is not left behind */
    if (pid < 0)
        return args_failed(self->args, "cannot start a process: %s", strerror(errno));
    code = wait_until_ready(self, pid);
    if (code == EXIT_DONE)
        fprintf(stderr, "the node is ready (process %ld, log %s)\n", (long)pid, self->log);
    return code;
}

int command_up(const struct args *args)
{
    struct start self = { .args = args };
    int code = prepare(&self);

    if (code == EXIT_DONE && args_has(args, "detach")) {
        code = detach(&self);
    } else if (code == EXIT_DONE) {
        execv(self.program, self.arguments);
        code = args_failed(args, "cannot run %s: %s", self.program, strerror(errno));
    }
    settings_done(&self.settings);
    return code;
}

/* ---- down ---- */

static lb_err ask_to_stop(const struct paths *paths)
{
    Littlebird__V1__StopRequest request = LITTLEBIRD__V1__STOP_REQUEST__INIT;
    struct client_call call = { .method = "NodeService/Stop",
                                .request = &request.base,
                                .response = &littlebird__v1__stop_response__descriptor,
                                .timeout_ms = 3000,
                                .once = true };
    struct client *client = client_new(paths, NULL);
    const void *response;
    lb_err err = client_call(client, &call, &response);

    client_free(&client);
    return err;
}

/*
 * Once, for to be told a second time means to end at once, without handing anything over. By a
 * signal where that is permitted: the gateway is among the first to stop, and its answer may be
 * lost with it (LB_UNAVAILABLE, below).
 */
static int tell_to_stop(const struct args *args, const struct paths *paths, long pid)
{
    int problem;
    lb_err err;

    if (pid > 1 && (kill((pid_t)pid, SIGTERM) == 0 || errno == ESRCH))
        return EXIT_DONE;
    problem = errno;
    err = ask_to_stop(paths);
    if (err == LB_OK || err == LB_UNAVAILABLE)
        return EXIT_DONE;
    return args_failed(args, "cannot stop process %ld: %s", pid,
                       pid > 1 ? strerror(problem) : lb_err_text(err));
}

int command_down(const struct args *args)
{
    uint64_t until_ms = clock_monotonic_ms() + STOP_LIMIT_MS;
    struct paths paths;
    long pid = 0, now_pid;
    int code = session_paths(args, &paths);
    lb_err err;

    if (code != EXIT_DONE)
        return code;
    err = listen_lock_owner(paths.run_folder, &pid);
    if (err == LB_NOT_FOUND) {
        args_failed(args, "the node is not running (%s)", paths.run_folder);
        return EXIT_NOT_RUNNING;
    }
    if (err != LB_OK)
        return args_failed(args, "cannot look into %s: %s", paths.run_folder, lb_err_text(err));
    code = tell_to_stop(args, &paths, pid);
    if (code != EXIT_DONE)
        return code;
    /* Another node may have been started there since: that one is not ours to wait for. */
    while (listen_lock_owner(paths.run_folder, &now_pid) == LB_OK && now_pid == pid) {
        if (clock_monotonic_ms() >= until_ms)
            return args_failed(args, "process %ld does not end; it was told to", pid);
        pause_a_moment();
    }
    return EXIT_DONE;
}
