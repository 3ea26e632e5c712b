#include "services/supervisor/belonging.h"

#include "libcommon/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* A file that cannot be looked at is not taken for one that is not there. */
static lb_err is_there(const char *path, bool *ret_is_there)
{
    struct stat info;

    *ret_is_there = lstat(path, &info) == 0;
    if (*ret_is_there || errno == ENOENT || errno == ENOTDIR) {
        return LB_OK;
    }
    log_error("cannot look at %s: %s", path, strerror(errno));
    return errno == EACCES ? LB_DENIED : LB_IO;
}

lb_err belonging_find(const struct paths *paths, struct roster_node *ret_node)
{
    struct roster_node node;
    char key[PATHS_SIZE + sizeof "/" PATHS_CA_KEY];
    lb_err err = is_there(paths->identity_file, &node.is_member);

    snprintf(key, sizeof key, "%s/%s", paths->ca_folder, PATHS_CA_KEY);
    if (err == LB_OK) {
        err = is_there(key, &node.is_coordinator);
    }
    if (err == LB_OK) {
        *ret_node = node;
    }
    return err;
}
