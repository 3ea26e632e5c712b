#include "libcommon/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LOCK_TRIES        20
#define LOCK_PAUSE_NS     5000000
#define UDP_RECEIVE_BYTES (4 * 1024 * 1024) /* the kernel grants as much as rmem_max allows */

static lb_err from_errno(void)
{
    return errno == EACCES || errno == EPERM ? LB_DENIED : LB_IO;
}

static int set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value);
}

/* A bound socket of either type; -1 with errno set. */
static int bind_socket(const struct address *address, int type, int reuse_option)
{
    struct sockaddr_storage name;
    socklen_t size = address_to_sockaddr(address, &name);
    int fd = socket(name.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int code;

    if (fd < 0)
        return -1;
    if ((name.ss_family != AF_INET6 || set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) == 0) &&
        (reuse_option == 0 || set_option(fd, SOL_SOCKET, reuse_option, 1) == 0) &&
        bind(fd, (const struct sockaddr *)&name, size) == 0)
        return fd;
    code = errno;
    close(fd);
    errno = code;
    return -1;
}

lb_err listen_bound(int fd, struct address *ret_bound)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof name;

    if (getsockname(fd, (struct sockaddr *)&name, &size) != 0)
        return LB_IO;
    return address_from_sockaddr((const struct sockaddr *)&name, ret_bound);
}

#define LOAD_WORD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_NET_OFF + (offset)))
#define KEEP              BPF_STMT(BPF_MISC | BPF_TAX, 0)
#define XOR_KEPT          BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0)
#define SHIFT(bits)       BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, bits)
#define MULTIPLY(factor)  BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, factor)

/* A ^= A >> bits */
#define FOLD(bits) KEEP, SHIFT(bits), XOR_KEPT

/* address_worker() as a classic BPF program: the source address is 12 bytes into an IPv4 header. */
#define MIX_AND_RETURN(workers)                                                                    \
    FOLD(16), MULTIPLY(ADDRESS_WORKER_MUL_1), FOLD(15), MULTIPLY(ADDRESS_WORKER_MUL_2), FOLD(16),  \
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, workers), BPF_STMT(BPF_RET | BPF_A, 0)

static int attach(int fd, struct sock_filter *code, unsigned short size)
{
    struct sock_fprog program = { .len = size, .filter = code };

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program);
}

/* One program serves the whole group of sockets; what it returns counts them in order of binding.
 */
static int steer(int fd, bool v4, unsigned workers)
{
    struct sock_filter for_v4[] = { LOAD_WORD(12), MIX_AND_RETURN(workers) };
    /* In an IPv6 header it has four words from byte 8 on. */
    struct sock_filter for_v6[] = {
        LOAD_WORD(8),           KEEP,     LOAD_WORD(12), XOR_KEPT,      KEEP,
        LOAD_WORD(16),          XOR_KEPT, KEEP,          LOAD_WORD(20), XOR_KEPT,
        MIX_AND_RETURN(workers)
    };

    return v4 ? attach(fd, for_v4, sizeof for_v4 / sizeof for_v4[0])
              : attach(fd, for_v6, sizeof for_v6 / sizeof for_v6[0]);
}

/*
 * SO_REUSEPORT lets another node of the same user join the port unnoticed and take half of its
 * datagrams. A socket without it cannot be bound while any other is.
 */
static lb_err check_port_is_free(const struct address *address)
{
    int fd;

    if (address->port == 0)
        return LB_OK;
    fd = bind_socket(address, SOCK_DGRAM, 0);
    if (fd < 0)
        return from_errno();
    close(fd);
    return LB_OK;
}

static void raise_buffer(int fd)
{
    if (set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, UDP_RECEIVE_BYTES) != 0)
        (void)set_option(fd, SOL_SOCKET, SO_RCVBUF, UDP_RECEIVE_BYTES);
}

static int bind_udp(const struct address *address)
{
    int fd = bind_socket(address, SOCK_DGRAM, SO_REUSEPORT);

    if (fd >= 0)
        raise_buffer(fd);
    return fd;
}

lb_err listen_udp_join(const struct address *bound, int *ret_fd)
{
    int fd;

    if (bound->port == 0)
        return LB_INVALID;
    fd = bind_udp(bound);
    if (fd < 0)
        return from_errno();
    *ret_fd = fd;
    return LB_OK;
}

lb_err listen_udp_steer(int fd, unsigned workers)
{
    struct address bound;

    if (workers == 0 || listen_bound(fd, &bound) != LB_OK)
        return LB_INVALID;
    return steer(fd, address_is_v4(&bound), workers) == 0 ? LB_OK : from_errno();
}

lb_err listen_udp(const struct address *address, unsigned workers, int *ret_fds,
                  struct address *ret_bound)
{
    struct address bound = *address;
    lb_err err = check_port_is_free(address);
    unsigned count = 0;
    int fds[64], code;

    if (err != LB_OK)
        return err;
    if (workers == 0 || workers > sizeof fds / sizeof fds[0])
        return LB_INVALID;
    for (; count < workers && err == LB_OK; count++) {
        fds[count] = bind_udp(&bound);
        if (fds[count] < 0) {
            err = from_errno();
            break;
        }
        if (count == 0)
            err = listen_bound(fds[0], &bound);
    }
    /* One alone too: what joins it later gets nothing before it is steered to. */
    if (err == LB_OK && steer(fds[0], address_is_v4(&bound), workers) != 0)
        err = from_errno();
    if (err != LB_OK) {
        code = errno;
        while (count > 0)
            close(fds[--count]);
        errno = code;
        return err;
    }
    memcpy(ret_fds, fds, workers * sizeof fds[0]);
    *ret_bound = bound;
    return LB_OK;
}

lb_err listen_tcp(const struct address *address, int *ret_fd, struct address *ret_bound)
{
    int fd = bind_socket(address, SOCK_STREAM, SO_REUSEADDR);
    struct address bound;
    int code;

    if (fd < 0)
        return from_errno();
    if (listen(fd, SOMAXCONN) == 0 && listen_bound(fd, &bound) == LB_OK) {
        *ret_fd = fd;
        *ret_bound = bound;
        return LB_OK;
    }
    code = errno;
    close(fd);
    errno = code;
    return from_errno();
}

lb_err listen_ipc(const char *path, int *ret_fd)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int fd, code;

    if (strlen(path) >= sizeof name.sun_path)
        return LB_TOO_BIG;
    memcpy(name.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return from_errno();
    if ((unlink(path) == 0 || errno == ENOENT) &&
        fchmod(fd, 0660) == 0 && /* bind(2) makes the file with this, less the umask */
        bind(fd, (const struct sockaddr *)&name, sizeof name) == 0 && chmod(path, 0660) == 0 &&
        listen(fd, SOMAXCONN) == 0) {
        *ret_fd = fd;
        return LB_OK;
    }
    code = errno;
    close(fd);
    errno = code;
    return from_errno();
}

/* Programs that ask whether a node runs hold the lock for a moment, shared: do not mistake them. */
static int lock_patiently(int fd)
{
    static const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };

    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -1;
        nanosleep(&pause, NULL);
    }
    errno = EWOULDBLOCK;
    return -1;
}

lb_err listen_lock(const char *run_folder, int *ret_fd)
{
    char path[4096], text[32];
    int size = snprintf(path, sizeof path, "%s/lock", run_folder);
    int fd, code;

    if (size < 0 || (size_t)size >= sizeof path)
        return LB_TOO_BIG;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return from_errno();
    if (lock_patiently(fd) != 0) {
        code = errno;
        close(fd);
        errno = code;
        return code == EWOULDBLOCK ? LB_EXISTS : from_errno();
    }
    size = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)size, 0) != size) {
        code = errno;
        close(fd);
        errno = code;
        return from_errno();
    }
    *ret_fd = fd;
    return LB_OK;
}

lb_err listen_lock_owner(const char *run_folder, long *ret_pid)
{
    char path[4096], text[32] = "";
    int size = snprintf(path, sizeof path, "%s/lock", run_folder);
    bool held;
    int fd;

    if (size < 0 || (size_t)size >= sizeof path)
        return LB_TOO_BIG;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? LB_NOT_FOUND : from_errno();
    held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (held && read(fd, text, sizeof text - 1) > 0)
        *ret_pid = atol(text);
    close(fd); /* and the lock with it */
    return held ? LB_OK : LB_NOT_FOUND;
}
