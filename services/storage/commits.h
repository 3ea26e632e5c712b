/*
 * Grouped commits: what the loop wants written, carried out by one thread of a pool.
 *
 * Operations of one turn of the loop, and those that come while a commit is under way, share the
 * next one: under load the price of an fsync is split among hundreds and the wait is at most two
 * commits, and when idle nothing is waited for. `done` is called on the loop after the commit, and
 * after the presence page has been told. A store that fails its fsync ends the process: what is on
 * disk then is known only after a restart (THREATS 2, row 24).
 */
#pragma once

#include "libcommon/error.h"
#include "services/storage/db.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COMMITS_MAX      8192u /* waiting; more are refused */
#define COMMITS_BUSY_MAX 1024u /* waiting; then other nodes are sent elsewhere */

struct commit;
struct commits; /* opaque */
struct presence;
struct uv_loop_s;

typedef void commit_fn(struct commit *commit);

/* The caller's, until `done`. An op's err LB_CANCELLED: the process ends, nothing was written. */
struct commit {
    struct db_op op; /* first: commits.c */
    bool verify; /* DB_PUT: item_verify() it first, on the pool's thread: signatures take long */
    bool (*check)(struct commit *self); /* likewise, of other kinds; false: it has set op.err */
    commit_fn *done;
    void *ctx;
};

/* db and presence are borrowed; the presence page is written to by the commits' thread from now on.
 */
struct commits *commits_new(struct uv_loop_s *loop, struct db *db, struct presence *presence);

/* Waits for the commit under way; what waits behind it is cancelled. `done` is called for all. */
void commits_free(struct commits **self);

/* LB_FULL when COMMITS_MAX wait, or the process ends: the commit was not taken. */
LB_MUST_CHECK lb_err commits_submit(struct commits *self, struct commit *commit);

/* So many wait that nodes should be told to try another: a slow disk (THREATS 2, row 29). */
bool commits_is_busy(const struct commits *self);
bool commits_is_idle(const struct commits *self);

/* Decides what gives way when the store is full; until it is said, age alone does. */
void commits_set_own_id(struct commits *self, const struct node_id *own_id);

/* Build the presence page anew, with the next commit. */
void commits_rebuild_presence(struct commits *self);

struct commits_stats {
    uint64_t commits;
    uint64_t operations;
    uint64_t last_us; /* how long the last commit took */
};
struct commits_stats commits_stats(const struct commits *self);
