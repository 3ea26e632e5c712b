#include "services/cli/session.h"

#include "libcommon/access.h"
#include "services/cli/exit.h"

#include <errno.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

void session_catch_interrupt(void)
{
    struct sigaction action = { .sa_handler = on_interrupt };

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool session_interrupted(void)
{
    return interrupted != 0;
}

int session_paths(const struct args *args, struct paths *ret_paths)
{
    const char *dir = args_value(args, "dir");
    lb_err err = paths_find(ret_paths, dir);

    if (err == LB_TOO_BIG)
        return args_failed(args,
                           "the folder's path is too long: sockets are made below it, and the path "
                           "of a socket has at most %d bytes",
                           IPC_PATH_MAX);
    if (err == LB_NOT_FOUND)
        return args_failed(args, "HOME is not set: name the node's folder by --dir");
    if (err != LB_OK)
        return args_failed(args, "cannot use the folder %s: %s", dir != NULL ? dir : "of the user",
                           lb_err_text(err));
    return EXIT_DONE;
}

static int not_running(const struct args *args, const struct paths *paths)
{
    args_failed(args, "the node is not running (%s); littlebird up starts it", paths->run_folder);
    return EXIT_NOT_RUNNING;
}

static bool may_use(const struct paths *paths)
{
    char path[PATHS_SIZE + 32];

    snprintf(path, sizeof path, "%s/api.sock", paths->run_folder);
    return access(path, W_OK) == 0 || errno != EACCES;
}

static void tell_waiting(void *ctx, const char *problem, unsigned s)
{
    const struct args *args = ctx;

    (void)args_failed(args, "%s: asking again for %u s (Ctrl-C ends this)", problem, s);
}

int session_open(struct session *ret_self, const struct args *args)
{
    struct paths paths;
    int code = session_paths(args, &paths);

    if (code != EXIT_DONE)
        return code;
    if (!may_use(&paths))
        return args_failed(args, "you may not use the node in %s: %s", paths.run_folder,
                           paths_is_system(&paths)
                               ? "it is for members of the group " ACCESS_GROUP_USER
                               : "it belongs to somebody else");
    if (!client_node_runs(&paths))
        return not_running(args, &paths);
    *ret_self = (struct session){ .args = args, .paths = paths, .json = args_has(args, "json") };
    ret_self->client = client_new(&paths, &interrupted);
    client_on_waiting(ret_self->client, tell_waiting, (void *)(uintptr_t)args);
    return EXIT_DONE;
}

void session_close(struct session *self)
{
    client_free(&self->client);
}

/*
 * Either the call is not for who asks, and the answer names the group it is for; or it is the node
 * that reads and writes, and may not: it may run as another user than the one who asks.
 */
static int denied(const struct session *self)
{
    const char *problem = client_problem(self->client);
    char path[PATHS_SIZE + 32];
    const struct passwd *owner;
    struct stat info;

    snprintf(path, sizeof path, "%s/api.sock", self->paths.run_folder);
    if (strstr(problem, "the group " ACCESS_GROUP_USER) != NULL)
        return args_failed(self->args, "you may not: %s", problem);
    if (paths_is_system(&self->paths))
        return args_failed(self->args, "%s: the node runs as %s, which needs the right to", problem,
                           access_user_name(SERVICE_SWARM));
    if (stat(path, &info) != 0 || info.st_uid == geteuid())
        return args_failed(self->args, "%s", problem);
    owner = getpwuid(info.st_uid);
    return args_failed(self->args, "%s: the node runs as %s, which needs the right to", problem,
                       owner != NULL ? owner->pw_name : "another user");
}

int session_failed(struct session *self, lb_err err)
{
    if (err == LB_CANCELLED && session_interrupted())
        return EXIT_INTERRUPTED;
    if (client_node_is_gone(self->client))
        return not_running(self->args, &self->paths);
    if (err == LB_DENIED)
        return denied(self);
    args_failed(self->args, "%s", client_problem(self->client));
    return err == LB_NOT_FOUND ? EXIT_NOT_FOUND : EXIT_FAILED;
}

int session_call(struct session *self, const struct client_call *call, const void **ret_response)
{
    lb_err err = client_call(self->client, call, ret_response);

    return err == LB_OK ? EXIT_DONE : session_failed(self, err);
}
