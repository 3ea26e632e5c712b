#include "services/member/inbox.h"

#include "libcommon/memory.h"
#include "services/member/inbox_inside.h"

#include <stdlib.h>
#include <string.h>

#define SHARE_SIZE (4 + 8)              /* of senders: messages, bytes */
#define END_SIZE   (8 + INBOX_ID_SIZE)  /* a key of ends */
#define REFUSE(rc) (-30000 - (int)(rc)) /* an lb_err among LMDB's codes (-30799 to -30780) */

/* One write transaction: everything in it, or nothing. */
struct write {
    struct inbox *inbox;
    MDB_txn *txn;
};

static lb_err err_of(int rc)
{
    return rc <= REFUSE(0) && rc > REFUSE(100) ? (lb_err)(-30000 - rc) : lb_err_of_lmdb(rc);
}

static lb_err begin(struct inbox *self, struct write *ret_write)
{
    ret_write->inbox = self;
    return lb_err_of_lmdb(mdb_txn_begin(self->env, NULL, 0, &ret_write->txn));
}

/* Commits if rc is 0; a commit that fails for want of room has written nothing. */
static lb_err finish(struct write *write, int rc)
{
    if (rc != 0) {
        mdb_txn_abort(write->txn);
        return err_of(rc);
    }
    return lb_err_of_lmdb(mdb_txn_commit(write->txn));
}

static uint64_t entries(const struct write *write, MDB_dbi table)
{
    MDB_stat stat;

    return mdb_stat(write->txn, table, &stat) == 0 ? stat.ms_entries : 0;
}

/* ---- what was had ---- */

static int has_seen(const struct write *write, const uint8_t *id, bool *ret_seen)
{
    MDB_val key = inbox_val(id, INBOX_ID_SIZE);
    MDB_val data;
    int rc = mdb_get(write->txn, write->inbox->seen, &key, &data);

    *ret_seen = rc == 0;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int remember(const struct write *write, const uint8_t *id, uint64_t until_s)
{
    uint8_t until[8];
    uint8_t end[END_SIZE];
    MDB_val key = inbox_val(id, INBOX_ID_SIZE);
    MDB_val data = inbox_val(until, sizeof(until));
    MDB_val end_key = inbox_val(end, sizeof(end));
    MDB_val nothing = inbox_val(NULL, 0);
    int rc;

    store_u64(until, until_s);
    store_u64(end, until_s);
    memcpy(end + 8, id, INBOX_ID_SIZE);
    rc = mdb_put(write->txn, write->inbox->seen, &key, &data, 0);
    return rc == 0 ? mdb_put(write->txn, write->inbox->ends, &end_key, &nothing, 0) : rc;
}

/* ---- shares of the room ---- */

struct share {
    uint32_t messages;
    uint64_t bytes;
};

static int get_share(const struct write *write, const struct node_id *sender,
                     struct share *ret_share)
{
    MDB_val key = inbox_val(sender->bytes, NODE_ID_SIZE);
    MDB_val data;
    int rc = mdb_get(write->txn, write->inbox->senders, &key, &data);

    *ret_share = (struct share){ .messages = 0 };
    if (rc == 0 && data.mv_size == SHARE_SIZE) {
        ret_share->messages = load_u32(data.mv_data);
        ret_share->bytes = load_u64((const uint8_t *)data.mv_data + 4);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int put_share(const struct write *write, const struct node_id *sender,
                     const struct share *share)
{
    uint8_t bytes[SHARE_SIZE];
    MDB_val key = inbox_val(sender->bytes, NODE_ID_SIZE);
    MDB_val data = inbox_val(bytes, sizeof(bytes));
    int rc;

    if (share->messages == 0) {
        rc = mdb_del(write->txn, write->inbox->senders, &key, NULL);
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    store_u32(bytes, share->messages);
    store_u64(bytes + 4, share->bytes);
    return mdb_put(write->txn, write->inbox->senders, &key, &data, 0);
}

/* Counts a message of this size in, or LB_FULL. */
static int count_in(const struct write *write, const struct node_id *sender, size_t size)
{
    struct share share;
    uint64_t bytes;
    int rc = get_share(write, sender, &share);

    if (rc == 0) {
        rc = inbox_get_meta(write->inbox, write->txn, "bytes", &bytes);
    }
    if (rc != 0) {
        return rc;
    }
    if (entries(write, write->inbox->mails) >= INBOX_MESSAGES_MAX ||
        bytes + size > INBOX_BYTES_MAX || share.messages >= INBOX_SENDER_MESSAGES_MAX ||
        share.bytes + size > INBOX_SENDER_BYTES_MAX ||
        entries(write, write->inbox->seen) + 2 > INBOX_SEEN_MAX) {
        return REFUSE(LB_FULL);
    }
    share.messages++;
    share.bytes += size;
    rc = put_share(write, sender, &share);
    return rc == 0 ? inbox_put_meta(write->inbox, write->txn, "bytes", bytes + size) : rc;
}

static int count_out(const struct write *write, const struct node_id *sender, size_t size)
{
    struct share share;
    uint64_t bytes = 0;
    int rc = get_share(write, sender, &share);

    if (rc == 0) {
        rc = inbox_get_meta(write->inbox, write->txn, "bytes", &bytes);
    }
    if (rc != 0) {
        return rc;
    }
    share.messages -= share.messages > 0 ? 1 : 0;
    share.bytes -= share.bytes > size ? size : share.bytes;
    rc = put_share(write, sender, &share);
    bytes -= bytes > size ? size : bytes;
    return rc == 0 ? inbox_put_meta(write->inbox, write->txn, "bytes", bytes) : rc;
}

/* ---- messages ---- */

static int put_mail(const struct write *write, const struct inbox_mail *mail, uint64_t number)
{
    uint8_t name[8];
    uint8_t *record = xmalloc(INBOX_HEAD_SIZE + mail->text.size);
    struct writer writer;
    MDB_val key = inbox_val(name, sizeof(name));
    MDB_val data = inbox_val(record, INBOX_HEAD_SIZE + mail->text.size);
    int rc;

    store_u64(name, number);
    writer_init(&writer, record, INBOX_HEAD_SIZE + mail->text.size);
    writer_put(&writer, mail->id, INBOX_ID_SIZE);
    writer_put(&writer, mail->sender.bytes, NODE_ID_SIZE);
    writer_u64(&writer, mail->sent_s);
    writer_u64(&writer, mail->received_s);
    writer_put(&writer, mail->text.data, mail->text.size);
    rc = mdb_put(write->txn, write->inbox->mails, &key, &data, 0);
    free(record);
    return rc;
}

static int take(const struct write *write, const struct inbox_mail *mail, uint64_t *ret_number)
{
    bool by_id = false;
    bool by_name = false;
    uint64_t last = 0;
    int rc = has_seen(write, mail->id, &by_id);

    if (rc == 0) {
        rc = has_seen(write, mail->name, &by_name);
    }
    if (rc == 0 && (by_id || by_name)) {
        return REFUSE(LB_EXISTS);
    }
    if (rc == 0) {
        rc = count_in(write, &mail->sender, mail->text.size);
    }
    if (rc == 0) {
        rc = inbox_get_meta(write->inbox, write->txn, "next", &last);
    }
    if (rc == 0) {
        rc = inbox_put_meta(write->inbox, write->txn, "next", last + 1);
    }
    if (rc == 0) {
        rc = put_mail(write, mail, last + 1);
    }
    if (rc == 0) {
        rc = remember(write, mail->id, mail->until_s);
    }
    *ret_number = last + 1;
    return rc == 0 ? remember(write, mail->name, mail->until_s) : rc;
}

lb_err inbox_put(struct inbox *self, const struct inbox_mail *mail, uint64_t *ret_number)
{
    uint64_t number = 0;
    struct write write;
    lb_err err = begin(self, &write);

    if (err == LB_OK) {
        err = finish(&write, take(&write, mail, &number));
    }
    if (err == LB_OK) {
        *ret_number = number;
    }
    return err;
}

static int delete_mail(const struct write *write, uint64_t number)
{
    uint8_t name[8];
    MDB_val key = inbox_val(name, sizeof(name));
    MDB_val data;
    struct node_id sender;
    size_t size;
    int rc;

    store_u64(name, number);
    rc = mdb_get(write->txn, write->inbox->mails, &key, &data);
    if (rc != 0) {
        return rc;
    }
    if (data.mv_size < INBOX_HEAD_SIZE) {
        return MDB_CORRUPTED;
    }
    sender = node_id_from((const uint8_t *)data.mv_data + INBOX_ID_SIZE);
    size = data.mv_size - INBOX_HEAD_SIZE;
    rc = mdb_del(write->txn, write->inbox->mails, &key, NULL);
    return rc == 0 ? count_out(write, &sender, size) : rc;
}

lb_err inbox_remove(struct inbox *self, uint64_t number)
{
    struct write write;
    lb_err err = begin(self, &write);

    return err == LB_OK ? finish(&write, delete_mail(&write, number)) : err;
}

/* ---- forgetting ---- */

/* The one that ends first, if it has; MDB_NOTFOUND: none has. */
static int first_ended(MDB_cursor *cursor, uint64_t now_s, uint8_t ret_id[INBOX_ID_SIZE])
{
    MDB_val key;
    MDB_val data;
    int rc = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);

    if (rc != 0) {
        return rc;
    }
    if (key.mv_size != END_SIZE) {
        return MDB_CORRUPTED;
    }
    if (load_u64(key.mv_data) >= now_s) {
        return MDB_NOTFOUND;
    }
    memcpy(ret_id, (const uint8_t *)key.mv_data + 8, INBOX_ID_SIZE);
    return 0;
}

static int sweep(const struct write *write, uint64_t now_s, unsigned budget, bool *ret_more)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(write->txn, write->inbox->ends, &cursor);

    if (rc != 0) {
        return rc;
    }
    *ret_more = true;
    for (unsigned i = 0; i < budget; i++) {
        uint8_t id[INBOX_ID_SIZE];
        MDB_val key = inbox_val(id, sizeof(id));

        rc = first_ended(cursor, now_s, id);
        if (rc != 0) {
            break;
        }
        rc = mdb_cursor_del(cursor, 0);
        if (rc == 0) {
            rc = mdb_del(write->txn, write->inbox->seen, &key, NULL);
        }
        if (rc != 0) {
            break;
        }
    }
    mdb_cursor_close(cursor);
    if (rc == MDB_NOTFOUND) {
        *ret_more = false;
        return 0;
    }
    return rc;
}

lb_err inbox_sweep(struct inbox *self, uint64_t now_s, unsigned budget, bool *ret_more)
{
    struct write write;
    lb_err err = begin(self, &write);

    return err == LB_OK ? finish(&write, sweep(&write, now_s, budget, ret_more)) : err;
}
