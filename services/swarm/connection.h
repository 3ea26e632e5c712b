/*
 * Connections: the TCP sockets of all peers of this process, on the loop.
 *
 * Bytes come in large reads, blocks to where they may stay and the rest into one shared buffer
 * (inbox.h), and are handed on as messages; what is to be sent is queued and written once a turn of
 * the loop, blocks straight from where they lie in memory. In each turn, before the loop sleeps,
 * `settle` is called and then everything queued is written, until nothing more comes of it or the
 * budget of the turn is spent; so all messages of a turn are answered together, and wake-ups stay
 * few.
 *
 * On a private network they speak TLS (secure.h), and nothing else: who calls has
 * CONNECTIONS_SECURE_MS for its handshake, and CONNECTIONS_SECURED_MAX of them begin in a second,
 * beyond which they are refused.
 *
 * Bounds: connections by descriptors (RLIMIT_NOFILE), those without a handshake
 * CONNECTIONS_HALF_OPEN_MAX each way (of those who call us the oldest makes room, also when all
 * descriptors are taken), from one address
 * CONNECTIONS_ADDRESS_MAX (loopback excepted), queued bytes per connection, CONNECTION_QUEUE_MAX of
 * small messages. Out of descriptors, accepting pauses for CONNECTIONS_PAUSE_MS. Shell.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/error.h"
#include "services/swarm/wire.h"

#include <stdbool.h>
#include <stdint.h>

#define CONNECTIONS_HALF_OPEN_MAX 100u

/*
 * A class stands behind one address when that is translated (NAT): 30 seats and their teacher call
 * an origin outside at once, and a limit of 8 would leave most of them out. What calls beyond it is
 * closed at once. A larger room needs a node inside that the others find (BEP 14).
 */
#define CONNECTIONS_ADDRESS_MAX  32u
#define CONNECTIONS_PAUSE_MS     100u
#define CONNECTIONS_HANDSHAKE_MS 10000u         /* from connecting or accepting to its handshake */
#define CONNECTIONS_SECURE_MS    5000u          /* of this, for TLS */
#define CONNECTIONS_SECURED_MAX  200u           /* a quarter of a core */
#define CONNECTIONS_SPARE_FILES  256u           /* descriptors left for files and the rest */
#define CONNECTION_QUEUE_MAX     (1024u * 1024) /* small messages it does not take: closed */
#define CONNECTIONS_LISTEN_MAX   2u

struct connection;
struct connections;
struct disk;
struct disk_block;
struct disk_data;
struct secure;
struct uv_loop_s;

struct connections_events {
    void *ctx;

    /* Its handshake came; false: close it. For one who called, ours is to be sent now. */
    bool (*hello)(void *ctx, struct connection *connection, const struct wire_handshake *hello);
    /*
     * block: the memory its payload fills from its start on, or NULL; who keeps it (disk.h) sets
     * that to NULL.
     */
    void (*message)(void *ctx, struct connection *connection, const struct wire_message *message,
                    struct disk_block **block);

    /* It ended by itself: could not be made, broke, or broke the rules. Not after closing it. */
    void (*closed)(void *ctx, struct connection *connection, const char *reason);

    /* Its TLS was refused: enum secure_refusal. `closed` follows. */
    void (*refused)(void *ctx, struct connection *connection, unsigned refusal);

    /* The end of a turn: do what follows from all that came. */
    void (*settle)(void *ctx);
};

/* events is copied; disk, for the memory of blocks that come, is borrowed. */
struct connections *connections_new(struct uv_loop_s *loop, struct disk *disk,
                                    const struct connections_events *events);

/* Before the first: they speak TLS. Borrowed until connections_free(). */
void connections_secure(struct connections *self, struct secure *secure);

/* Close those whose certificate does not count any more: by the deny list, or as it has expired. */
void connections_look_again(struct connections *self, uint64_t now_s);

/* Closes all, without `closed`. Ends with the loop's next turns. */
void connections_free(struct connections **self);

/* Take a listening socket; LB_INVALID when it is none. *ret_address: where it listens. */
LB_MUST_CHECK lb_err connections_listen(struct connections *self, int fd,
                                        struct address *ret_address);

/* Take no more who call. */
void connections_stop_listening(struct connections *self);

/* Stop or go on reading from all: what came cannot be written away fast enough. */
void connections_pause(struct connections *self, bool paused);
uint32_t connections_count(const struct connections *self);

/* Something is to be settled or written: do not sleep before. */
void connections_wake(struct connections *self);

/*
 * Connect, and say hello as soon as that is done. LB_FULL: CONNECTIONS_HALF_OPEN_MAX are being
 * made, or there is no descriptor; LB_IO: it failed at once.
 */
LB_MUST_CHECK lb_err connection_open(struct connections *self, const struct address *address,
                                     const struct wire_handshake *hello, void *user,
                                     struct connection **ret_connection);

const struct address *connection_address(const struct connection *self);
bool connection_is_outgoing(const struct connection *self);

/* The infohash by which its TLS named the torrent; NULL: on the open network. */
const uint8_t *connection_named(const struct connection *self);

/* Two values of the caller's. */
void connection_set_user(struct connection *self, void *user, uint32_t number);
void *connection_user(const struct connection *self);
uint32_t connection_number(const struct connection *self);

void connection_send_hello(struct connection *self, const struct wire_handshake *hello);
void connection_send(struct connection *self, const struct wire_message *message);

/* A block to send, the caller's until done: sent says whether it went to the kernel whole. */
struct connection_block {
    struct wire_message message; /* a PIECE */
    const struct disk_data *data;
    void (*done)(struct connection_block *self, bool sent);
};
void connection_send_block(struct connection *self, struct connection_block *block);

/* Close all of this user, also those still being made. */
void connections_close_of(struct connections *self, const void *user);

/* What is queued goes out if it can at once; `done` of blocks that do not is called. Consumes it.
 */
void connection_close(struct connection **self);
