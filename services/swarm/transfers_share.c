/* Sharing: what lies at a path is hashed, written down and seeded. */
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/swarm/ordering.h"
#include "services/swarm/resume.h"
#include "services/swarm/transfers_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    uint8_t *copy = xmemdup(self->record, self->record_size);
    if (catalogue_write(owner->catalogue, self->order.infohash, CATALOGUE_RESUME, &copy,
                        self->record_size, NULL, NULL) != LB_OK)
        log_warn("resume record not saved: too much to do");
    uint8_t *record = self->record;
    self->record = NULL;
    transfer_start(transfer, record, self->record_size);
}

/* Its order is on its way to the disk; there is no transfer before it is there. */
static bool is_being_written(const struct transfers *self, const uint8_t infohash[20])
{
    return transfers_get(self, infohash) == NULL &&
           catalogue_find(self->catalogue, infohash) != NULL;
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
        ordering_end(self, LB_EXISTS, ordering_being_begun, NULL);
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
        ordering_join(at, done, ctx);
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
    self->request.ssl_cert = transfers_ssl_cert(self->owner);
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
