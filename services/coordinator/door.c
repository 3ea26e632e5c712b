#include "services/coordinator/door.h"

#include "libcommon/address.h"
#include "libcommon/config.h"
#include "libcommon/listen.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/notify.h"
#include "libcommon/status_page.h"
#include "services/coordinator/inside.h"
#include "services/coordinator/secure.h"
#include "services/coordinator/visits.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LISTENERS_MAX 2u

/* Somebody at the door; inside, once the handshake is done. */
struct guest {
    struct guest *next, **self;
    struct door *door;
    struct secure *secure; /* until it is a visit */
    struct visit *visit;
    struct address from;
};

struct door {
    struct coordinator *coordinator;
    uv_tcp_t *listeners[LISTENERS_MAX];
    size_t listeners_count;
    struct guest *guests;
    size_t guests_count;
};

static void guest_end(struct guest *self)
{
    *self->self = self->next;
    if (self->next != NULL) {
        self->next->self = self->self;
    }
    self->door->guests_count--;
    status_counter_set(self->door->coordinator->connections, self->door->guests_count);
    secure_close(&self->secure);
    visit_end(&self->visit);
    free(self);
}

static void on_gone(void *ctx)
{
    struct guest *self = ctx;

    self->visit = NULL;
    guest_end(self);
}

static void on_open(void *ctx, struct secure *secure)
{
    struct guest *self = ctx;

    if (secure_speaks(secure, SECURE_ALPN_RAFT)) {
        raft_wire_adopt(self->door->coordinator->wire, &self->secure);
        guest_end(self);
    } else {
        self->visit = visit_new(self->door->coordinator, &self->secure, on_gone, self);
    }
}

static void on_data(void *ctx, struct secure *secure, struct bytes data)
{
    (void)ctx;
    (void)secure;
    (void)data; /* it is given away before any comes */
}

static void on_end(void *ctx, struct secure *secure, const char *why)
{
    struct guest *self = ctx;

    (void)secure;
    status_counter_add(self->door->coordinator->turned_away, 1);
    log_debug("somebody was not let in: %s", why);
    guest_end(self);
}

static const struct secure_events events = {
    .on_open = on_open,
    .on_data = on_data,
    .on_end = on_end,
};

/* Who has one address of IPv6 has all of its /64. */
static bool is_one_place(const struct address *a, const struct address *b)
{
    return address_is_v4(a) ? address_same_ip(a, b) : address_same_subnet(a, b);
}

static size_t guests_of(const struct door *self, const struct address *from)
{
    size_t count = 0;

    for (const struct guest *guest = self->guests; guest != NULL; guest = guest->next) {
        count += is_one_place(&guest->from, from);
    }
    return count;
}

static void on_knock(uv_stream_t *listener, int status)
{
    struct door *self = listener->data;
    struct coordinator *coordinator = self->coordinator;
    struct guest *guest;

    if (status != 0) {
        return;
    }
    guest = xcalloc(1, sizeof *guest);
    guest->door = self;
    guest->secure = secure_accept(actor_loop(coordinator->actor), listener, coordinator->serving,
                                  &events, guest);
    if (guest->secure == NULL) {
        free(guest);
        return;
    }
    guest->from = *secure_peer(guest->secure);
    if (self->guests_count == DOOR_CONNECTIONS_MAX ||
        guests_of(self, &guest->from) >= DOOR_PER_IP_MAX) {
        status_counter_add(coordinator->turned_away, 1);
        secure_close(&guest->secure);
        free(guest);
        return;
    }
    guest->next = self->guests;
    guest->self = &self->guests;
    if (self->guests != NULL) {
        self->guests->self = &guest->next;
    }
    self->guests = guest;
    self->guests_count++;
    status_counter_set(coordinator->connections, self->guests_count);
}

void door_tick(struct door *self, uint64_t now_ms)
{
    struct guest *next;

    for (struct guest *guest = self->guests; guest != NULL; guest = next) {
        next = guest->next;
        if (guest->visit != NULL) {
            uint64_t since_ms = visit_idle_since_ms(guest->visit);

            if (since_ms != UINT64_MAX && now_ms > since_ms + DOOR_IDLE_MS) {
                guest_end(guest);
            }
        }
    }
}

/* ---- listening ---- */

static void on_listener_closed(uv_handle_t *handle)
{
    free(handle);
}

/* Takes the descriptor. */
static lb_err add_listener(struct door *self, int fd)
{
    struct actor *actor = self->coordinator->actor;
    char text[ADDRESS_TEXT_SIZE];
    struct address bound;
    uv_tcp_t *listener;

    if (self->listeners_count == LISTENERS_MAX || listen_bound(fd, &bound) != LB_OK) {
        close(fd);
        return LB_INVALID;
    }
    listener = xcalloc(1, sizeof *listener);
    uv_tcp_init(actor_loop(actor), listener);
    listener->data = self;
    if (uv_tcp_open(listener, fd) != 0 ||
        uv_listen((uv_stream_t *)listener, DOOR_BACKLOG, on_knock) != 0) {
        uv_close((uv_handle_t *)listener, on_listener_closed);
        return LB_IO;
    }
    self->listeners[self->listeners_count++] = listener;
    address_format(&bound, text);
    status_slot_listens(actor_status(actor), "TCP", text);
    return LB_OK;
}

static lb_err bind_here(struct door *self)
{
    const struct config *config = actor_config(self->coordinator->actor);
    size_t count = config_list_count(config, CONFIG_COORDINATOR_LISTEN);
    struct address address, bound;
    lb_err err = LB_INVALID;

    for (size_t i = 0; i < count; i++) {
        const char *text = config_list_item(config, CONFIG_COORDINATOR_LISTEN, i);
        int fd;

        err = address_parse(text, &address);
        if (err == LB_OK) {
            err = listen_tcp(&address, &fd, &bound);
        }
        if (err == LB_OK) {
            err = add_listener(self, fd);
        }
        if (err != LB_OK) {
            log_error("cannot listen at %s: %s", text, lb_err_text(err));
            return err;
        }
    }
    return err;
}

lb_err door_open(struct coordinator *coordinator, struct door **ret_self)
{
    struct door *self = xcalloc(1, sizeof *self);
    lb_err err = LB_OK;
    int fd;

    self->coordinator = coordinator;
    for (unsigned i = 0; err == LB_OK && notify_listen_fd(LISTEN_COORDINATOR, i, &fd) == LB_OK;
         i++) {
        err = add_listener(self, fd);
    }
    if (err == LB_OK && self->listeners_count == 0) {
        err = bind_here(self);
    }
    if (err != LB_OK) {
        door_close(&self);
        return err;
    }
    *ret_self = self;
    return LB_OK;
}

void door_close(struct door **self)
{
    struct door *it = *self;

    if (it == NULL) {
        return;
    }
    *self = NULL;
    for (size_t i = 0; i < it->listeners_count; i++) {
        uv_close((uv_handle_t *)it->listeners[i], on_listener_closed);
    }
    while (it->guests != NULL) {
        guest_end(it->guests);
    }
    free(it);
}
