/*
 * What other nodes ask, handed over by transport in batches. Stores are committed first, all of a
 * batch together; then the questions are read in one transaction and everything is answered in
 * order.
 */
#include "libcommon/memory.h"
#include "services/storage/box_desk.h"
#include "services/storage/boxes.h"
#include "services/storage/local_address.h"
#include "services/storage/messages.h"
#include "services/storage/replicas.h"
#include "services/storage/scrape.h"
#include "services/storage/service.h"
#include "services/storage/upkeep.h"
#include "services/storage/watches.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define QUESTIONS_MAX     256u
#define DIGEST_SIZE       28u
#define BATCH_PEERS_MAX   4096u /* peers in all the answers of one batch */
#define BATCH_OFFERS_MAX  64u   /* offers of one batch; more are refused */
#define BATCH_SCRAPES_MAX 8u    /* scrapes of one batch; more are answered without filters */

struct batch;

/* A question that stores something. */
struct storing {
    struct commit commit;
    struct batch *batch;
    size_t index;
};

struct batch {
    struct storage *storage;
    struct call *call;
    const Lb__Storage__Questions *questions; /* the call's */
    Lb__Storage__Outcome *outcomes;
    struct storing *storings;
    size_t storings_count;
    struct box_call **calls; /* one a question, or NULL: none is a call */
    size_t calls_count;      /* the questions are gone before these */
    size_t left;             /* stores and calls not yet committed */
};

/* What answers point at until they are packed, at once: one for all batches. */
struct answer_memory {
    Lb__Item items[QUESTIONS_MAX];
    struct item_record records[QUESTIONS_MAX];
    Lb__Storage__Outcome *outcomes[QUESTIONS_MAX];
    ProtobufCBinaryData peers[BATCH_PEERS_MAX];
    uint8_t compact[BATCH_PEERS_MAX][ADDRESS_COMPACT_V6];
    size_t peers_count;
    struct scrape scrapes[BATCH_SCRAPES_MAX];
    size_t scrapes_count;
    uint8_t needs[BATCH_OFFERS_MAX][UPKEEP_DIGESTS_MAX];
    size_t needs_count;
    struct samples samples; /* kept from batch to batch */
};

static void refuse(Lb__Storage__Outcome *outcome, enum item_verdict verdict)
{
    outcome->krpc_error = (int32_t)verdict;
    outcome->krpc_message = (char *)(uintptr_t)item_verdict_text(verdict);
}

/* ---- storing ---- */

static enum item_verdict verdict_of(const struct db_op *op)
{
    if (op->err == LB_OK)
        return ITEM_ACCEPTED;
    if (op->kind == DB_PUT && op->err == LB_CONFLICT)
        return op->put.verdict;
    return ITEM_REFUSED;
}

static void answer(struct batch *self);

static void on_stored(struct commit *commit)
{
    struct storing *storing = (struct storing *)commit;
    struct batch *batch = storing->batch;
    Lb__Storage__Outcome *outcome = &batch->outcomes[storing->index];
    enum item_verdict verdict = verdict_of(&commit->op);

    storage_count(batch->storage, verdict == ITEM_ACCEPTED ? COUNTER_STORED : COUNTER_REFUSED, 1);
    if (verdict != ITEM_ACCEPTED)
        refuse(outcome, verdict);
    else if (commit->op.kind == DB_PUT)
        watches_stored(batch->storage, &commit->op.put.target);
    if (--batch->left == 0)
        answer(batch);
}

static lb_err source_of(const Lb__Storage__Question *question, struct record_source *ret_source)
{
    ret_source->is_self = false;
    return address_from_compact(bytes_of_binary(&question->from), &ret_source->address);
}

static enum item_verdict prepare_put(struct storage *storage, const Lb__Storage__Question *question,
                                     struct db_op *op)
{
    const Lb__Storage__PutItem *body = question->put_item;
    struct db_put *put = &op->put;
    enum item_verdict verdict;

    op->kind = DB_PUT;
    if (body->item == NULL || item_from_message(body->item, &put->item) != LB_OK ||
        source_of(question, &put->source) != LB_OK)
        return ITEM_MALFORMED;
    verdict = item_check(&put->item);
    if (verdict != ITEM_ACCEPTED)
        return verdict;
    put->has_cas = body->compare_case == LB__STORAGE__PUT_ITEM__COMPARE_CAS;
    put->cas = put->has_cas ? body->cas : 0;
    put->target = item_target(&put->item);
    put->ttl_s = body->item->ttl_s;
    replicas_set_times(storage, put);
    return ITEM_ACCEPTED;
}

static enum item_verdict prepare_announce(struct storage *storage,
                                          const Lb__Storage__Question *question, struct db_op *op)
{
    const Lb__Storage__AnnouncePeer *body = question->announce_peer;
    struct db_announce *announce = &op->announce;

    op->kind = DB_ANNOUNCE;
    if (body->infohash.len != NODE_ID_SIZE ||
        address_from_compact(bytes_of_binary(&body->peer), &announce->peer) != LB_OK ||
        !address_is_usable(&announce->peer) || source_of(question, &announce->source) != LB_OK)
        return ITEM_MALFORMED;
    announce->infohash = node_id_from(body->infohash.data);
    announce->seed = body->seed;
    announce->random = (uint32_t)random_u64(&storage->random);
    return ITEM_ACCEPTED;
}

/* ---- calls of other members: the box ---- */

static void on_call_written(void *ctx)
{
    struct batch *batch = ctx;

    if (--batch->left == 0)
        answer(batch);
}

static void begin_call(struct batch *self, size_t index)
{
    struct storage *storage = self->storage;
    const Lb__Storage__Call *body = self->questions->questions[index]->call;
    struct box_desk *desk = boxes_desk(storage->boxes);
    struct node_id caller;
    bool waits = false;

    if (desk == NULL || body->node_id.len != NODE_ID_SIZE) {
        refuse(&self->outcomes[index], ITEM_MALFORMED);
        return;
    }
    if (self->calls == NULL) {
        self->calls_count = self->questions->n_questions;
        self->calls = xcalloc(self->calls_count, sizeof(struct box_call *));
    }
    caller = node_id_from(body->node_id.data);
    self->calls[index] = box_call_begin(desk, &caller, bytes_of_binary(&body->body),
                                        storage_now_s(storage), on_call_written, self, &waits);
    self->left += waits;
}

static void answer_call(struct batch *self, size_t index)
{
    if (self->calls != NULL && self->calls[index] != NULL)
        self->outcomes[index].body =
            binary_of(box_call_answer(self->calls[index], storage_now_s(self->storage)));
}

static bool is_store(const Lb__Storage__Question *question)
{
    return question->body_case == LB__STORAGE__QUESTION__BODY_PUT_ITEM ||
           question->body_case == LB__STORAGE__QUESTION__BODY_ANNOUNCE_PEER;
}

static void store(struct batch *self, size_t index)
{
    struct storage *storage = self->storage;
    const Lb__Storage__Question *question = self->questions->questions[index];
    struct storing *storing = &self->storings[self->storings_count++];
    struct db_op *op = &storing->commit.op;
    enum item_verdict verdict;

    if (commits_is_busy(storage->commits) || storage->is_stopping ||
        (storage->is_draining && question->body_case == LB__STORAGE__QUESTION__BODY_PUT_ITEM))
        verdict = ITEM_REFUSED; /* who leaves is no replica */
    else if (question->body_case == LB__STORAGE__QUESTION__BODY_PUT_ITEM)
        verdict = prepare_put(storage, question, op);
    else
        verdict = prepare_announce(storage, question, op);
    storing->batch = self;
    storing->index = index;
    storing->commit.done = on_stored;
    storing->commit.verify = true;
    op->now_s = storage_now_s(storage);
    if (verdict == ITEM_ACCEPTED && commits_submit(storage->commits, &storing->commit) == LB_OK) {
        self->left++;
        return;
    }
    storage_count(storage, COUNTER_REFUSED, 1);
    refuse(&self->outcomes[index], verdict == ITEM_ACCEPTED ? ITEM_REFUSED : verdict);
}

/* ---- reading ---- */

/* BEP 44, and ours: who sees to the replicas of an item has it, so of an immutable one too. */
static bool is_held_by_asker(const Lb__Storage__GetItem *body, const struct item *item)
{
    if (!item->is_mutable)
        return body->check_s > 0;
    return body->newer_case == LB__STORAGE__GET_ITEM__NEWER_SEQ && item->seq <= body->seq;
}

static void read_item(struct batch *self, size_t index)
{
    const Lb__Storage__GetItem *body = self->questions->questions[index]->get_item;
    Lb__Storage__Outcome *outcome = &self->outcomes[index];
    struct answer_memory *memory = self->storage->answer_memory;
    struct item_record *record = &memory->records[index];
    Lb__Item *message = &memory->items[index];
    struct node_id target;

    if (body->target.len != NODE_ID_SIZE) {
        refuse(outcome, ITEM_MALFORMED);
        return;
    }
    target = node_id_from(body->target.data);
    if (db_read_item(self->storage->db, &target, storage_now_s(self->storage), record) != LB_OK)
        return;
    item_to_message(&record->item, message);
    message->salt = binary_of(bytes_of(NULL, 0)); /* BEP 44: not returned */
    message->ttl_s = message_ttl(storage_rest_of_life_s(self->storage, record));
    outcome->item = message;
    if (body->check_s > 0 && body->seq <= record->item.seq)
        replicas_heard(self->storage, &target, record, body->check_s);
    if (is_held_by_asker(body, &record->item))
        message->value = message->signature = binary_of(bytes_of(NULL, 0));
}

static void add_peer(struct answer_memory *memory, const struct address *peer)
{
    uint8_t *compact = memory->compact[memory->peers_count];

    memory->peers[memory->peers_count++] =
        binary_of(bytes_of(compact, address_to_compact(peer, compact)));
}

static bool own_peer(struct batch *self, const Lb__Storage__Question *question, bool v6,
                     uint16_t port, struct address *ret_peer)
{
    struct record_source source;

    if (source_of(question, &source) != LB_OK || address_is_v4(&source.address) == v6 ||
        !local_address_towards(self->storage->local_address, &source.address, ret_peer))
        return false;
    ret_peer->port = port;
    return address_is_usable(ret_peer);
}

struct scraping {
    struct batch *batch;
    const Lb__Storage__Question *question;
    struct scrape *scrape;
};

static void add_to_scrape(void *ctx, const struct peer_record *record)
{
    struct scraping *self = ctx;
    struct record_source source;
    struct address own;

    if (!record->is_self)
        scrape_add(self->scrape, &record->peer, record->seed);
    else if (source_of(self->question, &source) == LB_OK &&
             own_peer(self->batch, self->question, !address_is_v4(&source.address),
                      record->peer.port, &own))
        scrape_add(self->scrape, &own, record->seed);
}

/* BEP 33: both filters, if there is anything. */
static void read_scrape(struct batch *self, size_t index)
{
    struct answer_memory *memory = self->storage->answer_memory;
    Lb__Storage__Outcome *outcome = &self->outcomes[index];
    const Lb__Storage__Question *question = self->questions->questions[index];
    struct scraping scraping = { .batch = self, .question = question };
    struct node_id infohash = node_id_from(question->get_peers->infohash.data);

    if (memory->scrapes_count == BATCH_SCRAPES_MAX)
        return;
    scraping.scrape = &memory->scrapes[memory->scrapes_count++];
    *scraping.scrape = (struct scrape){ .count = 0 };
    db_each_peer(self->storage->db, &infohash, storage_now_s(self->storage), add_to_scrape,
                 &scraping);
    if (scraping.scrape->count == 0)
        return;
    outcome->seeds_filter = binary_of(bytes_of(scraping.scrape->seeds, SCRAPE_FILTER_SIZE));
    outcome->peers_filter = binary_of(bytes_of(scraping.scrape->peers, SCRAPE_FILTER_SIZE));
}

static void read_peers(struct batch *self, size_t index)
{
    const Lb__Storage__Question *question = self->questions->questions[index];
    const Lb__Storage__GetPeers *body = question->get_peers;
    struct peer_record records[POLICY_PEERS_ANSWER];
    struct db_peers_query query = { .v6 = body->want_v6, .no_seeds = body->no_seed };
    struct answer_memory *memory = self->storage->answer_memory;
    Lb__Storage__Outcome *outcome = &self->outcomes[index];
    size_t room = BATCH_PEERS_MAX - memory->peers_count;
    size_t first = memory->peers_count;
    size_t count;

    if (body->infohash.len != NODE_ID_SIZE) {
        refuse(outcome, ITEM_MALFORMED);
        return;
    }
    query.infohash = node_id_from(body->infohash.data);
    query.random = (uint32_t)random_u64(&self->storage->random);
    query.peers_max = body->peers_max < POLICY_PEERS_ANSWER ? body->peers_max : POLICY_PEERS_ANSWER;
    if (query.peers_max > room)
        query.peers_max = room;
    count = db_read_peers(self->storage->db, &query, storage_now_s(self->storage), records);
    for (size_t i = 0; i < count; i++) {
        struct address own;

        if (!records[i].is_self)
            add_peer(memory, &records[i].peer);
        else if (own_peer(self, question, query.v6, records[i].peer.port, &own))
            add_peer(memory, &own);
    }
    outcome->n_peers = memory->peers_count - first;
    outcome->peers = memory->peers + first;
    if (body->scrape)
        read_scrape(self, index);
}

static void read_samples(struct batch *self, size_t index)
{
    const Lb__Storage__SampleInfohashes *body =
        self->questions->questions[index]->sample_infohashes;
    Lb__Storage__Outcome *outcome = &self->outcomes[index];
    struct storage *storage = self->storage;
    struct samples *samples = &storage->answer_memory->samples;
    uint64_t now_s = storage_now_s(storage);
    size_t count;

    if (samples_are_due(samples, now_s))
        db_read_samples(storage->db, now_s, &storage->random, samples);
    count = samples->count < body->samples_max ? samples->count : body->samples_max;
    outcome->samples = binary_of(bytes_of(samples->infohashes, count * NODE_ID_SIZE));
    outcome->samples_total = (uint32_t)(samples->total < UINT32_MAX ? samples->total : UINT32_MAX);
    outcome->samples_interval_s = SAMPLES_INTERVAL_S;
}

static void read_offer(struct batch *self, size_t index)
{
    const Lb__Storage__Offer *body = self->questions->questions[index]->offer;
    Lb__Storage__Outcome *outcome = &self->outcomes[index];
    struct answer_memory *memory = self->storage->answer_memory;
    size_t count = body->digests.len / DIGEST_SIZE;
    uint8_t *need = memory->needs[memory->needs_count % BATCH_OFFERS_MAX];

    if (body->digests.len % DIGEST_SIZE != 0 || count == 0 || count > UPKEEP_DIGESTS_MAX) {
        refuse(outcome, ITEM_MALFORMED);
        return;
    }
    if (memory->needs_count == BATCH_OFFERS_MAX) {
        refuse(outcome,
               ITEM_REFUSED); /* another holder offers them again, or a check brings them */
        return;
    }
    memory->needs_count++;
    replicas_answer_offer(self->storage, body->digests.data, count, need);
    outcome->need = binary_of(bytes_of(need, count));
}

static void read_one(struct batch *self, size_t index)
{
    switch (self->questions->questions[index]->body_case) {
    case LB__STORAGE__QUESTION__BODY_GET_ITEM:
        read_item(self, index);
        break;
    case LB__STORAGE__QUESTION__BODY_GET_PEERS:
        read_peers(self, index);
        break;
    case LB__STORAGE__QUESTION__BODY_SAMPLE_INFOHASHES:
        read_samples(self, index);
        break;
    case LB__STORAGE__QUESTION__BODY_OFFER:
        read_offer(self, index);
        break;
    case LB__STORAGE__QUESTION__BODY_CALL:
        answer_call(self, index);
        break;
    case LB__STORAGE__QUESTION__BODY__NOT_SET:
        refuse(&self->outcomes[index], ITEM_MALFORMED);
        break;
    default:
        break;
    }
}

/* ---- the batch ---- */

static void batch_free(struct batch *self)
{
    for (size_t i = 0; i < self->calls_count; i++)
        box_call_free(&self->calls[i]);
    free(self->calls);
    free(self->outcomes);
    free(self->storings);
    free(self);
}

static void send_answers(struct batch *self)
{
    size_t count = self->questions->n_questions;
    Lb__Storage__Reply message = LB__STORAGE__REPLY__INIT;
    Lb__Storage__Answers answers = LB__STORAGE__ANSWERS__INIT;
    Lb__Storage__Outcome **pointers = self->storage->answer_memory->outcomes;

    for (size_t i = 0; i < count; i++)
        pointers[i] = &self->outcomes[i];
    answers.n_outcomes = count;
    answers.outcomes = pointers;
    message.body_case = LB__STORAGE__REPLY__BODY_ANSWERS;
    message.answers = &answers;
    call_reply(&self->call, &message.base);
}

static bool has_reads(const struct batch *self)
{
    for (size_t i = 0; i < self->questions->n_questions; i++) {
        if (!is_store(self->questions->questions[i]))
            return true;
    }
    return false;
}

/* The answers point into the database, so they are packed before the transaction ends. */
static void answer(struct batch *self)
{
    size_t count = self->questions->n_questions;

    if (has_reads(self) && db_read_begin(self->storage->db) == LB_OK) {
        self->storage->answer_memory->peers_count = 0;
        self->storage->answer_memory->scrapes_count = 0;
        self->storage->answer_memory->needs_count = 0;
        for (size_t i = 0; i < count; i++)
            read_one(self, i);
        send_answers(self);
        db_read_end(self->storage->db);
    } else {
        send_answers(self);
    }
    batch_free(self);
}

static size_t count_stores(const Lb__Storage__Questions *questions)
{
    size_t count = 0;

    for (size_t i = 0; i < questions->n_questions; i++)
        count += is_store(questions->questions[i]);
    return count;
}

static struct batch *batch_new(struct storage *storage, struct call *call,
                               const Lb__Storage__Questions *questions)
{
    struct batch *self = xcalloc(1, sizeof *self);
    size_t stores = count_stores(questions);

    self->storage = storage;
    self->call = call;
    self->questions = questions;
    self->outcomes = xcalloc(questions->n_questions, sizeof *self->outcomes);
    for (size_t i = 0; i < questions->n_questions; i++)
        lb__storage__outcome__init(&self->outcomes[i]);
    if (stores > 0)
        self->storings = xcalloc(stores, sizeof *self->storings);
    return self;
}

void on_questions(void *ctx, struct call *call, const void *body)
{
    struct storage *storage = ctx;
    const Lb__Storage__Questions *questions = body;
    size_t count = questions->n_questions;
    struct batch *self;

    if (count == 0 || count > QUESTIONS_MAX) {
        call_fail(&call, LB_INVALID, "a batch has 1 to %u questions", QUESTIONS_MAX);
        return;
    }
    if (storage->answer_memory == NULL)
        storage->answer_memory = xcalloc(1, sizeof *storage->answer_memory);
    storage_count(storage, COUNTER_QUESTIONS, count);
    self = batch_new(storage, call, questions);
    for (size_t i = 0; i < count; i++) {
        if (is_store(questions->questions[i]))
            store(self, i);
        else if (questions->questions[i]->body_case == LB__STORAGE__QUESTION__BODY_CALL)
            begin_call(self, i);
    }
    if (self->left == 0)
        answer(self);
}
