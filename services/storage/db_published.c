/* The table published: the items this node was asked to put, and puts again while it runs. */
#include "services/storage/db_tables.h"

#include <assert.h>
#include <string.h>

#define KEY_SIZE ((size_t)2 * NODE_ID_SIZE)

static void make_key(const struct node_id *group, const struct node_id *target,
                     uint8_t ret_key[KEY_SIZE])
{
    memcpy(ret_key, group->bytes, NODE_ID_SIZE);
    memcpy(ret_key + NODE_ID_SIZE, target->bytes, NODE_ID_SIZE);
}

/* Whatever stood there goes, with its row in due. */
static int drop_publication(struct db_write *write, const uint8_t key_bytes[KEY_SIZE],
                            bool *ret_found)
{
    MDB_val key = db_val(key_bytes, KEY_SIZE);
    MDB_val data;
    struct publication_record record;
    int rc = mdb_get(write->txn, write->db->published, &key, &data);

    *ret_found = rc == 0;
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    if (publication_record_get(db_bytes(&data), &record) == LB_OK)
        rc = db_due_drop(write, DUE_PUBLISH, record.due_s, bytes_of(key_bytes, KEY_SIZE));
    return rc != 0 ? rc : mdb_del(write->txn, write->db->published, &key, NULL);
}

static int write_publication(struct db_write *write, const uint8_t key_bytes[KEY_SIZE],
                             const struct publication_record *record)
{
    uint8_t buffer[RECORD_ITEM_MAX + 32];
    struct writer writer;
    MDB_val key = db_val(key_bytes, KEY_SIZE);
    MDB_val data;
    int rc;

    writer_init(&writer, buffer, sizeof buffer);
    publication_record_put(record, &writer);
    data = db_val_of(&writer);
    rc = mdb_put(write->txn, write->db->published, &key, &data, 0);
    if (rc != 0)
        return rc;
    return db_due_set(write, DUE_PUBLISH, record->due_s, bytes_of(key_bytes, KEY_SIZE));
}

static bool is_full(const struct db_write *write)
{
    MDB_stat stat;

    return mdb_stat(write->txn, write->db->published, &stat) != 0 ||
           stat.ms_entries >= POLICY_PUBLISHED_MAX ||
           db_all_pages(write) >= policy_all_pages(write->db->map_pages);
}

static int find_version(struct db_write *write, const uint8_t key_bytes[KEY_SIZE], uint64_t version,
                        bool *ret_found)
{
    MDB_val key = db_val(key_bytes, KEY_SIZE);
    MDB_val data;
    struct publication_record record;
    int rc = mdb_get(write->txn, write->db->published, &key, &data);

    *ret_found = rc == 0 && publication_record_get(db_bytes(&data), &record) == LB_OK &&
                 record.version == version;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int db_publish_apply(struct db_write *write, struct db_op *op)
{
    const struct db_publication *publication = &op->publish.publication;
    const struct item_record item = { .item = op->publish.item,
                                      .first_s = op->now_s,
                                      .stored_s = op->now_s,
                                      .source = { .is_self = true } };
    struct publication_record record = { .version = publication->version,
                                         .due_s = publication->due_s,
                                         .renewed_s = publication->renewed_s,
                                         .tries = publication->tries };
    uint8_t packed[RECORD_ITEM_MAX];
    uint8_t key[KEY_SIZE];
    struct writer writer;
    bool found;
    int rc;

    writer_init(&writer, packed, sizeof packed);
    item_record_put(&item, &writer);
    assert(!writer.overflow);
    record.item = bytes_of(packed, writer.size);
    make_key(&publication->group, &publication->target, key);
    rc = find_version(write, key, publication->version, &found);
    if (rc == 0 && op->publish.is_again && !found)
        op->err = LB_NOT_FOUND;
    else if (rc == 0)
        rc = drop_publication(write, key, &found);
    if (rc != 0 || op->err != LB_OK)
        return rc;
    if (!found && write->low_space)
        op->err = LB_NO_SPACE;
    else if (!found && is_full(write))
        op->err = LB_FULL;
    else
        rc = write_publication(write, key, &record);
    return rc;
}

/* Walk a group; drop the versions from `from` to `to`, and what is damaged. */
static int drop_versions(struct db_write *write, const struct node_id *group, uint64_t from,
                         uint64_t to)
{
    uint8_t key_bytes[KEY_SIZE] = { 0 };
    MDB_val key;
    MDB_val data;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(write->txn, write->db->published, &cursor);

    if (rc != 0)
        return rc;
    memcpy(key_bytes, group->bytes, NODE_ID_SIZE);
    key = db_val(key_bytes, KEY_SIZE);
    rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    while (rc == 0 && key.mv_size == KEY_SIZE &&
           memcmp(key.mv_data, group->bytes, NODE_ID_SIZE) == 0) {
        struct publication_record record;
        bool known = publication_record_get(db_bytes(&data), &record) == LB_OK;

        memcpy(key_bytes, key.mv_data, KEY_SIZE);
        if (!known || (record.version >= from && record.version <= to)) {
            if (known)
                rc = db_due_drop(write, DUE_PUBLISH, record.due_s, bytes_of(key_bytes, KEY_SIZE));
            if (rc == 0)
                rc = mdb_cursor_del(cursor, 0);
        }
        if (rc == 0)
            rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int db_prune_apply(struct db_write *write, struct db_op *op)
{
    uint64_t version = op->group.version;
    int rc = 0;

    if (version > 0)
        rc = drop_versions(write, &op->group.group, 0, version - 1);
    if (rc == 0 && version < UINT64_MAX)
        rc = drop_versions(write, &op->group.group, version + 1, UINT64_MAX);
    return rc;
}

int db_unpublish_apply(struct db_write *write, struct db_op *op)
{
    return drop_versions(write, &op->group.group, 0, op->group.version);
}

/* Copy one out and set it back, so that a crash in between only delays it. */
static int take_one(struct db_write *write, struct db_op *op, const struct due_record *due)
{
    struct db_taken *taken = &op->take.taken[op->take.taken_count];
    MDB_val key = db_val(due->id.data, due->id.size);
    MDB_val data;
    struct publication_record record;
    uint8_t key_bytes[KEY_SIZE] = { 0 };
    uint8_t packed[RECORD_ITEM_MAX];
    int rc = db_due_drop(write, DUE_PUBLISH, due->due_s, due->id);

    if (rc != 0 || due->id.size != KEY_SIZE)
        return rc;
    memcpy(key_bytes, due->id.data, KEY_SIZE);
    rc = mdb_get(write->txn, write->db->published, &key, &data);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    if (publication_record_get(db_bytes(&data), &record) != LB_OK ||
        record.item.size > RECORD_ITEM_MAX)
        return mdb_del(write->txn, write->db->published, &key, NULL);
    taken->publication = (struct db_publication){ .group = node_id_from(key_bytes),
                                                  .target = node_id_from(key_bytes + NODE_ID_SIZE),
                                                  .version = record.version,
                                                  .due_s = record.due_s,
                                                  .renewed_s = record.renewed_s,
                                                  .tries = record.tries };
    taken->record_size = record.item.size;
    memcpy(taken->record, record.item.data, record.item.size);
    op->take.taken_count++;
    memcpy(packed, record.item.data, record.item.size);
    record.item = bytes_of(packed, record.item.size);
    record.due_s = op->now_s + op->take.retry_s;
    return write_publication(write, key_bytes, &record);
}

int db_take_apply(struct db_write *write, struct db_op *op)
{
    uint8_t id[RECORD_DUE_ID_MAX];
    struct due_record due;
    int rc = 0;

    assert(op->take.wanted <= DB_TAKE_MAX);
    op->take.taken_count = 0;
    for (uint32_t looked = 0; looked < 2 * DB_TAKE_MAX && op->take.taken_count < op->take.wanted;
         looked++) {
        rc = db_due_first(write->txn, write->db->due, DUE_PUBLISH, op->take.range, op->now_s, &due,
                          id);
        if (rc == 0)
            rc = take_one(write, op, &due);
        if (rc != 0)
            break;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* ---- reading ---- */

lb_err db_read_published(struct db *self, const struct node_id *root,
                         struct item_record *ret_record)
{
    uint8_t key_bytes[KEY_SIZE] = { 0 };
    MDB_val key = db_val(key_bytes, KEY_SIZE);
    MDB_val data;
    struct publication_record record;

    assert(self->is_reading);
    make_key(root, root, key_bytes);
    if (mdb_get(self->reader, self->published, &key, &data) != 0 ||
        publication_record_get(db_bytes(&data), &record) != LB_OK)
        return LB_NOT_FOUND;
    return item_record_get(record.item, ret_record);
}
