/* Walking the items, in the order of their targets. */
#include "services/storage/db_tables.h"

#include <assert.h>

/* A damaged record is passed over, as is one that has expired. */
static bool is_held(const struct db *self, const MDB_val *key, const MDB_val *data, uint64_t now_s,
                    struct item_record *ret_record)
{
    return key->mv_size == NODE_ID_SIZE && db_item_unpack(self, data, ret_record) == 0 &&
           !policy_is_over(ret_record->ends_s, now_s);
}

lb_err db_read_next_item(struct db *self, const struct node_id *from, uint64_t now_s,
                         struct node_id *ret_target, struct item_record *ret_record)
{
    MDB_val key = db_val(from->bytes, NODE_ID_SIZE);
    MDB_val data;
    MDB_cursor *cursor;
    struct item_record record;
    int rc;

    assert(self->is_reading);
    rc = mdb_cursor_open(self->reader, self->items, &cursor);
    if (rc != 0)
        return LB_IO;
    rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    while (rc == 0 && !is_held(self, &key, &data, now_s, &record))
        rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    mdb_cursor_close(cursor);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? LB_NOT_FOUND : LB_IO;
    *ret_target = db_target_of(&key);
    *ret_record = record;
    return LB_OK;
}
