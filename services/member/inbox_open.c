/* Opening and closing: the environment, its tables, the schema. */
#include "libcommon/memory.h"
#include "services/member/inbox_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SCHEMA      1u
#define READERS_MAX 8u
#define TABLES_MAX  8u

int inbox_get_meta(const struct inbox *self, MDB_txn *txn, const char *name, uint64_t *ret_value)
{
    MDB_val key = inbox_val(name, strlen(name));
    MDB_val data;
    int rc = mdb_get(txn, self->meta, &key, &data);

    if (rc == MDB_NOTFOUND) {
        *ret_value = 0;
        return 0;
    }
    if (rc == 0 && data.mv_size != sizeof(uint64_t)) {
        return MDB_CORRUPTED;
    }
    if (rc == 0) {
        *ret_value = load_u64(data.mv_data);
    }
    return rc;
}

int inbox_put_meta(const struct inbox *self, MDB_txn *txn, const char *name, uint64_t value)
{
    uint8_t bytes[sizeof(uint64_t)];
    MDB_val key = inbox_val(name, strlen(name));
    MDB_val data = inbox_val(bytes, sizeof(bytes));

    store_u64(bytes, value);
    return mdb_put(txn, self->meta, &key, &data, 0);
}

static int open_tables(struct inbox *self, MDB_txn *txn)
{
    int rc = 0;

#define OPEN_TABLE(name, flags)                                                                    \
    if (rc == 0) {                                                                                 \
        rc = mdb_dbi_open(txn, #name, MDB_CREATE | (flags), &self->name);                          \
    }
    INBOX_TABLES(OPEN_TABLE)
#undef OPEN_TABLE
    return rc;
}

static int check_schema(struct inbox *self, MDB_txn *txn, bool *ret_known)
{
    uint64_t schema;
    int rc = inbox_get_meta(self, txn, "schema", &schema);

    *ret_known = rc != 0 || schema <= SCHEMA;
    if (rc != 0 || schema == SCHEMA || !*ret_known) {
        return rc;
    }
    return inbox_put_meta(self, txn, "schema", SCHEMA);
}

static lb_err prepare(struct inbox *self)
{
    bool known = true;
    MDB_txn *txn;
    int rc = mdb_txn_begin(self->env, NULL, 0, &txn);

    if (rc != 0) {
        return lb_err_of_lmdb(rc);
    }
    rc = open_tables(self, txn);
    if (rc == 0) {
        rc = check_schema(self, txn, &known);
    }
    if (rc != 0 || !known) {
        mdb_txn_abort(txn);
        return rc != 0 ? lb_err_of_lmdb(rc) : LB_UNSUPPORTED;
    }
    rc = mdb_txn_commit(txn);
    return rc == MDB_NOTFOUND ? LB_CORRUPT : lb_err_of_lmdb(rc);
}

static int open_environment(struct inbox *self, const char *folder)
{
    int rc = mdb_env_create(&self->env);

    if (rc != 0) {
        return rc;
    }
    mdb_env_set_maxdbs(self->env, TABLES_MAX);
    mdb_env_set_maxreaders(self->env, READERS_MAX);
    mdb_env_set_mapsize(self->env, INBOX_MAP_BYTES);
    /* The reader's transaction is the loop's, whatever thread a write comes from. */
    return mdb_env_open(self->env, folder, MDB_NOTLS, 0600);
}

lb_err inbox_open(const char *folder, struct inbox **ret_self)
{
    struct inbox *self = xcalloc(1, sizeof(*self));
    lb_err err;
    int dead;

    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        err = lb_err_of_lmdb(errno);
    } else {
        err = lb_err_of_lmdb(open_environment(self, folder));
    }
    if (err == LB_OK) {
        (void)mdb_reader_check(self->env, &dead); /* what a process that was killed left */
        err = prepare(self);
    }
    if (err == LB_OK) {
        err = lb_err_of_lmdb(mdb_txn_begin(self->env, NULL, MDB_RDONLY, &self->reader));
    }
    if (err != LB_OK) {
        inbox_close(&self);
        return err;
    }
    mdb_txn_reset(self->reader);
    *ret_self = self;
    return LB_OK;
}

void inbox_close(struct inbox **self)
{
    if (!*self) {
        return;
    }
    if ((*self)->reader) {
        mdb_txn_abort((*self)->reader);
    }
    if ((*self)->env) {
        mdb_env_close((*self)->env);
    }
    free(*self);
    *self = NULL;
}
