#include "services/supervisor/belonging.h"

#include "libcommon/identity.h"
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

static lb_err is_member(const struct paths *paths, bool *ret_is_member)
{
    struct identity identity;
    lb_err err = identity_load(paths, &identity);

    *ret_is_member = err == LB_OK;
    if (err == LB_OK) {
        log_info("member of the private network %s", identity.network_name);
    }
    if (err == LB_OK || err == LB_NOT_FOUND) {
        return LB_OK;
    }
    log_error("%s: %s; it says that this node is a member of a private network, so the node does "
              "not start without it: restore it from a copy (of this user or of root, writable by "
              "nobody else), or remove it to be of the open network again",
              paths->identity_file, err == LB_INVALID ? "it is damaged" : lb_err_text(err));
    return LB_INVALID; /* 78: starting it again would not help */
}

lb_err belonging_find(const struct paths *paths, struct roster_node *ret_node)
{
    struct roster_node node;
    char key[PATHS_SIZE + sizeof "/" PATHS_CA_KEY];
    lb_err err = is_member(paths, &node.is_member);

    snprintf(key, sizeof key, "%s/%s", paths->ca_folder, PATHS_CA_KEY);
    if (err == LB_OK) {
        err = is_there(key, &node.is_coordinator);
    }
    if (err == LB_OK) {
        *ret_node = node;
    }
    return err;
}
