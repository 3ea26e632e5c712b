#include "services/storage/errand.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/storage/find.h"
#include "services/storage/replicas.h"
#include "services/storage/service.h"
#include "services/storage/value.h"
#include "services/storage/watches.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define QUERY_MS  10000u /* longest wait for one node; transport gives up long before */
#define PEERS_MAX 1000u
#define MS_PER_S  1000u
#define NS_PER_MS 1000000

/* One query on its way: which place of the spread it belongs to. */
struct sending {
    struct errand *errand;
    size_t node;
};

struct errand {
    struct storage *storage;
    struct errand *before, *after;
    struct errand_options options;
    struct spread spread;
    struct item item; /* points into value and salt */
    uint8_t value[ITEM_VALUE_MAX];
    uint8_t salt[ITEM_SALT_MAX];
    uint8_t *peers_memory;
    struct bytes *peers;
    size_t peers_count;
    struct sending sendings[SPREAD_NODES_MAX];
    struct commit own;  /* our own store */
    unsigned under_way; /* lookups, queries, commits whose answers come to us */
    bool is_told;       /* on_done was called */
    bool is_stepping;
};

static void step(struct errand *self);

/* ---- the end ---- */

static void errand_free(struct errand *self)
{
    struct storage *storage = self->storage;

    if (self->before != NULL)
        self->before->after = self->after;
    else
        storage->errands = self->after;
    if (self->after != NULL)
        self->after->before = self->before;
    storage->errands_count--;
    free(self->peers);
    free(self->peers_memory);
    free(self);
}

static void tell(struct errand *self)
{
    struct errand_result result = { .spread = spread_result(&self->spread),
                                    .item = self->options.is_announce ? NULL : &self->item,
                                    .ttl_s = self->options.ttl_s,
                                    .peers = self->peers,
                                    .peers_count = self->peers_count };

    self->is_told = true;
    self->options.on_done(self->options.ctx, &result);
}

static void came_back(struct errand *self)
{
    assert(self->under_way > 0);
    self->under_way--;
    step(self);
}

/* ---- the lookup ---- */

static uint64_t wall_ms(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return clock_wall_s() * MS_PER_S;
    return (uint64_t)now.tv_sec * MS_PER_S + (uint64_t)(now.tv_nsec / NS_PER_MS);
}

static void know(struct spread_found *found, const struct item *item)
{
    struct bytes raw;

    if (!found->has_item || item->seq > found->highest_seq) {
        found->highest_seq = item->seq;
        found->is_removal = item->is_mutable && value_unwrap(item->value, &raw) == VALUE_REMOVED;
    }
    found->has_item = true;
}

static void copy_item(struct errand *self, const struct item *item)
{
    self->item = *item;
    assert(item->value.size <= sizeof self->value && item->salt.size <= sizeof self->salt);
    memmove(self->value, item->value.data, item->value.size);
    if (item->salt.size > 0)
        memmove(self->salt, item->salt.data, item->salt.size);
    self->item.value = bytes_of(self->value, item->value.size);
    self->item.salt = bytes_of(self->salt, item->salt.size);
}

/* What our own store and our own publications say of the target. */
static void add_own(struct errand *self, struct spread_found *found)
{
    struct storage *storage = self->storage;
    struct item_record record;

    if (db_read_begin(storage->db) != LB_OK)
        return;
    if (db_read_item(storage->db, &self->options.target, storage_now_s(storage), &record) ==
        LB_OK) {
        found->self_has_item = true;
        found->self_seq = record.item.seq;
        know(found, &record.item);
        if (self->options.spread.mode == SPREAD_CHECK && record.item.seq > self->item.seq) {
            copy_item(self, &record.item); /* put since the check began */
            self->options.ttl_s = storage_rest_of_life_s(storage, &record);
        }
    }
    if (self->options.spread.mode == SPREAD_VERSION &&
        db_read_published(storage->db, &self->options.target, &record) == LB_OK)
        know(found, &record.item);
    db_read_end(storage->db);
}

static void keep_peers(struct errand *self, const Lb__Routing__Found *found)
{
    size_t count = found->n_peers < PEERS_MAX ? found->n_peers : PEERS_MAX;

    if (!self->options.is_announce || count == 0 || self->peers != NULL)
        return;
    self->peers_memory = xmalloc(count * ADDRESS_COMPACT_V6);
    self->peers = xcalloc(count, sizeof *self->peers);
    for (size_t i = 0; i < count; i++) {
        uint8_t *copy = self->peers_memory + i * ADDRESS_COMPACT_V6;

        if (found->peers[i].len != ADDRESS_COMPACT_V4 && found->peers[i].len != ADDRESS_COMPACT_V6)
            continue;
        memcpy(copy, found->peers[i].data, found->peers[i].len);
        self->peers[self->peers_count++] = bytes_of(copy, found->peers[i].len);
    }
}

/* A check that meets a newer version goes on with that one, for as long as that lives. */
static void take_newer(struct errand *self, const struct item *item,
                       const Lb__Routing__Found *message)
{
    if (self->options.spread.mode != SPREAD_CHECK || item->seq <= self->item.seq)
        return;
    copy_item(self, item);
    self->options.ttl_s = ttl_from_message(message, item);
}

static void take_found(struct errand *self, const Lb__Routing__Found *message)
{
    struct spread_node nodes[SPREAD_NODES_MAX];
    struct spread_found found = { .nodes = nodes, .self_is_close = message->self_is_close };
    const struct wanted wanted = { .target = self->options.target,
                                   .is_mutable = self->item.is_mutable,
                                   .salt = self->item.salt };
    struct wanted with_key = wanted;
    struct item best;
    uint64_t next_seq = 0;

    found.nodes_count = nodes_from_message(message, nodes, SPREAD_NODES_MAX);
    keep_peers(self, message);
    if (!self->options.is_announce) {
        memcpy(with_key.public_key, self->item.public_key, sizeof with_key.public_key);
        add_own(self, &found);
        if (self->item.is_mutable && best_from_message(message, &with_key, &best)) {
            know(&found, &best);
            take_newer(self, &best, message);
        }
    }
    if (self->options.spread.mode == SPREAD_VERSION &&
        value_next_seq(found.has_item ? found.highest_seq : 0, wall_ms(), &next_seq) != LB_OK) {
        spread_give_up(&self->spread, LB_FULL);
        return;
    }
    spread_found(&self->spread, &found, next_seq);
}

static void on_found(void *ctx, lb_err err, const char *reason, const void *reply)
{
    struct errand *self = ctx;
    const Lb__Routing__Reply *body = reply;

    (void)reason;
    if (err == LB_OK && body->body_case != LB__ROUTING__REPLY__BODY_FOUND)
        err = LB_INTERNAL;
    if (spread_is_done(&self->spread)) {
        /* Given up meanwhile. */
    } else if (err == LB_CANCELLED) {
        spread_give_up(&self->spread, err);
    } else if (err != LB_OK) {
        spread_lookup_failed(&self->spread, err, storage_now_ms(self->storage));
        storage_need_pace(self->storage, STORAGE_PACE_MS);
    } else {
        take_found(self, body->found);
    }
    came_back(self);
}

/* ---- storing on a node ---- */

static enum spread_answer answer_of(int32_t krpc_error)
{
    switch (krpc_error) {
    case 0:
        return SPREAD_ACCEPTED;
    case ITEM_CAS_MISMATCH:
    case ITEM_SEQ_TOO_LOW:
        return SPREAD_OUTDATED;
    case ITEM_MALFORMED: /* BEP 5: 203 is also what a bad token gives */
        return SPREAD_STALE;
    case ITEM_REFUSED: /* 202: no room, or its store is slow just now */
        return SPREAD_BUSY;
    default:
        return SPREAD_FAILED;
    }
}

static void on_stored(void *ctx, lb_err err, const char *reason, const void *reply)
{
    struct sending *sending = ctx;
    struct errand *self = sending->errand;
    const Lb__Transport__Reply *body = reply;
    enum spread_answer answer = SPREAD_FAILED;

    (void)reason;
    if (err == LB_OK && body->body_case == LB__TRANSPORT__REPLY__BODY_ANSWER)
        answer = answer_of(body->answer->krpc_error);
    else if (err == LB_TIMEOUT)
        answer = SPREAD_BUSY;
    else if (err == LB_UNAVAILABLE)
        answer = SPREAD_STALE; /* transport went away: once more, and to store twice does no harm */
    else if (err == LB_CANCELLED)
        spread_give_up(&self->spread, LB_CANCELLED);
    spread_answered(&self->spread, sending->node, answer);
    came_back(self);
}

static uint32_t query_time_ms(const struct errand *self)
{
    uint64_t now_ms = storage_now_ms(self->storage);
    uint64_t deadline_ms = self->options.spread.deadline_ms;
    uint64_t left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 1;

    return left_ms < QUERY_MS ? (uint32_t)left_ms : QUERY_MS;
}

static void send_query(struct errand *self, const struct spread_action *action)
{
    const struct spread_node *node = &self->spread.nodes[action->node];
    struct sending *sending = &self->sendings[action->node];
    uint8_t compact[ADDRESS_COMPACT_V6];
    size_t compact_size = address_to_compact(&node->contact.address, compact);
    struct link *transport = storage_transport(self->storage, &node->contact.address);
    struct bytes token = bytes_of(node->token, node->token_size);
    Lb__Transport__Request request = LB__TRANSPORT__REQUEST__INIT;
    Lb__Transport__Query query = LB__TRANSPORT__QUERY__INIT;
    Lb__Transport__Put put = LB__TRANSPORT__PUT__INIT;
    Lb__Transport__AnnouncePeer announce = LB__TRANSPORT__ANNOUNCE_PEER__INIT;
    Lb__Item item;

    query.address = binary_of(bytes_of(compact, compact_size));
    query.node_id = binary_of_id(&node->contact.id);
    if (self->options.is_announce) {
        announce.infohash = binary_of_id(&self->options.target);
        announce.port = self->options.port;
        announce.seed = self->options.seed_flag;
        announce.token = binary_of(token);
        query.method_case = LB__TRANSPORT__QUERY__METHOD_ANNOUNCE_PEER;
        query.announce_peer = &announce;
    } else {
        item_to_message(&self->item, &item);
        item.ttl_s = message_ttl(self->options.ttl_s);
        put.item = &item;
        put.token = binary_of(token);
        if (action->has_cas) {
            put.compare_case = LB__TRANSPORT__PUT__COMPARE_CAS;
            put.cas = action->cas;
        }
        query.method_case = LB__TRANSPORT__QUERY__METHOD_PUT;
        query.put = &put;
    }
    request.body_case = LB__TRANSPORT__REQUEST__BODY_QUERY;
    request.query = &query;
    *sending = (struct sending){ .errand = self, .node = action->node };
    self->under_way++;
    link_call(transport, &request.base, query_time_ms(self), on_stored, sending);
}

/* ---- storing here ---- */

static enum spread_answer own_answer(const struct db_op *op)
{
    switch (op->err) {
    case LB_OK:
        return SPREAD_ACCEPTED;
    case LB_CONFLICT:
        return SPREAD_OUTDATED;
    case LB_FULL: /* what stands here is nearer, or fresher */
    case LB_NO_SPACE:
        return SPREAD_NO_SPACE;
    default:
        return SPREAD_FAILED;
    }
}

static void on_own_stored(struct commit *commit)
{
    struct errand *self = commit->ctx;

    if (commit->op.err == LB_CANCELLED)
        spread_give_up(&self->spread, LB_CANCELLED);
    if (commit->op.err == LB_OK && commit->op.kind == DB_PUT)
        watches_stored(self->storage, &commit->op.put.target);
    spread_answered(&self->spread, SPREAD_SELF, own_answer(&commit->op));
    came_back(self);
}

static void store_here(struct errand *self, const struct spread_action *action)
{
    struct db_op *op = &self->own.op;

    self->own = (struct commit){ .done = on_own_stored, .ctx = self };
    op->now_s = storage_now_s(self->storage);
    if (self->options.is_announce) {
        op->kind = DB_ANNOUNCE;
        op->announce =
            (struct db_announce){ .infohash = self->options.target,
                                  .peer = address_v4(0, 0, 0, 0, self->options.port),
                                  .seed = self->options.seed_flag,
                                  .source = { .is_self = true },
                                  .random = (uint32_t)random_u64(&self->storage->random) };
    } else {
        op->kind = DB_PUT;
        op->put = (struct db_put){ .target = self->options.target,
                                   .item = self->item,
                                   .source = { .is_self = true },
                                   .keeps_source = self->options.spread.mode == SPREAD_CHECK,
                                   .has_cas = action->has_cas,
                                   .cas = action->cas,
                                   .ttl_s = self->options.ttl_s };
        replicas_set_times(self->storage, &op->put);
    }
    if (commits_submit(self->storage->commits, &self->own) == LB_OK)
        self->under_way++;
    else
        spread_answered(&self->spread, SPREAD_SELF, SPREAD_FAILED);
}

/* ---- steps ---- */

/* A lookup may use all the time it is given, and storing must have some too. */
static uint64_t lookup_deadline_ms(const struct errand *self)
{
    uint64_t now_ms = storage_now_ms(self->storage);
    uint64_t deadline_ms = self->options.spread.deadline_ms;

    return deadline_ms > now_ms ? now_ms + (deadline_ms - now_ms) / 3 * 2 : deadline_ms;
}

static void look_up(struct errand *self)
{
    const struct find_query query = { .kind = self->options.is_announce
                                                  ? LB__ROUTING__LOOKUP__KIND__PEERS
                                                  : LB__ROUTING__LOOKUP__KIND__VALUE,
                                      .target = self->options.target,
                                      .has_seq = self->options.spread.mode == SPREAD_CHECK,
                                      .seq = self->item.seq,
                                      .check_s = self->options.check_s };

    find_ask(self->storage, &query, lookup_deadline_ms(self), on_found, self);
}

static void act(struct errand *self, const struct spread_action *action)
{
    switch (action->step) {
    case SPREAD_LOOK_UP:
        self->under_way++;
        look_up(self);
        break;
    case SPREAD_SIGN:
        self->item.seq = action->seq;
        item_sign(&self->item, self->options.seed);
        spread_signed(&self->spread);
        break;
    case SPREAD_STORE:
        if (action->node == SPREAD_SELF)
            store_here(self, action);
        else
            send_query(self, action);
        break;
    }
}

/* Do all there is to do. May free the errand. */
static void step(struct errand *self)
{
    struct spread_action action;

    if (self->is_stepping)
        return;
    self->is_stepping = true;
    while (spread_next(&self->spread, storage_now_ms(self->storage), &action))
        act(self, &action);
    if (spread_deadline_ms(&self->spread) != UINT64_MAX)
        storage_need_pace(self->storage, STORAGE_PACE_MS);
    if (spread_is_done(&self->spread) && !self->is_told)
        tell(self);
    self->is_stepping = false;
    if (self->is_told && self->under_way == 0)
        errand_free(self);
}

lb_err errand_start(struct storage *storage, const struct errand_options *options)
{
    struct errand *self;

    if (storage->errands_count >= STORAGE_ERRANDS_MAX || storage->is_stopping)
        return LB_FULL;
    self = xcalloc(1, sizeof *self);
    self->storage = storage;
    self->options = *options;
    if (!options->is_announce)
        copy_item(self, &options->item);
    self->after = storage->errands;
    if (self->after != NULL)
        self->after->before = self;
    storage->errands = self;
    storage->errands_count++;
    self->options.spread.is_patient = !options->is_announce;
    spread_init(&self->spread, &self->options.spread);
    if (options->found != NULL)
        spread_found(&self->spread, options->found, 0);
    self->options.found = NULL;
    storage_need_pace(storage,
                      0); /* its first step is made there, so that on_done is never inside */
    return LB_OK;
}

bool errand_pace(struct storage *storage)
{
    bool waiting = false;

    for (struct errand *errand = storage->errands, *after; errand != NULL; errand = after) {
        bool was_waiting = spread_deadline_ms(&errand->spread) != UINT64_MAX;

        after = errand->after;
        waiting = waiting || was_waiting;
        step(errand);
    }
    return waiting;
}

void errands_cancel(struct storage *storage)
{
    for (struct errand *errand = storage->errands, *after; errand != NULL; errand = after) {
        after = errand->after;
        spread_give_up(&errand->spread, LB_CANCELLED);
        step(errand);
    }
}
