/*
 * Put: a value becomes one item, or a tree of them whose root is stored last; each goes on an
 * errand. What was stored without a time to live is remembered, to be put again. Puts to one key
 * are carried out one after the other.
 */
#include "services/storage/puts.h"
#include "libcommon/bencode.h"
#include "libcommon/config.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/storage/errand.h"
#include "services/storage/service.h"
#include "services/storage/tree.h"
#include "services/storage/value.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* One item of our own to be remembered. */
struct memo {
    struct commit commit;
    struct putting *putting;
};

struct putting {
    struct storage *storage;
    struct putting *before, *after;
    struct call *call;
    uint64_t deadline_ms;
    bool is_mutable;
    struct put_compare compare;
    uint32_t ttl_s; /* 0: storage.value_ttl, and it is remembered, to be put again */
    uint8_t seed[ED25519_SEED_SIZE];
    struct item root; /* value, salt, and public key when mutable; then as it was stored */
    uint8_t root_value[ITEM_VALUE_MAX];
    uint8_t salt[ITEM_SALT_MAX];
    struct node_id target;

    struct tree *tree; /* NULL: one item */
    size_t next_part;  /* of the tree, the root excluded */
    unsigned parts_under_way;
    bool waits; /* for an earlier put to the same key */
    bool root_sent;
    lb_err err;            /* of the first part that failed */
    unsigned acknowledged; /* the least of all items */
    unsigned asked;
    uint64_t seq;

    struct memo *memos; /* one an item, and one to forget the version before */
    size_t memos_count;
    size_t memos_left;
};

/* ---- the end ---- */

static void begin(struct putting *self);

static struct putting *next_in_line(struct storage *storage, const struct node_id *target)
{
    struct putting *first = NULL;

    for (struct putting *putting = storage->puttings; putting != NULL; putting = putting->after) {
        if (putting->waits && node_id_equal(&putting->target, target))
            first = putting; /* new ones are put in front: the last is the oldest */
    }
    return first;
}

static void putting_free(struct putting *self)
{
    struct storage *storage = self->storage;
    struct node_id target = self->target;
    bool was_mutable = self->is_mutable;
    struct putting *next;

    if (self->before != NULL)
        self->before->after = self->after;
    else
        storage->puttings = self->after;
    if (self->after != NULL)
        self->after->before = self->before;
    storage->puttings_count--;
    tree_free(&self->tree);
    free(self->memos);
    free(self);
    next = was_mutable && !storage->is_stopping ? next_in_line(storage, &target) : NULL;
    if (next != NULL)
        begin(next);
}

static const char *why(lb_err err)
{
    switch (err) {
    case LB_CONFLICT:
        return "another version of this key stands, or none: read it and try again";
    case LB_NOT_FOUND:
        return "no other node is known that could store it, and a client stores nothing itself";
    case LB_NO_SPACE:
        return "no other node took it and the store here is full";
    case LB_FULL:
        return "too much is under way, try again";
    case LB_CANCELLED:
        return "the service is stopping";
    case LB_UNAVAILABLE:
        return "no node stored it";
    default:
        return lb_err_text(err);
    }
}

static void fail(struct putting *self, lb_err err)
{
    call_fail(&self->call, err == LB_CANCELLED ? LB_UNAVAILABLE : err, "%s", why(err));
    putting_free(self);
}

static void reply(struct putting *self)
{
    Lb__Storage__Reply message = LB__STORAGE__REPLY__INIT;
    Lb__Storage__Stored stored = LB__STORAGE__STORED__INIT;

    stored.target = binary_of_id(&self->target);
    stored.acknowledged = self->acknowledged;
    stored.asked = self->asked;
    stored.items = self->tree != NULL ? (uint32_t)self->tree->parts_count : 1;
    if (self->is_mutable) {
        stored.seq = self->seq;
        stored.public_key =
            binary_of(bytes_of(self->root.public_key, sizeof self->root.public_key));
    }
    message.body_case = LB__STORAGE__REPLY__BODY_STORED;
    message.stored = &stored;
    call_reply(&self->call, &message.base);
    putting_free(self);
}

/* ---- remembering ---- */

/* That a value is not kept alive is no reason to call the put failed: it is stored. */
static void on_remembered(struct commit *commit)
{
    struct memo *memo = (struct memo *)commit;
    struct putting *self = memo->putting;

    if (commit->op.err != LB_OK && commit->op.err != LB_CANCELLED)
        log_warn("value stored but not to be put again: %s", lb_err_text(commit->op.err));
    if (--self->memos_left == 0)
        reply(self);
}

static struct db_op *add_memo(struct putting *self, enum db_op_kind kind)
{
    struct memo *memo = &self->memos[self->memos_count++];

    memo->putting = self;
    memo->commit.done = on_remembered;
    memo->commit.op.kind = kind;
    memo->commit.op.now_s = storage_now_s(self->storage);
    return &memo->commit.op;
}

static void add_publish(struct putting *self, const struct node_id *target, const struct item *item)
{
    struct db_op *op = add_memo(self, DB_PUBLISH);

    op->publish.item = *item;
    op->publish.publication =
        republish_first(self->storage, &self->target, target, self->seq, self->acknowledged);
}

static void remember(struct putting *self)
{
    size_t parts = self->tree != NULL ? self->tree->parts_count : 1;
    struct db_op *prune;

    self->memos = xcalloc(parts + 1, sizeof *self->memos);
    for (size_t i = 0; self->ttl_s == 0 && i + 1 < parts; i++) {
        const struct item item = { .value = self->tree->parts[i].value };

        add_publish(self, &self->tree->parts[i].target, &item);
    }
    if (self->ttl_s == 0)
        add_publish(self, &self->target, &self->root);
    prune = add_memo(self, DB_PRUNE);
    prune->group = (struct db_publication){ .group = self->target, .version = self->seq };
    self->memos_left = self->memos_count;
    for (size_t i = 0, count = self->memos_count; i < count; i++) {
        if (commits_submit(self->storage->commits, &self->memos[i].commit) != LB_OK) {
            self->memos[i].commit.op.err = LB_FULL;
            on_remembered(&self->memos[i].commit); /* the last of these may free us: i ends then */
        }
    }
}

/* ---- storing ---- */

static void count(struct putting *self, const struct spread_result *result)
{
    if (result->acknowledged < self->acknowledged)
        self->acknowledged = result->acknowledged;
    if (result->asked > self->asked)
        self->asked = result->asked;
}

/* When there was nobody to ask, asking again soon is of no use. */
static lb_err err_of(const struct spread_result *result)
{
    return result->err == LB_UNAVAILABLE && result->asked == 0 ? LB_NOT_FOUND : result->err;
}

static void on_root_done(void *ctx, const struct errand_result *result)
{
    struct putting *self = ctx;

    if (result->spread.err != LB_OK) {
        fail(self, err_of(&result->spread));
        return;
    }
    count(self, &result->spread);
    self->seq = self->is_mutable ? result->item->seq : 0;
    self->root.seq = self->seq;
    memcpy(self->root.public_key, result->item->public_key, sizeof self->root.public_key);
    memcpy(self->root.signature, result->item->signature, sizeof self->root.signature);
    remember(self);
}

static uint64_t life_s(const struct putting *self)
{
    return self->ttl_s > 0 ? self->ttl_s : storage_value_ttl_s(self->storage);
}

static void send_root(struct putting *self)
{
    struct errand_options options = { .target = self->target,
                                      .item = self->root,
                                      .ttl_s = life_s(self),
                                      .on_done = on_root_done,
                                      .ctx = self };

    options.spread =
        (struct spread_options){ .mode = self->is_mutable ? SPREAD_VERSION : SPREAD_FIXED,
                                 .is_mutable = self->is_mutable,
                                 .has_cas = self->compare.has_cas,
                                 .cas = self->compare.cas,
                                 .deadline_ms = self->deadline_ms };
    memcpy(options.seed, self->seed, sizeof options.seed);
    self->root_sent = true;
    if (errand_start(self->storage, &options) != LB_OK)
        fail(self, LB_FULL);
}

static void send_parts(struct putting *self);

static void on_part_done(void *ctx, const struct errand_result *result)
{
    struct putting *self = ctx;

    self->parts_under_way--;
    if (result->spread.err != LB_OK && self->err == LB_OK)
        self->err = err_of(&result->spread);
    count(self, &result->spread);
    send_parts(self);
}

static bool is_repeated(const struct tree *tree, size_t part)
{
    return part > 0 && node_id_equal(&tree->parts[part].target, &tree->parts[part - 1].target);
}

static lb_err send_part(struct putting *self, const struct tree_part *part)
{
    const struct errand_options options = { .spread = { .mode = SPREAD_FIXED,
                                                        .deadline_ms = self->deadline_ms },
                                            .target = part->target,
                                            .item = { .value = part->value },
                                            .ttl_s = life_s(self),
                                            .on_done = on_part_done,
                                            .ctx = self };

    return errand_start(self->storage, &options);
}

/* The root goes last: who can read it finds all that is below. May free the putting. */
static void send_parts(struct putting *self)
{
    size_t parts = self->tree != NULL ? self->tree->parts_count - 1 : 0;

    for (; self->err == LB_OK && self->next_part < parts; self->next_part++) {
        if (is_repeated(self->tree, self->next_part))
            continue; /* as in a run of zeros */
        if (self->parts_under_way >= STORAGE_PARALLEL)
            return;
        if (send_part(self, &self->tree->parts[self->next_part]) != LB_OK) {
            if (self->parts_under_way > 0)
                return; /* room comes when one of ours returns */
            self->err = LB_FULL;
            break;
        }
        self->parts_under_way++;
    }
    if (self->parts_under_way > 0)
        return;
    if (self->err != LB_OK)
        fail(self, self->err);
    else
        send_root(self);
}

static void begin(struct putting *self)
{
    self->waits = false;
    send_parts(self);
}

/* ---- the request ---- */

lb_err put_key_take(const struct storage *storage, struct bytes key, bool own,
                    struct put_key *ret_key, const char **ret_reason)
{
    struct put_key taken = { 0 };

    if (!own) {
        *ret_reason = "a key has 1 to 1024 bytes";
        if (storage_shared_seed(storage, key, taken.seed) != LB_OK)
            return LB_INVALID;
        ed25519_public_key(taken.seed, taken.public_key);
        *ret_key = taken;
        return LB_OK;
    }
    *ret_reason = "an own key has 1 to 64 bytes";
    if (key.size == 0 || key.size > ITEM_SALT_MAX)
        return LB_INVALID;
    *ret_reason = "this node has no key of its own: see the log of lb-storage";
    if (storage->key_err != LB_OK)
        return LB_DENIED;
    memcpy(taken.seed, storage->key.seed, sizeof taken.seed);
    memcpy(taken.public_key, storage->key.public_key, sizeof taken.public_key);
    memcpy(taken.salt, key.data, key.size);
    taken.salt_size = key.size;
    *ret_key = taken;
    return LB_OK;
}

static void set_key(struct putting *self, const struct put_key *key)
{
    self->is_mutable = true;
    self->root.is_mutable = true;
    memcpy(self->seed, key->seed, sizeof self->seed);
    memcpy(self->root.public_key, key->public_key, sizeof self->root.public_key);
    memcpy(self->salt, key->salt, key->salt_size);
    self->root.salt = bytes_of(self->salt, key->salt_size);
}

static lb_err take_key(struct putting *self, const Lb__Storage__Put *put, const char **ret_reason)
{
    struct put_key key;
    lb_err err =
        put_key_take(self->storage, bytes_of_binary(&put->key), put->own, &key, ret_reason);

    if (err != LB_OK)
        return err;
    set_key(self, &key);
    if (put->compare_case == LB__STORAGE__PUT__COMPARE_CAS)
        self->compare = (struct put_compare){ .has_cas = true, .cas = put->cas };
    return LB_OK;
}

static void set_root(struct putting *self, struct bytes value)
{
    memcpy(self->root_value, value.data, value.size);
    self->root.value = bytes_of(self->root_value, value.size);
}

static lb_err take_value(struct putting *self, struct bytes raw, const char **ret_reason)
{
    struct writer writer;
    lb_err err = LB_OK;

    if (raw.size <= VALUE_PLAIN_MAX) {
        writer_init(&writer, self->root_value, sizeof self->root_value);
        bencode_put_string(&writer, raw);
        self->root.value = bytes_of(self->root_value, writer.size);
        return LB_OK;
    }
    *ret_reason = "a value has at most 1 MiB";
    err = tree_new(raw, &self->tree);
    if (err == LB_OK)
        set_root(self, tree_root(self->tree)->value);
    return err;
}

static lb_err take_request(struct putting *self, const Lb__Storage__Put *put,
                           const char **ret_reason)
{
    lb_err err = LB_OK;

    *ret_reason = "";
    if (put->name_case == LB__STORAGE__PUT__NAME_KEY) {
        err = take_key(self, put, ret_reason);
    } else if (put->name_case != LB__STORAGE__PUT__NAME_IMMUTABLE) {
        *ret_reason = "a put needs a key, or says immutable";
        err = LB_INVALID;
    } else if (put->own || put->compare_case != LB__STORAGE__PUT__COMPARE__NOT_SET) {
        *ret_reason = "an immutable value has no owner and no version";
        err = LB_INVALID;
    }
    if (err == LB_OK && put->ttl_s > VALUE_TTL_MAX_S) {
        *ret_reason = "a value lives at most 365 days";
        err = LB_INVALID;
    }
    self->ttl_s = put->ttl_s;
    if (err == LB_OK)
        err = take_value(self, bytes_of_binary(&put->value), ret_reason);
    if (err == LB_OK)
        self->target = item_target(&self->root);
    return err;
}

static bool is_same_key_under_way(const struct storage *storage, const struct putting *self)
{
    for (const struct putting *other = storage->puttings; other != NULL; other = other->after) {
        if (other != self && other->is_mutable && node_id_equal(&other->target, &self->target))
            return true;
    }
    return false;
}

/* False: refused, the call is answered. */
static bool has_room(struct storage *storage, struct call **call)
{
    if (storage->puttings_count < STORAGE_PUTS_MAX && !storage->is_draining)
        return true;
    call_fail(call, storage->is_draining ? LB_UNAVAILABLE : LB_FULL, "%s",
              storage->is_draining ? "the service is stopping" : "too many puts are under way");
    return false;
}

static void start(struct putting *self, struct call **call)
{
    struct storage *storage = self->storage;

    storage_count(storage, COUNTER_PUTS, 1);
    self->call = *call;
    *call = NULL;
    self->deadline_ms = storage_deadline_ms(storage, self->call);
    self->acknowledged = UINT32_MAX;
    self->after = storage->puttings;
    if (self->after != NULL)
        self->after->before = self;
    storage->puttings = self;
    storage->puttings_count++;
    self->waits = self->is_mutable && is_same_key_under_way(storage, self);
    if (!self->waits)
        begin(self);
}

void on_put(void *ctx, struct call *call, const void *body)
{
    struct storage *storage = ctx;
    struct putting *self;
    const char *reason;
    lb_err err;

    if (!has_room(storage, &call))
        return;
    self = xcalloc(1, sizeof *self);
    self->storage = storage;
    err = take_request(self, body, &reason);
    if (err == LB_OK) {
        start(self, &call);
        return;
    }
    call_fail(&call, err, "%s", reason);
    free(self);
}

void put_removal(struct storage *storage, struct call **call, const struct put_key *key,
                 struct put_compare compare, uint32_t ttl_s)
{
    struct putting *self;

    if (!has_room(storage, call))
        return;
    self = xcalloc(1, sizeof *self);
    self->storage = storage;
    self->compare = compare;
    self->ttl_s = ttl_s;
    set_key(self, key);
    set_root(self, value_removal());
    self->target = item_target(&self->root);
    start(self, call);
}

/* Those on an errand have come back by now; what is left waits in line. */
void puts_cancel(struct storage *storage)
{
    for (struct putting *putting = storage->puttings, *after; putting != NULL; putting = after) {
        after = putting->after;
        if (putting->waits)
            fail(putting, LB_CANCELLED);
    }
}
