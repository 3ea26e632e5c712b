#include "services/transport/questions.h"

#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/owner.h"
#include "proto/storage.pb-c.h"
#include "services/transport/service.h"

#include <sodium/crypto_shorthash.h>
#include <stdlib.h>
#include <string.h>

/* Who waits for an answer, and where it asked us. */
struct waiting {
    struct responder_ask ask;
    struct datagram_local local;
};

/* A question as it is packed; the union keeps the body its oneof points at. */
struct question_draft {
    struct waiting waiting;
    unsigned instance; /* of lb-storage */
    Lb__Storage__Question question;
    Lb__Item item;
    uint8_t from[ADDRESS_COMPACT_V6];
    uint8_t peer[ADDRESS_COMPACT_V6];
    union {
        Lb__Storage__GetPeers get_peers;
        Lb__Storage__AnnouncePeer announce_peer;
        Lb__Storage__GetItem get_item;
        Lb__Storage__PutItem put_item;
        Lb__Storage__Offer offer;
        Lb__Storage__SampleInfohashes sample_infohashes;
        Lb__Storage__Call call;
    } body;
};

/* What is kept of a message under way. */
struct question_batch {
    struct questions *questions;
    unsigned instance;
    bool stores;
    unsigned count;
    struct waiting waiting[];
};

void questions_init(struct questions *self, struct transport *transport)
{
    *self = (struct questions){ .transport = transport };
    self->drafts = xcalloc(QUESTIONS_BATCH_MAX, sizeof(*self->drafts));
}

void questions_done(struct questions *self)
{
    free(self->drafts);
    self->drafts = NULL;
}

static ProtobufCBinaryData binary(struct bytes from)
{
    /* protobuf-c has no const; packing only reads. */
    return (ProtobufCBinaryData){ .len = from.size, .data = (uint8_t *)(uintptr_t)from.data };
}

static struct bytes view(ProtobufCBinaryData from)
{
    return bytes_of(from.data, from.len);
}

/* ---- the way there ---- */

static void draft_get_peers(struct question_draft *draft, const struct krpc_message *message)
{
    Lb__Storage__GetPeers *body = &draft->body.get_peers;

    lb__storage__get_peers__init(body);
    body->infohash = binary(message->target);
    body->no_seed = message->no_seed == 1;
    body->scrape = draft->waiting.ask.scrape;
    body->want_v6 = !address_is_v4(&draft->waiting.ask.from);
    body->peers_max = responder_peers_max(&draft->waiting.ask);
    draft->question.body_case = LB__STORAGE__QUESTION__BODY_GET_PEERS;
    draft->question.get_peers = body;
}

/* BEP 5: the peer is where the query came from, on the port it names or the one it came from. */
static void draft_announce(struct question_draft *draft, const struct krpc_message *message)
{
    Lb__Storage__AnnouncePeer *body = &draft->body.announce_peer;
    struct address peer = draft->waiting.ask.from;

    if (message->implied_port == 0)
        peer.port = (uint16_t)message->port;
    lb__storage__announce_peer__init(body);
    body->infohash = binary(message->target);
    body->peer = binary(bytes_of(draft->peer, address_to_compact(&peer, draft->peer)));
    body->seed = message->seed == 1;
    draft->question.body_case = LB__STORAGE__QUESTION__BODY_ANNOUNCE_PEER;
    draft->question.announce_peer = body;
}

static void draft_get(struct question_draft *draft, const struct krpc_message *message)
{
    Lb__Storage__GetItem *body = &draft->body.get_item;

    lb__storage__get_item__init(body);
    body->target = binary(message->target);
    if ((message->present & KRPC_HAS_SEQ) && message->seq >= 0) {
        body->newer_case = LB__STORAGE__GET_ITEM__NEWER_SEQ;
        body->seq = (uint64_t)message->seq;
    }
    body->check_s = (uint32_t)message->check;
    draft->question.body_case = LB__STORAGE__QUESTION__BODY_GET_ITEM;
    draft->question.get_item = body;
}

static void draft_put(struct question_draft *draft, const struct krpc_message *message)
{
    Lb__Storage__PutItem *body = &draft->body.put_item;

    lb__item__init(&draft->item);
    draft->item.value = binary(message->value);
    draft->item.ttl_s = (uint32_t)message->ttl;
    if (message->present & KRPC_HAS_KEY) {
        draft->item.public_key = binary(message->key);
        draft->item.salt = binary(message->salt);
        draft->item.signature = binary(message->signature);
        draft->item.seq = (uint64_t)message->seq;
    }
    lb__storage__put_item__init(body);
    body->item = &draft->item;
    if ((message->present & KRPC_HAS_KEY) && (message->present & KRPC_HAS_CAS)) {
        body->compare_case = LB__STORAGE__PUT_ITEM__COMPARE_CAS;
        body->cas = (uint64_t)message->cas;
    }
    draft->question.body_case = LB__STORAGE__QUESTION__BODY_PUT_ITEM;
    draft->question.put_item = body;
}

static void draft_offer(struct question_draft *draft, const struct krpc_message *message)
{
    Lb__Storage__Offer *body = &draft->body.offer;

    lb__storage__offer__init(body);
    body->digests = binary(message->offer);
    draft->question.body_case = LB__STORAGE__QUESTION__BODY_OFFER;
    draft->question.offer = body;
}

static void draft_sample_infohashes(struct question_draft *draft)
{
    Lb__Storage__SampleInfohashes *body = &draft->body.sample_infohashes;

    lb__storage__sample_infohashes__init(body);
    body->samples_max = responder_samples_max(&draft->waiting.ask);
    draft->question.body_case = LB__STORAGE__QUESTION__BODY_SAMPLE_INFOHASHES;
    draft->question.sample_infohashes = body;
}

/* Whose id this is its certificate has shown (endpoint.h). */
static void draft_call(struct question_draft *draft, const struct krpc_message *message)
{
    Lb__Storage__Call *body = &draft->body.call;

    lb__storage__call__init(body);
    body->node_id = binary(message->id);
    body->body = binary(message->body);
    draft->question.body_case = LB__STORAGE__QUESTION__BODY_CALL;
    draft->question.call = body;
}

/* ---- to whom ---- */

/* The same for each version of a mutable item. */
static uint16_t place_of_put(const struct krpc_message *message)
{
    static const uint8_t key[crypto_shorthash_KEYBYTES]; /* nothing is kept secret by it */
    uint8_t name[KRPC_KEY_SIZE + KRPC_SALT_MAX], hash[crypto_shorthash_BYTES];
    struct writer writer;

    writer_init(&writer, name, sizeof(name));
    writer_put(&writer, message->key.data, message->key.size);
    writer_put(&writer, message->salt.data, message->salt.size);
    if ((message->present & KRPC_HAS_KEY) && !writer.overflow)
        crypto_shorthash(hash, name, writer.size, key);
    else
        crypto_shorthash(hash, message->value.data, message->value.size, key);
    return owner_place(hash);
}

static uint16_t place_of(const struct krpc_message *message)
{
    const uint8_t *target = message->target.data;

    switch (message->method) {
    case KRPC_GET_PEERS:
    case KRPC_ANNOUNCE_PEER:
    case KRPC_GET:
        break;
    case KRPC_OFFER: /* of keys near each other, mostly */
        target = message->offer.data;
        break;
    case KRPC_SAMPLE_INFOHASHES:
        return 0; /* one keeps the choice that is not to change for hours */
    case KRPC_CALL:
        return 0; /* what it is about, storage alone knows */
    default:
        return place_of_put(message);
    }
    return owner_place(target);
}

static bool is_store(const struct responder_ask *ask)
{
    return ask->method == KRPC_ANNOUNCE_PEER || ask->method == KRPC_PUT || ask->method == KRPC_CALL;
}

void questions_answer(struct questions *self, const struct responder_ask *ask,
                      const struct datagram_local *local, const struct responder_outcome *outcome)
{
    struct transport *transport = self->transport;
    struct datagram_port *port = transport_port(transport, &ask->from);
    uint8_t *room;
    size_t size;

    if (!port)
        return;
    room = port->ops->reserve(port->self);
    size = endpoint_answer(&transport->endpoint, ask, outcome, uv_hrtime() / 1000, room);
    if (size > 0)
        port->ops->commit(port->self, &ask->from, local, size);
}

static void answer(struct questions *self, const struct waiting *waiting,
                   const struct responder_outcome *outcome)
{
    questions_answer(self, &waiting->ask, &waiting->local, outcome);
}

static void answer_unavailable(struct questions *self, const struct waiting *waiting,
                               unsigned count)
{
    const struct responder_outcome outcome = { .unavailable = true };

    for (unsigned i = 0; i < count; i++)
        answer(self, &waiting[i], &outcome);
}

void questions_add(struct questions *self, const struct endpoint_result *result,
                   const struct datagram_local *local)
{
    const struct krpc_message *message = &result->message;
    const struct waiting waiting = { .ask = result->ask, .local = *local };
    struct question_draft *draft;

    if (!shaping_admits(&self->transport->shaping, is_store(&waiting.ask), &waiting.ask.from)) {
        answer_unavailable(self, &waiting, 1);
        return;
    }
    if (self->drafts_count == QUESTIONS_BATCH_MAX)
        questions_flush(self);
    draft = &self->drafts[self->drafts_count++];
    draft->waiting = waiting;
    draft->instance = owner_of_place(place_of(message), self->transport->storages.active);
    lb__storage__question__init(&draft->question);
    draft->question.from =
        binary(bytes_of(draft->from, address_to_compact(&draft->waiting.ask.from, draft->from)));
    switch (message->method) {
    case KRPC_GET_PEERS:
        draft_get_peers(draft, message);
        break;
    case KRPC_ANNOUNCE_PEER:
        draft_announce(draft, message);
        break;
    case KRPC_GET:
        draft_get(draft, message);
        break;
    case KRPC_OFFER:
        draft_offer(draft, message);
        break;
    case KRPC_SAMPLE_INFOHASHES:
        draft_sample_infohashes(draft);
        break;
    case KRPC_CALL:
        draft_call(draft, message);
        break;
    default:
        draft_put(draft, message);
    }
}

/* ---- the way back ---- */

/* What does not have the size it must have is left out, whoever said it. */
static struct bytes sized(ProtobufCBinaryData from, size_t size)
{
    return from.len == size ? view(from) : bytes_of(NULL, 0);
}

static size_t read_peers(const Lb__Storage__Outcome *from, const struct responder_ask *ask,
                         struct bytes ret_peers[RESPONDER_PEERS_MAX])
{
    size_t size = address_is_v4(&ask->from) ? ADDRESS_COMPACT_V4 : ADDRESS_COMPACT_V6;
    size_t count = 0;

    for (size_t i = 0; i < from->n_peers && count < RESPONDER_PEERS_MAX; i++) {
        if (from->peers[i].len == size)
            ret_peers[count++] = view(from->peers[i]);
    }
    return count;
}

static bool read_item(const Lb__Item *from, struct krpc_item *ret_item)
{
    if (!from || from->value.len > KRPC_VALUE_MAX || from->seq > INT64_MAX)
        return false;
    *ret_item = (struct krpc_item){ .value = view(from->value),
                                    .key = sized(from->public_key, KRPC_KEY_SIZE),
                                    .signature = sized(from->signature, KRPC_SIGNATURE_SIZE),
                                    .seq = from->seq,
                                    .ttl_s = from->ttl_s <= INT32_MAX ? from->ttl_s : INT32_MAX };
    return true;
}

static bool read_samples(const Lb__Storage__Outcome *from, const struct responder_ask *ask,
                         struct krpc_samples *ret_samples)
{
    size_t size_max = NODE_ID_SIZE * responder_samples_max(ask);

    if (ask->method != KRPC_SAMPLE_INFOHASHES || from->samples.len % NODE_ID_SIZE != 0 ||
        from->samples.len > size_max)
        return false;
    *ret_samples = (struct krpc_samples){ .infohashes = view(from->samples),
                                          .total = from->samples_total,
                                          .interval_s = from->samples_interval_s };
    return true;
}

static void answer_outcome(struct questions *self, const struct waiting *waiting,
                           const Lb__Storage__Outcome *from)
{
    const struct responder_ask *ask = &waiting->ask;
    struct bytes peers[RESPONDER_PEERS_MAX];
    struct krpc_item item;
    struct krpc_samples samples;
    struct responder_outcome outcome = {
        .error = from->krpc_error,
        .error_text = bytes_of_text(from->krpc_message),
        .peers = peers,
        .peers_count = read_peers(from, ask, peers),
        .seeds_filter = sized(from->seeds_filter, KRPC_FILTER_SIZE),
        .peers_filter = sized(from->peers_filter, KRPC_FILTER_SIZE),
        .item = read_item(from->item, &item) ? &item : NULL,
        .need = from->need.len <= KRPC_DIGESTS_MAX ? view(from->need) : bytes_of(NULL, 0),
        .body = from->body.len <= KRPC_CALL_MAX ? view(from->body) : bytes_of(NULL, 0),
        .samples = read_samples(from, ask, &samples) ? &samples : NULL,
    };

    answer(self, waiting, &outcome);
}

static void on_answers(void *ctx, lb_err err, const char *reason, const void *message)
{
    const Lb__Storage__Reply *reply = message;
    struct question_batch *batch = ctx;
    struct questions *self = batch->questions;

    self->batches[batch->instance][batch->stores]--;
    if (err != LB_OK) {
        log_debug("storage did not answer questions=%u: %s", batch->count,
                  reason && *reason ? reason : lb_err_text(err));
        answer_unavailable(self, batch->waiting, batch->count);
    } else if (reply->body_case != LB__STORAGE__REPLY__BODY_ANSWERS ||
               reply->answers->n_outcomes != batch->count) {
        log_warn("storage answered something else than was asked questions=%u", batch->count);
        answer_unavailable(self, batch->waiting, batch->count);
    } else {
        for (unsigned i = 0; i < batch->count; i++)
            answer_outcome(self, &batch->waiting[i], reply->answers->outcomes[i]);
    }
    free(batch);
}

/* Returns how many of the drafts they are. */
static unsigned select_drafts(const struct questions *self, unsigned instance, bool stores,
                              struct question_draft *ret_drafts[QUESTIONS_BATCH_MAX])
{
    unsigned count = 0;

    for (unsigned i = 0; i < self->drafts_count; i++) {
        if (self->drafts[i].instance == instance &&
            is_store(&self->drafts[i].waiting.ask) == stores)
            ret_drafts[count++] = &self->drafts[i];
    }
    return count;
}

static struct question_batch *batch_new(struct questions *self, unsigned instance, bool stores,
                                        struct question_draft *const *drafts, unsigned count)
{
    struct question_batch *batch = xmalloc(sizeof(*batch) + count * sizeof(batch->waiting[0]));

    batch->questions = self;
    batch->instance = instance;
    batch->stores = stores;
    batch->count = count;
    for (unsigned i = 0; i < count; i++)
        batch->waiting[i] = drafts[i]->waiting;
    return batch;
}

static void send_batch(struct questions *self, unsigned instance, bool stores)
{
    struct question_draft *drafts[QUESTIONS_BATCH_MAX];
    unsigned count = select_drafts(self, instance, stores, drafts);
    struct link *storage = instances_pick(&self->transport->storages, instance);
    unsigned *under_way = &self->batches[instance][stores];
    Lb__Storage__Question *list[QUESTIONS_BATCH_MAX];
    Lb__Storage__Questions questions = LB__STORAGE__QUESTIONS__INIT;
    Lb__Storage__Request request = LB__STORAGE__REQUEST__INIT;

    if (count == 0)
        return;
    if (*under_way == QUESTIONS_BATCHES_MAX || !link_is_up(storage)) {
        if (*under_way == QUESTIONS_BATCHES_MAX)
            shaping_refused(&self->transport->shaping, stores, count);
        for (unsigned i = 0; i < count; i++)
            answer_unavailable(self, &drafts[i]->waiting, 1);
        return;
    }
    for (unsigned i = 0; i < count; i++)
        list[i] = &drafts[i]->question;
    questions.questions = list;
    questions.n_questions = count;
    request.body_case = LB__STORAGE__REQUEST__BODY_QUESTIONS;
    request.questions = &questions;
    (*under_way)++;
    link_call(storage, &request.base, QUESTIONS_TIMEOUT_MS, on_answers,
              batch_new(self, instance, stores, drafts, count));
}

void questions_flush(struct questions *self)
{
    for (unsigned i = 0; self->drafts_count > 0 && i < self->transport->storages.active; i++) {
        send_batch(self, i, false);
        send_batch(self, i, true);
    }
    self->drafts_count = 0;
}

bool questions_are_idle(const struct questions *self)
{
    for (unsigned i = 0; i < STATUS_INSTANCES_MAX; i++) {
        if (self->batches[i][false] > 0 || self->batches[i][true] > 0)
            return false;
    }
    return true;
}
