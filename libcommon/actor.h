/*
 * The actor: one service's event loop, its mailbox, and its links to other services.
 *
 * A service is a struct of state, a table of handlers and cores. The actor owns the libuv loop, a
 * ZeroMQ ROUTER socket (the mailbox, ipc://RUN/SERVICE-INSTANCE.sock) and one DEALER socket per
 * link. Messages are two frames: lb.Header, then the service's Request or Reply. The dispatcher
 * unpacks the request, finds the handler by its oneof case and hands it a call; an unknown case or
 * a malformed frame is answered with an error and counted, and costs nothing else. So is a request
 * that its sender may not send: libcommon/access.c says who may, the kernel who it is.
 *
 * ZMQ_FD is edge-triggered: ZMQ_EVENTS is read again before every sleep, sockets are drained with a
 * budget per turn, and the loop stays awake while anything is left (DESIGN, "Event loop").
 *
 * The runtime also carries the service's life: configuration, status slot, heartbeat and watchdog
 * from the loop itself, READY, drain on SIGTERM (5 s, a second SIGTERM ends it at once).
 */
#pragma once

#include "libcommon/error.h"
#include "libcommon/paths.h"
#include "libcommon/status_page.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACTOR_MESSAGE_MAX (2u * 1024 * 1024) /* bytes of one frame: a 1 MiB value and its frame */
#define ACTOR_CALLS_MAX   16384u             /* requests taken in and not yet answered */

struct actor;
struct call;
struct config;
struct config_problem;
struct link;
struct uv_loop_s;

/* Answers or keeps the call. body is the message in the oneof; it lives as long as the call. */
typedef void handler_fn(void *ctx, struct call *call, const void *body);

/* What a service is. One constant of this per service, in its main.c. */
struct service_definition {
    enum service service;
    const ProtobufCMessageDescriptor *request; /* a message with one oneof */
    const ProtobufCMessageDescriptor *reply;
    handler_fn *const *handlers; /* indexed by the oneof case; NULL: others ask it for nothing */
    size_t handlers_count;
    bool is_partial; /* for tests: requests without a handler are meant to be refused */

    /*
     * Called in order by actor_main: start opens what the service owns and returns its state in
     * *ret_ctx (LB_OK, or a problem: the process ends with code 78 for LB_INVALID, 77 for
     * LB_DENIED, else 1). stop begins the drain: no new work; call actor_stopped() when finished.
     * free ends it: calls kept and calls made have ended by then or end now; libuv handles are
     * given to uv_close(), and since these need one more turn of the loop, state that embeds
     * handles goes to actor_free_later() instead of free(). A service that has said nothing by
     * actor_state() when start returns is READY; one that needs longer says STARTING there.
     */
    lb_err (*start)(struct actor *actor, void **ret_ctx);
    void (*stop)(void *ctx);
    void (*free)(void *ctx);

    /*
     * For the supervisor, else NULL: called before the status slot and the mailbox are taken, so
     * that a second node of a folder touches nothing of the first. *ret_ctx is what start finds in
     * its own.
     */
    lb_err (*claim)(struct actor *actor, void **ret_ctx);
    uint32_t drain_limit_ms; /* the drain ends then, finished or not; 0: after 5 s */

    /*
     * Called from the loop when actor_active() of any service has changed, its own too; may be
     * NULL. Links to further instances may be made then. Not called before start has returned, nor
     * for what actor_active() said there.
     */
    void (*scaled)(void *ctx);

    /*
     * The configuration was read again and keys that are LIVE in config_reload.h have other values:
     * actor_config() has them already. For what the service has copied from there; may be NULL.
     */
    void (*reload)(void *ctx, const struct config *now);

    /* SIGHUP; NULL, as for all but the supervisor: read the configuration again. */
    void (*hangup)(void *ctx);
};

/*
 * The whole of main(): parses the common options (--dir, --system, --instance N, --set
 * section.key=value, --help, --version), loads the configuration, opens log and status slot, binds
 * the mailbox (or takes it from the manager as descriptor "mailbox"), runs until stopped. Returns
 * the exit code.
 */
int actor_main(const struct service_definition *definition, int argc, char **argv);

/*
 * The first request of its descriptor that the service has no handler for, by name; NULL when it
 * has them all. actor_main ends with code 70 when there is one, before it looks at anything else:
 * every start of a program tests its table, and tests/libcommon/handlers_test starts them all.
 */
const char *actor_unhandled(const struct service_definition *definition);

/* ---- for services ---- */

struct uv_loop_s *actor_loop(const struct actor *self);
void *
actor_zmq(const struct actor *self); /* the ZeroMQ context, for sockets of the service's own */
const struct config *actor_config(const struct actor *self);
const struct paths *actor_paths(const struct actor *self);
unsigned actor_instance(const struct actor *self);
char *const *actor_arguments(const struct actor *self); /* argv after the program's name */
struct status_slot *actor_status(const struct actor *self);
uint64_t actor_now_ms(const struct actor *self); /* monotonic, of this turn of the loop */
uint64_t actor_random_seed(const struct actor *self);

/*
 * How many instances of a service there are to be sent to, 0 .. this - 1: at least 1. It changes
 * between two turns of the loop, or in actor_look(), only; see status_page.h and
 * service_definition.scaled.
 */
unsigned actor_active(const struct actor *self, enum service service);

/* Look at it now and not at the next heartbeat: scaled() is called from within when it changed. */
void actor_look(struct actor *self);

/*
 * The configuration as a process started now would have it, checked, not used yet: the caller frees
 * *ret_now. *ret_digest is that of the files alone. LB_INVALID or LB_IO and *ret_problem.
 */
LB_MUST_CHECK lb_err actor_read_config(const struct actor *self, struct config **ret_now,
                                       uint64_t *ret_digest, struct config_problem *ret_problem);

/* A counter in the status page; made at first use, cached by the caller. Never NULL. */
struct status_counter *actor_counter(struct actor *self, const char *name);

/* Say how we are: READY or DEGRADED with a line why. Told to the manager, once per change. */
void actor_state(struct actor *self, enum service_state state, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The drain is finished; the loop ends. */
void actor_stopped(struct actor *self);

/* free() memory once the loop is closed: for state in which libuv handles were embedded. */
void actor_free_later(struct actor *self, void *memory);

/* ---- calls: what others ask of us ---- */

/* Answer with a Reply whose oneof is set; packs at once, consumes the call. */
void call_reply(struct call **call, const ProtobufCMessage *reply);

/* Answer with an error and a reason for a person; consumes the call. */
void call_fail(struct call **call, lb_err err, const char *reason_format, ...)
    __attribute__((format(printf, 3, 4)));

/* End a call that wants no reply (one-way), without an answer; consumes it. */
void call_done(struct call **call);

/*
 * It takes as long as it takes, whatever its caller said: hashing a file, waiting for news. Such a
 * call is no backlog and never overdue; a service all of whose overdue calls lie unanswered is
 * taken to be stuck and is restarted (services/supervisor/stall.h).
 */
void call_lasts(struct call *call);

/* What is left of the caller's time in ms; UINT32_MAX when it did not say. */
uint32_t call_time_left_ms(const struct call *call);

/* ---- links: what we ask of others ---- */

/* reply is the other service's Reply (its oneof is set), or NULL when err is not LB_OK. */
typedef void reply_fn(void *ctx, lb_err err, const char *reason, const void *reply);

/* Made at start or in scaled(), once for each; lives as long as the actor. Connecting is not
 * awaited.
 */
struct link *actor_link(struct actor *self, enum service service, unsigned instance,
                        const ProtobufCMessageDescriptor *reply);

/*
 * Ask. on_reply is called exactly once from the loop, never from inside link_call: with the reply,
 * with the other side's error, with LB_TIMEOUT after timeout_ms, or with LB_UNAVAILABLE as soon as
 * the connection breaks (the request may or may not have been carried out) or when ACTOR_CALLS_MAX
 * are outstanding. While the other side is not there the call waits for it, as long as timeout_ms
 * lasts. With timeout_ms 0 nothing is sent; UINT32_MAX is no limit. When the actor ends,
 * LB_CANCELLED.
 */
void link_call(struct link *self, const ProtobufCMessage *request, uint32_t timeout_ms,
               reply_fn *on_reply, void *ctx);

/* Tell, one way: no reply; dropped when the other side is not there or its queue is full. */
void link_tell(struct link *self, const ProtobufCMessage *request);
bool link_is_up(const struct link *self);

/*
 * For programs that are no service (the gateway's sockets, tests): a ZeroMQ socket on the loop.
 * on_message is called for each message while the budget lasts; it owns nothing: frames are valid
 * during the call. The socket is the caller's and must outlive the watch.
 */
struct watch;
typedef void message_fn(void *ctx, void *socket);
struct watch *watch_new(struct uv_loop_s *loop, void *zmq_socket, message_fn *on_message,
                        void *ctx);
void watch_wake(
    struct watch *self); /* after zmq_send on that socket: its events may have changed */
void watch_free(struct watch **self);
