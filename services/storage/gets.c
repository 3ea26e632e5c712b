/*
 * Get: the best valid item of our own store and of a lookup; when it is the root of a tree, all
 * that is below, in parallel. A key has many versions, so all k are asked for theirs, and what they
 * lacked is brought to them afterwards; an immutable item is named by its hash, so the first that
 * comes will do.
 */
#include "services/storage/gets.h"
#include "libcommon/config.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/storage/errand.h"
#include "services/storage/find.h"
#include "services/storage/service.h"
#include "services/storage/tree.h"
#include "services/storage/upkeep.h"
#include "services/storage/value.h"
#include "services/storage/watches.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A part of a tree on its way. */
struct fetching {
    struct getting *getting;
    size_t part;
    struct wanted wanted;
    bool asked_all;
};

/* ---- the end ---- */

static void getting_free(struct getting *self)
{
    if (self->is_watch)
        self->storage->watches_count--;
    else
        self->storage->gettings_count--;
    tree_reader_free(&self->reader);
    free(self);
}

void getting_fail(struct getting *self, lb_err err, const char *reason)
{
    call_fail(&self->call, err == LB_CANCELLED ? LB_UNAVAILABLE : err, "%s", reason);
    getting_free(self);
}

static void reply(struct getting *self, struct bytes raw)
{
    const struct version *version = &self->version;
    Lb__Storage__Reply message = LB__STORAGE__REPLY__INIT;
    Lb__Storage__Value value = LB__STORAGE__VALUE__INIT;

    value.value = binary_of(raw);
    value.target = binary_of_id(&self->wanted.target);
    value.holders = version->holders;
    value.ttl_s = version->ttl_s < UINT32_MAX ? (uint32_t)version->ttl_s : UINT32_MAX;
    value.removed = version_is_removal(version);
    if (version->item.is_mutable) {
        value.seq = version->item.seq;
        value.public_key =
            binary_of(bytes_of(version->item.public_key, sizeof version->item.public_key));
    }
    message.body_case = LB__STORAGE__REPLY__BODY_VALUE;
    message.value = &value;
    call_reply(&self->call, &message.base);
    getting_free(self);
}

/* ---- repair ---- */

static void on_repaired(void *ctx, const struct errand_result *result)
{
    struct storage *storage = ctx;

    storage->repairs_count--;
    storage_count(storage, COUNTER_REPAIRED, result->spread.acknowledged);
}

static bool is_ending(const struct version *version)
{
    return version->ttl_s > 0 && version->ttl_s < UPKEEP_ENDING_S;
}

/*
 * Bring what was read to those of the closest that lacked it; no promise, so it may be left out.
 * What ends within moments is: seconds are rounded up on the way, and readers that handed it round
 * would keep it alive for as long as they read.
 */
static void repair(struct storage *storage, const struct wanted *wanted,
                   const struct version *version, const Lb__Routing__Found *message)
{
    const struct item *item = &version->item;
    struct spread_node nodes[SPREAD_NODES_MAX];
    struct spread_found found = { .nodes = nodes,
                                  .self_is_close = message->self_is_close,
                                  .has_item = true,
                                  .highest_seq = item->seq };
    struct errand_options options = { .target = wanted->target,
                                      .item = *item,
                                      .ttl_s = version->ttl_s,
                                      .found = &found,
                                      .on_done = on_repaired,
                                      .ctx = storage };
    bool lacks = false;

    found.nodes_count = nodes_from_message(message, nodes, SPREAD_NODES_MAX);
    for (size_t i = 0; i < found.nodes_count; i++)
        lacks = lacks ||
                (nodes[i].token_size > 0 && (!nodes[i].has_item || nodes[i].item_seq < item->seq));
    if (!lacks || is_ending(version) || storage->repairs_count >= STORAGE_REPAIRS_MAX)
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

/* Its hash names it, so the first that fits is the right one; all k are asked if it did not. */
static void look_up_immutable(struct storage *storage, const struct node_id *target, bool ask_all,
                              uint64_t deadline_ms, find_fn *on_found, void *ctx)
{
    const struct find_query query = { .kind = LB__ROUTING__LOOKUP__KIND__VALUE,
                                      .target = *target,
                                      .enough = ask_all ? 0 : 1 };

    find_query_start(storage, &query, deadline_ms, on_found, ctx);
}

static void on_part_found(void *ctx, lb_err err, const Lb__Routing__Found *found)
{
    struct fetching *fetching = ctx;
    struct getting *self = fetching->getting;
    struct item item;
    bool is_found = err == LB_OK && best_from_message(found, &fetching->wanted, &item);

    if (err == LB_OK && !is_found && found->n_items > 0 && !fetching->asked_all) {
        fetching->asked_all = true;
        look_up_immutable(self->storage, &fetching->wanted.target, true, self->deadline_ms,
                          on_part_found, fetching);
        return;
    }
    self->parts_under_way--;
    if (is_found)
        take_part(self, fetching->part, item.value);
    else if (self->err == LB_OK)
        self->err = err == LB_CANCELLED ? err : tree_reader_miss(self->reader, fetching->part);
    free(fetching);
    fetch_parts(self);
}

static void fetch_part(struct getting *self, size_t part, const struct wanted *wanted)
{
    struct fetching *fetching = xcalloc(1, sizeof *fetching);

    *fetching = (struct fetching){ .getting = self, .part = part, .wanted = *wanted };
    self->parts_under_way++;
    look_up_immutable(self->storage, &wanted->target, false, self->deadline_ms, on_part_found,
                      fetching);
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
    struct version here;
    struct wanted wanted = { 0 };
    size_t part;

    if (self->err == LB_OK && storage_now_ms(self->storage) >= self->deadline_ms)
        self->err = LB_TIMEOUT;
    while (self->err == LB_OK && self->parts_under_way < STORAGE_PARALLEL &&
           tree_reader_next(self->reader, &part, &wanted.target)) {
        version_look_here(self->storage, &wanted, &here);
        if (here.is_there)
            take_part(self, part, here.item.value);
        else
            fetch_part(self, part, &wanted);
    }
    if (self->parts_under_way > 0)
        return;
    if (self->err != LB_OK)
        getting_fail(self, self->err, why_lost(self->err));
    else if (tree_reader_is_done(self->reader))
        reply(self, tree_reader_value(self->reader));
    else
        getting_fail(self, LB_INTERNAL, "the value cannot be put together");
}

/* ---- the item ---- */

void getting_answer(struct getting *self)
{
    struct bytes raw;
    lb_err err;

    if (version_is_removal(&self->version)) {
        if (self->is_watch)
            reply(self, bytes_of(NULL, 0));
        else
            getting_fail(self, LB_NOT_FOUND, "the value of this key was removed");
        return;
    }
    if (value_unwrap(self->version.item.value, &raw) != VALUE_TREE) {
        reply(self, raw);
        return;
    }
    err = tree_reader_new(self->version.item.value, VALUE_SIZE_MAX, &self->reader);
    if (err == LB_OK)
        fetch_parts(self);
    else
        getting_fail(self, err, why_lost(err));
}

static void on_found(void *ctx, lb_err err, const Lb__Routing__Found *found);

static void look_up(struct getting *self)
{
    if (self->wanted.is_mutable)
        find_start(self->storage, LB__ROUTING__LOOKUP__KIND__VALUE, &self->wanted.target,
                   self->deadline_ms, on_found, self);
    else
        look_up_immutable(self->storage, &self->wanted.target, self->asked_all, self->deadline_ms,
                          on_found, self);
}

static void on_found(void *ctx, lb_err err, const Lb__Routing__Found *found)
{
    struct getting *self = ctx;
    struct version *version = &self->version;

    if (err == LB_OK)
        version_take_found(self->storage, &self->wanted, found, version);
    if (err == LB_OK && version->is_there && self->wanted.is_mutable)
        repair(self->storage, &self->wanted, version, found);
    if (version->is_there) {
        getting_answer(self);
    } else if (err == LB_OK && found->n_items > 0 && !self->wanted.is_mutable && !self->asked_all) {
        self->asked_all = true;
        look_up(self);
    } else if (err == LB_OK) {
        getting_fail(self, LB_NOT_FOUND, "no node has a value under this key");
    } else {
        getting_fail(self, err, lb_err_text(err));
    }
}

/* ---- the request ---- */

static lb_err take_key(struct getting *self, const Lb__Storage__Get *get)
{
    struct bytes key = bytes_of_binary(&get->key);
    struct wanted *wanted = &self->wanted;
    uint8_t seed[ED25519_SEED_SIZE];

    wanted->is_mutable = true;
    if (get->own) {
        if (get->public_key.len > 0 || key.size == 0 || key.size > sizeof self->salt)
            return LB_INVALID;
        if (self->storage->key_err != LB_OK)
            return LB_DENIED;
        memcpy(wanted->public_key, self->storage->key.public_key, sizeof wanted->public_key);
        memcpy(self->salt, key.data, key.size);
        wanted->salt = bytes_of(self->salt, key.size);
    } else if (get->public_key.len == 0) {
        if (storage_shared_seed(self->storage, key, seed) != LB_OK)
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
    self->is_watch = get->newer_case == LB__STORAGE__GET__NEWER_AFTER_SEQ;
    if (get->name_case == LB__STORAGE__GET__NAME_KEY)
        return take_key(self, get);
    if (get->name_case != LB__STORAGE__GET__NAME_TARGET || get->target.len != NODE_ID_SIZE ||
        get->public_key.len > 0 || get->own || self->is_watch)
        return LB_INVALID;
    self->wanted.target = node_id_from(get->target.data);
    return LB_OK;
}

/* A refusal's words; NULL when there is room. */
static const char *why_refused(const struct storage *storage, bool is_watch)
{
    if (storage->is_draining)
        return "the service is stopping";
    if (is_watch)
        return storage->watches_count >= STORAGE_WATCHES_MAX
                   ? "too many are watching through this node"
                   : NULL;
    return storage->gettings_count >= STORAGE_GETS_MAX ? "too many gets are under way" : NULL;
}

static void begin(struct getting *self, uint64_t after_seq)
{
    struct storage *storage = self->storage;

    if (self->is_watch) {
        call_lasts(self->call); /* until there is another version */
        storage->watches_count++;
        watch_start(self, after_seq);
        return;
    }
    storage->gettings_count++;
    version_look_here(storage, &self->wanted, &self->version);
    if (self->version.is_stored && !self->wanted.is_mutable)
        getting_answer(self); /* its hash says that there is no better one */
    else
        look_up(self);
}

void on_get(void *ctx, struct call *call, const void *body)
{
    struct storage *storage = ctx;
    const Lb__Storage__Get *get = body;
    const char *refusal =
        why_refused(storage, get->newer_case == LB__STORAGE__GET__NEWER_AFTER_SEQ);
    struct getting *self;

    if (refusal != NULL) {
        call_fail(&call, storage->is_draining ? LB_UNAVAILABLE : LB_FULL, "%s", refusal);
        return;
    }
    self = xcalloc(1, sizeof *self);
    self->storage = storage;
    lb_err err = take_request(self, get);
    if (err != LB_OK) {
        call_fail(&call, err, "%s",
                  err == LB_DENIED
                      ? "this node has no key of its own: see the log of lb-storage"
                      : "a get needs a key of 1 to 1024 bytes (64 with own, or with a public key "
                        "of 32), or a target of 20 and no after_seq");
        free(self);
        return;
    }
    storage_count(storage, COUNTER_GETS, 1);
    self->call = call;
    self->deadline_ms = storage_deadline_ms(storage, call);
    begin(self, get->newer_case == LB__STORAGE__GET__NEWER_AFTER_SEQ ? get->after_seq : 0);
}
