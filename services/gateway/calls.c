/*
 * Calls of clients: a message is opened and admitted, asked of the service that does the work
 * (relay.c), and answered; what comes again joins what is under way.
 */
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/node_self.h"
#include "libcommon/watch.h"
#include "proto/littlebird/v1/node.pb-c.h"
#include "services/gateway/service_inside.h"
#include "services/gateway/view.h"
#include "services/gateway/wire.h"

#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#define FRAMES 3 /* identity, header, payload */

/* ---- answers ---- */

static void send_answer(struct gateway *self, const struct asker *asker,
                        const struct answer *answer)
{
    uint8_t header[ENVELOPE_HEADER_MAX];
    size_t size = envelope_answer(asker, answer, header);
    const struct bytes payload = answer->payload;

    if (answer->code != CODE_OK)
        status_counter_add(self->refused, 1);
    if (zmq_send(self->socket, asker->identity, asker->identity_size, ZMQ_DONTWAIT | ZMQ_SNDMORE) <
            0 ||
        zmq_send(self->socket, header, size, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0 ||
        zmq_send(self->socket, payload.data, payload.size, ZMQ_DONTWAIT) < 0)
        status_counter_add(self->answers_lost, 1); /* the client left, or does not read */
    watch_wake(self->watch);
}

static void stop_if_done(struct gateway *self)
{
    if (self->stopping && self->requests.count == 0)
        actor_stopped(self->actor);
}

void work_free_if_done(struct work *work)
{
    if (work->request || work->asked)
        return;
    envelope_done(&work->envelope);
    free(work);
}

/* Those who sent the same call again get the same answer, unless it is none. */
static void answer_joined(struct gateway *self, uint32_t entry, const struct answer *answer)
{
    struct answer none = answer_error(LB_UNAVAILABLE, "the call it repeats got no answer");
    struct request *joined;

    while ((joined = requests_joined(&self->requests, entry))) {
        struct work *work = joined->work;

        send_answer(self, &joined->asker, code_is_passing(answer->code) ? &none : answer);
        requests_remove(&self->requests, joined);
        work->request = NULL;
        work_free_if_done(work);
    }
}

/* Answer the client; the request is gone then. */
void work_finish(struct work *work, const struct answer *answer)
{
    struct gateway *self = work->gateway;
    struct request *request = work->request;
    uint32_t entry = request->dedupe;
    bool joined = request->state == REQUEST_JOINED;

    send_answer(self, &request->asker, answer);
    requests_remove(&self->requests, request);
    work->request = NULL;
    if (entry != DEDUPE_NONE && !joined) {
        answer_joined(self, entry, answer);
        dedupe_answer(&self->dedupe, entry, answer, actor_now_ms(self->actor));
    }
    work_free_if_done(work);
    stop_if_done(self);
}

/* A message_take_fn: answer with this response. */
void work_respond(void *ctx, const ProtobufCMessage *response)
{
    size_t size = protobuf_c_message_get_packed_size(response);
    uint8_t *packed = xmalloc(size);
    struct answer answer = answer_ok(bytes_of(packed, size));

    protobuf_c_message_pack(response, packed);
    wire_clean(response->descriptor, packed, size);
    work_finish(ctx, &answer);
    free(packed);
}

void work_fail(struct work *work, lb_err err, const char *text)
{
    struct answer answer = answer_error(err, "%s", text);

    work_finish(work, &answer);
}

/* ---- what is known here ---- */

static struct view view_of(const struct gateway *self)
{
    return (struct view){ .status = &self->status,
                          .now_ms = actor_now_ms(self->actor),
                          .member = self->is_member ? &self->identity : NULL };
}

static void answer_here(struct work *work)
{
    struct gateway *self = work->gateway;
    struct view view = view_of(self);
    struct node_id id;

    if (node_self_id(actor_paths(self->actor)->pages_folder, &id))
        view.node_id = &id;
    work->envelope.method->local(&view, work_respond, work);
}

/* ---- calls ---- */

/* False: answered at once, there is nothing to do. */
static bool check_repeated(struct work *work, const struct asker *asker, uint32_t *ret_entry,
                           bool *ret_joins)
{
    struct gateway *self = work->gateway;
    const struct envelope *envelope = &work->envelope;
    uint64_t now_ms = actor_now_ms(self->actor);
    struct answer answer;

    *ret_entry = DEDUPE_NONE;
    *ret_joins = false;
    if (envelope->idempotency_key.size == 0)
        return true;
    switch (dedupe_offer(&self->dedupe, envelope->idempotency_key, envelope->fingerprint, now_ms,
                         ret_entry)) {
    case DEDUPE_NEW:
        return true;
    case DEDUPE_JOIN:
        *ret_joins = true;
        return true;
    case DEDUPE_KNOWN:
        answer = *dedupe_known(&self->dedupe, *ret_entry);
        break;
    case DEDUPE_MISMATCH:
        answer = answer_error(LB_INVALID, "idempotency_key was used for another call");
        break;
    default:
        answer = answer_error(LB_FULL, "too many calls with an idempotency_key are under way");
        break;
    }
    send_answer(self, asker, &answer);
    return false;
}

/* Takes work. */
static void admit(struct work *work, const struct asker *asker, size_t bytes)
{
    struct gateway *self = work->gateway;
    uint64_t now_ms = actor_now_ms(self->actor);
    const char *limit = "";
    struct answer full;
    uint32_t entry;
    bool joins;

    if (!check_repeated(work, asker, &entry, &joins)) {
        work_free_if_done(work);
        return;
    }
    work->request =
        requests_add(&self->requests, asker, bytes, now_ms + work->envelope.timeout_ms, &limit);
    if (!work->request) {
        full = answer_error(LB_FULL, "%s", limit);
        send_answer(self, asker, &full);
        if (entry != DEDUPE_NONE && !joins)
            dedupe_answer(&self->dedupe, entry, &full, now_ms);
        work_free_if_done(work);
        return;
    }
    work->request->work = work;
    work->request->dedupe = entry;
    if (joins) {
        work->request->state = REQUEST_JOINED;
        relay_watch_time(self);
    } else if (work->envelope.method->local) {
        answer_here(work);
    } else {
        relay_begin(work);
    }
}

static struct bytes content(zmq_msg_t *frame)
{
    return bytes_of(zmq_msg_data(frame), zmq_msg_size(frame));
}

static bool open_call(struct work *work, struct asker *asker, zmq_msg_t frames[FRAMES],
                      struct answer *ret_refusal)
{
    struct envelope *envelope = &work->envelope;
    struct view view = view_of(work->gateway);
    uint32_t uid;

    if (!envelope_open(envelope, content(&frames[1]), content(&frames[2]), asker, ret_refusal) ||
        !callers_admit(&work->gateway->callers, &frames[1], envelope->method, envelope->request,
                       &uid, ret_refusal) ||
        !view_answers(&view, envelope->method, ret_refusal))
        return false;
    envelope->fingerprint += uid; /* nobody gets the answer to a call of another */
    return true;
}

static void take_call(struct gateway *self, struct asker *asker, zmq_msg_t frames[FRAMES])
{
    struct work *work = xcalloc(1, sizeof(*work));
    struct answer refusal;

    work->gateway = self;
    status_counter_add(self->calls, 1);
    if (!open_call(work, asker, frames, &refusal)) {
        send_answer(self, asker, &refusal);
        work_free_if_done(work);
    } else if (self->stopping) {
        refusal = answer_error(LB_UNAVAILABLE, "the gateway is stopping");
        send_answer(self, asker, &refusal);
        work_free_if_done(work);
    } else {
        admit(work, asker, zmq_msg_size(&frames[1]) + zmq_msg_size(&frames[2]));
    }
}

/* How many frames the message has; the first FRAMES of them are kept. */
static unsigned receive(void *socket, zmq_msg_t frames[FRAMES])
{
    unsigned count = 0;
    bool more = true;

    while (more) {
        zmq_msg_t rest, *frame = count < FRAMES ? &frames[count] : &rest;

        if (count >= FRAMES)
            zmq_msg_init(&rest);
        more = zmq_msg_recv(frame, socket, ZMQ_DONTWAIT) >= 0 && zmq_msg_more(frame);
        if (count >= FRAMES)
            zmq_msg_close(&rest);
        count++;
    }
    return count;
}

void calls_on_message(void *ctx, void *socket)
{
    struct gateway *self = ctx;
    zmq_msg_t frames[FRAMES];
    struct asker asker = { .identity_size = 0 };
    unsigned count;

    for (int i = 0; i < FRAMES; i++)
        zmq_msg_init(&frames[i]);
    count = receive(socket, frames);
    if (count == FRAMES && zmq_msg_size(&frames[0]) <= REQUESTS_IDENTITY_MAX) {
        asker.identity_size = (uint8_t)zmq_msg_size(&frames[0]);
        memcpy(asker.identity, zmq_msg_data(&frames[0]), asker.identity_size);
        take_call(self, &asker, frames);
    } else {
        status_counter_add(self->malformed, 1);
        log_debug("message dropped frames=%u", count);
    }
    for (int i = 0; i < FRAMES; i++)
        zmq_msg_close(&frames[i]);
}

/* ---- the end ---- */

/* To restart us is what is being done now: say so while we can. */
static bool restarts_us(const struct work *work)
{
    const ProtobufCMessage *request = work->envelope.request;

    return request && request->descriptor == &littlebird__v1__restart_service_request__descriptor &&
           strcmp(((const Littlebird__V1__RestartServiceRequest *)request)->service,
                  service_text(SERVICE_GATEWAY)) == 0;
}

void calls_stop(struct gateway *self)
{
    struct answer done = answer_ok(bytes_of(NULL, 0));

    self->stopping = true;
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        struct request *request = &self->requests.slots[i];

        if (request->state == REQUEST_ASKED && restarts_us(request->work))
            work_finish(request->work, &done);
        else if (request->state == REQUEST_PAUSED || request->state == REQUEST_JOINED)
            work_fail(request->work, LB_UNAVAILABLE, "the gateway is stopping");
    }
    stop_if_done(self);
}
