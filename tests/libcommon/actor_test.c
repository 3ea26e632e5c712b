/*
 * The actor, over real ipc sockets in a folder of its own: a server process and, in this process,
 * an actor that asks it. Nothing sleeps; a run that hangs is ended by alarm(2).
 */
#include "libcommon/actor.h"
#include "libcommon/link.h"
#include "libcommon/memory.h"
#include "libcommon/message.h"
#include "libcommon/status_page.h"
#include "proto/common.pb-c.h"
#include "proto/storage.pb-c.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>
#include <zmq.h>

#include <cmocka.h>

#define LIMIT_S 120

static char folder[64]; /* --dir of both */

/* ---- the server: lb-storage's messages with handlers of our own ---- */

struct server {
    struct actor *actor;
    struct call *kept;
    uint64_t gets;
    bool stubborn; /* does not drain */
};

static void on_get(void *ctx, struct call *call, const void *body)
{
    struct server *self = ctx;
    const Lb__Storage__Get *get = body;
    Lb__Storage__Reply reply = LB__STORAGE__REPLY__INIT;
    Lb__Storage__Value value = LB__STORAGE__VALUE__INIT;

    self->gets++;
    if (get->name_case == LB__STORAGE__GET__NAME_KEY)
        value.value = get->key;
    if (bytes_equal_text(bytes_of(value.value.data, value.value.len), "be stubborn"))
        self->stubborn = true;
    value.holders = call_time_left_ms(call);
    reply.body_case = LB__STORAGE__REPLY__BODY_VALUE;
    reply.value = &value;
    call_reply(&call, &reply.base);
}

/* Kept until the next one comes or the service ends. */
static void on_put(void *ctx, struct call *call, const void *body)
{
    struct server *self = ctx;
    const Lb__Storage__Put *put = body;

    if (put->name_case == LB__STORAGE__PUT__NAME_IMMUTABLE) { /* an answer that is too big */
        Lb__Storage__Reply reply = LB__STORAGE__REPLY__INIT;
        Lb__Storage__Value value = LB__STORAGE__VALUE__INIT;

        value.value.len = ACTOR_MESSAGE_MAX;
        value.value.data = xcalloc(1, ACTOR_MESSAGE_MAX);
        reply.body_case = LB__STORAGE__REPLY__BODY_VALUE;
        reply.value = &value;
        call_reply(&call, &reply.base);
        free(value.value.data);
        return;
    }
    if (put->name_case == LB__STORAGE__PUT__NAME_KEY)
        call_lasts(call);
    if (self->kept != NULL)
        call_fail(&self->kept, LB_CANCELLED, "another came");
    self->kept = call;
}

static void on_audit(void *ctx, struct call *call, const void *body)
{
    const Lb__Storage__Audit *audit = body;

    (void)ctx;
    if (audit->sample_max == 0)
        call_done(&call);
    else
        call_fail(&call, LB_DENIED, "not %u of them", audit->sample_max);
}

/* It is lb-swarm's alone to send, and the client is lb-gateway. */
static void on_announce(void *ctx, struct call *call, const void *body)
{
    (void)ctx;
    (void)body;
    call_fail(&call, LB_INTERNAL, "this was not for us");
}

static void on_get_stats(void *ctx, struct call *call, const void *body)
{
    struct server *self = ctx;
    Lb__Storage__Reply reply = LB__STORAGE__REPLY__INIT;
    Lb__Storage__Stats stats = LB__STORAGE__STATS__INIT;

    (void)body;
    stats.items = self->gets;
    reply.body_case = LB__STORAGE__REPLY__BODY_STATS;
    reply.stats = &stats;
    call_reply(&call, &reply.base);
}

static lb_err server_start(struct actor *actor, void **ret_ctx)
{
    struct server *self = xcalloc(1, sizeof *self);

    self->actor = actor;
    *ret_ctx = self;
    return LB_OK;
}

static void server_stop(void *ctx)
{
    struct server *self = ctx;

    if (!self->stubborn)
        actor_stopped(self->actor);
}

static void server_free(void *ctx)
{
    free(ctx); /* a kept call is answered by the actor */
}

static handler_fn *const server_handlers[] = {
    [LB__STORAGE__REQUEST__BODY_GET] = on_get,
    [LB__STORAGE__REQUEST__BODY_PUT] = on_put,
    [LB__STORAGE__REQUEST__BODY_ANNOUNCE] = on_announce,
    [LB__STORAGE__REQUEST__BODY_GET_STATS] = on_get_stats,
    [LB__STORAGE__REQUEST__BODY_AUDIT] = on_audit,
};

static const struct service_definition server_definition = {
    .service = SERVICE_STORAGE,
    .request = &lb__storage__request__descriptor,
    .reply = &lb__storage__reply__descriptor,
    .handlers = server_handlers,
    .handlers_count = sizeof server_handlers / sizeof server_handlers[0],
    .is_partial = true,
    .start = server_start,
    .stop = server_stop,
    .free = server_free,
};

static pid_t start_server(void)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        char *argv[] = { "lb-storage", "--dir", folder, "--set", "node.log_level=error", NULL };

        alarm(LIMIT_S);
        _exit(actor_main(&server_definition, 5, argv));
    }
    return pid;
}

/* Returns the exit code, or minus the signal. */
static int wait_for(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void kill_server(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(wait_for(pid), -SIGKILL);
}

/* ---- the client: an actor that runs one scenario ---- */

struct client {
    struct actor *actor;
    struct link *link;
    void (*begin)(struct client *self);
    pid_t server;
    unsigned sent, answered;
    lb_err err;
    char reason[128];
    uint64_t number;
    bool inside_call;
};

static struct client client; /* the scenario of this test */

static lb_err client_start(struct actor *actor, void **ret_ctx)
{
    client.actor = actor;
    client.link = actor_link(actor, SERVICE_STORAGE, 0, &lb__storage__reply__descriptor);
    *ret_ctx = &client;
    client.begin(&client);
    return LB_OK;
}

static void client_stop(void *ctx)
{
    struct client *self = ctx;

    actor_stopped(self->actor);
}

static void client_free(void *ctx)
{
    (void)ctx;
}

/* The number of its calls, and storage's of the last. */
static void client_scaled(void *ctx)
{
    struct client *self = ctx;

    self->answered++;
    self->number = actor_active(self->actor, SERVICE_STORAGE);
    assert_int_equal(actor_active(self->actor, SERVICE_SWARM), 1);
    actor_stopped(self->actor);
}

static const struct service_definition client_definition = {
    .scaled = client_scaled,
    .service = SERVICE_GATEWAY,
    .request = &lb__storage__request__descriptor,
    .reply = &lb__storage__reply__descriptor,
    .start = client_start,
    .stop = client_stop,
    .free = client_free,
};

static void run_client(void (*begin)(struct client *self), pid_t server)
{
    char *argv[] = { "lb-gateway", "--dir", folder, "--set", "node.log_level=error", NULL };

    client = (struct client){ .begin = begin, .server = server };
    assert_int_equal(actor_main(&client_definition, 5, argv), 0);
}

static void call(struct client *self, const Lb__Storage__Request *request, uint32_t timeout_ms,
                 reply_fn *on_reply)
{
    self->sent++;
    self->inside_call = true;
    link_call(self->link, &request->base, timeout_ms, on_reply, self);
    self->inside_call = false;
}

static void call_get(struct client *self, const char *key, uint32_t timeout_ms, reply_fn *on_reply)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Get get = LB__STORAGE__GET__INIT;

    get.name_case = LB__STORAGE__GET__NAME_KEY;
    get.key.data = (uint8_t *)key;
    get.key.len = strlen(key);
    request.body_case = LB__STORAGE__REQUEST__BODY_GET;
    request.get = &get;
    call(self, &request, timeout_ms, on_reply);
}

/* A put is kept by the server. */
static void call_put(struct client *self, uint32_t timeout_ms, reply_fn *on_reply)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Put put = LB__STORAGE__PUT__INIT;

    request.body_case = LB__STORAGE__REQUEST__BODY_PUT;
    request.put = &put;
    call(self, &request, timeout_ms, on_reply);
}

static void call_audit(struct client *self, uint32_t sample_max, reply_fn *on_reply)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Audit audit = LB__STORAGE__AUDIT__INIT;

    audit.sample_max = sample_max;
    request.body_case = LB__STORAGE__REQUEST__BODY_AUDIT;
    request.audit = &audit;
    call(self, &request, 60000, on_reply);
}

static void call_get_stats(struct client *self, reply_fn *on_reply)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__GetStats stats = LB__STORAGE__GET_STATS__INIT;

    request.body_case = LB__STORAGE__REQUEST__BODY_GET_STATS;
    request.get_stats = &stats;
    call(self, &request, 60000, on_reply);
}

static void note_answer(struct client *self, lb_err err, const char *reason)
{
    assert_false(self->inside_call);
    self->answered++;
    self->err = err;
    snprintf(self->reason, sizeof self->reason, "%s", reason);
}

/* Most scenarios end with their one answer. */
static void end_with_answer(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;
    const Lb__Storage__Reply *reply = body;

    note_answer(self, err, reason);
    assert_int_equal(err == LB_OK, reply != NULL);
    if (reply != NULL && reply->body_case == LB__STORAGE__REPLY__BODY_STATS)
        self->number = reply->stats->items;
    if (reply != NULL && reply->body_case == LB__STORAGE__REPLY__BODY_VALUE) {
        snprintf(self->reason, sizeof self->reason, "%.*s", (int)reply->value->value.len,
                 (const char *)reply->value->value.data);
        self->number = reply->value->holders;
    }
    actor_stopped(self->actor);
}

/* ---- the tests ---- */

static void get_hello(struct client *self)
{
    call_get(self, "hello", 60000, end_with_answer);
}

static void a_call_is_replied_to(void **state)
{
    pid_t server = start_server();

    (void)state;
    run_client(get_hello, server);
    assert_int_equal(client.err, LB_OK);
    assert_string_equal(client.reason, "hello");
    assert_in_range(client.number, 1, 60000); /* the time left travels along */
    kill_server(server);
}

static void audit(struct client *self)
{
    call_audit(self, 7, end_with_answer);
}

static void audit_of_nothing(struct client *self)
{
    call_audit(self, 0, end_with_answer);
}

static void announce(struct client *self)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Announce message = LB__STORAGE__ANNOUNCE__INIT;

    request.body_case = LB__STORAGE__REQUEST__BODY_ANNOUNCE;
    request.announce = &message;
    call(self, &request, 60000, end_with_answer);
}

static void remove_something(struct client *self)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Remove removal = LB__STORAGE__REMOVE__INIT;

    request.body_case = LB__STORAGE__REQUEST__BODY_REMOVE;
    request.remove = &removal;
    call(self, &request, 60000, end_with_answer);
}

static void ask_nothing(struct client *self)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;

    call(self, &request, 60000, end_with_answer);
}

static void ask_for_too_much(struct client *self)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Put put = LB__STORAGE__PUT__INIT;
    Lb__Storage__ImmutablePut immutable = LB__STORAGE__IMMUTABLE_PUT__INIT;

    put.name_case = LB__STORAGE__PUT__NAME_IMMUTABLE;
    put.immutable = &immutable;
    request.body_case = LB__STORAGE__REQUEST__BODY_PUT;
    request.put = &put;
    call(self, &request, 60000, end_with_answer);
}

static void send_too_much(struct client *self)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Put put = LB__STORAGE__PUT__INIT;

    put.value.len = ACTOR_MESSAGE_MAX;
    put.value.data = xcalloc(1, ACTOR_MESSAGE_MAX);
    request.body_case = LB__STORAGE__REQUEST__BODY_PUT;
    request.put = &put;
    call(self, &request, 60000, end_with_answer);
    free(put.value.data);
}

static void put_for_a_moment(struct client *self)
{
    call_put(self, 50, end_with_answer);
}

static void get_without_time(struct client *self)
{
    call_get(self, "never sent", 0, end_with_answer);
}

static const struct answer_row {
    const char *what;
    void (*begin)(struct client *self);
    lb_err err;
    const char *reason;
} answer_rows[] = {
    { "a handler's failure reaches the caller", audit, LB_DENIED, "not 7 of them" },
    { "a request that is another service's to send is denied", announce, LB_DENIED,
      "gateway may not send announce to storage" },
    { "a one-way message that wants a reply is refused", audit_of_nothing, LB_UNSUPPORTED,
      "there is no reply to this request" },
    { "a request without a handler is refused", remove_something, LB_UNSUPPORTED,
      "unknown request" },
    { "a request without a body is refused", ask_nothing, LB_UNSUPPORTED, "unknown request" },
    { "a reply that is too big becomes an error", ask_for_too_much, LB_TOO_BIG,
      "the reply would have 2097162 bytes" },
    { "a request that is too big is not sent", send_too_much, LB_TOO_BIG, "too big" },
    { "a call without an answer ends in time", put_for_a_moment, LB_TIMEOUT, "no answer in time" },
    { "a call without time ends at once", get_without_time, LB_TIMEOUT, "no answer in time" },
};

static void answers(void **state)
{
    pid_t server = start_server();

    (void)state;
    for (size_t i = 0; i < sizeof answer_rows / sizeof answer_rows[0]; i++) {
        const struct answer_row *row = &answer_rows[i];

        run_client(row->begin, server);
        if (client.err != row->err || strcmp(client.reason, row->reason) != 0)
            fail_msg("%s: %s, %s", row->what, lb_err_name(client.err), client.reason);
    }
    kill_server(server);
}

static void tell_then_count(struct client *self)
{
    call_get_stats(self, end_with_answer);
}

static void tell_when_up(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Get get = LB__STORAGE__GET__INIT;

    (void)body;
    note_answer(self, err, reason);
    request.body_case = LB__STORAGE__REQUEST__BODY_GET;
    request.get = &get;
    assert_true(link_is_up(self->link));
    for (int i = 0; i < 100; i++)
        link_tell(self->link, &request.base);
    tell_then_count(self);
}

static void tell_a_hundred(struct client *self)
{
    call_audit(self, 7, tell_when_up);
}

static void one_way_messages_arrive_and_are_not_answered(void **state)
{
    pid_t server = start_server();

    (void)state;
    run_client(tell_a_hundred, server);
    assert_int_equal(client.err, LB_OK);
    assert_int_equal(client.number, 100);
    assert_int_equal(client.answered, 2);
    kill_server(server);
}

/* ---- the other side dies and comes back ---- */

static void get_from_the_new_one(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;

    (void)body;
    note_answer(self, err, reason);
    assert_int_equal(err, LB_UNAVAILABLE);
    assert_false(link_is_up(self->link));
    assert_int_equal(wait_for(self->server), -SIGKILL);
    self->server = start_server();
    call_get(self, "again", 60000, end_with_answer); /* waits for it */
}

static void kill_it(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;

    (void)body;
    note_answer(self, err, reason);
    assert_int_equal(err, LB_OK);
    /* Kept by the server and answered by nobody; a minute would be the limit of the test, too. */
    call_put(self, UINT32_MAX, get_from_the_new_one);
    kill(self->server, SIGKILL);
}

static void get_and_kill(struct client *self)
{
    call_get(self, "first", 60000, kill_it);
}

static void calls_fail_at_once_when_the_other_side_dies_and_work_when_it_is_back(void **state)
{
    (void)state;
    run_client(get_and_kill, start_server());
    assert_int_equal(client.answered, 3);
    assert_int_equal(client.err, LB_OK);
    assert_string_equal(client.reason, "again");
    kill_server(client.server);
}

static void start_late(uv_timer_t *timer)
{
    struct client *self = timer->data;

    self->server = start_server();
    uv_close((uv_handle_t *)timer, NULL);
}

static void get_before_there_is_a_server(struct client *self)
{
    static uv_timer_t timer;

    timer.data = self;
    uv_timer_init(actor_loop(self->actor), &timer);
    uv_timer_start(&timer, start_late, 50, 0);
    call_get(self, "patience", 60000, end_with_answer);
}

static void a_call_waits_for_the_other_side_to_start(void **state)
{
    (void)state;
    run_client(get_before_there_is_a_server, 0);
    assert_int_equal(client.err, LB_OK);
    assert_string_equal(client.reason, "patience");
    kill_server(client.server);
}

/* ---- many ---- */

#define MANY   200000u
#define WINDOW 3000u

static void count_many(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;

    (void)body;
    note_answer(self, err, reason);
    assert_int_equal(err, LB_OK);
    if (self->sent < MANY)
        call_get(self, "one of many", 60000, count_many);
    else if (self->answered == MANY)
        actor_stopped(self->actor);
}

static void get_many(struct client *self)
{
    while (self->sent < WINDOW)
        call_get(self, "one of many", 60000, count_many);
}

static void many_calls_pass_without_a_stall(void **state)
{
    pid_t server = start_server();

    (void)state;
    run_client(get_many, server);
    assert_int_equal(client.answered, MANY);
    kill_server(server);
}

static void count_refused(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;

    (void)body;
    note_answer(self, err, reason);
    if (err == LB_UNAVAILABLE)
        self->number++;
    if (self->answered == self->sent)
        actor_stopped(self->actor);
}

static void get_more_than_allowed(struct client *self)
{
    while (self->sent < ACTOR_CALLS_MAX + 5)
        call_get(self, "one too many", 60000, count_refused);
}

static void calls_beyond_the_limit_are_refused(void **state)
{
    pid_t server = start_server();

    (void)state;
    run_client(get_more_than_allowed, server);
    assert_int_equal(client.answered, ACTOR_CALLS_MAX + 5);
    assert_int_equal(client.number, 5);
    kill_server(server);
}

static void end_at_once(struct client *self)
{
    call_put(self, 60000, count_refused);
    call_get(self, "x", 60000, count_refused);
    actor_stopped(self->actor);
}

static void what_is_under_way_is_cancelled_at_the_end(void **state)
{
    (void)state;
    run_client(end_at_once, 0);
    assert_int_equal(client.answered, 2);
    assert_int_equal(client.err, LB_CANCELLED);
}

/* ---- malformed frames ---- */

struct raw {
    void *context;
    void *socket;
};

static void raw_open(struct raw *self)
{
    char endpoint[256];
    int limit_ms = LIMIT_S * 1000;

    self->context = zmq_ctx_new();
    self->socket = zmq_socket(self->context, ZMQ_DEALER);
    snprintf(endpoint, sizeof endpoint, "ipc://%s/run/storage-0.sock", folder);
    zmq_setsockopt(self->socket, ZMQ_RCVTIMEO, &limit_ms, sizeof limit_ms);
    zmq_setsockopt(self->socket, ZMQ_LINGER, &(int){ 0 }, sizeof(int));
    zmq_setsockopt(self->socket, ZMQ_RECONNECT_IVL, &(int){ 20 }, sizeof(int));
    assert_int_equal(zmq_connect(self->socket, endpoint), 0);
}

static void raw_close(struct raw *self)
{
    zmq_close(self->socket);
    zmq_ctx_term(self->context);
}

static void raw_send(struct raw *self, const char *const *frames, const size_t *sizes, int count)
{
    for (int i = 0; i < count; i++)
        assert_true(zmq_send(self->socket, frames[i], sizes[i], i + 1 < count ? ZMQ_SNDMORE : 0) >=
                    0);
}

/* The next answer: its call id, and its error in *ret_err. */
static uint64_t raw_receive(struct raw *self, lb_err *ret_err)
{
    uint8_t header[4096], body[4096], buffer[1024];
    struct message_memory memory;
    struct message_header fields;
    int header_size = zmq_recv(self->socket, header, sizeof header, 0);
    int body_size = zmq_recv(self->socket, body, sizeof body, 0);

    assert_true(header_size > 0 && body_size >= 0);
    message_memory_init(&memory, buffer, sizeof buffer, MESSAGE_MEMORY_MAX);
    assert_int_equal(message_header_unpack(bytes_of(header, (size_t)header_size), &memory, &fields),
                     LB_OK);
    *ret_err = fields.err;
    message_memory_done(&memory);
    return fields.call_id;
}

#define HEADER_1 "\x08\x01" /* call_id = 1 */
#define HEADER_0 ""         /* no reply is wanted */
#define GET_X    "\x1a\x03\x0a\x01x"

#define ANSWERED_BY(err) true, err
#define NOT_ANSWERED     false, LB_OK

static const struct frame_row {
    const char *what;
    int count;
    const char *frames[4];
    size_t sizes[4];
    bool answered;
    lb_err err;
} frame_rows[] = {
    { "a request", 2, { HEADER_1, GET_X }, { 2, 5 }, ANSWERED_BY(LB_OK) },
    { "one-way", 2, { HEADER_0, GET_X }, { 0, 5 }, NOT_ANSWERED },
    { "a header that is none", 2, { "\xff\xff", GET_X }, { 2, 5 }, NOT_ANSWERED },
    { "a header cut short", 2, { "\x08", GET_X }, { 1, 5 }, NOT_ANSWERED },
    { "no body", 1, { HEADER_1 }, { 2 }, ANSWERED_BY(LB_INVALID) },
    { "three frames", 3, { HEADER_1, GET_X, GET_X }, { 2, 5, 5 }, ANSWERED_BY(LB_INVALID) },
    { "four frames", 4, { HEADER_1, "", "", GET_X }, { 2, 0, 0, 5 }, ANSWERED_BY(LB_INVALID) },
    { "an empty body", 2, { HEADER_1, "" }, { 2, 0 }, ANSWERED_BY(LB_UNSUPPORTED) },
    { "a body that is none", 2, { HEADER_1, "\x1a\x7f\x0a" }, { 2, 3 }, ANSWERED_BY(LB_INVALID) },
    { "a case from the future",
      2,
      { HEADER_1, "\xfa\x3e\x00" },
      { 2, 3 },
      ANSWERED_BY(LB_UNSUPPORTED) },
    { "one empty frame", 1, { "" }, { 0 }, NOT_ANSWERED },
    { "two cases at once: the last counts",
      2,
      { HEADER_1, GET_X "\x2a\x00" },
      { 2, 7 },
      ANSWERED_BY(LB_OK) },
};

/* Each row is followed by a good request, so that silence is seen without waiting for it. */
static void malformed_frames_cost_their_sender_an_error(void **state)
{
    static const char *const marker[] = { "\x08\x02", GET_X };
    static const size_t marker_sizes[] = { 2, 5 };
    pid_t server = start_server();
    struct raw raw;

    (void)state;
    raw_open(&raw);
    for (size_t i = 0; i < sizeof frame_rows / sizeof frame_rows[0]; i++) {
        const struct frame_row *row = &frame_rows[i];
        lb_err err;
        uint64_t id;

        raw_send(&raw, row->frames, row->sizes, row->count);
        raw_send(&raw, marker, marker_sizes, 2);
        id = raw_receive(&raw, &err);
        if (row->answered) {
            if (id != 1 || err != row->err)
                fail_msg("%s: id %d, %s", row->what, (int)id, lb_err_name(err));
            id = raw_receive(&raw, &err);
        }
        if (id != 2 || err != LB_OK)
            fail_msg("%s: then id %d, %s", row->what, (int)id, lb_err_name(err));
    }
    raw_close(&raw);
    kill_server(server);
}

/* A frame beyond the limit ends its connection, which then comes back; the server stays. */
static void a_frame_that_is_too_big_ends_its_connection_only(void **state)
{
    pid_t server = start_server();
    char *big = xcalloc(1, ACTOR_MESSAGE_MAX + 1);
    const char *frames[] = { HEADER_1, big };
    const size_t sizes[] = { 2, ACTOR_MESSAGE_MAX + 1 };
    struct raw raw;

    (void)state;
    raw_open(&raw);
    raw_send(&raw, frames, sizes, 2);
    run_client(get_hello, server);
    assert_int_equal(client.err, LB_OK);
    raw_close(&raw);
    free(big);
    kill_server(server);
}

static void the_errors_of_messages_are_those_of_functions(void **state)
{
    (void)state; /* the numbers are held equal by static assertions in message.c */
#define LB_ONE(name, number, sentence) +1
    assert_int_equal(lb__err__descriptor.n_values, LB_ERRORS(LB_ONE));
#undef LB_ONE
}

/* Two megabytes that would unpack into a hundred are refused. */
static void empty_submessages_do_not_fill_the_memory(void **state)
{
    uint8_t buffer[64];
    struct message_memory memory;
    size_t size = 2 * 1024 * 1024 - 16;
    uint8_t *packed = xmalloc(size);

    (void)state;
    for (size_t i = 0; i < size; i += 2) {
        packed[i] = 0x0a;
        packed[i + 1] = 0;
    }
    message_memory_init(&memory, buffer, sizeof buffer, MESSAGE_MEMORY_MAX);
    assert_null(
        message_unpack(&lb__storage__questions__descriptor, bytes_of(packed, size), &memory));
    assert_true(memory.taken <= MESSAGE_MEMORY_MAX);
    message_memory_done(&memory);
    free(packed);
}

/* ---- life ---- */

static void wait_until_ready(pid_t server)
{
    run_client(get_hello, server);
    assert_int_equal(client.err, LB_OK);
}

static struct status_slot *server_slot(struct page *page)
{
    char run[128];

    snprintf(run, sizeof run, "%s/run", folder);
    assert_int_equal(status_page_open(page, run, false), LB_OK);
    return status_page_slot(page, SERVICE_STORAGE, 0);
}

static void the_status_slot_tells_how_it_is(void **state)
{
    pid_t server = start_server();
    struct status_slot *slot;
    struct page page;

    (void)state;
    wait_until_ready(server);
    slot = server_slot(&page);
    assert_int_equal(atomic_load(&slot->pid), server);
    assert_int_equal(atomic_load(&slot->state), STATE_READY);
    assert_true(atomic_load(&slot->heartbeat_ms) > 0);
    assert_string_equal(slot->counters[0].name, "requests");
    assert_int_equal(atomic_load(&slot->counters[0].value), 1);
    kill(server, SIGTERM);
    assert_int_equal(wait_for(server), 0);
    assert_int_equal(atomic_load(&slot->state), STATE_STOPPED);
    assert_int_equal(atomic_load(&slot->pid), 0);
    page_close(&page);
}

static void scale_storage(struct client *self)
{
    struct page page;
    char run[128];

    assert_int_equal(actor_active(self->actor, SERVICE_STORAGE), 1); /* nobody has said anything */
    snprintf(run, sizeof run, "%s/run", folder);
    assert_int_equal(status_page_open(&page, run, true), LB_OK);
    status_page_set_active(&page, SERVICE_STORAGE, 3);
    assert_int_equal(actor_active(self->actor, SERVICE_STORAGE), 1); /* not within a turn */
    page_close(&page);
}

static void a_service_is_told_how_many_instances_there_are(void **state)
{
    struct page page;
    char run[128];

    (void)state;
    run_client(scale_storage, 0);
    assert_int_equal(client.answered, 1);
    assert_int_equal(client.number, 3);
    snprintf(run, sizeof run, "%s/run", folder);
    assert_int_equal(status_page_open(&page, run, true), LB_OK);
    status_page_set_active(&page, SERVICE_STORAGE, 0);
    assert_int_equal(status_page_active(&page, SERVICE_STORAGE), 1);
    status_page_set_active(&page, SERVICE_STORAGE, 99);
    assert_int_equal(status_page_active(&page, SERVICE_STORAGE), STATUS_INSTANCES_MAX);
    status_page_set_active(&page, SERVICE_STORAGE, 0);
    page_close(&page);
}

/* The server is asked for other things until its heartbeat has said what it had to say. */
static void ask_until_overdue(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;
    struct page page;
    const struct status_slot *slot = server_slot(&page);

    (void)body;
    note_answer(self, err, reason);
    self->number = atomic_load(&slot->overdue_ms);
    if (self->number == 0)
        call_get(self, "hello", 60000, ask_until_overdue);
    else
        actor_stopped(self->actor);
    assert_true(self->number == 0 || atomic_load(&slot->answered) > 0);
    page_close(&page);
}

static void leave_a_put_unanswered(struct client *self)
{
    call_put(self, 50, ask_until_overdue);
}

static void the_status_slot_tells_what_is_overdue(void **state)
{
    pid_t server = start_server();
    struct status_slot *slot;
    struct page page;

    (void)state;
    wait_until_ready(server);
    slot = server_slot(&page);
    assert_int_equal(atomic_load(&slot->overdue_ms), 0);
    run_client(leave_a_put_unanswered, server);
    assert_true(client.number > 0);
    page_close(&page);
    kill_server(server);
}

/* Once a heartbeat has counted it, and one answer later. */
static void ask_until_queued(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;
    struct page page;
    const struct status_slot *slot = server_slot(&page);
    bool was_queued = self->number > 0;

    (void)body;
    note_answer(self, err, reason);
    self->number = atomic_load(&slot->queue);
    if (was_queued) {
        assert_int_equal(atomic_load(&slot->backlog_ms), 0);
        assert_int_equal(atomic_load(&slot->overdue_ms), 0);
        actor_stopped(self->actor);
    } else {
        call_get(self, "hello", 60000, ask_until_queued);
    }
    page_close(&page);
}

static void leave_a_lasting_put(struct client *self)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Put put = LB__STORAGE__PUT__INIT;

    put.name_case = LB__STORAGE__PUT__NAME_KEY;
    request.body_case = LB__STORAGE__REQUEST__BODY_PUT;
    request.put = &put;
    call(self, &request, 50, ask_until_queued);
}

static void what_is_to_last_is_no_backlog(void **state)
{
    pid_t server = start_server();

    (void)state;
    wait_until_ready(server);
    run_client(leave_a_lasting_put, server);
    assert_true(client.number > 0);
    kill_server(server);
}

static void end_with_a_second_signal(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;

    (void)body;
    note_answer(self, err, reason);
    if (self->answered == 1) {
        kill(self->server, SIGTERM); /* it is stubborn: it goes on and answers */
        call_get(self, "still here", 60000, end_with_a_second_signal);
    } else if (self->answered == 2) {
        call_put(self, 60000, end_with_answer); /* kept until the service ends */
        call_get(self, "the put is with you", 60000, end_with_a_second_signal);
    } else if (self->answered == 3) {
        kill(self->server, SIGTERM);
    }
}

static void make_stubborn(struct client *self)
{
    call_get(self, "be stubborn", 60000, end_with_a_second_signal);
}

static void a_second_signal_ends_a_drain_that_does_not_end(void **state)
{
    pid_t server = start_server();

    (void)state;
    wait_until_ready(server);
    run_client(make_stubborn, server);
    assert_int_equal(client.err, LB_UNAVAILABLE);
    assert_int_equal(wait_for(server), 0);
}

static const struct exit_row {
    const char *what;
    const char *arguments[3];
    int code;
} exit_rows[] = {
    { "help is no failure", { "--help" }, 0 },
    { "the version is no failure", { "--version" }, 0 },
    { "an unknown option is a usage error", { "--frobnicate" }, 2 },
    { "an argument is a usage error", { "frobnicate" }, 2 },
    { "an instance is a number", { "--instance", "one" }, 2 },
    { "there are sixteen instances", { "--instance", "16" }, 2 },
    { "a wrong key is a configuration error", { "--set", "node.lissten=x" }, 78 },
    { "a wrong value is a configuration error", { "--set", "transport.workers=99" }, 78 },
};

static void exit_codes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof exit_rows / sizeof exit_rows[0]; i++) {
        const struct exit_row *row = &exit_rows[i];
        char *argv[] = {
            "lb-storage", "--dir", folder, (char *)row->arguments[0], (char *)row->arguments[1],
            NULL
        };
        pid_t pid = fork();
        int code;

        if (pid == 0) {
            if (freopen("/dev/null", "w", stdout) == NULL ||
                freopen("/dev/null", "w", stderr) == NULL)
                _exit(99);
            _exit(actor_main(&server_definition, row->arguments[1] != NULL ? 5 : 4, argv));
        }
        code = wait_for(pid);
        if (code != row->code)
            fail_msg("%s: %d", row->what, code);
    }
}

static void a_request_without_a_handler_is_found(void **state)
{
    handler_fn *table[] = {
        [LB__STORAGE__REQUEST__BODY_QUESTIONS] = on_get,
        [LB__STORAGE__REQUEST__BODY_PUT] = on_put,
        [LB__STORAGE__REQUEST__BODY_GET] = on_get,
        [LB__STORAGE__REQUEST__BODY_ANNOUNCE] = on_announce,
        [LB__STORAGE__REQUEST__BODY_GET_STATS] = on_get_stats,
        [LB__STORAGE__REQUEST__BODY_REMOVE] = on_get,
        [LB__STORAGE__REQUEST__BODY_AUDIT] = on_get,
    };
    struct service_definition definition = server_definition;
    char *argv[] = { "lb-storage", "--version", NULL };
    pid_t pid;

    (void)state;
    definition.is_partial = false;
    assert_string_equal(actor_unhandled(&definition), "questions");
    pid = fork();
    if (pid == 0)
        _exit(freopen("/dev/null", "w", stderr) != NULL ? actor_main(&definition, 2, argv) : 99);
    assert_int_equal(wait_for(pid), 70);
    definition.handlers = table;
    definition.handlers_count = sizeof table / sizeof *table;
    assert_null(actor_unhandled(&definition));
    table[LB__STORAGE__REQUEST__BODY_GET] = NULL;
    assert_string_equal(actor_unhandled(&definition), "get");
    table[LB__STORAGE__REQUEST__BODY_GET] = on_get;
    definition.handlers_count--;
    assert_string_equal(actor_unhandled(&definition), "audit");
    assert_null(actor_unhandled(&client_definition));
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lb-actor-test-XXXXXX");
    alarm(LIMIT_S);
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_is_replied_to),
        cmocka_unit_test(answers),
        cmocka_unit_test(one_way_messages_arrive_and_are_not_answered),
        cmocka_unit_test(calls_fail_at_once_when_the_other_side_dies_and_work_when_it_is_back),
        cmocka_unit_test(a_call_waits_for_the_other_side_to_start),
        cmocka_unit_test(many_calls_pass_without_a_stall),
        cmocka_unit_test(calls_beyond_the_limit_are_refused),
        cmocka_unit_test(what_is_under_way_is_cancelled_at_the_end),
        cmocka_unit_test(malformed_frames_cost_their_sender_an_error),
        cmocka_unit_test(a_frame_that_is_too_big_ends_its_connection_only),
        cmocka_unit_test(the_errors_of_messages_are_those_of_functions),
        cmocka_unit_test(empty_submessages_do_not_fill_the_memory),
        cmocka_unit_test(the_status_slot_tells_how_it_is),
        cmocka_unit_test(the_status_slot_tells_what_is_overdue),
        cmocka_unit_test(what_is_to_last_is_no_backlog),
        cmocka_unit_test(a_service_is_told_how_many_instances_there_are),
        cmocka_unit_test(a_second_signal_ends_a_drain_that_does_not_end),
        cmocka_unit_test(exit_codes),
        cmocka_unit_test(a_request_without_a_handler_is_found),
    };

    return cmocka_run_group_tests_name("actor", tests, make_folder, remove_folder);
}
