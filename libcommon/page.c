#include "libcommon/page.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The name until page_publish: of this process, so that a dead writer's rest is never in the way.
 */
static lb_err temporary_name(char ret_name[PATH_MAX], const char *path)
{
    int size = snprintf(ret_name, PATH_MAX, "%s.new-%ld", path, (long)getpid());

    return size >= 0 && size < PATH_MAX ? LB_OK : LB_TOO_BIG;
}

/* Reserve the space and map it; takes fd. */
static lb_err map_new(struct page *ret_self, int fd, size_t size)
{
    int code = posix_fallocate(fd, 0, (off_t)size);
    void *memory = MAP_FAILED;

    if (code == 0) {
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        code = memory == MAP_FAILED ? errno : 0;
    }
    close(fd);
    if (code != 0)
        return lb_err_of_errno(code);
    ret_self->memory = memory;
    ret_self->size = size;
    return LB_OK;
}

lb_err page_create(struct page *ret_self, const char *path, size_t size)
{
    char name[PATH_MAX];
    lb_err err = temporary_name(name, path);
    int fd;

    if (err != LB_OK)
        return err;
    if (unlink(name) != 0 && errno != ENOENT)
        return lb_err_of_errno(errno);
    fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return lb_err_of_errno(errno);
    (void)fchmod(fd, 0644); /* whatever the umask is: the run folder says who may come here */
    err = map_new(ret_self, fd, size);
    if (err != LB_OK)
        unlink(name);
    return err;
}

lb_err page_adopt(struct page *ret_self, const char *path, size_t size)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    return fd >= 0 ? map_new(ret_self, fd, size) : lb_err_of_errno(errno);
}

lb_err page_publish(struct page *self, const char *path)
{
    char name[PATH_MAX];
    lb_err err = self->memory != NULL ? temporary_name(name, path) : LB_INVALID;
    struct stat before;

    if (err != LB_OK)
        return err;
    if (stat(path, &before) == 0)
        (void)chmod(name, before.st_mode & 0777);
    return rename(name, path) == 0 ? LB_OK : lb_err_of_errno(errno);
}

lb_err page_open(struct page *ret_self, const char *path, size_t size_min, bool writable)
{
    int fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    lb_err err = LB_OK;
    struct stat info;
    void *memory;

    if (fd < 0)
        return lb_err_of_errno(errno);
    if (fstat(fd, &info) != 0) {
        err = LB_IO;
    } else if (!S_ISREG(info.st_mode) || info.st_size <= 0 || (size_t)info.st_size < size_min) {
        err = LB_CORRUPT;
    } else {
        memory = mmap(NULL, (size_t)info.st_size, protection, MAP_SHARED, fd, 0);
        if (memory == MAP_FAILED) {
            err = lb_err_of_errno(errno);
        } else {
            ret_self->memory = memory;
            ret_self->size = (size_t)info.st_size;
        }
    }
    close(fd);
    return err;
}

void page_close(struct page *self)
{
    if (self->memory != NULL)
        munmap(self->memory, self->size);
    self->memory = NULL;
    self->size = 0;
}
