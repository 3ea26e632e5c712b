/* Between inbox.c, which writes, inbox_read.c and inbox_open.c. */
#pragma once

#include "libcommon/lmdb_error.h"
#include "services/member/inbox.h"

#include <lmdb.h>

/* X(name, flags) */
#define INBOX_TABLES(X)                                                                            \
    X(mails, 0)                                                                                    \
    X(seen, 0)                                                                                     \
    X(ends, 0)                                                                                     \
    X(senders, 0)                                                                                  \
    X(meta, 0)

#define INBOX_HEAD_SIZE (INBOX_ID_SIZE + NODE_ID_SIZE + 8 + 8) /* of a mail, before its text */

struct inbox {
    MDB_env *env;
    MDB_txn *reader; /* reset between two reads */
#define INBOX_TABLE(name, flags) MDB_dbi name;
    INBOX_TABLES(INBOX_TABLE)
#undef INBOX_TABLE
};

static inline MDB_val inbox_val(const void *data, size_t size)
{
    return (MDB_val){ .mv_size = size, .mv_data = (void *)(uintptr_t)data };
}

/* A number of the meta table; 0 when it is not there. */
int inbox_get_meta(const struct inbox *self, MDB_txn *txn, const char *name, uint64_t *ret_value);
int inbox_put_meta(const struct inbox *self, MDB_txn *txn, const char *name, uint64_t value);
