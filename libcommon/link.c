#include "libcommon/link.h"

#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/message.h"
#include "libcommon/watch.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include <zmq.h>

#define NOWHERE          UINT32_MAX
#define PENDING_FIRST    64u
#define RECONNECT_MS     20
#define RECONNECT_MAX_MS 1000
#define LINGER_MS        100
#define OPEN_AGAIN_MS    100 /* as listeners wait for a descriptor, too */

/* A call under way. Its id is turn * ACTOR_CALLS_MAX + its place in the array. */
struct pending {
    uint64_t id; /* 0: free */
    uint64_t deadline_ms;
    reply_fn *on_reply;
    void *ctx;
    lb_err verdict;      /* what on_reply is told when the deadline comes */
    uint32_t heap_place; /* where it stands in the heap */
    zmq_msg_t *waiting;  /* its packed request while it is not sent */
    uint32_t waiting_before, waiting_after;
    uint32_t free_after;
};

/* A call for which there was no place. */
struct refused {
    struct refused *next;
    reply_fn *on_reply;
    void *ctx;
};

struct link {
    struct uv_loop_s *loop;
    void *context;
    char *endpoint;
    void *socket; /* NULL: there was no descriptor for it yet, see open_socket() */
    void *monitor;
    struct watch *watch;
    struct watch *monitor_watch;
    uv_timer_t timer;
    uint64_t timer_ms; /* when it goes off; UINT64_MAX: not armed */
    uint64_t open_ms;  /* when the socket is tried again; UINT64_MAX: it is there */
    unsigned tries;    /* to open it */
    const ProtobufCMessageDescriptor *reply;

    struct pending *pending;
    uint32_t pending_capacity;
    uint32_t pending_free;
    uint32_t *heap; /* places in pending, the nearest deadline first */
    uint32_t heap_count;
    uint64_t turn;
    struct refused *refused;

    uint32_t waiting_first, waiting_last;
    size_t waiting_bytes;
    bool up;
    bool closed; /* only answers are given out now */
};

/* ---- deadlines: a binary heap of places in pending ---- */

static uint64_t heap_key(const struct link *self, uint32_t at)
{
    return self->pending[self->heap[at]].deadline_ms;
}

static void heap_set(struct link *self, uint32_t at, uint32_t place)
{
    self->heap[at] = place;
    self->pending[place].heap_place = at;
}

static void heap_swap(struct link *self, uint32_t a, uint32_t b)
{
    uint32_t place = self->heap[a];

    heap_set(self, a, self->heap[b]);
    heap_set(self, b, place);
}

static void heap_up(struct link *self, uint32_t at)
{
    while (at > 0 && heap_key(self, at) < heap_key(self, (at - 1) / 2)) {
        heap_swap(self, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

static void heap_down(struct link *self, uint32_t at)
{
    for (;;) {
        uint32_t least = at;

        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
            if (child < self->heap_count && heap_key(self, child) < heap_key(self, least))
                least = child;
        }
        if (least == at)
            return;
        heap_swap(self, at, least);
        at = least;
    }
}

static void heap_remove(struct link *self, uint32_t at)
{
    uint32_t last = --self->heap_count;

    if (at == last)
        return;
    heap_set(self, at, self->heap[last]);
    heap_up(self, at);
    heap_down(self, at);
}

/* ---- the calls under way ---- */

static bool pending_grow(struct link *self)
{
    uint32_t before = self->pending_capacity;
    uint32_t capacity = before == 0 ? PENDING_FIRST : 2 * before;

    if (before == ACTOR_CALLS_MAX)
        return false;
    self->pending = xrealloc(self->pending, capacity * sizeof *self->pending);
    self->heap = xrealloc(self->heap, capacity * sizeof *self->heap);
    memset(self->pending + before, 0, (capacity - before) * sizeof *self->pending);
    for (uint32_t i = before; i < capacity; i++)
        self->pending[i].free_after = i + 1 < capacity ? i + 1 : NOWHERE;
    self->pending_free = before;
    self->pending_capacity = capacity;
    return true;
}

/* A place for a call, in the heap with this deadline; NOWHERE when all are taken. */
static uint32_t pending_add(struct link *self, uint64_t deadline_ms, reply_fn *on_reply, void *ctx)
{
    uint32_t place;

    if (self->pending_free == NOWHERE && !pending_grow(self))
        return NOWHERE;
    place = self->pending_free;
    self->pending_free = self->pending[place].free_after;
    self->pending[place] = (struct pending){ .id = ++self->turn * ACTOR_CALLS_MAX + place,
                                             .deadline_ms = deadline_ms,
                                             .on_reply = on_reply,
                                             .ctx = ctx,
                                             .verdict = LB_TIMEOUT };
    heap_set(self, self->heap_count, place);
    heap_up(self, self->heap_count++);
    return place;
}

static void waiting_remove(struct link *self, uint32_t place)
{
    struct pending *pending = &self->pending[place];

    if (pending->waiting_before != NOWHERE)
        self->pending[pending->waiting_before].waiting_after = pending->waiting_after;
    else
        self->waiting_first = pending->waiting_after;
    if (pending->waiting_after != NOWHERE)
        self->pending[pending->waiting_after].waiting_before = pending->waiting_before;
    else
        self->waiting_last = pending->waiting_before;
    self->waiting_bytes -= zmq_msg_size(pending->waiting);
    zmq_msg_close(pending->waiting);
    free(pending->waiting);
    pending->waiting = NULL;
}

static void waiting_append(struct link *self, uint32_t place, zmq_msg_t *body)
{
    struct pending *pending = &self->pending[place];

    pending->waiting = xmalloc(sizeof *pending->waiting);
    zmq_msg_init(pending->waiting);
    zmq_msg_move(pending->waiting, body);
    self->waiting_bytes += zmq_msg_size(pending->waiting);
    pending->waiting_before = self->waiting_last;
    pending->waiting_after = NOWHERE;
    if (self->waiting_last != NOWHERE)
        self->pending[self->waiting_last].waiting_after = place;
    else
        self->waiting_first = place;
    self->waiting_last = place;
}

/* Take the call out and tell its owner. The owner may call again. */
static void pending_finish(struct link *self, uint32_t place, lb_err err, const char *reason,
                           const void *reply)
{
    struct pending finished = self->pending[place];

    heap_remove(self, finished.heap_place);
    if (finished.waiting != NULL)
        waiting_remove(self, place);
    self->pending[place].id = 0;
    self->pending[place].free_after = self->pending_free;
    self->pending_free = place;
    finished.on_reply(finished.ctx, err, reason, reply);
}

/* ---- time ---- */

static void on_timer(uv_timer_t *timer);
static void open_socket(struct link *self);

static void arm_timer(struct link *self)
{
    uint64_t now_ms = uv_now(self->loop);
    uint64_t at_ms = self->heap_count > 0 ? heap_key(self, 0) : UINT64_MAX;

    at_ms = self->open_ms < at_ms ? self->open_ms : at_ms;
    /* An early alarm costs less than arming anew for each call. */
    if (at_ms >= self->timer_ms || self->closed)
        return;
    self->timer_ms = at_ms;
    uv_timer_start(&self->timer, on_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
}

static void finish_refused(struct link *self)
{
    struct refused *next = self->refused;

    self->refused = NULL; /* those added meanwhile wait for the next turn */
    while (next != NULL) {
        struct refused *refused = next;

        next = refused->next;
        refused->on_reply(refused->ctx, LB_UNAVAILABLE, "too many calls are under way", NULL);
        free(refused);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct link *self = timer->data;
    uint64_t now_ms = uv_now(self->loop);
    uint32_t most = self->heap_count;

    self->timer_ms = UINT64_MAX;
    if (self->open_ms <= now_ms && !self->closed)
        open_socket(self);
    finish_refused(self);
    while (most-- > 0 && self->heap_count > 0 && heap_key(self, 0) <= now_ms) {
        uint32_t place = self->heap[0];
        lb_err verdict = self->pending[place].verdict;

        pending_finish(self, place, verdict, lb_err_text(verdict), NULL);
    }
    arm_timer(self);
}

/* End a call on the next turn of the loop. */
static void fail_soon(struct link *self, uint32_t place, lb_err verdict)
{
    self->pending[place].verdict = verdict;
    self->pending[place].deadline_ms = 0;
    heap_up(self, self->pending[place].heap_place);
    arm_timer(self);
}

/* ---- sending ---- */

static bool can_send(struct link *self)
{
    int events = 0;
    size_t size = sizeof events;

    return zmq_getsockopt(self->socket, ZMQ_EVENTS, &events, &size) == 0 &&
           (events & ZMQ_POLLOUT) != 0;
}

static bool send_header(struct link *self, const uint8_t *header, size_t size)
{
    return zmq_send(self->socket, header, size, ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0;
}

/* Consumes body when it says true. */
static bool send_frames(struct link *self, uint64_t call_id, uint32_t timeout_ms, zmq_msg_t *body)
{
    struct message_header header = { .call_id = call_id, .timeout_ms = timeout_ms };
    uint8_t packed[MESSAGE_HEADER_MAX];
    size_t size = message_header_pack(&header, packed);
    bool sent;

    /* libzmq looks for new connections only now and then while sending: ask it to, then retry. */
    sent = send_header(self, packed, size) || (can_send(self) && send_header(self, packed, size));
    if (sent && zmq_msg_send(body, self->socket, ZMQ_DONTWAIT) < 0)
        sent = false; /* cannot be: a message is taken whole or not at all */
    watch_wake(self->watch);
    return sent;
}

static uint32_t time_left_ms(const struct link *self, const struct pending *pending)
{
    uint64_t now_ms = uv_now(self->loop);
    uint64_t left_ms = pending->deadline_ms > now_ms ? pending->deadline_ms - now_ms : 1;

    return left_ms < UINT32_MAX ? (uint32_t)left_ms : UINT32_MAX;
}

static void send_waiting(struct link *self)
{
    while (self->up && self->waiting_first != NOWHERE) {
        uint32_t place = self->waiting_first;
        struct pending *pending = &self->pending[place];
        zmq_msg_t body;

        zmq_msg_init(&body);
        zmq_msg_copy(&body, pending->waiting);
        if (!send_frames(self, pending->id, time_left_ms(self, pending), &body)) {
            zmq_msg_close(&body);
            return;
        }
        waiting_remove(self, place);
    }
}

/* LB_TOO_BIG when the other side would not take it; else body is initialised. */
static lb_err pack_body(zmq_msg_t *body, const ProtobufCMessage *request)
{
    size_t size = protobuf_c_message_get_packed_size(request);

    if (size > ACTOR_MESSAGE_MAX)
        return LB_TOO_BIG;
    if (zmq_msg_init_size(body, size) != 0)
        abort(); /* out of memory */
    protobuf_c_message_pack(request, zmq_msg_data(body));
    return LB_OK;
}

/* No place is left to keep the call in: its owner is told on the next turn of the loop. */
static void refuse(struct link *self, reply_fn *on_reply, void *ctx)
{
    struct refused *refused = xcalloc(1, sizeof *refused);

    refused->on_reply = on_reply;
    refused->ctx = ctx;
    refused->next = self->refused;
    self->refused = refused;
    self->timer_ms = 0;
    uv_timer_start(&self->timer, on_timer, 0, 0);
}

void link_call(struct link *self, const ProtobufCMessage *request, uint32_t timeout_ms,
               reply_fn *on_reply, void *ctx)
{
    uint64_t deadline_ms = uv_now(self->loop) + timeout_ms;
    uint32_t place = pending_add(self, deadline_ms, on_reply, ctx);
    struct pending *pending;
    zmq_msg_t body;

    if (place == NOWHERE) {
        refuse(self, on_reply, ctx);
        return;
    }
    pending = &self->pending[place];
    arm_timer(self);
    if (timeout_ms == 0 || self->closed)
        return; /* nobody would wait for the answer */
    if (pack_body(&body, request) != LB_OK) {
        fail_soon(self, place, LB_TOO_BIG);
        return;
    }
    if (self->waiting_first != NOWHERE || !self->up ||
        !send_frames(self, pending->id, timeout_ms, &body)) {
        if (self->waiting_bytes + zmq_msg_size(&body) <= LINK_WAITING_MAX)
            waiting_append(self, place, &body);
        else
            fail_soon(self, place, LB_UNAVAILABLE);
        zmq_msg_close(&body);
    }
}

void link_tell(struct link *self, const ProtobufCMessage *request)
{
    zmq_msg_t body;

    if (!self->up || self->closed || pack_body(&body, request) != LB_OK)
        return;
    if (!send_frames(self, 0, 0, &body))
        zmq_msg_close(&body);
}

bool link_is_up(const struct link *self)
{
    return self->up;
}

/* ---- receiving ---- */

/* Finish the call a reply belongs to; a reply to nothing is dropped. */
static void take_reply(struct link *self, struct bytes header_frame, struct bytes body_frame)
{
    uint8_t buffer[2048];
    struct message_memory memory;
    struct message_header header;
    const ProtobufCMessage *reply = NULL;
    const void *body;
    uint32_t place;

    message_memory_init(&memory, buffer, sizeof buffer, MESSAGE_MEMORY_MAX);
    if (message_header_unpack(header_frame, &memory, &header) != LB_OK)
        goto out;
    place = (uint32_t)(header.call_id % ACTOR_CALLS_MAX);
    if (header.call_id == 0 || place >= self->pending_capacity ||
        self->pending[place].id != header.call_id)
        goto out; /* its caller has given up */
    if (header.err == LB_OK) {
        reply = message_unpack(self->reply, body_frame, &memory);
        if (reply == NULL || message_case(reply, &body) == 0) {
            reply = NULL;
            header.err = LB_INTERNAL;
            header.reason = "the reply is malformed";
        }
    } else if (header.reason[0] == '\0') {
        header.reason = lb_err_text(header.err);
    }
    pending_finish(self, place, header.err, header.err == LB_OK ? "" : header.reason, reply);
out:
    message_memory_done(&memory);
}

static struct bytes frame_bytes(zmq_msg_t *frame)
{
    return bytes_of(zmq_msg_data(frame), zmq_msg_size(frame));
}

static bool drain_replies(void *ctx, void *socket)
{
    struct link *self = ctx;
    zmq_msg_t frames[2], rest;
    int count, more;

    /* What woke us may be that there is room again. Receiving comes last: see watch.h. */
    send_waiting(self);
    zmq_msg_init(&frames[0]);
    if (zmq_msg_recv(&frames[0], socket, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&frames[0]);
        return false;
    }
    count = 1;
    zmq_msg_init(&frames[1]);
    more = zmq_msg_more(&frames[0]);
    if (more != 0 && zmq_msg_recv(&frames[1], socket, ZMQ_DONTWAIT) >= 0) {
        count = 2;
        more = zmq_msg_more(&frames[1]);
    }
    while (more != 0) {
        zmq_msg_init(&rest);
        more = zmq_msg_recv(&rest, socket, ZMQ_DONTWAIT) >= 0 ? zmq_msg_more(&rest) : 0;
        zmq_msg_close(&rest);
        count++;
    }
    if (count == 2)
        take_reply(self, frame_bytes(&frames[0]), frame_bytes(&frames[1]));
    zmq_msg_close(&frames[0]);
    zmq_msg_close(&frames[1]);
    return true;
}

/* ---- the connection ---- */

/* Calls that were sent and not answered: nobody will. Those that wait to be sent go on waiting. */
static void fail_sent(struct link *self)
{
    for (uint32_t place = 0; place < self->pending_capacity; place++) {
        struct pending *pending = &self->pending[place];

        if (pending->id != 0 && pending->waiting == NULL && pending->deadline_ms != 0)
            fail_soon(self, place, LB_UNAVAILABLE);
    }
}

static void on_connection_event(struct link *self, uint16_t event)
{
    if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
        self->up = true;
        send_waiting(self);
    } else if (event == ZMQ_EVENT_DISCONNECTED && self->up) {
        self->up = false;
        while (drain_replies(self, self->socket)) /* what came before it broke */
            continue;
        fail_sent(self);
    }
}

/* A monitor event: a frame of event number and value, then one with the address. */
static bool drain_monitor(void *ctx, void *socket)
{
    zmq_msg_t frame;
    uint16_t event = 0;
    int more = 1;

    for (int count = 0; more != 0; count++) {
        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&frame);
            return false;
        }
        if (count == 0 && zmq_msg_size(&frame) >= sizeof event)
            memcpy(&event, zmq_msg_data(&frame), sizeof event);
        more = zmq_msg_more(&frame);
        zmq_msg_close(&frame);
    }
    on_connection_event(ctx, event);
    return true;
}

static void set_option(void *socket, int option, int value)
{
    int failed = zmq_setsockopt(socket, option, &value, sizeof value);

    assert(failed == 0);
}

/* NULL when there is no descriptor for it. */
static void *open_monitor(const struct link *self, void *socket)
{
    char endpoint[64];
    void *monitor;
    int failed;

    /* The name of an earlier try is free only once libzmq has cleared it away. */
    snprintf(endpoint, sizeof endpoint, "inproc://link-%p-%u", (const void *)self, self->tries);
    if (zmq_socket_monitor(socket, endpoint,
                           ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED) != 0)
        return NULL;
    monitor = zmq_socket(self->context, ZMQ_PAIR);
    if (monitor == NULL) {
        zmq_socket_monitor(socket, NULL, 0);
        return NULL;
    }
    set_option(monitor, ZMQ_LINGER, 0);
    failed = zmq_connect(monitor, endpoint);
    assert(failed == 0);
    return monitor;
}

static void connect_socket(struct link *self)
{
    int failed;

    set_option(self->socket, ZMQ_LINGER, LINGER_MS);
    set_option(self->socket, ZMQ_IMMEDIATE, 1);
    set_option(self->socket, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    set_option(self->socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    zmq_setsockopt(self->socket, ZMQ_MAXMSGSIZE, &(int64_t){ ACTOR_MESSAGE_MAX }, sizeof(int64_t));
    self->monitor_watch = watch_new_drain(self->loop, self->monitor, drain_monitor, self);
    self->watch = watch_new_drain(self->loop, self->socket, drain_replies, self);
    failed = zmq_connect(self->socket, self->endpoint);
    assert(failed == 0); /* the path's length was checked by paths.c */
}

/* Three descriptors are needed. While the process has none to spare, the link is not up. */
static void open_socket(struct link *self)
{
    void *socket = zmq_socket(self->context, ZMQ_DEALER);
    void *monitor = socket != NULL ? open_monitor(self, socket) : NULL;

    self->tries++;
    if (monitor == NULL) {
        if (self->tries == 1)
            log_warn("no descriptors for a link to %s: it comes up later", self->endpoint);
        if (socket != NULL)
            zmq_close(socket);
        self->open_ms = uv_now(self->loop) + OPEN_AGAIN_MS;
        return;
    }
    self->open_ms = UINT64_MAX;
    self->socket = socket;
    self->monitor = monitor;
    connect_socket(self);
}

struct link *link_new(struct uv_loop_s *loop, void *zmq_context, const char *endpoint,
                      const ProtobufCMessageDescriptor *reply)
{
    struct link *self = xcalloc(1, sizeof *self);

    self->loop = loop;
    self->context = zmq_context;
    self->endpoint = xstrdup(endpoint);
    self->reply = reply;
    self->pending_free = self->waiting_first = self->waiting_last = NOWHERE;
    self->timer_ms = UINT64_MAX;
    self->timer.data = self;
    uv_timer_init(loop, &self->timer);
    open_socket(self);
    arm_timer(self);
    return self;
}

void link_cancel_all(struct link *self)
{
    uint32_t most = self->heap_count + ACTOR_CALLS_MAX;

    self->closed = true;
    self->up = false;
    while (self->heap_count > 0 && most-- > 0)
        pending_finish(self, self->heap[0], LB_CANCELLED, lb_err_text(LB_CANCELLED), NULL);
    finish_refused(self);
}

static void on_timer_closed(uv_handle_t *timer)
{
    struct link *self = timer->data;

    free(self->pending);
    free(self->heap);
    free(self->endpoint);
    free(self);
}

void link_free(struct link **self)
{
    struct link *link = *self;

    *self = NULL;
    if (link == NULL)
        return;
    link->closed = true;
    while (link->waiting_first != NOWHERE)
        waiting_remove(link, link->waiting_first);
    while (link->refused != NULL) {
        struct refused *refused = link->refused;

        link->refused = refused->next;
        free(refused);
    }
    watch_free(&link->watch);
    watch_free(&link->monitor_watch);
    if (link->socket != NULL) {
        zmq_socket_monitor(link->socket, NULL, 0);
        zmq_close(link->socket);
        zmq_close(link->monitor);
    }
    uv_close((uv_handle_t *)&link->timer, on_timer_closed);
}
