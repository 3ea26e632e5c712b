#include "tests/sim/carrier.h"

#include "libcommon/memory.h"
#include "services/transport/endpoint.h"

#include <stdlib.h>

struct carrier {
    struct endpoint endpoint;
    struct routing_list list;
};

/* One thread, and nothing outlives a call: what is large is shared by all. */
static uint8_t reply_room[KRPC_SEND_MAX];
static struct endpoint_result result_room;

struct carrier *carrier_new(const struct carrier_options *options, const struct node_id *self_id,
                            struct random *random)
{
    struct carrier *self = xcalloc(1, sizeof(*self));
    const struct endpoint_limits limits = { .transactions = { .queries_max = options->queries_max,
                                                              .rtts_max = options->rtts_max,
                                                              .late_max = 8 },
                                            .budget = options->budget,
                                            .sightings_max = options->sightings_max };
    uint8_t key[TOKENS_KEY_SIZE];

    random_bytes(random, key, sizeof(key));
    endpoint_init(&self->endpoint, &limits, key, random);
    self->list.self_id = *self_id;
    self->endpoint.responder.list = &self->list;
    return self;
}

void carrier_free(struct carrier **self)
{
    if (*self == NULL) {
        return;
    }
    endpoint_done(&(*self)->endpoint);
    free(*self);
    *self = NULL;
}

void carrier_set_contacts(struct carrier *self, enum routing_family family,
                          const struct contact *contacts, uint32_t count)
{
    self->list.contacts[family] = contacts;
    self->list.counts[family] = count;
}

static const enum carrier_seen seen_of[] = { [SIGHTING_QUERIED] = CARRIER_SEEN_QUERIED,
                                             [SIGHTING_ANSWERED] = CARRIER_SEEN_ANSWERED,
                                             [SIGHTING_SILENT] = CARRIER_SEEN_SILENT };

static void take_sightings(const struct endpoint_result *from, struct carrier_result *to)
{
    to->sightings_count = from->sightings_count;
    for (unsigned i = 0; i < from->sightings_count; i++) {
        to->sightings[i] = (struct carrier_sighting){ .contact = from->sightings[i].contact,
                                                      .seen = seen_of[from->sightings[i].kind],
                                                      .rtt_us = from->sightings[i].rtt_us };
    }
}

static void take_end(const struct endpoint_result *from, struct carrier_result *to)
{
    to->cookie = (uint64_t)(uintptr_t)from->end.ctx;
    to->to = from->end.expected.address;
    to->rtt_us = from->end.rtt_us;
}

void carrier_receive(struct carrier *self, const struct address *from, struct bytes datagram,
                     uint64_t now_ms, struct carrier_result *ret_result)
{
    struct endpoint_result *result = &result_room;

    endpoint_receive(&self->endpoint, from, datagram, now_ms * 1000, reply_room, result);
    ret_result->verdict = CARRIER_NOTHING;
    ret_result->message = &result->message;
    take_sightings(result, ret_result);
    switch (result->verdict) {
    case ENDPOINT_SEND:
        ret_result->verdict = CARRIER_SEND;
        ret_result->to = *from;
        ret_result->datagram = bytes_of(reply_room, result->reply_size);
        break;
    case ENDPOINT_ASK:
        ret_result->verdict = CARRIER_ASK;
        ret_result->ask = &result->ask;
        break;
    case ENDPOINT_ANSWERED:
        ret_result->verdict = CARRIER_ANSWERED;
        take_end(result, ret_result);
        break;
    default:
        break;
    }
}

struct bytes carrier_answer(struct carrier *self, const struct responder_ask *ask,
                            const struct responder_outcome *outcome, uint64_t now_ms)
{
    return bytes_of(reply_room,
                    endpoint_answer(&self->endpoint, ask, outcome, now_ms * 1000, reply_room));
}

lb_err carrier_start(struct carrier *self, const struct carrier_query *query, uint64_t now_ms,
                     struct bytes *ret_datagram)
{
    const struct transaction_start start = { .query = query->krpc,
                                             .to = &query->to,
                                             .has_id = query->has_id,
                                             .once = query->once,
                                             .ctx = (void *)(uintptr_t)query->cookie };

    return endpoint_start(&self->endpoint, query->krpc, &start, now_ms * 1000, ret_datagram);
}

bool carrier_next(struct carrier *self, uint64_t now_ms, struct carrier_result *ret_result)
{
    struct endpoint_result *result = &result_room;

    if (!endpoint_next(&self->endpoint, now_ms * 1000, result)) {
        return false;
    }
    take_end(result, ret_result);
    take_sightings(result, ret_result);
    ret_result->verdict = CARRIER_SILENT;
    if (result->verdict == ENDPOINT_RESEND) {
        ret_result->verdict = CARRIER_SEND;
        ret_result->datagram = result->datagram;
    }
    return true;
}

uint64_t carrier_deadline_ms(const struct carrier *self)
{
    uint64_t deadline_us = endpoint_deadline_us(&self->endpoint);

    return deadline_us == UINT64_MAX ? UINT64_MAX : (deadline_us + 999) / 1000;
}

uint32_t carrier_count(const struct carrier *self)
{
    return self->endpoint.transactions.count;
}

void carrier_check(const struct carrier *self)
{
    transactions_check(&self->endpoint.transactions);
}

struct carrier_counts carrier_counts(const struct carrier *self)
{
    const uint64_t *counters = self->endpoint.counters;

    return (struct carrier_counts){ .answered = counters[COUNT_ANSWERED],
                                    .over_budget = counters[COUNT_OVER_BUDGET],
                                    .strange = counters[COUNT_STRANGE],
                                    .late = counters[COUNT_LATE],
                                    .timeouts = counters[COUNT_TIMEOUTS],
                                    .resent = counters[COUNT_RESENT] };
}
