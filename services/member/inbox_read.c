#include "libcommon/memory.h"
#include "services/member/inbox_inside.h"

#include <stdlib.h>
#include <string.h>

static bool begin(struct inbox *self)
{
    return mdb_txn_renew(self->reader) == 0;
}

static void end(struct inbox *self)
{
    mdb_txn_reset(self->reader);
}

static bool parse(const MDB_val *key, const MDB_val *data, struct inbox_info *ret_info)
{
    const uint8_t *at = data->mv_data;

    if (key->mv_size != sizeof(uint64_t) || data->mv_size < INBOX_HEAD_SIZE) {
        return false;
    }
    ret_info->number = load_u64(key->mv_data);
    memcpy(ret_info->id, at, INBOX_ID_SIZE);
    ret_info->sender = node_id_from(at + INBOX_ID_SIZE);
    ret_info->sent_s = load_u64(at + INBOX_ID_SIZE + NODE_ID_SIZE);
    ret_info->received_s = load_u64(at + INBOX_ID_SIZE + NODE_ID_SIZE + 8);
    ret_info->size = (uint32_t)(data->mv_size - INBOX_HEAD_SIZE);
    return true;
}

size_t inbox_list(struct inbox *self, uint64_t after, struct inbox_info *ret_infos, size_t max,
                  bool *ret_more)
{
    uint8_t from[sizeof(uint64_t)];
    MDB_val key = inbox_val(from, sizeof(from));
    MDB_val data;
    MDB_cursor *cursor;
    size_t count = 0;
    int rc;

    *ret_more = false;
    if (after == UINT64_MAX || !begin(self)) {
        return 0;
    }
    store_u64(from, after + 1);
    rc = mdb_cursor_open(self->reader, self->mails, &cursor);
    if (rc != 0) {
        end(self);
        return 0;
    }
    for (rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE); rc == 0;
         rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
        if (count == max) {
            *ret_more = true;
            break;
        }
        count += parse(&key, &data, &ret_infos[count]) ? 1 : 0;
    }
    mdb_cursor_close(cursor);
    end(self);
    return count;
}

lb_err inbox_read(struct inbox *self, uint64_t number, struct inbox_info *ret_info,
                  uint8_t **ret_text)
{
    uint8_t name[sizeof(uint64_t)];
    MDB_val key = inbox_val(name, sizeof(name));
    MDB_val data;
    lb_err err;

    store_u64(name, number);
    if (!begin(self)) {
        return LB_IO;
    }
    err = lb_err_of_lmdb(mdb_get(self->reader, self->mails, &key, &data));
    if (err == LB_OK && !parse(&key, &data, ret_info)) {
        err = LB_CORRUPT;
    }
    if (err == LB_OK) {
        *ret_text = xmalloc((size_t)ret_info->size + 1);
        memcpy(*ret_text, (const uint8_t *)data.mv_data + INBOX_HEAD_SIZE, ret_info->size);
    }
    end(self);
    return err;
}

bool inbox_has_seen(struct inbox *self, const uint8_t id[INBOX_ID_SIZE])
{
    MDB_val key = inbox_val(id, INBOX_ID_SIZE);
    MDB_val data;
    bool seen;

    if (!begin(self)) {
        return false;
    }
    seen = mdb_get(self->reader, self->seen, &key, &data) == 0;
    end(self);
    return seen;
}

static uint64_t entries(struct inbox *self, MDB_dbi table)
{
    MDB_stat stat;

    return mdb_stat(self->reader, table, &stat) == 0 ? stat.ms_entries : 0;
}

void inbox_get_stats(struct inbox *self, struct inbox_stats *ret_stats)
{
    uint64_t bytes;

    *ret_stats = (struct inbox_stats){ .bytes = 0 };
    if (!begin(self)) {
        return;
    }
    if (inbox_get_meta(self, self->reader, "bytes", &bytes) == 0) {
        ret_stats->bytes = bytes;
    }
    ret_stats->messages = entries(self, self->mails);
    ret_stats->seen = entries(self, self->seen);
    end(self);
}
