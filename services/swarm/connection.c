#include "services/swarm/connection.h"

#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/swarm/disk.h"
#include "services/swarm/outbox.h"
#include "services/swarm/stream.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define READ_SIZE         (256u * 1024) /* bytes of one read: fewer wake-ups, still in the L2 cache */
#define READS_PER_TURN    4             /* of one connection, so that others are not kept waiting */
#define MESSAGES_PER_TURN 1024          /* of one connection: beyond, what is left waits a turn */
#define PARTS_MAX         128           /* of one write */
#define ROUNDS_PER_TURN   4             /* of settling and writing */
#define WRITE_PER_ROUND   (1024u * 1024)
#define ACCEPTS_PER_TURN  64
#define CARE_MS           1000u

/*
 * Bytes left to the kernel that it has not sent yet: what is there cannot be overtaken or
 * cancelled. 250 kB in each of a dozen sockets, as the kernel takes by itself, is a whole second of
 * a link of 25 Mbit/s. So as much as goes out while we may be busy elsewhere, and no more.
 */
#define UNSENT_START     (128u * 1024)
#define UNSENT_MIN       (32u * 1024)
#define UNSENT_MAX       (4u * 1024 * 1024)
#define UNSENT_MS        60u
#define UNSENT_WINDOW_MS 250u /* the rate is taken over so long */
#define UNSENT_GROW_MS   10u  /* and may grow after this */

enum stage { STAGE_CONNECTING, STAGE_HANDSHAKE, STAGE_OPEN, STAGE_CLOSED };

struct connection {
    struct connections *owner;
    struct connection *next, *previous;
    struct connection *next_dirty;
    bool dirty;
    bool blocked; /* the kernel takes no more: wait until it is writable */
    bool outgoing;
    enum stage stage;
    uint64_t since_ms;
    struct stream stream;
    uv_poll_t poll;
    int polled;
    struct address address;
    struct wire_reader reader;
    void *user;
    uint32_t number;

    struct outbox outbox;
    uint32_t unsent_max; /* UNSENT_ */
    uint64_t written_ms; /* since when written_bytes are counted */
    uint64_t written_bytes;
};

struct listener {
    struct connections *owner;
    uv_poll_t poll;
    int fd;
};

struct connections {
    struct uv_loop_s *loop;
    struct connections_events events;
    struct connection *first, *last; /* oldest first */
    uint32_t count;
    uint32_t count_max;
    uint32_t half_open_in;
    uint32_t half_open_out;
    bool paused;
    bool freed;
    struct listener *listeners[CONNECTIONS_LISTEN_MAX];
    struct address listen_addresses[CONNECTIONS_LISTEN_MAX];
    unsigned listeners_count;
    struct connection *dirty_first, *dirty_last;
    uint32_t dirty_count;
    uv_prepare_t prepare;
    uv_idle_t idle; /* running: the loop must not sleep */
    uv_timer_t care;
    uv_timer_t accept_again;
    unsigned handles;
    uint8_t buffer[READ_SIZE];
};

static void on_poll(uv_poll_t *poll, int status, int events);

/* ---- which events the loop watches ---- */

static void watch_events(struct connection *self)
{
    int wanted = 0;
    if (self->stage == STAGE_CONNECTING)
        wanted = UV_WRITABLE;
    else if (self->stage != STAGE_CLOSED)
        wanted = (self->owner->paused ? 0 : UV_READABLE) | (self->blocked ? UV_WRITABLE : 0);
    if (wanted == self->polled)
        return;
    self->polled = wanted;
    if (wanted == 0)
        uv_poll_stop(&self->poll);
    else
        uv_poll_start(&self->poll, wanted, on_poll);
}

/* ---- the list of all ---- */

static void set_stage(struct connection *self, enum stage stage)
{
    struct connections *owner = self->owner;
    uint32_t *half_open = self->outgoing ? &owner->half_open_out : &owner->half_open_in;
    const bool was = self->stage == STAGE_CONNECTING || self->stage == STAGE_HANDSHAKE;
    const bool is = stage == STAGE_CONNECTING || stage == STAGE_HANDSHAKE;
    *half_open -= was && !is;
    self->stage = stage;
}

static void link_connection(struct connections *owner, struct connection *self)
{
    self->previous = owner->last;
    if (owner->last != NULL)
        owner->last->next = self;
    else
        owner->first = self;
    owner->last = self;
    owner->count++;
}

static void unlink_connection(struct connection *self)
{
    struct connections *owner = self->owner;
    if (self->previous != NULL)
        self->previous->next = self->next;
    else
        owner->first = self->next;
    if (self->next != NULL)
        self->next->previous = self->previous;
    else
        owner->last = self->previous;
    self->next = self->previous = NULL;
    owner->count--;
}

static void mark_dirty(struct connection *self)
{
    struct connections *owner = self->owner;
    if (self->dirty || self->stage == STAGE_CLOSED)
        return;
    self->dirty = true;
    self->next_dirty = NULL;
    if (owner->dirty_last != NULL)
        owner->dirty_last->next_dirty = self;
    else
        owner->dirty_first = self;
    owner->dirty_last = self;
    owner->dirty_count++;
}

static void unmark_dirty(struct connection *self)
{
    struct connections *owner = self->owner;
    if (!self->dirty)
        return;
    struct connection *before = NULL;
    for (struct connection *at = owner->dirty_first; at != self; at = at->next_dirty)
        before = at;
    if (before != NULL)
        before->next_dirty = self->next_dirty;
    else
        owner->dirty_first = self->next_dirty;
    if (owner->dirty_last == self)
        owner->dirty_last = before;
    owner->dirty_count--;
    self->dirty = false;
}

/* ---- what is to be sent ---- */

static void on_block_done(void *block, bool sent)
{
    struct connection_block *self = block;
    self->done(self, sent);
}

void connection_send_hello(struct connection *self, const struct wire_handshake *hello)
{
    struct writer writer;
    if (self->stage == STAGE_CLOSED)
        return;
    writer_init(&writer, outbox_reserve(&self->outbox, WIRE_HANDSHAKE_SIZE, OUTBOX_IN_TURN),
                WIRE_HANDSHAKE_SIZE);
    wire_put_handshake(&writer, hello);
    assert(!writer.overflow && writer.size == WIRE_HANDSHAKE_SIZE);
    if (self->stage != STAGE_CONNECTING)
        mark_dirty(self);
}

/*
 * What the other side can use at once overtakes blocks. Whether we choke it does not: a peer
 * without BEP 6 takes a choke for the end of what it asked for, and would not know the blocks that
 * follow.
 */
static enum outbox_place place_of(const struct wire_message *message)
{
    switch (message->kind) {
    case WIRE_PIECE:
        return OUTBOX_HEAD;
    case WIRE_INTERESTED:
    case WIRE_NOT_INTERESTED:
    case WIRE_HAVE:
    case WIRE_REQUEST:
    case WIRE_CANCEL:
    case WIRE_EXTENDED:
        return OUTBOX_SOON;
    default:
        return OUTBOX_IN_TURN;
    }
}

void connection_send(struct connection *self, const struct wire_message *message)
{
    struct writer writer;
    if (self->stage == STAGE_CLOSED)
        return;
    const size_t size = wire_size(message);
    writer_init(&writer, outbox_reserve(&self->outbox, size, place_of(message)), size);
    wire_put(&writer, message);
    assert(!writer.overflow && writer.size == size);
    mark_dirty(self);
}

void connection_send_block(struct connection *self, struct connection_block *block)
{
    if (self->stage == STAGE_CLOSED) {
        block->done(block, false);
        return;
    }
    connection_send(self, &block->message);
    const struct disk_data *data = block->data;
    for (uint32_t i = 0; i < data->parts_count; i++)
        outbox_point(&self->outbox, data->parts[i].data, data->parts[i].size,
                     i + 1 == data->parts_count ? block : NULL);
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *handle)
{
    struct connection *self = handle->data;
    self->stream.kind->close(&self->stream);
    wire_reader_done(&self->reader);
    free(self);
}

static void close_connection(struct connection *self)
{
    if (self->stage == STAGE_CLOSED)
        return;
    unmark_dirty(self);
    unlink_connection(self);
    set_stage(self, STAGE_CLOSED);
    outbox_clear(&self->outbox);
    /* The peer hears of it now, the descriptor is free when the loop has let go of it. */
    shutdown(self->stream.fd, SHUT_RDWR);
    uv_close((uv_handle_t *)&self->poll, on_closed);
}

static void fail(struct connection *self, const char *reason)
{
    if (self->stage == STAGE_CLOSED)
        return;
    struct connections *owner = self->owner;
    close_connection(self);
    owner->events.closed(owner->events.ctx, self, reason);
    connections_wake(owner);
}

/* ---- writing ---- */

static void limit_unsent(struct connection *self, uint32_t size)
{
    const int limit = (int)size;
    self->unsent_max = size;
    (void)setsockopt(self->stream.fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &limit, sizeof limit);
}

static void fit_unsent(struct connection *self, size_t written)
{
    const uint64_t now_ms = uv_now(self->owner->loop);
    const uint64_t elapsed = now_ms - self->written_ms;
    self->written_bytes += written;
    if (elapsed < UNSENT_GROW_MS)
        return;
    uint64_t fits = self->written_bytes * UNSENT_MS / elapsed;
    if (fits < UNSENT_MIN)
        fits = UNSENT_MIN;
    if (fits > UNSENT_MAX)
        fits = UNSENT_MAX;
    /* A window much longer than it should be was a rest: its rate says nothing of the link. */
    const bool rested = elapsed > 4 * UNSENT_WINDOW_MS;
    const bool over = elapsed >= UNSENT_WINDOW_MS;
    if (!rested && (fits > self->unsent_max || (over && fits < self->unsent_max / 2)))
        limit_unsent(self, (uint32_t)fits);
    if (!over)
        return;
    self->written_ms = now_ms;
    self->written_bytes = 0;
}

/* Write what can be written, at most WRITE_PER_ROUND. False: it is broken. */
static bool write_some(struct connection *self)
{
    struct iovec parts[PARTS_MAX];
    size_t size = 0;
    const int count = outbox_gather(&self->outbox, parts, PARTS_MAX, WRITE_PER_ROUND, &size);
    if (count == 0)
        return true;
    const ssize_t written = self->stream.kind->write(&self->stream, parts, count);
    if (written < 0) {
        self->blocked = errno == EAGAIN || errno == EWOULDBLOCK;
        return self->blocked || errno == EINTR;
    }
    self->blocked = (size_t)written < size;
    outbox_consume(&self->outbox, (size_t)written);
    fit_unsent(self, (size_t)written);
    return true;
}

static void flush(struct connection *self)
{
    if (self->blocked) {
        if (outbox_small_bytes(&self->outbox) > CONNECTION_QUEUE_MAX)
            fail(self, "it does not take what we say");
        return;
    }
    if (!write_some(self)) {
        fail(self, "broken");
        return;
    }
    watch_events(self);
    if (!self->blocked && !outbox_is_empty(&self->outbox))
        mark_dirty(self);
}

void connection_close(struct connection **self)
{
    struct connection *closing = *self;
    *self = NULL;
    if (closing == NULL)
        return;
    if (closing->stage == STAGE_OPEN && !closing->blocked)
        (void)write_some(closing);
    close_connection(closing);
}

void connections_close_of(struct connections *self, const void *user)
{
    struct connection *next = NULL;
    for (struct connection *at = self->first; at != NULL; at = next) {
        next = at->next;
        if (at->user == user)
            close_connection(at);
    }
}

/* ---- reading ---- */

/* Returns how many messages there were. */
static uint32_t handle_bytes(struct connection *self, struct bytes data)
{
    uint32_t count = 0;
    struct connections *owner = self->owner;
    struct wire_message message;
    struct wire_handshake hello;
    while (self->stage != STAGE_CLOSED) {
        switch (wire_reader_next(&self->reader, &data, &message, &hello)) {
        case WIRE_MORE:
            return count;
        case WIRE_BAD:
            fail(self, "it does not speak the protocol");
            return count;
        case WIRE_HANDSHAKE:
            set_stage(self, STAGE_OPEN);
            if (!owner->events.hello(owner->events.ctx, self, &hello))
                close_connection(self);
            break;
        case WIRE_MESSAGE:
            owner->events.message(owner->events.ctx, self, &message);
            count++;
            break;
        }
    }
    return count;
}

/* One read; true: there may be more, and it may be read in this turn. */
static bool read_once(struct connection *self)
{
    struct connections *owner = self->owner;
    uint8_t *room = NULL;
    const size_t room_size = wire_reader_room(&self->reader, &room);
    struct iovec parts[2] = {
        { .iov_base = room, .iov_len = room_size },
        { .iov_base = owner->buffer, .iov_len = sizeof owner->buffer },
    };
    const int skip = room_size == 0;
    const ssize_t got = self->stream.kind->read(&self->stream, parts + skip, 2 - skip);
    if (got == 0) {
        fail(self, "closed by the other side");
        return false;
    }
    if (got < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            fail(self, strerror(errno));
        return false;
    }
    const size_t size = (size_t)got;
    const size_t in_room = size < room_size ? size : room_size;
    wire_reader_filled(&self->reader, in_room);
    const uint32_t messages = handle_bytes(self, bytes_of(owner->buffer, size - in_room));
    return messages < MESSAGES_PER_TURN && self->stage != STAGE_CLOSED &&
           size == room_size + sizeof owner->buffer;
}

static void on_connected(struct connection *self)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(self->stream.fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
        fail(self, error != 0 ? strerror(error) : "could not connect");
        return;
    }
    set_stage(self, STAGE_HANDSHAKE);
    mark_dirty(self);
    watch_events(self);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct connection *self = poll->data;
    if (self->stage == STAGE_CLOSED)
        return;
    if (self->stage == STAGE_CONNECTING) {
        on_connected(self);
        return;
    }
    if (status < 0) { /* of an error on the socket libuv says no more than that there is one */
        int error = 0;
        socklen_t size = sizeof error;
        (void)getsockopt(self->stream.fd, SOL_SOCKET, SO_ERROR, &error, &size);
        fail(self, error != 0 ? strerror(error) : uv_strerror(status));
        return;
    }
    if (events & UV_WRITABLE) {
        self->blocked = false;
        mark_dirty(self);
        watch_events(self);
    }
    if (events & UV_READABLE)
        for (int i = 0; i < READS_PER_TURN && !self->owner->paused && read_once(self); i++) {
        }
}

/* ---- making connections ---- */

static struct connection *new_connection(struct connections *owner, int fd,
                                         const struct address *address, bool outgoing)
{
    struct connection *self = xcalloc(1, sizeof *self);
    self->owner = owner;
    self->address = *address;
    self->outgoing = outgoing;
    self->stage = outgoing ? STAGE_CONNECTING : STAGE_HANDSHAKE;
    self->since_ms = uv_now(owner->loop);
    stream_plain(&self->stream, fd);
    wire_reader_init(&self->reader);
    outbox_init(&self->outbox, on_block_done);
    const int failed = uv_poll_init(owner->loop, &self->poll, fd);
    if (failed != 0) {
        self->stream.kind->close(&self->stream);
        free(self);
        return NULL;
    }
    self->poll.data = self;
    /* We gather what belongs together ourselves; a request must not wait for an ACK. */
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    limit_unsent(self, UNSENT_START);
    link_connection(owner, self);
    *(outgoing ? &owner->half_open_out : &owner->half_open_in) += 1;
    if (!uv_is_active((uv_handle_t *)&owner->care))
        uv_timer_again(&owner->care);
    watch_events(self);
    return self;
}

static bool is_any(const struct address *address)
{
    static const uint8_t any[16];
    return address_is_v4(address) ? memcmp(address->ip + 12, any, 4) == 0
                                  : memcmp(address->ip, any, 16) == 0;
}

/* Who listens at one address of the machine calls from it, too. */
static void bind_source(const struct connections *self, int fd, const struct address *to)
{
    for (unsigned i = 0; i < self->listeners_count; i++) {
        struct address from = self->listen_addresses[i];
        if (address_is_v4(&from) != address_is_v4(to) || is_any(&from))
            continue;
        struct sockaddr_storage storage;
        from.port = 0;
        const unsigned size = address_to_sockaddr(&from, &storage);
        const int on = 1;
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        (void)bind(fd, (struct sockaddr *)&storage, size);
        return;
    }
}

lb_err connection_open(struct connections *self, const struct address *address,
                       const struct wire_handshake *hello, void *user,
                       struct connection **ret_connection)
{
    if (self->half_open_out >= CONNECTIONS_HALF_OPEN_MAX || self->count >= self->count_max)
        return LB_FULL;
    struct sockaddr_storage storage;
    const unsigned size = address_to_sockaddr(address, &storage);
    const int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE ? LB_FULL : LB_IO;
    bind_source(self, fd, address);
    if (connect(fd, (struct sockaddr *)&storage, size) != 0 && errno != EINPROGRESS) {
        close(fd);
        return LB_IO;
    }
    struct connection *connection = new_connection(self, fd, address, true);
    if (connection == NULL)
        return LB_IO;
    connection->user = user;
    connection_send_hello(connection, hello);
    *ret_connection = connection;
    return LB_OK;
}

static bool too_many_from(const struct connections *self, const struct address *address)
{
    if (address_is_loopback(address))
        return false;
    uint32_t count = 0;
    for (const struct connection *at = self->first; at != NULL; at = at->next)
        count += address_same_ip(&at->address, address);
    return count >= CONNECTIONS_ADDRESS_MAX;
}

/* Whoever called and has said nothing for longest makes room. */
static void drop_oldest_half_open(struct connections *self)
{
    for (struct connection *at = self->first; at != NULL; at = at->next) {
        if (at->outgoing || at->stage != STAGE_HANDSHAKE)
            continue;
        close_connection(at);
        return;
    }
}

static void accept_one(struct connections *self, int fd, const struct sockaddr *from)
{
    struct address address;
    if (address_from_sockaddr(from, &address) != LB_OK || too_many_from(self, &address)) {
        close(fd);
        return;
    }
    if (self->half_open_in >= CONNECTIONS_HALF_OPEN_MAX || self->count >= self->count_max)
        drop_oldest_half_open(self);
    if (self->count >= self->count_max) {
        close(fd);
        return;
    }
    (void)new_connection(self, fd, &address, false);
}

static void on_incoming(uv_poll_t *poll, int status, int events);

static void listen_all(struct connections *self, bool on)
{
    for (unsigned i = 0; i < self->listeners_count; i++) {
        if (self->listeners[i] == NULL)
            continue;
        if (on)
            uv_poll_start(&self->listeners[i]->poll, UV_READABLE, on_incoming);
        else
            uv_poll_stop(&self->listeners[i]->poll);
    }
}

static void on_accept_again(uv_timer_t *timer)
{
    listen_all(timer->data, true);
}

static void on_incoming(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;
    struct connections *self = listener->owner;
    (void)events;
    if (status < 0)
        return;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage from;
        socklen_t size = sizeof from;
        const int fd =
            accept4(listener->fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accept_one(self, fd, (const struct sockaddr *)&from);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_warn("accepting pauses: %s", strerror(errno));
            listen_all(self, false);
            uv_timer_start(&self->accept_again, on_accept_again, CONNECTIONS_PAUSE_MS, 0);
        }
        return;
    }
}

lb_err connections_listen(struct connections *self, int fd, struct address *ret_address)
{
    struct sockaddr_storage storage;
    socklen_t size = sizeof storage;
    int listening = 0;
    socklen_t listening_size = sizeof listening;
    if (self->listeners_count == CONNECTIONS_LISTEN_MAX)
        return LB_FULL;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_size) != 0 || !listening ||
        getsockname(fd, (struct sockaddr *)&storage, &size) != 0 ||
        address_from_sockaddr((struct sockaddr *)&storage, ret_address) != LB_OK)
        return LB_INVALID;
    struct listener *listener = xcalloc(1, sizeof *listener);
    listener->owner = self;
    listener->fd = fd;
    if (uv_poll_init(self->loop, &listener->poll, fd) != 0) {
        free(listener);
        return LB_IO;
    }
    listener->poll.data = listener;
    self->listen_addresses[self->listeners_count] = *ret_address;
    self->listeners[self->listeners_count++] = listener;
    uv_poll_start(&listener->poll, UV_READABLE, on_incoming);
    return LB_OK;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    close(listener->fd);
    free(listener);
}

void connections_stop_listening(struct connections *self)
{
    uv_timer_stop(&self->accept_again);
    for (unsigned i = 0; i < self->listeners_count; i++) {
        if (self->listeners[i] == NULL)
            continue;
        uv_close((uv_handle_t *)&self->listeners[i]->poll, on_listener_closed);
        self->listeners[i] = NULL;
    }
}

/* ---- the turn ---- */

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* it is there so that the loop does not sleep */
}

void connections_wake(struct connections *self)
{
    if (!uv_is_active((uv_handle_t *)&self->idle))
        uv_idle_start(&self->idle, on_idle);
}

static void flush_dirty(struct connections *self)
{
    /* Those marked meanwhile come in the next round. */
    for (uint32_t left = self->dirty_count; left > 0 && self->dirty_first != NULL; left--) {
        struct connection *at = self->dirty_first;
        unmark_dirty(at);
        if (at->stage == STAGE_HANDSHAKE || at->stage == STAGE_OPEN)
            flush(at);
    }
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct connections *self = prepare->data;
    uv_idle_stop(&self->idle);
    self->events.settle(self->events.ctx);
    for (int i = 0; i < ROUNDS_PER_TURN && self->dirty_first != NULL; i++) {
        flush_dirty(self);
        self->events.settle(self->events.ctx);
    }
    if (self->dirty_first != NULL)
        connections_wake(self);
}

static void on_care(uv_timer_t *timer)
{
    struct connections *self = timer->data;
    const uint64_t now_ms = uv_now(self->loop);
    struct connection *next = NULL;
    for (struct connection *at = self->first; at != NULL; at = next) {
        next = at->next;
        if (at->stage == STAGE_OPEN || now_ms - at->since_ms < CONNECTIONS_HANDSHAKE_MS)
            continue;
        fail(at, "no handshake in time");
        /* What was told may have closed others: begin again. */
        next = self->first;
    }
    if (self->half_open_in + self->half_open_out == 0)
        uv_timer_stop(timer);
}

/* ---- life ---- */

/* As many as there may be descriptors, but for a share left for files and the rest. */
static uint32_t most_connections(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 256;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    const uint64_t spare = CONNECTIONS_SPARE_FILES + DISK_FILES_MAX;
    const uint64_t files = limit.rlim_cur < 65536 ? limit.rlim_cur : 65536;
    return (uint32_t)(files > 2 * spare ? files - spare : files / 2);
}

struct connections *connections_new(struct uv_loop_s *loop, const struct connections_events *events)
{
    struct connections *self = xcalloc(1, sizeof *self);
    self->loop = loop;
    self->events = *events;
    self->count_max = most_connections();
    uv_prepare_init(loop, &self->prepare);
    uv_idle_init(loop, &self->idle);
    uv_timer_init(loop, &self->care);
    uv_timer_init(loop, &self->accept_again);
    self->handles = 4;
    self->prepare.data = self->idle.data = self->care.data = self->accept_again.data = self;
    uv_prepare_start(&self->prepare, on_prepare);
    uv_timer_start(&self->care, on_care, CARE_MS, CARE_MS);
    return self;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct connections *self = handle->data;
    if (--self->handles == 0)
        free(self);
}

void connections_free(struct connections **self)
{
    struct connections *freed = *self;
    *self = NULL;
    if (freed == NULL)
        return;
    connections_stop_listening(freed);
    while (freed->first != NULL)
        close_connection(freed->first);
    uv_close((uv_handle_t *)&freed->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&freed->idle, on_handle_closed);
    uv_close((uv_handle_t *)&freed->care, on_handle_closed);
    uv_close((uv_handle_t *)&freed->accept_again, on_handle_closed);
}

void connections_pause(struct connections *self, bool paused)
{
    if (self->paused == paused)
        return;
    self->paused = paused;
    for (struct connection *at = self->first; at != NULL; at = at->next)
        watch_events(at);
}

uint32_t connections_count(const struct connections *self)
{
    return self->count;
}

const struct address *connection_address(const struct connection *self)
{
    return &self->address;
}

bool connection_is_outgoing(const struct connection *self)
{
    return self->outgoing;
}

void connection_set_user(struct connection *self, void *user, uint32_t number)
{
    self->user = user;
    self->number = number;
}

void *connection_user(const struct connection *self)
{
    return self->user;
}

uint32_t connection_number(const struct connection *self)
{
    return self->number;
}
