/* What a transfer's torrent wants done, and what of it is written down. */
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/swarm/transfers_inside.h"

#include <stdlib.h>

static void on_order_saved(void *ctx, lb_err err)
{
    (void)ctx;
    if (err != LB_OK)
        log_warn("order not saved: %s", lb_err_text(err));
}

void transfer_save_order(struct transfer *self)
{
    if (self->place != OWNERSHIP_HELD)
        return;
    struct order *order = xcalloc(1, sizeof *order);
    transfer_order(self, order);
    if (catalogue_put(self->owner->catalogue, order, (struct bytes){ 0 }, on_order_saved, NULL) !=
        LB_OK)
        log_warn("order not saved: too much to do");
    free(order);
}

void transfer_save_metainfo(const struct transfer *self, const struct metainfo *metainfo)
{
    uint8_t *file = NULL;
    size_t size = 0;
    if (self->place != OWNERSHIP_HELD)
        return;
    metainfo_write_torrent(metainfo, 0, &file, &size);
    if (catalogue_write(self->owner->catalogue, self->infohash, CATALOGUE_TORRENT, &file, size,
                        NULL, NULL) != LB_OK)
        log_warn("metainfo not saved: too much to do");
}

/* The info dictionary came from peers and its hash fits. */
static void take_metadata(struct transfer *self, struct bytes info)
{
    struct metainfo_problem problem = { "" };
    struct metainfo *metainfo = NULL;
    /* A person gave it meanwhile, and its storage is being opened. */
    if (self->metainfo != NULL)
        return;
    const lb_err err = metainfo_parse_info(info, self->infohash, &metainfo, &problem);
    if (err != LB_OK) {
        torrent_refuse_metadata(&self->torrent);
        transfer_fail(self, err, problem.text);
        return;
    }
    const char *foreign = transfers_foreign(self->owner, metainfo);
    if (foreign != NULL) {
        torrent_refuse_metadata(&self->torrent);
        transfer_fail(self, LB_DENIED, foreign);
        metainfo_free(&metainfo);
        return;
    }
    transfer_log(self, "knows its metainfo");
    if (metainfo_lacks_layers(metainfo)) {
        metainfo_free(&self->without_layers);
        self->without_layers = metainfo;
        transfer_want_layers(self);
        return;
    }
    transfer_save_metainfo(self, metainfo);
    transfer_adopt(self, metainfo);
}

static void perform(struct transfer *self, const struct torrent_action *action)
{
    struct connection *connection = NULL;
    switch (action->kind) {
    case TORRENT_SEND:
        connection = transfer_connection(self, action->peer);
        if (connection != NULL)
            connection_send(connection, &action->message);
        break;
    case TORRENT_SEND_BLOCK:
        transfer_send_block(self, action);
        break;
    case TORRENT_CONNECT:
        transfers_connect(self->owner, self, &action->address);
        break;
    case TORRENT_DISCONNECT:
        transfer_disconnect(self, action);
        break;
    case TORRENT_VERIFY:
        transfer_verify(self, action->message.piece);
        break;
    case TORRENT_FORGET:
        transfer_free_incoming(self, action->message.piece);
        break;
    case TORRENT_METADATA:
        take_metadata(self, action->message.payload);
        break;
    case TORRENT_LAYERS:
        transfer_take_layers(self);
        break;
    case TORRENT_GIVE_HASHES:
        transfer_give_hashes(self, action->peer, action->message.payload);
        break;
    case TORRENT_COMPLETE:
        transfer_complete(self);
        break;
    case TORRENT_ANNOUNCE:
        transfers_announce(self->owner, self);
        break;
    }
}

void transfer_settle(struct transfer *self)
{
    struct torrent_action action;
    while (self->running && torrent_next(&self->torrent, transfers_now_ms(self->owner), &action))
        perform(self, &action);
    transfer_run_webseeds(self);
    transfers_arm(self->owner, transfer_webseeds_deadline_ms(self));
    if (self->running)
        transfers_arm(self->owner, torrent_deadline_ms(&self->torrent));
}
