#include "services/swarm/connection_inside.h"

#include "libcommon/listen.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/swarm/disk.h"
#include "services/swarm/secure.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS_PER_TURN  4 /* of settling and writing */
#define ACCEPTS_PER_TURN 64
#define CARE_MS          1000u

/* ---- making connections ---- */

static bool is_any(const struct address *address)
{
    static const uint8_t any[16];
    return address_is_v4(address) ? memcmp(address->ip + 12, any, 4) == 0
                                  : memcmp(address->ip, any, 16) == 0;
}

/* Who listens at one address of the machine calls from it, too. */
static void bind_source(const struct connections *self, int fd, const struct address *to)
{
    for (unsigned i = 0; i < self->listeners_count; i++) {
        struct address from = self->listen_addresses[i];
        if (address_is_v4(&from) != address_is_v4(to) || is_any(&from))
            continue;
        struct sockaddr_storage storage;
        from.port = 0;
        const unsigned size = address_to_sockaddr(&from, &storage);
        const int on = 1;
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        (void)bind(fd, (struct sockaddr *)&storage, size);
        return;
    }
}

lb_err connection_open(struct connections *self, const struct address *address,
                       const struct wire_handshake *hello, void *user,
                       struct connection **ret_connection)
{
    if (self->half_open_out >= CONNECTIONS_HALF_OPEN_MAX || self->count >= self->count_max)
        return LB_FULL;
    struct sockaddr_storage storage;
    const unsigned size = address_to_sockaddr(address, &storage);
    const int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE ? LB_FULL : LB_IO;
    bind_source(self, fd, address);
    if (connect(fd, (struct sockaddr *)&storage, size) != 0 && errno != EINPROGRESS) {
        close(fd);
        return LB_IO;
    }
    struct connection *connection = connection_new(self, fd, address, hello->infohash);
    if (connection == NULL)
        return LB_IO;
    connection->user = user;
    connection_send_hello(connection, hello);
    *ret_connection = connection;
    return LB_OK;
}

static bool too_many_from(const struct connections *self, const struct address *address)
{
    if (address_is_loopback(address))
        return false;
    uint32_t count = 0;
    for (const struct connection *at = self->first; at != NULL; at = at->next)
        count += address_same_ip(&at->address, address);
    return count >= CONNECTIONS_ADDRESS_MAX;
}

/* Whoever called and has said nothing for longest makes room. */
static void drop_oldest_half_open(struct connections *self)
{
    for (struct connection *at = self->first; at != NULL; at = at->next) {
        if (at->outgoing || at->stage >= STAGE_OPEN)
            continue;
        connection_shut(at);
        return;
    }
}

/* A handshake is asked for with a few bytes and costs a millisecond. */
static bool too_many_handshakes(struct connections *self)
{
    const uint64_t now_ms = uv_now(self->loop);
    if (self->secure == NULL)
        return false;
    if (now_ms - self->secured_ms >= 1000) {
        self->secured_ms = now_ms;
        self->secured = 0;
    }
    return self->secured++ >= CONNECTIONS_SECURED_MAX;
}

static void accept_one(struct connections *self, int fd, const struct sockaddr *from)
{
    struct address address;
    if (address_from_sockaddr(from, &address) != LB_OK || too_many_from(self, &address)) {
        close(fd);
        return;
    }
    if (self->half_open_in >= CONNECTIONS_HALF_OPEN_MAX || self->count >= self->count_max)
        drop_oldest_half_open(self);
    if (self->count >= self->count_max) {
        close(fd);
        return;
    }
    const bool too_many = too_many_handshakes(self);
    struct connection *connection = connection_new(self, fd, &address, NULL);
    if (connection != NULL && too_many)
        connection_refuse(connection, SECURE_REFUSED_TOO_MANY);
}

static void on_incoming(uv_poll_t *poll, int status, int events);

static void listen_all(struct connections *self, bool on)
{
    for (unsigned i = 0; i < self->listeners_count; i++) {
        if (self->listeners[i] == NULL)
            continue;
        if (on)
            uv_poll_start(&self->listeners[i]->poll, UV_READABLE, on_incoming);
        else
            uv_poll_stop(&self->listeners[i]->poll);
    }
}

static void on_accept_again(uv_timer_t *timer)
{
    listen_all(timer->data, true);
}

static void on_incoming(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;
    struct connections *self = listener->owner;
    (void)events;
    if (status < 0)
        return;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage from;
        socklen_t size = sizeof from;
        const int fd =
            accept4(listener->fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accept_one(self, fd, (const struct sockaddr *)&from);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_warn("accepting pauses: %s", strerror(errno));
            listen_all(self, false);
            uv_timer_start(&self->accept_again, on_accept_again, CONNECTIONS_PAUSE_MS, 0);
        }
        return;
    }
}

lb_err connections_listen(struct connections *self, int fd, struct address *ret_address)
{
    int listening = 0;
    socklen_t listening_size = sizeof listening;
    if (self->listeners_count == CONNECTIONS_LISTEN_MAX)
        return LB_FULL;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_size) != 0 || !listening ||
        listen_bound(fd, ret_address) != LB_OK)
        return LB_INVALID;
    struct listener *listener = xcalloc(1, sizeof *listener);
    listener->owner = self;
    listener->fd = fd;
    if (uv_poll_init(self->loop, &listener->poll, fd) != 0) {
        free(listener);
        return LB_IO;
    }
    listener->poll.data = listener;
    self->listen_addresses[self->listeners_count] = *ret_address;
    self->listeners[self->listeners_count++] = listener;
    uv_poll_start(&listener->poll, UV_READABLE, on_incoming);
    return LB_OK;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    close(listener->fd);
    free(listener);
}

void connections_stop_listening(struct connections *self)
{
    uv_timer_stop(&self->accept_again);
    for (unsigned i = 0; i < self->listeners_count; i++) {
        if (self->listeners[i] == NULL)
            continue;
        uv_close((uv_handle_t *)&self->listeners[i]->poll, on_listener_closed);
        self->listeners[i] = NULL;
    }
}

/* ---- the turn ---- */

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* it is there so that the loop does not sleep */
}

void connections_wake(struct connections *self)
{
    if (!uv_is_active((uv_handle_t *)&self->idle))
        uv_idle_start(&self->idle, on_idle);
}

static void flush_dirty(struct connections *self)
{
    /* Those marked meanwhile come in the next round. */
    for (uint32_t left = self->dirty_count; left > 0 && self->dirty_first != NULL; left--) {
        struct connection *at = self->dirty_first;
        connection_unmark(at);
        if (at->stage == STAGE_HANDSHAKE || at->stage == STAGE_OPEN)
            connection_flush(at);
    }
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct connections *self = prepare->data;
    uv_idle_stop(&self->idle);
    self->events.settle(self->events.ctx);
    for (int i = 0; i < ROUNDS_PER_TURN && self->dirty_first != NULL; i++) {
        flush_dirty(self);
        self->events.settle(self->events.ctx);
    }
    if (self->dirty_first != NULL)
        connections_wake(self);
    connections_give_back_room(self);
}

static void on_care(uv_timer_t *timer)
{
    struct connections *self = timer->data;
    const uint64_t now_ms = uv_now(self->loop);
    struct connection *next = NULL;
    for (struct connection *at = self->first; at != NULL; at = next) {
        next = at->next;
        const bool late = at->stage == STAGE_SECURING &&
                          now_ms - at->securing_ms >= CONNECTIONS_SECURE_MS - CARE_MS;
        if (at->stage == STAGE_OPEN || (!late && now_ms - at->since_ms < CONNECTIONS_HANDSHAKE_MS))
            continue;
        if (late)
            connection_refuse(at, SECURE_REFUSED_LATE);
        else
            connection_fail(at, "no handshake in time");
        /* What was told may have closed others: begin again. */
        next = self->first;
    }
    if (self->half_open_in + self->half_open_out == 0)
        uv_timer_stop(timer);
}

/* ---- life ---- */

/* As many as there may be descriptors, but for a share left for files and the rest. */
static uint32_t most_connections(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 256;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    const uint64_t spare = CONNECTIONS_SPARE_FILES + DISK_FILES_MAX;
    const uint64_t files = limit.rlim_cur < 65536 ? limit.rlim_cur : 65536;
    return (uint32_t)(files > 2 * spare ? files - spare : files / 2);
}

struct connections *connections_new(struct uv_loop_s *loop, struct disk *disk,
                                    const struct connections_events *events)
{
    struct connections *self = xcalloc(1, sizeof *self);
    self->loop = loop;
    self->disk = disk;
    self->events = *events;
    self->count_max = most_connections();
    uv_prepare_init(loop, &self->prepare);
    uv_idle_init(loop, &self->idle);
    uv_timer_init(loop, &self->care);
    uv_timer_init(loop, &self->accept_again);
    self->handles = 4;
    self->prepare.data = self->idle.data = self->care.data = self->accept_again.data = self;
    uv_prepare_start(&self->prepare, on_prepare);
    uv_timer_start(&self->care, on_care, CARE_MS, CARE_MS);
    return self;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct connections *self = handle->data;
    if (--self->handles == 0)
        free(self);
}

void connections_free(struct connections **self)
{
    struct connections *freed = *self;
    *self = NULL;
    if (freed == NULL)
        return;
    connections_stop_listening(freed);
    while (freed->first != NULL)
        connection_shut(freed->first);
    connections_give_back_room(freed);
    uv_close((uv_handle_t *)&freed->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&freed->idle, on_handle_closed);
    uv_close((uv_handle_t *)&freed->care, on_handle_closed);
    uv_close((uv_handle_t *)&freed->accept_again, on_handle_closed);
}

void connections_secure(struct connections *self, struct secure *secure)
{
    assert(self->first == NULL);
    self->secure = secure;
}

void connections_look_again(struct connections *self, uint64_t now_s)
{
    struct connection *next = NULL;
    for (struct connection *at = self->first; at != NULL; at = next) {
        next = at->next;
        if (at->stream.secure == NULL || at->stage <= STAGE_SECURING)
            continue;
        const enum certificate_refusal refusal = secure_look_again(&at->stream, now_s);
        if (refusal == REFUSED_NOT)
            continue;
        connection_refuse(at, refusal);
        next = self->first; /* what was told may have closed others */
    }
}

void connections_pause(struct connections *self, bool paused)
{
    if (self->paused == paused)
        return;
    self->paused = paused;
    for (struct connection *at = self->first; at != NULL; at = at->next)
        connection_watch(at);
}

uint32_t connections_count(const struct connections *self)
{
    return self->count;
}
