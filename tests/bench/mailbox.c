/*
 * What a call between two services costs, beside the same bytes through bare ZeroMQ sockets in two
 * processes (recv and send in a blocking loop: the machine's limit). With many calls under way, and
 * with one at a time. Printed are calls per second and the CPU time of both processes per call.
 *
 * usage: bench-mailbox [CALLS]
 */
#include "libcommon/actor.h"
#include "libcommon/clock.h"
#include "libcommon/link.h"
#include "libcommon/memory.h"
#include "proto/storage.pb-c.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#define WINDOW        256
#define CALLS_DEFAULT 300000
#define BODY_SIZE     40

static char folder[64];
static unsigned calls, window;

/* ---- two actors ---- */

static void on_get(void *ctx, struct call *call, const void *body)
{
    const Lb__Storage__Get *get = body;
    Lb__Storage__Reply reply = LB__STORAGE__REPLY__INIT;
    Lb__Storage__Value value = LB__STORAGE__VALUE__INIT;

    (void)ctx;
    value.value = get->key;
    reply.body_case = LB__STORAGE__REPLY__BODY_VALUE;
    reply.value = &value;
    call_reply(&call, &reply.base);
}

static handler_fn *const handlers[] = { [LB__STORAGE__REQUEST__BODY_GET] = on_get };

static lb_err start_server(struct actor *actor, void **ret_ctx)
{
    *ret_ctx = actor;
    return LB_OK;
}

static void free_nothing(void *ctx)
{
    (void)ctx;
}

static const struct service_definition server = { .service = SERVICE_STORAGE,
                                                  .request = &lb__storage__request__descriptor,
                                                  .reply = &lb__storage__reply__descriptor,
                                                  .handlers = handlers,
                                                  .handlers_count =
                                                      sizeof handlers / sizeof handlers[0],
                                                  .is_partial = true,
                                                  .start = start_server,
                                                  .free = free_nothing };

struct client {
    struct actor *actor;
    struct link *link;
    unsigned sent, answered;
};

static void on_answer(void *ctx, lb_err err, const char *reason, const void *body);

static void ask(struct client *self)
{
    static uint8_t key[BODY_SIZE];
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;
    Lb__Storage__Get get = LB__STORAGE__GET__INIT;

    get.name_case = LB__STORAGE__GET__NAME_KEY;
    get.key = (ProtobufCBinaryData){ sizeof key, key };
    request.body_case = LB__STORAGE__REQUEST__BODY_GET;
    request.get = &get;
    self->sent++;
    link_call(self->link, &request.base, 60000, on_answer, self);
}

static void on_answer(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct client *self = ctx;

    (void)body;
    if (err != LB_OK) {
        fprintf(stderr, "bench-mailbox: a call failed: %s\n", reason);
        exit(1);
    }
    if (self->sent < calls)
        ask(self);
    if (++self->answered == calls)
        actor_stopped(self->actor);
}

static lb_err start_client(struct actor *actor, void **ret_ctx)
{
    struct client *self = xcalloc(1, sizeof *self);

    self->actor = actor;
    self->link = actor_link(actor, SERVICE_STORAGE, 0, &lb__storage__reply__descriptor);
    while (self->sent < window)
        ask(self);
    *ret_ctx = self;
    return LB_OK;
}

static const struct service_definition client = { .service = SERVICE_GATEWAY,
                                                  .request = &lb__storage__request__descriptor,
                                                  .reply = &lb__storage__reply__descriptor,
                                                  .start = start_client,
                                                  .free = free };

static int run_actor(const struct service_definition *definition)
{
    char *argv[] = { "lb-bench", "--dir", folder, "--set", "node.log_level=error", NULL };

    return actor_main(definition, 5, argv);
}

static int actor_server(void)
{
    return run_actor(&server);
}

static int actor_client(void)
{
    return run_actor(&client);
}

/* ---- two bare sockets ---- */

static void *bare_socket(void *context, int type, bool bind)
{
    void *socket = zmq_socket(context, type);
    char endpoint[128];

    zmq_setsockopt(socket, ZMQ_LINGER, &(int){ 0 }, sizeof(int));
    zmq_setsockopt(socket, ZMQ_RECONNECT_IVL, &(int){ 5 }, sizeof(int));
    snprintf(endpoint, sizeof endpoint, "ipc://%s/bare.sock", folder);
    if ((bind ? zmq_bind(socket, endpoint) : zmq_connect(socket, endpoint)) != 0)
        exit(1);
    return socket;
}

/* Frame by frame back to where they came from, until it is killed. */
static int bare_server(void)
{
    void *socket = bare_socket(zmq_ctx_new(), ZMQ_ROUTER, true);
    zmq_msg_t frame;

    zmq_msg_init(&frame);
    for (;;) {
        if (zmq_msg_recv(&frame, socket, 0) < 0)
            return 1;
        zmq_msg_send(&frame, socket, zmq_msg_more(&frame) ? ZMQ_SNDMORE : 0);
    }
}

static void bare_ask(void *socket)
{
    uint8_t header[8] = { 0 }, body[BODY_SIZE + 6] = { 0 };

    zmq_send(socket, header, sizeof header, ZMQ_SNDMORE);
    zmq_send(socket, body, sizeof body, 0);
}

static int bare_client(void)
{
    void *context = zmq_ctx_new(), *socket = bare_socket(context, ZMQ_DEALER, false);
    unsigned sent = 0;
    zmq_msg_t frame;

    zmq_msg_init(&frame);
    for (; sent < window; sent++)
        bare_ask(socket);
    for (unsigned answered = 0; answered < calls; answered++) {
        zmq_msg_recv(&frame, socket, 0);
        zmq_msg_recv(&frame, socket, 0);
        if (sent < calls) {
            bare_ask(socket);
            sent++;
        }
    }
    zmq_msg_close(&frame);
    zmq_close(socket);
    zmq_ctx_term(context);
    return 0;
}

/* ---- measuring ---- */

static pid_t start(int (*run)(void))
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(run());
    return pid;
}

/* CPU time of a process that has ended, in us. */
static double end(pid_t pid, int *ret_status)
{
    struct rusage usage;

    if (wait4(pid, ret_status, 0, &usage) != pid)
        exit(1);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void measure(const char *what, int (*run_server)(void), int (*run_client)(void))
{
    pid_t server_pid = start(run_server), client_pid;
    uint64_t begin_us = clock_monotonic_us();
    double client_us, server_us, elapsed_us;
    int status;

    client_pid = start(run_client);
    client_us = end(client_pid, &status);
    elapsed_us = (double)(clock_monotonic_us() - begin_us);
    kill(server_pid, SIGKILL);
    server_us = end(server_pid, &(int){ 0 });
    if (status != 0)
        exit(1);
    printf("%-28s %10.0f %10.2f %10.2f %10.2f\n", what, calls / elapsed_us * 1e6,
           elapsed_us / calls, client_us / calls, server_us / calls);
}

int main(int argc, char **argv)
{
    unsigned asked = argc > 1 ? (unsigned)atoi(argv[1]) : CALLS_DEFAULT;
    char command[128];

    snprintf(folder, sizeof folder, "/tmp/lb-bench-XXXXXX");
    if (asked < WINDOW || mkdtemp(folder) == NULL) {
        fprintf(stderr, "usage: bench-mailbox [CALLS], at least %d\n", WINDOW);
        return 2;
    }
    printf("%-28s %10s %10s %10s %10s\n", "", "calls/s", "us a call", "CPU caller", "CPU callee");
    setvbuf(stdout, NULL, _IOLBF, 0);
    calls = asked;
    window = WINDOW;
    measure("bare ZeroMQ, 256 under way", bare_server, bare_client);
    measure("actors, 256 under way", actor_server, actor_client);
    calls = asked / 15;
    window = 1;
    measure("bare ZeroMQ, one at a time", bare_server, bare_client);
    measure("actors, one at a time", actor_server, actor_client);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}
