/* What the files of the actor share; services see actor.h. */
#pragma once

#include "libcommon/actor.h"
#include "libcommon/message.h"
#include "libcommon/options.h"
#include "libcommon/orders.h"
#include "libcommon/senders.h"

#include <uv.h>
#include <zmq.h>

#define CALL_BUFFER 640 /* most requests fit: no second allocation */

struct call {
    struct actor *actor;
    struct call *before, *after; /* open calls, oldest first */
    uint64_t id;                 /* 0: no reply is wanted */
    uint64_t arrived_ms;
    uint32_t timeout_ms; /* 0: not said */
    bool lasts;          /* as call_lasts() has it */
    uint32_t request_case;
    zmq_msg_t sender;
    size_t counted_bytes; /* its part of calls_bytes */
    struct message_memory memory;
    uint8_t buffer[CALL_BUFFER];
};

/* Memory to free when the loop is closed. */
struct later {
    struct later *next;
    void *memory;
};

struct actor {
    const struct service_definition *definition;
    char *const *arguments;
    void *ctx;
    struct paths paths;
    struct config *config;
    struct options options;
    struct orders orders;
    unsigned instance;

    uv_loop_t loop;
    uv_timer_t heartbeat;
    uv_timer_t drain_limit;
    uv_signal_t sigterm, sigint, sighup;
    uint64_t watchdog_interval_ms, watchdog_due_ms;

    void *zmq;
    void *mailbox;
    struct watch *mailbox_watch;
    struct link *links[STATUS_INSTANCES_MAX * SERVICES_COUNT];
    unsigned links_count;

    struct call *oldest, *newest;
    uint32_t calls_count;
    uint64_t answered;
    size_t calls_bytes;

    struct page status_page;
    struct status_slot *slot;
    struct status_counter spare_counter; /* when the slot is full */
    unsigned active[SERVICES_COUNT];     /* as last read in the page */
    struct status_counter *requests, *refused, *denied, *replies_lost;
    struct senders senders;
    unsigned *may_send; /* by the oneof case: a bit for each role */
    enum service_state state;
    bool said_ready;
    bool draining;
    struct later *later;
};

/* ---- calls.c: what others ask, and what they are answered ---- */

/* For watch_new_drain(): take one message from the mailbox and hand it on; false: there is none. */
bool calls_drain_mailbox(void *ctx, void *socket);

/* By how much the most overdue call has outlived the time that its caller gave it. */
uint32_t calls_overdue_ms(const struct actor *self);

/* The age of the oldest call that somebody waits for; 0: of none. */
uint64_t calls_backlog_ms(const struct actor *self, uint64_t now_ms);

/* Who is still waited for is told that the service ends. */
void calls_end(struct actor *self);
