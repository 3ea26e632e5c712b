#include "services/cli/client.h"

#include "libcommon/bytes.h"
#include "libcommon/clock.h"
#include "libcommon/listen.h"
#include "libcommon/memory.h"
#include "libcommon/message.h"
#include "proto/littlebird/v1/header.pb-c.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#define API_PROTOCOL     1
#define API_PACKAGE      "littlebird.v1."
#define ANSWER_BYTES_MAX (64 * 1024 * 1024)
#define SLICE_MS         200 /* how often we look whether the node still runs, and for Ctrl-C */
#define RECONNECT_MS     20
#define REQUEST_ID_SIZE  8
#define HEADER_BYTES_MAX 4096
#define WAITING_TOLD_MS  2000 /* a call that waits longer than this for a service says so */

struct client {
    struct paths paths;
    const volatile sig_atomic_t *interrupted;
    void *context, *socket, *monitor;
    bool up;
    bool gone;
    uint64_t next_id;
    char problem[640];
    client_waiting_fn *on_waiting;
    void *on_waiting_ctx;
    struct message_memory memory; /* of the last response */
    uint8_t buffer[4096];
};

/* One call while it is under way. */
struct attempt {
    const struct client_call *call;
    uint64_t begun_ms, deadline_ms;
    uint64_t send_ms; /* not before this */
    bool told;        /* that it waits */
    uint8_t id[REQUEST_ID_SIZE];
    char key[33];
    bool sent;
};

static void set_option(void *socket, int option, int value)
{
    int failed = zmq_setsockopt(socket, option, &value, sizeof value);

    assert(failed == 0);
}

struct client *client_new(const struct paths *paths, const volatile sig_atomic_t *interrupted)
{
    struct client *self = xcalloc(1, sizeof *self);
    char endpoint[PATHS_SIZE + 32];
    int failed;

    self->paths = *paths;
    self->interrupted = interrupted;
    self->next_id = clock_entropy();
    message_memory_init(&self->memory, self->buffer, sizeof self->buffer, ANSWER_BYTES_MAX);
    self->context = zmq_ctx_new();
    self->socket = zmq_socket(self->context, ZMQ_DEALER);
    self->monitor = zmq_socket(self->context, ZMQ_PAIR);
    assert(self->socket != NULL && self->monitor != NULL);
    set_option(self->socket, ZMQ_LINGER, 0);
    set_option(self->socket, ZMQ_IMMEDIATE, 1);
    set_option(self->socket, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    zmq_setsockopt(self->socket, ZMQ_MAXMSGSIZE, &(int64_t){ ANSWER_BYTES_MAX }, sizeof(int64_t));
    set_option(self->monitor, ZMQ_LINGER, 0);
    failed = zmq_socket_monitor(self->socket, "inproc://client",
                                ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED);
    assert(failed == 0);
    failed = zmq_connect(self->monitor, "inproc://client");
    assert(failed == 0);
    snprintf(endpoint, sizeof endpoint, "ipc://%s/api.sock", paths->run_folder);
    failed = zmq_connect(self->socket, endpoint);
    assert(failed == 0); /* paths.c saw to its length */
    return self;
}

void client_free(struct client **self)
{
    struct client *client = *self;

    *self = NULL;
    if (client == NULL)
        return;
    zmq_socket_monitor(client->socket, NULL, 0);
    zmq_close(client->socket);
    zmq_close(client->monitor);
    zmq_ctx_term(client->context);
    message_memory_done(&client->memory);
    free(client);
}

void client_on_waiting(struct client *self, client_waiting_fn *on_waiting, void *ctx)
{
    self->on_waiting = on_waiting;
    self->on_waiting_ctx = ctx;
}

const char *client_problem(const struct client *self)
{
    return self->problem;
}

bool client_node_is_gone(const struct client *self)
{
    return self->gone;
}

/* Services started by hand hold no lock: does anybody accept on the socket? */
static bool api_accepts(const struct paths *paths)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int size = snprintf(name.sun_path, sizeof name.sun_path, "%s/api.sock", paths->run_folder);
    int fd;
    bool accepted;

    if (size < 0 || (size_t)size >= sizeof name.sun_path)
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    accepted = fd >= 0 && (connect(fd, (const struct sockaddr *)&name, sizeof name) == 0 ||
                           errno == EAGAIN || errno == EACCES);
    if (fd >= 0)
        close(fd);
    return accepted;
}

bool client_node_runs(const struct paths *paths)
{
    long pid;

    return listen_lock_owner(paths->run_folder, &pid) == LB_OK || api_accepts(paths);
}

__attribute__((format(printf, 3, 4))) static lb_err fail(struct client *self, lb_err err,
                                                         const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(self->problem, sizeof self->problem, format, arguments);
    va_end(arguments);
    return err;
}

/* ---- sending ---- */

static size_t pack_header(const struct attempt *attempt, uint32_t timeout_ms,
                          uint8_t ret_packed[HEADER_BYTES_MAX])
{
    Littlebird__V1__Header header = LITTLEBIRD__V1__HEADER__INIT;
    char method[160];

    snprintf(method, sizeof method, API_PACKAGE "%s", attempt->call->method);
    header.protocol = API_PROTOCOL;
    header.method = method;
    header.request_id.data = (uint8_t *)(uintptr_t)attempt->id;
    header.request_id.len = sizeof attempt->id;
    header.timeout_ms = timeout_ms;
    header.idempotency_key = (char *)(uintptr_t)attempt->key;
    assert(littlebird__v1__header__get_packed_size(&header) <= HEADER_BYTES_MAX);
    return littlebird__v1__header__pack(&header, ret_packed);
}

/* Not possible just now is no failure: it is tried again. */
static bool send_request(struct client *self, const struct attempt *attempt, uint64_t now_ms)
{
    const ProtobufCMessage *request = attempt->call->request;
    uint64_t left_ms = attempt->deadline_ms - now_ms;
    uint8_t header[HEADER_BYTES_MAX];
    size_t size =
        pack_header(attempt, left_ms < UINT32_MAX ? (uint32_t)left_ms : UINT32_MAX, header);
    int events;
    zmq_msg_t body;

    /* Asking for the events makes libzmq take in the connection it has just made. */
    zmq_getsockopt(self->socket, ZMQ_EVENTS, &events, &(size_t){ sizeof events });
    if (zmq_send(self->socket, header, size, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return false;
    if (zmq_msg_init_size(&body, protobuf_c_message_get_packed_size(request)) != 0)
        abort(); /* out of memory */
    protobuf_c_message_pack(request, zmq_msg_data(&body));
    if (zmq_msg_send(&body, self->socket, ZMQ_DONTWAIT) >= 0)
        return true;
    zmq_msg_close(&body);
    return false;
}

/* ---- receiving ---- */

/* The codes of littlebird.v1.Status back into ours, where they mean something to a program. */
static lb_err err_of_code(int code)
{
    switch (code) {
    case 0:
        return LB_OK;
    case 1:
        return LB_CANCELLED;
    case 3:
        return LB_INVALID;
    case 4:
        return LB_TIMEOUT;
    case 5:
        return LB_NOT_FOUND;
    case 6:
        return LB_EXISTS;
    case 7:
        return LB_DENIED;
    case 8:
        return LB_FULL;
    case 10:
        return LB_CONFLICT;
    case 12:
        return LB_UNSUPPORTED;
    case 14:
        return LB_UNAVAILABLE;
    case 15:
        return LB_CORRUPT;
    default:
        return LB_INTERNAL;
    }
}

static struct bytes frame_bytes(zmq_msg_t *frame)
{
    return bytes_of(zmq_msg_data(frame), zmq_msg_size(frame));
}

/* Take the two frames of one message; false when there is none or it is no message of ours. */
static bool receive_frames(void *socket, zmq_msg_t frames[2])
{
    bool both;

    if (zmq_msg_recv(&frames[0], socket, ZMQ_DONTWAIT) < 0)
        return false;
    both = zmq_msg_more(&frames[0]) && zmq_msg_recv(&frames[1], socket, ZMQ_DONTWAIT) >= 0;
    for (int more = both ? zmq_msg_more(&frames[1]) : 0; more != 0;) {
        zmq_msg_t rest;

        both = false;
        zmq_msg_init(&rest);
        more = zmq_msg_recv(&rest, socket, ZMQ_DONTWAIT) >= 0 ? zmq_msg_more(&rest) : 0;
        zmq_msg_close(&rest);
    }
    return both;
}

static void tell_waiting(struct client *self, struct attempt *attempt, uint64_t now_ms)
{
    if (self->on_waiting == NULL || attempt->told || now_ms < attempt->begun_ms + WAITING_TOLD_MS)
        return;
    attempt->told = true;
    self->on_waiting(self->on_waiting_ctx, self->problem,
                     (unsigned)((attempt->deadline_ms - now_ms) / 1000));
}

enum verdict { VERDICT_GO_ON, VERDICT_DONE };

/* An answer to this attempt: its outcome in *ret_err, or a pause before it is tried again. */
static enum verdict take_answer(struct client *self, struct attempt *attempt, zmq_msg_t frames[2],
                                uint64_t now_ms, lb_err *ret_err, const void **ret_response)
{
    const Littlebird__V1__Status *status;
    const Littlebird__V1__Header *header;

    message_memory_done(&self->memory);
    message_memory_init(&self->memory, self->buffer, sizeof self->buffer, ANSWER_BYTES_MAX);
    header = (const Littlebird__V1__Header *)message_unpack(&littlebird__v1__header__descriptor,
                                                            frame_bytes(&frames[0]), &self->memory);
    if (header == NULL || !bytes_equal(bytes_of(header->request_id.data, header->request_id.len),
                                       bytes_of(attempt->id, sizeof attempt->id)))
        return VERDICT_GO_ON; /* of an earlier call that was given up */
    status = header->status;
    *ret_err = status != NULL ? err_of_code(status->code) : LB_INTERNAL;
    if (*ret_err == LB_UNAVAILABLE && status->retry_after_ms != 0 && !attempt->call->once) {
        attempt->send_ms = now_ms + status->retry_after_ms;
        attempt->sent = false;
        (void)fail(self, LB_UNAVAILABLE, "%s", status->message);
        if (attempt->send_ms < attempt->deadline_ms) {
            tell_waiting(self, attempt, now_ms);
            return VERDICT_GO_ON;
        }
    }
    if (*ret_err != LB_OK) {
        (void)fail(self, *ret_err, "%s",
                   status != NULL && status->message[0] != '\0' ? status->message
                                                                : lb_err_text(*ret_err));
        return VERDICT_DONE;
    }
    *ret_response = message_unpack(attempt->call->response, frame_bytes(&frames[1]), &self->memory);
    if (*ret_response == NULL)
        *ret_err = fail(self, LB_INTERNAL, "the answer is malformed");
    return VERDICT_DONE;
}

static enum verdict receive(struct client *self, struct attempt *attempt, uint64_t now_ms,
                            lb_err *ret_err, const void **ret_response)
{
    enum verdict verdict = VERDICT_GO_ON;
    zmq_msg_t frames[2];

    zmq_msg_init(&frames[0]);
    zmq_msg_init(&frames[1]);
    if (receive_frames(self->socket, frames))
        verdict = take_answer(self, attempt, frames, now_ms, ret_err, ret_response);
    zmq_msg_close(&frames[0]);
    zmq_msg_close(&frames[1]);
    return verdict;
}

/* ---- the connection ---- */

/* True when it broke. */
static bool watch_connection(struct client *self)
{
    uint16_t event = 0;
    uint8_t frame[256];
    bool broke = false;

    while (zmq_recv(self->monitor, frame, sizeof frame, ZMQ_DONTWAIT) >= 0) {
        memcpy(&event, frame, sizeof event);
        zmq_recv(self->monitor, frame, sizeof frame, ZMQ_DONTWAIT); /* the address */
        self->up = event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
        broke |= event == ZMQ_EVENT_DISCONNECTED;
    }
    return broke;
}

/* Wait for something to happen, a moment at most. */
static void wait_a_moment(struct client *self, const struct attempt *attempt, uint64_t now_ms)
{
    zmq_pollitem_t items[] = { { .socket = self->socket, .events = ZMQ_POLLIN },
                               { .socket = self->monitor, .events = ZMQ_POLLIN } };
    uint64_t until_ms = now_ms + SLICE_MS;

    if (!attempt->sent && self->up)
        until_ms = now_ms + RECONNECT_MS;
    if (attempt->deadline_ms < until_ms)
        until_ms = attempt->deadline_ms;
    zmq_poll(items, 2, until_ms > now_ms ? (long)(until_ms - now_ms) : 0);
}

static void begin(struct client *self, struct attempt *attempt, const struct client_call *call)
{
    uint8_t key[16];
    uint64_t now_ms = clock_monotonic_ms();

    *attempt = (struct attempt){ .call = call,
                                 .begun_ms = now_ms,
                                 .deadline_ms = now_ms + call->timeout_ms };
    store_u64(attempt->id, self->next_id++);
    clock_entropy_bytes(key, sizeof key);
    hex_encode(key, sizeof key, attempt->key);
    self->gone = false;
    self->problem[0] = '\0';
}

lb_err client_call(struct client *self, const struct client_call *call, const void **ret_response)
{
    struct attempt attempt;
    lb_err err = LB_OK;

    begin(self, &attempt, call);
    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();

        if (receive(self, &attempt, now_ms, &err, ret_response) == VERDICT_DONE)
            return err;
        if (watch_connection(self) && attempt.sent) {
            if (call->once)
                return fail(self, LB_UNAVAILABLE,
                            "the gateway ended meanwhile; whether it was done is not known");
            attempt.sent = false;
        }
        if (self->interrupted != NULL && *self->interrupted)
            return fail(self, LB_CANCELLED, "interrupted");
        if (!self->up && !client_node_runs(&self->paths)) {
            self->gone = true;
            return fail(self, LB_UNAVAILABLE, "the node is not running");
        }
        if (now_ms >= attempt.deadline_ms)
            return self->problem[0] != '\0'
                       ? LB_UNAVAILABLE
                       : fail(self, LB_TIMEOUT, "no answer within %u s", call->timeout_ms / 1000);
        if (!attempt.sent && self->up && now_ms >= attempt.send_ms)
            attempt.sent = send_request(self, &attempt, now_ms);
        wait_a_moment(self, &attempt, now_ms);
    }
}
