#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/magnet.h"
#include "services/swarm/transfers_inside.h"

#include "libcommon/actor.h"
#include "libcommon/config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of the peers we allow, so many are left for those who call us. */
#define WANTED_PART    2u
#define WANTED_AT_MOST 80u

static const char version[] = "Littlebird " LB_VERSION;

static void log_transfer(const struct transfer *self, const char *what)
{
    char hex[41];
    hex_encode(self->infohash, 20, hex);
    log_info("transfer %s infohash=%s%s%s", what, hex, self->note[0] != '\0' ? ": " : "",
             self->note);
}

static void set_state(struct transfer *self, enum transfer_state state, const char *note)
{
    self->state = state;
    snprintf(self->note, sizeof self->note, "%s", note);
}

/* ---- life ---- */

struct transfer *transfer_new(struct transfers *owner, const struct order *order)
{
    struct transfer *self = xcalloc(1, sizeof *self);
    struct magnet *magnet = xcalloc(1, sizeof *magnet);
    self->owner = owner;
    memcpy(self->infohash, order->infohash, sizeof self->infohash);
    self->kind = order->kind;
    self->has_seed_for = order->has_seed_for;
    self->seed_for_s = order->seed_for_s;
    self->completed_s = order->completed_s;
    self->folder = xstrdup(order->folder);
    self->magnet = xstrdup(order->magnet);
    self->name = magnet_parse(order->magnet, magnet) == LB_OK ? xstrdup(magnet->name) : xstrdup("");
    set_state(self, TRANSFER_CHECKING, "reading its state");
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
    metainfo_free(&freed->metainfo);
    free(freed->record);
    free(freed->connections);
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
}

static void answer_open(struct transfer *self, lb_err err, const char *reason)
{
    transfers_fn *on_open = self->on_open;
    self->on_open = NULL;
    if (on_open != NULL)
        on_open(self->on_open_ctx, err, reason, err == LB_OK ? self : NULL);
}

void transfer_fail(struct transfer *self, lb_err err, const char *what)
{
    char note[TRANSFERS_NOTE_SIZE];
    snprintf(note, sizeof note, "%s%s%s", what, what[0] != '\0' ? ": " : "", lb_err_text(err));
    set_state(self, TRANSFER_FAILED, note);
    log_transfer(self, "failed");
    answer_open(self, err, self->note);
}

/* Not from inside a callback of what is being stopped, but in the next turn. */
static void stop_soon(struct transfer *self)
{
    self->stop_wanted = true;
    transfers_arm(self->owner, transfers_now_ms(self->owner));
}

/* What may go away by itself: begin again after a while. */
static void try_again(struct transfer *self, lb_err err)
{
    const char *problem = self->storage != NULL ? storage_problem(self->storage) : "";
    set_state(self, TRANSFER_PAUSED, problem[0] != '\0' ? problem : lb_err_text(err));
    stop_soon(self);
    self->again = true;
    self->again_ms = transfers_now_ms(self->owner) + TRANSFERS_RETRY_MS;
    log_transfer(self, "pauses");
    answer_open(self, err, self->note);
}

static bool seeding_is_over(const struct transfer *self)
{
    return self->has_seed_for && self->completed_s != 0 &&
           clock_wall_s() >= self->completed_s + self->seed_for_s;
}

static void begin_torrent(struct transfer *self)
{
    struct transfers *owner = self->owner;
    const struct config *config = actor_config(owner->actor);
    const uint32_t peers_max = (uint32_t)config_number(config, CONFIG_SWARM_PEERS_MAX);
    uint32_t wanted = peers_max / WANTED_PART + 1;
    if (wanted > WANTED_AT_MOST)
        wanted = WANTED_AT_MOST;
    struct torrent_options options = {
        .port = owner->port,
        .peers_max = peers_max,
        .peers_wanted = wanted,
        .upload_slots = (uint32_t)config_number(config, CONFIG_SWARM_UPLOAD_SLOTS),
        .announce_interval_ms = (uint32_t)config_number(config, CONFIG_SWARM_ANNOUNCE),
        .version = version,
    };
    memcpy(options.infohash, self->infohash, sizeof options.infohash);
    memcpy(options.peer_id, owner->peer_id, sizeof options.peer_id);
    torrent_init(&self->torrent, &options, &owner->random, transfers_now_ms(owner));
    self->running = true;
    transfers_touch(self);
}

/* Peers that stand in the link itself. */
static void add_magnet_peers(struct transfer *self)
{
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
static void go_on(struct transfer *self)
{
    const bool stuck = self->kind == ORDER_SHARE && !self->torrent.complete;
    if (stuck)
        set_state(self, TRANSFER_FAILED, "it was changed or removed since it was shared");
    else if (self->torrent.complete)
        set_state(self, TRANSFER_SEEDING, "");
    else
        set_state(self, TRANSFER_FETCHING, "");
    torrent_pause(&self->torrent, stuck, transfers_now_ms(self->owner));
}

static void on_opened(void *ctx, lb_err err)
{
    struct transfer *self = ctx;
    if (err == LB_EXISTS) {
        transfer_fail(self, err, storage_problem(self->storage));
        stop_soon(self);
        return;
    }
    if (err != LB_OK) {
        try_again(self, err);
        return;
    }
    self->opened = true;
    const struct layout *layout = &self->metainfo->layout;
    const struct picker_shape shape = {
        .pieces = layout->piece_count,
        .piece_size = layout->piece_length,
        .total_size = layout->length,
    };
    const uint64_t now_ms = transfers_now_ms(self->owner);
    if (!self->running)
        begin_torrent(self);
    torrent_set_private(&self->torrent, self->metainfo->is_private);
    torrent_begin(&self->torrent, self->metainfo->info, shape, storage_have(self->storage), now_ms);
    add_magnet_peers(self);
    const uint8_t *doubtful = storage_doubtful(self->storage);
    if (bitfield_count(doubtful, layout->piece_count) > 0 &&
        storage_check(self->storage, doubtful) == LB_OK) {
        torrent_pause(&self->torrent, true, now_ms);
        set_state(self, TRANSFER_CHECKING, "hashing what is on disk");
    } else {
        go_on(self);
    }
    transfers_touch(self);
    answer_open(self, LB_OK, "");
}

static void on_synced(void *ctx, lb_err err)
{
    struct transfer *self = ctx;
    uint8_t *record = NULL;
    size_t size = 0;
    if (self->removed)
        return;
    storage_record(self->storage != NULL ? self->storage : self->closing, clock_wall_s(), &record,
                   &size);
    if (catalogue_write(self->owner->catalogue, self->infohash, CATALOGUE_RESUME, &record, size,
                        NULL, NULL) != LB_OK)
        log_warn("resume record not saved: too much to do");
    if (err != LB_OK && !self->storage_closing)
        try_again(self, err);
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
    if (good)
        torrent_found(&self->torrent, piece, transfers_now_ms(self->owner));
    else
        torrent_lost(&self->torrent, piece, transfers_now_ms(self->owner));
    transfers_touch(self);
}

static void on_check_done(void *ctx, lb_err err)
{
    struct transfer *self = ctx;
    if (!self->running || err == LB_CANCELLED)
        return;
    if (err != LB_OK) {
        try_again(self, err);
        return;
    }
    go_on(self);
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
        .closed = on_storage_closed,
    };
    assert(self->storage == NULL && !self->storage_closing);
    free(self->record);
    self->record = record;
    self->record_size = record_size;
    self->again = false;
    if (seeding_is_over(self)) {
        self->ended = true;
        set_state(self, TRANSFER_SEEDING, "complete; its time of seeding is over");
        return;
    }
    if (self->metainfo == NULL) {
        set_state(self, TRANSFER_METADATA, "looking for peers");
        begin_torrent(self);
        add_magnet_peers(self);
        return;
    }
    set_state(self, TRANSFER_CHECKING, "looking at what is on disk");
    self->storage = storage_open(self->owner->disk, self->metainfo, self->folder,
                                 self->kind == ORDER_SHARE ? STORAGE_SHARE : STORAGE_FETCH,
                                 bytes_of(self->record, self->record_size), &events);
}

void transfer_adopt(struct transfer *self, struct metainfo *metainfo)
{
    assert(self->metainfo == NULL);
    self->metainfo = metainfo;
    free(self->name);
    self->name = xstrdup(metainfo->name);
    if (self->storage_closing || self->again)
        return;
    transfer_start(self, NULL, 0);
}

/* ---- what comes in ---- */

static void free_incoming(struct transfer *self, uint32_t piece)
{
    struct incoming *incoming = self->incoming != NULL ? self->incoming[piece] : NULL;
    if (incoming == NULL)
        return;
    self->incoming[piece] = NULL;
    self->incoming_count--;
    assembly_free(&incoming->assembly);
    free(incoming);
}

static void pause_writing(struct transfer *self, lb_err err)
{
    const char *problem = storage_problem(self->storage);
    if (self->state != TRANSFER_PAUSED) {
        set_state(self, TRANSFER_PAUSED, problem[0] != '\0' ? problem : lb_err_text(err));
        log_transfer(self, "pauses");
    }
    torrent_pause(&self->torrent, true, transfers_now_ms(self->owner));
    self->retry = true;
    self->retry_ms = transfers_now_ms(self->owner) + TRANSFERS_RETRY_MS;
    transfers_arm(self->owner, self->retry_ms);
}

static void on_piece_finished(void *ctx, lb_err err)
{
    struct incoming *incoming = ctx;
    struct transfer *self = incoming->transfer;
    const uint32_t piece = incoming->piece;
    const uint64_t now_ms = transfers_now_ms(self->owner);
    transfers_touch(self);
    if (err == LB_OK || err == LB_CORRUPT) {
        const bool paused = incoming->failed;
        free_incoming(self, piece);
        torrent_verified(&self->torrent, piece, err, now_ms);
        if (paused && self->state == TRANSFER_PAUSED) {
            go_on(self);
            log_transfer(self, "goes on");
        }
        return;
    }
    if (err == LB_CANCELLED) {
        free_incoming(self, piece);
        return;
    }
    incoming->failed = true;
    pause_writing(self, err);
}

static void retry_writing(struct transfer *self)
{
    self->retry = false;
    bool any = false;
    const uint32_t pieces = self->metainfo->layout.piece_count;
    for (uint32_t i = 0; i < pieces && self->incoming_count > 0; i++) {
        struct incoming *incoming = self->incoming[i];
        if (incoming == NULL || !incoming->failed)
            continue;
        any = true;
        assembly_finish(incoming->assembly, on_piece_finished, incoming);
    }
    if (!any && self->state == TRANSFER_PAUSED)
        go_on(self);
}

static struct incoming *incoming_of(struct transfer *self, uint32_t piece)
{
    if (self->incoming == NULL)
        self->incoming = xcalloc(self->metainfo->layout.piece_count, sizeof(struct incoming *));
    if (self->incoming[piece] != NULL)
        return self->incoming[piece];
    struct assembly *assembly = assembly_new(self->storage, piece);
    if (assembly == NULL)
        return NULL;
    struct incoming *incoming = xcalloc(1, sizeof *incoming);
    *incoming = (struct incoming){ .transfer = self, .assembly = assembly, .piece = piece };
    self->incoming[piece] = incoming;
    self->incoming_count++;
    return incoming;
}

static void take_block(struct transfer *self, const struct wire_message *message)
{
    struct incoming *incoming = incoming_of(self, message->piece);
    if (incoming == NULL) {
        torrent_abandon(&self->torrent, message->piece);
        pause_writing(self, LB_IO);
        return;
    }
    (void)assembly_put(incoming->assembly, message->offset / LAYOUT_BLOCK_SIZE,
                       message->payload.data);
}

static void verify(struct transfer *self, uint32_t piece)
{
    struct incoming *incoming = self->incoming != NULL ? self->incoming[piece] : NULL;
    if (incoming == NULL || !assembly_complete(incoming->assembly)) {
        free_incoming(self, piece);
        torrent_verified(&self->torrent, piece, LB_IO, transfers_now_ms(self->owner));
        return;
    }
    assembly_finish(incoming->assembly, on_piece_finished, incoming);
}

/* ---- what goes out ---- */

static struct connection *connection_of(const struct transfer *self, uint32_t peer)
{
    const uint32_t slot = peer % TORRENT_SLOTS;
    struct connection *connection = slot < self->connections_size ? self->connections[slot] : NULL;
    return connection != NULL && connection_number(connection) == peer ? connection : NULL;
}

static void end_outgoing(struct outgoing *outgoing, bool sent)
{
    struct transfer *self = outgoing->transfer;
    if (outgoing->previous != NULL)
        outgoing->previous->next = outgoing->next;
    else
        self->outgoing = outgoing->next;
    if (outgoing->next != NULL)
        outgoing->next->previous = outgoing->previous;
    disk_data_release(self->owner->disk, &outgoing->read.data);
    torrent_sent(&self->torrent, outgoing->peer, &outgoing->block.message, sent,
                 transfers_now_ms(self->owner));
    transfers_touch(self);
    free(outgoing);
}

static void on_block_done(struct connection_block *block, bool sent)
{
    struct outgoing *outgoing =
        (struct outgoing *)((char *)block - offsetof(struct outgoing, block));
    end_outgoing(outgoing, sent);
}

static void queue_block(struct outgoing *outgoing)
{
    struct connection *connection = connection_of(outgoing->transfer, outgoing->peer);
    if (connection == NULL) {
        end_outgoing(outgoing, false);
        return;
    }
    outgoing->queued = true;
    connection_send_block(connection, &outgoing->block);
}

static void on_read(struct disk_read *read, lb_err err)
{
    struct outgoing *outgoing = (struct outgoing *)((char *)read - offsetof(struct outgoing, read));
    struct transfer *self = outgoing->transfer;
    outgoing->reading = false;
    transfers_touch(self);
    if (err == LB_OK) {
        queue_block(outgoing);
        return;
    }
    end_outgoing(outgoing, false);
}

static void send_block(struct transfer *self, const struct torrent_action *action)
{
    struct outgoing *outgoing = xcalloc(1, sizeof *outgoing);
    outgoing->transfer = self;
    outgoing->peer = action->peer;
    outgoing->block = (struct connection_block){
        .message = action->message,
        .data = &outgoing->read.data,
        .done = on_block_done,
    };
    outgoing->read.piece = action->message.piece;
    outgoing->read.offset = action->message.offset;
    outgoing->read.size = action->message.length;
    outgoing->read.done = on_read;
    outgoing->next = self->outgoing;
    if (self->outgoing != NULL)
        self->outgoing->previous = outgoing;
    self->outgoing = outgoing;
    outgoing->reading = true;
    if (storage_read(self->storage, &outgoing->read)) {
        outgoing->reading = false;
        queue_block(outgoing);
    }
}

/* ---- peers ---- */

struct wire_handshake transfer_handshake(const struct transfer *self)
{
    struct wire_handshake hello = { .fast = true, .extended = true, .dht = false };
    memcpy(hello.infohash, self->infohash, sizeof hello.infohash);
    memcpy(hello.peer_id, self->owner->peer_id, sizeof hello.peer_id);
    return hello;
}

static void keep_connection(struct transfer *self, struct connection *connection, uint32_t peer)
{
    const uint32_t slot = peer % TORRENT_SLOTS;
    if (slot >= self->connections_size) {
        const uint32_t size = slot < 8 ? 8 : 2 * slot;
        self->connections = xrealloc(self->connections, size * sizeof(struct connection *));
        memset(self->connections + self->connections_size, 0,
               (size - self->connections_size) * sizeof(struct connection *));
        self->connections_size = size;
    }
    /* Its slot is free, so whoever had it is gone, though the action to close it still waits. */
    connection_close(&self->connections[slot]);
    self->connections[slot] = connection;
    connection_set_user(connection, self, peer);
}

bool transfer_hello(struct transfer *self, struct connection *connection,
                    const struct wire_handshake *hello)
{
    const bool outgoing = connection_is_outgoing(connection);
    const uint64_t now_ms = transfers_now_ms(self->owner);
    transfers_touch(self);
    if (memcmp(hello->infohash, self->infohash, sizeof hello->infohash) != 0) {
        torrent_connect_failed(&self->torrent, connection_address(connection), now_ms);
        return false;
    }
    if (!outgoing) {
        const struct wire_handshake ours = transfer_handshake(self);
        connection_send_hello(connection, &ours);
    }
    const struct torrent_hello join = {
        .address = *connection_address(connection),
        .outgoing = outgoing,
        .handshake = hello,
    };
    uint32_t peer = 0;
    if (torrent_join(&self->torrent, &join, now_ms, &peer) != LB_OK)
        return false;
    keep_connection(self, connection, peer);
    return true;
}

void transfer_message(struct transfer *self, struct connection *connection,
                      const struct wire_message *message)
{
    if (torrent_message(&self->torrent, connection_number(connection), message,
                        transfers_now_ms(self->owner)) == TORRENT_TAKE)
        take_block(self, message);
    transfers_touch(self);
}

void transfer_closed(struct transfer *self, struct connection *connection, const char *reason)
{
    const uint32_t peer = connection_number(connection);
    const uint64_t now_ms = transfers_now_ms(self->owner);
    char text[ADDRESS_TEXT_SIZE];
    address_format(connection_address(connection), text);
    log_debug("peer left address=%s: %s", text, reason);
    transfers_touch(self);
    if (connection_of(self, peer) != connection) {
        torrent_connect_failed(&self->torrent, connection_address(connection), now_ms);
        return;
    }
    self->connections[peer % TORRENT_SLOTS] = NULL;
    torrent_left(&self->torrent, peer, now_ms);
}

static void disconnect(struct transfer *self, const struct torrent_action *action)
{
    struct connection *connection = connection_of(self, action->peer);
    char text[ADDRESS_TEXT_SIZE];
    if (connection == NULL)
        return;
    address_format(&action->address, text);
    log_debug("peer dropped address=%s: %s", text, action->reason);
    self->connections[action->peer % TORRENT_SLOTS] = NULL;
    connection_close(&connection);
}

/* ---- actions ---- */

static void on_order_saved(void *ctx, lb_err err)
{
    (void)ctx;
    if (err != LB_OK)
        log_warn("order not saved: %s", lb_err_text(err));
}

static void save_order(struct transfer *self)
{
    struct order *order = xcalloc(1, sizeof *order);
    transfer_order(self, order);
    if (catalogue_put(self->owner->catalogue, order, (struct bytes){ 0 }, on_order_saved, NULL) !=
        LB_OK)
        log_warn("order not saved: too much to do");
    free(order);
}

static void complete(struct transfer *self)
{
    if (self->state == TRANSFER_FETCHING || self->state == TRANSFER_PAUSED)
        set_state(self, TRANSFER_SEEDING, "");
    if (self->completed_s != 0)
        return;
    self->completed_s = clock_wall_s();
    if (self->kind != ORDER_FETCH)
        return;
    save_order(self);
    storage_sync(self->storage);
    log_transfer(self, "complete");
}

/* The info dictionary came from peers and its hash fits. */
static void take_metadata(struct transfer *self, struct bytes info)
{
    struct metainfo_problem problem = { "" };
    struct metainfo *metainfo = NULL;
    const lb_err err = metainfo_parse_info(info, self->infohash, &metainfo, &problem);
    if (err != LB_OK) {
        torrent_refuse_metadata(&self->torrent);
        transfer_fail(self, err, problem.text);
        return;
    }
    uint8_t *file = NULL;
    size_t size = 0;
    metainfo_write_torrent(metainfo->info, 0, &file, &size);
    if (catalogue_write(self->owner->catalogue, self->infohash, CATALOGUE_TORRENT, &file, size,
                        NULL, NULL) != LB_OK)
        log_warn("metainfo not saved: too much to do");
    log_transfer(self, "knows its metainfo");
    transfer_adopt(self, metainfo);
}

static void perform(struct transfer *self, const struct torrent_action *action)
{
    struct connection *connection = NULL;
    switch (action->kind) {
    case TORRENT_SEND:
        connection = connection_of(self, action->peer);
        if (connection != NULL)
            connection_send(connection, &action->message);
        break;
    case TORRENT_SEND_BLOCK:
        send_block(self, action);
        break;
    case TORRENT_CONNECT:
        transfers_connect(self->owner, self, &action->address);
        break;
    case TORRENT_DISCONNECT:
        disconnect(self, action);
        break;
    case TORRENT_VERIFY:
        verify(self, action->message.piece);
        break;
    case TORRENT_FORGET:
        free_incoming(self, action->message.piece);
        break;
    case TORRENT_METADATA:
        take_metadata(self, action->message.payload);
        break;
    case TORRENT_COMPLETE:
        complete(self);
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
    if (self->running)
        transfers_arm(self->owner, torrent_deadline_ms(&self->torrent));
}

/* ---- trouble with the files ---- */

/* The files are not what they were: what the disk no longer vouches for is hashed again. */
static void content_changed(struct transfer *self)
{
    const uint32_t pieces = self->metainfo->layout.piece_count;
    const uint64_t now_ms = transfers_now_ms(self->owner);
    uint8_t *lost = xcalloc(bitfield_size(pieces), 1);
    bool any = false;
    for (uint32_t i = 0; i < pieces; i++) {
        if (!picker_has(&self->torrent.picker, i) || bitfield_has(storage_have(self->storage), i))
            continue;
        bitfield_set(lost, i);
        torrent_lost(&self->torrent, i, now_ms);
        any = true;
    }
    if (any && storage_check(self->storage, lost) == LB_OK) {
        torrent_pause(&self->torrent, true, now_ms);
        set_state(self, TRANSFER_CHECKING, storage_problem(self->storage));
        log_transfer(self, "is checked again");
    }
    free(lost);
}

/* Pieces begun could not be written out early: their memory is given up until there is room. */
static void give_up_incoming(struct transfer *self, lb_err err)
{
    const uint32_t pieces = self->metainfo->layout.piece_count;
    for (uint32_t i = 0; i < pieces && self->incoming_count > 0; i++) {
        if (self->incoming[i] == NULL)
            continue;
        free_incoming(self, i);
        torrent_abandon(&self->torrent, i);
    }
    pause_writing(self, err);
}

static void look_into_trouble(struct transfer *self)
{
    const lb_err err = self->trouble;
    self->trouble = LB_OK;
    if (!self->running || self->storage == NULL || !self->opened)
        return;
    if (err == LB_CONFLICT || err == LB_NOT_FOUND)
        content_changed(self);
    else
        give_up_incoming(self, err);
    transfers_touch(self);
}

/* ---- time ---- */

uint64_t transfer_deadline_ms(const struct transfer *self)
{
    uint64_t deadline = self->stop_wanted || self->trouble != LB_OK ? 0 : UINT64_MAX;
    if (self->running && !self->stop_wanted)
        deadline = torrent_deadline_ms(&self->torrent);
    if (self->running && self->has_seed_for && self->completed_s != 0) {
        const uint64_t left_s =
            seeding_is_over(self) ? 0 : self->completed_s + self->seed_for_s - clock_wall_s();
        const uint64_t end_ms = transfers_now_ms(self->owner) + left_s * 1000;
        deadline = end_ms < deadline ? end_ms : deadline;
    }
    if (self->retry && self->retry_ms < deadline)
        deadline = self->retry_ms;
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
        look_into_trouble(self);
    if (self->again && !self->storage_closing && now_ms >= self->again_ms)
        start_again(self);
    if (!self->running)
        return;
    if (self->torrent.complete && seeding_is_over(self)) {
        transfer_stop(self);
        self->ended = true;
        set_state(self, TRANSFER_SEEDING, "complete; its time of seeding is over");
        log_transfer(self, "ends");
        return;
    }
    if (self->retry && now_ms >= self->retry_ms)
        retry_writing(self);
    if (now_ms >= torrent_deadline_ms(&self->torrent)) {
        torrent_turn(&self->torrent, now_ms);
        transfers_touch(self);
    }
}

/* ---- the end ---- */

static void drop_incoming(struct transfer *self)
{
    for (uint32_t i = 0; self->incoming_count > 0; i++)
        free_incoming(self, i);
    free(self->incoming);
    self->incoming = NULL;
}

void transfer_stop(struct transfer *self)
{
    self->retry = false;
    self->again = false;
    self->stop_wanted = false;
    self->trouble = LB_OK;
    answer_open(self, LB_UNAVAILABLE, "it was stopped");
    if (self->running) {
        for (uint32_t i = 0; i < self->connections_size; i++)
            connection_close(&self->connections[i]);
        struct outgoing *next = NULL;
        for (struct outgoing *at = self->outgoing; at != NULL; at = next) {
            next = at->next;
            if (at->reading)
                disk_read_cancel(&at->read);
            end_outgoing(at, false);
        }
        struct torrent_stats stats;
        torrent_get_stats(&self->torrent, &stats);
        self->owner->received_before += stats.received_bytes;
        self->owner->sent_before += stats.sent_bytes;
        self->owner->bad_before += stats.bad_pieces;
        torrent_done(&self->torrent);
        self->running = false;
    }
    drop_incoming(self);
    if (self->storage != NULL) {
        self->storage_closing = true;
        self->opened = false;
        self->closing = self->storage;
        storage_close(&self->storage);
    }
}

/* ---- looking ---- */

void transfer_status(const struct transfer *self, struct transfer_status *ret_status)
{
    struct torrent_stats stats = { 0 };
    if (self->running)
        torrent_get_stats(&self->torrent, &stats);
    *ret_status = (struct transfer_status){
        .infohash = self->infohash,
        .name = self->name,
        .note = self->note,
        .state = self->state,
        .size_bytes = self->metainfo != NULL ? self->metainfo->layout.length : 0,
        .have_bytes = self->running ? torrent_have_bytes(&self->torrent) : 0,
        .received_bytes = stats.received_bytes,
        .sent_bytes = stats.sent_bytes,
        .wasted_bytes = stats.wasted_bytes,
        .receive_rate = stats.receive_rate,
        .send_rate = stats.send_rate,
        .peers = stats.peers,
        .seeds = stats.seeds,
    };
    if (self->ended)
        ret_status->have_bytes = ret_status->size_bytes;
    if (self->note[0] == '\0' && self->state == TRANSFER_FETCHING && stats.peers == 0)
        ret_status->note = "looking for peers";
    else if (self->note[0] == '\0' && self->state == TRANSFER_FETCHING && stats.unchoking_us == 0)
        ret_status->note = "waiting for a peer to serve us";
}

char *transfer_path(const struct transfer *self)
{
    const size_t length = strlen(self->folder);
    const bool slash = length > 0 && self->folder[length - 1] == '/';
    if (self->metainfo == NULL)
        return xstrdup(self->folder);
    return xasprintf("%s%s%s", self->folder, slash ? "" : "/", self->metainfo->name);
}

char *transfer_magnet(const struct transfer *self)
{
    struct magnet *magnet = xcalloc(1, sizeof *magnet);
    char *text = xmalloc(MAGNET_FORMAT_SIZE);
    memcpy(magnet->infohash, self->infohash, sizeof magnet->infohash);
    snprintf(magnet->name, sizeof magnet->name, "%.*s", (int)sizeof magnet->name - 1, self->name);
    if (magnet_format(magnet, text, MAGNET_FORMAT_SIZE) != LB_OK)
        text[0] = '\0';
    free(magnet);
    return text;
}

const struct metainfo *transfer_metainfo(const struct transfer *self)
{
    return self->metainfo;
}
