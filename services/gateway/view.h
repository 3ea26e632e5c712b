/*
 * What the gateway says without asking anybody: GetServerInfo and GetStatus, from the status page
 * (libcommon/status_page.h). No socket, no clock; works while every other service is down.
 */
#pragma once

#include "libcommon/identity.h"
#include "libcommon/node_id.h"
#include "libcommon/status_page.h"
#include "services/gateway/methods.h"

#include <stdbool.h>
#include <stdint.h>

#define VIEW_HUNG_MS       STATUS_HUNG_MS
#define VIEW_PROCESSES_MAX (SERVICES_COUNT * STATUS_INSTANCES_MAX)

struct view {
    const struct page *status;
    uint64_t now_ms;               /* CLOCK_MONOTONIC */
    const struct node_id *node_id; /* NULL: not known */
    const struct identity *member; /* who this node is in a private network; NULL: it is in none */
};

/* One process as it is shown to the world. */
struct process {
    enum service service;
    unsigned instance;
    enum service_state state; /* STATE_HUNG when it says it serves and its heartbeat is old */
    uint32_t pid;
};

/* The process in this slot now. False: nothing ever ran there. */
bool view_process(const struct view *self, enum service service, unsigned instance,
                  struct process *ret_process);

/* All of them, in the order of the services. Returns how many. */
size_t view_processes(const struct view *self, struct process ret_processes[VIEW_PROCESSES_MAX]);

/* VIEW_DEGRADED: something is missing, the node serves. VIEW_DOWN: a service that is needed does
 * not. */
enum view_level { VIEW_WELL, VIEW_DEGRADED, VIEW_DOWN };

#define VIEW_WHY_SIZE 256

/* The node as a whole; *ret_why: the first process that is not well, "" when all are. */
enum view_level view_level(const struct view *self, char ret_why[VIEW_WHY_SIZE]);

/* Hand one process with all its details to `respond`, as a littlebird.v1.Process. */
void view_process_message(const struct view *self, const struct process *process,
                          message_take_fn *respond, void *ctx);

/*
 * Does the method answer on this node? What a private network has is UNIMPLEMENTED on the open one;
 * its register is UNAVAILABLE where no lb-coordinator is to run, and trying again there does not
 * help: retry_after_ms is 0. Else *ret_refusal says so.
 */
bool view_answers(const struct view *self, const struct method *method, struct answer *ret_refusal);

void view_server_info(const struct view *self, message_take_fn *respond, void *ctx);
void view_status(const struct view *self, message_take_fn *respond, void *ctx);
