/*
 * Binding sockets: used by lb-supervisor, which keeps them for its children, and by a service that
 * was started by hand. All are close-on-exec and non-blocking.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/error.h"

/* The names under which a manager hands sockets over (LISTEN_FDNAMES). */
#define LISTEN_MAILBOX     "mailbox"     /* every service: RUN/SERVICE-INSTANCE.sock */
#define LISTEN_UDP         "udp"         /* transport: node.listen, one for each, in that order */
#define LISTEN_TCP         "tcp"         /* swarm: likewise */
#define LISTEN_API         "api"         /* gateway: RUN/api.sock */
#define LISTEN_EVENTS      "events"      /* gateway: RUN/events.sock */
#define LISTEN_COORDINATOR "coordinator" /* coordinator: coordinator.listen, TCP, one for each */
#define LISTEN_METRICS     "metrics"     /* gateway: gateway.metrics_listen, TCP */

/*
 * One UDP socket per worker on one address, SO_REUSEPORT, IPv6 ones v6-only, receive buffer raised.
 * The kernel steers by source address (classic BPF on the reuseport group, the same sum as
 * address_worker()). LB_IO (or LB_DENIED) with errno left set when one cannot be bound; then none
 * is. Port 0 takes a free port, the same for all; *ret_bound is the address in the end.
 *
 * The number of workers changes at run time in this order, so that no datagram meets a socket that
 * nobody reads (the group of sockets counts them in the order of their binding, and when one is
 * closed the last takes its place):
 *
 *     more:  listen_udp_join() for each new worker; nothing is steered to it yet. The worker starts
 *            and is READY; then listen_udp_steer() with the new number.
 *     fewer: listen_udp_steer() with the new number; the workers that are too many read what is
 *            left in their sockets and end; then their sockets are closed, the last one first.
 *
 * Whoever binds (lb-supervisor, or systemd) need not steer: each transport worker does, at its
 * start and whenever the number of active workers has changed. It does no harm twice.
 */
LB_MUST_CHECK lb_err listen_udp(const struct address *address, unsigned workers, int *ret_fds,
                                struct address *ret_bound);

/* One more socket for an address that listen_udp() has bound: port included, by the same user. */
LB_MUST_CHECK lb_err listen_udp_join(const struct address *bound, int *ret_fd);

/*
 * Steer to the first `workers` of the group that fd is one of: at once, for all of them, instead of
 * what was said before. LB_IO or LB_DENIED, errno is set, when the kernel refuses; then all stays
 * as it was.
 */
LB_MUST_CHECK lb_err listen_udp_steer(int fd, unsigned workers);

/* A listening TCP socket, SO_REUSEADDR, IPv6 ones v6-only. */
LB_MUST_CHECK lb_err listen_tcp(const struct address *address, int *ret_fd,
                                struct address *ret_bound);

/* The address that a socket has in the end: port 0 has become one. LB_IO, LB_INVALID. */
LB_MUST_CHECK lb_err listen_bound(int fd, struct address *ret_bound);

/*
 * A listening unix socket for ZMQ_USE_FD at path (at most IPC_PATH_MAX bytes), replacing a stale
 * file: the caller holds the run folder's lock. Mode 0660.
 */
LB_MUST_CHECK lb_err listen_ipc(const char *path, int *ret_fd);

/* Take RUN/lock with flock. LB_EXISTS when another node holds it. Held until the process ends. */
LB_MUST_CHECK lb_err listen_lock(const char *run_folder, int *ret_fd);

/*
 * Does a node hold the lock of this folder? LB_NOT_FOUND: none does. *ret_pid: its supervisor, or 0
 * while that only just starts.
 */
LB_MUST_CHECK lb_err listen_lock_owner(const char *run_folder, long *ret_pid);
