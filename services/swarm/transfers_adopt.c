/*
 * Sharing among several workers: any of them hashes what is to be shared; whose it is only the
 * infohash tells, and that comes last. The hasher writes metainfo and resume record beside the
 * catalogue and asks the owner to adopt them, again when that one is away or the number of workers
 * changes meanwhile: nothing is hashed twice.
 */
#include "libcommon/actor.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "proto/swarm.pb-c.h"
#include "services/swarm/catalogue_shared.h"
#include "services/swarm/ordering.h"
#include "services/swarm/resume.h"
#include "services/swarm/workers_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADOPT_MS   60000u /* the owner answers once it is announced, or could not be */
#define AGAIN_MS   100u
#define GIVE_UP_MS 30000u /* so long an owner may be away */
#define REMOVE_MS  10000u

/* ---- what the path held before ---- */

static void find_work(struct job *job)
{
    struct ordering *self = (struct ordering *)job;
    self->err = catalogue_find_share(self->owner->catalogue, self->path, self->found);
}

/* Nothing is hashed again when it was not changed since. */
static void create_as_found(struct ordering *self)
{
    const struct catalogue_share *found = self->found;
    struct resume *resume = NULL;
    if (found->record == NULL ||
        resume_parse(bytes_of(found->record, found->record_size), found->infohash,
                     &found->metainfo->layout, &resume) != LB_OK)
        resume = NULL;
    memcpy(self->before, found->infohash, sizeof self->before);
    self->has_before = true;
    ordering_create(self, resume != NULL ? found->metainfo : NULL, resume);
    resume_free(&resume);
}

static void find_done(struct job *job, void *ctx)
{
    struct ordering *self = (struct ordering *)job;
    struct catalogue_share *found = self->found;
    (void)ctx;
    if (self->owner->stopping)
        ordering_end(self, LB_UNAVAILABLE, "the node stops", NULL);
    else if (self->err != LB_OK)
        ordering_create(self, NULL, NULL);
    else
        create_as_found(self);
    metainfo_free(&found->metainfo);
    free(found->record);
    free(found);
}

bool workers_find_share(struct ordering *ordering)
{
    struct transfers *owner = ordering->owner;
    if (owner->workers->active == 1)
        return false;
    ordering->found = xcalloc(1, sizeof *ordering->found);
    ordering->job = (struct job){ .work = find_work, .done = find_done, .ctx = owner };
    if (pool_submit(owner->pool, &ordering->job) == LB_OK)
        return true;
    free(ordering->found);
    ordering->found = NULL;
    return false; /* it is hashed, then */
}

static void on_before_removed(void *ctx, lb_err err, const char *reason, const void *reply)
{
    (void)ctx;
    (void)reply;
    if (err != LB_OK && err != LB_NOT_FOUND)
        log_warn("what was shared before at a path is still there: %s",
                 reason != NULL ? reason : lb_err_text(err));
}

void workers_replace_share(struct ordering *ordering)
{
    struct workers *self = ordering->owner->workers;
    Lb__Swarm__Remove removal = LB__SWARM__REMOVE__INIT;
    Lb__Swarm__Request request = LB__SWARM__REQUEST__INIT;
    const unsigned owner = workers_owner(self, ordering->before);
    if (!ordering->has_before || owner == self->instance ||
        memcmp(ordering->before, ordering->metainfo->infohash, 20) == 0)
        return;
    removal.infohash.data = ordering->before;
    removal.infohash.len = 20;
    request.body_case = LB__SWARM__REQUEST__BODY_REMOVE;
    request.remove = &removal;
    log_info("a share of another worker gives way: its content was changed");
    link_call(workers_link(self, owner), &request.base, REMOVE_MS, on_before_removed, NULL);
}

/* ---- handing it to its owner ---- */

/* The files of ours have served; a worker of the pool deletes them. */
struct dropping {
    struct job job;
    const struct catalogue *catalogue;
    uint8_t infohash[20];
    unsigned worker;
};

static void drop_work(struct job *job)
{
    const struct dropping *self = (const struct dropping *)job;
    catalogue_drop_handed(self->catalogue, self->infohash, self->worker);
}

static void drop_done(struct job *job, void *ctx)
{
    (void)ctx;
    free(job);
}

static void drop_handed(const struct ordering *ordering)
{
    struct transfers *owner = ordering->owner;
    if (!ordering->handed)
        return;
    struct dropping *dropping = xcalloc(1, sizeof *dropping);
    dropping->catalogue = owner->catalogue;
    dropping->worker = owner->workers->instance;
    memcpy(dropping->infohash, ordering->metainfo->infohash, sizeof dropping->infohash);
    dropping->job = (struct job){ .work = drop_work, .done = drop_done };
    if (pool_submit(owner->pool, &dropping->job) != LB_OK)
        free(dropping); /* they are swept at the next start */
}

/* Who shared it is shown what it is, though it does not run here. */
static void end_as_shared(struct ordering *ordering)
{
    struct transfer *shown = transfer_new(ordering->owner, &ordering->order);
    transfer_know(shown, metainfo_keep(ordering->metainfo));
    transfer_learn_hashes(shown);
    ordering_end(ordering, LB_OK, "", shown);
    transfer_free(&shown);
}

/* Of this path another worker's share ends, or one of ours. */
static void end_before(struct ordering *ordering)
{
    struct workers *self = ordering->owner->workers;
    if (!ordering->has_before ||
        memcmp(ordering->before, ordering->metainfo->infohash, sizeof ordering->before) == 0)
        return;
    if (workers_owner(self, ordering->before) == self->instance)
        transfers_remove(ordering->owner, ordering->before, NULL, NULL);
    else
        workers_replace_share(ordering);
}

static void on_adopted(void *ctx, lb_err err, const char *reason, const void *message)
{
    struct ordering *ordering = ctx;
    struct transfers *owner = ordering->owner;
    const uint64_t now_ms = transfers_now_ms(owner);
    (void)message;
    if ((err == LB_UNAVAILABLE || err == LB_TIMEOUT) && !owner->stopping &&
        now_ms < ordering->give_up_ms) {
        ordering->again_ms = now_ms + AGAIN_MS;
        workers_look_in(owner->workers, AGAIN_MS);
        return;
    }
    drop_handed(ordering);
    if (err == LB_OK)
        end_before(ordering);
    if (err == LB_OK)
        end_as_shared(ordering);
    else
        ordering_end(ordering, err == LB_CANCELLED ? LB_UNAVAILABLE : err,
                     reason != NULL ? reason : lb_err_text(err), NULL);
}

/* Whose it is may have changed since: it may even be ours now. */
static void ask_owner(struct ordering *ordering)
{
    struct workers *self = ordering->owner->workers;
    const unsigned owner = workers_owner(self, ordering->metainfo->infohash);
    Lb__Swarm__Adopt adopt = LB__SWARM__ADOPT__INIT;
    Lb__Swarm__Request request = LB__SWARM__REQUEST__INIT;
    ordering->again_ms = 0;
    if (owner == self->instance) {
        char *folder = xstrdup(ordering->order.folder);
        drop_handed(ordering);
        ordering_seed(ordering, folder);
        free(folder);
        return;
    }
    adopt.infohash.data = ordering->metainfo->infohash;
    adopt.infohash.len = 20;
    adopt.folder = ordering->order.folder;
    adopt.from = self->instance;
    request.body_case = LB__SWARM__REQUEST__BODY_ADOPT;
    request.adopt = &adopt;
    link_call(workers_link(self, owner), &request.base, ADOPT_MS, on_adopted, ordering);
}

bool workers_go_on_adopting(struct workers *self, uint64_t now_ms)
{
    struct ordering *next = NULL;
    bool more = false;
    for (struct ordering *at = self->transfers->orderings; at != NULL; at = next) {
        next = at->next;
        if (at->again_ms != 0 && now_ms >= at->again_ms)
            ask_owner(at);
        else
            more |= at->again_ms != 0;
    }
    return more;
}

void workers_end_adopting(struct workers *self)
{
    struct ordering *next = NULL;
    for (struct ordering *at = self->transfers->orderings; at != NULL; at = next) {
        next = at->next;
        if (at->again_ms == 0)
            continue;
        drop_handed(at);
        ordering_end(at, LB_UNAVAILABLE, "the node stops", NULL);
    }
}

static void on_handed(void *ctx, lb_err err)
{
    struct ordering *ordering = ctx;
    if (err == LB_OK && !ordering->owner->stopping)
        ask_owner(ordering);
    else
        ordering_end(ordering, err != LB_OK ? err : LB_UNAVAILABLE, lb_err_text(err), NULL);
}

bool workers_hand_share(struct ordering *ordering, const char *folder)
{
    struct transfers *owner = ordering->owner;
    struct workers *self = owner->workers;
    const uint8_t *infohash = ordering->metainfo->infohash;
    const struct transfer *here = transfers_get(owner, infohash);
    if (workers_owner(self, infohash) == self->instance ||
        (here != NULL && here->place == OWNERSHIP_HELD))
        return false;
    ordering->order.kind = ORDER_SHARE;
    memcpy(ordering->order.infohash, infohash, sizeof ordering->order.infohash);
    if (snprintf(ordering->order.folder, sizeof ordering->order.folder, "%s", folder) >=
        (int)sizeof ordering->order.folder)
        return false; /* which says so */
    ordering->give_up_ms = transfers_now_ms(owner) + GIVE_UP_MS;
    uint8_t *record = xmemdup(ordering->record, ordering->record_size);
    uint8_t *torrent = NULL;
    size_t size = 0;
    metainfo_write_torrent(ordering->metainfo, clock_wall_s(), &torrent, &size);
    ordering->handed = true;
    const lb_err err = catalogue_hand(owner->catalogue, infohash, self->instance, &torrent, size,
                                      &record, ordering->record_size, on_handed, ordering);
    if (err != LB_OK)
        ordering_end(ordering, err, "too much to do", NULL);
    return true;
}

/* ---- adopting it ---- */

static void adopt_work(struct job *job)
{
    struct ordering *self = (struct ordering *)job;
    const struct catalogue *catalogue = self->owner->catalogue;
    const uint8_t *infohash = self->order.infohash;
    struct metainfo_problem problem;
    uint8_t *torrent = NULL;
    size_t size = 0;
    self->err = catalogue_handed(catalogue, infohash, self->from, CATALOGUE_RESUME, &self->record,
                                 &self->record_size);
    if (self->err == LB_OK)
        self->err =
            catalogue_handed(catalogue, infohash, self->from, CATALOGUE_TORRENT, &torrent, &size);
    if (self->err == LB_OK)
        self->err = metainfo_parse_as(bytes_of(torrent, size), infohash, &self->metainfo, &problem);
    free(torrent);
}

static void adopt_done(struct job *job, void *ctx)
{
    struct ordering *self = (struct ordering *)job;
    struct transfers *owner = ctx;
    if (self->err != LB_OK || owner->stopping) {
        ordering_end(self, self->err != LB_OK ? self->err : LB_UNAVAILABLE,
                     "what the other worker hashed cannot be read", NULL);
        return;
    }
    webseed_urls_add_all(&self->web_seeds, &self->metainfo->web_seeds);
    char *folder = xstrdup(self->order.folder);
    ordering_seed(self, folder);
    free(folder);
}

void transfers_adopt(struct transfers *self, const uint8_t infohash[20], const char *folder,
                     unsigned from, transfers_fn *done, void *ctx)
{
    if (folder[0] != '/' || strlen(folder) >= ORDER_FOLDER_SIZE || from >= CATALOGUE_HAND_MAX) {
        done(ctx, LB_INVALID, "the folder must be absolute, and not too long", NULL);
        return;
    }
    struct ordering *ordering = ordering_new(self, done, ctx);
    memcpy(ordering->order.infohash, infohash, sizeof ordering->order.infohash);
    snprintf(ordering->order.folder, sizeof ordering->order.folder, "%s", folder);
    ordering->from = from;
    ordering->job = (struct job){ .work = adopt_work, .done = adopt_done, .ctx = self };
    const lb_err err = pool_submit(self->pool, &ordering->job);
    if (err != LB_OK)
        ordering_end(ordering, err, "too much to do", NULL);
}
