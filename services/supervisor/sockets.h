/*
 * Every socket of the node but the supervisor's own mailbox, bound once and kept: a service that
 * ends leaves its port, its queue and its peers' flows behind for the process that follows it.
 *
 * Instances come and go while the node runs, the last one first. UDP sockets of one address are one
 * group: see libcommon/listen.h for the order in which it grows and shrinks. Swarm instance N
 * listens on the TCP port of node.listen + N, or on any that is free when that is taken.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/error.h"
#include "libcommon/paths.h"
#include "libcommon/status_page.h"

#include <stdbool.h>
#include <stddef.h>

/* 16 workers x 2 addresses, UDP and TCP; 2 API, metrics, 2 coordinator, a mailbox each. */
#define SOCKETS_MAX           128
#define SOCKETS_ADDRESSES_MAX 2   /* one IPv4 and one IPv6 */
#define SOCKETS_FD_LEAST      256 /* kept above what a child is handed, so that dup2 never collides */

struct config;
struct roster_node;

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
    struct address bound[SOCKETS_ADDRESSES_MAX];
    char listen[SOCKETS_ADDRESSES_MAX][64]; /* the same, for a person */
    size_t listen_count;
};

/* What could not be bound, for whom and why, for a person. */
struct sockets_problem {
    char text[512];
};

/*
 * The caller holds the run folder's lock. LB_INVALID: node.listen is wrong, or coordinator.listen
 * on a coordinator. LB_DENIED, LB_IO: a socket could not be bound; then none is.
 */
LB_MUST_CHECK lb_err sockets_bind(struct sockets *ret_self, const struct config *config,
                                  const struct roster_node *node, const struct paths *paths,
                                  struct sockets_problem *ret_problem);
void sockets_close(struct sockets *self);

/*
 * Those of one more instance of a service; datagrams do not reach it before sockets_steer().
 * LB_DENIED, LB_IO, LB_FULL: a socket could not be bound; then none is.
 */
LB_MUST_CHECK lb_err sockets_add(struct sockets *self, enum service service, unsigned instance,
                                 const struct paths *paths, struct sockets_problem *ret_problem);

/* Close those of the last instance of a service. */
void sockets_remove(struct sockets *self, enum service service, unsigned instance);

/* Share datagrams out among so many transport workers, from now on. LB_IO, LB_DENIED with errno. */
LB_MUST_CHECK lb_err sockets_steer(const struct sockets *self, unsigned workers);

/* How many instances of a service the configuration wants at the start. */
unsigned sockets_instances(const struct config *config, enum service service);
