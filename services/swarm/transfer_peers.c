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

struct wire_handshake transfer_handshake(const struct transfer *self)
{
    struct wire_handshake hello = { .fast = true, .extended = true, .dht = true };
    memcpy(hello.infohash, self->infohash, sizeof hello.infohash);
    memcpy(hello.peer_id, self->owner->peer_id, sizeof hello.peer_id);
    return hello;
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
    const uint64_t now_ms = transfers_now_ms(self->owner);
    transfers_touch(self);
    if (memcmp(hello->infohash, self->infohash, sizeof hello->infohash) != 0) {
        torrent_connect_failed(&self->torrent, connection_address(connection), now_ms);
        return false;
    }
    if (!outgoing) {
        const struct wire_handshake ours = transfer_handshake(self);
        connection_send_hello(connection, &ours);
    }
    const struct torrent_hello join = {
        .address = *connection_address(connection),
        .outgoing = outgoing,
        .handshake = hello,
    };
    uint32_t peer = 0;
    if (torrent_join(&self->torrent, &join, now_ms, &peer) != LB_OK)
        return false;
    keep_connection(self, connection, peer);
    return true;
}

void transfer_message(struct transfer *self, struct connection *connection,
                      const struct wire_message *message)
{
    if (torrent_message(&self->torrent, connection_number(connection), message,
                        transfers_now_ms(self->owner)) == TORRENT_TAKE)
        transfer_take_block(self, message);
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
