#include "libcommon/watch.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <uv.h>
#include <zmq.h>

struct watch {
    uv_poll_t poll;
    uv_idle_t idle;
    uv_prepare_t prepare; /* used by watch_new() alone: its callers send when they like */
    unsigned handles_open;
    void *socket;
    drain_fn *drain;
    void *drain_ctx;
    message_fn *on_message;
    void *on_message_ctx;
    bool draining;
    bool freed;
};

static void close_handles(struct watch *self);

static void on_idle(uv_idle_t *handle);

static void drain(struct watch *self)
{
    bool more = true;

    self->draining = true;
    for (unsigned i = 0; i < WATCH_BUDGET && more && !self->freed; i++)
        more = self->drain(self->drain_ctx, self->socket);
    self->draining = false;
    if (self->freed)
        close_handles(self);
    else if (more)
        uv_idle_start(&self->idle, on_idle);
    else
        uv_idle_stop(&self->idle);
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    (void)status; /* an error is found by the next call on the socket */
    (void)events;
    drain(handle->data);
}

static void on_idle(uv_idle_t *handle)
{
    drain(handle->data);
}

static bool has_message(void *socket)
{
    int events = 0;
    size_t size = sizeof events;

    return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
}

static void on_prepare(uv_prepare_t *handle)
{
    struct watch *self = handle->data;

    if (has_message(self->socket))
        watch_wake(self);
}

/* The form for everybody: the callback takes the message itself. */
static bool drain_by_events(void *ctx, void *socket)
{
    struct watch *self = ctx;

    if (!has_message(socket))
        return false;
    self->on_message(self->on_message_ctx, socket);
    return true;
}

struct watch *watch_new_drain(struct uv_loop_s *loop, void *zmq_socket, drain_fn *drain_one,
                              void *ctx)
{
    struct watch *self = xcalloc(1, sizeof *self);
    size_t size = sizeof(int);
    int fd, failed;

    self->socket = zmq_socket;
    self->drain = drain_one;
    self->drain_ctx = ctx;
    failed = zmq_getsockopt(zmq_socket, ZMQ_FD, &fd, &size);
    assert(failed == 0);
    failed = uv_poll_init(loop, &self->poll, fd);
    assert(failed == 0);
    uv_idle_init(loop, &self->idle);
    uv_prepare_init(loop, &self->prepare);
    self->handles_open = 3;
    self->poll.data = self->idle.data = self->prepare.data = self;
    uv_poll_start(&self->poll, UV_READABLE, on_readable);
    watch_wake(self); /* what came before we watched has had its edge */
    return self;
}

struct watch *watch_new(struct uv_loop_s *loop, void *zmq_socket, message_fn *on_message, void *ctx)
{
    struct watch *self = watch_new_drain(loop, zmq_socket, drain_by_events, NULL);

    self->drain_ctx = self;
    self->on_message = on_message;
    self->on_message_ctx = ctx;
    uv_prepare_start(&self->prepare, on_prepare);
    return self;
}

void watch_wake(struct watch *self)
{
    if (!self->draining && !self->freed) /* a drain goes on until the socket is empty anyway */
        uv_idle_start(&self->idle, on_idle);
}

static void on_closed(uv_handle_t *handle)
{
    struct watch *self = handle->data;

    if (--self->handles_open == 0)
        free(self);
}

static void close_handles(struct watch *self)
{
    uv_close((uv_handle_t *)&self->poll, on_closed);
    uv_close((uv_handle_t *)&self->idle, on_closed);
    uv_close((uv_handle_t *)&self->prepare, on_closed);
}

void watch_free(struct watch **self)
{
    struct watch *watch = *self;

    *self = NULL;
    if (watch == NULL || watch->freed)
        return;
    watch->freed = true;
    if (!watch->draining)
        close_handles(watch);
}
