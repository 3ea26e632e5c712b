#include "services/storage/local_address.h"

#include "libcommon/memory.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct local_address {
    int fds[2]; /* IPv4, IPv6; -1: none */
    struct address fixed[2];
    bool is_fixed[2];
};

struct local_address *local_address_new(void)
{
    struct local_address *self = xcalloc(1, sizeof *self);

    self->fds[0] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    self->fds[1] = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return self;
}

void local_address_listen(struct local_address *self, const struct address *address)
{
    const struct address any_v4 = address_v4(0, 0, 0, 0, 0);
    const struct address any_v6 = { { 0 }, 0 };
    int family = address_is_v4(address) ? 0 : 1;

    if (address_same_ip(address, &any_v4) || address_same_ip(address, &any_v6))
        return;
    self->fixed[family] = *address;
    self->is_fixed[family] = true;
}

void local_address_free(struct local_address **self)
{
    if (*self == NULL)
        return;
    for (int i = 0; i < 2; i++) {
        if ((*self)->fds[i] >= 0)
            close((*self)->fds[i]);
    }
    free(*self);
    *self = NULL;
}

bool local_address_towards(struct local_address *self, const struct address *to,
                           struct address *ret_own)
{
    int family = address_is_v4(to) ? 0 : 1;
    int fd = self->fds[family];
    struct sockaddr_storage own;
    socklen_t size = sizeof own;
    struct sockaddr_storage there;
    socklen_t there_size = address_to_sockaddr(to, &there);
    const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };
    struct address found;

    if (self->is_fixed[family]) {
        *ret_own = self->fixed[family];
        ret_own->port = 0;
        return true;
    }
    /* Undo the last answer first: a connected socket keeps the source address it once chose. */
    if (fd < 0 || connect(fd, &nowhere, sizeof nowhere) != 0 ||
        connect(fd, (const struct sockaddr *)&there, there_size) != 0 ||
        getsockname(fd, (struct sockaddr *)&own, &size) != 0 ||
        address_from_sockaddr((const struct sockaddr *)&own, &found) != LB_OK)
        return false;
    found.port = 0;
    *ret_own = found;
    return true;
}
