/* Values, rows of `due` and counts in `quotas`: what all tables use. */
#include "services/storage/db_tables.h"

#include <assert.h>
#include <string.h>

MDB_val db_val(const void *data, size_t size)
{
    return (MDB_val){ .mv_size = size, .mv_data = (void *)(uintptr_t)data };
}

MDB_val db_val_of(const struct writer *writer)
{
    assert(!writer->overflow);
    return db_val(writer->data, writer->size);
}

struct bytes db_bytes(const MDB_val *val)
{
    return bytes_of(val->mv_data, val->mv_size);
}

struct node_id db_target_of(const MDB_val *val)
{
    struct node_id id = { 0 };

    if (val->mv_size >= NODE_ID_SIZE)
        memcpy(id.bytes, val->mv_data, NODE_ID_SIZE);
    return id;
}

static void due_key(struct writer *writer, enum due_kind kind, uint64_t due_s, struct bytes id)
{
    const struct due_record due = { .kind = kind, .due_s = due_s, .id = id };

    due_record_put(&due, writer);
}

int db_due_set(struct db_write *write, enum due_kind kind, uint64_t due_s, struct bytes id)
{
    uint8_t buffer[RECORD_DUE_MAX];
    struct writer writer;
    MDB_val key;
    MDB_val nothing = db_val("", 0);

    writer_init(&writer, buffer, sizeof buffer);
    due_key(&writer, kind, due_s, id);
    key = db_val_of(&writer);
    return mdb_put(write->txn, write->db->due, &key, &nothing, 0);
}

int db_due_drop(struct db_write *write, enum due_kind kind, uint64_t due_s, struct bytes id)
{
    uint8_t buffer[RECORD_DUE_MAX];
    struct writer writer;
    MDB_val key;
    int rc;

    writer_init(&writer, buffer, sizeof buffer);
    due_key(&writer, kind, due_s, id);
    key = db_val_of(&writer);
    rc = mdb_del(write->txn, write->db->due, &key, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int db_due_walk(MDB_txn *txn, MDB_dbi due, enum due_kind kind, db_due_fn *each, void *ctx)
{
    uint8_t first[9] = { (uint8_t)kind };
    MDB_val key = db_val(first, sizeof first);
    MDB_val data;
    MDB_cursor *cursor;
    struct due_record found;
    int rc = mdb_cursor_open(txn, due, &cursor);

    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    while (rc == 0 && due_record_get(db_bytes(&key), &found) == LB_OK && found.kind == kind &&
           each(ctx, &found))
        rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

bool db_range_has(const struct db_range *range, const struct bytes *id)
{
    struct node_id target;

    if (range == NULL)
        return true;
    if (id->size < NODE_ID_SIZE)
        return false;
    target = node_id_from(id->data);
    return node_id_compare(&range->first, &target) <= 0 &&
           node_id_compare(&target, &range->last) <= 0;
}

struct due_copying {
    uint64_t now_s;
    const struct db_range *range;
    uint32_t others;
    struct due_record *due;
    uint8_t *id;
    int rc;
};

static bool copy_due(void *ctx, const struct due_record *due)
{
    struct due_copying *self = ctx;

    if (due->due_s > self->now_s)
        return false;
    if (!db_range_has(self->range, &due->id))
        return ++self->others < DB_OTHERS_WALK_MAX;
    memcpy(self->id, due->id.data, due->id.size);
    *self->due = *due;
    self->due->id = bytes_of(self->id, due->id.size);
    self->rc = 0;
    return false;
}

int db_due_first(MDB_txn *txn, MDB_dbi due, enum due_kind kind, const struct db_range *range,
                 uint64_t now_s, struct due_record *ret_due, uint8_t ret_id[RECORD_DUE_ID_MAX])
{
    struct due_copying copying = {
        .now_s = now_s, .range = range, .due = ret_due, .id = ret_id, .rc = MDB_NOTFOUND
    };
    int rc = db_due_walk(txn, due, kind, copy_due, &copying);

    return rc != 0 ? rc : copying.rc;
}

struct due_counting {
    const struct db_range *range;
    uint64_t before_s;
    uint32_t count, looked, max;
};

static bool count_due(void *ctx, const struct due_record *due)
{
    struct due_counting *self = ctx;

    if (due->due_s >= self->before_s || self->looked++ == self->max)
        return false;
    self->count += db_range_has(self->range, &due->id);
    return true;
}

uint32_t db_due_count(MDB_txn *txn, MDB_dbi due, enum due_kind kind, const struct db_range *range,
                      uint64_t before_s, uint32_t max)
{
    struct due_counting counting = { .range = range, .before_s = before_s, .max = max };

    return db_due_walk(txn, due, kind, count_due, &counting) == 0 ? counting.count : 0;
}

int db_quota_read(struct db_write *write, const struct policy_key *key,
                  struct quota_record *ret_quota)
{
    MDB_val name = db_val(key->bytes, key->size);
    MDB_val data;
    int rc;

    *ret_quota = (struct quota_record){ 0 };
    if (key->size == 0)
        return 0;
    rc = mdb_get(write->txn, write->db->quotas, &name, &data);
    if (rc == 0 && quota_record_get(db_bytes(&data), ret_quota) != LB_OK)
        *ret_quota = (struct quota_record){ 0 };
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static uint64_t add_bounded(uint64_t value, int64_t by)
{
    if (by >= 0)
        return value + (uint64_t)by;
    return value > (uint64_t)-by ? value - (uint64_t)-by : 0;
}

int db_quota_add(struct db_write *write, const struct policy_key *key, int64_t count, int64_t bytes)
{
    uint8_t buffer[32];
    struct writer writer;
    struct quota_record quota;
    MDB_val name = db_val(key->bytes, key->size);
    MDB_val data;
    int rc = db_quota_read(write, key, &quota);

    if (rc != 0 || key->size == 0)
        return rc;
    quota.count = add_bounded(quota.count, count);
    quota.bytes = add_bounded(quota.bytes, bytes);
    if (quota.count == 0) {
        rc = mdb_del(write->txn, write->db->quotas, &name, NULL);
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    writer_init(&writer, buffer, sizeof buffer);
    quota_record_put(&quota, &writer);
    data = db_val_of(&writer);
    return mdb_put(write->txn, write->db->quotas, &name, &data, 0);
}

uint64_t db_table_pages(MDB_txn *txn, MDB_dbi table)
{
    MDB_stat stat;

    if (mdb_stat(txn, table, &stat) != 0)
        return 0;
    return stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
}

uint64_t db_all_pages(const struct db_write *write)
{
    uint64_t pages = 0;

#define ADD_PAGES(name, flags) pages += db_table_pages(write->txn, write->db->name);
    DB_TABLES(ADD_PAGES)
#undef ADD_PAGES
    return pages;
}
