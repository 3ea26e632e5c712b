#include "services/storage/commits.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/pool.h"
#include "services/storage/presence.h"

#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

/* An operation is the beginning of its commit: lists of the one are lists of the other. */
_Static_assert(offsetof(struct commit, op) == 0, "op is first");

struct commits {
    struct job job; /* first: pool.h */
    struct pool *pool;
    uv_timer_t soon; /* the end of this turn of the loop */
    struct db *db;
    struct presence *presence;

    /* The loop's. */
    struct db_op *waiting, *waiting_last;
    size_t waiting_count;
    bool is_under_way;
    bool is_closing;
    bool rebuild_asked;
    bool own_id_known;
    struct node_id own_id;
    struct commits_stats stats;

    /* The job's, while it is under way. */
    struct db_op *group;
    struct db_op *refused; /* of the group: their signatures are not good */
    size_t group_count;
    bool job_rebuilds;
    bool job_knows_own_id;
    struct node_id job_own_id;
    lb_err job_err;
    lb_err rebuild_err;
    uint64_t took_us;
};

/* ---- on the pool's thread ---- */

static void tell_presence(struct commits *self)
{
    for (const struct db_op *op = self->group; op != NULL; op = op->next) {
        if (op->err != LB_OK)
            continue;
        if (op->kind == DB_PUT)
            presence_add(self->presence, &op->put.target);
        if (op->kind == DB_ANNOUNCE)
            presence_add(self->presence, &op->announce.infohash);
    }
}

static bool is_good(struct db_op *op)
{
    const struct commit *commit = (const struct commit *)op;

    if (commit->check != NULL)
        return commit->check((struct commit *)op);
    if (op->kind != DB_PUT || !commit->verify)
        return true;
    op->put.verdict = item_verify(&op->put.item);
    op->err = op->put.verdict == ITEM_ACCEPTED ? LB_OK : LB_CONFLICT;
    return op->err == LB_OK;
}

static void verify_group(struct commits *self)
{
    struct db_op **good = &self->group;
    struct db_op **bad = &self->refused;

    for (struct db_op *op = self->group, *next; op != NULL; op = next) {
        next = op->next;
        if (is_good(op)) {
            *good = op;
            good = &op->next;
        } else {
            *bad = op;
            bad = &op->next;
        }
    }
    *good = NULL;
    *bad = NULL;
}

static void commit_group(struct job *job)
{
    struct commits *self = (struct commits *)job;
    uint64_t began_us = clock_monotonic_us();

    verify_group(self);
    self->job_err =
        db_apply(self->db, self->group, self->job_knows_own_id ? &self->job_own_id : NULL);
    tell_presence(self);
    if (self->job_rebuilds && self->job_err == LB_OK)
        self->rebuild_err = presence_build(self->presence, self->db);
    self->took_us = clock_monotonic_us() - began_us;
}

/* ---- on the loop ---- */

static void begin_commit(struct commits *self);

static void finish(struct db_op **list)
{
    struct db_op *op = *list;

    *list = NULL;
    while (op != NULL) {
        struct commit *commit = (struct commit *)op;

        op = op->next;
        commit->done(commit);
    }
}

static void on_committed(struct job *job, void *ctx)
{
    struct commits *self = ctx;

    (void)job;
    if (self->job_err != LB_OK) {
        log_error("the store cannot be written (%s), ending", lb_err_text(self->job_err));
        _exit(EXIT_FAILURE); /* nothing more is to be promised */
    }
    if (self->job_rebuilds && self->rebuild_err != LB_OK)
        log_warn("presence page not rebuilt: %s", lb_err_text(self->rebuild_err));
    self->is_under_way = false;
    self->stats.commits++;
    self->stats.operations += self->group_count;
    self->stats.last_us = self->took_us;
    finish(&self->group);
    finish(&self->refused);
    begin_commit(self);
}

static void begin_commit(struct commits *self)
{
    if (self->is_under_way || self->is_closing || (self->waiting == NULL && !self->rebuild_asked))
        return;
    self->group = self->waiting;
    self->group_count = self->waiting_count;
    self->waiting = self->waiting_last = NULL;
    self->waiting_count = 0;
    self->job_rebuilds = self->rebuild_asked;
    self->rebuild_asked = false;
    self->job_knows_own_id = self->own_id_known;
    self->job_own_id = self->own_id;
    self->is_under_way = true;
    if (pool_submit(self->pool, &self->job) != LB_OK)
        abort(); /* there is never more than this one job */
}

static void on_turn_ended(uv_timer_t *timer)
{
    begin_commit(timer->data);
}

static void begin_soon(struct commits *self)
{
    if (!self->is_under_way && !uv_is_active((uv_handle_t *)&self->soon))
        uv_timer_start(&self->soon, on_turn_ended, 0, 0);
}

struct commits *commits_new(struct uv_loop_s *loop, struct db *db, struct presence *presence)
{
    struct commits *self = xcalloc(1, sizeof *self);

    self->job = (struct job){ .work = commit_group, .done = on_committed, .ctx = self, .lane = 1 };
    self->db = db;
    self->presence = presence;
    self->pool = pool_new(loop, 1);
    uv_timer_init(loop, &self->soon);
    self->soon.data = self;
    return self;
}

static void on_timer_closed(uv_handle_t *timer)
{
    free(timer->data);
}

void commits_free(struct commits **self)
{
    struct commits *commits = *self;

    if (commits == NULL)
        return;
    commits->is_closing = true;
    pool_free(&commits->pool);
    for (struct db_op *op = commits->waiting; op != NULL; op = op->next)
        op->err = LB_CANCELLED;
    finish(&commits->waiting);
    *self = NULL;
    uv_close((uv_handle_t *)&commits->soon, on_timer_closed);
}

lb_err commits_submit(struct commits *self, struct commit *commit)
{
    if (self->waiting_count >= COMMITS_MAX || self->is_closing)
        return LB_FULL;
    commit->op.next = NULL;
    commit->op.err = LB_OK;
    if (self->waiting_last != NULL)
        self->waiting_last->next = &commit->op;
    else
        self->waiting = &commit->op;
    self->waiting_last = &commit->op;
    self->waiting_count++;
    begin_soon(self);
    return LB_OK;
}

bool commits_is_busy(const struct commits *self)
{
    return self->waiting_count >= COMMITS_BUSY_MAX;
}

bool commits_is_idle(const struct commits *self)
{
    return !self->is_under_way && self->waiting == NULL;
}

void commits_set_own_id(struct commits *self, const struct node_id *own_id)
{
    self->own_id_known = true;
    self->own_id = *own_id;
}

void commits_rebuild_presence(struct commits *self)
{
    self->rebuild_asked = true;
    begin_soon(self);
}

struct commits_stats commits_stats(const struct commits *self)
{
    return self->stats;
}
