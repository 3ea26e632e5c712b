#include "libcommon/stored.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static lb_err from_errno(int code)
{
    switch (code) {
    case ENOTDIR:
        return LB_NOT_FOUND;
    case EEXIST:
        return LB_EXISTS;
    default:
        return lb_err_of_errno(code);
    }
}

static bool has_rights(const struct stat *about, enum stored_rights rights)
{
    if (!S_ISREG(about->st_mode)) {
        return false;
    }
    if (rights == STORED_SECRET) {
        return about->st_uid == geteuid() && (about->st_mode & 077) == 0;
    }
    return (about->st_uid == geteuid() || about->st_uid == 0) && (about->st_mode & 022) == 0;
}

static lb_err read_all(int fd, size_t size_max, struct stored *self)
{
    size_t capacity = size_max + 1; /* one more, to see that there is more */
    ssize_t got;

    self->data = xcalloc(1, capacity + 1);
    while (self->size < capacity) {
        got = read(fd, self->data + self->size, capacity - self->size);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return from_errno(errno);
        }
        if (got == 0) {
            break;
        }
        self->size += (size_t)got;
    }
    return self->size <= size_max ? LB_OK : LB_TOO_BIG;
}

lb_err stored_read(const char *path, size_t size_max, enum stored_rights rights,
                   struct stored *ret_self)
{
    /* O_NONBLOCK: a named pipe in its place does not hold us up. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stored self = { 0 };
    struct stat about;
    lb_err err;

    if (fd < 0) {
        return from_errno(errno);
    }
    if (fstat(fd, &about) != 0) {
        err = from_errno(errno);
    } else if (!has_rights(&about, rights)) {
        err = LB_DENIED;
    } else {
        err = read_all(fd, size_max, &self);
    }
    close(fd);
    if (err != LB_OK) {
        stored_free(&self);
        return err;
    }
    *ret_self = self;
    return LB_OK;
}

void stored_free(struct stored *self)
{
    if (self->data) {
        explicit_bzero(self->data, self->size);
    }
    free(self->data);
    self->data = NULL;
    self->size = 0;
}

static lb_err write_all(int fd, struct bytes data)
{
    size_t done = 0;
    ssize_t put;

    while (done < data.size) {
        put = write(fd, data.data + done, data.size - done);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return from_errno(errno);
        }
        done += (size_t)put;
    }
    return LB_OK;
}

/* A new file of this name in folder, whole, synced and its owner's. */
static lb_err write_new(int folder, const char *name, struct bytes data, unsigned mode)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat of_folder;
    lb_err err;

    if (fd < 0) {
        return from_errno(errno);
    }
    err = write_all(fd, data);
    if (err == LB_OK && (fstat(folder, &of_folder) != 0 || fchmod(fd, mode) != 0 ||
                         (geteuid() == 0 && fchown(fd, of_folder.st_uid, of_folder.st_gid) != 0) ||
                         fsync(fd) != 0)) {
        err = from_errno(errno);
    }
    if (close(fd) != 0 && err == LB_OK) {
        err = from_errno(errno);
    }
    if (err != LB_OK) {
        (void)unlinkat(folder, name, 0);
    }
    return err;
}

/* Under its own name: link() fails where rename() would replace. */
static lb_err put_in_place(int folder, const char *temporary, const char *name, bool replace)
{
    int failed = replace ? renameat(folder, temporary, folder, name)
                         : linkat(folder, temporary, folder, name, 0);
    lb_err err = failed ? from_errno(errno) : LB_OK;

    if (failed || !replace) {
        (void)unlinkat(folder, temporary, 0);
    }
    if (err == LB_OK && fsync(folder) != 0) {
        err = from_errno(errno);
    }
    return err;
}

static lb_err put(const char *folder, const char *name, struct bytes data, unsigned mode,
                  bool replace)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char temporary[NAME_MAX + 1];
    lb_err err;

    assert(strchr(name, '/') == NULL);
    if (fd < 0) {
        return from_errno(errno);
    }
    if (snprintf(temporary, sizeof(temporary), "%s.new-%ld", name, (long)getpid()) >=
        (int)sizeof(temporary)) {
        close(fd);
        return LB_IO;
    }
    (void)unlinkat(fd, temporary, 0); /* of a process of our number that died */
    err = write_new(fd, temporary, data, mode);
    if (err == LB_OK) {
        err = put_in_place(fd, temporary, name, replace);
    }
    close(fd);
    return err;
}

lb_err stored_replace(const char *folder, const char *name, struct bytes data, unsigned mode)
{
    return put(folder, name, data, mode, true);
}

lb_err stored_make(const char *folder, const char *name, struct bytes data, unsigned mode)
{
    return put(folder, name, data, mode, false);
}
