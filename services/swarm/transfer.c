#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/hash_server.h"
#include "services/swarm/magnet.h"
#include "services/swarm/transfers_inside.h"

#include "libcommon/actor.h"
#include "libcommon/config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char version[] = "Littlebird " LB_VERSION;

void transfer_log(const struct transfer *self, const char *what)
{
    char hex[41];
    hex_encode(self->infohash, 20, hex);
    log_info("transfer %s infohash=%s%s%s", what, hex, self->note[0] != '\0' ? ": " : "",
             self->note);
}

void transfer_set_state(struct transfer *self, enum transfer_state state, const char *note)
{
    self->state = state;
    snprintf(self->note, sizeof self->note, "%s", note);
}

/*
 * When its time of seeding ends: counted by the steady clock from now on, so that a step of the
 * wall clock changes nothing while it runs; what it lost or won over a restart is never more than
 * all.
 */
void transfer_set_seeding_end(struct transfer *self)
{
    const uint64_t now_s = clock_wall_s();
    uint64_t left_s = self->seed_for_s;
    if (!self->has_seed_for || self->completed_s == 0) {
        self->seed_until_ms = UINT64_MAX;
        return;
    }
    if (now_s > self->completed_s)
        left_s = now_s - self->completed_s < left_s ? left_s - (now_s - self->completed_s) : 0;
    self->seed_until_ms = transfers_now_ms(self->owner) + left_s * 1000;
}

/* ---- life ---- */

struct transfer *transfer_new(struct transfers *owner, const struct order *order)
{
    struct transfer *self = xcalloc(1, sizeof *self);
    struct magnet *magnet = xcalloc(1, sizeof *magnet);
    self->owner = owner;
    self->place = OWNERSHIP_HELD;
    memcpy(self->infohash, order->infohash, sizeof self->infohash);
    self->kind = order->kind;
    self->has_seed_for = order->has_seed_for;
    self->seed_for_s = order->seed_for_s;
    self->completed_s = order->completed_s;
    self->verify = order->verify;
    self->verified_s = order->verified_s;
    self->base = order->base[0] != '\0' ? xstrdup(order->base) : NULL;
    self->device = order->device[0] != '\0' ? xstrdup(order->device) : NULL;
    self->identity = xstrdup(order->identity);
    self->added_s = order->added_s;
    self->priority = order->priority != 0 ? order->priority : ORDER_PRIORITY;
    self->select = xstrdup(order->select);
    limits_share_init(&self->share, &owner->limits, self, transfer_weight(self->priority));
    limits_share_set(&self->share, LIMITS_RECEIVE, order->receive_limit, transfers_now_ms(owner));
    limits_share_set(&self->share, LIMITS_SEND, order->send_limit, transfers_now_ms(owner));
    self->folder = xstrdup(order->folder);
    self->magnet = xstrdup(order->magnet);
    self->name = magnet_parse(order->magnet, magnet) == LB_OK ? xstrdup(magnet->name) : xstrdup("");
    transfer_set_seeding_end(self);
    transfer_learn_hashes(self);
    transfer_set_state(self, TRANSFER_CHECKING, "reading its state");
    free(magnet);
    return self;
}

void transfer_free(struct transfer **self)
{
    struct transfer *freed = *self;
    *self = NULL;
    if (freed == NULL)
        return;
    assert(freed->storage == NULL && !freed->running);
    hash_server_free(&freed->hash_server);
    metainfo_free(&freed->without_layers);
    metainfo_free(&freed->metainfo);
    free(freed->record);
    free(freed->select);
    free(freed->files);
    free(freed->calls);
    free(freed->connections);
    free(freed->base);
    free(freed->device);
    free(freed->identity);
    free(freed->unproven);
    free(freed->folder);
    free(freed->magnet);
    free(freed->name);
    free(freed);
}

void transfer_order(const struct transfer *self, struct order *ret_order)
{
    const struct order *known = catalogue_find(self->owner->catalogue, self->infohash);
    *ret_order = (struct order){ .kind = self->kind };
    if (known != NULL)
        *ret_order = *known;
    memcpy(ret_order->infohash, self->infohash, sizeof ret_order->infohash);
    ret_order->has_seed_for = self->has_seed_for;
    ret_order->seed_for_s = self->seed_for_s;
    ret_order->completed_s = self->completed_s;
    ret_order->verify = self->verify;
    ret_order->verified_s = self->verified_s;
    ret_order->priority = self->priority;
    ret_order->receive_limit = self->share.bucket[LIMITS_RECEIVE].rate;
    ret_order->send_limit = self->share.bucket[LIMITS_SEND].rate;
    snprintf(ret_order->select, sizeof ret_order->select, "%s", self->select);
}

static void answer_open(struct transfer *self, lb_err err, const char *reason)
{
    transfers_fn *on_open = self->on_open;
    self->on_open = NULL;
    self->answer_by_ms = 0;
    if (on_open != NULL)
        on_open(self->on_open_ctx, err, reason, err == LB_OK ? self : NULL);
}

/* It is seeded; who shared it hears so once others can find it, or could not be told. */
static void answer_shared(struct transfer *self)
{
    if (self->on_open == NULL || self->answer_by_ms != 0)
        return;
    if (self->metainfo->is_private) {
        answer_open(self, LB_OK, "");
        return;
    }
    self->answer_by_ms = transfers_now_ms(self->owner) + TRANSFERS_TOLD_MS;
    transfers_arm(self->owner, self->answer_by_ms);
}

void transfer_was_announced(struct transfer *self)
{
    if (self->answer_by_ms == 0)
        return;
    self->answer_by_ms = 0;
    answer_open(self, LB_OK, "");
}

void transfer_fail(struct transfer *self, lb_err err, const char *what)
{
    char note[TRANSFERS_NOTE_SIZE];
    snprintf(note, sizeof note, "%s%s%s", what, what[0] != '\0' ? ": " : "", lb_err_text(err));
    transfer_set_state(self, TRANSFER_FAILED, note);
    transfer_log(self, "failed");
    answer_open(self, err, self->note);
}

/* Not from inside a callback of what is being stopped, but in the next turn. */
void transfer_stop_soon(struct transfer *self)
{
    self->stop_wanted = true;
    transfers_arm(self->owner, transfers_now_ms(self->owner));
}

void transfer_try_again(struct transfer *self, lb_err err)
{
    if (self->again)
        return;
    const char *problem = self->storage != NULL ? storage_problem(self->storage) : "";
    transfer_set_state(self, TRANSFER_PAUSED, problem[0] != '\0' ? problem : lb_err_text(err));
    transfer_stop_soon(self);
    self->again = true;
    self->again_ms = transfers_now_ms(self->owner) + TRANSFERS_RETRY_MS;
    transfer_log(self, "pauses");
    answer_open(self, err, self->note);
}

static bool seeding_is_over(const struct transfer *self)
{
    return transfers_now_ms(self->owner) >= self->seed_until_ms;
}

static void begin_torrent(struct transfer *self)
{
    struct transfers *owner = self->owner;
    const struct config *config = actor_config(owner->actor);
    const struct torrent_numbers numbers = transfers_numbers(owner);
    struct torrent_options options = {
        .port = owner->port,
        .dht_port = owner->dht_port,
        .peers_max = numbers.peers_max,
        .peers_wanted = numbers.peers_wanted,
        .upload_slots = numbers.upload_slots,
        .announce_interval_ms = numbers.announce_interval_ms,
        .version = version,
        .mode = (enum cooperate_mode)config_number(config, CONFIG_SWARM_MODE),
        .super_seeding = config_number(config, CONFIG_SWARM_SUPER_SEEDING) != 0,
        .host = owner->host,
        .limits = &self->share,
    };
    memcpy(options.infohash, self->infohash, sizeof options.infohash);
    options.has_v2 = self->has_v2;
    memcpy(options.infohash_v2, self->infohash_v2, sizeof options.infohash_v2);
    memcpy(options.peer_id, owner->peer_id, sizeof options.peer_id);
    torrent_init(&self->torrent, &options, &owner->random, transfers_now_ms(owner));
    for (unsigned i = owner->own_count; i > 0; i--)
        if (address_is_usable(&owner->own[i - 1]) && !address_is_loopback(&owner->own[i - 1]))
            torrent_set_here(&self->torrent, &owner->own[i - 1]);
    self->running = true;
    transfer_load_outcomes(self);
    transfers_local_changed(owner);
    self->alone_ms = transfers_now_ms(owner);
    transfers_look_at_queue(owner);
    transfers_touch(self);
}

/* Peers that stand in the link itself, or were given with the order. */
static void add_magnet_peers(struct transfer *self)
{
    for (size_t i = 0; i < self->calls_count; i++)
        if (!transfers_is_own(self->owner, &self->calls[i]))
            torrent_call_address(&self->torrent, &self->calls[i], transfers_now_ms(self->owner));
    struct magnet *magnet = xcalloc(1, sizeof *magnet);
    if (magnet_parse(self->magnet, magnet) == LB_OK)
        for (uint32_t i = 0; i < magnet->peers_count; i++)
            if (!transfers_is_own(self->owner, &magnet->peers[i]))
                torrent_add_address(&self->torrent, &magnet->peers[i], false,
                                    transfers_now_ms(self->owner));
    free(magnet);
}

/* ---- storage events ---- */

/* It runs, and nothing hinders it: but a share is never fetched, nor written to. */
void transfer_go_on(struct transfer *self)
{
    const bool stuck = self->kind == ORDER_SHARE && !self->torrent.complete;
    if (stuck)
        transfer_set_state(self, TRANSFER_FAILED, "it was changed or removed since it was shared");
    else if (self->torrent.complete)
        transfer_set_state(self, self->syncing ? TRANSFER_FETCHING : TRANSFER_SEEDING,
                           self->syncing ? "writing what is left to the disk" : "");
    else
        transfer_set_state(self, TRANSFER_FETCHING, "");
    torrent_pause(&self->torrent, stuck || self->queue > 0, transfers_now_ms(self->owner));
    if (stuck)
        answer_open(self, LB_CONFLICT, self->note);
    else
        answer_shared(self);
}

static bool storage_has_all(const struct transfer *self)
{
    const uint32_t pieces = self->metainfo->layout.piece_count;
    return bitfield_count(storage_have(self->storage), pieces) == pieces;
}

static void on_opened(void *ctx, lb_err err)
{
    struct transfer *self = ctx;
    if (transfer_is_refused(self, err)) {
        transfer_fail(self, err, storage_problem(self->storage));
        transfer_stop_soon(self);
        return;
    }
    if (err != LB_OK) {
        transfer_try_again(self, err);
        return;
    }
    if (self->place == OWNERSHIP_MIRROR && !storage_has_all(self)) {
        transfer_fail(self, LB_CONFLICT, "not as its owner's record says");
        transfer_stop_soon(self);
        return;
    }
    self->opened = true;
    const struct layout *layout = &self->metainfo->layout;
    const struct picker_shape shape = {
        .pieces = layout->piece_count,
        .piece_size = layout->piece_length,
        .total_size = layout->length,
        .layout = layout->aligned ? layout : NULL,
    };
    const uint64_t now_ms = transfers_now_ms(self->owner);
    if (!self->running)
        begin_torrent(self);
    torrent_set_private(&self->torrent, self->metainfo->is_private);
    if (self->has_v2 && !metainfo_lacks_layers(self->metainfo))
        torrent_set_v2(&self->torrent, self->metainfo);
    if (self->metainfo->is_private)
        transfers_local_changed(self->owner);
    torrent_begin(&self->torrent, self->metainfo->info, shape, storage_have(self->storage), now_ms);
    char *reason = NULL;
    if (transfer_apply_selection(self, &reason) != LB_OK) {
        transfer_fail(self, LB_NOT_FOUND, reason);
        free(reason);
        transfer_stop_soon(self);
        return;
    }
    add_magnet_peers(self);
    if (metainfo_lacks_layers(self->metainfo))
        torrent_want_layers_later(&self->torrent, self->metainfo, now_ms);
    const uint8_t *doubtful = storage_doubtful(self->storage);
    if (bitfield_count(doubtful, layout->piece_count) > 0 &&
        storage_check(self->storage, doubtful) == LB_OK) {
        torrent_pause(&self->torrent, true, now_ms);
        transfer_set_state(self, TRANSFER_CHECKING, "hashing what is on disk");
    } else {
        transfer_take_up(self);
    }
    transfers_touch(self);
    answer_shared(self);
}

static void on_synced(void *ctx, lb_err err)
{
    struct transfer *self = ctx;
    uint8_t *record = NULL;
    size_t size = 0;
    if (self->removed || self->place == OWNERSHIP_MIRROR)
        return;
    storage_record(self->storage != NULL ? self->storage : self->closing, clock_wall_s(), &record,
                   &size);
    if (catalogue_write(self->owner->catalogue, self->infohash, CATALOGUE_RESUME, &record, size,
                        NULL, NULL) != LB_OK)
        log_warn("resume record not saved: too much to do");
    if (err == LB_OK && !self->storage_closing)
        transfer_on_durable(self);
    if (err != LB_OK && !self->storage_closing)
        transfer_try_again(self, err);
}

/* Looked at in the next turn, not from inside what found it. */
static void on_trouble(void *ctx, lb_err err)
{
    struct transfer *self = ctx;
    self->trouble = err;
    transfers_arm(self->owner, transfers_now_ms(self->owner));
}

static void on_checked(void *ctx, uint32_t piece, bool good)
{
    struct transfer *self = ctx;
    if (!self->running)
        return;
    transfer_read_back_piece(self, piece, good);
    transfer_count_checked(self, piece, good);
    if (good)
        torrent_found(&self->torrent, piece, transfers_now_ms(self->owner));
    else
        torrent_lost(&self->torrent, piece, transfers_now_ms(self->owner));
    transfers_touch(self);
}

static void on_check_done(void *ctx, lb_err err)
{
    struct transfer *self = ctx;
    self->check_asked = false;
    if (!self->running || err == LB_CANCELLED)
        return;
    if (err != LB_OK) {
        transfer_try_again(self, err);
        return;
    }
    if (self->reading_back)
        transfer_read_back_done(self);
    else
        transfer_take_up(self);
    transfers_touch(self);
}

static void on_storage_closed(void *ctx)
{
    struct transfer *self = ctx;
    struct transfers *owner = self->owner;
    self->storage_closing = false;
    self->closing = NULL;
    if (self->removed) {
        owner->closing--;
        transfer_free(&self);
    } else if (self->again && !owner->stopping) {
        transfers_arm(owner, self->again_ms);
    }
    if (self != NULL)
        workers_go_on_handing(owner->workers, self);
}

void transfer_start(struct transfer *self, uint8_t *record, size_t record_size)
{
    const struct storage_events events = {
        .ctx = self,
        .opened = on_opened,
        .synced = on_synced,
        .trouble = on_trouble,
        .checked = on_checked,
        .check_done = on_check_done,
        .reused = transfer_on_reused,
        .reuse_done = transfer_on_reuse_done,
        .closed = on_storage_closed,
    };
    assert(self->storage == NULL && !self->storage_closing);
    transfer_learn_hashes(self);
    free(self->record);
    self->record = record;
    self->record_size = record_size;
    self->again = false;
    if (seeding_is_over(self)) {
        self->ended = true;
        transfer_set_state(self, TRANSFER_SEEDING, "complete; its time of seeding is over");
        return;
    }
    if (self->metainfo == NULL) {
        transfer_set_state(self, TRANSFER_METADATA, "looking for peers");
        begin_torrent(self);
        add_magnet_peers(self);
        return;
    }
    const char *foreign = transfers_foreign(self->owner, self->metainfo);
    if (foreign != NULL) {
        transfer_fail(self, LB_DENIED, foreign);
        if (self->running)
            transfer_stop_soon(self);
        return;
    }
    transfer_learn_web_seeds(self);
    /* Nothing of v2 alone can be verified without the hashes of its pieces. */
    if (self->metainfo->kind == METAINFO_V2 && metainfo_lacks_layers(self->metainfo)) {
        if (!self->running) {
            begin_torrent(self);
            add_magnet_peers(self);
        }
        transfer_want_layers(self);
        return;
    }
    transfer_set_state(self, TRANSFER_CHECKING, "looking at what is on disk");
    self->reuse_wanted = true;
    (void)transfer_open_storage(self, &events);
}

void transfer_know(struct transfer *self, struct metainfo *metainfo)
{
    assert(self->metainfo == NULL);
    self->metainfo = metainfo;
    free(self->name);
    self->name = xstrdup(metainfo->name);
}

void transfer_adopt(struct transfer *self, struct metainfo *metainfo)
{
    transfer_know(self, metainfo);
    if (self->storage_closing || self->again)
        return;
    transfer_start(self, NULL, 0);
}

/* ---- time ---- */

uint64_t transfer_deadline_ms(const struct transfer *self)
{
    uint64_t deadline = self->stop_wanted || self->trouble != LB_OK ? 0 : UINT64_MAX;
    if (self->running && !self->stop_wanted)
        deadline = torrent_deadline_ms(&self->torrent);
    if (self->running && self->torrent.complete && self->seed_until_ms < deadline)
        deadline = self->seed_until_ms;
    if (transfer_webseeds_deadline_ms(self) < deadline)
        deadline = transfer_webseeds_deadline_ms(self);
    if (self->retry && self->retry_ms < deadline)
        deadline = self->retry_ms;
    if (self->answer_by_ms != 0 && self->answer_by_ms < deadline)
        deadline = self->answer_by_ms;
    if (self->again && !self->storage_closing && self->again_ms < deadline)
        deadline = self->again_ms;
    return deadline;
}

static void start_again(struct transfer *self)
{
    uint8_t *record = NULL;
    size_t size = 0;
    /* The record is small and was written a moment ago: it is in the page cache. */
    if (catalogue_read(self->owner->catalogue, self->infohash, CATALOGUE_RESUME, &record, &size) !=
        LB_OK)
        record = NULL;
    transfer_start(self, record, record != NULL ? size : 0);
}

void transfer_turn(struct transfer *self, uint64_t now_ms)
{
    if (self->stop_wanted) {
        const bool again = self->again;
        transfer_stop(self);
        self->again = again;
    }
    if (self->trouble != LB_OK)
        transfer_look_into_trouble(self);
    if (self->answer_by_ms != 0 && now_ms >= self->answer_by_ms)
        transfer_was_announced(self);
    if (self->again && !self->storage_closing && now_ms >= self->again_ms)
        start_again(self);
    if (!self->running)
        return;
    if (self->torrent.complete && seeding_is_over(self)) {
        transfer_stop(self);
        self->ended = true;
        transfer_set_state(self, TRANSFER_SEEDING, "complete; its time of seeding is over");
        transfer_log(self, "ends");
        return;
    }
    if (self->retry && now_ms >= self->retry_ms)
        transfer_retry_writing(self);
    if (now_ms >= transfer_webseeds_deadline_ms(self)) {
        transfer_run_webseeds(self); /* at once: a deadline that stays past lets no turn end */
        transfers_touch(self);
    }
    if (now_ms >= torrent_deadline_ms(&self->torrent)) {
        transfer_tell(self);
        torrent_turn(&self->torrent, now_ms);
        transfer_save_outcomes(self, false);
        transfers_touch(self);
    }
}

/* ---- the end ---- */

void transfer_stop(struct transfer *self)
{
    self->retry = false;
    self->again = false;
    self->stop_wanted = false;
    self->trouble = LB_OK;
    self->syncing = false;
    self->reading_back = false;
    self->bases_asked = 0;
    answer_open(self, LB_UNAVAILABLE, "it was stopped");
    /* Made later, they would outlive it. */
    transfers_forget_wishes(self->owner, self);
    if (self->running) {
        transfer_save_outcomes(self, true);
        for (uint32_t i = 0; i < self->connections_size; i++)
            connection_close(&self->connections[i]);
        connections_close_of(self->owner->connections, self);
        transfer_drop_outgoing(self);
        transfer_drop_webseeds(self);
        struct torrent_stats stats;
        torrent_get_stats(&self->torrent, &stats);
        self->owner->received_before += stats.received_bytes;
        self->owner->sent_before += stats.sent_bytes;
        self->owner->bad_before += stats.bad_pieces;
        torrent_done(&self->torrent);
        self->running = false;
        transfers_local_changed(self->owner);
    }
    transfer_drop_incoming(self);
    if (self->storage != NULL) {
        self->storage_closing = true;
        self->opened = false;
        self->closing = self->storage;
        storage_close(&self->storage);
    }
}
