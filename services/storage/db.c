/* Carrying out operations, and reading. */
#include "services/storage/db_tables.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#define PAGES_AN_OP 3u /* that an operation may add to the file, on average */

/* ---- writing ---- */

static int sweep_one(struct db_write *write, const struct due_record *due, uint64_t now_s,
                     bool *ret_removed)
{
    int rc = db_due_drop(write, due->kind, due->due_s, due->id);

    if (rc != 0)
        return rc;
    switch (due->kind) {
    case DUE_ITEM:
        return db_item_due(write, due->id, now_s, ret_removed);
    case DUE_PEER:
        return db_peer_due(write, due->id, now_s, ret_removed);
    case DUE_SEEN:
        return db_seen_due(write, due->id, now_s, ret_removed);
    case DUE_MAIL:
        return db_mail_due(write, due->id, now_s, ret_removed);
    case DUE_CERTIFICATE:
        return db_certificate_due(write, due->id, now_s, ret_removed);
    default:
        return 0;
    }
}

static int sweep_apply(struct db_write *write, struct db_op *op)
{
    static const enum due_kind kinds[] = { DUE_ITEM, DUE_PEER, DUE_SEEN, DUE_MAIL,
                                           DUE_CERTIFICATE };
    uint32_t left = op->sweep.budget;
    uint8_t id[RECORD_DUE_ID_MAX];
    struct due_record due;

    op->sweep.removed = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        int rc = 0;

        for (; left > 0 && rc == 0; left--) {
            bool removed = false;

            rc = db_due_first(write->txn, write->db->due, kinds[i], NULL, op->now_s, &due, id);
            if (rc == 0)
                rc = sweep_one(write, &due, op->now_s, &removed);
            op->sweep.removed += removed;
        }
        if (rc != 0 && rc != MDB_NOTFOUND)
            return rc;
    }
    op->sweep.more = left == 0;
    return 0;
}

static int save_clock_apply(struct db_write *write, struct db_op *op)
{
    store_clock_advance(&write->db->saved_clock, &op->moment);
    return db_put_clock(write->db, write->txn, &write->db->saved_clock);
}

typedef int apply_fn(struct db_write *write, struct db_op *op);

static apply_fn *const appliers[] = {
    [DB_PUT] = db_put_apply,
    [DB_ANNOUNCE] = db_announce_apply,
    [DB_PUBLISH] = db_publish_apply,
    [DB_PRUNE] = db_prune_apply,
    [DB_UNPUBLISH] = db_unpublish_apply,
    [DB_TAKE_DUE] = db_take_apply,
    [DB_SWEEP] = sweep_apply,
    [DB_SAVE_CLOCK] = save_clock_apply,
    [DB_SET_CHECK] = db_set_check_apply,
    [DB_DROP] = db_drop_apply,
    [DB_KEEP_MAIL] = db_keep_mail_apply,
    [DB_DROP_MAIL] = db_drop_mail_apply,
    [DB_PUT_CERTIFICATE] = db_certify_apply,
    [DB_SET_BOX] = db_set_box_apply,
    [DB_DROP_BOX] = db_drop_box_apply,
};

static int try_together(struct db_write *write, struct db_op *first, const struct db_op *end)
{
    int rc = mdb_txn_begin(write->db->env, NULL, 0, &write->txn);

    if (rc != 0)
        return rc;
    for (struct db_op *op = first; op != end && rc == 0; op = op->next) {
        op->err = LB_OK;
        rc = appliers[op->kind](write, op);
    }
    if (rc != 0) {
        mdb_txn_abort(write->txn);
        return rc;
    }
    return mdb_txn_commit(write->txn);
}

static size_t count_ops(const struct db_op *first, const struct db_op *end)
{
    size_t count = 0;

    for (const struct db_op *op = first; op != end; op = op->next)
        count++;
    return count;
}

static void fail_all(struct db_op *first, const struct db_op *end, lb_err err)
{
    for (struct db_op *op = first; op != end; op = op->next) {
        op->err = err;
        if (op->kind == DB_PUT)
            op->put.verdict = ITEM_REFUSED;
        if (op->kind == DB_TAKE_DUE)
            op->take.taken_count = 0;
        if (op->kind == DB_SWEEP)
            op->sweep.more = false;
    }
}

/* What the file system has left above the reserve; negative below it. */
static int64_t spare_bytes(const struct db *self)
{
    struct statvfs file_system;
    uint64_t unit;

    if (statvfs(self->options.folder, &file_system) != 0)
        return INT64_MAX;
    unit = file_system.f_frsize;
    return (int64_t)(file_system.f_bavail * unit) -
           (int64_t)policy_reserve_bytes(file_system.f_blocks * unit);
}

bool db_has_room(const struct db *self)
{
    return spare_bytes(self) >= 0;
}

/* LMDB calls a write that the full disk cut short an I/O error; it has undone the transaction. */
static lb_err commit_err(const struct db *self, int rc)
{
    if (rc == EIO && spare_bytes(self) < 0)
        return LB_NO_SPACE;
    return lb_err_of_lmdb(rc);
}

static lb_err apply_range(struct db_write *write, struct db_op *first, struct db_op *end);

static lb_err apply_halves(struct db_write *write, struct db_op *first, struct db_op *end,
                           size_t count)
{
    struct db_op *middle = first;
    lb_err err;

    for (size_t i = 0; i < count / 2; i++)
        middle = middle->next;
    err = apply_range(write, first, middle);
    if (err == LB_OK)
        return apply_range(write, middle, end);
    fail_all(middle, end, err);
    return err;
}

/* One operation that found no room: only a sweep can be made smaller. */
static lb_err apply_smaller(struct db_write *write, struct db_op *op)
{
    if (op->kind == DB_SWEEP && op->sweep.budget > 1) {
        op->sweep.budget /= 4;
        op->sweep.budget += op->sweep.budget == 0;
        return apply_range(write, op, op->next);
    }
    fail_all(op, op->next, LB_NO_SPACE);
    return LB_OK;
}

/*
 * A transaction that finds no room is undone as a whole, so the group is halved until what fits is
 * stored and what does not stands alone; near the reserve of the disk it is halved beforehand. The
 * depth of the recursion is the logarithm of the count.
 */
static lb_err apply_range(struct db_write *write, struct db_op *first, struct db_op *end)
{
    size_t count = count_ops(first, end);
    int64_t spare = spare_bytes(write->db);
    lb_err err;

    if (count == 0)
        return LB_OK;
    write->low_space = spare < 0;
    if (count > 1 && spare >= 0 && spare < (int64_t)(count * PAGES_AN_OP * write->db->page_bytes))
        return apply_halves(write, first, end, count);
    err = commit_err(write->db, try_together(write, first, end));
    if (err == LB_OK)
        return LB_OK;
    if (err == LB_NO_SPACE)
        return count == 1 ? apply_smaller(write, first) : apply_halves(write, first, end, count);
    err = err == LB_CORRUPT ? LB_CORRUPT : LB_IO;
    fail_all(first, end, err);
    return err;
}

lb_err db_apply(struct db *self, struct db_op *first, const struct node_id *own_id)
{
    struct db_write write = { .db = self, .own_id = own_id };

    return apply_range(&write, first, NULL);
}

static int walk_keys(MDB_txn *txn, MDB_dbi table, db_target_fn *each, void *ctx)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    int rc = mdb_cursor_open(txn, table, &cursor);

    if (rc != 0)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT_NODUP)) == 0) {
        struct node_id target = db_target_of(&key);

        each(ctx, &target);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

lb_err db_each_target(struct db *self, db_target_fn *each, db_finish_fn *finish, void *ctx)
{
    MDB_txn *txn;
    lb_err err;
    int rc = mdb_txn_begin(self->env, NULL, 0, &txn);

    if (rc != 0)
        return lb_err_of_lmdb(rc);
    rc = walk_keys(txn, self->items, each, ctx);
    if (rc == 0)
        rc = walk_keys(txn, self->peers, each, ctx);
    err = rc == 0 ? finish(ctx) : lb_err_of_lmdb(rc);
    mdb_txn_abort(txn);
    return err;
}

/* ---- reading ---- */

lb_err db_read_begin(struct db *self)
{
    int rc;

    assert(!self->is_reading);
    rc = mdb_txn_renew(self->reader);
    if (rc != 0)
        return LB_IO;
    self->is_reading = true;
    return LB_OK;
}

void db_read_end(struct db *self)
{
    assert(self->is_reading);
    mdb_txn_reset(self->reader);
    self->is_reading = false;
}

bool db_read_is_due(struct db *self, enum due_kind kind, const struct db_range *range,
                    uint64_t now_s)
{
    uint8_t id[RECORD_DUE_ID_MAX];
    struct due_record due;

    assert(self->is_reading);
    return db_due_first(self->reader, self->due, kind, range, now_s, &due, id) == 0;
}

uint32_t db_read_overdue(struct db *self, const struct db_range *range, uint64_t before_s,
                         uint32_t max)
{
    assert(self->is_reading);
    return db_due_count(self->reader, self->due, DUE_CHECK, range, before_s, max);
}

static uint64_t entries_of(MDB_txn *txn, MDB_dbi table)
{
    MDB_stat stat;

    return mdb_stat(txn, table, &stat) == 0 ? stat.ms_entries : 0;
}

void db_read_stats(struct db *self, struct db_stats *ret_stats)
{
    MDB_envinfo info;

    assert(self->is_reading);
    mdb_env_info(self->env, &info);
    ret_stats->items = entries_of(self->reader, self->items);
    ret_stats->item_bytes = db_table_pages(self->reader, self->items) * self->page_bytes;
    ret_stats->peers = entries_of(self->reader, self->peers);
    ret_stats->published = entries_of(self->reader, self->published);
    ret_stats->disk_bytes = (info.me_last_pgno + 1) * self->page_bytes;
}

void db_check_readers(struct db *self)
{
    int dead = 0;

    (void)mdb_reader_check(self->env, &dead);
}

uint64_t db_last_commit(const struct db *self)
{
    MDB_envinfo info;

    mdb_env_info(self->env, &info);
    return info.me_last_txnid;
}
