#include "services/transport/service.h"

#include "libcommon/config.h"
#include "libcommon/listen.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/notify.h"
#include "proto/routing.pb-c.h"
#include "proto/storage.pb-c.h"
#include "proto/transport.pb-c.h"
#include "services/transport/queries.h"
#include "services/transport/token_key.h"
#include "services/transport/udp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CARE_MS       1000 /* how often pages and neighbours are looked at */
#define CARE_HURRY_MS 20   /* ... while something is missing */

#define DTLS_COUNTERS_ROOM 32

_Static_assert(
    COUNTERS_COUNT + 5 + DTLS_COUNTERS_ROOM <= STATUS_COUNTERS_MAX,
    "there is a place for each counter, those of the actor, lan.c and member.c included");

/* ---- sending ---- */

struct datagram_port *transport_port(struct transport *self, const struct address *to)
{
    for (unsigned i = 0; i < self->ports_count; i++) {
        if (self->ports[i].ops && address_is_v4(&self->ports[i].bound) == address_is_v4(to))
            return &self->ports[i];
    }
    return NULL;
}

void transport_send(struct transport *self, const struct address *to, struct bytes datagram)
{
    struct datagram_port *port = transport_port(self, to);

    if (!port)
        return;
    memcpy(port->ops->reserve(port->self), datagram.data, datagram.size);
    port->ops->commit(port->self, to, NULL, datagram.size);
}

/* ---- pages and neighbours ---- */

static bool is_whole(const struct transport *self)
{
    return self->pages.routing && self->pages.presence && link_is_up(self->routing) &&
           instances_are_up(&self->storages);
}

/* A further worker is sent datagrams once it says that it serves: not before it can ask storage. */
static bool may_wait(struct transport *self)
{
    return actor_instance(self->actor) > 0 &&
           grace_lasts(&self->grace, is_whole(self), actor_now_ms(self->actor));
}

static void tell_state(struct transport *self)
{
    if (may_wait(self))
        actor_state(self->actor, STATE_STARTING, "joining the other workers");
    else if (!self->pages.routing)
        actor_state(self->actor, STATE_DEGRADED, "no routing table yet: nothing is answered");
    else if (!link_is_up(self->routing))
        actor_state(self->actor, STATE_DEGRADED, "routing is not there: its last table serves");
    else if (!instances_are_up(&self->storages))
        actor_state(self->actor, STATE_DEGRADED, "storage is not there: no values, no peers");
    else
        actor_state(self->actor, STATE_READY, "%s", "");
}

static void check_pages(struct transport *self, uint64_t now_ms)
{
    if (!pages_check(&self->pages, now_ms))
        return;
    self->endpoint.responder.routing = self->pages.routing;
    self->endpoint.responder.presence = self->pages.presence;
}

static void on_care(uv_timer_t *timer)
{
    struct transport *self = timer->data;

    check_pages(self, uv_now(timer->loop));
    if (self->member)
        transport_member->care(self->member);
    tell_state(self);
    uv_timer_start(timer, on_care, is_whole(self) ? CARE_MS : CARE_HURRY_MS, 0);
}

/* ---- datagrams ---- */

/* What the node is asked that another service of it has to answer. */
static void ask(struct transport *self, const struct datagram_local *local)
{
    if (self->result.message.method == KRPC_CALL &&
        krpc_callee(&self->result.message) == KRPC_CALLEE_MEMBER)
        transport_member->take_call(self->member, &self->result.message, &self->result.ask, local);
    else
        questions_add(&self->questions, &self->result, local);
}

static void on_datagram(void *ctx, const struct address *from, const struct datagram_local *local,
                        struct bytes payload)
{
    struct transport *self = ctx;
    struct datagram_port *port = transport_port(self, from);

    if (!port)
        return;
    if (!self->in_batch) {
        self->in_batch = true;
        self->now_us = uv_hrtime() / 1000;
        check_pages(self, self->now_us / 1000);
    }
    if (self->shaping.datagrams.counting)
        overload_count(&self->shaping.datagrams, from);
    endpoint_receive(&self->endpoint, from, payload, self->now_us, port->ops->reserve(port->self),
                     &self->result);
    switch (self->result.verdict) {
    case ENDPOINT_SEND:
        port->ops->commit(port->self, from, local, self->result.reply_size);
        break;
    case ENDPOINT_ASK:
        ask(self, local);
        break;
    case ENDPOINT_ANSWERED:
        queries_answered(self);
        break;
    case ENDPOINT_FORWARD:
        crossings_add(&self->crossings, self->result.worker, from, payload, self->now_us);
        break;
    default:
        break;
    }
    if (self->result.sightings_count > 0)
        reports_add(&self->reports, &self->result);
}

static void on_batch_done(void *ctx)
{
    struct transport *self = ctx;

    questions_flush(&self->questions);
    if (self->member)
        transport_member->flush(self->member);
    crossings_flush(&self->crossings);
    self->in_batch = false;
}

static void on_deadline(uv_timer_t *timer)
{
    struct transport *self = timer->data;

    self->deadline_us = UINT64_MAX;
    self->now_us = uv_hrtime() / 1000;
    if (self->member)
        transport_member->next(self->member, self->now_us);
    while (endpoint_next(&self->endpoint, self->now_us, &self->result)) {
        if (self->result.verdict == ENDPOINT_RESEND)
            queries_resend(self);
        else
            queries_silent(self);
        reports_add(&self->reports, &self->result);
    }
}

/* ---- the end of a turn of the loop ---- */

static uint64_t next_deadline_us(const struct transport *self)
{
    uint64_t deadline_us = endpoint_deadline_us(&self->endpoint), member_us;

    if (!self->member)
        return deadline_us;
    member_us = transport_member->deadline_us(self->member);
    return member_us < deadline_us ? member_us : deadline_us;
}

static void arm_deadline(struct transport *self)
{
    uint64_t deadline_us = next_deadline_us(self);
    uint64_t now_us = uv_hrtime() / 1000;

    if (deadline_us == self->deadline_us)
        return;
    self->deadline_us = deadline_us;
    if (deadline_us == UINT64_MAX)
        uv_timer_stop(&self->deadline_timer);
    else
        uv_timer_start(&self->deadline_timer, on_deadline,
                       deadline_us > now_us ? (deadline_us - now_us) / 1000 + 1 : 0, 0);
}

static void publish_counters(struct transport *self)
{
    uint64_t *counters = self->endpoint.counters;

    counters[COUNT_PACKETS_OUT] = counters[COUNT_BYTES_OUT] = counters[COUNT_SEND_FAILED] = 0;
    for (unsigned i = 0; i < self->ports_count; i++) {
        counters[COUNT_PACKETS_OUT] += self->ports[i].counts.packets_out;
        counters[COUNT_BYTES_OUT] += self->ports[i].counts.bytes_out;
        counters[COUNT_SEND_FAILED] += self->ports[i].counts.send_failed;
    }
    for (unsigned i = 0; i < COUNTERS_COUNT; i++) {
        if (counters[i] == self->published[i])
            continue;
        self->published[i] = counters[i];
        status_counter_set(self->counters[i], counters[i]);
    }
    if (self->member)
        transport_member->publish(self->member);
}

static void on_prepare(uv_prepare_t *handle)
{
    struct transport *self = handle->data;

    reports_flush(&self->reports);
    for (unsigned i = 0; i < self->ports_count; i++) {
        if (self->ports[i].ops)
            self->ports[i].ops->flush(self->ports[i].self);
    }
    shaping_look(&self->shaping);
    publish_counters(self);
    arm_deadline(self);
}

/* ---- sockets ---- */

static lb_err add_port(struct transport *self, int fd)
{
    struct datagram_port *port = &self->ports[self->ports_count];
    char text[ADDRESS_TEXT_SIZE];
    const struct datagram_receiver *receiver =
        self->member ? transport_member->receiver(self->member) : &self->receiver;
    lb_err err = udp_open(actor_loop(self->actor), fd, receiver, port);

    if (err != LB_OK)
        return err;
    if (self->member)
        transport_member->wrap(self->member, port);
    self->ports_count++;
    address_format(&port->bound, text);
    log_info("listening address=%s", text);
    status_slot_listens(actor_status(self->actor), "UDP", text);
    return LB_OK;
}

/* Those the manager kept for us, if any. */
static lb_err open_handed(struct transport *self)
{
    int fd;

    for (unsigned i = 0; i < TRANSPORT_PORTS; i++) {
        if (notify_listen_fd(LISTEN_UDP, i, &fd) != LB_OK)
            break;
        if (add_port(self, fd) != LB_OK) {
            log_error("the descriptor handed over as %s is no bound UDP socket", LISTEN_UDP);
            return LB_INVALID;
        }
        config_check_handed(actor_config(self->actor), CONFIG_LISTEN,
                            &self->ports[self->ports_count - 1].bound);
    }
    return LB_OK;
}

/* LB_UNSUPPORTED when the machine does not have this address. */
static lb_err bind_one(struct transport *self, const char *text)
{
    struct address address, bound;
    lb_err err;
    int fd;

    if (address_parse(text, &address) != LB_OK) {
        log_error("node.listen: '%s' is not ADDR:PORT", text);
        return LB_INVALID;
    }
    if (transport_port(self, &address)) {
        log_error("node.listen: at most one IPv4 and one IPv6 address");
        return LB_INVALID;
    }
    err = listen_udp(&address, 1, &fd, &bound);
    if (err == LB_OK)
        return add_port(self, fd);
    if (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL) {
        log_warn("cannot listen on %s: %s", text, strerror(errno));
        return LB_UNSUPPORTED;
    }
    log_error("cannot listen on %s: %s", text, strerror(errno));
    return err;
}

/* Started by hand: bind them here. A family the machine does not have is left out. */
static lb_err open_by_hand(struct transport *self)
{
    const struct config *config = actor_config(self->actor);
    size_t count = config_list_count(config, CONFIG_LISTEN);

    for (size_t i = 0; i < count; i++) {
        lb_err err = bind_one(self, config_list_item(config, CONFIG_LISTEN, i));

        if (err != LB_OK && err != LB_UNSUPPORTED)
            return err;
    }
    return LB_OK;
}

static lb_err open_ports(struct transport *self)
{
    lb_err err = open_handed(self);

    if (err == LB_OK && self->ports_count == 0)
        err = open_by_hand(self);
    if (err == LB_OK && self->ports_count == 0) {
        log_error("there is no address to listen on");
        err = LB_IO;
    }
    return err;
}

static void close_ports(struct transport *self)
{
    for (unsigned i = 0; i < self->ports_count; i++) {
        if (self->ports[i].ops)
            self->ports[i].ops->close(self->ports[i].self);
        self->ports[i].ops = NULL;
    }
}

/* ---- life ---- */

static void open_endpoint(struct transport *self)
{
    struct endpoint_limits limits = ENDPOINT_LIMITS_DEFAULT;
    uint8_t key[TOKENS_KEY_SIZE];

    token_key_load(actor_paths(self->actor)->private_folder, key);
    limits.transactions.worker = actor_instance(self->actor);
    limits.transactions.size_max = self->member ? MEMBER_ROOM : 0;
    endpoint_init(&self->endpoint, &limits, key, &self->random);
    self->endpoint.responder.is_member = self->member != NULL;
    self->endpoint.responder.reply_room = limits.transactions.size_max;
    self->endpoint.read_only = config_number(actor_config(self->actor), CONFIG_CLIENT) != 0;
    for (unsigned i = 0; i < COUNTERS_COUNT; i++)
        self->counters[i] = actor_counter(self->actor, endpoint_counter_text(i));
    self->deadline_us = UINT64_MAX;
}

static void open_handles(struct transport *self)
{
    struct uv_loop_s *loop = actor_loop(self->actor);

    uv_timer_init(loop, &self->deadline_timer);
    uv_timer_init(loop, &self->care_timer);
    uv_prepare_init(loop, &self->prepare);
    self->deadline_timer.data = self->care_timer.data = self->prepare.data = self;
    self->handles_open = 4; /* with that of shaping */
}

/* Who the workers are, and which of them get anything. */
static void follow_workers(struct transport *self)
{
    unsigned workers = actor_active(self->actor, SERVICE_TRANSPORT);
    bool steered = true;

    crossings_follow(&self->crossings, self);
    for (unsigned i = 0; i < self->ports_count; i++) {
        if (self->ports[i].ops)
            steered = self->ports[i].ops->steer(self->ports[i].self, workers) && steered;
    }
    if (!steered && workers > 1)
        log_warn("datagrams are not steered (%s): answers go from worker to worker",
                 strerror(errno));
}

/* LB_OK, too, on a node of the open network. */
static lb_err open_member(struct transport *self)
{
    lb_err err = identity_load(actor_paths(self->actor), &self->identity);

    if (err == LB_NOT_FOUND)
        return LB_OK;
    if (err != LB_OK) {
        log_error("%s cannot be used (%s): this node may be a member of a private network, and "
                  "does not speak to an open one",
                  actor_paths(self->actor)->identity_file, lb_err_text(err));
        return LB_INVALID;
    }
    if (!transport_member) {
        log_error("this node has become a member of network %s: it has to be started anew",
                  self->identity.network_name);
        return LB_INVALID;
    }
    return transport_member->open(self, &self->identity, &self->member);
}

static lb_err transport_start(struct actor *actor, void **ret_ctx)
{
    struct transport *self = xcalloc(1, sizeof(*self));
    lb_err err;

    *ret_ctx = self;
    self->actor = actor;
    grace_init(&self->grace, actor_now_ms(actor));
    self->receiver = (struct datagram_receiver){ .ctx = self,
                                                 .receive = on_datagram,
                                                 .batch_done = on_batch_done };
    random_init(&self->random, actor_random_seed(actor));
    questions_init(&self->questions, self);
    pages_init(&self->pages, actor_paths(actor)->pages_folder);
    open_handles(self);
    shaping_init(&self->shaping, self);
    err = open_member(self);
    if (err != LB_OK)
        return err;
    self->routing = actor_link(actor, SERVICE_ROUTING, 0, &lb__routing__reply__descriptor);
    instances_init(&self->storages, actor, SERVICE_STORAGE, &lb__storage__reply__descriptor);
    self->reports.routing = self->routing;
    open_endpoint(self);
    err = open_ports(self);
    if (err != LB_OK)
        return err;
    follow_workers(self);
    uv_prepare_start(&self->prepare, on_prepare);
    lan_open(&self->lan, self);
    on_care(&self->care_timer); /* says that we are ready */
    return LB_OK;
}

static void transport_scaled(void *ctx)
{
    struct transport *self = ctx;

    (void)instances_follow(&self->storages);
    follow_workers(self);
}

void transport_end(struct transport *self)
{
    queries_cancel(self);
    resolver_cancel(&self->resolver);
    if (self->member)
        transport_member->stop(self->member);
    close_ports(self);
    uv_timer_stop(&self->care_timer);
    actor_stopped(self->actor);
}

static void transport_stop(void *ctx)
{
    struct transport *self = ctx;

    self->stopping = true;
    lan_close(&self->lan);
    drain_begin(self);
}

static void on_closed(uv_handle_t *handle)
{
    struct transport *self = handle->data;

    self->handles_open--;
}

static void transport_free(void *ctx)
{
    struct transport *self = ctx;

    self->stopping = true;
    queries_cancel(self);
    resolver_cancel(&self->resolver);
    lan_close(&self->lan);
    close_ports(self);
    uv_close((uv_handle_t *)&self->deadline_timer, on_closed);
    uv_close((uv_handle_t *)&self->care_timer, on_closed);
    uv_close((uv_handle_t *)&self->prepare, on_closed);
    shaping_close(&self->shaping, on_closed);
    while (self->handles_open + self->lan.handles_open > 0)
        uv_run(actor_loop(self->actor), UV_RUN_NOWAIT);
    questions_done(&self->questions);
    shaping_done(&self->shaping);
    endpoint_done(&self->endpoint);
    pages_done(&self->pages);
    if (self->member)
        transport_member->free(&self->member);
    free(self);
}

/* ---- requests ---- */

static void on_get_info(void *ctx, struct call *call, const void *body)
{
    struct transport *self = ctx;
    Lb__Transport__Info info = LB__TRANSPORT__INFO__INIT;
    Lb__Transport__Reply reply = LB__TRANSPORT__REPLY__INIT;
    ProtobufCBinaryData list[TRANSPORT_PORTS];
    uint8_t compact[TRANSPORT_PORTS][ADDRESS_COMPACT_V6];

    (void)body;
    for (unsigned i = 0; i < self->ports_count; i++) {
        list[i].len = address_to_compact(&self->ports[i].bound, compact[i]);
        list[i].data = compact[i];
    }
    info.n_local_addresses = self->ports_count;
    info.local_addresses = list;
    info.worker = actor_instance(self->actor);
    info.workers = actor_active(self->actor, SERVICE_TRANSPORT);
    reply.body_case = LB__TRANSPORT__REPLY__BODY_INFO;
    reply.info = &info;
    call_reply(&call, &reply.base);
}

static void on_call_all(void *ctx, struct call *call, const void *body)
{
    struct transport *self = ctx;

    if (self->member)
        transport_member->call_all(self->member, call, body);
    else
        call_fail(&call, LB_UNSUPPORTED, "this node is of no private network");
}

static void on_get_trust(void *ctx, struct call *call, const void *body)
{
    struct transport *self = ctx;

    (void)body;
    if (self->member)
        transport_member->get_trust(self->member, call);
    else
        call_fail(&call, LB_UNSUPPORTED, "this node is of no private network");
}

static handler_fn *const handlers[] = {
    [LB__TRANSPORT__REQUEST__BODY_QUERY] = queries_on_query,
    [LB__TRANSPORT__REQUEST__BODY_RESOLVE] = resolve_on_resolve,
    [LB__TRANSPORT__REQUEST__BODY_GET_INFO] = on_get_info,
    [LB__TRANSPORT__REQUEST__BODY_LOCAL_TORRENTS] = lan_torrents_on_ask,
    [LB__TRANSPORT__REQUEST__BODY_CROSSED] = crossings_on_crossed,
    [LB__TRANSPORT__REQUEST__BODY_CALL_ALL] = on_call_all,
    [LB__TRANSPORT__REQUEST__BODY_GET_TRUST] = on_get_trust,
};

const struct service_definition transport_service = {
    .service = SERVICE_TRANSPORT,
    .request = &lb__transport__request__descriptor,
    .reply = &lb__transport__reply__descriptor,
    .handlers = handlers,
    .handlers_count = sizeof(handlers) / sizeof(handlers[0]),
    .start = transport_start,
    .stop = transport_stop,
    .free = transport_free,
    .scaled = transport_scaled,
};
