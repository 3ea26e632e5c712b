/* Opening and closing: the environment, its tables, the schema, the store clock. */
#include "libcommon/memory.h"
#include "services/storage/db_tables.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * 1 is taken over: its records are read, and rewritten as they change. So is 2, which had no box
 * (db_box.h): its tables are made empty.
 */
#define SCHEMA        3u
#define SCHEMA_OLDEST 1u
#define READERS_MAX   64u
#define TABLES_MAX    16u
#define OPEN_TRIES    20
#define OPEN_PAUSE_NS 10000000 /* 10 ms */
#define KEY_SCHEMA    "schema"
#define KEY_CLOCK     "clock"

static int open_tables(struct db *self, MDB_txn *txn)
{
    int rc = 0;

#define OPEN_TABLE(name, flags)                                                                    \
    if (rc == 0)                                                                                   \
        rc = mdb_dbi_open(txn, #name, MDB_CREATE | (flags), &self->name);
    DB_TABLES(OPEN_TABLE)
#undef OPEN_TABLE
    return rc;
}

static int put_meta(struct db *self, MDB_txn *txn, const char *name, const struct writer *value)
{
    MDB_val key = db_val(name, strlen(name));
    MDB_val data = db_val_of(value);

    return mdb_put(txn, self->meta, &key, &data, 0);
}

int db_put_clock(struct db *self, MDB_txn *txn, const struct store_clock *clock)
{
    uint8_t buffer[STORE_CLOCK_RECORD];
    struct writer writer;

    writer_init(&writer, buffer, sizeof buffer);
    store_clock_put(clock, &writer);
    return put_meta(self, txn, KEY_CLOCK, &writer);
}

/* Another instance may be running on the saved line: within one boot we only ever continue it. */
static int resume_clock(struct db *self, MDB_txn *txn, const struct store_moment *now)
{
    MDB_val key = db_val(KEY_CLOCK, strlen(KEY_CLOCK));
    MDB_val data;
    struct store_clock saved;
    int rc = mdb_get(txn, self->meta, &key, &data);

    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    if (rc == 0 && store_clock_get(db_bytes(&data), &saved) == LB_OK)
        store_clock_resume(&self->clock, &saved, now, self->options.item_ttl_s * 1000 / 2);
    else
        store_clock_begin(&self->clock, now);
    self->saved_clock = self->clock;
    return db_put_clock(self, txn, &self->clock);
}

static int check_schema(struct db *self, MDB_txn *txn, bool *ret_known)
{
    uint8_t buffer[4];
    struct writer writer;
    MDB_val key = db_val(KEY_SCHEMA, strlen(KEY_SCHEMA));
    MDB_val data;
    uint32_t schema;
    int rc = mdb_get(txn, self->meta, &key, &data);

    *ret_known = true;
    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    if (rc == 0) {
        schema = data.mv_size == sizeof buffer ? load_u32(data.mv_data) : 0;
        *ret_known = schema >= SCHEMA_OLDEST && schema <= SCHEMA;
        if (!*ret_known || schema == SCHEMA)
            return 0;
    }
    writer_init(&writer, buffer, sizeof buffer);
    writer_u32(&writer, SCHEMA);
    return put_meta(self, txn, KEY_SCHEMA, &writer);
}

static lb_err prepare(struct db *self, const struct store_moment *now)
{
    bool known = true;
    MDB_txn *txn;
    int rc = mdb_txn_begin(self->env, NULL, 0, &txn);

    if (rc != 0)
        return lb_err_of_lmdb(rc);
    rc = open_tables(self, txn);
    if (rc == 0)
        rc = check_schema(self, txn, &known);
    if (rc == 0 && known)
        rc = resume_clock(self, txn, now);
    if (rc != 0 || !known) {
        mdb_txn_abort(txn);
        return rc != 0 ? lb_err_of_lmdb(rc) : LB_UNSUPPORTED;
    }
    rc = mdb_txn_commit(txn);
    return rc == MDB_NOTFOUND ? LB_CORRUPT : lb_err_of_lmdb(rc);
}

/* LMDB may fail to open while another process opens or closes it at that very moment. */
static int open_environment(struct db *self)
{
    const struct timespec pause = { .tv_nsec = OPEN_PAUSE_NS };
    int rc = 0;

    for (int i = 0; i < OPEN_TRIES; i++) {
        rc = mdb_env_create(&self->env);
        if (rc != 0)
            return rc;
        mdb_env_set_maxdbs(self->env, TABLES_MAX);
        mdb_env_set_maxreaders(self->env, READERS_MAX);
        mdb_env_set_mapsize(self->env, (size_t)self->options.map_bytes);
        rc = mdb_env_open(self->env, self->options.folder, 0, 0600);
        if (rc == 0 || lb_err_of_lmdb(rc) != LB_IO)
            return rc;
        mdb_env_close(self->env);
        self->env = NULL;
        nanosleep(&pause, NULL);
    }
    return rc;
}

static void learn_sizes(struct db *self)
{
    MDB_stat stat;
    MDB_envinfo info;

    mdb_env_stat(self->env, &stat);
    mdb_env_info(self->env, &info);
    self->page_bytes = stat.ms_psize;
    self->map_pages = info.me_mapsize / stat.ms_psize;
}

lb_err db_open(struct db **ret_db, const struct db_options *options, const struct store_moment *now)
{
    struct db *self = xcalloc(1, sizeof *self);
    char *folder = xstrdup(options->folder);
    lb_err err;
    int rc;

    self->options = *options;
    self->options.folder = folder;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        rc = errno;
    else if (db_check_file(options) != LB_OK)
        rc = MDB_CORRUPTED;
    else
        rc = open_environment(self);
    err = lb_err_of_lmdb(rc);
    if (err == LB_OK) {
        db_check_readers(self);
        learn_sizes(self);
        err = prepare(self, now);
    }
    if (err == LB_OK) {
        rc = mdb_txn_begin(self->env, NULL, MDB_RDONLY, &self->reader);
        err = lb_err_of_lmdb(rc);
    }
    if (err != LB_OK) {
        db_close(&self);
        errno = rc > 0 ? rc : 0;
        return err;
    }
    mdb_txn_reset(self->reader);
    *ret_db = self;
    return LB_OK;
}

void db_close(struct db **self)
{
    struct db *db = *self;

    if (db == NULL)
        return;
    if (db->reader != NULL)
        mdb_txn_abort(db->reader);
    if (db->env != NULL)
        mdb_env_close(db->env);
    free((void *)(uintptr_t)db->options.folder);
    free(db);
    *self = NULL;
}

/* LMDB holds a lock on this file, shared, as long as the environment is open (lmdb.h, Caveats). */
static bool is_open_elsewhere(const char *folder)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
    char path[DB_PATH_SIZE];
    bool locked;
    int fd;

    snprintf(path, sizeof path, "%s/lock.mdb", folder);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    locked = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    close(fd); /* ours is closed by now: no lock of this process is lost with it */
    return locked;
}

lb_err db_set_aside(const char *folder)
{
    char from[DB_PATH_SIZE];
    char to[DB_PATH_SIZE];

    if (is_open_elsewhere(folder))
        return LB_EXISTS;
    snprintf(from, sizeof from, "%s/" DB_DATA_FILE, folder);
    snprintf(to, sizeof to, "%s/" DB_DATA_FILE ".damaged", folder);
    return rename(from, to) == 0 ? LB_OK : LB_IO;
}

uint64_t db_now_ms(const struct db *self, uint64_t monotonic_ms)
{
    return store_clock_ms(&self->clock, monotonic_ms);
}

uint64_t db_now_s(const struct db *self, uint64_t monotonic_ms)
{
    return store_clock_s(&self->clock, monotonic_ms);
}
