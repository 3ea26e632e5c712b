/*
 * The table items: storing, refreshing, giving way, expiry. An item has one row in `due`
 * for its end, and one for its next check; both move with it. (One of version 1 may stand at
 * another time: whoever meets it there sets it right.)
 */
#include "services/storage/db_tables.h"
#include "services/storage/value.h"

#include <assert.h>
#include <string.h>

#define FAR_CANDIDATES 16u

static MDB_val target_key(const struct node_id *target)
{
    return db_val(target->bytes, NODE_ID_SIZE);
}

static struct bytes target_bytes(const struct node_id *target)
{
    return bytes_of(target->bytes, NODE_ID_SIZE);
}

int db_item_unpack(const struct db *db, const MDB_val *data, struct item_record *ret_record)
{
    if (item_record_get(db_bytes(data), ret_record) != LB_OK)
        return MDB_NOTFOUND;
    if (ret_record->ends_s == 0)
        ret_record->ends_s = ret_record->stored_s + db->options.item_ttl_s;
    return 0;
}

/* A damaged record reads as if there were none: the next put replaces it. */
static int find_item(const struct db *db, MDB_txn *txn, const struct node_id *target,
                     struct item_record *ret_record, size_t *ret_size)
{
    MDB_val key = target_key(target);
    MDB_val data;
    int rc = mdb_get(txn, db->items, &key, &data);

    if (rc == 0)
        rc = db_item_unpack(db, &data, ret_record);
    if (rc == 0 && ret_size != NULL)
        *ret_size = data.mv_size;
    return rc;
}

static int drop_item(struct db_write *write, const struct node_id *target)
{
    MDB_val key = target_key(target);
    int rc = mdb_del(write->txn, write->db->items, &key, NULL);

    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* ---- counting ---- */

static int count_item(struct db_write *write, const struct item_record *record, int64_t count,
                      size_t bytes)
{
    struct policy_key source = policy_source_key(POLICY_ITEMS_OF_SOURCE, &record->source);
    struct policy_key publisher = policy_publisher_key(&record->item, &record->source);
    int64_t size = (int64_t)bytes * count;
    int rc = db_quota_add(write, &source, count, size);

    return rc != 0 ? rc : db_quota_add(write, &publisher, count, size);
}

static int is_within_quota(struct db_write *write, const struct item_record *record, size_t bytes,
                           bool *ret_within)
{
    const struct policy_key keys[] = {
        policy_source_key(POLICY_ITEMS_OF_SOURCE, &record->source),
        policy_publisher_key(&record->item, &record->source),
    };

    *ret_within = true;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct quota_record used;
        int rc = db_quota_read(write, &keys[i], &used);

        if (rc != 0)
            return rc;
        if (!policy_allows(&keys[i], &used, bytes, write->db->options.map_bytes))
            *ret_within = false;
    }
    return 0;
}

/* Its row of this kind goes from one time to another; 0: it has none. */
static int move_row(struct db_write *write, enum due_kind kind, const struct node_id *target,
                    uint64_t from_s, uint64_t to_s)
{
    int rc = 0;

    if (from_s == to_s)
        return 0;
    if (from_s > 0)
        rc = db_due_drop(write, kind, from_s, target_bytes(target));
    if (rc == 0 && to_s > 0)
        rc = db_due_set(write, kind, to_s, target_bytes(target));
    return rc;
}

/* From what was stored to what is; NULL: there was none, or will be none. */
static int move_rows(struct db_write *write, const struct node_id *target,
                     const struct item_record *from, const struct item_record *to)
{
    int rc = move_row(write, DUE_ITEM, target, from != NULL ? from->ends_s + 1 : 0,
                      to != NULL ? to->ends_s + 1 : 0);

    if (rc != 0)
        return rc;
    return move_row(write, DUE_CHECK, target, from != NULL ? from->check_s : 0,
                    to != NULL ? to->check_s : 0);
}

static int remove_item(struct db_write *write, const struct node_id *target,
                       const struct item_record *record, size_t bytes, uint64_t now_s)
{
    int rc = db_seen_remember(write, target, record, now_s);

    if (rc == 0)
        rc = count_item(write, record, -1, bytes);
    if (rc == 0)
        rc = move_rows(write, target, record, NULL);
    return rc != 0 ? rc : drop_item(write, target);
}

/* ---- giving way ---- */

static bool has_prefix(const struct node_id *id, const struct node_id *prefix, unsigned bits)
{
    return node_id_shared_bits(id, prefix) >= bits;
}

static void flip_bit(struct node_id *id, unsigned bit)
{
    id->bytes[bit / 8] ^= (uint8_t)(0x80u >> (bit % 8));
}

static void clear_after(struct node_id *id, unsigned bits)
{
    for (unsigned bit = bits; bit < NODE_ID_BITS; bit++) {
        if (node_id_bit(id, bit))
            flip_bit(id, bit);
    }
}

/*
 * Descend the trie of targets, at each bit to the side away from own_id if anything is there, as
 * deep as leaves about FAR_CANDIDATES items below. Returns the prefix and its length.
 */
static int find_far_prefix(MDB_cursor *cursor, const struct node_id *own_id, uint64_t items,
                           struct node_id *ret_prefix, unsigned *ret_bits)
{
    struct node_id prefix = { 0 };
    unsigned bits = 0;

    for (; items > FAR_CANDIDATES && bits < 32; items /= 2, bits++) {
        struct node_id next = prefix;
        MDB_val key = target_key(&next);
        MDB_val data;
        struct node_id found;
        int rc;

        if (!node_id_bit(own_id, bits))
            flip_bit(&next, bits);
        rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
        if (rc != 0 && rc != MDB_NOTFOUND)
            return rc;
        found = rc == 0 ? db_target_of(&key) : own_id[0];
        if (rc != 0 || !has_prefix(&found, &next, bits + 1))
            flip_bit(&next, bits);
        prefix = next;
    }
    *ret_prefix = prefix;
    *ret_bits = bits;
    return 0;
}

static int collect_far(struct db_write *write, struct policy_candidate *ret_candidates,
                       size_t *ret_count)
{
    const struct node_id *own_id = write->own_id;
    struct node_id prefix = { 0 };
    unsigned bits = 0;
    MDB_stat stat;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    int rc = mdb_stat(write->txn, write->db->items, &stat);

    *ret_count = 0;
    if (rc == 0)
        rc = mdb_cursor_open(write->txn, write->db->items, &cursor);
    if (rc != 0)
        return rc;
    if (own_id != NULL)
        rc = find_far_prefix(cursor, own_id, stat.ms_entries, &prefix, &bits);
    clear_after(&prefix, bits);
    key = target_key(&prefix);
    for (MDB_cursor_op move = MDB_SET_RANGE; rc == 0 && *ret_count < FAR_CANDIDATES;
         move = MDB_NEXT) {
        struct policy_candidate *candidate = &ret_candidates[*ret_count];
        struct item_record record;

        rc = mdb_cursor_get(cursor, &key, &data, move);
        if (rc != 0)
            break;
        candidate->target = db_target_of(&key);
        if (!has_prefix(&candidate->target, &prefix, bits))
            break;
        /* A damaged record is the first to go. */
        candidate->stored_s =
            item_record_get(db_bytes(&data), &record) == LB_OK ? record.stored_s : 0;
        (*ret_count)++;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int evict_one(struct db_write *write, const struct node_id *offered, uint64_t now_s,
                     bool *ret_evicted)
{
    struct policy_candidate candidates[FAR_CANDIDATES];
    struct item_record record;
    size_t count;
    size_t victim;
    size_t bytes;
    int rc = collect_far(write, candidates, &count);

    *ret_evicted = false;
    if (rc != 0)
        return rc;
    victim = policy_victim(write->own_id, offered, candidates, count);
    if (victim == SIZE_MAX)
        return 0;
    *ret_evicted = true;
    rc = find_item(write->db, write->txn, &candidates[victim].target, &record, &bytes);
    if (rc == MDB_NOTFOUND)
        return drop_item(write, &candidates[victim].target);
    return rc != 0 ? rc : remove_item(write, &candidates[victim].target, &record, bytes, now_s);
}

static bool is_full(const struct db_write *write)
{
    const struct db *db = write->db;

    return db_table_pages(write->txn, db->items) >= policy_item_pages(db->map_pages) ||
           db_all_pages(write) >= policy_all_pages(db->map_pages);
}

static int make_room(struct db_write *write, const struct node_id *offered, uint64_t now_s,
                     bool *ret_room)
{
    for (unsigned i = 0; i < POLICY_EVICT_MAX && is_full(write); i++) {
        bool evicted;
        int rc = evict_one(write, offered, now_s, &evicted);

        if (rc != 0)
            return rc;
        if (!evicted) {
            *ret_room = false;
            return 0;
        }
    }
    *ret_room = true; /* the pages of what gave way fill up first: growth stays bounded by them */
    return 0;
}

/* ---- storing ---- */

static int write_item(struct db_write *write, const struct node_id *target,
                      const struct item_record *record, const uint8_t *packed, size_t size)
{
    MDB_val key = target_key(target);
    MDB_val data = db_val(packed, size);
    int rc = mdb_put(write->txn, write->db->items, &key, &data, 0);

    return rc != 0 ? rc : count_item(write, record, 1, size);
}

static size_t pack_item(const struct item_record *record, uint8_t ret_packed[RECORD_ITEM_MAX])
{
    struct writer writer;

    writer_init(&writer, ret_packed, RECORD_ITEM_MAX);
    item_record_put(record, &writer);
    assert(!writer.overflow);
    return writer.size;
}

static void refuse(struct db_op *op, lb_err err)
{
    op->err = err;
    op->put.verdict = ITEM_REFUSED;
}

/* The verdict was to accept; is there room for it, by the quotas and on the disk? */
static int admit(struct db_write *write, struct db_op *op, const struct item_record *record,
                 size_t size, size_t old_size, bool *ret_admitted)
{
    bool ok;
    int rc;

    *ret_admitted = false;
    if (write->low_space) {
        refuse(op, LB_NO_SPACE);
        return 0;
    }
    rc = is_within_quota(write, record, size, &ok);
    if (rc == 0 && ok && size > old_size)
        rc = make_room(write, &op->put.target, op->now_s, &ok);
    if (rc != 0)
        return rc;
    *ret_admitted = ok;
    if (!ok)
        refuse(op, LB_FULL);
    return 0;
}

/*
 * The same item again: it keeps what it had, and lives and waits for its check the longer. Whoever
 * brought it is still the one who takes the space.
 */
static void refresh(const struct db_put *put, const struct item_record *old,
                    struct item_record *record)
{
    uint64_t limit_s = old->checked_s + put->silence_s;
    uint64_t check_s = put->check_s < limit_s ? put->check_s : limit_s;

    record->source = old->source;
    if (record->ends_s < old->ends_s)
        record->ends_s = old->ends_s;
    if (old->check_s == 0)
        return; /* of version 1: from now on it is checked */
    record->check_s = check_s > old->check_s ? check_s : old->check_s;
    record->checked_s = old->checked_s;
    record->calm = old->calm;
}

static int store(struct db_write *write, struct db_op *op, const struct item_record *old,
                 size_t old_size)
{
    const struct db_put *put = &op->put;
    uint8_t packed[RECORD_ITEM_MAX];
    uint64_t ttl_s = put->ttl_s > 0 ? put->ttl_s : write->db->options.item_ttl_s;
    struct item_record record = {
        .item = put->item,
        .first_s = old != NULL ? old->first_s : op->now_s,
        .stored_s = op->now_s,
        .ends_s = op->now_s + (ttl_s < VALUE_TTL_MAX_S ? ttl_s : VALUE_TTL_MAX_S),
        .check_s = put->check_s,
        .checked_s = op->now_s,
        .source = put->keeps_source && old != NULL ? old->source : put->source,
    };
    size_t size;
    bool refreshed = old != NULL && item_is_same(&old->item, &record.item);
    bool admitted = true;
    int rc = 0;

    if (refreshed)
        refresh(put, old, &record);
    size = pack_item(&record, packed);
    if (old != NULL)
        rc = count_item(write, old, -1, old_size);
    if (rc == 0 && !refreshed)
        rc = admit(write, op, &record, size, old_size, &admitted);
    if (rc == 0 && !admitted)
        return old != NULL ? count_item(write, old, 1, old_size) : 0;
    if (rc == 0)
        rc = write_item(write, &put->target, &record, packed, size);
    if (rc == 0)
        rc = move_rows(write, &put->target, old, &record);
    if (rc == 0 && old == NULL)
        rc = db_seen_forget(write, &put->target);
    return rc;
}

int db_put_apply(struct db_write *write, struct db_op *op)
{
    struct db_put *put = &op->put;
    struct item_offer offer = { .item = &put->item, .has_cas = put->has_cas, .cas = put->cas };
    struct item_record old;
    uint64_t seen_seq = 0;
    size_t old_size = 0;
    bool found;
    bool alive;
    int rc = find_item(write->db, write->txn, &put->target, &old, &old_size);

    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    found = rc == 0;
    alive = found && !policy_is_over(old.ends_s, op->now_s);
    rc = db_seen_find(write->db, write->txn, &put->target, op->now_s, &seen_seq);
    if (rc != 0)
        return rc;
    if (found && !alive && old.item.seq > seen_seq)
        seen_seq = old.item.seq; /* ended, but not swept yet */
    offer.same_sender = found && record_source_equal(&old.source, &put->source);
    put->verdict = item_judge(&offer, alive ? &old.item : NULL, seen_seq);
    if (put->verdict != ITEM_ACCEPTED) {
        op->err = LB_CONFLICT;
        return 0;
    }
    return store(write, op, found ? &old : NULL, old_size);
}

int db_item_due(struct db_write *write, struct bytes id, uint64_t now_s, bool *ret_removed)
{
    struct node_id target = node_id_from(id.data);
    struct item_record record;
    size_t size;
    int rc = find_item(write->db, write->txn, &target, &record, &size);

    if (rc == MDB_NOTFOUND)
        return drop_item(write, &target); /* damaged, if there is one */
    if (rc != 0)
        return rc;
    if (!policy_is_over(record.ends_s, now_s))
        return db_due_set(write, DUE_ITEM, record.ends_s + 1, id);
    *ret_removed = true;
    return remove_item(write, &target, &record, size, now_s);
}

/* ---- upkeep ---- */

int db_set_check_apply(struct db_write *write, struct db_op *op)
{
    const struct db_check *check = &op->check;
    uint8_t packed[RECORD_ITEM_MAX];
    struct item_record record;
    struct item_record old;
    MDB_val key = target_key(&check->target);
    MDB_val data;
    int rc = find_item(write->db, write->txn, &check->target, &old, NULL);

    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    if (rc == MDB_NOTFOUND || old.item.seq > check->seq) {
        op->err = LB_NOT_FOUND;
        return 0;
    }
    record = old;
    record.check_s = check->check_s;
    record.checked_s = check->checked_s;
    record.calm = check->calm;
    data = db_val(packed, pack_item(&record, packed));
    rc = mdb_put(write->txn, write->db->items, &key, &data, 0);
    return rc != 0 ? rc : move_rows(write, &check->target, &old, &record);
}

int db_drop_apply(struct db_write *write, struct db_op *op)
{
    struct item_record record;
    size_t size;
    int rc = find_item(write->db, write->txn, &op->check.target, &record, &size);

    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    if (rc == MDB_NOTFOUND || record.item.seq > op->check.seq) {
        op->err = LB_NOT_FOUND;
        return 0;
    }
    return remove_item(write, &op->check.target, &record, size, op->now_s);
}

/* ---- reading ---- */

lb_err db_read_item(struct db *self, const struct node_id *target, uint64_t now_s,
                    struct item_record *ret_record)
{
    struct item_record record;
    int rc;

    assert(self->is_reading);
    rc = find_item(self, self->reader, target, &record, NULL);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? LB_NOT_FOUND : LB_IO;
    if (policy_is_over(record.ends_s, now_s))
        return LB_NOT_FOUND;
    *ret_record = record;
    return LB_OK;
}

/* The look for the item behind `skip` others. */
struct check_look {
    struct db *db;
    const struct db_range *range;
    uint64_t now_s;
    uint32_t skip;
    uint32_t ended, others; /* passed over so far */
    lb_err err;             /* LB_OK: found */
    struct node_id target;
    struct item_record record;
};

/* What ended and is not swept yet still has its row, as has a record that was damaged, and put
 * anew.
 */
static bool look_at_check(void *ctx, const struct due_record *due)
{
    struct check_look *self = ctx;

    if (!db_range_has(self->range, &due->id))
        return ++self->others < DB_OTHERS_WALK_MAX;
    self->target = node_id_from(due->id.data);
    self->err = db_read_item(self->db, &self->target, self->now_s, &self->record);
    if (self->err == LB_OK && self->record.check_s != due->due_s)
        self->err = LB_NOT_FOUND;
    if (self->err != LB_OK)
        return self->err == LB_NOT_FOUND && ++self->ended < DB_ENDED_WALK_MAX;
    if (self->skip == 0)
        return false;
    self->skip--;
    self->err = LB_NOT_FOUND;
    return true;
}

lb_err db_read_check(struct db *self, const struct db_range *range, uint32_t skip, uint64_t now_s,
                     struct node_id *ret_target, struct item_record *ret_record)
{
    struct check_look look = {
        .db = self, .range = range, .now_s = now_s, .skip = skip, .err = LB_NOT_FOUND
    };

    assert(self->is_reading);
    if (db_due_walk(self->reader, self->due, DUE_CHECK, look_at_check, &look) != 0)
        return LB_IO;
    if (look.err != LB_OK)
        return look.err;
    *ret_target = look.target;
    *ret_record = look.record;
    return LB_OK;
}
