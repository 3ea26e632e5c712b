#include "services/swarm/disk_inside.h"

#include "libcommon/memory.h"
#include "services/swarm/beneath.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/holes.h"
#include "services/swarm/piece_hash.h"
#include "services/swarm/reuse.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUN_BYTES  (16u * 1024 * 1024) /* of one job: how soon a cancel works */
#define RUN_PIECES 1024u

/*
 * What may hold wanted pieces: a stream of files below root_fd, laid out as an earlier torrent
 * (known), as the new one (a folder), or a file alone; cut into pieces of the new one's length.
 */
struct base {
    char *path;
    struct metainfo *known; /* or NULL */
    bool opened, usable;
    int root_fd;
    struct layout layout;
    struct layout_file alone; /* the layout's, of a file alone */
    const char *const *paths;
    const char *alone_path; /* the path of a file alone, in `path` */
    size_t paths_skip;      /* bytes of each path that the root stands for */
    uint8_t *worth;         /* bitfield of its pieces that may fit; NULL: all */
};

struct reuse {
    struct reuse_index *index;
    uint8_t *wanted;        /* bitfield: not in have when it began, and not zeros */
    _Atomic uint8_t *taken; /* by piece: a worker has found it, or is about to */
    _Atomic uint32_t left;  /* of these, neither taken nor zeros */
    uint8_t *zeros;         /* of wanted, the pieces that are zeros */
    uint32_t next_zeros;    /* the next of them */
    struct base bases[STORAGE_BASES_MAX];
    uint32_t bases_count;
    uint32_t base;    /* the one at hand */
    uint32_t next;    /* piece of it */
    uint32_t running; /* jobs */
    lb_err err;
    _Atomic bool cancelled;
};

/* Opening a base; a run of its pieces; or (base NULL) a run of pieces that are zeros. */
struct reuse_job {
    struct disk_job base_job;
    struct reuse *reuse;
    struct base *base;
    uint32_t first;
    uint32_t count;
    uint32_t file; /* the one open, UINT32_MAX: none */
    int fd;        /* -1: it is not there */
    uint64_t size;
    bool sparse;
    uint8_t *buffer;             /* DISK_HASH_BUFFER */
    struct piece_hasher *hasher; /* of keys */
    struct piece_hasher *check;  /* of what is taken */
    uint32_t found_count, found_capacity;
    uint32_t *found; /* pieces of ours that are written now */
};

/* A range of a base's stream. */
struct source {
    uint32_t piece;
    uint32_t size;
};

/* ---- on a worker: opening a base ---- */

static bool is_target(const struct storage *storage, const char *path)
{
    char *target = storage->device ? xstrdup(storage->device)
                                   : xasprintf("%s/%s", storage->folder, storage->metainfo->name);
    struct stat ours, its;
    bool same = stat(target, &ours) == 0 && stat(path, &its) == 0 && ours.st_dev == its.st_dev &&
                ours.st_ino == its.st_ino;

    free(target);
    return same;
}

static void use_file(struct base *self, const struct layout *target, uint64_t size)
{
    self->alone = (struct layout_file){ .length = size };
    self->layout =
        (struct layout){ .length = size,
                         .piece_length = target->piece_length,
                         .piece_count = (uint32_t)((size - 1) / target->piece_length + 1),
                         .files_count = 1,
                         .files = &self->alone };
    self->paths = &self->alone_path;
}

/* The files of a folder, where the new torrent has files of these names. */
static void use_folder(struct base *self, const struct metainfo *metainfo)
{
    self->layout = metainfo->layout;
    self->paths = metainfo->paths;
    self->paths_skip = metainfo->is_folder ? strlen(metainfo->name) + 1 : 0;
}

/* What is known of an earlier torrent's pieces says which of them are worth a look. */
static void use_known(struct base *self, const struct reuse_index *index, enum metainfo_kind kind)
{
    const struct metainfo *known = self->known;

    self->layout = known->layout;
    self->paths = known->paths;
    self->paths_skip = known->is_folder ? strlen(known->name) + 1 : 0;
    if (piece_key_kind(known) != kind)
        return;
    self->worth = xcalloc(bitfield_size(known->layout.piece_count), 1);
    for (uint32_t i = 0; i < known->layout.piece_count; i++) {
        if (reuse_index_find(index, piece_key(known, i)) != REUSE_NONE)
            bitfield_set(self->worth, i);
    }
}

static lb_err open_parent(struct base *self, char *name)
{
    char *slash = name - 1;
    lb_err err;

    *slash = '\0';
    err = beneath_open_root(slash == self->path ? "/" : self->path, &self->root_fd);
    *slash = '/';
    return err;
}

/* It is another's: nothing of it is ever opened for writing, and what cannot be read is no base. */
static void work_open(struct disk_job *job)
{
    struct reuse_job *self = (struct reuse_job *)job;
    struct base *base = self->base;
    const struct metainfo *metainfo = job->storage->metainfo;
    char *path = realpath(base->path, NULL), *slash;
    struct stat found;

    if (!path)
        return;
    free(base->path);
    base->path = path;
    slash = strrchr(path, '/');
    base->alone_path = slash + 1;
    if (is_target(job->storage, path) || stat(path, &found) < 0)
        return;
    if (S_ISDIR(found.st_mode)) {
        base->usable = beneath_open_root(base->path, &base->root_fd) == LB_OK;
        use_folder(base, metainfo);
    } else if (S_ISREG(found.st_mode) && found.st_size > 0 &&
               (uint64_t)found.st_size / metainfo->layout.piece_length < METAINFO_PIECES_MAX) {
        base->usable = open_parent(base, slash + 1) == LB_OK;
        use_file(base, &metainfo->layout, (uint64_t)found.st_size);
    }
    if (base->usable && base->known && base->known->is_folder == S_ISDIR(found.st_mode) &&
        base->known->layout.piece_length == metainfo->layout.piece_length)
        use_known(base, self->reuse->index, piece_key_kind(metainfo));
}

/* ---- on a worker: looking ---- */

static void close_file(struct reuse_job *self)
{
    if (self->fd >= 0)
        close(self->fd);
    self->fd = -1;
    self->file = UINT32_MAX;
}

static bool open_file(struct reuse_job *self, uint32_t file)
{
    const struct base *base = self->base;
    struct stat found;

    if (self->file != file) {
        close_file(self);
        self->file = file;
        if (beneath_open(base->root_fd, base->paths[file] + base->paths_skip, false, false,
                         &self->fd, &found) == LB_OK) {
            self->size = (uint64_t)found.st_size;
            self->sparse = holes_are_in(&found);
        }
    }
    return self->fd >= 0;
}

static bool hash_source(struct reuse_job *self, const struct source *source,
                        struct piece_hash *ret_hash)
{
    struct layout_cursor cursor = layout_spans(&self->base->layout, source->piece, 0, source->size);
    struct layout_span span;

    piece_hasher_begin(self->hasher, piece_tree_height(&self->base->layout, source->piece));
    while (layout_spans_next(&cursor, &span)) {
        struct holes_range range = { .offset = span.offset,
                                     .size = span.size,
                                     .buffer = self->buffer,
                                     .buffer_size = DISK_HASH_BUFFER };

        self->base_job.hashed_bytes += span.size;
        if (span.padding) {
            piece_hasher_add_zeros(self->hasher, span.size);
            continue;
        }
        if (!open_file(self, span.file) || span.offset + span.size > self->size)
            return false;
        range.fd = self->fd;
        range.sparse = self->sparse;
        if (holes_hash(self->hasher, &range, &self->base_job.read_bytes) != LB_OK)
            return false;
    }
    piece_hasher_finish(self->hasher, 0, ret_hash);
    return true;
}

/* ---- on a worker: taking ---- */

static bool read_span(struct reuse_job *self, const struct layout_span *span, uint8_t *to)
{
    if (span->padding) {
        memset(to, 0, span->size);
        return true;
    }
    if (!open_file(self, span->file))
        return false;
    for (uint32_t done = 0; done < span->size;) {
        ssize_t got = pread(self->fd, to + done, span->size - done, (off_t)(span->offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (uint32_t)got;
    }
    self->base_job.read_bytes += span->size;
    return true;
}

static bool read_part(struct reuse_job *self, uint32_t piece, uint32_t offset, uint32_t size)
{
    struct layout_cursor cursor = layout_spans(&self->base->layout, piece, offset, size);
    struct layout_span span;
    uint8_t *to = self->buffer;

    while (layout_spans_next(&cursor, &span)) {
        if (!read_span(self, &span, to))
            return false;
        to += span.size;
    }
    return to == self->buffer + size;
}

/* What is in the buffer goes to our piece: runs of blocks that are zeros, and of others. */
static lb_err write_part(struct reuse_job *self, uint32_t piece, uint32_t offset, uint32_t size)
{
    lb_err err = LB_OK;

    for (uint32_t at = 0; at < size && err == LB_OK;) {
        uint32_t end = at, step = LAYOUT_BLOCK_SIZE;
        bool zeros = holes_are_zeros(self->buffer + at, size - at < step ? size - at : step);
        struct iovec part = { .iov_base = self->buffer + at };
        struct range range = {
            .piece = piece, .offset = offset + at, .parts_count = 1, .parts = &part
        };

        do
            end = size - end < step ? size : end + step;
        while (end < size &&
               holes_are_zeros(self->buffer + end, size - end < step ? size - end : step) == zeros);
        part.iov_len = end - at;
        err = zeros ? range_zero(&self->base_job, piece, offset + at, end - at)
                    : range_write(&self->base_job, &range);
        at = end;
    }
    return err;
}

/* What is written is hashed on its way: the base may change under us. */
static bool copy(struct reuse_job *self, const struct source *source, uint32_t piece)
{
    const struct metainfo *metainfo = self->base_job.storage->metainfo;
    uint32_t size;

    piece_hasher_begin_piece(self->check, metainfo, piece);
    for (uint32_t at = 0; at < source->size; at += size) {
        size = source->size - at < DISK_HASH_BUFFER ? source->size - at : DISK_HASH_BUFFER;
        if (!read_part(self, source->piece, at, size) || write_part(self, piece, at, size) != LB_OK)
            return false;
        piece_hasher_add(self->check, bytes_of(self->buffer, size));
    }
    self->base_job.hashed_bytes += source->size;
    return piece_hasher_is_good(self->check, metainfo, piece);
}

static void note_found(struct reuse_job *self, uint32_t piece)
{
    if (self->found_count == self->found_capacity) {
        self->found_capacity = 2 * self->found_capacity + 16;
        self->found = xrealloc(self->found, self->found_capacity * sizeof(self->found[0]));
    }
    self->found[self->found_count++] = piece;
}

static void take(struct reuse_job *self, const struct source *source, uint32_t piece)
{
    struct reuse *reuse = self->reuse;

    if (layout_piece_size(&self->base_job.storage->metainfo->layout, piece) != source->size ||
        atomic_exchange(&reuse->taken[piece], 1) != 0)
        return;
    atomic_fetch_sub(&reuse->left, 1);
    if (copy(self, source, piece)) {
        note_found(self, piece);
        return;
    }
    atomic_fetch_add(&reuse->left, 1);
    atomic_store(&reuse->taken[piece], 0);
}

static void look_at(struct reuse_job *self, const struct source *source)
{
    const struct reuse_index *index = self->reuse->index;
    const enum metainfo_kind kind = piece_key_kind(self->base_job.storage->metainfo);
    struct piece_hash hash;
    uint32_t piece;

    if (source->size == 0 || !hash_source(self, source, &hash))
        return;
    piece = reuse_index_find(index, piece_hash_key(&hash, kind));
    while (piece != REUSE_NONE && self->base_job.err == LB_OK) {
        take(self, source, piece);
        piece = reuse_index_next(index, piece);
    }
}

static bool is_enough(const struct reuse_job *self)
{
    return self->base_job.err != LB_OK || self->reuse->cancelled || self->reuse->left == 0;
}

static void work_look(struct disk_job *job)
{
    struct reuse_job *self = (struct reuse_job *)job;
    const struct layout *ours = &job->storage->metainfo->layout, *its = &self->base->layout;

    self->buffer = xmalloc(DISK_HASH_BUFFER);
    self->hasher = piece_hasher_new(piece_key_kind(job->storage->metainfo));
    self->check = piece_hasher_new(job->storage->metainfo->kind);
    for (uint32_t i = 0; i < self->count && !is_enough(self); i++) {
        uint32_t piece = self->first + i, last = ours->piece_count - 1;
        uint32_t size = layout_piece_size(its, piece), short_size = layout_piece_size(ours, last);

        if (self->base->worth && !bitfield_has(self->base->worth, piece))
            continue;
        look_at(self, &(struct source){ piece, size });
        /* Our last piece is shorter; a longer base may begin with it here. */
        if (piece == last && short_size < size)
            look_at(self, &(struct source){ piece, short_size });
    }
    close_file(self);
    piece_hasher_free(&self->hasher);
    piece_hasher_free(&self->check);
    free(self->buffer);
}

static void work_zeros(struct disk_job *job)
{
    struct reuse_job *self = (struct reuse_job *)job;
    const struct layout *layout = &job->storage->metainfo->layout;

    for (uint32_t i = 0; i < self->count && !self->reuse->cancelled; i++) {
        uint32_t piece = self->first + i;

        if (range_zero(job, piece, 0, layout_piece_size(layout, piece)) != LB_OK)
            return;
        note_found(self, piece);
    }
}

/* ---- on the loop ---- */

static void keep_found(struct storage *storage, uint32_t piece)
{
    if (bitfield_has(storage->have, piece))
        return;
    storage_piece_good(storage, piece);
    storage_mark_dirty(storage, piece, layout_piece_size(&storage->metainfo->layout, piece));
    if (storage->events.reused && !storage->closing)
        storage->events.reused(storage->events.ctx, piece);
}

static void finished_job(struct disk_job *job)
{
    struct reuse_job *self = (struct reuse_job *)job;
    struct reuse *reuse = self->reuse;

    reuse->running--;
    if (job->err != LB_OK && reuse->err == LB_OK)
        reuse->err = job->err;
    for (uint32_t i = 0; i < self->found_count; i++)
        keep_found(job->storage, self->found[i]);
    free(self->found);
    disk_job_free(job);
}

static struct reuse_job *start_job(struct storage *self, void (*work)(struct disk_job *job),
                                   struct base *base)
{
    struct reuse_job *job = xcalloc(1, sizeof(*job));

    job->reuse = self->reuse;
    job->base = base;
    job->file = UINT32_MAX;
    job->fd = -1;
    job->base_job.work = work;
    job->base_job.finished = finished_job;
    self->reuse->running++;
    return job;
}

/* The next pieces, of those in `bits` (NULL: any), as many as a job takes; 0: there are none. */
static uint32_t next_run(const struct layout *layout, const uint8_t *bits, uint32_t *at)
{
    uint32_t count = 0;
    uint64_t bytes = 0;

    if (bits)
        *at = bitfield_next(bits, layout->piece_count, *at);
    while (*at + count < layout->piece_count && count < RUN_PIECES && bytes < RUN_BYTES &&
           (!bits || bitfield_has(bits, *at + count)))
        bytes += layout_piece_size(layout, *at + count++);
    return count;
}

/* True: one more job was started. */
static bool start_zeros(struct storage *self)
{
    struct reuse *reuse = self->reuse;
    const struct layout *layout = &self->metainfo->layout;
    uint32_t count = next_run(layout, reuse->zeros, &reuse->next_zeros);
    struct reuse_job *job;

    if (count == 0)
        return false;
    job = start_job(self, work_zeros, NULL);
    job->first = reuse->next_zeros;
    job->count = count;
    reuse->next_zeros += count;
    disk_submit(&job->base_job, self, URGENCY_CHECK);
    return true;
}

static bool start_look(struct storage *self)
{
    struct reuse *reuse = self->reuse;
    struct reuse_job *job;
    struct base *base;
    uint32_t count;

    while (reuse->base < reuse->bases_count && reuse->left > 0) {
        base = &reuse->bases[reuse->base];
        if (!base->opened && reuse->running > 0)
            return false; /* what was found before need not be looked for */
        if (!base->opened) {
            base->opened = true;
            disk_submit(&start_job(self, work_open, base)->base_job, self, URGENCY_CHECK);
            return false;
        }
        count = base->usable ? next_run(&base->layout, base->worth, &reuse->next) : 0;
        if (count > 0) {
            job = start_job(self, work_look, base);
            job->first = reuse->next;
            job->count = count;
            reuse->next += count;
            disk_submit(&job->base_job, self, URGENCY_CHECK);
            return true;
        }
        if (reuse->running > 0)
            return false;
        reuse->base++;
        reuse->next = 0;
    }
    return false;
}

static void free_reuse(struct reuse *self)
{
    for (uint32_t i = 0; i < self->bases_count; i++) {
        struct base *base = &self->bases[i];

        if (base->root_fd >= 0)
            close(base->root_fd);
        metainfo_free(&base->known);
        free(base->path);
        free(base->worth);
    }
    reuse_index_free(&self->index);
    free(self->wanted);
    free(self->zeros);
    free((void *)self->taken);
    free(self);
}

static void end_reuse(struct storage *self)
{
    struct reuse *reuse = self->reuse;
    lb_err err = reuse->cancelled ? LB_CANCELLED : reuse->err;

    self->reuse = NULL;
    free_reuse(reuse);
    if (self->closing)
        return;
    self->sync_wanted = true;
    disk_wake(self->disk);
    self->events.reuse_done(self->events.ctx, err);
}

void storage_reuse_step(struct storage *self)
{
    struct reuse *reuse = self->reuse;
    bool more = true;

    while (more && reuse->err == LB_OK && !reuse->cancelled && reuse->running < DISK_CHECK_JOBS)
        more = start_zeros(self) || start_look(self);
    if (reuse->running == 0)
        end_reuse(self);
}

static void add_base(struct reuse *self, const struct storage_base *given)
{
    struct base *base = &self->bases[self->bases_count++];

    base->path = xstrdup(given->path);
    base->known = given->known ? metainfo_keep(given->known) : NULL;
    base->root_fd = -1;
}

lb_err storage_reuse(struct storage *self, const struct storage_base *bases, uint32_t count,
                     const uint8_t *wanted)
{
    uint32_t pieces = self->metainfo->layout.piece_count;
    struct reuse *reuse;

    if (!self->open || self->mode != STORAGE_FETCH)
        return LB_UNAVAILABLE;
    if (self->reuse)
        return LB_EXISTS;
    if (count == 0 && bitfield_count(self->zeros, pieces) == 0)
        return LB_NOT_FOUND;
    reuse = xcalloc(1, sizeof(*reuse));
    reuse->wanted = xcalloc(bitfield_size(pieces), 1);
    reuse->zeros = xcalloc(bitfield_size(pieces), 1);
    reuse->taken = xcalloc(pieces, sizeof(reuse->taken[0]));
    for (uint32_t i = 0; i < pieces; i++) {
        if (bitfield_has(self->have, i) || (wanted && !bitfield_has(wanted, i)))
            continue;
        if (bitfield_has(self->zeros, i)) {
            bitfield_set(reuse->zeros, i);
            continue;
        }
        bitfield_set(reuse->wanted, i);
        reuse->left++;
    }
    for (uint32_t i = 0; i < count && i < STORAGE_BASES_MAX; i++)
        add_base(reuse, &bases[i]);
    reuse->index = reuse_index_new(self->metainfo, reuse->wanted);
    self->reuse = reuse;
    disk_wake(self->disk);
    return LB_OK;
}

void storage_reuse_cancel(struct storage *self)
{
    if (!self->reuse)
        return;
    self->reuse->cancelled = true;
    disk_wake(self->disk);
}
