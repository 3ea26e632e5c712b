/*
 * Every socket of the node but the supervisor's own mailbox, bound once and kept: a service that
 * ends leaves its port, its queue and its peers' flows behind for the process that follows it.
 */
#pragma once

#include "libcommon/error.h"
#include "libcommon/paths.h"
#include "libcommon/status_page.h"

#include <stdbool.h>
#include <stddef.h>

#define SOCKETS_MAX           96 /* 16 workers x 2 addresses, 2 TCP, 2 API, metrics, a mailbox each */
#define SOCKETS_ADDRESSES_MAX 2   /* one IPv4 and one IPv6 */
#define SOCKETS_FD_LEAST      256 /* kept above what a child is handed, so that dup2 never collides */

struct config;

struct kept_socket {
    int fd;
    enum service service;
    unsigned instance;
    const char *name; /* LISTEN_UDP ..., static */
};

struct sockets {
    struct kept_socket kept[SOCKETS_MAX];
    size_t count;

    /*
     * What node.listen is in the end, as an override "node.listen=ADDR:PORT, ..." for the services;
     * it differs from the configuration when a port was 0 or the host has no IPv6.
     */
    char listen_override[160];
    char listen[SOCKETS_ADDRESSES_MAX][64];
    size_t listen_count;
};

/* What could not be bound, for whom and why, for a person. */
struct sockets_problem {
    char text[512];
};

/*
 * The caller holds the run folder's lock. LB_INVALID: node.listen is wrong. LB_DENIED, LB_IO: a
 * socket could not be bound; then none is.
 */
LB_MUST_CHECK lb_err sockets_bind(struct sockets *ret_self, const struct config *config,
                                  const struct paths *paths, struct sockets_problem *ret_problem);
void sockets_close(struct sockets *self);

/* How many instances of a service the configuration wants. */
unsigned sockets_instances(const struct config *config, enum service service);
