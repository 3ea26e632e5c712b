#include "services/swarm/beneath.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INSIDE (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
#define TRIES  3 /* of a file that somebody makes or removes at the same moment */

/* Set once, at the start: which folders are the node's own is the same for all who open files. */
static struct {
    char paths[BENEATH_KEPT_MAX][PATH_MAX];
    size_t count;
} kept;

void beneath_keep_out(const char *folder)
{
    char real[PATH_MAX];

    if (realpath(folder, real) == NULL)
        return;
    assert(kept.count < BENEATH_KEPT_MAX);
    memcpy(kept.paths[kept.count++], real, sizeof real);
}

/* By where the kernel says that it lies, now that it is open: no symlink can be put in between. */
static bool is_kept(int fd)
{
    char link[64], path[PATH_MAX];
    ssize_t size;

    if (kept.count == 0)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return true; /* not known: better not */
    path[size] = '\0';
    for (size_t i = 0; i < kept.count; i++) {
        size_t length = strlen(kept.paths[i]);

        if (strncmp(path, kept.paths[i], length) == 0 &&
            (path[length] == '/' || path[length] == '\0'))
            return true;
    }
    return false;
}

/* fd, or -1 with errno set when it is of a folder that is kept out. */
static int unless_kept(int fd)
{
    if (fd < 0 || !is_kept(fd))
        return fd;
    close(fd);
    errno = EPERM;
    return -1;
}

lb_err beneath_error(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return LB_NO_SPACE;
    case ENOENT:
        return LB_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP:
    case EXDEV:
    case EISDIR:
    case ENXIO:
    case ENOTDIR:
        return LB_DENIED;
    case EMFILE:
    case ENFILE:
        return LB_FULL;
    default:
        return LB_IO;
    }
}

lb_err beneath_open_root(const char *folder, int *ret_fd)
{
    int fd = unless_kept(open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC));

    if (fd < 0)
        return beneath_error(errno);
    *ret_fd = fd;
    return LB_OK;
}

/* One component of the folder fd, which is closed. */
static int enter(int fd, const char *name, int flags, mode_t mode)
{
    int inside = openat(fd, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
    int error = errno;

    close(fd);
    errno = error;
    return inside;
}

/*
 * The same walk by hand, for a kernel or a sandbox without openat2(2): systemd's RestrictSUIDSGID=
 * refuses it, as a filter cannot see the mode in it. No component is "..", none is followed when it
 * is a symlink; a folder that is moved out meanwhile is left where it is, as by openat2.
 */
static int walk_inside(int root_fd, const char *path, int flags, mode_t mode)
{
    int fd = openat(root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    while (fd >= 0) {
        size_t size = strcspn(path, "/");
        char name[NAME_MAX + 1];
        bool is_last = path[size] == '\0';

        if (size == 0 || size > NAME_MAX || (size == 2 && memcmp(path, "..", 2) == 0)) {
            close(fd);
            errno = size > NAME_MAX ? ENAMETOOLONG : size == 0 ? EINVAL : EXDEV;
            return -1;
        }
        memcpy(name, path, size);
        name[size] = '\0';
        fd = enter(fd, name, is_last ? flags : O_PATH | O_DIRECTORY, is_last ? mode : 0);
        if (is_last)
            break;
        path += size + 1;
    }
    return fd;
}

static int open_inside(int root_fd, const char *path, int flags, mode_t mode)
{
    struct open_how how = { .flags = (unsigned)(flags | O_CLOEXEC),
                            .mode = mode,
                            .resolve = INSIDE };
    long fd;

    /* EAGAIN: a rename raced with the walk (openat2(2)). */
    do
        fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
    while (fd < 0 && (errno == EAGAIN || errno == EINTR));
    if (fd < 0 && errno == ENOSYS)
        fd = walk_inside(root_fd, path, flags, mode);
    return unless_kept((int)fd);
}

/* Make one folder: `name` has no "/", so mkdirat(2) follows nothing. */
static lb_err make_folder(int root_fd, const char *parent, const char *name)
{
    int fd = open_inside(root_fd, parent, O_PATH | O_DIRECTORY, 0);
    int error;

    if (fd < 0)
        return beneath_error(errno);
    error = mkdirat(fd, name, 0777) < 0 && errno != EEXIST ? errno : 0;
    close(fd);
    errno = error;
    return error == 0 ? LB_OK : beneath_error(error);
}

/* The folders before the last component, each found again from the root. */
static lb_err make_folders(int root_fd, const char *path)
{
    char prefix[PATH_MAX];

    for (const char *end = strchr(path, '/'); end; end = strchr(end + 1, '/')) {
        size_t size = (size_t)(end - path);
        char *slash;
        lb_err err;

        if (size >= sizeof(prefix)) {
            errno = ENAMETOOLONG;
            return LB_IO;
        }
        memcpy(prefix, path, size);
        prefix[size] = '\0';
        slash = strrchr(prefix, '/');
        if (slash)
            *slash = '\0';
        err = make_folder(root_fd, slash ? prefix : ".", slash ? slash + 1 : prefix);
        if (err != LB_OK)
            return err;
    }
    return LB_OK;
}

/* O_NONBLOCK: opening a FIFO or a device must not wait. */
static int open_or_make(int root_fd, const char *path, int flags, bool create)
{
    int fd = open_inside(root_fd, path, flags | O_NONBLOCK | O_NOCTTY, 0);

    for (int i = 0; i < TRIES && create && fd < 0 && errno == ENOENT; i++) {
        if (make_folders(root_fd, path) != LB_OK)
            return -1;
        fd = open_inside(root_fd, path, flags | O_NONBLOCK | O_NOCTTY | O_CREAT | O_EXCL, 0666);
        if (fd < 0 && errno == EEXIST)
            fd = open_inside(root_fd, path, flags | O_NONBLOCK | O_NOCTTY, 0);
    }
    return fd;
}

static lb_err check_regular(const struct stat *found)
{
    if (S_ISREG(found->st_mode))
        return LB_OK;
    errno = S_ISDIR(found->st_mode) ? EISDIR : ENXIO;
    return LB_DENIED;
}

lb_err beneath_open(int root_fd, const char *path, bool writable, bool create, int *ret_fd,
                    struct stat *ret_stat)
{
    int fd = open_or_make(root_fd, path, writable ? O_RDWR : O_RDONLY, create);
    struct stat found;
    lb_err err;
    int error;

    if (fd < 0)
        return beneath_error(errno);
    err = fstat(fd, &found) < 0 ? beneath_error(errno) : check_regular(&found);
    if (err == LB_OK) {
        *ret_stat = found;
        *ret_fd = fd;
        return LB_OK;
    }
    error = errno;
    close(fd);
    errno = error;
    return err;
}

lb_err beneath_open_folder(int root_fd, const char *path, int *ret_fd)
{
    int fd = open_inside(root_fd, path, O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0)
        return beneath_error(errno);
    *ret_fd = fd;
    return LB_OK;
}

static lb_err stat_inside(int root_fd, const char *path, int flags, struct stat *ret_stat)
{
    int fd = open_inside(root_fd, path, O_PATH | flags, 0);
    int error;

    if (fd < 0)
        return beneath_error(errno);
    error = fstat(fd, ret_stat) < 0 ? errno : 0;
    close(fd);
    errno = error;
    return error == 0 ? LB_OK : beneath_error(error);
}

lb_err beneath_look(int root_fd, const char *path, struct stat *ret_stat)
{
    /* With both O_PATH and O_NOFOLLOW the symlink itself is opened (openat2(2)). */
    return stat_inside(root_fd, path, O_NOFOLLOW, ret_stat);
}

lb_err beneath_stat(int root_fd, const char *path, struct stat *ret_stat)
{
    struct stat found;
    lb_err err = stat_inside(root_fd, path, 0, &found);

    if (err == LB_OK)
        err = check_regular(&found);
    if (err == LB_OK)
        *ret_stat = found;
    return err;
}
