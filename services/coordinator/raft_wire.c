#include "services/coordinator/raft_wire.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <fcntl.h>
#include <raft.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define PREAMBLE_MIN (8 + 2)
#define PREAMBLE_MAX (PREAMBLE_MIN + RAFT_WIRE_ADDRESS_MAX)
#define READ_SIZE    65536
#define QUEUE_MAX    (8u * 1024 * 1024) /* bytes libraft has not read: TLS waits */

/*
 * One connection, ours or another's. It first says or hears the preamble; then it pumps between TLS
 * and `pipe`, the other half of which is libraft's.
 */
struct line {
    struct line *next, **self; /* in the list of the wire */
    struct raft_wire *wire;
    struct secure *secure;
    struct raft_uv_connect *request; /* of libraft, until it was answered; NULL: accepted */
    raft_uv_connect_cb connected;
    uint64_t number; /* of the other server; 0: not known yet */
    struct node_id node;
    uint8_t preamble[PREAMBLE_MAX];
    size_t preamble_size;
    bool has_pipe, ended;
    uv_pipe_t pipe;
    char buffer[READ_SIZE];
};

struct raft_wire {
    struct raft_uv_transport transport;
    struct uv_loop_s *loop;
    struct raft_wire_world world;
    uint64_t number; /* ours */
    char address[RAFT_WIRE_ADDRESS_MAX + 1];
    raft_uv_accept_cb accept; /* NULL: not listening */
    struct line *lines;
};

/* ---- a line ---- */

static struct line *line_new(struct raft_wire *wire)
{
    struct line *self = xcalloc(1, sizeof *self);

    self->wire = wire;
    uv_pipe_init(wire->loop, &self->pipe, 0);
    self->pipe.data = self;
    self->next = wire->lines;
    self->self = &wire->lines;
    if (wire->lines != NULL) {
        wire->lines->self = &self->next;
    }
    wire->lines = self;
    return self;
}

static void on_pipe_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* libraft is told if it still waits; the line is freed by a later turn of the loop. */
static void line_end(struct line *self, int status)
{
    struct raft_uv_connect *request = self->request;

    if (self->ended) {
        return;
    }
    self->ended = true;
    *self->self = self->next;
    if (self->next != NULL) {
        self->next->self = self->self;
    }
    secure_close(&self->secure);
    self->request = NULL;
    if (request != NULL) {
        self->connected(request, NULL, status);
    }
    uv_close((uv_handle_t *)&self->pipe, on_pipe_closed);
}

/* ---- the pump ---- */

static void on_pipe_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    struct line *self = handle->data;

    (void)suggested;
    *ret_buffer = uv_buf_init(self->buffer, sizeof self->buffer);
}

static void on_pipe_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct line *self = stream->data;

    if (size < 0) {
        line_end(self, RAFT_NOCONNECTION);
        return;
    }
    secure_write(self->secure, bytes_of(buffer->base, (size_t)size));
    if (!self->ended && secure_is_busy(self->secure)) {
        uv_read_stop(stream);
    }
}

static void on_calm(void *ctx, struct secure *secure)
{
    struct line *self = ctx;

    (void)secure;
    if (self->has_pipe) {
        uv_read_start((uv_stream_t *)&self->pipe, on_pipe_alloc, on_pipe_read);
    }
}

struct pumped {
    uv_write_t request;
    uint8_t data[];
};

static void on_pumped(uv_write_t *request, int status)
{
    struct line *self = request->handle->data;

    free(request->data);
    if (self->ended) {
        return;
    }
    if (status != 0) {
        line_end(self, RAFT_NOCONNECTION);
    } else if (uv_stream_get_write_queue_size((uv_stream_t *)&self->pipe) < QUEUE_MAX / 2) {
        secure_pause(self->secure, false);
    }
}

static void pump_in(struct line *self, struct bytes data)
{
    struct pumped *pumped;
    uv_buf_t buffer;

    if (data.size == 0) {
        return;
    }
    pumped = xmalloc(sizeof *pumped + data.size);
    memcpy(pumped->data, data.data, data.size);
    pumped->request.data = pumped;
    buffer = uv_buf_init((char *)pumped->data, (unsigned)data.size);
    if (uv_write(&pumped->request, (uv_stream_t *)&self->pipe, &buffer, 1, on_pumped) != 0) {
        free(pumped);
        line_end(self, RAFT_NOCONNECTION);
        return;
    }
    if (uv_stream_get_write_queue_size((uv_stream_t *)&self->pipe) > QUEUE_MAX) {
        secure_pause(self->secure, true);
    }
}

/* libraft's half, of its own memory; NULL when there is no descriptor. */
static uv_pipe_t *open_pump(struct line *self)
{
    uv_pipe_t *theirs = raft_malloc(sizeof *theirs);
    int pair[2];

    if (theirs == NULL ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        raft_free(theirs);
        return NULL;
    }
    uv_pipe_init(self->wire->loop, theirs, 0);
    self->has_pipe = true;
    if (uv_pipe_open(&self->pipe, pair[0]) != 0 || uv_pipe_open(theirs, pair[1]) != 0) {
        abort(); /* only for descriptors that are none */
    }
    uv_read_start((uv_stream_t *)&self->pipe, on_pipe_alloc, on_pipe_read);
    return theirs;
}

static void refuse(struct line *self, const char *why)
{
    self->wire->world.on_refused(self->wire->world.ctx, why);
    line_end(self, RAFT_NOCONNECTION);
}

static bool check(struct line *self)
{
    const struct raft_wire_world *world = &self->wire->world;
    struct certificate_claims claims;

    if (!world->check(world->ctx, secure_ssl(self->secure), &claims) ||
        claims.role != CERTIFICATE_COORDINATOR) {
        return false;
    }
    self->node = claims.node;
    return true;
}

static bool has_number(struct line *self)
{
    const struct raft_wire_world *world = &self->wire->world;

    return world->is_server(world->ctx, &self->node, self->number);
}

static void on_end(void *ctx, struct secure *secure, const char *why)
{
    (void)secure;
    (void)why;
    line_end(ctx, RAFT_NOCONNECTION);
}

/* ---- ours ---- */

static void on_connected(void *ctx, struct secure *secure)
{
    struct line *self = ctx;
    struct raft_wire *wire = self->wire;
    struct raft_uv_connect *request = self->request;
    struct writer out;
    uv_pipe_t *theirs;

    if (!check(self) || !has_number(self)) {
        refuse(self, "the coordinator at that address is another");
        return;
    }
    theirs = open_pump(self);
    if (theirs == NULL) {
        line_end(self, RAFT_NOCONNECTION);
        return;
    }
    writer_init(&out, self->preamble, sizeof self->preamble);
    writer_u64(&out, wire->number);
    writer_u16(&out, (uint16_t)strlen(wire->address));
    writer_put(&out, wire->address, strlen(wire->address));
    assert(!out.overflow);
    secure_write(secure, bytes_of(out.data, out.size));
    self->request = NULL;
    self->connected(request, (uv_stream_t *)theirs, 0);
}

/* libraft only sends on a connection that it made. */
static void on_unasked(void *ctx, struct secure *secure, struct bytes data)
{
    (void)secure;
    (void)data;
    refuse(ctx, "a coordinator answers where none is wanted");
}

static const struct secure_events connect_events = {
    .on_open = on_connected,
    .on_data = on_unasked,
    .on_calm = on_calm,
    .on_end = on_end,
};

static int wire_connect(struct raft_uv_transport *transport, struct raft_uv_connect *request,
                        raft_id id, const char *address, raft_uv_connect_cb connected)
{
    struct raft_wire *wire = transport->impl;
    struct line *line = line_new(wire);

    line->request = request;
    line->connected = connected;
    line->number = id;
    line->secure = secure_connect(wire->loop, address, wire->world.context(wire->world.ctx),
                                  SECURE_ALPN_RAFT, &connect_events, line);
    return 0;
}

/* ---- others' ---- */

static void greet(struct line *self, const char *address)
{
    uv_pipe_t *theirs;

    if (!check(self) || !has_number(self)) {
        refuse(self, "who connects is not the coordinator it says");
        return;
    }
    theirs = open_pump(self);
    if (theirs == NULL) {
        line_end(self, RAFT_NOCONNECTION);
        return;
    }
    self->wire->accept(&self->wire->transport, self->number, address, (uv_stream_t *)theirs);
}

static void on_received(void *ctx, struct secure *secure, struct bytes data)
{
    struct line *self = ctx;
    char address[RAFT_WIRE_ADDRESS_MAX + 1];
    size_t wanted = PREAMBLE_MIN;

    (void)secure;
    while (!self->has_pipe) {
        size_t taken;

        if (self->preamble_size >= PREAMBLE_MIN) {
            wanted = PREAMBLE_MIN + load_u16(self->preamble + 8);
        }
        if (wanted > PREAMBLE_MAX) {
            refuse(self, "no preamble of a coordinator");
            return;
        }
        taken = wanted - self->preamble_size < data.size ? wanted - self->preamble_size : data.size;
        memcpy(self->preamble + self->preamble_size, data.data, taken);
        self->preamble_size += taken;
        data.data += taken;
        data.size -= taken;
        if (self->preamble_size < wanted) {
            return;
        }
        if (wanted == PREAMBLE_MIN && load_u16(self->preamble + 8) > 0) {
            continue;
        }
        memcpy(address, self->preamble + PREAMBLE_MIN, wanted - PREAMBLE_MIN);
        address[wanted - PREAMBLE_MIN] = '\0';
        self->number = load_u64(self->preamble);
        greet(self, address);
        if (self->ended) {
            return;
        }
    }
    pump_in(self, data);
}

static const struct secure_events accept_events = {
    .on_data = on_received,
    .on_calm = on_calm,
    .on_end = on_end,
};

void raft_wire_adopt(struct raft_wire *self, struct secure **secure)
{
    struct line *line;

    if (self->accept == NULL) {
        secure_close(secure);
        return;
    }
    line = line_new(self);
    line->secure = *secure;
    *secure = NULL;
    secure_give(line->secure, &accept_events, line);
    if (!check(line)) {
        refuse(line, "who connects is no coordinator");
    }
}

unsigned raft_wire_check_all(struct raft_wire *self)
{
    unsigned closed = 0;
    struct line *next;

    for (struct line *line = self->lines; line != NULL; line = next) {
        next = line->next;
        if (line->has_pipe && (!check(line) || !has_number(line))) {
            refuse(line, "a coordinator is one no more");
            closed++;
        }
    }
    return closed;
}

/* ---- the transport ---- */

static int wire_init(struct raft_uv_transport *transport, raft_id id, const char *address)
{
    struct raft_wire *self = transport->impl;

    self->number = id;
    if (strlen(address) > RAFT_WIRE_ADDRESS_MAX) {
        return RAFT_NAMETOOLONG;
    }
    strcpy(self->address, address);
    return 0;
}

static int wire_listen(struct raft_uv_transport *transport, raft_uv_accept_cb accept)
{
    struct raft_wire *self = transport->impl;

    self->accept = accept;
    return 0;
}

static void end_all(struct raft_wire *self)
{
    while (self->lines != NULL) {
        line_end(self->lines, RAFT_CANCELED);
    }
}

static void wire_close(struct raft_uv_transport *transport, raft_uv_transport_close_cb closed)
{
    struct raft_wire *self = transport->impl;

    self->accept = NULL;
    end_all(self);
    closed(transport);
}

struct raft_wire *raft_wire_new(struct uv_loop_s *loop, const struct raft_wire_world *world)
{
    struct raft_wire *self = xcalloc(1, sizeof *self);

    self->loop = loop;
    self->world = *world;
    self->transport.impl = self;
    self->transport.init = wire_init;
    self->transport.listen = wire_listen;
    self->transport.connect = wire_connect;
    self->transport.close = wire_close;
    return self;
}

void raft_wire_free(struct raft_wire **self)
{
    if (*self != NULL) {
        end_all(*self);
        free(*self);
        *self = NULL;
    }
}

struct raft_uv_transport *raft_wire_transport(struct raft_wire *self)
{
    return &self->transport;
}
