/* The actor: what it tells of itself, how it is scaled, and how it begins and ends. */
#include "tests/libcommon/actor_world.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static void wait_until_ready(pid_t server)
{
    world_run_client(client_get_hello, server);
    assert_int_equal(client.err, LB_OK);
}

static void the_status_slot_tells_how_it_is(void **state)
{
    pid_t server = world_start_server();
    struct status_slot *slot;
    struct page page;

    (void)state;
    wait_until_ready(server);
    slot = world_slot(&page);
    assert_int_equal(atomic_load(&slot->pid), server);
    assert_int_equal(atomic_load(&slot->state), STATE_READY);
    assert_true(atomic_load(&slot->heartbeat_ms) > 0);
    assert_string_equal(slot->counters[0].name, "requests");
    assert_int_equal(atomic_load(&slot->counters[0].value), 1);
    kill(server, SIGTERM);
    assert_int_equal(world_wait_for(server), 0);
    assert_int_equal(atomic_load(&slot->state), STATE_STOPPED);
    assert_int_equal(atomic_load(&slot->pid), 0);
    page_close(&page);
}

static void scale_storage(struct client *self)
{
    struct page page;

    assert_int_equal(actor_active(self->actor, SERVICE_STORAGE), 1); /* nobody has said anything */
    world_open_page(&page, true);
    status_page_set_active(&page, SERVICE_STORAGE, 3);
    assert_int_equal(actor_active(self->actor, SERVICE_STORAGE), 1); /* not within a turn */
    page_close(&page);
}

static void a_service_is_told_how_many_instances_there_are(void **state)
{
    struct page page;

    (void)state;
    world_run_client(scale_storage, 0);
    assert_int_equal(client.answered, 1);
    assert_int_equal(client.number, 3);
    world_open_page(&page, true);
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
    const struct status_slot *slot = world_slot(&page);

    (void)body;
    client_note(self, err, reason);
    self->number = atomic_load(&slot->overdue_ms);
    if (self->number == 0)
        client_get(self, "hello", 60000, ask_until_overdue);
    else
        actor_stopped(self->actor);
    assert_true(self->number == 0 || atomic_load(&slot->answered) > 0);
    page_close(&page);
}

static void leave_a_put_unanswered(struct client *self)
{
    client_put(self, 50, ask_until_overdue);
}

static void the_status_slot_tells_what_is_overdue(void **state)
{
    pid_t server = world_start_server();
    struct status_slot *slot;
    struct page page;

    (void)state;
    wait_until_ready(server);
    slot = world_slot(&page);
    assert_int_equal(atomic_load(&slot->overdue_ms), 0);
    world_run_client(leave_a_put_unanswered, server);
    assert_true(client.number > 0);
    page_close(&page);
    world_kill_server(server);
}

/* Once a heartbeat has counted it, and one answer later. */
static void ask_until_queued(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;
    struct page page;
    const struct status_slot *slot = world_slot(&page);
    bool was_queued = self->number > 0;

    (void)body;
    client_note(self, err, reason);
    self->number = atomic_load(&slot->queue);
    if (was_queued) {
        assert_int_equal(atomic_load(&slot->backlog_ms), 0);
        assert_int_equal(atomic_load(&slot->overdue_ms), 0);
        actor_stopped(self->actor);
    } else {
        client_get(self, "hello", 60000, ask_until_queued);
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
    client_call(self, &request, 50, ask_until_queued);
}

static void what_is_to_last_is_no_backlog(void **state)
{
    pid_t server = world_start_server();

    (void)state;
    wait_until_ready(server);
    world_run_client(leave_a_lasting_put, server);
    assert_true(client.number > 0);
    world_kill_server(server);
}

static void end_with_a_second_signal(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;

    (void)body;
    client_note(self, err, reason);
    if (self->answered == 1) {
        kill(self->server, SIGTERM); /* it is stubborn: it goes on and answers */
        client_get(self, "still here", 60000, end_with_a_second_signal);
    } else if (self->answered == 2) {
        client_put(self, 60000, client_end); /* kept until the service ends */
        client_get(self, "the put is with you", 60000, end_with_a_second_signal);
    } else if (self->answered == 3) {
        kill(self->server, SIGTERM);
    }
}

static void make_stubborn(struct client *self)
{
    client_get(self, "be stubborn", 60000, end_with_a_second_signal);
}

static void a_second_signal_ends_a_drain_that_does_not_end(void **state)
{
    pid_t server = world_start_server();

    (void)state;
    wait_until_ready(server);
    world_run_client(make_stubborn, server);
    assert_int_equal(client.err, LB_UNAVAILABLE);
    assert_int_equal(world_wait_for(server), 0);
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
        char *argv[] = { "lb-storage",
                         "--dir",
                         world_folder,
                         (char *)row->arguments[0],
                         (char *)row->arguments[1],
                         NULL };
        pid_t pid = fork();
        int code;

        if (pid == 0) {
            if (freopen("/dev/null", "w", stdout) == NULL ||
                freopen("/dev/null", "w", stderr) == NULL)
                _exit(99);
            _exit(actor_main(&world_server, row->arguments[1] != NULL ? 5 : 4, argv));
        }
        code = world_wait_for(pid);
        if (code != row->code)
            fail_msg("%s: %d", row->what, code);
    }
}

static void handle_any(void *ctx, struct call *call, const void *body)
{
    (void)ctx;
    (void)body;
    call_done(&call);
}

static void a_request_without_a_handler_is_found(void **state)
{
    handler_fn *table[] = {
        [LB__STORAGE__REQUEST__BODY_QUESTIONS] = handle_any,
        [LB__STORAGE__REQUEST__BODY_PUT] = handle_any,
        [LB__STORAGE__REQUEST__BODY_GET] = handle_any,
        [LB__STORAGE__REQUEST__BODY_ANNOUNCE] = handle_any,
        [LB__STORAGE__REQUEST__BODY_GET_STATS] = handle_any,
        [LB__STORAGE__REQUEST__BODY_REMOVE] = handle_any,
        [LB__STORAGE__REQUEST__BODY_AUDIT] = handle_any,
    };
    struct service_definition definition = world_server;
    char *argv[] = { "lb-storage", "--version", NULL };
    pid_t pid;

    (void)state;
    definition.is_partial = false;
    assert_string_equal(actor_unhandled(&definition), "questions");
    pid = fork();
    if (pid == 0)
        _exit(freopen("/dev/null", "w", stderr) != NULL ? actor_main(&definition, 2, argv) : 99);
    assert_int_equal(world_wait_for(pid), 70);
    definition.handlers = table;
    definition.handlers_count = sizeof table / sizeof *table;
    assert_null(actor_unhandled(&definition));
    table[LB__STORAGE__REQUEST__BODY_GET] = NULL;
    assert_string_equal(actor_unhandled(&definition), "get");
    table[LB__STORAGE__REQUEST__BODY_GET] = handle_any;
    definition.handlers_count--;
    assert_string_equal(actor_unhandled(&definition), "audit");
    assert_null(actor_unhandled(&world_client));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_status_slot_tells_how_it_is),
        cmocka_unit_test(the_status_slot_tells_what_is_overdue),
        cmocka_unit_test(what_is_to_last_is_no_backlog),
        cmocka_unit_test(a_service_is_told_how_many_instances_there_are),
        cmocka_unit_test(a_second_signal_ends_a_drain_that_does_not_end),
        cmocka_unit_test(exit_codes),
        cmocka_unit_test(a_request_without_a_handler_is_found),
    };

    return cmocka_run_group_tests_name("actor_life", tests, world_make_folder, world_remove_folder);
}
