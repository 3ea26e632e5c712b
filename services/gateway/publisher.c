#include "services/gateway/publisher.h"

#include "libcommon/listen.h"
#include "libcommon/memory.h"
#include "proto/littlebird/v1/event.pb-c.h"
#include "proto/swarm.pb-c.h"
#include "services/gateway/changes.h"
#include "services/gateway/dedupe.h"
#include "services/gateway/gather.h"
#include "services/gateway/sockets.h"
#include "services/gateway/view.h"
#include "services/gateway/wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include <zmq.h>

#define LOOK_MS           1000
#define LIST_TIMEOUT_MS   5000
#define SUBSCRIPTION_SIZE 64 /* bytes; our topics are shorter */

enum topic { TOPIC_TRANSFER, TOPIC_PROCESS, TOPICS_COUNT };
static const char *const topic_names[] = {
    [TOPIC_TRANSFER] = "transfer",
    [TOPIC_PROCESS] = "process",
};

struct publisher {
    struct actor *actor;
    struct gather *swarm;
    const struct page *status;
    void *socket;
    struct watch *watch;
    uv_timer_t timer;
    uint64_t epoch;
    uint64_t sequence[TOPICS_COUNT];
    unsigned subscriptions[TOPICS_COUNT]; /* distinct ones that match */
    bool list_under_way;
    struct changes transfers;
    struct process processes[SERVICES_COUNT][STATUS_INSTANCES_MAX]; /* as published last */
    struct status_counter *published;
};

/* ---- publishing ---- */

static void publish(struct publisher *self, enum topic topic, Littlebird__V1__Event *event)
{
    const char *name = topic_names[topic];
    size_t size;
    uint8_t *packed;

    event->epoch = self->epoch;
    event->sequence = ++self->sequence[topic];
    size = littlebird__v1__event__get_packed_size(event);
    packed = xmalloc(size);
    littlebird__v1__event__pack(event, packed);
    wire_clean(&littlebird__v1__event__descriptor, packed, size);
    /* XPUB never blocks: for who reads too slowly the event is dropped, and the sequence tells. */
    if (zmq_send(self->socket, name, strlen(name), ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0)
        zmq_send(self->socket, packed, size, ZMQ_DONTWAIT);
    watch_wake(self->watch);
    status_counter_add(self->published, 1);
    free(packed);
}

struct listing {
    struct publisher *publisher;
    const Lb__Swarm__Transfers *transfers;
};

static void on_transfer_change(void *ctx, enum change change, const struct thing *thing,
                               size_t index)
{
    struct listing *listing = ctx;
    Littlebird__V1__Event event = LITTLEBIRD__V1__EVENT__INIT;
    Littlebird__V1__Transfer transfer = LITTLEBIRD__V1__TRANSFER__INIT;

    if (change == CHANGE_GONE) {
        transfer.infohash.len = NODE_ID_SIZE;
        transfer.infohash.data = (uint8_t *)(uintptr_t)thing->id.bytes;
        transfer.note = (char *)(uintptr_t) "removed";
    } else {
        transfer = api_transfer(listing->transfers->transfers[index]);
    }
    event.body_case = LITTLEBIRD__V1__EVENT__BODY_TRANSFER;
    event.transfer = &transfer;
    publish(listing->publisher, TOPIC_TRANSFER, &event);
}

static struct thing thing_of(const Lb__Swarm__Transfer *from)
{
    size_t size = lb__swarm__transfer__get_packed_size(from);
    uint8_t *packed = xmalloc(size);
    struct thing thing = { { { 0 } }, 0 };

    lb__swarm__transfer__pack(from, packed);
    thing.fingerprint = dedupe_fingerprint(bytes_of_text(""), bytes_of(packed, size));
    if (from->infohash.len == NODE_ID_SIZE)
        thing.id = node_id_from(from->infohash.data);
    free(packed);
    return thing;
}

static void on_list(void *ctx, lb_err err, const char *reason, const void *body)
{
    struct publisher *self = ctx;
    const Lb__Swarm__Reply *reply = body;
    struct listing listing = { .publisher = self };
    struct thing *things;

    (void)reason;
    self->list_under_way = false;
    /* While lb-swarm is away nothing is known to have changed. */
    if (err != LB_OK || reply->body_case != LB__SWARM__REPLY__BODY_TRANSFERS ||
        self->subscriptions[TOPIC_TRANSFER] == 0)
        return;
    listing.transfers = reply->transfers;
    things = xcalloc(reply->transfers->n_transfers, sizeof(*things));
    for (size_t i = 0; i < reply->transfers->n_transfers; i++)
        things[i] = thing_of(reply->transfers->transfers[i]);
    changes_take(&self->transfers, things, reply->transfers->n_transfers, on_transfer_change,
                 &listing);
    free(things);
}

static void ask_for_transfers(struct publisher *self)
{
    Lb__Swarm__List list = LB__SWARM__LIST__INIT;
    Lb__Swarm__Request request = LB__SWARM__REQUEST__INIT;

    if (self->list_under_way)
        return;
    request.body_case = LB__SWARM__REQUEST__BODY_LIST;
    request.list = &list;
    list.of_all = true;
    self->list_under_way = true;
    gather_ask(self->swarm, &request, LIST_TIMEOUT_MS, on_list, self);
}

static void publish_process(void *ctx, const ProtobufCMessage *message)
{
    Littlebird__V1__Event event = LITTLEBIRD__V1__EVENT__INIT;

    event.body_case = LITTLEBIRD__V1__EVENT__BODY_PROCESS;
    event.process = (Littlebird__V1__Process *)(uintptr_t)message;
    publish(ctx, TOPIC_PROCESS, &event);
}

static void look_at_process(struct publisher *self, const struct view *view, enum service service,
                            unsigned instance)
{
    struct process *before = &self->processes[service][instance];
    struct process now;

    if (!view_process(view, service, instance, &now) ||
        (now.state == before->state && now.pid == before->pid))
        return;
    *before = now;
    view_process_message(view, &now, publish_process, self);
}

static void look_at_processes(struct publisher *self)
{
    struct view view = { .status = self->status, .now_ms = actor_now_ms(self->actor) };

    for (int service = 0; service < SERVICES_COUNT; service++) {
        for (unsigned instance = 0; instance < STATUS_INSTANCES_MAX; instance++)
            look_at_process(self, &view, (enum service)service, instance);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct publisher *self = timer->data;

    if (self->subscriptions[TOPIC_TRANSFER] > 0)
        ask_for_transfers(self);
    if (self->subscriptions[TOPIC_PROCESS] > 0)
        look_at_processes(self);
}

/* ---- subscriptions ---- */

static void first_subscriber(struct publisher *self, enum topic topic)
{
    self->sequence[topic]++;
    if (topic == TOPIC_TRANSFER)
        changes_clear(&self->transfers);
    else
        memset(self->processes, 0, sizeof(self->processes));
}

static void count_subscription(struct publisher *self, enum topic topic, bool more)
{
    unsigned *count = &self->subscriptions[topic];

    if (more && (*count)++ == 0)
        first_subscriber(self, topic);
    else if (!more && *count > 0)
        --*count;
}

/* "\1transfer" or "\0transfer"; a prefix of a topic means that topic, the empty one all. */
static void on_subscription(void *ctx, void *socket)
{
    struct publisher *self = ctx;
    uint8_t message[SUBSCRIPTION_SIZE];
    int size = zmq_recv(socket, message, sizeof(message), ZMQ_DONTWAIT);
    unsigned wanted = 0;

    if (size < 1 || (size_t)size > sizeof(message) || message[0] > 1)
        return;
    for (int topic = 0; topic < TOPICS_COUNT; topic++) {
        size_t length = (size_t)size - 1;

        if (length <= strlen(topic_names[topic]) &&
            memcmp(topic_names[topic], message + 1, length) == 0)
            count_subscription(self, (enum topic)topic, message[0] == 1);
        wanted += self->subscriptions[topic];
    }
    if (wanted == 0)
        uv_timer_stop(&self->timer);
    else if (!uv_is_active((uv_handle_t *)&self->timer))
        uv_timer_start(&self->timer, on_timer, 0, LOOK_MS);
}

lb_err publisher_new(struct publisher **ret_self, struct actor *actor, struct gather *swarm,
                     const struct page *status)
{
    void *socket;
    lb_err err = socket_open(actor, ZMQ_XPUB, LISTEN_EVENTS, SUBSCRIPTION_SIZE, &socket);
    struct publisher *self;

    if (err != LB_OK)
        return err;
    self = xcalloc(1, sizeof(*self));
    self->actor = actor;
    self->swarm = swarm;
    self->status = status;
    self->socket = socket;
    self->epoch = actor_random_seed(actor);
    self->published = actor_counter(actor, "events_published");
    uv_timer_init(actor_loop(actor), &self->timer);
    self->timer.data = self;
    self->watch = watch_new(actor_loop(actor), socket, on_subscription, self);
    *ret_self = self;
    return LB_OK;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void publisher_free(struct publisher **self)
{
    struct publisher *publisher = *self;

    *self = NULL;
    if (!publisher)
        return;
    assert(!publisher->list_under_way);
    changes_clear(&publisher->transfers);
    watch_free(&publisher->watch);
    zmq_close(publisher->socket);
    uv_close((uv_handle_t *)&publisher->timer, on_closed);
}
