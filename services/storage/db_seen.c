/*
 * The table seen: the highest sequence number of a target whose item is not here any more. Each has
 * one row in `due`, when it is forgotten.
 */
#include "services/storage/db_tables.h"

#include <assert.h>

static MDB_val target_key(const struct node_id *target)
{
    return db_val(target->bytes, NODE_ID_SIZE);
}

static struct bytes target_bytes(const struct node_id *target)
{
    return bytes_of(target->bytes, NODE_ID_SIZE);
}

int db_seen_find(const struct db *db, MDB_txn *txn, const struct node_id *target, uint64_t now_s,
                 uint64_t *ret_seq)
{
    MDB_val key = target_key(target);
    MDB_val data;
    struct seen_record seen;
    int rc = mdb_get(txn, db->seen, &key, &data);

    *ret_seq = 0;
    if (rc == 0 && seen_record_get(db_bytes(&data), &seen) == LB_OK && seen.until_s > now_s)
        *ret_seq = seen.seq;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int drop(struct db_write *write, const struct node_id *target)
{
    MDB_val key = target_key(target);
    int rc = mdb_del(write->txn, write->db->seen, &key, NULL);

    return rc == MDB_NOTFOUND ? 0 : rc;
}

int db_seen_forget(struct db_write *write, const struct node_id *target)
{
    MDB_val key = target_key(target);
    MDB_val data;
    struct seen_record seen;
    int rc = mdb_get(write->txn, write->db->seen, &key, &data);

    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    if (seen_record_get(db_bytes(&data), &seen) == LB_OK)
        rc = db_due_drop(write, DUE_SEEN, seen.until_s, target_bytes(target));
    return rc != 0 ? rc : drop(write, target);
}

/* The number that would be forgotten first gives way. */
static int make_seen_room(struct db_write *write)
{
    uint8_t id[RECORD_DUE_ID_MAX];
    struct due_record due;
    struct node_id target;
    MDB_stat stat;
    int rc = mdb_stat(write->txn, write->db->seen, &stat);

    if (rc != 0 || stat.ms_entries < policy_seen_max(write->db->options.map_bytes))
        return rc;
    rc = db_due_first(write->txn, write->db->due, DUE_SEEN, NULL, UINT64_MAX, &due, id);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    rc = db_due_drop(write, DUE_SEEN, due.due_s, due.id);
    target = node_id_from(due.id.data);
    return rc != 0 ? rc : db_seen_forget(write, &target);
}

int db_seen_remember(struct db_write *write, const struct node_id *target,
                     const struct item_record *record, uint64_t now_s)
{
    const struct seen_record seen = { .seq = record->item.seq,
                                      .until_s = policy_seen_until_s(record->ends_s, now_s) };
    uint8_t buffer[32];
    struct writer writer;
    MDB_val key = target_key(target);
    MDB_val data;
    int rc;

    if (!record->item.is_mutable)
        return 0;
    rc = db_seen_forget(write, target);
    if (rc == 0)
        rc = make_seen_room(write);
    if (rc != 0)
        return rc;
    writer_init(&writer, buffer, sizeof buffer);
    seen_record_put(&seen, &writer);
    data = db_val_of(&writer);
    rc = mdb_put(write->txn, write->db->seen, &key, &data, 0);
    return rc != 0 ? rc : db_due_set(write, DUE_SEEN, seen.until_s, target_bytes(target));
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
    return drop(write, &target);
}

uint64_t db_read_seen(struct db *self, const struct node_id *target, uint64_t now_s)
{
    uint64_t seq = 0;

    assert(self->is_reading);
    return db_seen_find(self, self->reader, target, now_s, &seq) == 0 ? seq : 0;
}
