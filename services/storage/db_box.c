/* Writing to the box: keeping and dropping mail, certificates, the times of its checks. */
#include "services/storage/db_tables.h"

#include <string.h>

static MDB_val mail_key(const struct box_mail *mail, uint8_t buffer[BOX_KEY_SIZE])
{
    memcpy(buffer, mail->recipient.bytes, NODE_ID_SIZE);
    memcpy(buffer + NODE_ID_SIZE, mail->id, BOX_ID_SIZE);
    return db_val(buffer, BOX_KEY_SIZE);
}

static MDB_val id_key(const struct node_id *id)
{
    return db_val(id->bytes, NODE_ID_SIZE);
}

static struct bytes id_bytes(const struct node_id *id)
{
    return bytes_of(id->bytes, NODE_ID_SIZE);
}

static int none_is_well(int rc)
{
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int drop_row(struct db_write *write, MDB_dbi table, MDB_val key)
{
    return none_is_well(mdb_del(write->txn, table, &key, NULL));
}

/* ---- boxes ---- */

/* Zeroed when there is none, or it is damaged. */
static int read_box(struct db_write *write, const struct node_id *recipient,
                    struct box_record *ret_box)
{
    MDB_val key = id_key(recipient);
    MDB_val data;
    int rc = mdb_get(write->txn, write->db->boxes, &key, &data);

    if (rc != 0 || box_record_get(db_bytes(&data), ret_box) != LB_OK)
        *ret_box = (struct box_record){ 0 };
    return none_is_well(rc);
}

static int put_box(struct db_write *write, const struct node_id *recipient,
                   const struct box_record *box)
{
    uint8_t buffer[BOX_RECORD_MAX];
    struct writer writer;
    MDB_val key = id_key(recipient);
    MDB_val data;

    writer_init(&writer, buffer, sizeof buffer);
    box_record_put(box, &writer);
    data = db_val_of(&writer);
    return mdb_put(write->txn, write->db->boxes, &key, &data, 0);
}

/* A box in which there is nothing any more goes. */
static int change_box(struct db_write *write, const struct node_id *recipient,
                      const struct box_record *from, const struct box_record *to)
{
    bool is_there = to->mails > 0 || to->has_certificate;
    uint64_t check_s = is_there ? to->check_s : 0;
    int rc = 0;

    if (from->check_s > 0 && from->check_s != check_s)
        rc = db_due_drop(write, DUE_BOX, from->check_s, id_bytes(recipient));
    if (rc == 0 && check_s > 0 && from->check_s != check_s)
        rc = db_due_set(write, DUE_BOX, check_s, id_bytes(recipient));
    if (rc != 0)
        return rc;
    return is_there ? put_box(write, recipient, to)
                    : drop_row(write, write->db->boxes, id_key(recipient));
}

/* Something came that ends then. */
static void add_to_box(struct box_record *box, uint64_t ends_s, uint64_t check_s, uint64_t now_s)
{
    if (box->mails == 0 && !box->has_certificate) {
        box->check_s = check_s;
        box->checked_s = now_s;
        box->calm = 0;
    }
    box->changes++;
    if (ends_s > box->ends_s)
        box->ends_s = ends_s;
}

static int take_from_box(struct db_write *write, const struct node_id *recipient, bool is_mail)
{
    struct box_record box;
    struct box_record left;
    int rc = read_box(write, recipient, &box);

    left = box;
    if (is_mail)
        left.mails -= left.mails > 0;
    else
        left.has_certificate = false;
    return rc != 0 ? rc : change_box(write, recipient, &box, &left);
}

/* ---- mail ---- */

static int find_mail(struct db_write *write, const struct box_mail *mail,
                     struct box_mail_record *ret_record)
{
    uint8_t buffer[BOX_KEY_SIZE];
    MDB_val key = mail_key(mail, buffer);
    MDB_val data;
    int rc = mdb_get(write->txn, write->db->mails, &key, &data);

    if (rc == 0 && box_mail_get(db_bytes(&data), ret_record) != LB_OK)
        return MDB_NOTFOUND; /* damaged: the next one replaces it */
    return rc;
}

static int put_head(struct db_write *write, const struct box_mail *mail,
                    const struct box_mail_record *record)
{
    uint8_t key_buffer[BOX_KEY_SIZE];
    uint8_t buffer[BOX_RECORD_MAX];
    struct writer writer;
    MDB_val key = mail_key(mail, key_buffer);
    MDB_val data;

    writer_init(&writer, buffer, sizeof buffer);
    box_mail_put(record, &writer);
    data = db_val_of(&writer);
    return mdb_put(write->txn, write->db->mails, &key, &data, 0);
}

static int count_mail(struct db_write *write, const struct box_mail *mail,
                      const struct box_mail_record *record, int64_t count)
{
    const struct policy_key keys[] = { box_key_of_all(), box_key_of_sender(&record->sender),
                                       box_key_of_recipient(&mail->recipient) };
    int64_t bytes = count * (int64_t)box_cost(record->size);
    int rc = 0;

    for (size_t i = 0; i < sizeof keys / sizeof *keys && rc == 0; i++)
        rc = db_quota_add(write, &keys[i], count, bytes);
    return rc;
}

static int count_dropped(struct db_write *write, int64_t count)
{
    const struct policy_key key = box_key_of_dropped();

    return db_quota_add(write, &key, count, 0);
}

/* Its bytes go, and what it counted for; the head stands still. */
static int empty_mail(struct db_write *write, const struct box_mail *mail,
                      const struct box_mail_record *record)
{
    uint8_t buffer[BOX_KEY_SIZE];
    int rc = drop_row(write, write->db->mail_bytes, mail_key(mail, buffer));

    if (rc == 0)
        rc = count_mail(write, mail, record, -1);
    return rc != 0 ? rc : take_from_box(write, &mail->recipient, true);
}

static int remove_mail(struct db_write *write, const struct box_mail *mail,
                       const struct box_mail_record *record)
{
    uint8_t buffer[BOX_KEY_SIZE];
    MDB_val key = mail_key(mail, buffer);
    int rc = record->is_dropped ? count_dropped(write, -1) : empty_mail(write, mail, record);

    if (rc == 0)
        rc = drop_row(write, write->db->mails, key);
    return rc != 0 ? rc : db_due_drop(write, DUE_MAIL, record->ends_s + 1, db_bytes(&key));
}

/* Its head cannot be read, or is not there: what it counted for by sender is not known any more. */
static int remove_damaged(struct db_write *write, const struct box_mail *mail)
{
    uint8_t buffer[BOX_KEY_SIZE];
    MDB_val key = mail_key(mail, buffer);
    int rc = drop_row(write, write->db->mail_bytes, key);

    if (rc == 0)
        rc = mdb_del(write->txn, write->db->mails, &key, NULL);
    return rc == 0 ? take_from_box(write, &mail->recipient, true) : none_is_well(rc);
}

static int read_usage(struct db_write *write, const struct db_keep *keep,
                      struct box_usage *ret_usage)
{
    const struct policy_key all = box_key_of_all();
    const struct policy_key sender = box_key_of_sender(&keep->sender);
    const struct policy_key recipient = box_key_of_recipient(&keep->mail.recipient);
    int rc = db_quota_read(write, &all, &ret_usage->all);

    if (rc == 0)
        rc = db_quota_read(write, &sender, &ret_usage->sender);
    return rc != 0 ? rc : db_quota_read(write, &recipient, &ret_usage->recipient);
}

static int store_mail(struct db_write *write, const struct db_keep *keep,
                      const struct box_mail_record *record, uint64_t now_s)
{
    uint8_t buffer[BOX_KEY_SIZE];
    MDB_val key = mail_key(&keep->mail, buffer);
    MDB_val data = db_val(keep->data.data, keep->data.size);
    struct box_record box;
    struct box_record filled;
    int rc = put_head(write, &keep->mail, record);

    if (rc == 0)
        rc = mdb_put(write->txn, write->db->mail_bytes, &key, &data, 0);
    if (rc == 0)
        rc = db_due_set(write, DUE_MAIL, record->ends_s + 1, db_bytes(&key));
    if (rc == 0)
        rc = count_mail(write, &keep->mail, record, 1);
    if (rc == 0)
        rc = read_box(write, &keep->mail.recipient, &box);
    if (rc != 0)
        return rc;
    filled = box;
    add_to_box(&filled, record->ends_s, keep->check_s, now_s);
    filled.mails++;
    return change_box(write, &keep->mail.recipient, &box, &filled);
}

int db_keep_mail_apply(struct db_write *write, struct db_op *op)
{
    struct db_keep *keep = &op->keep;
    const struct box_mail_record record = { .sender = keep->sender,
                                            .size = (uint32_t)keep->data.size,
                                            .first_s = op->now_s,
                                            .ends_s = op->now_s + keep->keep_s };
    uint64_t pages = box_cost(record.size) / write->db->page_bytes + 1;
    struct box_mail_record held;
    struct box_usage usage;
    int rc = find_mail(write, &keep->mail, &held);

    keep->limit = BOX_ROOM;
    if (rc == 0 && !policy_is_over(held.ends_s, op->now_s))
        return 0;
    if (rc == 0)
        rc = remove_mail(write, &keep->mail, &held); /* it waits for the sweep */
    if (none_is_well(rc) != 0)
        return rc;
    if (write->low_space) {
        op->err = LB_NO_SPACE;
        return 0;
    }
    rc = read_usage(write, keep, &usage);
    if (rc != 0)
        return rc;
    keep->limit =
        box_admit(&usage, box_cost(record.size), keep->is_neighbour, write->db->options.map_bytes);
    if (keep->limit == BOX_ROOM &&
        db_all_pages(write) + pages > policy_all_pages(write->db->map_pages))
        keep->limit = BOX_FULL;
    if (keep->limit != BOX_ROOM) {
        op->err = LB_FULL;
        return 0;
    }
    return store_mail(write, keep, &record, op->now_s);
}

static int drop_one(struct db_write *write, const struct box_mail *mail, uint32_t *dropped)
{
    const struct policy_key key = box_key_of_dropped();
    struct box_mail_record record;
    struct quota_record used;
    int rc = find_mail(write, mail, &record);

    if (rc != 0)
        return none_is_well(rc);
    if (record.is_dropped)
        return 0;
    ++*dropped;
    rc = db_quota_read(write, &key, &used);
    if (rc != 0)
        return rc;
    if (used.count >= BOX_DROPPED_MAX)
        return remove_mail(write, mail, &record);
    rc = empty_mail(write, mail, &record);
    record.is_dropped = true;
    if (rc == 0)
        rc = put_head(write, mail, &record);
    return rc != 0 ? rc : count_dropped(write, 1);
}

int db_drop_mail_apply(struct db_write *write, struct db_op *op)
{
    struct db_drop_mail *drop = &op->drop_mail;
    int rc = 0;

    drop->dropped = 0;
    for (size_t i = 0; i < drop->count && rc == 0; i++) {
        struct box_mail mail = { .recipient = drop->recipient };

        memcpy(mail.id, drop->ids[i], BOX_ID_SIZE);
        rc = drop_one(write, &mail, &drop->dropped);
    }
    return rc;
}

int db_mail_due(struct db_write *write, struct bytes id, uint64_t now_s, bool *ret_removed)
{
    struct box_mail mail;
    struct box_mail_record record;
    int rc;

    if (id.size != BOX_KEY_SIZE)
        return 0;
    mail.recipient = node_id_from(id.data);
    memcpy(mail.id, id.data + NODE_ID_SIZE, BOX_ID_SIZE);
    rc = find_mail(write, &mail, &record);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? remove_damaged(write, &mail) : rc;
    if (!policy_is_over(record.ends_s, now_s))
        return db_due_set(write, DUE_MAIL, record.ends_s + 1, id);
    *ret_removed = true;
    return remove_mail(write, &mail, &record);
}

/* ---- certificates ---- */

static int find_certificate(struct db_write *write, const struct node_id *node,
                            struct box_certificate *ret_certificate)
{
    MDB_val key = id_key(node);
    MDB_val data;
    int rc = mdb_get(write->txn, write->db->certificates, &key, &data);

    if (rc == 0 && box_certificate_get(db_bytes(&data), ret_certificate) != LB_OK)
        return MDB_NOTFOUND;
    return rc;
}

static int store_certificate(struct db_write *write, const struct db_certify *certify,
                             uint64_t now_s)
{
    const struct box_certificate *certificate = &certify->certificate;
    uint8_t buffer[BOX_RECORD_MAX];
    struct writer writer;
    MDB_val key = id_key(&certify->node);
    MDB_val data;
    struct box_record box;
    struct box_record filled;
    int rc;

    writer_init(&writer, buffer, sizeof buffer);
    box_certificate_put(certificate, &writer);
    data = db_val_of(&writer);
    rc = mdb_put(write->txn, write->db->certificates, &key, &data, 0);
    if (rc == 0)
        rc = db_due_set(write, DUE_CERTIFICATE, certificate->ends_s + 1, id_bytes(&certify->node));
    if (rc == 0)
        rc = read_box(write, &certify->node, &box);
    if (rc != 0)
        return rc;
    filled = box;
    add_to_box(&filled, certificate->ends_s, certify->check_s, now_s);
    filled.has_certificate = true;
    return change_box(write, &certify->node, &box, &filled);
}

int db_certify_apply(struct db_write *write, struct db_op *op)
{
    struct db_certify *certify = &op->certify;
    struct box_certificate held;
    bool is_new;
    MDB_stat stat;
    int rc = find_certificate(write, &certify->node, &held);

    if (rc == 0 && !box_certificate_is_newer(&certify->certificate, &held)) {
        bool is_older = box_certificate_is_newer(&held, &certify->certificate);

        op->err = is_older ? LB_CONFLICT : LB_OK;
        return 0;
    }
    if (write->low_space) {
        op->err = LB_NO_SPACE;
        return 0;
    }
    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    is_new = rc == MDB_NOTFOUND;
    rc = is_new ? mdb_stat(write->txn, write->db->certificates, &stat)
                : db_due_drop(write, DUE_CERTIFICATE, held.ends_s + 1, id_bytes(&certify->node));
    if (rc == 0 && is_new && stat.ms_entries >= BOX_CERTIFICATES_MAX) {
        op->err = LB_FULL;
        return 0;
    }
    return rc != 0 ? rc : store_certificate(write, certify, op->now_s);
}

static int remove_certificate(struct db_write *write, const struct node_id *node,
                              const struct box_certificate *certificate)
{
    uint64_t ends_s = certificate->ends_s; /* it points into the row that goes */
    int rc = drop_row(write, write->db->certificates, id_key(node));

    if (rc == 0)
        rc = db_due_drop(write, DUE_CERTIFICATE, ends_s + 1, id_bytes(node));
    return rc != 0 ? rc : take_from_box(write, node, false);
}

int db_certificate_due(struct db_write *write, struct bytes id, uint64_t now_s, bool *ret_removed)
{
    struct node_id node = node_id_from(id.data);
    struct box_certificate certificate;
    int rc = find_certificate(write, &node, &certificate);

    if (rc != 0)
        return none_is_well(rc);
    if (!policy_is_over(certificate.ends_s, now_s))
        return db_due_set(write, DUE_CERTIFICATE, certificate.ends_s + 1, id);
    *ret_removed = true;
    return remove_certificate(write, &node, &certificate);
}

/* ---- checks ---- */

/* A box that is there has changed at least once. */
static int find_box(struct db_write *write, struct db_op *op, struct box_record *ret_box)
{
    int rc = read_box(write, &op->box.recipient, ret_box);

    if (rc == 0 && ret_box->changes == 0)
        op->err = LB_NOT_FOUND;
    return rc;
}

int db_set_box_apply(struct db_write *write, struct db_op *op)
{
    struct box_record box;
    struct box_record checked;
    int rc = find_box(write, op, &box);

    if (rc != 0 || op->err != LB_OK)
        return rc;
    checked = box;
    checked.check_s = op->box.check_s;
    checked.checked_s = op->box.checked_s;
    checked.calm = op->box.calm;
    return change_box(write, &op->box.recipient, &box, &checked);
}

/* The first mail of a recipient, dropped or not; MDB_NOTFOUND. */
static int first_mail(struct db_write *write, const struct node_id *recipient,
                      struct box_mail *ret_mail)
{
    MDB_val key = id_key(recipient); /* before all that begin with it */
    MDB_val data;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(write->txn, write->db->mails, &cursor);

    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    if (rc == 0 &&
        (key.mv_size != BOX_KEY_SIZE || memcmp(key.mv_data, recipient->bytes, NODE_ID_SIZE) != 0))
        rc = MDB_NOTFOUND;
    if (rc == 0) {
        ret_mail->recipient = *recipient;
        memcpy(ret_mail->id, (const uint8_t *)key.mv_data + NODE_ID_SIZE, BOX_ID_SIZE);
    }
    mdb_cursor_close(cursor);
    return rc;
}

static int remove_mails(struct db_write *write, const struct node_id *recipient)
{
    struct box_mail mail;
    struct box_mail_record record;
    int rc;

    while ((rc = first_mail(write, recipient, &mail)) == 0) {
        rc = find_mail(write, &mail, &record);
        if (rc == 0)
            rc = remove_mail(write, &mail, &record);
        else if (rc == MDB_NOTFOUND)
            rc = remove_damaged(write, &mail);
        if (rc != 0)
            return rc;
    }
    return none_is_well(rc);
}

int db_drop_box_apply(struct db_write *write, struct db_op *op)
{
    const struct node_id *recipient = &op->box.recipient;
    struct box_certificate certificate;
    struct box_record box;
    int rc = find_box(write, op, &box);

    if (rc == 0 && box.changes != op->box.changes)
        op->err = LB_NOT_FOUND;
    if (rc != 0 || op->err != LB_OK)
        return rc;
    rc = remove_mails(write, recipient);
    if (rc != 0)
        return rc;
    rc = find_certificate(write, recipient, &certificate);
    if (rc != 0)
        return none_is_well(rc);
    return remove_certificate(write, recipient, &certificate);
}
