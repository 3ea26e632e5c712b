/* What LMDB's codes mean (lmdb.h): for those that keep an environment. */
#pragma once

#include "libcommon/error.h"

#include <errno.h>
#include <lmdb.h>

static inline lb_err lb_err_of_lmdb(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return LB_OK;
    case MDB_NOTFOUND:
        return LB_NOT_FOUND;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
        return LB_NO_SPACE;
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_VERSION_MISMATCH:
    case MDB_PAGE_FULL:
    case MDB_INCOMPATIBLE:
        return LB_CORRUPT;
    case ENOENT: /* of its files: it has made them, so that is no answer to anybody */
        return LB_IO;
    default:
        return lb_err_of_errno(rc);
    }
}
