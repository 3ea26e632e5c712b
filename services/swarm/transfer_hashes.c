/* A transfer's v2 side (BEP 52): both infohashes of a hybrid, and hashes asked for and given. */
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/swarm/hash_server.h"
#include "services/swarm/magnet.h"
#include "services/swarm/transfers_inside.h"

#include <stdlib.h>
#include <string.h>

/* ---- by which hashes it is known ---- */

void transfer_learn_hashes(struct transfer *self)
{
    struct magnet *magnet = xcalloc(1, sizeof *magnet);
    self->has_v1 = true;
    self->has_v2 = false;
    if (self->metainfo != NULL) {
        self->has_v1 = self->metainfo->kind & METAINFO_V1;
        self->has_v2 = self->metainfo->kind & METAINFO_V2;
        memcpy(self->infohash_v2, self->metainfo->infohash_v2, sizeof self->infohash_v2);
    } else if (magnet_parse(self->magnet, magnet) == LB_OK) {
        self->has_v1 = magnet->has_v1;
        self->has_v2 = magnet->has_v2;
        memcpy(self->infohash_v2, magnet->infohash_v2, sizeof self->infohash_v2);
    }
    free(magnet);
}

bool transfer_is_known_as(const struct transfer *self, const uint8_t infohash[20])
{
    return memcmp(self->infohash, infohash, sizeof self->infohash) == 0 ||
           (self->has_v2 && memcmp(self->infohash_v2, infohash, sizeof self->infohash) == 0);
}

/* ---- layers, before it begins ---- */

/* What they are to be given to: what came from peers, or what a person gave without them. */
static struct metainfo *lacking(const struct transfer *self)
{
    if (self->storage != NULL)
        return NULL;
    if (self->metainfo == NULL)
        return self->without_layers;
    return metainfo_lacks_layers(self->metainfo) ? self->metainfo : NULL;
}

void transfer_want_layers(struct transfer *self)
{
    transfer_set_state(self, TRANSFER_METADATA, "asking peers for the hashes of its pieces");
    torrent_set_private(&self->torrent, lacking(self)->is_private);
    torrent_want_layers(&self->torrent, lacking(self), transfers_now_ms(self->owner));
    transfers_touch(self);
}

/* They came after it had begun; each was proved. */
static void take_late(struct transfer *self, const uint8_t *roots)
{
    if (roots == NULL || !metainfo_lacks_layers(self->metainfo) ||
        metainfo_give_piece_roots(self->metainfo, roots) != LB_OK)
        return;
    torrent_set_v2(&self->torrent, self->metainfo);
    transfer_save_metainfo(self, self->metainfo);
    transfer_log(self, "knows the v2 hashes of its pieces, too");
}

void transfer_take_layers(struct transfer *self)
{
    const uint8_t *roots = torrent_layers(&self->torrent);
    struct metainfo *metainfo = lacking(self);
    if (self->storage != NULL && self->opened)
        take_late(self, roots);
    if (metainfo == NULL)
        return;
    /* Each was proved, so it fits; a hybrid may go on without. */
    if (roots != NULL && metainfo_give_piece_roots(metainfo, roots) != LB_OK)
        log_warn("layers of pieces do not fit their files");
    if (self->metainfo == NULL)
        self->without_layers = NULL;
    self->metainfo = NULL;
    transfer_save_metainfo(self, metainfo);
    transfer_adopt(self, metainfo);
}

/* ---- given ---- */

/* Leaves being read for somebody. */
struct giving {
    struct transfer *transfer;
    uint32_t peer;
    uint8_t payload[HASH_RANGE_SIZE];
};

static void give(struct transfer *self, uint32_t peer, const struct hash_range *range,
                 const uint8_t *leaves)
{
    const size_t size =
        HASH_RANGE_SIZE + ((size_t)range->length + hash_range_uncles(range)) * MERKLE_HASH_SIZE;
    uint8_t *buffer = xmalloc(size);
    struct writer writer;
    writer_init(&writer, buffer, size);
    hash_server_answer(self->hash_server, range, leaves, &writer);
    torrent_give_hashes(&self->torrent, peer, bytes_of(buffer, writer.size),
                        transfers_now_ms(self->owner));
    transfers_touch(self);
    free(buffer);
}

static void refuse(struct transfer *self, uint32_t peer, struct bytes payload)
{
    torrent_give_hashes(&self->torrent, peer, payload, transfers_now_ms(self->owner));
    transfers_touch(self);
}

static void on_leaves(void *ctx, lb_err err, const uint8_t *leaves)
{
    struct giving *giving = ctx;
    struct transfer *self = giving->transfer;
    struct hash_range range;
    struct bytes rest;
    const struct bytes payload = bytes_of(giving->payload, sizeof giving->payload);
    if (self->running && self->hash_server != NULL && err == LB_OK &&
        hash_range_read(payload, &range, &rest))
        give(self, giving->peer, &range, leaves);
    else if (self->running)
        refuse(self, giving->peer, payload);
    free(giving);
}

static lb_err read_leaves(struct transfer *self, uint32_t peer, struct bytes payload,
                          uint32_t piece)
{
    struct giving *giving = xcalloc(1, sizeof *giving);
    giving->transfer = self;
    giving->peer = peer;
    memcpy(giving->payload, payload.data, sizeof giving->payload);
    const lb_err err = storage_leaves(self->storage, piece, on_leaves, giving);
    if (err != LB_OK)
        free(giving);
    return err;
}

void transfer_give_hashes(struct transfer *self, uint32_t peer, struct bytes payload)
{
    struct hash_range range;
    struct bytes rest;
    uint32_t piece = 0;
    enum hash_need need = HASH_REFUSED;
    if (self->hash_server == NULL && self->metainfo != NULL &&
        !metainfo_lacks_layers(self->metainfo) && self->has_v2)
        self->hash_server = hash_server_new(self->metainfo);
    if (self->hash_server != NULL && self->storage != NULL &&
        hash_range_read(payload, &range, &rest))
        need = hash_server_look(self->hash_server, &range, &piece);
    if (need == HASH_KNOWN)
        give(self, peer, &range, NULL);
    else if (need != HASH_LEAVES || read_leaves(self, peer, payload, piece) != LB_OK)
        refuse(self, peer, payload);
}
