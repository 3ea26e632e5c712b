/*
 * What the files of connection.h share. connection.c: one connection, what it sends and what comes.
 * connections.c: all of them, who is called and who calls, and the turns of the loop. Not for
 * others.
 */
#pragma once

#include "services/swarm/connection.h"
#include "services/swarm/inbox.h"
#include "services/swarm/outbox.h"
#include "services/swarm/stream.h"

#include <uv.h>

/* SECURING: TLS is being agreed on; on the open network there is no such stage. */
enum stage { STAGE_CONNECTING, STAGE_SECURING, STAGE_HANDSHAKE, STAGE_OPEN, STAGE_CLOSED };

struct connection {
    struct connections *owner;
    struct connection *next, *previous;
    struct connection *next_dirty;
    bool dirty;
    bool blocked; /* the kernel takes no more: wait until it is writable */
    bool outgoing;
    enum stage stage;
    uint64_t since_ms;    /* it began */
    uint64_t securing_ms; /* TLS began */
    struct stream stream;
    uv_poll_t poll;
    int polled;
    struct address address;
    struct inbox inbox;
    void *user;
    uint32_t number;

    struct outbox outbox;
    uint32_t unsent_max; /* UNSENT_ */
    uint64_t written_ms; /* since when written_bytes are counted */
    uint64_t written_bytes;
};

struct listener {
    struct connections *owner;
    uv_poll_t poll;
    int fd;
};

struct connections {
    struct uv_loop_s *loop;
    struct disk *disk;
    struct secure *secure; /* NULL: the open network */
    uint64_t secured_ms;   /* the second in which `secured` handshakes of who calls began */
    uint32_t secured;
    struct connections_events events;
    struct connection *first, *last; /* oldest first */
    uint32_t count;
    uint32_t count_max;
    uint32_t half_open_in;
    uint32_t half_open_out;
    bool paused;
    bool freed;
    struct listener *listeners[CONNECTIONS_LISTEN_MAX];
    struct address listen_addresses[CONNECTIONS_LISTEN_MAX];
    unsigned listeners_count;
    struct connection *dirty_first, *dirty_last;
    uint32_t dirty_count;
    uv_prepare_t prepare;
    uv_idle_t idle; /* running: the loop must not sleep */
    uv_timer_t care;
    uv_timer_t accept_again;
    unsigned handles;
    struct inbox_room room;
};

/* Takes the descriptor, also when it returns NULL. infohash: of what we call for; NULL: who calls.
 */
struct connection *connection_new(struct connections *owner, int fd, const struct address *address,
                                  const uint8_t *infohash);

/* Closed, freed by a next turn; blocks that wait are done with. */
void connection_shut(struct connection *self);

/* The same, and `closed` is told. */
void connection_fail(struct connection *self, const char *reason);

/* The same, and `refused` before; enum secure_refusal. */
void connection_refuse(struct connection *self, unsigned refusal);

/* Watch what is to be watched as it stands now. */
void connection_watch(struct connection *self);

/* It is not among those to be written in this turn any more. */
void connection_unmark(struct connection *self);

/* Write what is queued, as far as it goes. */
void connection_flush(struct connection *self);

/* The memory that is held for reads. */
void connections_give_back_room(struct connections *self);
