#include "libcommon/paths.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSTEM_STATE "/var/lib/littlebird"
#define SYSTEM_RUN   "/run/littlebird"

#define IDENTITY_FILE   "/identity"
#define BOOTSTRAP_FILE  "/bootstrap"
#define MEMBER_FOLDER   "/member"
#define REGISTER_FOLDER "/coordinator"
#define CA_FOLDER       "/ca"

/* Below the system's folders: the part of each user. */
static const char *const compartments[SERVICES_COUNT] = {
    [SERVICE_ROUTING] = "/data",  [SERVICE_TRANSPORT] = "/net",
    [SERVICE_STORAGE] = "/data",  [SERVICE_SWARM] = "/net",
    [SERVICE_SIGNER] = CA_FOLDER, [SERVICE_COORDINATOR] = REGISTER_FOLDER,
    [SERVICE_MEMBER] = "/net",
};
#define PAGES_WRITER SERVICE_ROUTING
#define KEYS_OWNER   SERVICE_MEMBER /* its user's: transport and swarm, which speak TLS, share it */

/* Join into one of the fixed buffers. */
static lb_err join(char ret_path[PATHS_SIZE], const char *folder, const char *name)
{
    int size = snprintf(ret_path, PATHS_SIZE, "%s%s", folder, name);

    return size >= 0 && size < PATHS_SIZE ? LB_OK : LB_TOO_BIG;
}

/* The longest name of a socket in the run folder, "/" included. */
static size_t longest_socket_name(void)
{
    size_t longest = strlen("/events.sock");

    for (int service = 0; service < SERVICES_COUNT; service++) {
        unsigned last = service_is_optional((enum service)service) ? 0 : STATUS_INSTANCES_MAX - 1;
        int size = snprintf(NULL, 0, "/%s-%u.sock", service_text((enum service)service), last);

        if ((size_t)size > longest)
            longest = (size_t)size;
    }
    return longest;
}

static lb_err check_run_folder(const struct paths *self)
{
    return strlen(self->run_folder) + longest_socket_name() > IPC_PATH_MAX ? LB_TOO_BIG : LB_OK;
}

/* Of one user all lies below the one state folder. */
static lb_err join_private(struct paths *self)
{
    lb_err err = join(self->identity_file, self->state_folder, IDENTITY_FILE);

    if (err == LB_OK)
        err = join(self->bootstrap_file, self->state_folder, BOOTSTRAP_FILE);
    if (err == LB_OK)
        err = join(self->member_folder, self->state_folder, MEMBER_FOLDER);
    if (err == LB_OK)
        err = join(self->register_folder, self->state_folder, REGISTER_FOLDER);
    if (err == LB_OK)
        err = join(self->ca_folder, self->state_folder, CA_FOLDER);
    return err;
}

static lb_err make_absolute(const char *dir, char ret_dir[PATHS_SIZE])
{
    char here[PATHS_SIZE];
    size_t size;

    if (dir[0] == '/') {
        if (strlen(dir) >= PATHS_SIZE)
            return LB_TOO_BIG;
        snprintf(ret_dir, PATHS_SIZE, "%s", dir);
    } else {
        int written;

        if (getcwd(here, sizeof here) == NULL)
            return errno == ERANGE ? LB_TOO_BIG : LB_IO;
        written = snprintf(ret_dir, PATHS_SIZE, "%s/%s", strcmp(here, "/") == 0 ? "" : here,
                           strncmp(dir, "./", 2) == 0 ? dir + 2 : dir);
        if (written < 0 || written >= PATHS_SIZE)
            return LB_TOO_BIG;
    }
    size = strlen(ret_dir);
    while (size > 1 && ret_dir[size - 1] == '/')
        ret_dir[--size] = '\0';
    return LB_OK;
}

static lb_err paths_below(struct paths *ret_self, const char *dir)
{
    char root[PATHS_SIZE];
    lb_err err = make_absolute(dir, root);

    if (err == LB_OK)
        err = join(ret_self->config_file, root, "/littlebird.conf");
    if (err == LB_OK)
        err = join(ret_self->state_folder, root, "/data");
    if (err == LB_OK)
        err = join(ret_self->run_folder, root, "/run");
    return err;
}

/* $VARIABLE when it is an absolute path (as the XDG base directory rules say), else NULL. */
static const char *absolute_from_environment(const char *variable)
{
    const char *value = getenv(variable);

    return value != NULL && value[0] == '/' ? value : NULL;
}

/* The folder of an XDG variable, or home and its default below it. */
static lb_err user_folder(char ret_path[PATHS_SIZE], const char *variable, const char *below_home,
                          const char *name)
{
    const char *base = absolute_from_environment(variable);
    const char *home = absolute_from_environment("HOME");
    int size;

    if (base != NULL)
        return join(ret_path, base, name);
    if (home == NULL)
        return LB_NOT_FOUND;
    size = snprintf(ret_path, PATHS_SIZE, "%s%s%s", home, below_home, name);
    return size >= 0 && size < PATHS_SIZE ? LB_OK : LB_TOO_BIG;
}

static lb_err paths_of_user(struct paths *ret_self)
{
    const char *runtime = absolute_from_environment("XDG_RUNTIME_DIR");
    lb_err err = user_folder(ret_self->config_file, "XDG_CONFIG_HOME", "/.config",
                             "/littlebird/littlebird.conf");

    if (err == LB_OK)
        err = user_folder(ret_self->state_folder, "XDG_DATA_HOME", "/.local/share", "/littlebird");
    if (err != LB_OK)
        return err;
    if (runtime != NULL)
        return join(ret_self->run_folder, runtime, "/littlebird");
    return join(ret_self->run_folder, ret_self->state_folder, "/run");
}

void paths_system(struct paths *ret_self)
{
    snprintf(ret_self->config_file, PATHS_SIZE, "/etc/littlebird/littlebird.conf");
    snprintf(ret_self->state_folder, PATHS_SIZE, SYSTEM_STATE);
    snprintf(ret_self->run_folder, PATHS_SIZE, SYSTEM_RUN);
    snprintf(ret_self->pages_folder, PATHS_SIZE, SYSTEM_RUN "%s", compartments[PAGES_WRITER]);
    snprintf(ret_self->private_folder, PATHS_SIZE, SYSTEM_RUN);
    snprintf(ret_self->identity_file, PATHS_SIZE, SYSTEM_STATE IDENTITY_FILE);
    snprintf(ret_self->bootstrap_file, PATHS_SIZE, SYSTEM_STATE BOOTSTRAP_FILE);
    snprintf(ret_self->member_folder, PATHS_SIZE, SYSTEM_STATE "%s" MEMBER_FOLDER,
             compartments[KEYS_OWNER]);
    snprintf(ret_self->register_folder, PATHS_SIZE, SYSTEM_STATE REGISTER_FOLDER);
    snprintf(ret_self->ca_folder, PATHS_SIZE, SYSTEM_STATE CA_FOLDER);
}

bool paths_is_system(const struct paths *self)
{
    return strcmp(self->run_folder, SYSTEM_RUN) == 0;
}

void paths_of_service(struct paths *self, enum service service)
{
    const char *compartment = compartments[service];

    if (!paths_is_system(self) || compartment == NULL)
        return;
    snprintf(self->state_folder, PATHS_SIZE, SYSTEM_STATE "%s", compartment);
    snprintf(self->private_folder, PATHS_SIZE, SYSTEM_RUN "%s", compartment);
}

lb_err paths_find(struct paths *ret_self, const char *dir)
{
    struct paths found = { .config_file = "" };
    lb_err err = LB_OK;

    if (dir == NULL || dir[0] == '\0')
        dir = getenv("LITTLEBIRD_DIR");
    if (dir != NULL && dir[0] != '\0')
        err = paths_below(&found, dir);
    else if (access(SYSTEM_RUN "/api.sock", W_OK) == 0)
        paths_system(&found);
    else
        err = paths_of_user(&found);
    if (err == LB_OK)
        err = check_run_folder(&found);
    if (err != LB_OK)
        return err;
    if (!paths_is_system(&found)) {
        err = join_private(&found);
        if (err != LB_OK)
            return err;
        memcpy(found.pages_folder, found.run_folder, PATHS_SIZE);
        memcpy(found.private_folder, found.run_folder, PATHS_SIZE);
    }
    *ret_self = found;
    return LB_OK;
}

static lb_err make_folder(const char *path, mode_t mode)
{
    char part[PATHS_SIZE];
    struct stat info;

    snprintf(part, sizeof part, "%s", path);
    for (char *slash = part + 1;; slash++) {
        if (*slash != '/' && *slash != '\0')
            continue;
        bool last = *slash == '\0';

        *slash = '\0';
        /* Folders on the way get the usual mode; the last one is ours alone. */
        if (mkdir(part, last ? mode : 0755) != 0 && errno != EEXIST)
            return errno == EACCES || errno == EPERM || errno == EROFS ? LB_DENIED
                   : errno == ENOSPC                                   ? LB_NO_SPACE
                                                                       : LB_IO;
        if (last)
            break;
        *slash = '/';
    }
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode) ? LB_OK : LB_IO;
}

/* Of the user's own run folder: see paths_make(). */
static lb_err close_to_others(const char *path)
{
    struct stat info;

    if (stat(path, &info) != 0)
        return LB_IO;
    if (info.st_uid != geteuid())
        return LB_DENIED;
    return (info.st_mode & 077) == 0 || chmod(path, 0700) == 0 ? LB_OK : LB_DENIED;
}

static lb_err make_system(const struct paths *self)
{
    bool apart = strcmp(self->state_folder, SYSTEM_STATE) != 0;
    lb_err err = make_folder(self->state_folder, apart ? 0700 : 0755);

    if (err == LB_OK)
        err = make_folder(self->run_folder, 0750);
    if (err == LB_OK && apart)
        err = make_folder(self->private_folder,
                          strcmp(self->private_folder, self->pages_folder) == 0 ? 0755 : 0700);
    return err;
}

lb_err paths_make(const struct paths *self)
{
    lb_err err;

    if (paths_is_system(self))
        return make_system(self);
    err = make_folder(self->state_folder, 0700);
    if (err == LB_OK)
        err = make_folder(self->run_folder, 0700);
    return err == LB_OK ? close_to_others(self->run_folder) : err;
}

bool paths_has_old_state(const struct paths *self, const char **ret_what)
{
    static const char *const names[] = { "storage", "swarm", "keys" };

    for (size_t i = 0; paths_is_system(self) && i < sizeof names / sizeof names[0]; i++) {
        char path[PATHS_SIZE];

        if (join(path, SYSTEM_STATE "/", names[i]) == LB_OK && access(path, F_OK) == 0) {
            *ret_what = names[i];
            return true;
        }
    }
    return false;
}
