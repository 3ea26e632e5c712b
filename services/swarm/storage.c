#include "services/swarm/disk_inside.h"

#include "libcommon/clock.h"
#include "libcommon/memory.h"
#include "services/swarm/beneath.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/device.h"
#include "services/swarm/holes.h"
#include "services/swarm/piece_hash.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What opening finds, in the worker's hands until it is finished. */
struct open_job {
    struct disk_job base;
    int root_fd;
    int device_fd;
    uint64_t device_size;
    uint8_t *record;
    size_t record_size;
    struct resume_file *found;
    uint8_t *verified;
    uint8_t *doubtful;
    uint8_t *zeros;
};

/* ---- opening, on a worker ---- */

static lb_err find_file(struct open_job *self, uint32_t file)
{
    const struct storage *storage = self->base.storage;
    const struct metainfo *metainfo = storage->metainfo;
    uint64_t length = metainfo->layout.files[file].length;
    struct stat found;
    lb_err err = beneath_stat(self->root_fd, metainfo->paths[file], &found);

    if (err == LB_NOT_FOUND && length == 0 && storage->mode == STORAGE_FETCH) {
        struct files_request request = { .root_fd = self->root_fd,
                                         .path = metainfo->paths[file],
                                         .writable = true,
                                         .executable = metainfo->layout.files[file].executable };
        struct files_use use;

        request.storage = storage->number;
        request.file = file;
        err = files_open(self->base.disk->files, &request, &use);
        if (err == LB_OK && fstat(use.fd, &found) < 0)
            err = LB_IO;
        if (err == LB_OK)
            files_release(self->base.disk->files, &use);
    }
    if (err == LB_NOT_FOUND)
        return LB_OK;
    if (err != LB_OK)
        return job_fail(&self->base, "open", file, err, errno);
    self->found[file] = (struct resume_file){
        .present = true,
        .size = (uint64_t)found.st_size,
        .mtime_ns = (int64_t)found.st_mtim.tv_sec * 1000000000 + found.st_mtim.tv_nsec,
    };
    return self->found[file].size > length
               ? job_fail(&self->base, "will not touch", file, LB_EXISTS, EEXIST)
               : LB_OK;
}

static lb_err find_files(struct open_job *self)
{
    const struct layout *layout = &self->base.storage->metainfo->layout;

    for (uint32_t file = 0; file < layout->files_count; file++) {
        lb_err err = layout->files[file].padding ? LB_OK : find_file(self, file);

        if (err != LB_OK)
            return err;
    }
    return LB_OK;
}

/* Which pieces are zeros can be told from their hashes alone: those of whole pieces, and the last.
 */
static void find_zeros(struct open_job *self)
{
    const struct metainfo *metainfo = self->base.storage->metainfo;
    const struct layout *layout = &metainfo->layout;
    const uint32_t last = layout->piece_count - 1, last_size = layout_piece_size(layout, last);
    const unsigned height = merkle_height(layout->piece_length / MERKLE_BLOCK_SIZE);
    struct piece_hash whole, end;

    piece_hash_of_zeros(metainfo->kind, height, layout->piece_length, 0, &whole);
    piece_hash_of_zeros(metainfo->kind, piece_tree_height(layout, last), last_size,
                        layout_padded_size(layout, last) - last_size, &end);
    for (uint32_t piece = 0; piece < layout->piece_count; piece++) {
        if (piece_hash_fits(piece < last ? &whole : &end, metainfo, piece))
            bitfield_set(self->zeros, piece);
    }
}

/* A record that is damaged or of something else costs hashing, no more. */
static void judge(struct open_job *self)
{
    const struct metainfo *metainfo = self->base.storage->metainfo;
    struct resume *record = NULL;

    /* What lies on a device is most likely something else. */
    if (self->device_fd >= 0 && self->record_size == 0 && !self->base.storage->device_check)
        return;
    if (self->record_size > 0 &&
        resume_parse(bytes_of(self->record, self->record_size), metainfo->infohash,
                     &metainfo->layout, &record) != LB_OK)
        record = NULL;
    resume_judge(record, &metainfo->layout, self->found, self->verified, self->doubtful);
    resume_free(&record);
}

static void work_open_device(struct disk_job *job)
{
    struct open_job *self = (struct open_job *)job;
    const struct storage *storage = job->storage;

    job->err = device_open(storage->device, storage->identity, storage->metainfo->layout.length,
                           &self->device_fd, &self->device_size, job->problem);
    if (job->err != LB_OK)
        return;
    self->found[0] = (struct resume_file){ .present = true,
                                           .size = self->device_size,
                                           .mtime_ns = storage->device_ns };
    find_zeros(self);
    judge(self);
}

static void work_open(struct disk_job *job)
{
    struct open_job *self = (struct open_job *)job;
    lb_err err = beneath_open_root(job->storage->folder, &self->root_fd);

    if (err != LB_OK) {
        job_fail(job, "open the folder of", UINT32_MAX, err, errno);
        return;
    }
    if (find_files(self) != LB_OK)
        return;
    find_zeros(self);
    judge(self);
}

/* ---- opening, on the loop ---- */

static void finished_open(struct disk_job *job)
{
    struct open_job *self = (struct open_job *)job;
    struct storage *storage = job->storage;
    const struct layout *layout = &storage->metainfo->layout;
    size_t size = bitfield_size(layout->piece_count);
    lb_err err = job->err;

    storage->root_fd = self->root_fd;
    storage->device_fd = self->device_fd;
    storage->device_size = self->device_size;
    for (uint32_t i = 0; i < layout->files_count; i++)
        storage->files[i].state = self->found[i];
    if (err == LB_OK) {
        memcpy(storage->have, self->verified, size);
        memcpy(storage->durable, self->verified, size);
        memcpy(storage->doubtful, self->doubtful, size);
        memcpy(storage->zeros, self->zeros, size);
        storage_settle_files(storage);
    }
    free(self->record);
    free(self->found);
    free(self->verified);
    free(self->doubtful);
    free(self->zeros);
    disk_job_free(job);
    if (storage->closing)
        return;
    storage->open = err == LB_OK;
    storage->events.opened(storage->events.ctx, err);
}

static void start_open(struct storage *self, struct bytes record)
{
    struct open_job *job = xcalloc(1, sizeof(*job));
    const struct layout *layout = &self->metainfo->layout;

    job->root_fd = -1;
    job->device_fd = -1;
    job->record = xmemdup(record.data, record.size);
    job->record_size = record.size;
    job->found = xcalloc(layout->files_count, sizeof(*job->found));
    job->verified = xcalloc(bitfield_size(layout->piece_count), 1);
    job->doubtful = xcalloc(bitfield_size(layout->piece_count), 1);
    job->zeros = xcalloc(bitfield_size(layout->piece_count), 1);
    job->base.work = self->device ? work_open_device : work_open;
    job->base.finished = finished_open;
    disk_submit(&job->base, self, URGENCY_WRITE);
}

static struct storage *storage_new(struct disk *disk, struct metainfo *metainfo,
                                   const struct storage_events *events)
{
    struct storage *self = xcalloc(1, sizeof(*self));
    size_t size = bitfield_size(metainfo->layout.piece_count);

    self->disk = disk;
    self->metainfo = metainfo_keep(metainfo);
    self->number = ++disk->storages_made;
    self->root_fd = -1;
    self->device_fd = -1;
    self->events = *events;
    self->files = xcalloc(metainfo->layout.files_count, sizeof(*self->files));
    self->zeros = xcalloc(size, 1);
    self->have = xcalloc(size, 1);
    self->doubtful = xcalloc(size, 1);
    self->durable = xcalloc(size, 1);
    self->syncing_pieces = xcalloc(size, 1);
    self->next = disk->storages;
    disk->storages = self;
    return self;
}

struct storage *storage_open(struct disk *disk, struct metainfo *metainfo, const char *folder,
                             enum storage_mode mode, struct bytes record,
                             const struct storage_events *events)
{
    struct storage *self = storage_new(disk, metainfo, events);

    self->folder = xstrdup(folder);
    self->mode = mode;
    start_open(self, record);
    return self;
}

struct storage *storage_open_device(struct disk *disk, struct metainfo *metainfo,
                                    const struct storage_device *device, struct bytes record,
                                    const struct storage_events *events)
{
    struct storage *self = storage_new(disk, metainfo, events);

    assert(metainfo->layout.files_count == 1);
    self->folder = xstrdup("");
    self->mode = STORAGE_FETCH;
    self->device = xstrdup(device->path);
    self->identity = xstrdup(device->identity);
    self->device_check = device->check;
    self->device_ns = (int64_t)clock_wall_s() * 1000000000;
    start_open(self, record);
    return self;
}

/* ---- closing ---- */

struct close_job {
    struct disk_job base;
};

static void work_close(struct disk_job *job)
{
    struct storage *storage = job->storage;

    files_forget(job->disk->files, storage->number);
    if (storage->root_fd >= 0)
        close(storage->root_fd);
    if (storage->device_fd >= 0)
        close(storage->device_fd);
}

static void finished_close(struct disk_job *job)
{
    job->storage->closed_files = true;
    disk_job_free(job);
}

static void start_close(struct storage *self)
{
    struct close_job *job = xcalloc(1, sizeof(*job));

    cache_forget_storage(self);
    job->base.work = work_close;
    job->base.finished = finished_close;
    disk_submit(&job->base, self, URGENCY_WRITE);
}

static void storage_free(struct storage *self)
{
    struct storage **link = &self->disk->storages;
    struct storage_events events = self->events;

    assert(self->jobs == 0 && self->assemblies == 0);
    while (*link != self)
        link = &(*link)->next;
    *link = self->next;
    metainfo_free(&self->metainfo);
    free(self->folder);
    free(self->device);
    free(self->identity);
    free(self->files);
    free(self->zeros);
    free(self->have);
    free(self->doubtful);
    free(self->durable);
    free(self->syncing_pieces);
    free(self);
    if (events.closed)
        events.closed(events.ctx);
}

void storage_close(struct storage **self)
{
    struct storage *closed = *self;

    *self = NULL;
    if (!closed)
        return;
    assert(closed->assemblies == 0 && !closed->closing);
    closed->closing = true;
    closed->open = false;
    reads_cancel(closed);
    storage_check_cancel(closed);
    storage_reuse_cancel(closed);
    disk_wake(closed->disk);
}

/* One step nearer to the end; each job under way is awaited first. */
static void close_turn(struct storage *self)
{
    if (self->jobs > 0 || self->check || self->reuse)
        return;
    if (self->dirty_files > 0 && !self->broken)
        storage_start_sync(self);
    else if (!self->closed_files)
        start_close(self);
    else
        storage_free(self);
}

void storage_turn(struct storage *self, uint64_t now_ms)
{
    bool due = self->dirty_files > 0 && (now_ms - self->dirty_since_ms >= DISK_SYNC_MS ||
                                         self->dirty_bytes >= DISK_SYNC_BYTES);

    if (self->closing) {
        if (self->check)
            storage_check_step(self);
        if (self->reuse)
            storage_reuse_step(self);
        close_turn(self);
        return;
    }
    if (self->open && self->check)
        storage_check_step(self);
    if (self->open && self->reuse)
        storage_reuse_step(self);
    if (!self->open || self->syncing)
        return;
    if (self->broken && self->sync_wanted) {
        self->sync_wanted = false;
        self->events.synced(self->events.ctx, LB_IO);
    } else if (!self->broken && (due || (self->sync_wanted && self->dirty_files > 0))) {
        storage_start_sync(self);
    } else if (self->sync_wanted) {
        self->sync_wanted = false;
        self->events.synced(self->events.ctx, LB_OK);
    }
}

void storage_select(struct storage *self, const uint8_t *files)
{
    for (uint32_t file = 0; file < self->metainfo->layout.files_count; file++)
        self->files[file].unwanted = files && !bitfield_has(files, file);
}

/* ---- what is known ---- */

const char *storage_problem(const struct storage *self)
{
    return self->problem;
}

void storage_complain(struct storage *self, const struct disk_job *job)
{
    memcpy(self->problem, job->problem, sizeof(self->problem));
}

const uint8_t *storage_have(const struct storage *self)
{
    return self->have;
}

const uint8_t *storage_doubtful(const struct storage *self)
{
    return self->doubtful;
}

static bool all_durable(const struct storage *self, uint32_t first, uint32_t count)
{
    for (uint32_t piece = first; piece < first + count; piece++) {
        if (!bitfield_has(self->durable, piece))
            return false;
    }
    return true;
}

static void settle_file(struct storage *self, uint32_t file)
{
    uint32_t first, count;

    layout_file_pieces(&self->metainfo->layout, file, &first, &count);
    self->files[file].settled = !self->files[file].dirty && self->files[file].state.present &&
                                !self->metainfo->layout.files[file].padding &&
                                all_durable(self, first, count);
}

void storage_settle_files(struct storage *self)
{
    for (uint32_t file = 0; file < self->metainfo->layout.files_count; file++)
        settle_file(self, file);
}

void storage_mark_dirty(struct storage *self, uint32_t piece, uint64_t bytes)
{
    const struct layout *layout = &self->metainfo->layout;
    struct layout_cursor cursor = layout_spans(layout, piece, 0, layout_piece_size(layout, piece));
    struct layout_span span;

    if (self->dirty_files == 0)
        self->dirty_since_ms = uv_now(self->disk->loop);
    self->dirty_bytes += bytes;
    while (layout_spans_next(&cursor, &span)) {
        self->files[span.file].settled = false;
        if (span.padding || self->files[span.file].dirty)
            continue;
        self->files[span.file].dirty = true;
        self->dirty_files++;
    }
}

void storage_piece_good(struct storage *self, uint32_t piece)
{
    bitfield_set(self->have, piece);
    bitfield_clear(self->doubtful, piece);
}

void storage_piece_lost(struct storage *self, uint32_t piece)
{
    bitfield_clear(self->have, piece);
    bitfield_clear(self->durable, piece);
    bitfield_clear(self->syncing_pieces, piece);
    cache_forget_piece(self, piece);
}

/* A settled file is not what it was: nothing in it is certain any more. */
static lb_err lose_file(struct storage *self, const struct touched *seen)
{
    uint32_t first, count;

    layout_file_pieces(&self->metainfo->layout, seen->file, &first, &count);
    for (uint32_t piece = first; piece < first + count; piece++) {
        storage_piece_lost(self, piece);
        bitfield_set(self->doubtful, piece);
    }
    self->files[seen->file].settled = false;
    self->files[seen->file].state = (struct resume_file){ .present = seen->present,
                                                          .size = seen->size,
                                                          .mtime_ns = seen->mtime_ns };
    snprintf(self->problem, sizeof(self->problem), "%.380s was %s by somebody",
             self->metainfo->paths[seen->file], seen->present ? "changed" : "removed");
    return seen->present ? LB_CONFLICT : LB_NOT_FOUND;
}

static bool is_same(const struct resume_file *was, const struct touched *seen)
{
    return seen->present && was->size == seen->size && was->mtime_ns == seen->mtime_ns;
}

static bool is_other(const struct storage *self, const struct touched *seen)
{
    const struct storage_file *file = &self->files[seen->file];

    return file->settled && !is_same(&file->state, seen);
}

bool storage_agrees(const struct storage *self, const struct disk_job *job)
{
    for (uint32_t i = 0; i < job->touched_count; i++) {
        if (is_other(self, &job->touched[i]))
            return false;
    }
    return job->err == LB_OK;
}

lb_err storage_compare(struct storage *self, const struct disk_job *job)
{
    lb_err err = job->err;

    if (err == LB_NOT_FOUND && job->problem_file < self->metainfo->layout.files_count)
        lose_file(self, &(struct touched){ .file = job->problem_file });
    for (uint32_t i = 0; i < job->touched_count; i++) {
        if (is_other(self, &job->touched[i]))
            err = lose_file(self, &job->touched[i]);
    }
    if ((err == LB_CONFLICT || err == LB_NOT_FOUND) && !self->closing)
        self->events.trouble(self->events.ctx, err);
    return err;
}

bool storage_is_synced(const struct storage *self)
{
    return self->open && !self->broken && !self->syncing && self->dirty_files == 0;
}

static bool is_whole(const struct storage *self)
{
    uint32_t pieces = self->metainfo->layout.piece_count;

    return bitfield_count(self->durable, pieces) == pieces;
}

void storage_record(const struct storage *self, uint64_t now_s, uint8_t **ret_data,
                    size_t *ret_size)
{
    const struct layout *layout = &self->metainfo->layout;
    struct resume *record = resume_new(self->metainfo->infohash, layout);

    memcpy(record->pieces, self->durable, bitfield_size(layout->piece_count));
    for (uint32_t i = 0; i < layout->files_count; i++)
        record->files[i] = self->files[i].state;
    if (self->device)
        record->files[0].mtime_ns = (int64_t)now_s * 1000000000;
    if (self->mode == STORAGE_FETCH && !is_whole(self))
        record->writing_until_s = now_s + RESUME_LEASE_S;
    resume_encode(record, ret_data, ret_size);
    resume_free(&record);
}
