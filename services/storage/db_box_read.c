/* Reading the box. */
#include "services/storage/db_tables.h"

#include <assert.h>
#include <string.h>

static MDB_val mail_key(const struct box_mail *mail, uint8_t buffer[BOX_KEY_SIZE])
{
    memcpy(buffer, mail->recipient.bytes, NODE_ID_SIZE);
    memcpy(buffer + NODE_ID_SIZE, mail->id, BOX_ID_SIZE);
    return db_val(buffer, BOX_KEY_SIZE);
}

static lb_err err_of(int rc)
{
    if (rc == 0)
        return LB_OK;
    return rc == MDB_NOTFOUND ? LB_NOT_FOUND : LB_IO;
}

lb_err db_read_mail(struct db *self, const struct box_mail *mail, uint64_t now_s,
                    struct box_mail_record *ret_record, struct bytes *ret_data)
{
    uint8_t buffer[BOX_KEY_SIZE];
    MDB_val key = mail_key(mail, buffer);
    MDB_val data;
    struct box_mail_record record;
    int rc;

    assert(self->is_reading);
    rc = mdb_get(self->reader, self->mails, &key, &data);
    if (rc != 0)
        return err_of(rc);
    if (box_mail_get(db_bytes(&data), &record) != LB_OK || policy_is_over(record.ends_s, now_s))
        return LB_NOT_FOUND;
    *ret_data = bytes_of(NULL, 0);
    if (!record.is_dropped) {
        rc = mdb_get(self->reader, self->mail_bytes, &key, &data);
        if (rc != 0)
            return err_of(rc);
        if (data.mv_size != record.size)
            return LB_NOT_FOUND; /* damaged */
        *ret_data = db_bytes(&data);
    }
    *ret_record = record;
    return LB_OK;
}

static bool is_of(const MDB_val *key, const struct node_id *recipient)
{
    return key->mv_size == BOX_KEY_SIZE &&
           memcmp(key->mv_data, recipient->bytes, NODE_ID_SIZE) == 0;
}

static bool waits(const MDB_val *data, uint64_t now_s, struct box_mail_record *ret_record)
{
    return box_mail_get(db_bytes(data), ret_record) == LB_OK && !ret_record->is_dropped &&
           !policy_is_over(ret_record->ends_s, now_s);
}

size_t db_read_heads(struct db *self, const struct node_id *recipient,
                     const uint8_t after[BOX_ID_SIZE], uint64_t now_s,
                     struct db_head ret_heads[BOX_HEADS_MAX], bool *ret_more)
{
    struct box_mail from = { .recipient = *recipient };
    uint8_t buffer[BOX_KEY_SIZE];
    MDB_val key;
    MDB_val data;
    MDB_cursor *cursor;
    size_t count = 0;
    int rc;

    assert(self->is_reading);
    *ret_more = false;
    if (after != NULL)
        memcpy(from.id, after, BOX_ID_SIZE);
    key = mail_key(&from, buffer);
    if (mdb_cursor_open(self->reader, self->mails, &cursor) != 0)
        return 0;
    rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    if (rc == 0 && after != NULL && is_of(&key, recipient) &&
        memcmp(key.mv_data, buffer, BOX_KEY_SIZE) == 0)
        rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    for (; rc == 0 && is_of(&key, recipient); rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
        struct box_mail_record record;

        if (!waits(&data, now_s, &record))
            continue;
        *ret_more = count == BOX_HEADS_MAX;
        if (*ret_more)
            break;
        memcpy(ret_heads[count].id, (const uint8_t *)key.mv_data + NODE_ID_SIZE, BOX_ID_SIZE);
        ret_heads[count++].record = record;
    }
    mdb_cursor_close(cursor);
    return count;
}

lb_err db_read_certificate(struct db *self, const struct node_id *node, uint64_t now_s,
                           struct box_certificate *ret_certificate)
{
    MDB_val key = db_val(node->bytes, NODE_ID_SIZE);
    MDB_val data;
    struct box_certificate certificate;
    int rc;

    assert(self->is_reading);
    rc = mdb_get(self->reader, self->certificates, &key, &data);
    if (rc != 0)
        return err_of(rc);
    if (box_certificate_get(db_bytes(&data), &certificate) != LB_OK ||
        policy_is_over(certificate.ends_s, now_s))
        return LB_NOT_FOUND;
    *ret_certificate = certificate;
    return LB_OK;
}

static struct quota_record usage_of(struct db *self, const struct policy_key *key)
{
    MDB_val name = db_val(key->bytes, key->size);
    MDB_val data;
    struct quota_record used = { 0 };

    if (mdb_get(self->reader, self->quotas, &name, &data) != 0 ||
        quota_record_get(db_bytes(&data), &used) != LB_OK)
        used = (struct quota_record){ 0 };
    return used;
}

enum box_limit db_read_admits(struct db *self, const struct node_id *recipient,
                              const struct node_id *sender, bool is_neighbour, uint32_t size)
{
    const struct policy_key all = box_key_of_all();
    const struct policy_key of_sender = box_key_of_sender(sender);
    const struct policy_key of_recipient = box_key_of_recipient(recipient);
    struct box_usage usage;

    assert(self->is_reading);
    usage.all = usage_of(self, &all);
    usage.sender = usage_of(self, &of_sender);
    usage.recipient = usage_of(self, &of_recipient);
    return box_admit(&usage, box_cost(size), is_neighbour, self->options.map_bytes);
}

/* ---- boxes ---- */

static bool is_held(const MDB_val *data, uint64_t now_s, struct box_record *ret_record)
{
    return box_record_get(db_bytes(data), ret_record) == LB_OK &&
           (ret_record->mails > 0 || ret_record->has_certificate) &&
           !policy_is_over(ret_record->ends_s, now_s);
}

lb_err db_read_box(struct db *self, const struct node_id *recipient, uint64_t now_s,
                   struct box_record *ret_record)
{
    MDB_val key = db_val(recipient->bytes, NODE_ID_SIZE);
    MDB_val data;
    struct box_record record;
    int rc;

    assert(self->is_reading);
    rc = mdb_get(self->reader, self->boxes, &key, &data);
    if (rc != 0)
        return err_of(rc);
    if (!is_held(&data, now_s, &record))
        return LB_NOT_FOUND;
    *ret_record = record;
    return LB_OK;
}

lb_err db_read_next_box(struct db *self, const struct node_id *from, uint64_t now_s,
                        struct node_id *ret_recipient, struct box_record *ret_record)
{
    MDB_val key = db_val(from->bytes, NODE_ID_SIZE);
    MDB_val data;
    MDB_cursor *cursor;
    struct box_record record;
    int rc;

    assert(self->is_reading);
    rc = mdb_cursor_open(self->reader, self->boxes, &cursor);
    if (rc != 0)
        return LB_IO;
    rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    while (rc == 0 && (key.mv_size != NODE_ID_SIZE || !is_held(&data, now_s, &record)))
        rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    if (rc == 0) {
        *ret_recipient = db_target_of(&key);
        *ret_record = record;
    }
    mdb_cursor_close(cursor);
    return err_of(rc);
}

/* The look for the box behind `skip` others. */
struct box_look {
    struct db *db;
    const struct db_range *range;
    uint64_t now_s;
    uint32_t skip;
    uint32_t ended, others; /* passed over so far */
    lb_err err;             /* LB_OK: found */
    struct node_id recipient;
    struct box_record record;
};

static bool look_at_box(void *ctx, const struct due_record *due)
{
    struct box_look *self = ctx;

    if (!db_range_has(self->range, &due->id))
        return ++self->others < DB_OTHERS_WALK_MAX;
    self->recipient = node_id_from(due->id.data);
    self->err = db_read_box(self->db, &self->recipient, self->now_s, &self->record);
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

lb_err db_read_box_check(struct db *self, const struct db_range *range, uint32_t skip,
                         uint64_t now_s, struct node_id *ret_recipient,
                         struct box_record *ret_record)
{
    struct box_look look = {
        .db = self, .range = range, .now_s = now_s, .skip = skip, .err = LB_NOT_FOUND
    };

    assert(self->is_reading);
    if (db_due_walk(self->reader, self->due, DUE_BOX, look_at_box, &look) != 0)
        return LB_IO;
    if (look.err != LB_OK)
        return look.err;
    *ret_recipient = look.recipient;
    *ret_record = look.record;
    return LB_OK;
}

uint32_t db_read_boxes_overdue(struct db *self, const struct db_range *range, uint64_t before_s,
                               uint32_t max)
{
    assert(self->is_reading);
    return db_due_count(self->reader, self->due, DUE_BOX, range, before_s, max);
}

void db_read_box_stats(struct db *self, struct db_box_stats *ret_stats)
{
    const struct policy_key all = box_key_of_all();
    struct quota_record used;
    MDB_stat stat;

    assert(self->is_reading);
    used = usage_of(self, &all);
    *ret_stats = (struct db_box_stats){ .mails = used.count, .bytes = used.bytes };
    if (mdb_stat(self->reader, self->certificates, &stat) == 0)
        ret_stats->certificates = stat.ms_entries;
}
