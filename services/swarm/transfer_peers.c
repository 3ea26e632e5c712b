/* A transfer's connections: the torrent knows peers by number, the sockets know the transfer. */
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/swarm/transfers_inside.h"

#include <stdlib.h>
#include <string.h>

struct connection *transfer_connection(const struct transfer *self, uint32_t peer)
{
    const uint32_t slot = peer % TORRENT_SLOTS;
    struct connection *connection = slot < self->connections_size ? self->connections[slot] : NULL;
    return connection != NULL && connection_number(connection) == peer ? connection : NULL;
}

/*
 * A hybrid is called by v1's hash, with the offer of v2 (BEP 52, "Upgrade Path"). Who did not take
 * that may know v2's alone: every second try is by it.
 */
static bool call_by_v2(const struct transfer *self, const struct address *address)
{
    if (!self->has_v1 || !self->has_v2 || address == NULL)
        return self->has_v2;
    const struct candidate *found = candidates_find(&self->torrent.candidates, address);
    return found != NULL && found->failures % 2 == 1;
}

struct wire_handshake transfer_handshake(const struct transfer *self, const struct address *address)
{
    struct wire_handshake hello = { .fast = true, .extended = true, .dht = true };
    const bool by_v2 = call_by_v2(self, address);
    hello.v2 = self->has_v1 && self->has_v2 && !by_v2;
    memcpy(hello.infohash, by_v2 ? self->infohash_v2 : self->infohash, sizeof hello.infohash);
    memcpy(hello.peer_id, self->owner->peer_id, sizeof hello.peer_id);
    return hello;
}

/* Do both take part in v2? Its handshake is for this transfer. */
static bool agree_on_v2(const struct transfer *self, const struct wire_handshake *hello,
                        bool outgoing)
{
    if (!self->has_v2)
        return false;
    return memcmp(hello->infohash, self->infohash_v2, sizeof hello->infohash) == 0 ||
           (!outgoing && hello->v2);
}

static void keep_connection(struct transfer *self, struct connection *connection, uint32_t peer)
{
    const uint32_t slot = peer % TORRENT_SLOTS;
    if (slot >= self->connections_size) {
        const uint32_t size = slot < 8 ? 8 : 2 * slot;
        self->connections = xrealloc(self->connections, size * sizeof(struct connection *));
        memset(self->connections + self->connections_size, 0,
               (size - self->connections_size) * sizeof(struct connection *));
        self->connections_size = size;
    }
    /* Its slot is free, so whoever had it is gone, though the action to close it still waits. */
    connection_close(&self->connections[slot]);
    self->connections[slot] = connection;
    connection_set_user(connection, self, peer);
}

bool transfer_hello(struct transfer *self, struct connection *connection,
                    const struct wire_handshake *hello)
{
    const bool outgoing = connection_is_outgoing(connection);
    const bool v2 = agree_on_v2(self, hello, outgoing);
    const uint64_t now_ms = transfers_now_ms(self->owner);
    transfers_touch(self);
    if (!transfer_is_known_as(self, hello->infohash)) {
        torrent_connect_failed(&self->torrent, connection_address(connection), now_ms);
        return false;
    }
    if (!outgoing) {
        struct wire_handshake ours = transfer_handshake(self, NULL);
        /* By the hash it called, or the one it is asked up to. */
        if (!v2)
            memcpy(ours.infohash, hello->infohash, sizeof ours.infohash);
        connection_send_hello(connection, &ours);
    }
    const struct torrent_hello join = {
        .address = *connection_address(connection),
        .outgoing = outgoing,
        .v2 = v2,
        .handshake = hello,
    };
    uint32_t peer = 0;
    if (torrent_join(&self->torrent, &join, now_ms, &peer) != LB_OK)
        return false;
    keep_connection(self, connection, peer);
    return true;
}

void transfer_message(struct transfer *self, struct connection *connection,
                      const struct wire_message *message, struct disk_block **block)
{
    if (torrent_message(&self->torrent, connection_number(connection), message,
                        transfers_now_ms(self->owner)) == TORRENT_TAKE)
        transfer_take_block(self, message, block);
    transfers_touch(self);
}

void transfer_closed(struct transfer *self, struct connection *connection, const char *reason)
{
    const uint32_t peer = connection_number(connection);
    const uint64_t now_ms = transfers_now_ms(self->owner);
    char text[ADDRESS_TEXT_SIZE];
    address_format(connection_address(connection), text);
    log_debug("peer left address=%s: %s", text, reason);
    transfers_touch(self);
    if (transfer_connection(self, peer) != connection) {
        torrent_connect_failed(&self->torrent, connection_address(connection), now_ms);
        return;
    }
    self->connections[peer % TORRENT_SLOTS] = NULL;
    torrent_left(&self->torrent, peer, now_ms);
}

void transfer_disconnect(struct transfer *self, const struct torrent_action *action)
{
    struct connection *connection = transfer_connection(self, action->peer);
    char text[ADDRESS_TEXT_SIZE];
    if (connection == NULL)
        return;
    address_format(&action->address, text);
    log_debug("peer dropped address=%s: %s", text, action->reason);
    self->connections[action->peer % TORRENT_SLOTS] = NULL;
    connection_close(&connection);
}
