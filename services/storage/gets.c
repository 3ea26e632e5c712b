/*
 * Get: the best valid item of our own store and of a lookup; when it is the root of a tree, all
 * that is below, in parallel. What the closest nodes lacked is brought to them afterwards.
 */
#include "libcommon/config.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/storage/errand.h"
#include "services/storage/find.h"
#include "services/storage/service.h"
#include "services/storage/tree.h"
#include "services/storage/value.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct getting {
    struct storage *storage;
    struct call *call;
    uint64_t deadline_ms;
    struct wanted wanted;
    uint8_t salt[ITEM_SALT_MAX];

    bool has_item;
    struct item item; /* value in value_memory */
    uint8_t value_memory[ITEM_VALUE_MAX];
    unsigned holders;

    struct tree_reader *reader; /* a large value */
    unsigned parts_under_way;
    lb_err err;
};

/* A part of a tree on its way. */
struct fetching {
    struct getting *getting;
    size_t part;
    struct wanted wanted;
};

/* ---- the end ---- */

static void getting_free(struct getting *self)
{
    self->storage->gettings_count--;
    tree_reader_free(&self->reader);
    free(self);
}

static void fail(struct getting *self, lb_err err, const char *reason)
{
    call_fail(&self->call, err == LB_CANCELLED ? LB_UNAVAILABLE : err, "%s", reason);
    getting_free(self);
}

static void reply(struct getting *self, struct bytes raw)
{
    Lb__Storage__Reply message = LB__STORAGE__REPLY__INIT;
    Lb__Storage__Value value = LB__STORAGE__VALUE__INIT;

    value.value = binary_of(raw);
    value.target = binary_of_id(&self->wanted.target);
    value.holders = self->holders;
    if (self->item.is_mutable) {
        value.seq = self->item.seq;
        value.public_key = binary_of(bytes_of(self->item.public_key, sizeof self->item.public_key));
    }
    message.body_case = LB__STORAGE__REPLY__BODY_VALUE;
    message.value = &value;
    call_reply(&self->call, &message.base);
    getting_free(self);
}

/* ---- our own store ---- */

/* The best of what is stored and what was published here; copied into value_memory. */
static bool find_here(struct storage *storage, struct wanted *wanted, struct item *ret_item,
                      uint8_t value_memory[ITEM_VALUE_MAX], bool *ret_stored)
{
    struct item_record stored;
    struct item_record published;
    bool has_stored;
    bool has_published;

    *ret_stored = false;
    if (db_read_begin(storage->db) != LB_OK)
        return false;
    has_stored =
        db_read_item(storage->db, &wanted->target, storage_now_s(storage), &stored) == LB_OK &&
        is_wanted(&stored.item, wanted);
    has_published = db_read_published(storage->db, &wanted->target, &published) == LB_OK &&
                    is_wanted(&published.item, wanted);
    if (has_stored && (!has_published || !item_is_newer(&published.item, &stored.item))) {
        *ret_item = stored.item;
        *ret_stored = true;
    } else if (has_published) {
        *ret_item = published.item;
    }
    if (has_stored || has_published) {
        memcpy(value_memory, ret_item->value.data, ret_item->value.size);
        ret_item->value.data = value_memory;
        ret_item->salt = wanted->salt;
    }
    db_read_end(storage->db);
    return has_stored || has_published;
}

/* ---- repair ---- */

static void on_repaired(void *ctx, const struct errand_result *result)
{
    struct storage *storage = ctx;

    storage->repairs_count--;
    storage_count(storage, COUNTER_REPAIRED, result->spread.acknowledged);
}

/* Bring what was read to those of the closest that lacked it; no promise, so it may be left out. */
static void repair(struct storage *storage, const struct wanted *wanted, const struct item *item,
                   const Lb__Routing__Found *message)
{
    struct spread_node nodes[SPREAD_NODES_MAX];
    struct spread_found found = { .nodes = nodes,
                                  .self_is_close = message->self_is_close,
                                  .has_item = true,
                                  .highest_seq = item->seq };
    struct errand_options options = { .target = wanted->target,
                                      .item = *item,
                                      .found = &found,
                                      .on_done = on_repaired,
                                      .ctx = storage };
    bool lacks = false;

    found.nodes_count = nodes_from_message(message, nodes, SPREAD_NODES_MAX);
    for (size_t i = 0; i < found.nodes_count; i++)
        lacks = lacks ||
                (nodes[i].token_size > 0 && (!nodes[i].has_item || nodes[i].item_seq < item->seq));
    if (!lacks || storage->repairs_count >= STORAGE_REPAIRS_MAX)
        return;
    options.spread =
        (struct spread_options){ .mode = SPREAD_REPAIR,
                                 .is_mutable = item->is_mutable,
                                 .seq = item->seq,
                                 .deadline_ms = storage_now_ms(storage) + STORAGE_TIME_MS };
    if (errand_start(storage, &options) == LB_OK)
        storage->repairs_count++;
}

/* ---- a large value ---- */

static void fetch_parts(struct getting *self);

static void take_part(struct getting *self, size_t part, struct bytes value)
{
    if (self->err == LB_OK && tree_reader_give(self->reader, part, value) != LB_OK)
        self->err = LB_CORRUPT;
}

static void on_part_found(void *ctx, lb_err err, const Lb__Routing__Found *found)
{
    struct fetching *fetching = ctx;
    struct getting *self = fetching->getting;
    struct item item;

    self->parts_under_way--;
    if (err == LB_OK && best_from_message(found, &fetching->wanted, &item)) {
        repair(self->storage, &fetching->wanted, &item, found);
        take_part(self, fetching->part, item.value);
    } else if (self->err == LB_OK) {
        self->err = err == LB_CANCELLED ? err : tree_reader_miss(self->reader, fetching->part);
    }
    free(fetching);
    fetch_parts(self);
}

static void fetch_part(struct getting *self, size_t part, const struct wanted *wanted)
{
    struct fetching *fetching = xcalloc(1, sizeof *fetching);

    *fetching = (struct fetching){ .getting = self, .part = part, .wanted = *wanted };
    self->parts_under_way++;
    find_start(self->storage, LB__ROUTING__LOOKUP__KIND__VALUE, &wanted->target, self->deadline_ms,
               on_part_found, fetching);
}

static const char *why_lost(lb_err err)
{
    switch (err) {
    case LB_CORRUPT:
        return "the value is damaged: its parts do not fit together";
    case LB_NOT_FOUND:
        return "a part of the value is nowhere to be found";
    case LB_CANCELLED:
        return "the service is stopping";
    default:
        return lb_err_text(err);
    }
}

/* May free the getting. */
static void fetch_parts(struct getting *self)
{
    uint8_t memory[ITEM_VALUE_MAX];
    struct wanted wanted = { 0 };
    struct item item;
    bool stored;
    size_t part;

    if (self->err == LB_OK && storage_now_ms(self->storage) >= self->deadline_ms)
        self->err = LB_TIMEOUT;
    while (self->err == LB_OK && self->parts_under_way < STORAGE_PARALLEL &&
           tree_reader_next(self->reader, &part, &wanted.target)) {
        if (find_here(self->storage, &wanted, &item, memory, &stored))
            take_part(self, part, item.value);
        else
            fetch_part(self, part, &wanted);
    }
    if (self->parts_under_way > 0)
        return;
    if (self->err != LB_OK)
        fail(self, self->err, why_lost(self->err));
    else if (tree_reader_is_done(self->reader))
        reply(self, tree_reader_value(self->reader));
    else
        fail(self, LB_INTERNAL, "the value cannot be put together");
}

/* ---- the item ---- */

static void finish(struct getting *self)
{
    struct bytes raw;
    lb_err err;

    if (value_unwrap(self->item.value, &raw) != VALUE_TREE) {
        reply(self, raw);
        return;
    }
    err = tree_reader_new(self->item.value, VALUE_SIZE_MAX, &self->reader);
    if (err == LB_OK)
        fetch_parts(self);
    else
        fail(self, err, why_lost(err));
}

static unsigned count_holders(const Lb__Routing__Found *found, const struct item *item)
{
    unsigned holders = 0;

    for (size_t i = 0; i < found->n_closest; i++)
        holders += found->closest[i]->has_item &&
                   (!item->is_mutable || found->closest[i]->item_seq == item->seq);
    return holders;
}

static void take_best(struct getting *self, const Lb__Routing__Found *found)
{
    struct item item;

    if (!best_from_message(found, &self->wanted, &item))
        return;
    if (self->has_item && !item_is_newer(&item, &self->item))
        return;
    if (self->has_item && !item_is_same(&item, &self->item))
        self->holders = 0; /* what we hold ourselves is an older one */
    self->item = item;
    memcpy(self->value_memory, item.value.data, item.value.size);
    self->item.value.data = self->value_memory;
    self->item.salt = self->wanted.salt;
    self->has_item = true;
}

static void on_found(void *ctx, lb_err err, const Lb__Routing__Found *found)
{
    struct getting *self = ctx;

    if (err == LB_OK) {
        take_best(self, found);
        if (self->has_item) {
            self->holders += count_holders(found, &self->item);
            repair(self->storage, &self->wanted, &self->item, found);
        }
    }
    if (self->has_item)
        finish(self);
    else if (err == LB_OK)
        fail(self, LB_NOT_FOUND, "no node has a value under this key");
    else
        fail(self, err, lb_err_text(err));
}

/* ---- the request ---- */

static lb_err take_key(struct getting *self, const Lb__Storage__Get *get)
{
    struct bytes key = bytes_of_binary(&get->key);
    const char *network = config_text(actor_config(self->storage->actor), CONFIG_NETWORK);
    struct wanted *wanted = &self->wanted;
    uint8_t seed[ED25519_SEED_SIZE];

    wanted->is_mutable = true;
    if (get->public_key.len == 0) {
        if (value_shared_seed(network, key, seed) != LB_OK)
            return LB_INVALID;
        ed25519_public_key(seed, wanted->public_key);
    } else {
        if (get->public_key.len != sizeof wanted->public_key || key.size == 0 ||
            key.size > sizeof self->salt)
            return LB_INVALID;
        memcpy(wanted->public_key, get->public_key.data, sizeof wanted->public_key);
        memcpy(self->salt, key.data, key.size);
        wanted->salt = bytes_of(self->salt, key.size);
    }
    wanted->target = item_mutable_target(wanted->public_key, wanted->salt);
    return LB_OK;
}

static lb_err take_request(struct getting *self, const Lb__Storage__Get *get)
{
    if (get->name_case == LB__STORAGE__GET__NAME_KEY)
        return take_key(self, get);
    if (get->name_case != LB__STORAGE__GET__NAME_TARGET || get->target.len != NODE_ID_SIZE ||
        get->public_key.len > 0)
        return LB_INVALID;
    self->wanted.target = node_id_from(get->target.data);
    return LB_OK;
}

void on_get(void *ctx, struct call *call, const void *body)
{
    struct storage *storage = ctx;
    struct getting *self;
    bool stored;

    if (storage->gettings_count >= STORAGE_GETS_MAX || storage->is_draining) {
        call_fail(&call, storage->is_draining ? LB_UNAVAILABLE : LB_FULL, "%s",
                  storage->is_draining ? "the service is stopping" : "too many gets are under way");
        return;
    }
    self = xcalloc(1, sizeof *self);
    self->storage = storage;
    if (take_request(self, body) != LB_OK) {
        call_fail(&call, LB_INVALID,
                  "a get needs a key of 1 to 1024 bytes (64 with a public key of 32), or a target "
                  "of 20");
        free(self);
        return;
    }
    storage_count(storage, COUNTER_GETS, 1);
    storage->gettings_count++;
    self->call = call;
    self->deadline_ms = storage_deadline_ms(storage, call);
    self->has_item = find_here(storage, &self->wanted, &self->item, self->value_memory, &stored);
    self->holders = self->has_item && stored;
    if (self->has_item && !self->wanted.is_mutable && stored)
        finish(self); /* its hash says that there is no better one */
    else
        find_start(storage, LB__ROUTING__LOOKUP__KIND__VALUE, &self->wanted.target,
                   self->deadline_ms, on_found, self);
}
