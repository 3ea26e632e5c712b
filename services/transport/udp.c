#include "services/transport/udp.h"

#include "libcommon/listen.h"
#include "libcommon/memory.h"
#include "services/transport/gate.h"
#include "services/transport/krpc.h"

#include <assert.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

/* One byte more than we look at: a longer datagram shows as too long. */
#define RECEIVE_SIZE (KRPC_RECEIVE_MAX + 1)

/* IP_PKTINFO or IPV6_PKTINFO beside a datagram. */
union control {
    size_t aligned; /* as struct cmsghdr begins */
    uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

struct lane {
    struct mmsghdr messages[UDP_BATCH];
    struct iovec parts[UDP_BATCH];
    struct sockaddr_storage names[UDP_BATCH];
    union control controls[UDP_BATCH];
};

struct udp {
    uv_poll_t poll; /* waiting */
    uv_idle_t idle; /* busy */
    unsigned handles_open;
    int fd;
    bool is_v4;
    bool is_any; /* bound to all addresses there are */
    const struct datagram_receiver *receiver;
    struct datagram_counts *counts;
    struct lane in, out;
    unsigned out_count;
    uint8_t in_data[UDP_BATCH][RECEIVE_SIZE];
    uint8_t out_data[UDP_BATCH][KRPC_SEND_MAX];
};

static void lane_init(struct lane *self, uint8_t *data, size_t stride)
{
    for (unsigned i = 0; i < UDP_BATCH; i++) {
        self->parts[i] = (struct iovec){ .iov_base = data + i * stride, .iov_len = stride };
        self->messages[i].msg_hdr = (struct msghdr){ .msg_name = &self->names[i],
                                                     .msg_namelen = sizeof(self->names[i]),
                                                     .msg_iov = &self->parts[i],
                                                     .msg_iovlen = 1 };
    }
}

/*
 * What the kernel refuses is dropped: a full socket buffer means that more is being sent than the
 * link takes, and KRPC asks again. An error of one destination concerns that datagram only.
 */
static void udp_flush(void *ctx)
{
    struct udp *self = ctx;
    unsigned done = 0;

    while (done < self->out_count) {
        int sent = sendmmsg(self->fd, self->out.messages + done, self->out_count - done,
                            MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent > 0) {
            self->counts->packets_out += (unsigned)sent;
            for (int i = 0; i < sent; i++)
                self->counts->bytes_out += self->out.parts[done + (unsigned)i].iov_len;
            done += (unsigned)sent;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
            self->counts->send_failed += self->out_count - done;
            break;
        } else if (errno != EINTR) {
            self->counts->send_failed++;
            done++;
        }
    }
    self->out_count = 0;
}

static uint8_t *udp_reserve(void *ctx)
{
    struct udp *self = ctx;

    if (self->out_count == UDP_BATCH)
        udp_flush(self);
    return self->out_data[self->out_count];
}

static void add_control(struct msghdr *header, union control *control, int level, int type,
                        const void *info, size_t size)
{
    struct cmsghdr *cmsg;

    header->msg_control = control;
    header->msg_controllen = CMSG_SPACE(size);
    cmsg = CMSG_FIRSTHDR(header);
    *cmsg = (struct cmsghdr){ .cmsg_level = level, .cmsg_type = type, .cmsg_len = CMSG_LEN(size) };
    memcpy(CMSG_DATA(cmsg), info, size);
}

/* From where it leaves: ip(7), ipv6(7). */
static void set_local(struct udp *self, unsigned i, const struct datagram_local *local)
{
    struct msghdr *header = &self->out.messages[i].msg_hdr;

    if (!local || !local->is_known) {
        header->msg_control = NULL;
        header->msg_controllen = 0;
    } else if (self->is_v4) {
        struct in_pktinfo info = { .ipi_ifindex = 0 };

        memcpy(&info.ipi_spec_dst, local->ip + 12, 4);
        add_control(header, &self->out.controls[i], IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    } else {
        struct in6_pktinfo info = { .ipi6_ifindex = 0 };

        memcpy(&info.ipi6_addr, local->ip, 16);
        add_control(header, &self->out.controls[i], IPPROTO_IPV6, IPV6_PKTINFO, &info,
                    sizeof(info));
    }
}

static void udp_commit(void *ctx, const struct address *to, const struct datagram_local *local,
                       size_t size)
{
    struct udp *self = ctx;
    unsigned i = self->out_count++;

    assert(i < UDP_BATCH && size <= KRPC_SEND_MAX);
    self->out.messages[i].msg_hdr.msg_namelen = address_to_sockaddr(to, &self->out.names[i]);
    self->out.parts[i].iov_len = size;
    set_local(self, i, local);
}

/* Where a datagram came to. */
static struct datagram_local local_of(struct msghdr *header)
{
    struct datagram_local local = { .is_known = false };
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(header);

    if (!cmsg || (header->msg_flags & MSG_CTRUNC)) {
        return local;
    } else if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo info;

        memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
        local.is_known = true;
        memcpy(local.ip + 12, &info.ipi_spec_dst, 4);
    } else if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO) {
        struct in6_pktinfo info;

        memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
        local.is_known = !IN6_IS_ADDR_MULTICAST(&info.ipi6_addr);
        memcpy(local.ip, &info.ipi6_addr, 16);
    }
    return local;
}

/* What recvmmsg() has set to what it found. */
static void reset(struct udp *self, unsigned i)
{
    struct msghdr *header = &self->in.messages[i].msg_hdr;

    header->msg_namelen = sizeof(self->in.names[i]);
    header->msg_controllen = self->is_any ? sizeof(self->in.controls[i]) : 0;
}

static void deliver(struct udp *self, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct mmsghdr *message = &self->in.messages[i];
        struct address from;

        struct datagram_local local = local_of(&message->msg_hdr);

        if (address_from_sockaddr((const struct sockaddr *)&self->in.names[i], &from) == LB_OK)
            self->receiver->receive(self->receiver->ctx, &from, &local,
                                    bytes_of(self->in_data[i], message->msg_len));
        reset(self, i);
    }
    self->receiver->batch_done(self->receiver->ctx);
}

/* What is there, up to a bound; returns how many. */
static unsigned receive(struct udp *self)
{
    unsigned total = 0;

    for (unsigned i = 0; i < UDP_BATCHES_PER_TURN; i++) {
        int count = recvmmsg(self->fd, self->in.messages, UDP_BATCH, MSG_DONTWAIT, NULL);

        self->counts->reads++;
        self->counts->short_reads += count < (int)UDP_BATCH;
        if (count <= 0)
            break;
        self->counts->packets_in += (unsigned)count;
        deliver(self, (unsigned)count);
        udp_flush(self);
        total += (unsigned)count;
        if ((unsigned)count < UDP_BATCH)
            break;
    }
    return total;
}

static void on_idle(uv_idle_t *handle);

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct udp *self = handle->data;

    (void)status; /* an error is found by recvmmsg */
    (void)events;
    if (receive(self) < 2 * UDP_BATCH || uv_is_closing((uv_handle_t *)handle))
        return;
    uv_poll_stop(&self->poll);
    uv_idle_start(&self->idle, on_idle);
    self->counts->busy = true;
}

static void on_idle(uv_idle_t *handle)
{
    struct udp *self = handle->data;

    if (receive(self) >= UDP_BUSY_MIN || uv_is_closing((uv_handle_t *)handle))
        return;
    uv_idle_stop(&self->idle);
    self->counts->busy = false;
    uv_poll_start(&self->poll, UV_READABLE, on_readable);
}

static void on_closed(uv_handle_t *handle)
{
    struct udp *self = handle->data;

    if (--self->handles_open > 0)
        return;
    close(self->fd);
    free(self);
}

static void udp_close(void *ctx)
{
    struct udp *self = ctx;

    udp_flush(self);
    uv_close((uv_handle_t *)&self->poll, on_closed);
    uv_close((uv_handle_t *)&self->idle, on_closed);
}

static uint32_t udp_dropped(void *ctx)
{
    const struct udp *self = ctx;
    uint32_t memory[SK_MEMINFO_VARS] = { 0 };
    socklen_t size = sizeof(memory);

    (void)getsockopt(self->fd, SOL_SOCKET, SO_MEMINFO, memory, &size);
    return memory[SK_MEMINFO_DROPS];
}

static void udp_discard(void *ctx)
{
    struct udp *self = ctx;

    for (unsigned i = 0; i < UDP_DISCARDS_MAX; i++) {
        if (recvmmsg(self->fd, self->in.messages, UDP_BATCH, MSG_DONTWAIT, NULL) < (int)UDP_BATCH)
            break;
    }
    for (unsigned i = 0; i < UDP_BATCH; i++)
        reset(self, i);
}

static bool udp_shape(void *ctx, const struct overload_rule *rules, unsigned count)
{
    const struct udp *self = ctx;

    return gate_set(self->fd, self->is_v4, rules, count) == LB_OK;
}

static bool udp_steer(void *ctx, unsigned workers)
{
    const struct udp *self = ctx;

    return listen_udp_steer(self->fd, workers) == LB_OK;
}

static const struct datagram_ops udp_ops = {
    .reserve = udp_reserve,
    .commit = udp_commit,
    .flush = udp_flush,
    .dropped = udp_dropped,
    .discard = udp_discard,
    .shape = udp_shape,
    .steer = udp_steer,
    .close = udp_close,
};

/* Be told where each datagram came to, if it can have come to more than one place. */
static void learn_locals(struct udp *self, const struct address *bound)
{
    static const uint8_t any[16];
    const int on = 1;
    size_t size = address_is_v4(bound) ? 4 : 16;

    self->is_v4 = address_is_v4(bound);
    self->is_any = memcmp(bound->ip + 16 - size, any, size) == 0;
    if (!self->is_any)
        return;
    if (setsockopt(self->fd, self->is_v4 ? IPPROTO_IP : IPPROTO_IPV6,
                   self->is_v4 ? IP_PKTINFO : IPV6_RECVPKTINFO, &on, sizeof(on)) != 0)
        self->is_any = false;
    for (unsigned i = 0; self->is_any && i < UDP_BATCH; i++) {
        self->in.messages[i].msg_hdr.msg_control = &self->in.controls[i];
        self->in.messages[i].msg_hdr.msg_controllen = sizeof(self->in.controls[i]);
    }
}

lb_err udp_open(struct uv_loop_s *loop, int fd, const struct datagram_receiver *receiver,
                struct datagram_port *ret_port)
{
    socklen_t type_size = sizeof(int);
    struct address bound;
    struct udp *self;
    int type;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) != 0 || type != SOCK_DGRAM ||
        listen_bound(fd, &bound) != LB_OK || bound.port == 0)
        return LB_IO;
    self = xcalloc(1, sizeof(*self));
    self->fd = fd;
    gate_open(fd);
    self->receiver = receiver;
    self->counts = &ret_port->counts;
    lane_init(&self->in, self->in_data[0], RECEIVE_SIZE);
    lane_init(&self->out, self->out_data[0], KRPC_SEND_MAX);
    learn_locals(self, &bound);
    if (uv_poll_init(loop, &self->poll, fd) != 0) {
        free(self);
        return LB_IO;
    }
    uv_idle_init(loop, &self->idle);
    self->handles_open = 2;
    self->poll.data = self->idle.data = self;
    uv_poll_start(&self->poll, UV_READABLE, on_readable);
    *ret_port = (struct datagram_port){ .ops = &udp_ops, .self = self, .bound = bound };
    return LB_OK;
}
