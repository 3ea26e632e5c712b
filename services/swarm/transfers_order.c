#include "libcommon/actor.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/pool.h"
#include "services/swarm/device.h"
#include "services/swarm/magnet.h"
#include "services/swarm/ordering.h"
#include "services/swarm/resume.h"
#include "services/swarm/transfers_inside.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- orderings ---- */

struct ordering *ordering_new(struct transfers *owner, transfers_fn *done, void *ctx)
{
    struct ordering *self = xcalloc(1, sizeof *self);
    self->owner = owner;
    self->waiters[self->waiters_count++] = (struct waiter){ done, ctx };
    self->next = owner->orderings;
    owner->orderings = self;
    return self;
}

void ordering_end(struct ordering *self, lb_err err, const char *reason,
                  const struct transfer *transfer)
{
    for (struct ordering **at = &self->owner->orderings; *at != NULL; at = &(*at)->next) {
        if (*at != self)
            continue;
        *at = self->next;
        break;
    }
    for (size_t i = 0; i < self->waiters_count; i++)
        self->waiters[i].done(self->waiters[i].ctx, err, reason, transfer);
    metainfo_free(&self->metainfo);
    free(self->path);
    free(self->record);
    free(self->calls);
    webseed_urls_done(&self->web_seeds);
    free(self);
}

static void join_ordering(struct ordering *self, transfers_fn *done, void *ctx)
{
    if (self->waiters_count == TRANSFERS_WAITERS_MAX)
        done(ctx, LB_FULL, "too many wait for the same", NULL);
    else
        self->waiters[self->waiters_count++] = (struct waiter){ done, ctx };
}

void transfers_cancel_orders(struct transfers *self)
{
    for (struct ordering *at = self->orderings; at != NULL; at = at->next)
        if (at->create != NULL)
            create_cancel(at->create);
}

/* Its order is on its way to the disk; there is no transfer before it is there. */
static bool is_being_written(const struct transfers *self, const uint8_t infohash[20])
{
    return transfers_get(self, infohash) == NULL &&
           catalogue_find(self->catalogue, infohash) != NULL;
}

const char transfers_passing[] = "it passes from one worker to another";
static const char being_begun[] = "the same content is being begun by another order";

/* ---- loading ---- */

struct loading {
    struct job job;
    struct transfers *owner;
    uint8_t infohash[20];
    uint64_t load; /* the transfer's, if it is still for that one */
    struct metainfo *metainfo;
    uint8_t *record;
    size_t record_size;
    lb_err err;
    struct metainfo_problem problem;
};

/* In the pool: the parts are read and parsed there, since they may be large. */
static void load_work(struct job *job)
{
    struct loading *self = (struct loading *)job;
    uint8_t *data = NULL;
    size_t size = 0;
    if (catalogue_read(self->owner->catalogue, self->infohash, CATALOGUE_RESUME, &self->record,
                       &self->record_size) != LB_OK)
        self->record = NULL;
    self->err =
        catalogue_read(self->owner->catalogue, self->infohash, CATALOGUE_TORRENT, &data, &size);
    if (self->err != LB_OK)
        return;
    self->err =
        metainfo_parse_as(bytes_of(data, size), self->infohash, &self->metainfo, &self->problem);
    free(data);
}

static void load_done(struct job *job, void *ctx)
{
    struct loading *self = (struct loading *)job;
    struct transfers *owner = ctx;
    struct transfer *transfer = transfers_get(owner, self->infohash);
    owner->loading--;
    if (transfer != NULL && transfer->load == self->load && !owner->stopping) {
        /* Without its metainfo a fetch asks the peers again; a share cannot. */
        if (self->metainfo == NULL && transfer->kind == ORDER_SHARE) {
            transfer_fail(transfer, self->err, "its .torrent file");
        } else {
            if (self->metainfo != NULL) {
                transfer_know(transfer, self->metainfo);
                self->metainfo = NULL;
            }
            transfer_start(transfer, self->record, self->record_size);
            self->record = NULL;
            transfers_arm(owner, transfer_deadline_ms(transfer));
        }
    }
    metainfo_free(&self->metainfo);
    free(self->record);
    free(self);
}

struct transfer *transfers_load_one(struct transfers *self, const struct order *order,
                                    enum ownership_place place)
{
    struct transfer *transfer = transfer_new(self, order);
    transfer->place = place;
    transfers_put_in(self, transfer);
    struct loading *loading = xcalloc(1, sizeof *loading);
    loading->owner = self;
    loading->load = transfer->load = ++self->loads;
    memcpy(loading->infohash, order->infohash, sizeof loading->infohash);
    loading->job = (struct job){ .work = load_work, .done = load_done, .ctx = self };
    self->loading++;
    if (pool_submit(self->pool, &loading->job) == LB_OK)
        return transfer;
    /* At most as many orders as the pool takes jobs: this does not happen, but must do no harm. */
    load_work(&loading->job);
    load_done(&loading->job, self);
    return transfer;
}

void transfers_load(struct transfers *self)
{
    for (size_t i = 0; i < catalogue_count(self->catalogue); i++)
        (void)transfers_load_one(self, catalogue_at(self->catalogue, i), OWNERSHIP_HELD);
    if (catalogue_damaged(self->catalogue) > 0)
        log_warn("%zu orders are damaged and were put aside, or cannot be read",
                 catalogue_damaged(self->catalogue));
    if (self->count > 0)
        log_info("%zu transfers are taken up again", self->count);
}

/* ---- removing ---- */

struct removal {
    transfers_fn *done;
    void *ctx;
};

static void on_removed(void *ctx, lb_err err)
{
    struct removal *removal = ctx;
    if (removal->done != NULL)
        removal->done(removal->ctx, err, lb_err_text(err), NULL);
    free(removal);
}

void transfers_remove(struct transfers *self, const uint8_t infohash[20], transfers_fn *done,
                      void *ctx)
{
    struct transfer *transfer = transfers_get(self, infohash);
    if (transfer == NULL) {
        if (done != NULL)
            done(ctx, LB_NOT_FOUND, "there is no such transfer", NULL);
        return;
    }
    if (transfer->place != OWNERSHIP_HELD) {
        if (done != NULL)
            done(ctx, LB_UNAVAILABLE, transfers_passing, NULL);
        return;
    }
    workers_unseed(self->workers, transfer);
    struct removal *removal = xcalloc(1, sizeof *removal);
    *removal = (struct removal){ .done = done, .ctx = ctx };
    uint8_t copy[20];
    memcpy(copy, infohash, sizeof copy);
    transfers_take_out(self, transfer);
    const lb_err err = catalogue_remove(self->catalogue, copy, on_removed, removal);
    if (err != LB_OK)
        on_removed(removal, err);
}

/* ---- sharing ---- */

static void on_share_opened(void *ctx, lb_err err, const char *reason,
                            const struct transfer *transfer)
{
    ordering_end(ctx, err, reason, transfer);
}

static void on_share_stored(void *ctx, lb_err err)
{
    struct ordering *self = ctx;
    struct transfers *owner = self->owner;
    if (err != LB_OK || owner->stopping) {
        ordering_end(self, err != LB_OK ? err : LB_UNAVAILABLE, lb_err_text(err), NULL);
        return;
    }
    struct transfer *transfer = transfer_new(owner, &self->order);
    transfers_put_in(owner, transfer);
    transfer_know(transfer, metainfo_keep(self->metainfo));
    transfer->on_open = on_share_opened;
    transfer->on_open_ctx = self;
    self->opening = true;
    uint8_t *copy = xmemdup(self->record, self->record_size);
    if (catalogue_write(owner->catalogue, self->order.infohash, CATALOGUE_RESUME, &copy,
                        self->record_size, NULL, NULL) != LB_OK)
        log_warn("resume record not saved: too much to do");
    uint8_t *record = self->record;
    self->record = NULL;
    transfer_start(transfer, record, self->record_size);
}

static bool is_share_of(const struct transfer *transfer, const char *path)
{
    if (transfer->kind != ORDER_SHARE || transfer->metainfo == NULL ||
        transfer->place != OWNERSHIP_HELD)
        return false;
    char *own = transfer_path(transfer);
    const bool same = strcmp(own, path) == 0;
    free(own);
    return same;
}

static struct transfer *find_share(const struct transfers *self, const char *path)
{
    for (size_t i = 0; i < self->count; i++)
        if (is_share_of(self->items[i], path))
            return self->items[i];
    return NULL;
}

/* The same path held something else before: that can no longer be served. */
static void replace_share(struct ordering *self)
{
    char *path = transfers_path(self->order.folder, self->metainfo->name);
    struct transfer *old = find_share(self->owner, path);
    free(path);
    if (old == NULL)
        return;
    log_info("a share gives way: its content was changed");
    transfers_remove(self->owner, old->infohash, NULL, NULL);
}

/* It is there already: seeded, or on its way. */
static void share_again(struct ordering *self, struct transfer *transfer)
{
    if (transfer->running && transfer->torrent.complete) {
        ordering_end(self, LB_OK, "", transfer);
    } else if (transfer->kind == ORDER_SHARE && transfer->on_open == NULL &&
               (transfer->storage != NULL || transfer->again)) {
        transfer->on_open = on_share_opened;
        transfer->on_open_ctx = self;
    } else {
        char *path = transfer_path(transfer);
        char *reason = xasprintf("the same content is being fetched or has failed at %s", path);
        ordering_end(self, LB_EXISTS, reason, NULL);
        free(reason);
        free(path);
    }
}

/* It was shared before; web seeds told now are added to those it has. */
static void share_also_from(struct transfer *transfer, const struct webseed_urls *urls)
{
    if (urls->count == 0 || transfer->metainfo == NULL)
        return;
    webseed_urls_add_all(&transfer->metainfo->web_seeds, urls);
    transfer_save_metainfo(transfer, transfer->metainfo);
}

static void on_created(void *ctx, lb_err err, const struct create_result *result,
                       const char *problem)
{
    struct ordering *self = ctx;
    self->create = NULL;
    if (err != LB_OK) {
        /* Cancelled only since this worker ends: another will do it. */
        ordering_end(self, err == LB_CANCELLED ? LB_UNAVAILABLE : err, problem, NULL);
        return;
    }
    self->metainfo = result->metainfo;
    webseed_urls_add_all(&self->metainfo->web_seeds, &self->web_seeds);
    struct resume *resume = result->resume;
    resume_encode(resume, &self->record, &self->record_size);
    resume_free(&resume);
    if (result->empty_folders > 0)
        log_warn("share leaves %u empty folders out", result->empty_folders);
    if (!workers_hand_share(self, result->folder))
        ordering_seed(self, result->folder);
}

void ordering_seed(struct ordering *self, const char *folder)
{
    struct transfers *owner = self->owner;
    struct transfer *there = transfers_get(owner, self->metainfo->infohash);
    if (there != NULL && there->place != OWNERSHIP_HELD) {
        ordering_end(self, LB_UNAVAILABLE, transfers_passing, NULL);
        return;
    }
    const bool failed =
        there != NULL && there->kind == ORDER_SHARE && there->state == TRANSFER_FAILED;
    if (there != NULL && !failed) {
        share_also_from(there, &self->web_seeds);
        share_again(self, there);
        return;
    }
    if (there == NULL && is_being_written(owner, self->metainfo->infohash)) {
        ordering_end(self, LB_EXISTS, being_begun, NULL);
        return;
    }
    /* What failed since its content was not there begins anew: its content was just read. */
    if (failed)
        transfers_take_out(owner, there);
    self->order.kind = ORDER_SHARE;
    self->order.priority = ORDER_PRIORITY;
    self->order.added_s = clock_wall_s();
    memcpy(self->order.infohash, self->metainfo->infohash, sizeof self->order.infohash);
    if (snprintf(self->order.folder, sizeof self->order.folder, "%s", folder) >=
        (int)sizeof self->order.folder) {
        ordering_end(self, LB_TOO_BIG, "the path is too long", NULL);
        return;
    }
    replace_share(self);
    workers_replace_share(self);
    uint8_t *torrent = NULL;
    size_t size = 0;
    metainfo_write_torrent(self->metainfo, clock_wall_s(), &torrent, &size);
    const lb_err put = catalogue_put(owner->catalogue, &self->order, bytes_of(torrent, size),
                                     on_share_stored, self);
    free(torrent);
    if (put != LB_OK)
        ordering_end(self, put,
                     put == LB_UNAVAILABLE ? transfers_passing
                                           : "too many transfers, or too much to do",
                     NULL);
}

static struct resume *known_resume(const struct transfer *known)
{
    uint8_t *data = NULL;
    size_t size = 0;
    struct resume *resume = NULL;
    if (known == NULL || known->storage == NULL || !known->opened)
        return NULL;
    storage_record(known->storage, clock_wall_s(), &data, &size);
    if (resume_parse(bytes_of(data, size), known->infohash, &known->metainfo->layout, &resume) !=
        LB_OK)
        resume = NULL;
    free(data);
    return resume;
}

void transfers_share(struct transfers *self, const struct transfers_share *share,
                     transfers_fn *done, void *ctx)
{
    struct webseed_urls web_seeds = { 0 };
    for (size_t i = 0; i < share->web_seeds_count; i++) {
        if (webseed_urls_add(&web_seeds,
                             bytes_of(share->web_seeds[i], strlen(share->web_seeds[i]))))
            continue;
        webseed_urls_done(&web_seeds);
        done(ctx, LB_INVALID, "a web seed is an http or https URL; there may be 64", NULL);
        return;
    }
    char *clean = xstrdup(share->path);
    for (size_t size = strlen(clean); size > 1 && clean[size - 1] == '/'; size--)
        clean[size - 1] = '\0';
    for (struct ordering *at = self->orderings; at != NULL; at = at->next) {
        if (at->path == NULL || strcmp(at->path, clean) != 0)
            continue;
        free(clean);
        webseed_urls_add_all(&at->web_seeds, &web_seeds);
        webseed_urls_done(&web_seeds);
        join_ordering(at, done, ctx);
        return;
    }
    struct ordering *ordering = ordering_new(self, done, ctx);
    ordering->path = clean;
    ordering->web_seeds = web_seeds;
    ordering->request = (struct create_request){
        .path = clean,
        .piece_length = share->piece_length,
        .kind = share->kind,
        .is_private = share->is_private,
    };
    const struct transfer *known = find_share(self, clean);
    if (known == NULL && workers_find_share(ordering))
        return;
    ordering->has_before = known != NULL;
    if (known != NULL)
        memcpy(ordering->before, known->infohash, sizeof ordering->before);
    struct resume *resume = known_resume(known);
    ordering_create(ordering, resume != NULL ? known->metainfo : NULL, resume);
    resume_free(&resume);
}

void ordering_create(struct ordering *self, struct metainfo *known, const struct resume *resume)
{
    self->request.known = known;
    self->request.known_resume = resume;
    const lb_err err =
        create_start(self->owner->pool, &self->request, on_created, self, &self->create);
    if (err == LB_INVALID)
        ordering_end(self, err, "the path must be absolute, and the piece length a power of two",
                     NULL);
    else if (err != LB_OK)
        ordering_end(self, err, lb_err_text(err), NULL);
}

/* ---- fetching ---- */

static void on_fetch_stored(void *ctx, lb_err err)
{
    struct ordering *self = ctx;
    struct transfers *owner = self->owner;
    if (err != LB_OK || owner->stopping) {
        ordering_end(self, err != LB_OK ? err : LB_UNAVAILABLE, lb_err_text(err), NULL);
        return;
    }
    struct transfer *transfer = transfer_new(owner, &self->order);
    transfers_put_in(owner, transfer);
    if (self->metainfo != NULL)
        transfer_know(transfer, metainfo_keep(self->metainfo));
    transfer->calls = self->calls;
    transfer->calls_count = self->calls_count;
    self->calls = NULL;
    transfer_start(transfer, NULL, 0);
    transfers_arm(owner, transfer_deadline_ms(transfer));
    ordering_end(self, LB_OK, "", transfer);
}

static void look_at_folder(struct ordering *self)
{
    const char *folder = self->order.folder;
    struct stat found;
    if (stat(folder, &found) != 0)
        self->err = errno == EACCES ? LB_DENIED : LB_NOT_FOUND;
    else if (!S_ISDIR(found.st_mode))
        self->err = LB_INVALID;
    else if (access(folder, W_OK | X_OK) != 0)
        self->err = LB_DENIED;
    if (self->err != LB_OK)
        snprintf(self->reason, sizeof self->reason, "the folder %.400s: %s", folder,
                 self->err == LB_INVALID ? "is no folder" : lb_err_text(self->err));
}

/* From now on it is this device, whatever its path names later. */
static void look_at_device(struct ordering *self)
{
    const struct metainfo *metainfo = self->metainfo;
    struct device_facts facts;
    self->err = device_look(self->order.device, metainfo != NULL ? metainfo->layout.length : 0,
                            &facts, self->reason);
    if (self->err == LB_OK)
        memcpy(self->order.identity, facts.identity, sizeof facts.identity);
}

/* In the pool: is there what was named, and may we write to it? */
static void folder_work(struct job *job)
{
    struct ordering *self = (struct ordering *)job;
    const char *base = self->order.base;
    if (self->order.device[0] != '\0')
        look_at_device(self);
    else
        look_at_folder(self);
    if (self->err != LB_OK || base[0] == '\0' || access(base, R_OK) == 0)
        return;
    self->err = errno == EACCES ? LB_DENIED : LB_NOT_FOUND;
    snprintf(self->reason, sizeof self->reason, "the base %.400s: %s", base,
             lb_err_text(self->err));
}

static void folder_done(struct job *job, void *ctx)
{
    struct ordering *self = (struct ordering *)job;
    struct transfers *owner = ctx;
    if (self->err != LB_OK || owner->stopping) {
        ordering_end(self, self->err != LB_OK ? self->err : LB_UNAVAILABLE,
                     self->err != LB_OK ? self->reason : "the node stops", NULL);
        return;
    }
    /* A share of the same may have come first while the folder was looked at. */
    if (catalogue_find(owner->catalogue, self->order.infohash) != NULL) {
        ordering_end(self, LB_EXISTS, being_begun, NULL);
        return;
    }
    uint8_t *torrent = NULL;
    size_t size = 0;
    if (self->metainfo != NULL)
        metainfo_write_torrent(self->metainfo, 0, &torrent, &size);
    const lb_err err = catalogue_put(owner->catalogue, &self->order, bytes_of(torrent, size),
                                     on_fetch_stored, self);
    free(torrent);
    if (err != LB_OK)
        ordering_end(self, err,
                     err == LB_UNAVAILABLE ? transfers_passing
                                           : "too many transfers, or too much to do",
                     NULL);
}

/* What is selected now is fetched besides what was before; nothing said means everything. */
static lb_err select_more(struct transfer *transfer, const char *selection, char **ret_reason)
{
    if (transfer->select[0] == '\0')
        return LB_OK; /* it is all wanted */
    char *before = transfer->select;
    /* One that failed may have failed by its selection. */
    const bool anew = transfer->state == TRANSFER_FAILED && !transfer->running;
    transfer->select = transfers_join_selections(anew ? selection : before, selection);
    const lb_err err = transfer->select == NULL ? LB_FULL
                       : transfer->opened       ? transfer_apply_selection(transfer, ret_reason)
                                                : LB_OK;
    if (err != LB_OK) {
        free(transfer->select);
        transfer->select = before;
        if (transfer->opened)
            (void)!transfer_apply_selection(transfer, ret_reason);
        return err;
    }
    free(before);
    transfer_save_order(transfer);
    if (transfer->opened)
        transfer_go_on(transfer);
    transfers_touch(transfer);
    return LB_OK;
}

static void copy_path(char to[ORDER_FOLDER_SIZE], const char *path)
{
    snprintf(to, ORDER_FOLDER_SIZE, "%s", path != NULL ? path : "");
}

static bool is_absolute(const char *path)
{
    return path[0] == '/' && strlen(path) < ORDER_FOLDER_SIZE;
}

static bool is_given(const char *path)
{
    return path != NULL && path[0] != '\0';
}

/* Why an order cannot be taken, or NULL. */
static const char *find_fault(const struct transfers_fetch *fetch)
{
    if (fetch->magnet != NULL && strlen(fetch->magnet) >= ORDER_MAGNET_SIZE)
        return "the link is too long";
    if (is_given(fetch->device) ? !is_absolute(fetch->device) : !is_absolute(fetch->folder))
        return "the folder must be absolute, and not too long";
    if (is_given(fetch->base) && !is_absolute(fetch->base))
        return "the base path must be absolute, and not too long";
    return NULL;
}

static bool goes_elsewhere(const struct transfer *transfer, const struct transfers_fetch *fetch)
{
    if (transfer->device != NULL || is_given(fetch->device))
        return transfer->device == NULL || !is_given(fetch->device) ||
               strcmp(transfer->device, fetch->device) != 0;
    size_t length = strlen(fetch->folder);
    while (length > 1 && fetch->folder[length - 1] == '/')
        length--;
    return strlen(transfer->folder) != length ||
           memcmp(transfer->folder, fetch->folder, length) != 0;
}

/* Where it is to go, and what it is; NULL: it is there already, and so. */
static char *find_difference(const struct transfer *transfer, const struct transfers_fetch *fetch)
{
    if (!goes_elsewhere(transfer, fetch))
        return NULL;
    return xasprintf("it is already %s in %s", transfer->kind == ORDER_SHARE ? "shared" : "fetched",
                     transfer->device != NULL ? transfer->device : transfer->folder);
}

/* It is there already: the same answer at once, unless it was to go elsewhere. */
static void fetch_again(struct transfer *transfer, struct metainfo **metainfo,
                        const struct transfers_fetch *fetch, const char *selection,
                        transfers_fn *done, void *ctx)
{
    char *reason = find_difference(transfer, fetch);
    lb_err err = reason != NULL ? LB_EXISTS : LB_OK;
    if (err == LB_OK)
        err = select_more(transfer, selection, &reason);
    if (err != LB_OK) {
        done(ctx, err, reason != NULL ? reason : "too much is selected", NULL);
        free(reason);
        return;
    }
    if (transfer->metainfo == NULL && *metainfo != NULL && transfer->running) {
        struct metainfo *given = *metainfo;
        *metainfo = NULL;
        transfer_adopt(transfer, given);
    } else if (transfer->state == TRANSFER_FAILED && !transfer->running &&
               transfer->storage == NULL && !transfer->storage_closing) {
        transfer_start(transfer, NULL, 0);
    }
    if (fetch->priority != 0)
        err = transfers_set_limits(transfer->owner, transfer->infohash,
                                   &(struct transfers_limits){ .priority = fetch->priority });
    for (size_t i = 0; i < fetch->peers_count && transfer->running; i++)
        if (!transfers_is_own(transfer->owner, &fetch->peers[i]))
            torrent_call_address(&transfer->torrent, &fetch->peers[i],
                                 transfers_now_ms(transfer->owner));
    transfers_touch(transfer);
    done(ctx, err, "a priority is 1 to 3", err == LB_OK ? transfer : NULL);
}

lb_err transfers_read_source(const struct transfers_fetch *fetch, uint8_t infohash[20],
                             struct metainfo **ret_metainfo, struct metainfo_problem *problem)
{
    if (fetch->magnet == NULL) {
        const lb_err err = metainfo_parse(fetch->metainfo, ret_metainfo, problem);
        if (err == LB_OK)
            memcpy(infohash, (*ret_metainfo)->infohash, 20);
        return err;
    }
    struct magnet *magnet = xcalloc(1, sizeof *magnet);
    const lb_err err = magnet_parse(fetch->magnet, magnet);
    if (err == LB_OK)
        memcpy(infohash, magnet->infohash, 20);
    else
        snprintf(problem->text, sizeof problem->text, "%s",
                 err == LB_UNSUPPORTED ? "a magnet link with a hash of another kind alone"
                                       : "no magnet link");
    free(magnet);
    return err;
}

static void begin_fetch(struct transfers *self, const struct transfers_fetch *fetch,
                        const uint8_t infohash[20], struct metainfo *metainfo,
                        const char *selection, transfers_fn *done, void *ctx)
{
    struct ordering *ordering = ordering_new(self, done, ctx);
    ordering->metainfo = metainfo;
    struct order *order = &ordering->order;
    order->kind = ORDER_FETCH;
    order->has_seed_for = fetch->has_seed_for;
    order->seed_for_s = fetch->seed_for_s;
    order->added_s = clock_wall_s();
    memcpy(order->infohash, infohash, sizeof order->infohash);
    copy_path(order->folder, fetch->folder);
    copy_path(order->device, fetch->device);
    copy_path(order->base, fetch->base);
    order->verify = fetch->verify;
    if (order->device[0] != '\0')
        snprintf(order->folder, sizeof order->folder, "/");
    for (size_t size = strlen(order->folder); size > 1 && order->folder[size - 1] == '/'; size--)
        order->folder[size - 1] = '\0';
    if (fetch->magnet != NULL)
        snprintf(order->magnet, sizeof order->magnet, "%s", fetch->magnet);
    order->priority = fetch->priority != 0 ? fetch->priority : ORDER_PRIORITY;
    snprintf(order->select, sizeof order->select, "%s", selection);
    ordering->calls = xmemdup(fetch->peers, fetch->peers_count * sizeof *fetch->peers);
    ordering->calls_count = fetch->peers_count;
    ordering->job = (struct job){ .work = folder_work, .done = folder_done, .ctx = self };
    const lb_err err = pool_submit(self->pool, &ordering->job);
    if (err != LB_OK)
        ordering_end(ordering, err, "too much to do", NULL);
}

void transfers_fetch(struct transfers *self, const struct transfers_fetch *fetch,
                     transfers_fn *done, void *ctx)
{
    struct metainfo_problem problem = { "" };
    struct metainfo *metainfo = NULL;
    uint8_t infohash[20];
    const char *fault = find_fault(fetch);
    if (fault != NULL) {
        done(ctx, LB_INVALID, fault, NULL);
        return;
    }
    const lb_err err = transfers_read_source(fetch, infohash, &metainfo, &problem);
    if (err != LB_OK) {
        done(ctx, err, problem.text, NULL);
        return;
    }
    char *selection = NULL;
    char *reason = NULL;
    const lb_err selected = transfers_read_selection(fetch, metainfo, &selection, &reason);
    if (selected != LB_OK) {
        done(ctx, selected, reason, NULL);
        free(reason);
        metainfo_free(&metainfo);
        return;
    }
    struct transfer *there = transfers_get(self, infohash);
    if (there != NULL && there->place != OWNERSHIP_HELD) {
        done(ctx, LB_UNAVAILABLE, transfers_passing, NULL);
        free(selection);
        metainfo_free(&metainfo);
        return;
    }
    if (there != NULL) {
        fetch_again(there, &metainfo, fetch, selection, done, ctx);
        free(selection);
        metainfo_free(&metainfo);
        return;
    }
    for (struct ordering *at = self->orderings; at != NULL; at = at->next) {
        if (at->order.kind != ORDER_FETCH || at->path != NULL ||
            memcmp(at->order.infohash, infohash, sizeof infohash) != 0)
            continue;
        free(selection);
        metainfo_free(&metainfo);
        join_ordering(at, done, ctx);
        return;
    }
    begin_fetch(self, fetch, infohash, metainfo, selection, done, ctx);
    free(selection);
}
