/*
 * What other workers' transfers of the same name hold on this disk: a new version of an image is
 * made from the old one, whoever has that. Told by the catalogue, read in the pool.
 */
#include "libcommon/memory.h"
#include "libcommon/pool.h"
#include "services/swarm/catalogue_shared.h"
#include "services/swarm/workers_inside.h"

#include <stdlib.h>
#include <string.h>

struct search {
    struct job job;
    struct transfers *owner;
    uint64_t asked; /* the transfer's, if it still waits for this */
    uint8_t infohash[20];
    char *name;
    struct storage_base bases[STORAGE_BASES_MAX];
    char *paths[STORAGE_BASES_MAX];
    uint32_t count;
};

static void look_at_one(struct search *self, const uint8_t infohash[20], struct order *order)
{
    const struct catalogue *catalogue = self->owner->catalogue;
    struct metainfo *metainfo = NULL;
    if (memcmp(infohash, self->infohash, sizeof self->infohash) == 0 ||
        catalogue_peek(catalogue, infohash, order) != LB_OK || order->device[0] != '\0' ||
        catalogue_read_metainfo(catalogue, infohash, &metainfo) != LB_OK)
        return;
    if (strcmp(metainfo->name, self->name) == 0) {
        char *path = transfers_path(order->folder, metainfo->name);
        self->paths[self->count] = path;
        self->bases[self->count++] = (struct storage_base){ .path = path, .known = metainfo };
    } else {
        metainfo_free(&metainfo);
    }
}

static void search_work(struct job *job)
{
    struct search *self = (struct search *)job;
    struct order *order = xmalloc(sizeof *order);
    uint8_t *infohashes = NULL;
    size_t count = 0;
    if (catalogue_list(self->owner->catalogue, &infohashes, &count) != LB_OK)
        count = 0; /* it is fetched, then */
    for (size_t i = 0; i < count && self->count < STORAGE_BASES_MAX; i++)
        look_at_one(self, infohashes + 20 * i, order);
    free(infohashes);
    free(order);
}

static void search_free(struct search *self)
{
    for (uint32_t i = 0; i < self->count; i++) {
        metainfo_free(&self->bases[i].known);
        free(self->paths[i]);
    }
    free(self->name);
    free(self);
}

static void search_done(struct job *job, void *ctx)
{
    struct search *self = (struct search *)job;
    struct transfers *owner = ctx;
    struct transfer *transfer = workers_find(owner->workers, self->infohash);
    if (transfer != NULL && transfer->bases_asked == self->asked && transfer->opened &&
        transfer->state == TRANSFER_CHECKING) {
        transfer->bases_asked = 0;
        transfer_reuse(transfer, self->bases, self->count);
        transfers_touch(transfer);
    }
    search_free(self);
}

bool workers_find_bases(struct workers *self, struct transfer *transfer)
{
    struct transfers *owner = self->transfers;
    if (self->active == 1)
        return false;
    struct search *search = xcalloc(1, sizeof *search);
    search->owner = owner;
    search->asked = transfer->bases_asked = ++owner->loads;
    memcpy(search->infohash, transfer->infohash, sizeof search->infohash);
    search->name = xstrdup(transfer->name);
    search->job = (struct job){ .work = search_work, .done = search_done, .ctx = owner };
    if (pool_submit(owner->pool, &search->job) == LB_OK)
        return true;
    transfer->bases_asked = 0;
    search_free(search);
    return false;
}
