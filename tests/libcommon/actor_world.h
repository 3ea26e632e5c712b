/*
 * The actor, over real ipc sockets in a folder of its own: a server process and, in this process,
 * an actor that asks it. Nothing sleeps; a run that hangs is ended by alarm(2).
 */
#pragma once

#include "libcommon/actor.h"
#include "libcommon/link.h"
#include "libcommon/status_page.h"
#include "proto/storage.pb-c.h"
#include "tests/libcommon/cmocka_row.h"

#include <sys/types.h>

#define LIMIT_S 120

extern char world_folder[64]; /* --dir of both */
int world_make_folder(void **state);
int world_remove_folder(void **state);

/* The status page of the folder; the server's slot in it, which opens the page. */
void world_open_page(struct page *page, bool writable);
struct status_slot *world_slot(struct page *page);

/*
 * The server has lb-storage's messages with handlers of our own. It answers a get with its key and,
 * as holders, with the time left; a get of "be stubborn" makes it a service that does not drain. A
 * put is kept until the next one comes or the service ends, with a key for long (call_lasts());
 * an immutable one is answered by what is too big. An audit of 0 is done, another is denied.
 */
extern const struct service_definition world_server;
pid_t world_start_server(void);
void world_kill_server(pid_t pid);
int world_wait_for(pid_t pid); /* returns the exit code, or minus the signal */

/* The client is an actor that runs one scenario. */
extern const struct service_definition world_client;
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
extern struct client client; /* the scenario of this test */
void world_run_client(void (*begin)(struct client *self), pid_t server);

void client_call(struct client *self, const Lb__Storage__Request *request, uint32_t timeout_ms,
                 reply_fn *on_reply);
void client_get(struct client *self, const char *key, uint32_t timeout_ms, reply_fn *on_reply);
void client_put(struct client *self, uint32_t timeout_ms, reply_fn *on_reply);
void client_audit(struct client *self, uint32_t sample_max, reply_fn *on_reply);
void client_get_stats(struct client *self, reply_fn *on_reply);
void client_get_hello(struct client *self); /* a scenario */

/* Each answer is noted; most scenarios end with their one answer. */
void client_note(struct client *self, lb_err err, const char *reason);
void client_end(void *ctx, lb_err err, const char *reason, const void *body);
