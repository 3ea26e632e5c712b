#include "services/swarm/disk_inside.h"

#include "libcommon/memory.h"
#include "services/swarm/beneath.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/holes.h"
#include "services/swarm/piece_hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUN_BYTES  (16u * 1024 * 1024) /* of one job: how soon a cancel works */
#define RUN_PIECES 1024u

struct check {
    uint8_t *pieces; /* still to be hashed */
    uint32_t next;
    uint32_t running; /* jobs */
    bool from_disk;
    lb_err err;
    _Atomic bool cancelled;
};

/* A run of consecutive pieces. */
struct check_job {
    struct disk_job base;
    const _Atomic bool *cancelled;
    uint32_t first;
    uint32_t count;
    uint32_t done;   /* how many of them have a result */
    uint32_t file;   /* the one open now, UINT32_MAX: none */
    uint64_t size;   /* of it; 0 also when it is not there */
    bool sparse;     /* it has holes */
    bool from_disk;  /* and not from the page cache */
    bool direct;     /* it is open so */
    int fd;          /* -1: it is not there */
    uint8_t *buffer; /* DISK_HASH_BUFFER */
    struct piece_hasher *hasher;
    uint8_t good[RUN_PIECES];
};

/* ---- on a worker ---- */

static void close_file(struct check_job *self)
{
    if (self->fd < 0)
        return;
    if (self->base.err == LB_OK)
        (void)!job_touch(&self->base, self->file, self->fd);
    close(self->fd);
    self->fd = -1;
}

static lb_err ask_disk(struct check_job *self)
{
    int fd;

    self->direct = false;
    if (!self->from_disk)
        return LB_OK;
    fd = holes_open_direct(self->fd, &self->direct);
    if (fd < 0)
        return job_fail(&self->base, "open", self->file, beneath_error(errno), errno);
    close(self->fd);
    self->fd = fd;
    return LB_OK;
}

/* The device is open once, for us alone. */
static lb_err open_device(struct check_job *self)
{
    const struct storage *storage = self->base.storage;

    self->fd = fcntl(storage->device_fd, F_DUPFD_CLOEXEC, 0);
    if (self->fd < 0)
        return job_fail(&self->base, "open", self->file, beneath_error(errno), errno);
    self->size = storage->device_size;
    self->sparse = false;
    return ask_disk(self);
}

/* By its path and not from the cache: what lies there now is asked for. */
static lb_err open_file(struct check_job *self, uint32_t file)
{
    const struct storage *storage = self->base.storage;
    struct stat found;
    lb_err err;

    if (self->file == file)
        return LB_OK;
    close_file(self);
    self->file = file;
    self->size = 0;
    if (storage->device)
        return open_device(self);
    err = beneath_open(storage->root_fd, storage->metainfo->paths[file], false, false, &self->fd,
                       &found);
    if (err == LB_NOT_FOUND)
        return LB_OK;
    if (err != LB_OK)
        return job_fail(&self->base, "open", file, err, errno);
    self->size = (uint64_t)found.st_size;
    self->sparse = holes_are_in(&found);
    return ask_disk(self);
}

static lb_err hash_span(struct check_job *self, const struct layout_span *span)
{
    struct holes_range range = { .fd = self->fd,
                                 .sparse = self->sparse,
                                 .direct = self->direct,
                                 .offset = span->offset,
                                 .size = span->size,
                                 .buffer = self->buffer,
                                 .buffer_size = DISK_HASH_BUFFER };
    lb_err err;

    self->base.hashed_bytes += span->size;
    if (span->padding) {
        piece_hasher_add_zeros(self->hasher, span->size);
        return LB_OK;
    }
    err = holes_hash(self->hasher, &range, &self->base.read_bytes);
    /* LB_NOT_FOUND: cut meanwhile, this piece is not good. */
    return err == LB_IO ? job_fail(&self->base, "read", self->file, LB_IO, errno) : err;
}

/* A piece of zeros in one file need not be hashed where that has a hole. */
static bool is_hole(struct check_job *self, uint32_t piece)
{
    const struct storage *storage = self->base.storage;
    const struct layout *layout = &storage->metainfo->layout;
    struct layout_cursor cursor = layout_spans(layout, piece, 0, layout_piece_size(layout, piece));
    uint64_t begin, end;
    struct layout_span span;

    return bitfield_has(storage->zeros, piece) && layout_spans_next(&cursor, &span) &&
           cursor.left == 0 && !span.padding && open_file(self, span.file) == LB_OK &&
           span.offset + span.size <= self->size && self->sparse &&
           !holes_next_data(self->fd, span.offset, span.offset + span.size, &begin, &end);
}

/* LB_OK: hashed. LB_NOT_FOUND: not all of it is there. */
static lb_err hash_piece(struct check_job *self, uint32_t piece)
{
    const struct layout *layout = &self->base.storage->metainfo->layout;
    struct layout_cursor cursor = layout_spans(layout, piece, 0, layout_piece_size(layout, piece));
    struct layout_span span;

    piece_hasher_begin_piece(self->hasher, self->base.storage->metainfo, piece);
    while (layout_spans_next(&cursor, &span)) {
        lb_err err = span.padding ? LB_OK : open_file(self, span.file);

        if (err == LB_OK && !span.padding && span.offset + span.size > self->size)
            err = LB_NOT_FOUND;
        if (err == LB_OK)
            err = hash_span(self, &span);
        if (err != LB_OK)
            return err;
    }
    return LB_OK;
}

static void work_check(struct disk_job *job)
{
    struct check_job *self = (struct check_job *)job;
    const struct metainfo *metainfo = job->storage->metainfo;

    self->buffer = aligned_alloc(HOLES_ALIGN, DISK_HASH_BUFFER);
    if (!self->buffer)
        abort(); /* as xmalloc() */
    self->hasher = piece_hasher_new(metainfo->kind);
    for (; self->done < self->count && !*self->cancelled; self->done++) {
        uint32_t piece = self->first + self->done;
        bool hole = is_hole(self, piece);
        lb_err err = hole ? LB_OK : hash_piece(self, piece);

        if (job->err != LB_OK)
            break;
        self->good[self->done] =
            hole || (err == LB_OK && piece_hasher_is_good(self->hasher, metainfo, piece));
    }
    close_file(self);
    piece_hasher_free(&self->hasher);
    free(self->buffer);
}

/* ---- on the loop ---- */

/*
 * A file that is not as it was when pieces of it were found good may have changed under them: they
 * are doubtful again, but for those of this run.
 */
static void compare_files(struct storage *storage, const struct disk_job *job)
{
    for (uint32_t i = 0; i < job->touched_count; i++) {
        const struct touched *seen = &job->touched[i];
        struct resume_file *state = &storage->files[seen->file].state;
        uint32_t first, count;

        if (state->present == seen->present && state->size == seen->size &&
            state->mtime_ns == seen->mtime_ns)
            continue;
        layout_file_pieces(&storage->metainfo->layout, seen->file, &first, &count);
        for (uint32_t piece = first; piece < first + count; piece++) {
            if (!bitfield_has(storage->have, piece))
                continue;
            storage_piece_lost(storage, piece);
            bitfield_set(storage->doubtful, piece);
        }
        storage->files[seen->file].settled = false;
        *state = (struct resume_file){ .present = seen->present,
                                       .size = seen->size,
                                       .mtime_ns = seen->mtime_ns };
    }
}

static void settle_piece(struct storage *storage, uint32_t piece, bool good)
{
    bitfield_clear(storage->doubtful, piece);
    if (!good) {
        storage_piece_lost(storage, piece);
    } else if (storage->mode == STORAGE_SHARE) {
        storage_piece_good(storage, piece);
        bitfield_set(storage->durable, piece); /* not ours to sync */
    } else if (!bitfield_has(storage->durable, piece)) {
        storage_piece_good(storage, piece);
        storage_mark_dirty(storage, piece, 0);
    }
    if (storage->events.checked && !storage->closing)
        storage->events.checked(storage->events.ctx, piece, good);
}

static void finished_check(struct disk_job *job)
{
    struct check_job *self = (struct check_job *)job;
    struct storage *storage = job->storage;
    struct check *check = storage->check;

    check->running--;
    if (job->err != LB_OK && check->err == LB_OK)
        check->err = job->err;
    compare_files(storage, job);
    for (uint32_t i = 0; i < self->done; i++)
        settle_piece(storage, self->first + i, self->good[i]);
    disk_job_free(job);
}

static void start_run(struct storage *self)
{
    const struct layout *layout = &self->metainfo->layout;
    struct check *check = self->check;
    struct check_job *job = xcalloc(1, sizeof(*job));
    uint64_t bytes = 0;

    job->first = check->next;
    do
        bytes += layout_piece_size(layout, job->first + job->count++);
    while (job->first + job->count < layout->piece_count && job->count < RUN_PIECES &&
           bytes < RUN_BYTES && bitfield_has(check->pieces, job->first + job->count));
    check->next = bitfield_next(check->pieces, layout->piece_count, job->first + job->count);
    check->running++;
    job->cancelled = &check->cancelled;
    job->from_disk = check->from_disk;
    job->file = UINT32_MAX;
    job->fd = -1;
    job->base.work = work_check;
    job->base.finished = finished_check;
    disk_submit(&job->base, self, URGENCY_CHECK);
}

static void end_check(struct storage *self)
{
    struct check *check = self->check;
    lb_err err = check->cancelled ? LB_CANCELLED : check->err;

    self->check = NULL;
    free(check->pieces);
    free(check);
    if (self->closing)
        return;
    storage_settle_files(self);
    self->sync_wanted = true; /* what was found good is to be recorded */
    disk_wake(self->disk);
    self->events.check_done(self->events.ctx, err);
}

void storage_check_step(struct storage *self)
{
    struct check *check = self->check;

    while (check->err == LB_OK && !check->cancelled && check->running < DISK_CHECK_JOBS &&
           check->next < self->metainfo->layout.piece_count)
        start_run(self);
    if (check->running == 0)
        end_check(self);
}

static lb_err start_check(struct storage *self, const uint8_t *pieces, bool from_disk)
{
    uint32_t count = self->metainfo->layout.piece_count;
    struct check *check;

    if (!self->open)
        return LB_UNAVAILABLE;
    if (self->check)
        return LB_EXISTS;
    check = xcalloc(1, sizeof(*check));
    check->from_disk = from_disk;
    check->pieces = xmalloc(bitfield_size(count));
    if (pieces)
        memcpy(check->pieces, pieces, bitfield_size(count));
    else
        bitfield_set_all(check->pieces, count);
    check->next = bitfield_next(check->pieces, count, 0);
    self->check = check;
    disk_wake(self->disk);
    return LB_OK;
}

lb_err storage_check(struct storage *self, const uint8_t *pieces)
{
    return start_check(self, pieces, false);
}

lb_err storage_read_back(struct storage *self, const uint8_t *pieces)
{
    return start_check(self, pieces, true);
}

void storage_check_cancel(struct storage *self)
{
    if (!self->check)
        return;
    self->check->cancelled = true;
    disk_wake(self->disk);
}
