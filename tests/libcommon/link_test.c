/* A link that is made in a process that has few descriptors left, or none. */
#include "libcommon/accept.h"
#include "libcommon/link.h"
#include "libcommon/watch.h"
#include "proto/storage.pb-c.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>
#include <zmq.h>

#define LIMIT_S   120
#define STARVE_MS 50 /* how long there are none: it was made then, and has failed */

struct world {
    uv_loop_t loop;
    uv_timer_t timer;
    void *context, *mailbox;
    struct watch *watch;
    struct link *link;
    struct rlimit before;
    lb_err verdict;
    uint64_t answer;
};

/* Every request is answered with its own header and the same figure. */
static void answer(void *ctx, void *mailbox)
{
    Lb__Storage__Reply reply = LB__STORAGE__REPLY__INIT;
    Lb__Storage__Stats stats = LB__STORAGE__STATS__INIT;
    uint8_t peer[256], header[256], body[256];
    int peer_size = zmq_recv(mailbox, peer, sizeof peer, 0);
    int header_size = zmq_recv(mailbox, header, sizeof header, 0);

    (void)ctx;
    assert_true(zmq_recv(mailbox, body, sizeof body, 0) >= 0);
    stats.items = 42;
    reply.body_case = LB__STORAGE__REPLY__BODY_STATS;
    reply.stats = &stats;
    zmq_send(mailbox, peer, (size_t)peer_size, ZMQ_SNDMORE);
    zmq_send(mailbox, header, (size_t)header_size, ZMQ_SNDMORE);
    zmq_send(mailbox, body, lb__storage__reply__pack(&reply, body), 0);
}

static void on_reply(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct world *self = ctx;
    const Lb__Storage__Reply *reply = body;

    (void)reason;
    self->verdict = err;
    self->answer = reply != NULL && reply->stats != NULL ? reply->stats->items : 0;
    uv_stop(&self->loop);
}

/* Until there are so many and no gap. */
static void leave_descriptors(struct rlimit *ret_before, unsigned left)
{
    const int next = dup(STDIN_FILENO);
    struct rlimit limit;

    assert_true(next >= 0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, ret_before), 0);
    limit = *ret_before;
    limit.rlim_cur = (rlim_t)next + left;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void there_are_descriptors_again(uv_timer_t *timer)
{
    struct world *self = timer->data;

    assert_int_equal(setrlimit(RLIMIT_NOFILE, &self->before), 0);
}

static void close_all(struct world *self)
{
    link_cancel_all(self->link);
    link_free(&self->link);
    watch_free(&self->watch);
    uv_close((uv_handle_t *)&self->timer, NULL);
    uv_run(&self->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&self->loop), 0);
    zmq_close(self->mailbox);
    zmq_ctx_term(self->context);
}

static const struct row {
    const char *what;
    unsigned left;
    bool for_good; /* there are none to the end */
} rows[] = {
    { "no descriptor: the link comes up later, and the call that waited is answered", 0, false },
    { "none for its monitor", 1, false },
    { "none for the other end of its monitor", 2, false },
    { "none for the connection", 3, false },
    { "no descriptor to the end: the call ends at its time", 0, true },
    { "none for the monitor to the end", 2, true },
};

static void linked(void **state)
{
    const struct row *row = *state;
    char folder[] = "/tmp/lb-link-XXXXXX", path[64], endpoint[80];
    struct world world = { .verdict = LB_INTERNAL };
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__GetStats get_stats = LB__STORAGE__GET_STATS__INIT;

    alarm(LIMIT_S);
    request.body_case = LB__STORAGE__REQUEST__BODY_GET_STATS;
    request.get_stats = &get_stats;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/sock", folder);
    snprintf(endpoint, sizeof endpoint, "ipc://%s", path);
    assert_int_equal(uv_loop_init(&world.loop), 0);
    world.context = zmq_ctx_new();
    world.mailbox = zmq_socket(world.context, ZMQ_ROUTER);
    assert_int_equal(zmq_bind(world.mailbox, endpoint), 0);
    world.watch = watch_new(&world.loop, world.mailbox, answer, NULL);
    uv_timer_init(&world.loop, &world.timer);
    world.timer.data = &world;
    if (!row->for_good)
        uv_timer_start(&world.timer, there_are_descriptors_again, STARVE_MS, 0);

    leave_descriptors(&world.before, row->left);
    world.link = link_new(&world.loop, world.context, endpoint, &lb__storage__reply__descriptor);
    assert_false(link_is_up(world.link));
    link_tell(world.link, &request.base); /* nobody there: it is lost, as ever */
    link_call(world.link, &request.base, row->for_good ? 250 : LIMIT_S * 1000, on_reply, &world);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(world.verdict, row->for_good ? LB_TIMEOUT : LB_OK);
    assert_int_equal(world.answer, row->for_good ? 0 : 42);
    assert_int_equal(link_is_up(world.link), !row->for_good);

    assert_int_equal(setrlimit(RLIMIT_NOFILE, &world.before), 0);
    close_all(&world);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    accept_keep_spare();
    return RUN_ROWS(rows, linked);
}
