/* Orders: those being begun, those of the catalogue taken up again, and those removed. */
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "libcommon/pool.h"
#include "services/swarm/ordering.h"
#include "services/swarm/transfers_inside.h"

#include <stdlib.h>
#include <string.h>

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

void ordering_join(struct ordering *self, transfers_fn *done, void *ctx)
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

const char transfers_passing[] = "it passes from one worker to another";
const char ordering_being_begun[] = "the same content is being begun by another order";

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
};

/* In the pool: the parts are read and parsed there, since they may be large. */
static void load_work(struct job *job)
{
    struct loading *self = (struct loading *)job;
    if (catalogue_read(self->owner->catalogue, self->infohash, CATALOGUE_RESUME, &self->record,
                       &self->record_size) != LB_OK)
        self->record = NULL;
    self->err = catalogue_read_metainfo(self->owner->catalogue, self->infohash, &self->metainfo);
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
