/* Fetching: an order is looked at, written down and begun; one that is there already goes on. */
#include "libcommon/clock.h"
#include "libcommon/memory.h"
#include "libcommon/pool.h"
#include "services/swarm/device.h"
#include "services/swarm/magnet.h"
#include "services/swarm/ordering.h"
#include "services/swarm/transfers_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
        ordering_end(self, LB_EXISTS, ordering_being_begun, NULL);
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
    const char *foreign = metainfo != NULL ? transfers_foreign(self, metainfo) : NULL;
    if (foreign != NULL) {
        done(ctx, LB_DENIED, foreign, NULL);
        metainfo_free(&metainfo);
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
        ordering_join(at, done, ctx);
        return;
    }
    begin_fetch(self, fetch, infohash, metainfo, selection, done, ctx);
    free(selection);
}
