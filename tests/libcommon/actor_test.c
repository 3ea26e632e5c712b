/* The actor: calls and their answers, the other side's death, and many calls. */
#include "tests/libcommon/actor_world.h"

#include "libcommon/memory.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static void a_call_is_replied_to(void **state)
{
    pid_t server = world_start_server();

    (void)state;
    world_run_client(client_get_hello, server);
    assert_int_equal(client.err, LB_OK);
    assert_string_equal(client.reason, "hello");
    assert_in_range(client.number, 1, 60000); /* the time left travels along */
    world_kill_server(server);
}

static void audit(struct client *self)
{
    client_audit(self, 7, client_end);
}

static void audit_of_nothing(struct client *self)
{
    client_audit(self, 0, client_end);
}

static void announce(struct client *self)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Announce message = LB__STORAGE__ANNOUNCE__INIT;

    request.body_case = LB__STORAGE__REQUEST__BODY_ANNOUNCE;
    request.announce = &message;
    client_call(self, &request, 60000, client_end);
}

static void remove_something(struct client *self)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Remove removal = LB__STORAGE__REMOVE__INIT;

    request.body_case = LB__STORAGE__REQUEST__BODY_REMOVE;
    request.remove = &removal;
    client_call(self, &request, 60000, client_end);
}

static void ask_nothing(struct client *self)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;

    client_call(self, &request, 60000, client_end);
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
    client_call(self, &request, 60000, client_end);
}

static void send_too_much(struct client *self)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Put put = LB__STORAGE__PUT__INIT;

    put.value.len = ACTOR_MESSAGE_MAX;
    put.value.data = xcalloc(1, ACTOR_MESSAGE_MAX);
    request.body_case = LB__STORAGE__REQUEST__BODY_PUT;
    request.put = &put;
    client_call(self, &request, 60000, client_end);
    free(put.value.data);
}

static void put_for_a_moment(struct client *self)
{
    client_put(self, 50, client_end);
}

static void get_without_time(struct client *self)
{
    client_get(self, "never sent", 0, client_end);
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
    pid_t server = world_start_server();

    (void)state;
    for (size_t i = 0; i < sizeof answer_rows / sizeof answer_rows[0]; i++) {
        const struct answer_row *row = &answer_rows[i];

        world_run_client(row->begin, server);
        if (client.err != row->err || strcmp(client.reason, row->reason) != 0)
            fail_msg("%s: %s, %s", row->what, lb_err_name(client.err), client.reason);
    }
    world_kill_server(server);
}

static void tell_then_count(struct client *self)
{
    client_get_stats(self, client_end);
}

static void tell_when_up(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Get get = LB__STORAGE__GET__INIT;

    (void)body;
    client_note(self, err, reason);
    request.body_case = LB__STORAGE__REQUEST__BODY_GET;
    request.get = &get;
    assert_true(link_is_up(self->link));
    for (int i = 0; i < 100; i++)
        link_tell(self->link, &request.base);
    tell_then_count(self);
}

static void tell_a_hundred(struct client *self)
{
    client_audit(self, 7, tell_when_up);
}

static void one_way_messages_arrive_and_are_not_answered(void **state)
{
    pid_t server = world_start_server();

    (void)state;
    world_run_client(tell_a_hundred, server);
    assert_int_equal(client.err, LB_OK);
    assert_int_equal(client.number, 100);
    assert_int_equal(client.answered, 2);
    world_kill_server(server);
}

/* ---- the other side dies and comes back ---- */

static void get_from_the_new_one(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;

    (void)body;
    client_note(self, err, reason);
    assert_int_equal(err, LB_UNAVAILABLE);
    assert_false(link_is_up(self->link));
    assert_int_equal(world_wait_for(self->server), -SIGKILL);
    self->server = world_start_server();
    client_get(self, "again", 60000, client_end); /* waits for it */
}

static void kill_it(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;

    (void)body;
    client_note(self, err, reason);
    assert_int_equal(err, LB_OK);
    /* Kept by the server and answered by nobody; a minute would be the limit of the test, too. */
    client_put(self, UINT32_MAX, get_from_the_new_one);
    kill(self->server, SIGKILL);
}

static void get_and_kill(struct client *self)
{
    client_get(self, "first", 60000, kill_it);
}

static void calls_fail_at_once_when_the_other_side_dies_and_work_when_it_is_back(void **state)
{
    (void)state;
    world_run_client(get_and_kill, world_start_server());
    assert_int_equal(client.answered, 3);
    assert_int_equal(client.err, LB_OK);
    assert_string_equal(client.reason, "again");
    world_kill_server(client.server);
}

static void start_late(uv_timer_t *timer)
{
    struct client *self = timer->data;

    self->server = world_start_server();
    uv_close((uv_handle_t *)timer, NULL);
}

static void get_before_there_is_a_server(struct client *self)
{
    static uv_timer_t timer;

    timer.data = self;
    uv_timer_init(actor_loop(self->actor), &timer);
    uv_timer_start(&timer, start_late, 50, 0);
    client_get(self, "patience", 60000, client_end);
}

static void a_call_waits_for_the_other_side_to_start(void **state)
{
    (void)state;
    world_run_client(get_before_there_is_a_server, 0);
    assert_int_equal(client.err, LB_OK);
    assert_string_equal(client.reason, "patience");
    world_kill_server(client.server);
}

/* ---- many ---- */

#define MANY   200000u
#define WINDOW 3000u

static void count_many(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;

    (void)body;
    client_note(self, err, reason);
    assert_int_equal(err, LB_OK);
    if (self->sent < MANY)
        client_get(self, "one of many", 60000, count_many);
    else if (self->answered == MANY)
        actor_stopped(self->actor);
}

static void get_many(struct client *self)
{
    while (self->sent < WINDOW)
        client_get(self, "one of many", 60000, count_many);
}

static void many_calls_pass_without_a_stall(void **state)
{
    pid_t server = world_start_server();

    (void)state;
    world_run_client(get_many, server);
    assert_int_equal(client.answered, MANY);
    world_kill_server(server);
}

static void count_refused(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;

    (void)body;
    client_note(self, err, reason);
    if (err == LB_UNAVAILABLE)
        self->number++;
    if (self->answered == self->sent)
        actor_stopped(self->actor);
}

static void get_more_than_allowed(struct client *self)
{
    while (self->sent < ACTOR_CALLS_MAX + 5)
        client_get(self, "one too many", 60000, count_refused);
}

static void calls_beyond_the_limit_are_refused(void **state)
{
    pid_t server = world_start_server();

    (void)state;
    world_run_client(get_more_than_allowed, server);
    assert_int_equal(client.answered, ACTOR_CALLS_MAX + 5);
    assert_int_equal(client.number, 5);
    world_kill_server(server);
}

static void end_at_once(struct client *self)
{
    client_put(self, 60000, count_refused);
    client_get(self, "x", 60000, count_refused);
    actor_stopped(self->actor);
}

static void what_is_under_way_is_cancelled_at_the_end(void **state)
{
    (void)state;
    world_run_client(end_at_once, 0);
    assert_int_equal(client.answered, 2);
    assert_int_equal(client.err, LB_CANCELLED);
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
    };

    return cmocka_run_group_tests_name("actor", tests, world_make_folder, world_remove_folder);
}
