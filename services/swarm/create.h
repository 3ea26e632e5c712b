/*
 * Making a torrent of a file or folder, in the pool: walk, hash in parallel, write the metainfo.
 *
 * Files are taken in the order of their paths, byte by byte and component by component, so that the
 * same content gives the same infohash anywhere. Nothing is skipped in silence: a symlink, a
 * special file, an unreadable one or a name that metainfo.h would alter ends it with that name.
 * Empty folders cannot be expressed and are counted; a file its owner may run is marked (BEP 47).
 * For v2 and hybrids the leaves are hashed in the same pass. A file that changes between the walk
 * and the end is LB_CONFLICT. Piece length by size: the least power of two that makes at most 4096
 * pieces, from 16 KiB to 4 MiB (32 KiB up to 128 MiB, 4 MiB from 8 GiB), beyond 65536 pieces it
 * doubles again. Hybrids have 32 KiB at least: libtorrent before 2.0.13, that fetches one of pieces
 * of one block by a link, asks for hashes a second time after 3 s, and then stops with
 * torrent_inconsistent_hashes. Memory: CREATE_JOBS hash buffers of 1 MiB. Shell.
 */
#pragma once

#include "libcommon/error.h"
#include "services/swarm/metainfo.h"
#include "services/swarm/resume.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CREATE_JOBS         4u /* hash jobs under way at once */
#define CREATE_PROBLEM_SIZE 512
#define CREATE_PATH_MAX     4096u

struct create; /* opaque */
struct pool;

struct create_request {
    const char *path;      /* absolute; a trailing '/' is taken off; may not be a symlink itself */
    uint32_t piece_length; /* 0: by size; else a power of two, 16 KiB to 16 MiB */
    enum metainfo_kind kind; /* 0: v1 */
    bool is_private;
    struct bytes ssl_cert; /* metainfo.h; size 0: none. Copied */

    /*
     * What is known of an earlier share of the same path, or NULL: when paths, sizes and times are
     * the same and all was verified, nothing is hashed. Kept (metainfo_keep) and copied.
     */
    struct metainfo *known;
    const struct resume *known_resume;
};

struct create_result {
    char folder[CREATE_PATH_MAX]; /* where metainfo->paths begin: the parent of path */
    struct metainfo *metainfo;    /* one reference, given */
    struct resume *resume;        /* everything verified; given */
    uint32_t empty_folders;       /* left out */
    bool unchanged;               /* is `known`: nothing was hashed */
};

/*
 * Called once from the loop. On LB_OK *result is set and what it gives is the callee's. Otherwise
 * result is NULL and problem says why, with the name of the file. The create is freed afterwards.
 */
typedef void create_fn(void *ctx, lb_err err, const struct create_result *result,
                       const char *problem);

/*
 * Begin; the request is copied. LB_INVALID: the path is not absolute, its name cannot be shared, or
 * a bad piece length; LB_FULL: the pool is full. Then done is not called.
 */
LB_MUST_CHECK lb_err create_start(struct pool *pool, const struct create_request *request,
                                  create_fn *done, void *ctx, struct create **ret_self);

/* done then comes with LB_CANCELLED, after the jobs under way (at most 16 MiB each). */
void create_cancel(struct create *self);

/* Bytes hashed so far and in all; total is 0 until the walk is done. */
void create_progress(const struct create *self, uint64_t *ret_done, uint64_t *ret_total);

/* The piece length by size, as above. Pure. */
uint32_t create_piece_length(enum metainfo_kind kind, uint64_t length);
