/* Whom a supervisor ends that finds processes of one before it: also those that hold keys, and so
 * do not let themselves be looked into. */
#include "services/supervisor/process.h"

#include "libcommon/shield.h"
#include "tests/libcommon/cmocka_row.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY        65534 /* root may look into everybody */
#define FOLDER        "/nowhere/node"
#define NOTIFY_SOCKET FOLDER "/run/notify.sock"
#define GRACE_MS      20000
#define CANNOT        255

static const struct row {
    const char *what;
    const char *program;
    const char *option, *folder;
    bool is_shielded;
    const char *environment; /* beside that */
    bool is_ended;
} rows[] = {
    { "one that was told of our socket", "lb-key", "--dir", FOLDER, false,
      "NOTIFY_SOCKET=" NOTIFY_SOCKET, true },
    { "one that was told of another", "lb-key", "--dir", FOLDER, false,
      "NOTIFY_SOCKET=/elsewhere/run/notify.sock", false },
    { "a shielded one of this node", "lb-key", "--dir", FOLDER, true,
      "NOTIFY_SOCKET=" NOTIFY_SOCKET, true },
    { "of another node", "lb-key", "--dir", FOLDER "2", true, "A=1", false },
    { "of a folder below ours", "lb-key", "--dir", FOLDER "/run/x", true, "A=1", false },
    { "of a folder that may be any", "lb-key", "--dir", "node", true, "A=1", false },
    { "of the user's own node", "lb-key", "--instance", "0", true, "A=1", false },
    { "no service", "key", "--dir", FOLDER, true, "A=1", false },
};

/* In the place of a service, until it is ended. Says by a byte that it is as it should be. */
static int be_a_service(const char *is_shielded)
{
    if (strcmp(is_shielded, "yes") == 0 && shield_process() != LB_OK) {
        return CANNOT;
    }
    if (write(STDOUT_FILENO, "x", 1) != 1) {
        return CANNOT;
    }
    for (;;) {
        pause();
    }
}

static pid_t start(const struct row *row)
{
    char *const arguments[] = { (char *)(uintptr_t)row->program, (char *)(uintptr_t)row->option,
                                (char *)(uintptr_t)row->folder,
                                (char *)(uintptr_t)(row->is_shielded ? "yes" : "no"), NULL };
    char *const environment[] = { (char *)(uintptr_t)row->environment, NULL };
    int ready[2];
    char byte;
    pid_t pid;

    if (pipe(ready) != 0 || (pid = fork()) < 0) {
        return -1;
    }
    if (pid == 0) {
        dup2(ready[1], STDOUT_FILENO);
        execve("/proc/self/exe", arguments, environment);
        _exit(CANNOT);
    }
    close(ready[1]);
    return read(ready[0], &byte, 1) == 1 ? pid : -1;
}

/* 1: it was ended. */
static int end_orphans(const struct row *row)
{
    pid_t pid;
    int status = 0;

    if (geteuid() == 0 && (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)) {
        return CANNOT;
    }
    unsetenv("LITTLEBIRD_DIR");
    setenv("XDG_RUNTIME_DIR", "/elsewhere", 1);
    pid = start(row);
    if (pid < 0) {
        return CANNOT;
    }
    process_end_orphans(NOTIFY_SOCKET, GRACE_MS);
    if (waitpid(pid, &status, WNOHANG) == 0) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        return 0;
    }
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM ? 1 : CANNOT;
}

static void orphan(void **state)
{
    const struct row *row = *state;
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(end_orphans(row));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), row->is_ended);
}

int main(int argc, char **argv)
{
    return argc == 4 ? be_a_service(argv[3]) : RUN_ROWS(rows, orphan);
}
