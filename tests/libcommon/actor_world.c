#include "tests/libcommon/actor_world.h"

#include "libcommon/bytes.h"
#include "libcommon/memory.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

char world_folder[64];

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

const struct service_definition world_server = {
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

pid_t world_start_server(void)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        char *argv[] = {
            "lb-storage", "--dir", world_folder, "--set", "node.log_level=error", NULL
        };

        alarm(LIMIT_S);
        _exit(actor_main(&world_server, 5, argv));
    }
    return pid;
}

/* Returns the exit code, or minus the signal. */
int world_wait_for(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void world_kill_server(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(world_wait_for(pid), -SIGKILL);
}

/* ---- the client: an actor that runs one scenario ---- */

struct client client;

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

const struct service_definition world_client = {
    .scaled = client_scaled,
    .service = SERVICE_GATEWAY,
    .request = &lb__storage__request__descriptor,
    .reply = &lb__storage__reply__descriptor,
    .start = client_start,
    .stop = client_stop,
    .free = client_free,
};

void world_run_client(void (*begin)(struct client *self), pid_t server)
{
    char *argv[] = { "lb-gateway", "--dir", world_folder, "--set", "node.log_level=error", NULL };

    client = (struct client){ .begin = begin, .server = server };
    assert_int_equal(actor_main(&world_client, 5, argv), 0);
}

void client_call(struct client *self, const Lb__Storage__Request *request, uint32_t timeout_ms,
                 reply_fn *on_reply)
{
    self->sent++;
    self->inside_call = true;
    link_call(self->link, &request->base, timeout_ms, on_reply, self);
    self->inside_call = false;
}

void client_get(struct client *self, const char *key, uint32_t timeout_ms, reply_fn *on_reply)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Get get = LB__STORAGE__GET__INIT;

    get.name_case = LB__STORAGE__GET__NAME_KEY;
    get.key.data = (uint8_t *)key;
    get.key.len = strlen(key);
    request.body_case = LB__STORAGE__REQUEST__BODY_GET;
    request.get = &get;
    client_call(self, &request, timeout_ms, on_reply);
}

/* A put is kept by the server. */
void client_put(struct client *self, uint32_t timeout_ms, reply_fn *on_reply)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Put put = LB__STORAGE__PUT__INIT;

    request.body_case = LB__STORAGE__REQUEST__BODY_PUT;
    request.put = &put;
    client_call(self, &request, timeout_ms, on_reply);
}

void client_audit(struct client *self, uint32_t sample_max, reply_fn *on_reply)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Audit audit = LB__STORAGE__AUDIT__INIT;

    audit.sample_max = sample_max;
    request.body_case = LB__STORAGE__REQUEST__BODY_AUDIT;
    request.audit = &audit;
    client_call(self, &request, 60000, on_reply);
}

void client_get_stats(struct client *self, reply_fn *on_reply)
{
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__GetStats stats = LB__STORAGE__GET_STATS__INIT;

    request.body_case = LB__STORAGE__REQUEST__BODY_GET_STATS;
    request.get_stats = &stats;
    client_call(self, &request, 60000, on_reply);
}

void client_note(struct client *self, lb_err err, const char *reason)
{
    assert_false(self->inside_call);
    self->answered++;
    self->err = err;
    snprintf(self->reason, sizeof self->reason, "%s", reason);
}

/* Most scenarios end with their one answer. */
void client_end(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;
    const Lb__Storage__Reply *reply = body;

    client_note(self, err, reason);
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

void client_get_hello(struct client *self)
{
    client_get(self, "hello", 60000, client_end);
}

/* ---- the folder of both ---- */

void world_open_page(struct page *page, bool writable)
{
    char run[128];

    snprintf(run, sizeof run, "%s/run", world_folder);
    assert_int_equal(status_page_open(page, run, writable), LB_OK);
}

struct status_slot *world_slot(struct page *page)
{
    world_open_page(page, false);
    return status_page_slot(page, SERVICE_STORAGE, 0);
}

int world_make_folder(void **state)
{
    (void)state;
    snprintf(world_folder, sizeof world_folder, "/tmp/lb-actor-test-XXXXXX");
    alarm(LIMIT_S);
    return mkdtemp(world_folder) != NULL ? 0 : -1;
}

int world_remove_folder(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", world_folder);
    return system(command);
}
