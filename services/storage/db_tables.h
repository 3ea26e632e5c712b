/*
 * Inside the store: what db.c and the files of its tables share. An int is an LMDB result, 0 or an
 * error that ends the transaction; what an operation decided stands in its err.
 */
#pragma once

#include "libcommon/lmdb_error.h"
#include "services/storage/db.h"

#include <lmdb.h>

/* X(name, flags) */
#define DB_TABLES(X)                                                                               \
    X(items, 0)                                                                                    \
    X(peers, MDB_DUPSORT)                                                                          \
    X(published, 0)                                                                                \
    X(seen, 0)                                                                                     \
    X(quotas, 0)                                                                                   \
    X(due, 0)                                                                                      \
    X(meta, 0)                                                                                     \
    X(mails, 0)                                                                                    \
    X(mail_bytes, 0)                                                                               \
    X(boxes, 0)                                                                                    \
    X(certificates, 0)

#define DB_TABLE_MEMBER(name, flags) MDB_dbi name;
struct db {
    MDB_env *env;
    MDB_txn *reader; /* reset unless reading */
    bool is_reading;
    struct db_options options;
    uint64_t page_bytes;
    uint64_t map_pages;
    struct store_clock clock; /* fixed after opening; the writer's own line is saved_clock */
    struct store_clock saved_clock;
    DB_TABLES(DB_TABLE_MEMBER)
};
#undef DB_TABLE_MEMBER

/* One write transaction. */
struct db_write {
    struct db *db;
    MDB_txn *txn;
    const struct node_id *own_id; /* may be NULL */
    bool low_space;               /* the file system is nearly full: nothing new */
};

#define DB_DATA_FILE "data.mdb"
#define DB_PATH_SIZE 600

/* LB_CORRUPT when the data file was cut short; LB_OK when it is whole, or not there (db_check.c).
 */
lb_err db_check_file(const struct db_options *options);

/* Save the line of the store clock. */
int db_put_clock(struct db *self, MDB_txn *txn, const struct store_clock *clock);

MDB_val db_val(const void *data, size_t size);
MDB_val db_val_of(const struct writer *writer);
struct bytes db_bytes(const MDB_val *val);
struct node_id db_target_of(const MDB_val *val);

/* A row of `due`, set or taken away; a row that is not there is no error. */
int db_due_set(struct db_write *write, enum due_kind kind, uint64_t due_s, struct bytes id);
int db_due_drop(struct db_write *write, enum due_kind kind, uint64_t due_s, struct bytes id);
bool db_range_has(const struct db_range *range, const struct bytes *id);

/*
 * The first row of this kind that is due, its id in the range, copied; MDB_NOTFOUND when there is
 * none, or behind more than DB_OTHERS_WALK_MAX others.
 */
int db_due_first(MDB_txn *txn, MDB_dbi due, enum due_kind kind, const struct db_range *range,
                 uint64_t now_s, struct due_record *ret_due, uint8_t ret_id[RECORD_DUE_ID_MAX]);

/* Call each() for the rows of this kind in their order, due or not, until it returns false. */
typedef bool db_due_fn(void *ctx, const struct due_record *due);
int db_due_walk(MDB_txn *txn, MDB_dbi due, enum due_kind kind, db_due_fn *each, void *ctx);
/* How many rows of this kind and range are due before that; looks at max, of all, at most. */
uint32_t db_due_count(MDB_txn *txn, MDB_dbi due, enum due_kind kind, const struct db_range *range,
                      uint64_t before_s, uint32_t max);

int db_quota_read(struct db_write *write, const struct policy_key *key,
                  struct quota_record *ret_quota);
/* Add (or, negative, take away) for one thing of this many bytes. */
int db_quota_add(struct db_write *write, const struct policy_key *key, int64_t count,
                 int64_t bytes);

/* Pages of one table, and of all. */
uint64_t db_table_pages(MDB_txn *txn, MDB_dbi table);
uint64_t db_all_pages(const struct db_write *write);

int db_put_apply(struct db_write *write, struct db_op *op);
int db_announce_apply(struct db_write *write, struct db_op *op);
int db_publish_apply(struct db_write *write, struct db_op *op);
int db_prune_apply(struct db_write *write, struct db_op *op);
int db_unpublish_apply(struct db_write *write, struct db_op *op);
int db_take_apply(struct db_write *write, struct db_op *op);
int db_set_check_apply(struct db_write *write, struct db_op *op);
int db_drop_apply(struct db_write *write, struct db_op *op);
int db_keep_mail_apply(struct db_write *write, struct db_op *op);
int db_drop_mail_apply(struct db_write *write, struct db_op *op);
int db_certify_apply(struct db_write *write, struct db_op *op);
int db_set_box_apply(struct db_write *write, struct db_op *op);
int db_drop_box_apply(struct db_write *write, struct db_op *op);

/* MDB_NOTFOUND when it is damaged. ends_s is set, also of a record of version 1, which has none. */
int db_item_unpack(const struct db *db, const MDB_val *data, struct item_record *ret_record);

/* The number remembered for a target; 0: none. */
int db_seen_find(const struct db *db, MDB_txn *txn, const struct node_id *target, uint64_t now_s,
                 uint64_t *ret_seq);
int db_seen_forget(struct db_write *write, const struct node_id *target);

/*
 * An item goes: at its end, before it, or because others keep it. Its number is remembered, so that
 * no older one is ever taken, or served, in its place.
 */
int db_seen_remember(struct db_write *write, const struct node_id *target,
                     const struct item_record *record, uint64_t now_s);

/* A due row has come up: remove what it names if it has expired, else set the row again. */
int db_item_due(struct db_write *write, struct bytes id, uint64_t now_s, bool *ret_removed);
int db_seen_due(struct db_write *write, struct bytes id, uint64_t now_s, bool *ret_removed);
int db_peer_due(struct db_write *write, struct bytes id, uint64_t now_s, bool *ret_removed);
int db_mail_due(struct db_write *write, struct bytes id, uint64_t now_s, bool *ret_removed);
int db_certificate_due(struct db_write *write, struct bytes id, uint64_t now_s, bool *ret_removed);
