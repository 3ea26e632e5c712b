#include "services/storage/audits.h"

#include "libcommon/config.h"
#include "libcommon/memory.h"
#include "services/storage/audit.h"
#include "services/storage/find.h"
#include "services/storage/messages.h"
#include "services/storage/replicas.h"
#include "services/storage/service.h"

#include <stdlib.h>
#include <string.h>

#define PARALLEL 16u
#define WALK_MAX 512u /* items of the store looked at in one turn of the loop */

struct auditing {
    struct storage *storage;
    struct call *call;
    uint64_t deadline_ms;
    struct audit audit;
    struct node_id from; /* the walk goes on here */
    bool counts_self;    /* others can ask this node: it is no client */
    bool is_walking;
    bool is_cancelled;
};

/* One key being looked up. */
struct counting {
    struct auditing *auditing;
    size_t index;
    struct wanted wanted;
    uint8_t salt[ITEM_SALT_MAX];
};

/* ---- the end ---- */

static void auditing_free(struct auditing *self)
{
    self->storage->auditing = NULL;
    audit_done(&self->audit);
    free(self);
}

static void reply(struct auditing *self)
{
    Lb__Storage__Reply message = LB__STORAGE__REPLY__INIT;
    Lb__Storage__Audited audited = LB__STORAGE__AUDITED__INIT;
    Lb__Storage__AuditedKey keys[AUDIT_ROWS_MAX];
    Lb__Storage__AuditedKey *pointers[AUDIT_ROWS_MAX];
    struct audit_sum sum;

    audit_sum(&self->audit, &sum);
    for (size_t i = 0; i < sum.rows_count; i++) {
        lb__storage__audited_key__init(&keys[i]);
        keys[i].target = binary_of_id(&sum.rows[i]->target);
        keys[i].seq = sum.rows[i]->seq;
        keys[i].replicas = sum.rows[i]->replicas;
        pointers[i] = &keys[i];
    }
    audited.held = sum.held;
    audited.counted = sum.counted;
    audited.wanted = sum.wanted;
    audited.replicas_min = sum.replicas_min;
    audited.replicas_median = sum.replicas_median;
    audited.short_count = sum.short_count;
    audited.overdue = replicas_overdue_in_all(self->storage);
    audited.failed = sum.failed;
    audited.n_keys = sum.rows_count;
    audited.keys = pointers;
    message.body_case = LB__STORAGE__REPLY__BODY_AUDITED;
    message.audited = &audited;
    call_reply(&self->call, &message.base);
    auditing_free(self);
}

static void end(struct auditing *self)
{
    if (!self->is_cancelled) {
        reply(self);
        return;
    }
    call_fail(&self->call, LB_UNAVAILABLE, "the service is stopping");
    auditing_free(self);
}

/* ---- counting ---- */

static void count_more(struct auditing *self);

/* Nodes that say they have it, provided that what they sent is valid. */
static unsigned count_others(const Lb__Routing__Found *found, const struct wanted *wanted,
                             uint64_t seq)
{
    unsigned others = 0;
    struct item best;

    if (!best_from_message(found, wanted, &best))
        return 0;
    for (size_t i = 0; i < found->n_closest; i++)
        others += found->closest[i]->has_item &&
                  (!wanted->is_mutable || found->closest[i]->item_seq >= seq);
    return others;
}

static void on_found(void *ctx, lb_err err, const Lb__Routing__Found *found)
{
    struct counting *counting = ctx;
    struct auditing *self = counting->auditing;
    const struct audit_key *key = &self->audit.keys[counting->index];

    if (err == LB_OK)
        audit_counted(&self->audit, counting->index,
                      self->counts_self + count_others(found, &counting->wanted, key->seq),
                      self->counts_self + (unsigned)found->n_closest);
    else
        audit_failed(&self->audit, counting->index);
    if (err == LB_CANCELLED)
        self->is_cancelled = true;
    free(counting);
    count_more(self);
}

/* What is held of it now; false when it is gone. */
static bool take_wanted(struct storage *storage, struct audit_key *key, struct counting *counting)
{
    struct wanted *wanted = &counting->wanted;
    struct item_record record;
    lb_err err;

    if (db_read_begin(storage->db) != LB_OK)
        return false;
    err = db_read_item(storage->db, &key->target, storage_now_s(storage), &record);
    if (err == LB_OK) {
        key->seq = record.item.is_mutable ? record.item.seq : 0;
        wanted->target = key->target;
        wanted->is_mutable = record.item.is_mutable;
        memcpy(wanted->public_key, record.item.public_key, sizeof wanted->public_key);
        if (record.item.salt.size > 0)
            memcpy(counting->salt, record.item.salt.data, record.item.salt.size);
        wanted->salt = bytes_of(counting->salt, record.item.salt.size);
    }
    db_read_end(storage->db);
    return err == LB_OK;
}

static void count_key(struct auditing *self, size_t index)
{
    struct counting *counting = xcalloc(1, sizeof *counting);

    counting->auditing = self;
    counting->index = index;
    if (take_wanted(self->storage, &self->audit.keys[index], counting)) {
        find_start(self->storage, LB__ROUTING__LOOKUP__KIND__VALUE, &counting->wanted.target,
                   self->deadline_ms, on_found, counting);
        return;
    }
    free(counting);
    audit_gone(&self->audit, index);
}

/* May free the auditing. */
static void count_more(struct auditing *self)
{
    size_t index;

    if (self->is_cancelled || storage_now_ms(self->storage) >= self->deadline_ms)
        audit_give_up(&self->audit);
    while (self->audit.asked_count < PARALLEL && audit_next(&self->audit, &index))
        count_key(self, index);
    if (audit_is_done(&self->audit))
        end(self);
}

/* ---- the walk ---- */

/* The next target there can be; false after the last. */
static bool step_on(struct node_id *id)
{
    for (size_t i = NODE_ID_SIZE; i > 0; i--) {
        if (++id->bytes[i - 1] != 0)
            return true;
    }
    return false;
}

/* False when the end is reached. */
static bool walk(struct auditing *self)
{
    struct storage *storage = self->storage;
    uint64_t now_s = storage_now_s(storage);
    bool goes_on = true;

    if (db_read_begin(storage->db) != LB_OK)
        return false;
    for (unsigned i = 0; goes_on && i < WALK_MAX; i++) {
        struct item_record record;

        goes_on = db_read_next_item(storage->db, &self->from, now_s, &self->from, &record) == LB_OK;
        if (!goes_on)
            break;
        audit_offer(&self->audit, &self->from, record.item.is_mutable ? record.item.seq : 0);
        goes_on = step_on(&self->from);
    }
    db_read_end(storage->db);
    return goes_on;
}

void audits_pace(struct storage *storage)
{
    struct auditing *self = storage->auditing;

    if (self == NULL || !self->is_walking)
        return;
    self->is_walking = walk(self);
    if (self->is_walking)
        storage_need_pace(storage, 1);
    else
        count_more(self);
}

void audits_cancel(struct storage *storage)
{
    struct auditing *self = storage->auditing;

    if (self == NULL)
        return;
    self->is_cancelled = true;
    self->is_walking = false;
    audit_give_up(&self->audit);
    if (audit_is_done(&self->audit))
        end(self);
}

void on_audit(void *ctx, struct call *call, const void *body)
{
    struct storage *storage = ctx;
    const Lb__Storage__Audit *audit = body;
    struct auditing *self;

    if (storage->auditing != NULL || storage->is_draining) {
        call_fail(&call, storage->is_draining ? LB_UNAVAILABLE : LB_FULL, "%s",
                  storage->is_draining ? "the service is stopping" : "an audit is under way");
        return;
    }
    self = xcalloc(1, sizeof *self);
    self->storage = storage;
    call_lasts(call); /* a look-up for each key */
    self->call = call;
    self->deadline_ms = storage_deadline_ms(storage, call);
    self->counts_self = config_number(actor_config(storage->actor), CONFIG_CLIENT) == 0;
    self->is_walking = true;
    audit_init(&self->audit, audit->sample_max, random_u64(&storage->random));
    storage->auditing = self;
    storage_need_pace(storage, 0);
}
