#include "tests/libcommon/failing_io.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static struct failing_io plan;
static atomic_bool armed;
static atomic_uint calls, failed;

void failing_io_arm(const struct failing_io *wanted)
{
    plan = *wanted;
    atomic_store(&calls, 0);
    atomic_store(&failed, 0);
    atomic_store(&armed, true);
}

bool failing_io_disarm(void)
{
    atomic_store(&armed, false);
    return atomic_load(&failed) > 0;
}

static bool is_turn(void)
{
    unsigned number = atomic_fetch_add(&calls, 1) + 1;

    if (plan.kind == FAILING_ONCE ? number != plan.nth : number < plan.nth)
        return false;
    atomic_fetch_add(&failed, 1);
    return true;
}

/* Must this call, on this descriptor, fail? errno is set then, else as it was. */
static bool fails(int fd)
{
    struct stat found;
    int before = errno;

    if (!atomic_load(&armed) || fstat(fd, &found) != 0 ||
        !(S_ISREG(found.st_mode) || S_ISDIR(found.st_mode)) || !is_turn()) {
        errno = before;
        return false;
    }
    errno = plan.error;
    return true;
}

static bool fails_to_open(void)
{
    if (!atomic_load(&armed) || !is_turn())
        return false;
    errno = plan.error_of_open;
    return true;
}

/* A function of libc's, or of a sanitizer's in front of it. */
static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (found == NULL) {
        fprintf(stderr, "there is no %s\n", name);
        abort();
    }
    return found;
}

/* ISO C knows no cast from an object's pointer to a function's; POSIX demands that it works. */
#define NEXT(name)                                                                                 \
    const union {                                                                                  \
        void *object;                                                                              \
        __typeof__(name) *function;                                                                \
    } real = { .object = next(#name) }

/* FAILING(what it returns, its name, its parameters, its arguments): fd is the descriptor. */
#define FAILING(type, name, parameters, arguments)                                                 \
    type name parameters                                                                           \
    {                                                                                              \
        NEXT(name);                                                                                \
        return fails(fd) ? -1 : real.function arguments;                                           \
    }

FAILING(ssize_t, pread, (int fd, void *to, size_t size, off_t at), (fd, to, size, at))
FAILING(ssize_t, preadv, (int fd, const struct iovec *to, int count, off_t at), (fd, to, count, at))
FAILING(ssize_t, preadv2, (int fd, const struct iovec *to, int count, off_t at, int flags),
        (fd, to, count, at, flags))
FAILING(ssize_t, read, (int fd, void *to, size_t size), (fd, to, size))
FAILING(ssize_t, pwrite, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at))
FAILING(ssize_t, pwritev, (int fd, const struct iovec *from, int count, off_t at),
        (fd, from, count, at))
FAILING(ssize_t, write, (int fd, const void *from, size_t size), (fd, from, size))
FAILING(int, fsync, (int fd), (fd))
FAILING(int, fdatasync, (int fd), (fd))
FAILING(int, syncfs, (int fd), (fd))
FAILING(int, ftruncate, (int fd, off_t size), (fd, size))
FAILING(int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
FAILING(int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode))
FAILING(int, renameat, (int fd, const char *from, int to_fd, const char *to), (fd, from, to_fd, to))

void *mmap(void *address, size_t size, int access, int flags, int fd, off_t at)
{
    NEXT(mmap);

    if (fd >= 0 && fails(fd))
        return MAP_FAILED;
    return real.function(address, size, access, flags, fd, at);
}

static mode_t mode_of(int flags, va_list *more)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(*more, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    NEXT(open);
    va_list more;
    mode_t mode;

    va_start(more, flags);
    mode = mode_of(flags, &more);
    va_end(more);
    return fails_to_open() ? -1 : real.function(path, flags, mode);
}

int openat(int fd, const char *path, int flags, ...)
{
    NEXT(openat);
    va_list more;
    mode_t mode;

    va_start(more, flags);
    mode = mode_of(flags, &more);
    va_end(more);
    return fails_to_open() ? -1 : real.function(fd, path, flags, mode);
}

/*
 * openat2 has no function of its own in glibc 2.36. As the real one, it takes as many arguments as
 * a system call can have, and reads past those that the caller gave.
 */
__attribute__((no_sanitize("address"))) long syscall(long number, ...)
{
    NEXT(syscall);
    long arguments[6];
    va_list more;

    va_start(more, number);
    for (unsigned i = 0; i < 6; i++)
        arguments[i] = va_arg(more, long);
    va_end(more);
    if (number == SYS_openat2 && fails_to_open())
        return -1;
    return real.function(number, arguments[0], arguments[1], arguments[2], arguments[3],
                         arguments[4], arguments[5]);
}
