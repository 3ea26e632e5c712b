/* With it glibc declares addresses as a union of its own, which ISO C cannot define against. */
#undef _GNU_SOURCE
#define _DEFAULT_SOURCE 1
#include "libcommon/accept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Atomic int spare = -1; /* whoever takes it out puts another in */

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void accept_keep_spare(void)
{
    int other;

    if (atomic_load(&spare) >= 0)
        return;
    other = atomic_exchange(&spare, open_spare());
    if (other >= 0)
        close(other);
}

static int call(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    return (int)syscall(SYS_accept4, fd, address, size, flags);
}

/* With the spare one; the connection is not kept. Without it there is nothing to be done now. */
static int refuse(int fd)
{
    int taken = atomic_exchange(&spare, -1), connection, error;

    if (taken < 0) {
        errno = ENFILE;
        return -1;
    }
    close(taken);
    connection = call(fd, NULL, NULL, SOCK_CLOEXEC);
    error = connection >= 0 ? ECONNABORTED : errno == EMFILE ? ENFILE : errno;
    if (connection >= 0)
        close(connection);
    atomic_store(&spare, open_spare());
    errno = error;
    return -1;
}

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    int connection = call(fd, address, size, flags);

    return connection < 0 && errno == EMFILE ? refuse(fd) : connection;
}
