/*
 * Is the data file whole. A file that was cut short maps to nothing behind its end, and touching
 * that kills the process (SIGBUS), at every start anew. Nor can the length alone tell: pages at the
 * end that were never written are none the worse. So where the file is shorter than its pages, a
 * child reads them all; what kills it does not kill us.
 */
#include "services/storage/db_tables.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TABLES_MAX 16u

static bool is_short(MDB_env *env)
{
    struct stat file;
    MDB_envinfo info;
    MDB_stat stat;
    int fd;

    if (mdb_env_get_fd(env, &fd) != 0 || fstat(fd, &file) != 0 || mdb_env_info(env, &info) != 0 ||
        mdb_env_stat(env, &stat) != 0)
        return false;
    return (uint64_t)file.st_size < ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
}

/* Touch each page of a record. */
static void touch(const MDB_val *data, size_t page_bytes)
{
    const volatile uint8_t *bytes = data->mv_data;

    for (size_t at = 0; at < data->mv_size; at += page_bytes)
        (void)bytes[at];
    if (data->mv_size > 0)
        (void)bytes[data->mv_size - 1];
}

static int read_table(MDB_txn *txn, MDB_dbi table)
{
    MDB_cursor *cursor;
    MDB_stat stat;
    MDB_val key, data;
    int rc = mdb_stat(txn, table, &stat);

    if (rc == 0)
        rc = mdb_cursor_open(txn, table, &cursor);
    if (rc != 0)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0)
        touch(&data, stat.ms_psize);
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int read_named(MDB_txn *txn, const char *name)
{
    MDB_dbi table;
    int rc = mdb_dbi_open(txn, name, 0, &table);

    if (rc == MDB_NOTFOUND)
        return 0;
    return rc != 0 ? rc : read_table(txn, table);
}

static int read_all(MDB_env *env)
{
    const MDB_dbi free_pages = 0; /* LMDB's own */
    MDB_txn *txn;
    int rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);

    if (rc != 0)
        return rc;
    rc = read_table(txn, free_pages);
#define READ_TABLE(name, flags)                                                                    \
    if (rc == 0)                                                                                   \
        rc = read_named(txn, #name);
    DB_TABLES(READ_TABLE)
#undef READ_TABLE
    mdb_txn_abort(txn);
    return rc;
}

/* In the child: its exit code. What it cannot look at, it has nothing to say of. */
static int look(const struct db_options *options)
{
    const struct rlimit no_core = { 0, 0 };
    MDB_env *env;

    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGBUS, SIG_DFL);
    signal(SIGSEGV, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    if (mdb_env_create(&env) != 0)
        return 0;
    mdb_env_set_maxdbs(env, TABLES_MAX);
    mdb_env_set_mapsize(env, (size_t)options->map_bytes);
    if (mdb_env_open(env, options->folder, 0, 0600) != 0 || !is_short(env))
        return 0;
    return lb_err_of_lmdb(read_all(env)) == LB_CORRUPT ? 1 : 0;
}

lb_err db_check_file(const struct db_options *options)
{
    char path[DB_PATH_SIZE];
    int status = 0;
    pid_t pid;

    snprintf(path, sizeof path, "%s/" DB_DATA_FILE, options->folder);
    if (access(path, F_OK) != 0)
        return LB_OK;
    pid = fork();
    if (pid == 0)
        _exit(look(options));
    if (pid < 0)
        return LB_OK;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return LB_OK;
    }
    return status == 0 ? LB_OK : LB_CORRUPT;
}
