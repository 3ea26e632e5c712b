#include "services/swarm/transfers.h"

#include "libcommon/actor.h"
#include "libcommon/clock.h"
#include "libcommon/config.h"
#include "libcommon/listen.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/notify.h"
#include "libcommon/pool.h"
#include "proto/storage.pb-c.h"
#include "services/swarm/transfers_inside.h"
#include "services/swarm/webseed_http.h"

#include <assert.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* BEP 20: who we are and which version. */
static const char peer_id_prefix[] = "-LB0100-";

#define STOP_POLL_MS 10u

uint64_t transfers_now_ms(const struct transfers *self)
{
    return actor_now_ms(self->actor);
}

/* ---- the set ---- */

struct transfer *transfers_get(const struct transfers *self, const uint8_t infohash[20])
{
    for (size_t i = 0; i < self->count; i++)
        if (memcmp(self->items[i]->infohash, infohash, 20) == 0)
            return self->items[i];
    for (size_t i = 0; i < self->count; i++)
        if (transfer_is_known_as(self->items[i], infohash))
            return self->items[i];
    return NULL;
}

void transfers_put_in(struct transfers *self, struct transfer *transfer)
{
    if (self->count == self->capacity) {
        self->capacity = self->capacity == 0 ? 8 : 2 * self->capacity;
        self->items = xrealloc(self->items, self->capacity * sizeof(struct transfer *));
    }
    self->items[self->count++] = transfer;
    transfers_look_at_queue(self);
}

void transfers_forget_wishes(struct transfers *self, const struct transfer *transfer)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < self->wishes_count; i++) {
        const struct connect_wish wish =
            self->wishes[(self->wishes_head + i) % self->wishes_capacity];
        if (wish.transfer != transfer)
            self->wishes[(self->wishes_head + kept++) % self->wishes_capacity] = wish;
    }
    self->wishes_count = kept;
}

static void untouch(struct transfers *self, struct transfer *transfer)
{
    for (struct transfer **at = &self->touched; *at != NULL; at = &(*at)->next_touched) {
        if (*at != transfer)
            continue;
        *at = transfer->next_touched;
        break;
    }
    transfer->touched = false;
}

void transfers_take_out(struct transfers *self, struct transfer *transfer)
{
    for (size_t i = 0; i < self->count; i++) {
        if (self->items[i] != transfer)
            continue;
        self->items[i] = self->items[--self->count];
        break;
    }
    transfer_stop(transfer);
    transfers_look_at_queue(self);
    untouch(self, transfer);
    transfer->removed = true;
    if (transfer->storage_closing)
        self->closing++; /* on_storage_closed() frees it */
    else
        transfer_free(&transfer);
}

void transfers_touch(struct transfer *transfer)
{
    struct transfers *self = transfer->owner;
    if (transfer->touched || transfer->removed)
        return;
    transfer->touched = true;
    transfer->next_touched = self->touched;
    self->touched = transfer;
    if (self->connections != NULL)
        connections_wake(self->connections);
}

/* ---- own addresses ---- */

bool transfers_is_own(const struct transfers *self, const struct address *address)
{
    for (unsigned i = 0; i < self->own_count; i++)
        if (address_equal(&self->own[i], address))
            return true;
    return self->workers != NULL && workers_is_other(self->workers, address);
}

static void add_own(struct transfers *self, const struct address *address)
{
    if (self->own_count < TRANSFERS_OWN_MAX && !transfers_is_own(self, address))
        self->own[self->own_count++] = *address;
}

/* Listening on all addresses, every address of the machine with that port is us. */
static void learn_own(struct transfers *self, const struct address *listening)
{
    struct ifaddrs *interfaces = NULL;
    add_own(self, listening);
    if (address_is_usable(listening) || getifaddrs(&interfaces) != 0)
        return;
    for (const struct ifaddrs *at = interfaces; at != NULL; at = at->ifa_next) {
        struct address address;
        if (at->ifa_addr == NULL || address_from_sockaddr(at->ifa_addr, &address) != LB_OK ||
            address_is_v4(&address) != address_is_v4(listening))
            continue;
        address.port = listening->port;
        add_own(self, &address);
    }
    freeifaddrs(interfaces);
}

/* ---- connections to make ---- */

void transfers_connect(struct transfers *self, struct transfer *transfer,
                       const struct address *address)
{
    if (transfers_is_own(self, address)) {
        candidates_own(&transfer->torrent.candidates, address);
        return;
    }
    if (self->wishes_count == self->wishes_capacity) {
        const uint32_t capacity = self->wishes_capacity == 0 ? 16 : 2 * self->wishes_capacity;
        struct connect_wish *wishes = xcalloc(capacity, sizeof *wishes);
        for (uint32_t i = 0; i < self->wishes_count; i++)
            wishes[i] = self->wishes[(self->wishes_head + i) % self->wishes_capacity];
        free(self->wishes);
        self->wishes = wishes;
        self->wishes_head = 0;
        self->wishes_capacity = capacity;
    }
    self->wishes[(self->wishes_head + self->wishes_count++) % self->wishes_capacity] =
        (struct connect_wish){ .transfer = transfer, .address = *address };
}

static void make_connections(struct transfers *self)
{
    while (self->wishes_count > 0) {
        const struct connect_wish wish = self->wishes[self->wishes_head];
        const struct wire_handshake hello = transfer_handshake(wish.transfer, &wish.address);
        struct connection *connection = NULL;
        const lb_err err =
            connection_open(self->connections, &wish.address, &hello, wish.transfer, &connection);
        if (err == LB_FULL)
            return; /* others end first; the next turn tries again */
        self->wishes_head = (self->wishes_head + 1) % self->wishes_capacity;
        self->wishes_count--;
        if (err == LB_OK) {
            connection_set_user(connection, wish.transfer, PICKER_NOBODY);
            continue;
        }
        torrent_connect_failed(&wish.transfer->torrent, &wish.address, transfers_now_ms(self));
        transfers_touch(wish.transfer);
    }
}

/* ---- events of connections ---- */

static bool on_hello(void *ctx, struct connection *connection, const struct wire_handshake *hello)
{
    struct transfers *self = ctx;
    struct transfer *transfer = connection_user(connection);
    if (!connection_is_outgoing(connection))
        transfer = transfers_get(self, hello->infohash);
    if (transfer == NULL || !transfer->running || transfer->stop_wanted ||
        !transfers_named_so(self, connection, transfer))
        return false;
    return transfer_hello(transfer, connection, hello);
}

static void on_message(void *ctx, struct connection *connection, const struct wire_message *message,
                       struct disk_block **block)
{
    (void)ctx;
    struct transfer *transfer = connection_user(connection);
    assert(transfer != NULL && transfer->running);
    transfer_message(transfer, connection, message, block);
}

static void on_connection_closed(void *ctx, struct connection *connection, const char *reason)
{
    (void)ctx;
    struct transfer *transfer = connection_user(connection);
    if (transfer != NULL)
        transfer_closed(transfer, connection, reason);
}

static void on_settle(void *ctx)
{
    struct transfers *self = ctx;
    /* Settling one may touch it again, or others: those come in this list's next round. */
    for (int round = 0; round < 2 && self->touched != NULL; round++) {
        struct transfer *list = self->touched;
        self->touched = NULL;
        while (list != NULL) {
            struct transfer *transfer = list;
            list = transfer->next_touched;
            transfer->touched = false;
            transfer_settle(transfer);
        }
        make_connections(self);
    }
    transfers_local_settle(self);
    if (self->touched != NULL)
        connections_wake(self->connections);
    transfers_arm(self, limits_deadline_ms(&self->limits));
    if (disk_wants_pause(self->disk))
        connections_pause(self->connections, true);
}

static void on_disk_resume(void *ctx)
{
    struct transfers *self = ctx;
    connections_pause(self->connections, false);
}

/* ---- time ---- */

static void publish_counters(struct transfers *self)
{
    uint64_t received = self->received_before;
    uint64_t sent = self->sent_before;
    uint64_t bad = self->bad_before;
    uint64_t peers = 0;
    size_t held = 0;
    for (size_t i = 0; i < self->count; i++) {
        held += self->items[i]->place == OWNERSHIP_HELD;
        if (!self->items[i]->running)
            continue;
        const struct torrent *torrent = &self->items[i]->torrent;
        received += torrent->received.total;
        sent += torrent->sent.total;
        bad += torrent->stats.bad_pieces;
        peers += torrent->peers_count;
    }
    status_counter_set(self->count_received, received);
    status_counter_set(self->count_sent, sent);
    status_counter_set(self->count_bad_pieces, bad);
    struct disk_stats disk;
    disk_stats(self->disk, &disk);
    status_counter_set(self->count_hashed, disk.hashed_bytes);
    status_counter_set(self->count_peers, peers);
    status_counter_set(self->count_transfers, held);
}

static void on_timer(uv_timer_t *timer)
{
    struct transfers *self = timer->data;
    const uint64_t now_ms = transfers_now_ms(self);
    self->armed_ms = UINT64_MAX;
    transfers_order_queue(self, now_ms);
    transfers_let_go_on(self, now_ms);
    for (size_t i = 0; i < self->count; i++)
        if (now_ms >= transfer_deadline_ms(self->items[i]))
            transfer_turn(self->items[i], now_ms);
    for (size_t i = 0; i < self->count; i++)
        transfers_arm(self, transfer_deadline_ms(self->items[i]));
    transfers_arm(self, limits_deadline_ms(&self->limits));
    publish_counters(self);
}

void transfers_arm(struct transfers *self, uint64_t deadline_ms)
{
    if (deadline_ms >= self->armed_ms || self->stopping)
        return;
    const uint64_t now_ms = transfers_now_ms(self);
    self->armed_ms = deadline_ms;
    uv_timer_start(&self->timer, on_timer, deadline_ms > now_ms ? deadline_ms - now_ms : 0, 0);
}

/* ---- sockets ---- */

static lb_err take_listener(struct transfers *self, int fd, bool handed)
{
    struct address address;
    char text[ADDRESS_TEXT_SIZE];
    const lb_err err = connections_listen(self->connections, fd, &address);
    if (err != LB_OK) {
        close(fd);
        return err;
    }
    if (self->port == 0)
        self->port = address.port;
    /* Further workers listen beside it. */
    if (handed && actor_instance(self->actor) == 0)
        config_check_handed(actor_config(self->actor), CONFIG_LISTEN, &address);
    address_format(&address, text);
    status_slot_listens(actor_status(self->actor), "TCP", text);
    learn_own(self, &address);
    return LB_OK;
}

static lb_err listen_inherited(struct transfers *self)
{
    int fd = -1;
    for (unsigned i = 0; notify_listen_fd(LISTEN_TCP, i, &fd) == LB_OK; i++) {
        const lb_err err = take_listener(self, fd, true);
        if (err != LB_OK) {
            log_error("the descriptor handed over as %s is no listening socket", LISTEN_TCP);
            return err;
        }
    }
    return LB_OK;
}

/*
 * Worker i listens on the configured port + i, whoever binds that; when it is taken, on any free
 * one, the same for all addresses.
 */
static lb_err listen_beside(struct transfers *self, struct address *address, int *ret_fd,
                            struct address *ret_bound)
{
    const uint32_t port = address->port + actor_instance(self->actor);
    if (self->port != 0) {
        address->port = self->port;
    } else if (address->port != 0) {
        address->port = port <= UINT16_MAX ? (uint16_t)port : 0;
        if (address->port != 0 && listen_tcp(address, ret_fd, ret_bound) == LB_OK)
            return LB_OK;
        address->port = 0;
    }
    return listen_tcp(address, ret_fd, ret_bound);
}

static lb_err listen_by_hand(struct transfers *self)
{
    const struct config *config = actor_config(self->actor);
    lb_err last = LB_INVALID;
    for (size_t i = 0; i < config_list_count(config, CONFIG_LISTEN); i++) {
        const char *text = config_list_item(config, CONFIG_LISTEN, i);
        struct address address;
        struct address bound;
        int fd = -1;
        if (address_parse(text, &address) != LB_OK) {
            log_error("node.listen: '%s' is not ADDR:PORT", text);
            return LB_INVALID;
        }
        last = actor_instance(self->actor) == 0 ? listen_tcp(&address, &fd, &bound)
                                                : listen_beside(self, &address, &fd, &bound);
        if (last == LB_OK) {
            notify_keep_fd(LISTEN_TCP, fd);
            last = take_listener(self, fd, false);
        }
        /* A machine without IPv6 has no such address: go on with the other. */
        if (last != LB_OK)
            log_warn("cannot listen on TCP %s: %s", text, strerror(errno));
    }
    return self->port != 0 ? LB_OK : last;
}

/* Peers are told where the node answers DHT queries; that is not every worker's own port. */
static uint16_t find_dht_port(const struct transfers *self)
{
    struct address address;
    const char *first = config_list_item(actor_config(self->actor), CONFIG_LISTEN, 0);
    if (first == NULL || address_parse(first, &address) != LB_OK || address.port == 0)
        return self->port;
    return address.port;
}

/* ---- life ---- */

static void make_peer_id(struct transfers *self)
{
    const size_t prefix = sizeof peer_id_prefix - 1;
    memcpy(self->peer_id, peer_id_prefix, prefix);
    clock_entropy_bytes(self->peer_id + prefix, (unsigned)(sizeof self->peer_id - prefix));
}

/* What the machine calls itself, without its domain. */
static void learn_name(struct transfers *self)
{
    if (gethostname(self->host, sizeof self->host) != 0)
        self->host[0] = '\0';
    self->host[sizeof self->host - 1] = '\0';
    self->host[strcspn(self->host, ".")] = '\0';
}

static void open_counters(struct transfers *self)
{
    self->count_received = actor_counter(self->actor, "received_bytes");
    self->count_sent = actor_counter(self->actor, "sent_bytes");
    self->count_peers = actor_counter(self->actor, "peers");
    self->count_transfers = actor_counter(self->actor, "transfers");
    self->count_bad_pieces = actor_counter(self->actor, "bad_pieces");
    self->count_hashed = actor_counter(self->actor, "hashed_bytes");
}

static lb_err open_parts(struct transfers *self)
{
    const struct config *config = actor_config(self->actor);
    const struct connections_events events = {
        .ctx = self,
        .hello = on_hello,
        .message = on_message,
        .closed = on_connection_closed,
        .refused = transfers_on_refused,
        .settle = on_settle,
    };
    struct uv_loop_s *loop = actor_loop(self->actor);
    self->pool = pool_new(loop, (unsigned)config_number(config, CONFIG_SWARM_DISK_WORKERS));
    self->disk = disk_new(loop, self->pool, 0);
    disk_on_resume(self->disk, on_disk_resume, self);
    self->connections = connections_new(loop, self->disk, &events);
    lb_err err = transfers_network_open(self);
    if (err == LB_OK)
        err = workers_open(self);
    if (err == LB_OK)
        err = listen_inherited(self);
    if (err == LB_OK && self->port == 0)
        err = listen_by_hand(self);
    return err;
}

lb_err transfers_new(struct actor *actor, struct transfers **ret_self)
{
    struct transfers *self = xcalloc(1, sizeof *self);
    self->actor = actor;
    self->armed_ms = UINT64_MAX;
    random_init(&self->random, actor_random_seed(actor));
    make_peer_id(self);
    learn_name(self);
    open_counters(self);
    uv_timer_init(actor_loop(actor), &self->timer);
    uv_timer_init(actor_loop(actor), &self->stop_timer);
    self->timer.data = self->stop_timer.data = self;
    self->handles = 2;
    const lb_err err = open_parts(self);
    if (err != LB_OK) {
        transfers_free(&self);
        return err;
    }
    self->dht_port = find_dht_port(self);
    transfers_open_limits(self);
    instances_init(&self->storages, actor, SERVICE_STORAGE, &lb__storage__reply__descriptor);
    transfers_local_open(self);
    workers_opened(self->workers);
    transfers_load(self);
    *ret_self = self;
    return LB_OK;
}

static void on_stop_poll(uv_timer_t *timer)
{
    struct transfers *self = timer->data;
    if (self->closing > 0 || self->orderings != NULL || self->loading > 0 ||
        pool_pending(self->pool) > 0)
        return;
    uv_timer_stop(timer);
    self->on_stopped(self->on_stopped_ctx);
}

void transfers_stop(struct transfers *self, void (*on_stopped)(void *ctx), void *ctx)
{
    self->on_stopped = on_stopped;
    self->on_stopped_ctx = ctx;
    uv_timer_stop(&self->timer);
    workers_stop(self->workers);
    connections_stop_listening(self->connections);
    transfers_cancel_orders(self);
    self->stopping = true;
    workers_end_adopting(self->workers);
    for (size_t i = self->count; i > 0; i--) {
        struct transfer *transfer = self->items[i - 1];
        transfer_stop(transfer);
        /* Unlike a removal: what it has is still saved. */
        transfer->again = false;
    }
    uv_timer_start(&self->stop_timer, on_stop_poll, STOP_POLL_MS, STOP_POLL_MS);
}

static bool storages_closed(const struct transfers *self)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->items[i]->storage != NULL || self->items[i]->storage_closing)
            return false;
    return self->closing == 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct transfers *self = handle->data;
    if (--self->handles == 0)
        free(self);
}

void transfers_free(struct transfers **self)
{
    struct transfers *freed = *self;
    *self = NULL;
    if (freed == NULL)
        return;
    freed->stopping = true;
    workers_end(freed->workers);
    for (size_t i = freed->count; i > 0; i--)
        transfer_stop(freed->items[i - 1]);
    connections_free(&freed->connections);
    transfers_network_close(freed);
    webseed_http_free(&freed->http);
    pool_free(&freed->pool);
    /* Ended in haste, some are still being closed: then they, and the disk, end with the process.
     */
    if (storages_closed(freed)) {
        disk_free(&freed->disk);
        for (size_t i = 0; i < freed->count; i++)
            transfer_free(&freed->items[i]);
    }
    if (freed->catalogue != NULL)
        catalogue_close(&freed->catalogue);
    workers_free(&freed->workers);
    free(freed->items);
    free(freed->wishes);
    uv_close((uv_handle_t *)&freed->timer, on_handle_closed);
    uv_close((uv_handle_t *)&freed->stop_timer, on_handle_closed);
}

/* ---- looking ---- */

size_t transfers_count(const struct transfers *self)
{
    return self->count;
}

const struct transfer *transfers_at(const struct transfers *self, size_t index)
{
    return index < self->count ? self->items[index] : NULL;
}

const struct transfer *transfers_find(const struct transfers *self, const uint8_t infohash[20])
{
    const struct transfer *found = transfers_get(self, infohash);
    return found != NULL && found->place == OWNERSHIP_HELD ? found : NULL;
}

lb_err transfers_add_peer(struct transfers *self, const uint8_t infohash[20],
                          const struct address *address)
{
    struct transfer *transfer = transfers_get(self, infohash);
    if (transfer == NULL)
        return LB_NOT_FOUND;
    if (!address_is_usable(address) || transfers_is_own(self, address))
        return LB_INVALID;
    if (!transfer->running)
        return LB_UNAVAILABLE;
    torrent_call_address(&transfer->torrent, address, transfers_now_ms(self));
    transfers_touch(transfer);
    return LB_OK;
}
