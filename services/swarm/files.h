/*
 * Open files of all storages, a bounded cache; the one part of disk that the pool's workers share,
 * so it has a lock. Opening, reserving room and closing happen on the worker that asks, outside the
 * lock. Shell.
 */
#pragma once

#include "libcommon/error.h"

#include <stdbool.h>
#include <stdint.h>

struct files; /* opaque */

/* What is opened: a file of a storage. Path and root belong to the storage. */
struct files_request {
    uint64_t storage; /* its number */
    uint32_t file;    /* in the torrent */
    int root_fd;
    const char *path;
    uint64_t length; /* what a file opened for writing is made to have */
    bool writable;   /* and made when missing */
    bool executable; /* who may read it may run it, once it is opened for writing */

    /* The first part from `from` on that wants room, false: none; the rest are holes. NULL: all
     * wants room. */
    bool (*room)(const struct files_request *self, uint64_t from, uint64_t *ret_begin,
                 uint64_t *ret_end);
    const void *ctx; /* of it */
};

/* One use of an open file. */
struct files_use {
    int fd;
    struct files_entry *entry; /* NULL: not in the cache, closed after use */
};

/* files_max: descriptors kept; more are opened for their use alone. */
struct files *files_new(uint32_t files_max);
void files_free(struct files **self); /* closes all; none may be in use */

/*
 * The file, opened now or before. A file for writing that is shorter than length gets its room
 * reserved (fallocate(2); only its size, where the file system cannot), so that a full disk is
 * LB_NO_SPACE before anything is written; its size is set last, so that this is done again when it
 * failed. Errors as beneath_open(), errno left set.
 */
LB_MUST_CHECK lb_err files_open(struct files *self, const struct files_request *request,
                                struct files_use *ret_use);

/* The same if it is open already: nothing is waited for. */
bool files_open_now(struct files *self, const struct files_request *request,
                    struct files_use *ret_use);
void files_release(struct files *self, struct files_use *use);

/* The same, and the next use opens the path again: this file is no longer what lies there. */
void files_discard(struct files *self, struct files_use *use);

/* Close all of one storage; none may be in use. */
void files_forget(struct files *self, uint64_t storage);
uint32_t files_count(struct files *self);
