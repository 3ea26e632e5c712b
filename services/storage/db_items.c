/* The tables items and seen: storing, refreshing, giving way, expiry. */
#include "services/storage/db_tables.h"

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

/* A damaged record reads as if there were none: the next put replaces it. */
static int find_item(MDB_txn *txn, MDB_dbi items, const struct node_id *target,
                     struct item_record *ret_record, size_t *ret_size)
{
    MDB_val key = target_key(target);
    MDB_val data;
    int rc = mdb_get(txn, items, &key, &data);

    if (rc == 0 && item_record_get(db_bytes(&data), ret_record) != LB_OK)
        rc = MDB_NOTFOUND;
    if (rc == 0 && ret_size != NULL)
        *ret_size = data.mv_size;
    return rc;
}

/* ---- seen ---- */

static int find_seen(struct db_write *write, const struct node_id *target, uint64_t now_s,
                     uint64_t *ret_seq)
{
    MDB_val key = target_key(target);
    MDB_val data;
    struct seen_record seen;
    int rc = mdb_get(write->txn, write->db->seen, &key, &data);

    *ret_seq = 0;
    if (rc == 0 && seen_record_get(db_bytes(&data), &seen) == LB_OK && seen.until_s > now_s)
        *ret_seq = seen.seq;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* An item that goes before its time: its number is remembered as long as it would have lived. */
static int remember_seq(struct db_write *write, const struct node_id *target,
                        const struct item_record *record)
{
    const struct seen_record seen = { .seq = record->item.seq,
                                      .until_s = record->stored_s + write->db->options.item_ttl_s };
    uint8_t buffer[32];
    struct writer writer;
    MDB_stat stat;
    MDB_val key = target_key(target);
    MDB_val data;
    int rc = mdb_stat(write->txn, write->db->seen, &stat);

    if (rc != 0 || !record->item.is_mutable || stat.ms_entries >= POLICY_SEEN_MAX)
        return rc;
    writer_init(&writer, buffer, sizeof buffer);
    seen_record_put(&seen, &writer);
    data = db_val_of(&writer);
    rc = mdb_put(write->txn, write->db->seen, &key, &data, 0);
    return rc != 0 ? rc : db_due_set(write, DUE_SEEN, seen.until_s, target_bytes(target));
}

static int drop_key(struct db_write *write, MDB_dbi table, const struct node_id *target)
{
    MDB_val key = target_key(target);
    int rc = mdb_del(write->txn, table, &key, NULL);

    return rc == MDB_NOTFOUND ? 0 : rc;
}

int db_seen_due(struct db_write *write, struct bytes id, uint64_t now_s, bool *ret_removed)
{
    struct node_id target = node_id_from(id.data);
    MDB_val key = target_key(&target);
    MDB_val data;
    struct seen_record seen;
    int rc = mdb_get(write->txn, write->db->seen, &key, &data);

    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    if (seen_record_get(db_bytes(&data), &seen) == LB_OK && seen.until_s > now_s)
        return db_due_set(write, DUE_SEEN, seen.until_s, id);
    *ret_removed = true;
    return drop_key(write, write->db->seen, &target);
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

static int remove_item(struct db_write *write, const struct node_id *target,
                       const struct item_record *record, size_t bytes)
{
    int rc = count_item(write, record, -1, bytes);

    return rc != 0 ? rc : drop_key(write, write->db->items, target);
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

static int evict_one(struct db_write *write, const struct node_id *offered, bool *ret_evicted)
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
    rc = find_item(write->txn, write->db->items, &candidates[victim].target, &record, &bytes);
    if (rc == MDB_NOTFOUND)
        return drop_key(write, write->db->items, &candidates[victim].target);
    if (rc == 0)
        rc = remember_seq(write, &candidates[victim].target, &record);
    return rc != 0 ? rc : remove_item(write, &candidates[victim].target, &record, bytes);
}

static bool is_full(const struct db_write *write)
{
    const struct db *db = write->db;

    return db_table_pages(write->txn, db->items) >= policy_item_pages(db->map_pages) ||
           db_all_pages(write) >= policy_all_pages(db->map_pages);
}

static int make_room(struct db_write *write, const struct node_id *offered, bool *ret_room)
{
    for (unsigned i = 0; i < POLICY_EVICT_MAX && is_full(write); i++) {
        bool evicted;
        int rc = evict_one(write, offered, &evicted);

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
        rc = make_room(write, &op->put.target, &ok);
    if (rc != 0)
        return rc;
    *ret_admitted = ok;
    if (!ok)
        refuse(op, LB_FULL);
    return 0;
}

static int store(struct db_write *write, struct db_op *op, const struct item_record *old,
                 size_t old_size)
{
    uint8_t packed[RECORD_ITEM_MAX];
    struct item_record record = { .item = op->put.item,
                                  .first_s = old != NULL ? old->first_s : op->now_s,
                                  .stored_s = op->now_s,
                                  .source = op->put.source };
    const uint64_t due_s = op->now_s + write->db->options.item_ttl_s + 1;
    size_t size;
    bool refreshed = old != NULL && item_is_same(&old->item, &record.item);
    bool admitted = true;
    int rc = 0;

    if (refreshed)
        record.source = old->source; /* whoever brought it is still the one who takes the space */
    size = pack_item(&record, packed);
    if (old != NULL)
        rc = count_item(write, old, -1, old_size);
    if (rc == 0 && !refreshed)
        rc = admit(write, op, &record, size, old_size, &admitted);
    if (rc == 0 && !admitted)
        return old != NULL ? count_item(write, old, 1, old_size) : 0;
    if (rc == 0)
        rc = write_item(write, &op->put.target, &record, packed, size);
    if (rc == 0 && old == NULL)
        rc = db_due_set(write, DUE_ITEM, due_s, target_bytes(&op->put.target));
    if (rc == 0 && old == NULL)
        rc = drop_key(write, write->db->seen, &op->put.target);
    return rc;
}

int db_put_apply(struct db_write *write, struct db_op *op)
{
    struct db_put *put = &op->put;
    struct item_offer offer = { .item = &put->item, .has_cas = put->has_cas, .cas = put->cas };
    uint64_t item_ttl_s = write->db->options.item_ttl_s;
    struct item_record old;
    uint64_t seen_seq = 0;
    size_t old_size = 0;
    bool found;
    bool alive;
    int rc = find_item(write->txn, write->db->items, &put->target, &old, &old_size);

    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    found = rc == 0;
    alive = found && !policy_is_expired(old.stored_s, item_ttl_s, op->now_s);
    rc = find_seen(write, &put->target, op->now_s, &seen_seq);
    if (rc != 0)
        return rc;
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
    uint64_t item_ttl_s = write->db->options.item_ttl_s;
    struct item_record record;
    size_t size;
    int rc = find_item(write->txn, write->db->items, &target, &record, &size);

    if (rc == MDB_NOTFOUND)
        return drop_key(write, write->db->items, &target); /* damaged, if there is one */
    if (rc != 0)
        return rc;
    if (!policy_is_expired(record.stored_s, item_ttl_s, now_s)) {
        uint64_t due_s = record.stored_s + item_ttl_s + 1;

        /* A record from the future (a damaged clock) must not make its row come up for ever. */
        return db_due_set(write, DUE_ITEM, due_s > now_s ? due_s : now_s + item_ttl_s, id);
    }
    *ret_removed = true;
    return remove_item(write, &target, &record, size);
}

/* ---- reading ---- */

lb_err db_read_item(struct db *self, const struct node_id *target, uint64_t now_s,
                    struct item_record *ret_record)
{
    struct item_record record;
    int rc;

    assert(self->is_reading);
    rc = find_item(self->reader, self->items, target, &record, NULL);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? LB_NOT_FOUND : LB_IO;
    if (policy_is_expired(record.stored_s, self->options.item_ttl_s, now_s))
        return LB_NOT_FOUND;
    *ret_record = record;
    return LB_OK;
}
