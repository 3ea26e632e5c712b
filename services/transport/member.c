#include "services/transport/member.h"

#include "libcommon/clock.h"
#include "libcommon/identity.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "proto/transport.pb-c.h"
#include "services/transport/calls.h"
#include "services/transport/denials.h"
#include "services/transport/dtls.h"
#include "services/transport/queries.h"
#include "services/transport/secrets.h"
#include "services/transport/service.h"
#include "services/transport/udp.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A socket's port as udp.h made it, under the one that sends into sessions. */
struct member_port {
    struct member *member;
    const struct datagram_ops *ops; /* NULL: it is closed */
    void *self;
    bool is_v4;
    uint8_t room[KRPC_SEND_MAX];
};

struct member {
    struct transport *transport; /* borrowed */
    struct membership *membership;
    struct secrets secrets;
    struct dtls *dtls;
    struct datagram_receiver receiver;
    struct member_port ports[TRANSPORT_PORTS];
    unsigned ports_count;
    struct calls calls;
    struct denials denials;
    uint64_t now_us; /* of this batch */
    bool in_batch;
    struct node_id sender;                         /* of the datagram being looked at */
    uint8_t payloads[UDP_BATCH][KRPC_RECEIVE_MAX]; /* of this batch */
    unsigned payloads_count;
    struct status_counter *counters[DTLS_COUNTERS_COUNT];
    uint64_t published[DTLS_COUNTERS_COUNT];
};

_Static_assert(KRPC_SEND_MAX >= DTLS_MTU, "a flight has room");
_Static_assert(MEMBER_ROOM + DTLS_RECORD_OVERHEAD == KRPC_SEND_MAX, "so has a record");

/* ---- from the sockets ---- */

/* A batch has no more datagrams than there are places for payloads (udp.h). */
static void on_datagram(void *ctx, const struct address *from, const struct datagram_local *local,
                        struct bytes data)
{
    struct member *self = ctx;
    const struct dtls_datagram datagram = { from, local, data };
    uint8_t *payload = self->payloads[self->payloads_count];
    size_t size;

    if (!self->in_batch) {
        self->in_batch = true;
        self->now_us = uv_hrtime() / 1000;
    }
    if (!address_is_usable(from))
        return;
    size =
        dtls_input(self->dtls, &datagram, self->now_us, payload, KRPC_RECEIVE_MAX, &self->sender);
    if (size == 0) {
        if (self->transport->shaping.datagrams.counting)
            overload_count(&self->transport->shaping.datagrams, from);
        return;
    }
    assert(self->payloads_count < UDP_BATCH);
    self->payloads_count++;
    self->transport->endpoint.certified = &self->sender;
    self->transport->receiver.receive(self->transport, from, local, bytes_of(payload, size));
}

static void on_batch_done(void *ctx)
{
    struct member *self = ctx;

    self->in_batch = false;
    self->payloads_count = 0;
    self->transport->receiver.batch_done(self->transport);
}

static const struct datagram_receiver *member_receiver(const struct member *self)
{
    return &self->receiver;
}

/* ---- to the sockets ---- */

static struct member_port *port_for(struct member *self, const struct address *to)
{
    for (unsigned i = 0; i < self->ports_count; i++) {
        if (self->ports[i].ops && self->ports[i].is_v4 == address_is_v4(to))
            return &self->ports[i];
    }
    return NULL;
}

static void on_send(void *ctx, const struct address *to, const struct datagram_local *local,
                    struct bytes datagram)
{
    struct member *self = ctx;
    struct member_port *port = port_for(self, to);

    if (!port || datagram.size > KRPC_SEND_MAX)
        return;
    memcpy(port->ops->reserve(port->self), datagram.data, datagram.size);
    port->ops->commit(port->self, to, local, datagram.size);
}

static uint8_t *port_reserve(void *ctx)
{
    struct member_port *self = ctx;

    return self->room;
}

static void port_commit(void *ctx, const struct address *to, const struct datagram_local *local,
                        size_t size)
{
    struct member_port *self = ctx;

    (void)dtls_send(self->member->dtls, to, local, bytes_of(self->room, size),
                    self->member->transport->now_us);
}

static void port_flush(void *ctx)
{
    struct member_port *self = ctx;

    self->ops->flush(self->self);
}

static uint32_t port_dropped(void *ctx)
{
    struct member_port *self = ctx;

    return self->ops->dropped(self->self);
}

static void port_discard(void *ctx)
{
    struct member_port *self = ctx;

    self->ops->discard(self->self);
}

static bool port_shape(void *ctx, const struct overload_rule *rules, unsigned count)
{
    struct member_port *self = ctx;

    return self->ops->shape(self->self, rules, count);
}

static bool port_steer(void *ctx, unsigned workers)
{
    struct member_port *self = ctx;

    return self->ops->steer(self->self, workers);
}

static void port_close(void *ctx)
{
    struct member_port *self = ctx;

    self->ops->close(self->self);
    self->ops = NULL;
}

static const struct datagram_ops port_ops = {
    .reserve = port_reserve,
    .commit = port_commit,
    .flush = port_flush,
    .dropped = port_dropped,
    .discard = port_discard,
    .shape = port_shape,
    .steer = port_steer,
    .close = port_close,
};

static void member_wrap(struct member *self, struct datagram_port *port)
{
    struct member_port *under = &self->ports[self->ports_count++];

    assert(self->ports_count <= TRANSPORT_PORTS);
    *under = (struct member_port){
        .member = self, .ops = port->ops, .self = port->self, .is_v4 = address_is_v4(&port->bound)
    };
    port->ops = &port_ops;
    port->self = under;
}

/* ---- sessions ---- */

static void on_opened(void *ctx, const struct address *peer)
{
    struct member *self = ctx;

    endpoint_opened(&self->transport->endpoint, peer, uv_hrtime() / 1000);
}

static enum member_reach member_reach(struct member *self, const struct contact *to, bool has_id)
{
    static const enum member_reach results[] = {
        [DTLS_OPEN] = MEMBER_OPEN,
        [DTLS_OPENING] = MEMBER_OPENING,
        [DTLS_OTHER] = MEMBER_OTHER,
        [DTLS_BUSY] = MEMBER_BUSY,
    };

    return results[dtls_reach(self->dtls, &to->address, has_id ? &to->id : NULL,
                              uv_hrtime() / 1000)];
}

static bool member_unanswered(struct member *self, const struct address *peer)
{
    return dtls_unanswered(self->dtls, peer);
}

static void member_next(struct member *self, uint64_t now_us)
{
    dtls_next(self->dtls, now_us);
}

static uint64_t member_deadline_us(const struct member *self)
{
    return dtls_deadline_us(self->dtls);
}

static void member_care(struct member *self)
{
    uint64_t now_s = clock_wall_s();
    unsigned news = membership_refresh(self->membership, now_s);

    if (news & MEMBERSHIP_NEW_CERTIFICATE)
        log_info("sessions are opened with a new certificate from now on");
    if (news & MEMBERSHIP_NEW_DENIED)
        log_info("deny list number=%llu denied=%zu",
                 (unsigned long long)deny_list_number(membership_denied(self->membership)),
                 deny_list_count(membership_denied(self->membership)));
    dtls_care(self->dtls, news, now_s);
    denials_care(&self->denials, self->transport->pages.routing,
                 membership_denied(self->membership), self->transport->routing);
    (void)secrets_rotate(&self->secrets, actor_paths(self->transport->actor)->private_folder,
                         actor_now_ms(self->transport->actor));
}

static void member_publish(struct member *self)
{
    const uint64_t *counters = dtls_counters(self->dtls);

    for (unsigned i = 0; i < DTLS_COUNTERS_COUNT; i++) {
        if (counters[i] == self->published[i])
            continue;
        self->published[i] = counters[i];
        status_counter_set(self->counters[i], counters[i]);
    }
}

/* ---- calls ---- */

static void member_take_call(struct member *self, const struct krpc_message *message,
                             const struct responder_ask *ask, const struct datagram_local *local)
{
    calls_add(&self->calls, message, ask, local);
}

static void member_flush(struct member *self)
{
    calls_flush(&self->calls);
}

static bool member_is_idle(const struct member *self)
{
    return calls_are_idle(&self->calls);
}

/* A call to all, while it goes out. */
struct call_all {
    struct member *member;
    const struct krpc_query *query;
    uint32_t nodes;
};

static void call_one(void *ctx, const struct address *peer, const struct node_id *node)
{
    struct call_all *all = ctx;
    struct transport *transport = all->member->transport;
    struct krpc_query query = *all->query;
    const struct contact to = { .id = *node, .address = *peer };
    const struct transaction_start start = { .query = &query, .to = &to, .has_id = true };
    struct bytes datagram;

    if (endpoint_start(&transport->endpoint, &query, &start, transport->now_us, &datagram) != LB_OK)
        return;
    transport_send(transport, peer, datagram);
    all->nodes++;
}

static void member_call_all(struct member *self, struct call *call, const void *body)
{
    const Lb__Transport__CallAll *from = body;
    Lb__Transport__Reply reply = LB__TRANSPORT__REPLY__INIT;
    Lb__Transport__Called called = LB__TRANSPORT__CALLED__INIT;
    struct krpc_query query = { .method = KRPC_CALL };
    struct call_all all = { .member = self, .query = &query };
    const char *problem = from->call ? queries_read_call(from->call, &query) : "a call is missing";

    if (problem) {
        call_fail(&call, LB_INVALID, "%s", problem);
        return;
    }
    self->transport->now_us = uv_hrtime() / 1000;
    dtls_each(self->dtls, call_one, &all);
    called.nodes = all.nodes;
    reply.body_case = LB__TRANSPORT__REPLY__BODY_CALLED;
    reply.called = &called;
    call_reply(&call, &reply.base);
}

static void member_get_trust(struct member *self, struct call *call)
{
    Lb__Transport__Reply reply = LB__TRANSPORT__REPLY__INIT;
    Lb__Transport__Trust trust = LB__TRANSPORT__TRUST__INIT;
    uint8_t root[CERTIFICATE_DER_MAX];

    trust.root.data = root;
    if (certificate_to_der(membership_root(self->membership), root, &trust.root.len) != LB_OK) {
        call_fail(&call, LB_INTERNAL, "the root cannot be written");
        return;
    }
    reply.body_case = LB__TRANSPORT__REPLY__BODY_TRUST;
    reply.trust = &trust;
    call_reply(&call, &reply.base);
}

/* ---- life ---- */

static lb_err load(struct member *self, const struct identity *identity)
{
    struct membership_problem problem;
    lb_err err = membership_load(actor_paths(self->transport->actor)->member_folder, identity,
                                 clock_wall_s(), &self->membership, &problem);

    if (err != LB_OK) {
        log_error("this node is a member of network %s, but: %s", identity->network_name,
                  problem.text);
        return err == LB_DENIED ? LB_DENIED : LB_INVALID;
    }
    if (dtls_probe(self->membership) != LB_OK)
        log_warn("this OpenSSL lacks security fixes of 2026: install libssl3 3.0.22-1~deb12u2 or "
                 "later, or what your distribution has instead");
    return LB_OK;
}

static void open_counters(struct member *self)
{
    char text[DTLS_COUNTER_TEXT_SIZE];

    for (unsigned i = 0; i < DTLS_COUNTERS_COUNT; i++) {
        dtls_counter_text(i, text);
        self->counters[i] = actor_counter(self->transport->actor, text);
    }
}

static void open_dtls(struct member *self)
{
    const struct dtls_settings settings = {
        .membership = self->membership,
        .secrets = &self->secrets,
        .world = { .ctx = self, .send = on_send, .opened = on_opened },
        .limits = DTLS_LIMITS_DEFAULT,
        .seed = random_u64(&self->transport->random),
        .now_s = clock_wall_s(),
    };

    self->dtls = dtls_new(&settings);
}

static void member_free(struct member **self_)
{
    struct member *self = *self_;

    *self_ = NULL;
    if (!self)
        return;
    dtls_free(&self->dtls);
    membership_free(&self->membership);
    secrets_done(&self->secrets);
    calls_done(&self->calls);
    free(self);
}

static lb_err member_open(struct transport *transport, const struct identity *identity,
                          struct member **ret_self)
{
    struct member *self = xcalloc(1, sizeof(*self));
    lb_err err;

    self->transport = transport;
    self->receiver = (struct datagram_receiver){ .ctx = self,
                                                 .receive = on_datagram,
                                                 .batch_done = on_batch_done };
    calls_init(&self->calls, transport);
    err = load(self, identity);
    if (err != LB_OK) {
        member_free(&self);
        return err;
    }
    secrets_load(actor_paths(transport->actor)->private_folder, actor_now_ms(transport->actor),
                 &self->secrets);
    open_dtls(self);
    open_counters(self);
    *ret_self = self;
    return LB_OK;
}

static void member_stop(struct member *self)
{
    dtls_close_all(self->dtls);
}

static const struct member_ops ops = {
    .open = member_open,
    .stop = member_stop,
    .free = member_free,
    .receiver = member_receiver,
    .wrap = member_wrap,
    .reach = member_reach,
    .unanswered = member_unanswered,
    .next = member_next,
    .deadline_us = member_deadline_us,
    .care = member_care,
    .publish = member_publish,
    .take_call = member_take_call,
    .flush = member_flush,
    .is_idle = member_is_idle,
    .call_all = member_call_all,
    .get_trust = member_get_trust,
};

const struct member_ops *const transport_member = &ops;
