#include "services/coordinator/enlist.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/coordinator/files.h"
#include "services/coordinator/frames.h"
#include "services/coordinator/inside.h"
#include "services/coordinator/join_message.h"
#include "services/coordinator/secure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct enlisting {
    struct coordinator *coordinator;
    char address[REGISTER_ADDRESS_SIZE];
    uint16_t node_port;
    struct secure *secure;
    struct frames frames;
    size_t turn; /* which coordinator is asked */
    uint64_t again_ms;
    bool added;   /* the intermediate is with the signer */
    bool is_done; /* and our certificate has the role */
    char said[200];
};

static void say(struct enlisting *self, const char *what)
{
    if (strcmp(self->said, what) != 0) {
        snprintf(self->said, sizeof self->said, "%s", what);
        log_info("to be a coordinator: %s", what);
    }
}

static void hang_up(struct enlisting *self)
{
    secure_close(&self->secure);
    frames_done(&self->frames);
}

static void send_enlist(struct enlisting *self)
{
    struct coordinator *coordinator = self->coordinator;
    Lb__Join__Enlist body = LB__JOIN__ENLIST__INIT;
    Lb__Join__Request request = LB__JOIN__REQUEST__INIT;

    body.request = (ProtobufCBinaryData){ coordinator->request_size, coordinator->request };
    body.address = self->address;
    body.node_port = self->node_port;
    request.body_case = LB__JOIN__REQUEST__BODY_ENLIST;
    request.enlist = &body;
    join_message_send(self->secure, &request.base);
}

static void send_renew(struct enlisting *self)
{
    uint8_t der[CERTIFICATE_REQUEST_MAX];
    Lb__Join__Renew body = LB__JOIN__RENEW__INIT;
    Lb__Join__Request request = LB__JOIN__REQUEST__INIT;

    if (certificate_request_make(membership_key(self->coordinator->own), der, &body.request.len) !=
        LB_OK) {
        hang_up(self);
        return;
    }
    body.request.data = der;
    body.now_s = clock_wall_s();
    request.body_case = LB__JOIN__REQUEST__BODY_RENEW;
    request.renew = &body;
    join_message_send(self->secure, &request.base);
}

/* ---- answers ---- */

static void take_servers(struct coordinator *coordinator, const Lb__Join__Enlisted *enlisted)
{
    coordinator->known_count = 0;
    for (size_t i = 0; i < enlisted->n_servers && coordinator->known_count < REGISTER_SERVERS_MAX;
         i++) {
        const Lb__Join__Server *server = enlisted->servers[i];
        struct known_server *known = &coordinator->known[coordinator->known_count];

        if (server->node_id.len != NODE_ID_SIZE || server->server == 0 ||
            strlen(server->address) >= sizeof known->address ||
            strpbrk(server->address, " \t\n") != NULL) {
            continue;
        }
        memset(known, 0, sizeof *known);
        known->number = server->server;
        known->node = node_id_from(server->node_id.data);
        snprintf(known->address, sizeof known->address, "%s", server->address);
        coordinator->known_count++;
    }
}

static void on_enlisted(struct enlisting *self, const Lb__Join__Enlisted *enlisted)
{
    struct coordinator *coordinator = self->coordinator;

    if (enlisted->server == 0 || enlisted->intermediate.len == 0 ||
        enlisted->intermediate.len > CERTIFICATE_DER_MAX) {
        hang_up(self);
        return;
    }
    say(self, "added by the operator");
    coordinator->number = enlisted->server;
    memcpy(coordinator->address, self->address, sizeof coordinator->address);
    take_servers(coordinator, enlisted);
    issue_set_intermediate(coordinator,
                           bytes_of(enlisted->intermediate.data, enlisted->intermediate.len));
    self->added = true;
    hang_up(self);
    self->again_ms = 0; /* the next turn renews */
}

static void on_admitted(struct enlisting *self, const Lb__Join__Admitted *admitted)
{
    struct coordinator *coordinator = self->coordinator;
    lb_err err =
        coordinator_take_leaf(coordinator, bytes_of(admitted->leaf.data, admitted->leaf.len),
                              bytes_of(admitted->intermediate.data, admitted->intermediate.len));

    hang_up(self);
    if (err != LB_OK || membership_claims(coordinator->own)->role != CERTIFICATE_COORDINATOR) {
        say(self, "the new certificate is no coordinator's");
        return;
    }
    self->is_done = true;
}

static void take_reply(struct enlisting *self, const Lb__Join__Reply *reply)
{
    switch (reply->body_case) {
    case LB__JOIN__REPLY__BODY_ENLISTED:
        on_enlisted(self, reply->enlisted);
        break;
    case LB__JOIN__REPLY__BODY_ADMITTED:
        on_admitted(self, reply->admitted);
        break;
    case LB__JOIN__REPLY__BODY_PENDING:
        say(self, "waiting to be added by the operator");
        hang_up(self);
        break;
    case LB__JOIN__REPLY__BODY_REFUSED:
        say(self, reply->refused->reason);
        hang_up(self);
        break;
    default:
        hang_up(self);
        break;
    }
}

static void on_data(void *ctx, struct secure *secure, struct bytes data)
{
    struct enlisting *self = ctx;
    struct join_message message;
    struct bytes frame;
    lb_err err;

    (void)secure;
    frames_add(&self->frames, data);
    err = frames_next(&self->frames, &frame);
    if (err == LB_OK) {
        const Lb__Join__Reply *reply =
            join_message_unpack(&message, &lb__join__reply__descriptor, frame);

        if (reply != NULL) {
            take_reply(self, reply);
        }
        join_message_done(&message);
    } else if (err == LB_TOO_BIG) {
        hang_up(self);
    }
}

static void on_open(void *ctx, struct secure *secure)
{
    struct enlisting *self = ctx;
    struct certificate_claims claims;

    if (!coordinator_check_peer(self->coordinator, secure_ssl(secure), &claims)) {
        say(self, "who answers at the address of a coordinator is none");
        hang_up(self);
    } else if (self->added) {
        send_renew(self);
    } else {
        send_enlist(self);
    }
}

static void on_end(void *ctx, struct secure *secure, const char *why)
{
    struct enlisting *self = ctx;

    (void)secure;
    say(self, why);
    hang_up(self);
}

static const struct secure_events events = {
    .on_open = on_open,
    .on_data = on_data,
    .on_end = on_end,
};

bool enlisting_tick(struct enlisting *self, uint64_t now_ms)
{
    struct coordinator *coordinator = self->coordinator;
    const char *const *addresses;
    size_t count = membership_coordinators(coordinator->own, &addresses);

    if (self->is_done && coordinator->intermediate_size > 0) {
        return true;
    }
    if (self->is_done || now_ms < self->again_ms || count == 0 || coordinator->request_size == 0) {
        return false;
    }
    hang_up(self); /* one that has not answered in time */
    self->again_ms = now_ms + ENLIST_AGAIN_MS;
    self->secure = secure_connect(actor_loop(coordinator->actor), addresses[self->turn++ % count],
                                  coordinator->asking, SECURE_ALPN_JOIN, &events, self);
    return false;
}

struct enlisting *enlisting_new(struct coordinator *coordinator, const char *address,
                                uint16_t node_port)
{
    struct enlisting *self = xcalloc(1, sizeof *self);

    self->coordinator = coordinator;
    snprintf(self->address, sizeof self->address, "%s", address);
    self->node_port = node_port;
    frames_init(&self->frames, COORDINATOR_REPLY_MAX);
    return self;
}

void enlisting_free(struct enlisting **self)
{
    if (*self != NULL) {
        hang_up(*self);
        free(*self);
        *self = NULL;
    }
}
