#include "services/transport/endpoint.h"

#include <assert.h>

#define PROBE_SIZE 256 /* bytes of the two pings that telling routing of somebody may lead to */

_Static_assert(COUNT_PING + KRPC_UNKNOWN == (int)COUNT_UNKNOWN,
               "the counters of queries are in the order of the methods");

static const char *const counter_texts[] = {
#define ENDPOINT_COUNTER_TEXT(name, text) [COUNT_##name] = text,
    ENDPOINT_COUNTERS(ENDPOINT_COUNTER_TEXT)
#undef ENDPOINT_COUNTER_TEXT
};

const char *endpoint_counter_text(enum endpoint_counter counter)
{
    return counter_texts[counter];
}

void endpoint_init(struct endpoint *self, const struct endpoint_limits *limits,
                   const uint8_t token_key[TOKENS_KEY_SIZE], struct random *random)
{
    *self = (struct endpoint){ 0 };
    tokens_init(&self->responder.tokens, token_key);
    budget_init(&self->responder.budget, limits->budget, random_u64(random));
    transactions_init(&self->transactions, limits->transactions, random);
    sightings_init(&self->sightings, limits->sightings_max, random_u64(random));
}

void endpoint_done(struct endpoint *self)
{
    budget_done(&self->responder.budget);
    transactions_done(&self->transactions);
    sightings_done(&self->sightings);
}

static bool is_self(const struct endpoint *self, const struct node_id *id)
{
    const struct node_id *self_id = responder_self_id(&self->responder);

    return self_id && node_id_equal(self_id, id);
}

/* As far as a certificate says who sent it. */
static bool is_from(const struct endpoint *self, const struct node_id *id)
{
    return !self->certified || node_id_equal(self->certified, id);
}

static void sight(const struct endpoint *self, struct endpoint_result *result,
                  const struct contact *contact, enum sighting_kind kind, uint32_t rtt_us)
{
    if (is_self(self, &contact->id))
        return;
    result->sightings[result->sightings_count++] =
        (struct sighting){ .contact = *contact, .kind = kind, .rtt_us = rtt_us };
}

/* Count what becomes of a query and say it in the endpoint's words. */
static enum endpoint_verdict settle(struct endpoint *self, enum responder_verdict verdict)
{
    switch (verdict) {
    case RESPONDER_REFUSAL:
        self->counters[COUNT_REFUSED]++;
        self->counters[COUNT_ANSWERED]++;
        return ENDPOINT_SEND;
    case RESPONDER_REPLY:
        self->counters[COUNT_ANSWERED]++;
        return ENDPOINT_SEND;
    case RESPONDER_ASK:
        self->counters[COUNT_QUESTIONS]++;
        return ENDPOINT_ASK;
    case RESPONDER_OVER_BUDGET:
        self->counters[COUNT_OVER_BUDGET]++;
        return ENDPOINT_NOTHING;
    case RESPONDER_NO_TABLE:
        self->counters[COUNT_NO_TABLE]++;
        return ENDPOINT_NOTHING;
    }
    return ENDPOINT_NOTHING;
}

static void receive_query(struct endpoint *self, const struct address *from, uint64_t now_ms,
                          uint8_t *ret_reply, struct endpoint_result *result)
{
    const struct krpc_message *query = &result->message;

    self->counters[COUNT_PING + query->method]++;
    if (self->read_only)
        return;
    result->verdict = settle(self, responder_query(&self->responder, query, from, now_ms, ret_reply,
                                                   &result->reply_size, &result->ask));
    if (!query->fault && !query->read_only && sightings_due(&self->sightings, from, now_ms) &&
        budget_take(&self->responder.budget, from, PROBE_SIZE, 0, now_ms))
        sight(self, result,
              &(struct contact){ .id = node_id_from(query->id.data), .address = *from },
              SIGHTING_QUERIED, 0);
}

/* Of a query that was answered: who is there, and that the one we expected is not. */
static void sight_answer(const struct endpoint *self, struct endpoint_result *result)
{
    struct contact there = { .address = result->end.expected.address };

    if (result->message.type != KRPC_REPLY) {
        /* An error names nobody, but it came from where our query went. */
        if (result->end.has_id)
            sight(self, result, &result->end.expected,
                  is_from(self, &result->end.expected.id) ? SIGHTING_ANSWERED : SIGHTING_SILENT,
                  result->end.rtt_us);
        return;
    }
    there.id = node_id_from(result->message.id.data);
    sight(self, result, &there, SIGHTING_ANSWERED, result->end.rtt_us);
    if (result->end.has_id && !node_id_equal(&result->end.expected.id, &there.id))
        sight(self, result, &result->end.expected, SIGHTING_SILENT, 0);
}

static void receive_answer(struct endpoint *self, const struct address *from, uint64_t now_us,
                           struct endpoint_result *result)
{
    switch (transactions_answer(&self->transactions, result->message.transaction, from, now_us,
                                &result->end)) {
    case TRANSACTION_ANSWERED:
        budget_prove(&self->responder.budget, from, now_us / 1000);
        self->counters[result->message.type == KRPC_REPLY ? COUNT_REPLIES : COUNT_ERRORS]++;
        result->verdict = ENDPOINT_ANSWERED;
        sight_answer(self, result);
        break;
    case TRANSACTION_LATE:
        budget_prove(&self->responder.budget, from, now_us / 1000);
        self->counters[COUNT_LATE]++;
        sight_answer(self, result);
        break;
    case TRANSACTION_STRANGE:
        self->counters[COUNT_STRANGE]++;
        break;
    }
}

/* It came to us, since the number of workers changed or the kernel counts them otherwise. */
static bool is_of_another(struct endpoint *self, struct endpoint_result *result)
{
    unsigned worker = transactions_worker(result->message.transaction);

    if (worker == self->transactions.limits.worker || (self->others & 1u << worker) == 0)
        return false;
    self->counters[COUNT_FORWARDED]++;
    result->verdict = ENDPOINT_FORWARD;
    result->worker = worker;
    return true;
}

static bool claims_another(const struct endpoint *self, const struct krpc_message *message)
{
    struct node_id id;

    if (!self->certified || message->type == KRPC_ERROR)
        return false;
    if (message->id.size != NODE_ID_SIZE)
        return true;
    id = node_id_from(message->id.data);
    return !is_from(self, &id);
}

void endpoint_receive(struct endpoint *self, const struct address *from, struct bytes datagram,
                      uint64_t now_us, uint8_t ret_reply[KRPC_SEND_MAX],
                      struct endpoint_result *ret_result)
{
    ret_result->verdict = ENDPOINT_NOTHING;
    ret_result->sightings_count = 0;
    self->counters[COUNT_PACKETS_IN]++;
    self->counters[COUNT_BYTES_IN] += datagram.size;
    if (!address_is_usable(from) || krpc_decode(datagram, &ret_result->message) != LB_OK) {
        self->counters[COUNT_MALFORMED]++;
        return;
    }
    if (claims_another(self, &ret_result->message)) {
        self->counters[COUNT_OTHER_ID]++;
        return;
    }
    if (ret_result->message.type == KRPC_QUERY)
        receive_query(self, from, now_us / 1000, ret_reply, ret_result);
    else if (!is_of_another(self, ret_result))
        receive_answer(self, from, now_us, ret_result);
}

void endpoint_forwarded(struct endpoint *self, const struct address *from, struct bytes datagram,
                        uint64_t now_us, struct endpoint_result *ret_result)
{
    ret_result->verdict = ENDPOINT_NOTHING;
    ret_result->sightings_count = 0;
    self->certified = NULL; /* the worker that hands it on has looked */
    if (address_is_usable(from) && krpc_decode(datagram, &ret_result->message) == LB_OK &&
        ret_result->message.type != KRPC_QUERY)
        receive_answer(self, from, now_us, ret_result);
}

size_t endpoint_answer(struct endpoint *self, const struct responder_ask *ask,
                       const struct responder_outcome *outcome, uint64_t now_us,
                       uint8_t ret_reply[KRPC_SEND_MAX])
{
    size_t size = 0;

    if (settle(self, responder_answer(&self->responder, ask, outcome, now_us / 1000, ret_reply,
                                      &size)) != ENDPOINT_SEND)
        return 0;
    return size;
}

lb_err endpoint_start(struct endpoint *self, struct krpc_query *query,
                      const struct transaction_start *start, uint64_t now_us,
                      struct bytes *ret_datagram)
{
    lb_err err;

    assert(start->query == query);
    if (!responder_self_id(&self->responder))
        return LB_UNAVAILABLE;
    if (!address_is_usable(&start->to->address))
        return LB_INVALID;
    query->id = responder_self_id(&self->responder);
    query->read_only = self->read_only;
    err = transactions_start(&self->transactions, start, now_us, ret_datagram);
    if (err == LB_OK)
        self->counters[COUNT_SENT_QUERIES]++;
    return err;
}

void endpoint_opened(struct endpoint *self, const struct address *peer, uint64_t now_us)
{
    budget_prove(&self->responder.budget, peer, now_us / 1000);
    transactions_opened(&self->transactions, peer, now_us);
}

void endpoint_missing(struct endpoint *self, const struct contact *contact,
                      struct endpoint_result *ret_result)
{
    ret_result->sightings_count = 0;
    sight(self, ret_result, contact, SIGHTING_SILENT, 0);
}

bool endpoint_next(struct endpoint *self, uint64_t now_us, struct endpoint_result *ret_result)
{
    ret_result->sightings_count = 0;
    switch (
        transactions_next(&self->transactions, now_us, &ret_result->end, &ret_result->datagram)) {
    case TRANSACTION_NOTHING:
        return false;
    case TRANSACTION_RESEND:
        self->counters[COUNT_RESENT]++;
        ret_result->verdict = ENDPOINT_RESEND;
        break;
    case TRANSACTION_SILENT:
        self->counters[COUNT_TIMEOUTS]++;
        ret_result->verdict = ENDPOINT_SILENT;
        if (ret_result->end.has_id)
            sight(self, ret_result, &ret_result->end.expected, SIGHTING_SILENT, 0);
        break;
    }
    return true;
}

uint64_t endpoint_deadline_us(const struct endpoint *self)
{
    return transactions_deadline_us(&self->transactions);
}
