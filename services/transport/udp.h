/*
 * Plain UDP as a datagram port: recvmmsg and sendmmsg in batches, driven by libuv.
 *
 * Two modes. Waiting: the socket is in the loop's epoll set. Busy, while batches come full: it is
 * not, and is read at every turn of the loop. A socket that is watched pays for it with every
 * datagram that it sends, since the kernel tells epoll each time that there is room again: 0.2
 * of 3.3 us.
 */
#pragma once

#include "libcommon/error.h"
#include "services/transport/datagram.h"

struct uv_loop_s;

#define UDP_BATCH            64u  /* datagrams of one system call */
#define UDP_BATCHES_PER_TURN 4u   /* then the rest of the loop has its turn */
#define UDP_DISCARDS_MAX     512u /* batches thrown away at once: more than a queue of 4 MiB holds */
#define UDP_BUSY_MIN         32u  /* datagrams of a turn; with fewer it goes back to waiting */

/*
 * Takes fd, a bound non-blocking UDP socket; *ret_port is the owner's, stays where it is, and is
 * ended with its ops->close. receiver is borrowed for as long. LB_IO when fd is no bound UDP
 * socket; then fd is still the caller's.
 */
LB_MUST_CHECK lb_err udp_open(struct uv_loop_s *loop, int fd,
                              const struct datagram_receiver *receiver,
                              struct datagram_port *ret_port);
