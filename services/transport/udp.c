#include "services/transport/udp.h"

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

struct lane {
    struct mmsghdr messages[UDP_BATCH];
    struct iovec parts[UDP_BATCH];
    struct sockaddr_storage names[UDP_BATCH];
};

struct udp {
    uv_poll_t poll; /* waiting */
    uv_idle_t idle; /* busy */
    unsigned handles_open;
    int fd;
    bool v4;
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

static void udp_commit(void *ctx, const struct address *to, size_t size)
{
    struct udp *self = ctx;
    unsigned i = self->out_count++;

    assert(i < UDP_BATCH && size <= KRPC_SEND_MAX);
    self->out.messages[i].msg_hdr.msg_namelen = address_to_sockaddr(to, &self->out.names[i]);
    self->out.parts[i].iov_len = size;
}

static void deliver(struct udp *self, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct mmsghdr *message = &self->in.messages[i];
        struct address from;

        if (address_from_sockaddr((const struct sockaddr *)&self->in.names[i], &from) == LB_OK)
            self->receiver->receive(self->receiver->ctx, &from,
                                    bytes_of(self->in_data[i], message->msg_len));
        message->msg_hdr.msg_namelen = sizeof(self->in.names[i]);
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
        self->in.messages[i].msg_hdr.msg_namelen = sizeof(self->in.names[i]);
}

static bool udp_shape(void *ctx, const struct overload_rule *rules, unsigned count)
{
    const struct udp *self = ctx;

    return gate_set(self->fd, self->v4, rules, count) == LB_OK;
}

static const struct datagram_ops udp_ops = {
    .reserve = udp_reserve,
    .commit = udp_commit,
    .flush = udp_flush,
    .dropped = udp_dropped,
    .discard = udp_discard,
    .shape = udp_shape,
    .close = udp_close,
};

lb_err udp_open(struct uv_loop_s *loop, int fd, const struct datagram_receiver *receiver,
                struct datagram_port *ret_port)
{
    struct sockaddr_storage name;
    socklen_t name_size = sizeof(name), type_size = sizeof(int);
    struct address bound;
    struct udp *self;
    int type;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) != 0 || type != SOCK_DGRAM ||
        getsockname(fd, (struct sockaddr *)&name, &name_size) != 0 ||
        address_from_sockaddr((const struct sockaddr *)&name, &bound) != LB_OK || bound.port == 0)
        return LB_IO;
    self = xcalloc(1, sizeof(*self));
    self->fd = fd;
    self->v4 = address_is_v4(&bound);
    gate_open(fd);
    self->receiver = receiver;
    self->counts = &ret_port->counts;
    lane_init(&self->in, self->in_data[0], RECEIVE_SIZE);
    lane_init(&self->out, self->out_data[0], KRPC_SEND_MAX);
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
