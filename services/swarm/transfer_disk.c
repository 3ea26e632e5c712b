/*
 * A transfer's content on the disk: where it lies, what is taken from this disk instead of peers,
 * when it is complete, and reading it back.
 *
 * Complete is what is synced: not before that is it said to be, nor written into the order. Then,
 * if it was ordered, everything is read back from the disk; what is not as it should be is fetched
 * again, and read back again.
 */
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/select.h"
#include "services/swarm/transfers_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A disk that loses what was written to it, so often, is not written to any more. */
#define READ_BACK_MAX 3u

/* ---- opening ---- */

bool transfer_open_storage(struct transfer *self, const struct storage_events *events)
{
    const struct bytes record = bytes_of(self->record, self->record_size);
    if (self->device == NULL) {
        self->storage =
            storage_open(self->owner->disk, self->metainfo, self->folder,
                         self->kind == ORDER_SHARE ? STORAGE_SHARE : STORAGE_FETCH, record, events);
        return true;
    }
    if (self->metainfo->layout.files_count != 1) {
        transfer_fail(self, LB_INVALID, "a device takes a torrent of one file");
        return false;
    }
    const struct storage_device device = {
        .path = self->device,
        .identity = self->identity,
        .check = self->base != NULL && strcmp(self->base, self->device) == 0,
    };
    self->storage = storage_open_device(self->owner->disk, self->metainfo, &device, record, events);
    return true;
}

bool transfer_is_refused(const struct transfer *self, lb_err err)
{
    if (err == LB_OK || self->device == NULL)
        return err == LB_EXISTS;
    return err != LB_NOT_FOUND && err != LB_UNAVAILABLE && err != LB_IO;
}

/* ---- what is on this disk already ---- */

/* What was given, then what other transfers of the same name hold: here, and at other workers. */
static uint32_t find_bases(const struct transfer *self, const struct storage_base *more,
                           uint32_t more_count, struct storage_base *ret_bases, char **ret_paths)
{
    const struct transfers *owner = self->owner;
    uint32_t count = 0;
    if (self->base != NULL)
        ret_bases[count++] = (struct storage_base){ .path = self->base };
    for (size_t i = 0; i < owner->count && count < STORAGE_BASES_MAX; i++) {
        const struct transfer *other = owner->items[i];
        if (other == self || other->metainfo == NULL || other->device != NULL ||
            strcmp(other->name, self->name) != 0)
            continue;
        ret_paths[count] = transfer_path(other);
        ret_bases[count] =
            (struct storage_base){ .path = ret_paths[count], .known = other->metainfo };
        count++;
    }
    for (uint32_t i = 0; i < more_count && count < STORAGE_BASES_MAX; i++)
        ret_bases[count++] = more[i];
    return count;
}

static bool begin_reuse(struct transfer *self, const struct storage_base *more, uint32_t more_count)
{
    struct storage_base bases[STORAGE_BASES_MAX] = { { 0 } };
    char *paths[STORAGE_BASES_MAX] = { NULL };
    const uint32_t count = find_bases(self, more, more_count, bases, paths);
    const struct layout *layout = &self->metainfo->layout;
    uint8_t *wanted = NULL;
    if (self->files != NULL) {
        wanted = xcalloc(bitfield_size(layout->piece_count), 1);
        select_pieces(layout, self->files, wanted);
    }
    const lb_err err = storage_reuse(self->storage, bases, count, wanted);
    free(wanted);
    for (uint32_t i = 0; i < STORAGE_BASES_MAX; i++)
        free(paths[i]);
    return err == LB_OK;
}

void transfer_take_up(struct transfer *self)
{
    const bool fresh = self->reuse_wanted;
    self->reuse_wanted = false;
    if (!fresh || self->kind == ORDER_SHARE || self->torrent.complete) {
        transfer_go_on(self);
        return;
    }
    if (!workers_find_bases(self->owner->workers, self)) {
        transfer_reuse(self, NULL, 0);
        return;
    }
    torrent_pause(&self->torrent, true, transfers_now_ms(self->owner));
    transfer_set_state(self, TRANSFER_CHECKING, "looking for what is here already");
}

void transfer_reuse(struct transfer *self, const struct storage_base *more, uint32_t more_count)
{
    if (!begin_reuse(self, more, more_count)) {
        transfer_go_on(self);
        return;
    }
    char note[TRANSFERS_NOTE_SIZE];
    snprintf(note, sizeof note, "taking what is here already%s%.200s",
             self->base != NULL ? ", and in " : "", self->base != NULL ? self->base : "");
    torrent_pause(&self->torrent, true, transfers_now_ms(self->owner));
    transfer_set_state(self, TRANSFER_CHECKING, note);
}

void transfer_on_reused(void *ctx, uint32_t piece)
{
    struct transfer *self = ctx;
    if (!self->running)
        return;
    self->reused_bytes += layout_piece_size(&self->metainfo->layout, piece);
    torrent_found(&self->torrent, piece, transfers_now_ms(self->owner));
    transfers_touch(self);
}

void transfer_on_reuse_done(void *ctx, lb_err err)
{
    struct transfer *self = ctx;
    if (!self->running || err == LB_CANCELLED)
        return;
    if (err != LB_OK) {
        transfer_try_again(self, err);
        return;
    }
    transfer_go_on(self);
    transfers_touch(self);
}

/* ---- complete ---- */

static void finish(struct transfer *self)
{
    self->completed_s = clock_wall_s();
    transfer_set_seeding_end(self);
    self->syncing = false;
    transfer_save_order(self);
    transfer_go_on(self);
    transfer_log(self, "complete");
    transfers_arm(self->owner, transfer_deadline_ms(self));
}

/* Every piece is in the files; on the disk only after a sync. */
void transfer_complete(struct transfer *self)
{
    transfers_look_at_queue(self->owner);
    if (self->kind != ORDER_FETCH || self->completed_s != 0) {
        if (self->completed_s == 0)
            self->completed_s = clock_wall_s();
        transfer_set_seeding_end(self);
        if (self->state == TRANSFER_FETCHING || self->state == TRANSFER_PAUSED)
            transfer_set_state(self, TRANSFER_SEEDING, "");
        return;
    }
    self->syncing = true;
    if (self->state != TRANSFER_CHECKING)
        transfer_go_on(self);
    storage_sync(self->storage);
}

static bool begin_reading_back(struct transfer *self)
{
    const size_t size = bitfield_size(self->metainfo->layout.piece_count);
    if (self->unproven == NULL)
        self->unproven = xmemdup(storage_have(self->storage), size);
    if (storage_read_back(self->storage, self->unproven) != LB_OK)
        return false;
    self->reading_back = true;
    transfer_set_state(self, TRANSFER_CHECKING, "reading everything back from the disk");
    transfer_log(self, "is verified");
    return true;
}

void transfer_on_durable(struct transfer *self)
{
    if (!self->syncing || !self->running || !self->torrent.complete || self->reading_back ||
        !storage_is_synced(self->storage))
        return;
    if (!self->verify || self->verified_s != 0)
        finish(self);
    else
        (void)begin_reading_back(self); /* not while it is checked: that ends with a sync */
}

void transfer_read_back_piece(struct transfer *self, uint32_t piece, bool good)
{
    if (self->reading_back && good)
        bitfield_clear(self->unproven, piece);
}

void transfer_read_back_done(struct transfer *self)
{
    const uint32_t pieces = self->metainfo->layout.piece_count;
    const uint32_t bad = bitfield_count(self->unproven, pieces);
    self->reading_back = false;
    if (bad > 0) {
        log_warn("%u pieces were not read back as they were written", (unsigned)bad);
        if (++self->read_back_count < READ_BACK_MAX) {
            transfer_go_on(self);
            return;
        }
        transfer_fail(self, LB_IO, "the disk does not keep what is written to it");
        transfer_stop_soon(self);
        return;
    }
    free(self->unproven);
    self->unproven = NULL;
    self->verified_s = clock_wall_s();
    finish(self);
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
        transfer_set_state(self, TRANSFER_CHECKING, storage_problem(self->storage));
        transfer_log(self, "is checked again");
    }
    free(lost);
}

void transfer_look_into_trouble(struct transfer *self)
{
    const lb_err err = self->trouble;
    self->trouble = LB_OK;
    if (!self->running || self->storage == NULL || !self->opened)
        return;
    if (self->place == OWNERSHIP_MIRROR) {
        transfer_fail(self, err, storage_problem(self->storage)); /* its owner looks into it */
        transfer_stop(self);
        return;
    }
    if (err == LB_CONFLICT || err == LB_NOT_FOUND)
        content_changed(self);
    else
        transfer_give_up_incoming(self, err);
    transfers_touch(self);
}
