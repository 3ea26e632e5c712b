#include "services/swarm/connection_inside.h"

#include "libcommon/memory.h"
#include "services/swarm/disk.h"
#include "services/swarm/secure.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define READS_PER_TURN    4    /* of one connection, so that others are not kept waiting */
#define MESSAGES_PER_TURN 1024 /* of one connection: beyond, what is left waits a turn */
#define PARTS_MAX         128  /* of one write */
#define WRITE_PER_ROUND   (1024u * 1024)

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

static void on_poll(uv_poll_t *poll, int status, int events);

/* ---- which events the loop watches ---- */

void connection_watch(struct connection *self)
{
    int wanted = 0;
    if (self->stage == STAGE_CONNECTING)
        wanted = UV_WRITABLE;
    else if (self->stage == STAGE_SECURING) /* nothing of it goes to the disk */
        wanted = UV_READABLE | (self->blocked ? UV_WRITABLE : 0);
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
    const bool was = self->stage < STAGE_OPEN;
    const bool is = stage < STAGE_OPEN;
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

void connection_unmark(struct connection *self)
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
    if (self->stage > STAGE_SECURING)
        mark_dirty(self);
}

static enum outbox_place place_of(const struct wire_message *message)
{
    if (message->kind == WIRE_PIECE)
        return OUTBOX_HEAD;
    return wire_overtakes(message) ? OUTBOX_SOON : OUTBOX_IN_TURN;
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

static void give_back(struct connections *owner, struct inbox_place *place)
{
    struct disk_block *block = place->block;
    if (block != NULL)
        disk_block_drop(owner->disk, &block);
    *place = (struct inbox_place){ .block = NULL };
}

static void on_closed(uv_handle_t *handle)
{
    struct connection *self = handle->data;
    self->stream.kind->close(&self->stream);
    inbox_done(&self->inbox);
    free(self);
}

void connection_shut(struct connection *self)
{
    if (self->stage == STAGE_CLOSED)
        return;
    connection_unmark(self);
    unlink_connection(self);
    set_stage(self, STAGE_CLOSED);
    outbox_clear(&self->outbox);
    struct inbox_place begun;
    inbox_stop(&self->inbox, &self->owner->room, &begun);
    give_back(self->owner, &begun);
    /* The peer hears of it now, the descriptor is free when the loop has let go of it. */
    shutdown(self->stream.fd, SHUT_RDWR);
    uv_close((uv_handle_t *)&self->poll, on_closed);
}

void connection_fail(struct connection *self, const char *reason)
{
    if (self->stage == STAGE_CLOSED)
        return;
    struct connections *owner = self->owner;
    connection_shut(self);
    owner->events.closed(owner->events.ctx, self, reason);
    connections_wake(owner);
}

void connection_refuse(struct connection *self, unsigned refusal)
{
    if (self->stage == STAGE_CLOSED)
        return;
    if (refusal >= SECURE_REFUSALS_COUNT) {
        connection_fail(self, "closed by the other side");
        return;
    }
    self->owner->events.refused(self->owner->events.ctx, self, refusal);
    connection_fail(self, secure_refusal_sentence(refusal));
}

/* ---- writing ---- */

static void limit_unsent(struct connection *self, uint32_t size)
{
    const int limit = (int)size;
    self->unsent_max = size;
    (void)setsockopt(self->stream.fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &limit, sizeof limit);
    if (self->stream.secure != NULL)
        secure_set_burst(&self->stream, size / 4);
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
    if (count == 0 && !self->stream.unsent)
        return true;
    const ssize_t written = self->stream.kind->write(&self->stream, parts, count);
    if (written < 0) {
        self->blocked = errno == EAGAIN || errno == EWOULDBLOCK;
        return self->blocked || errno == EINTR;
    }
    self->blocked = (size_t)written < size || self->stream.unsent;
    outbox_consume(&self->outbox, (size_t)written);
    fit_unsent(self, (size_t)written);
    return true;
}

void connection_flush(struct connection *self)
{
    if (self->blocked) {
        if (outbox_small_bytes(&self->outbox) > CONNECTION_QUEUE_MAX)
            connection_fail(self, "it does not take what we say");
        return;
    }
    if (!write_some(self)) {
        connection_fail(self, "broken");
        return;
    }
    connection_watch(self);
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
    connection_shut(closing);
}

void connections_close_of(struct connections *self, const void *user)
{
    struct connection *next = NULL;
    for (struct connection *at = self->first; at != NULL; at = next) {
        next = at->next;
        if (at->user == user)
            connection_shut(at);
    }
}

/* ---- reading ---- */

/* Memory for the blocks that the next read may bring. */
static void fill_room(struct connection *self)
{
    struct connections *owner = self->owner;
    const uint32_t wanted = inbox_wants(&self->inbox);
    for (uint32_t i = 0; i < wanted; i++) {
        struct inbox_place *place = &owner->room.places[i];
        if (place->block == NULL)
            place->block = disk_block_take(owner->disk, &place->data);
    }
}

void connections_give_back_room(struct connections *self)
{
    for (uint32_t i = 0; i < INBOX_PLACES; i++)
        give_back(self, &self->room.places[i]);
}

static void handle_message(struct connection *self, const struct wire_message *message,
                           struct inbox_place *place)
{
    struct connections *owner = self->owner;
    struct disk_block *block = place->block;
    owner->events.message(owner->events.ctx, self, message, &block);
    if (block != NULL && !inbox_put_back(&owner->room, place))
        give_back(owner, place);
}

/* What a read brought. Returns how many messages there were. */
static uint32_t handle_read(struct connection *self)
{
    struct connections *owner = self->owner;
    struct wire_message message;
    struct wire_handshake hello;
    struct inbox_place place;
    uint32_t count = 0;
    while (self->stage != STAGE_CLOSED) {
        switch (inbox_next(&self->inbox, &owner->room, &message, &hello, &place)) {
        case WIRE_MORE:
            return count;
        case WIRE_BAD:
            connection_fail(self, "it does not speak the protocol");
            return count;
        case WIRE_HANDSHAKE:
            set_stage(self, STAGE_OPEN);
            if (!owner->events.hello(owner->events.ctx, self, &hello))
                connection_shut(self);
            break;
        case WIRE_MESSAGE:
            handle_message(self, &message, &place);
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
    struct iovec parts[INBOX_PARTS_MAX];
    size_t room = 0;
    fill_room(self);
    const int parts_count = inbox_lay_out(&self->inbox, &owner->room, parts, &room);
    const ssize_t got = self->stream.kind->read(&self->stream, parts, parts_count);
    if (got == 0) {
        connection_fail(self, "closed by the other side");
        return false;
    }
    if (self->stream.unsent && !self->blocked) { /* TLS answered by itself */
        self->blocked = true;
        connection_watch(self);
    }
    if (got < 0) {
        if (errno == EPROTO && self->stream.secure != NULL)
            connection_refuse(self, self->stream.refusal);
        else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            connection_fail(self, strerror(errno));
        return false;
    }
    inbox_came(&self->inbox, &owner->room, (size_t)got);
    const uint32_t messages = handle_read(self);
    return messages < MESSAGES_PER_TURN && self->stage != STAGE_CLOSED &&
           ((size_t)got == room || self->stream.again);
}

/* TLS is there, or there is none: what waits may be said. */
static void begin_handshake(struct connection *self)
{
    set_stage(self, STAGE_HANDSHAKE);
    if (!outbox_is_empty(&self->outbox))
        mark_dirty(self);
    connection_watch(self);
}

static void open_stream(struct connection *self)
{
    const enum stream_opening opening = self->stream.kind->open(&self->stream);
    self->blocked = self->stream.unsent;
    switch (opening) {
    case STREAM_OPEN:
        begin_handshake(self);
        break;
    case STREAM_OPENING:
        connection_watch(self);
        break;
    case STREAM_REFUSED:
        connection_refuse(self, self->stream.refusal);
        break;
    }
}

static void on_connected(struct connection *self)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(self->stream.fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
        connection_fail(self, error != 0 ? strerror(error) : "could not connect");
        return;
    }
    if (self->stream.kind->open == NULL) {
        begin_handshake(self);
        return;
    }
    set_stage(self, STAGE_SECURING);
    self->securing_ms = uv_now(self->owner->loop);
    open_stream(self);
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
        connection_fail(self, error != 0 ? strerror(error) : uv_strerror(status));
        return;
    }
    if (self->stage == STAGE_SECURING) {
        open_stream(self);
        return;
    }
    if (events & UV_WRITABLE) {
        self->blocked = false;
        mark_dirty(self);
        connection_watch(self);
    }
    if (events & UV_READABLE)
        for (int i = 0; i < READS_PER_TURN && !self->owner->paused && read_once(self); i++) {
        }
}

/* ---- life ---- */

struct connection *connection_new(struct connections *owner, int fd, const struct address *address,
                                  const uint8_t *infohash)
{
    const bool outgoing = infohash != NULL;
    struct connection *self = xcalloc(1, sizeof *self);
    self->owner = owner;
    self->address = *address;
    self->outgoing = outgoing;
    self->stage = outgoing                ? STAGE_CONNECTING
                  : owner->secure != NULL ? STAGE_SECURING
                                          : STAGE_HANDSHAKE;
    self->since_ms = self->securing_ms = uv_now(owner->loop);
    stream_plain(&self->stream, fd);
    if (owner->secure != NULL)
        secure_wrap(owner->secure, &self->stream, infohash);
    inbox_init(&self->inbox);
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
    connection_watch(self);
    return self;
}

const struct address *connection_address(const struct connection *self)
{
    return &self->address;
}

bool connection_is_outgoing(const struct connection *self)
{
    return self->outgoing;
}

const uint8_t *connection_named(const struct connection *self)
{
    return self->stream.secure != NULL ? secure_infohash(&self->stream) : NULL;
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
