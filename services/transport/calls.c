#include "services/transport/calls.h"

#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "proto/member.pb-c.h"
#include "services/transport/service.h"

#include <stdlib.h>

struct calls_draft {
    struct calls_waiting waiting;
    struct bytes node, body;
};

/* What is kept of a message under way. */
struct calls_batch {
    struct calls *calls;
    unsigned count;
    struct calls_waiting waiting[];
};

void calls_init(struct calls *self, struct transport *transport)
{
    *self = (struct calls){ .transport = transport };
    self->member = actor_link(transport->actor, SERVICE_MEMBER, 0, &lb__member__reply__descriptor);
    self->drafts = xcalloc(CALLS_BATCH_MAX, sizeof(*self->drafts));
}

void calls_done(struct calls *self)
{
    free(self->drafts);
    self->drafts = NULL;
}

static void answer(struct calls *self, const struct calls_waiting *waiting,
                   const struct responder_outcome *outcome)
{
    questions_answer(&self->transport->questions, &waiting->ask, &waiting->local, outcome);
}

static void answer_unavailable(struct calls *self, const struct calls_waiting *waiting)
{
    const struct responder_outcome outcome = { .unavailable = true };

    answer(self, waiting, &outcome);
}

void calls_add(struct calls *self, const struct krpc_message *message,
               const struct responder_ask *ask, const struct datagram_local *local)
{
    if (self->drafts_count == CALLS_BATCH_MAX)
        calls_flush(self);
    self->drafts[self->drafts_count++] = (struct calls_draft){
        .waiting = { .ask = *ask, .local = *local }, .node = message->id, .body = message->body
    };
}

/* One without a body is not answered: it was nothing that lb-member understands. */
static void answer_each(struct calls *self, const struct calls_batch *batch,
                        const Lb__Member__Answers *answers)
{
    for (unsigned i = 0; i < batch->count; i++) {
        const struct responder_outcome outcome = { .body = bytes_of(answers->bodies[i].data,
                                                                    answers->bodies[i].len) };

        if (outcome.body.size > 0 && outcome.body.size <= KRPC_CALL_MAX)
            answer(self, &batch->waiting[i], &outcome);
    }
}

static void on_answers(void *ctx, lb_err err, const char *reason, const void *message)
{
    const Lb__Member__Reply *reply = message;
    struct calls_batch *batch = ctx;
    struct calls *self = batch->calls;

    self->under_way--;
    if (err == LB_OK && reply->body_case == LB__MEMBER__REPLY__BODY_ANSWERS &&
        reply->answers->n_bodies == batch->count) {
        answer_each(self, batch, reply->answers);
    } else {
        log_debug("lb-member did not answer calls=%u: %s", batch->count,
                  reason && *reason ? reason : lb_err_text(err));
        for (unsigned i = 0; i < batch->count; i++)
            answer_unavailable(self, &batch->waiting[i]);
    }
    free(batch);
}

static ProtobufCBinaryData binary(struct bytes from)
{
    return (ProtobufCBinaryData){ .len = from.size, .data = (uint8_t *)(uintptr_t)from.data };
}

static void send_batch(struct calls *self)
{
    struct calls_batch *batch =
        xmalloc(sizeof(*batch) + self->drafts_count * sizeof(batch->waiting[0]));
    Lb__Member__Request request = LB__MEMBER__REQUEST__INIT;
    Lb__Member__Calls calls = LB__MEMBER__CALLS__INIT;
    Lb__Member__Call list[CALLS_BATCH_MAX], *pointers[CALLS_BATCH_MAX];
    uint8_t addresses[CALLS_BATCH_MAX][ADDRESS_COMPACT_V6];

    batch->calls = self;
    batch->count = self->drafts_count;
    for (unsigned i = 0; i < self->drafts_count; i++) {
        batch->waiting[i] = self->drafts[i].waiting;
        lb__member__call__init(&list[i]);
        list[i].node_id = binary(self->drafts[i].node);
        list[i].body = binary(self->drafts[i].body);
        list[i].address = binary(bytes_of(
            addresses[i], address_to_compact(&self->drafts[i].waiting.ask.from, addresses[i])));
        pointers[i] = &list[i];
    }
    calls.calls = pointers;
    calls.n_calls = self->drafts_count;
    request.body_case = LB__MEMBER__REQUEST__BODY_CALLS;
    request.calls = &calls;
    self->under_way++;
    link_call(self->member, &request.base, CALLS_TIMEOUT_MS, on_answers, batch);
}

void calls_flush(struct calls *self)
{
    if (self->drafts_count == 0)
        return;
    if (self->under_way < CALLS_BATCHES_MAX && link_is_up(self->member)) {
        send_batch(self);
    } else {
        for (unsigned i = 0; i < self->drafts_count; i++)
            answer_unavailable(self, &self->drafts[i].waiting);
    }
    self->drafts_count = 0;
}

bool calls_are_idle(const struct calls *self)
{
    return self->under_way == 0;
}
