#include "services/swarm/disk_inside.h"

#include "libcommon/memory.h"
#include "services/swarm/beneath.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/holes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* ---- what a job reports ---- */

static const char *path_of(const struct disk_job *job, uint32_t file)
{
    const struct metainfo *metainfo = job->storage->metainfo;

    if (job->storage->device)
        return job->storage->device;
    return file < metainfo->layout.files_count ? metainfo->paths[file] : metainfo->name;
}

lb_err job_fail(struct disk_job *job, const char *verb, uint32_t file, lb_err err, int number)
{
    char text[128];

    job->err = err;
    job->problem_file = file;
    snprintf(job->problem, sizeof(job->problem), "%s %.380s: %s", verb, path_of(job, file),
             strerror_r(number, text, sizeof(text)));
    return err;
}

static struct touched *touched_of(struct disk_job *job, uint32_t file)
{
    /* Ranges go through the files in order: the last one is the likely one. */
    for (uint32_t i = job->touched_count; i-- > 0 && job->touched_count - i < 3;) {
        if (job->touched[i].file == file)
            return &job->touched[i];
    }
    if (job->touched_count == job->touched_capacity) {
        job->touched_capacity = 2 * job->touched_capacity + 2;
        job->touched = xrealloc(job->touched, job->touched_capacity * sizeof(job->touched[0]));
    }
    return &job->touched[job->touched_count++];
}

lb_err job_touch(struct disk_job *job, uint32_t file, int fd)
{
    const struct storage *storage = job->storage;
    struct stat found;

    if (storage->device) {
        *touched_of(job, file) = (struct touched){ .file = file,
                                                   .present = true,
                                                   .size = storage->device_size,
                                                   .mtime_ns = storage->device_ns };
        return LB_OK;
    }
    if (fstat(fd, &found) < 0)
        return job_fail(job, "look at", file, LB_IO, errno);
    *touched_of(job, file) = (struct touched){
        .file = file,
        .present = found.st_nlink > 0,
        .size = (uint64_t)found.st_size,
        .mtime_ns = (int64_t)found.st_mtim.tv_sec * 1000000000 + found.st_mtim.tv_nsec,
    };
    return LB_OK;
}

/* What of a file lies in pieces that are not known to be zeros. */
static bool next_room(const struct files_request *request, uint64_t from, uint64_t *ret_begin,
                      uint64_t *ret_end)
{
    const struct storage *storage = request->ctx;
    const struct layout *layout = &storage->metainfo->layout;
    const struct layout_file *file = &layout->files[request->file];
    uint64_t at = file->offset + from, end = file->offset + file->length, begin;

    while (at < end && bitfield_has(storage->zeros, (uint32_t)(at / layout->piece_length)))
        at += layout->piece_length - at % layout->piece_length;
    begin = at;
    while (at < end && !bitfield_has(storage->zeros, (uint32_t)(at / layout->piece_length)))
        at += layout->piece_length - at % layout->piece_length;
    if (begin >= end)
        return false;
    *ret_begin = begin - file->offset;
    *ret_end = (at < end ? at : end) - file->offset;
    return true;
}

static struct files_request request_of(const struct disk_job *job, uint32_t file, bool writable)
{
    const struct storage *storage = job->storage;

    return (struct files_request){ .storage = storage->number,
                                   .file = file,
                                   .root_fd = storage->root_fd,
                                   .path = storage->metainfo->paths[file],
                                   .length = storage->files[file].unwanted
                                                 ? 0
                                                 : storage->metainfo->layout.files[file].length,
                                   .writable = writable,
                                   .executable = storage->metainfo->layout.files[file].executable,
                                   .room = next_room,
                                   .ctx = storage };
}

lb_err job_open_file(struct disk_job *job, uint32_t file, bool writable, struct files_use *ret_use)
{
    const struct storage *storage = job->storage;
    struct files_request request;
    lb_err err;

    if (storage->device) {
        *ret_use = (struct files_use){ .fd = storage->device_fd };
        return LB_OK;
    }
    request = request_of(job, file, writable);
    err = files_open(job->disk->files, &request, ret_use);
    return err == LB_OK ? LB_OK : job_fail(job, "open", file, err, errno);
}

/* The same if it is open for reading already. */
static bool open_file_now(const struct disk_job *job, uint32_t file, struct files_use *ret_use)
{
    struct files_request request = request_of(job, file, false);

    if (!job->storage->device)
        return files_open_now(job->disk->files, &request, ret_use);
    *ret_use = (struct files_use){ .fd = job->storage->device_fd };
    return true;
}

void job_close_file(struct disk_job *job, struct files_use *use)
{
    bool removed = job->touched_count > 0 && !job->touched[job->touched_count - 1].present;

    if (job->storage->device)
        return;
    if (removed)
        files_discard(job->disk->files, use);
    else
        files_release(job->disk->files, use);
}

/* ---- moving bytes ---- */

enum motion {
    MOTION_READ,
    MOTION_READ_NOW, /* what is in the page cache, or nothing */
    MOTION_WRITE
};

/* Where in the parts of a range we are. */
struct place {
    const struct iovec *parts;
    uint32_t left; /* parts, this one included */
    size_t offset; /* in this one */
};

/* The next `size` bytes at most, as pieces of memory for one call; does not move on. */
static int gather(const struct place *place, uint32_t size, struct iovec *ret_parts)
{
    size_t offset = place->offset;
    int count = 0;

    for (uint32_t i = 0; i < place->left && size > 0 && count < (int)RANGE_PARTS_MAX; i++) {
        size_t take = place->parts[i].iov_len - offset;

        if (take > size)
            take = size;
        ret_parts[count].iov_base = (uint8_t *)place->parts[i].iov_base + offset;
        ret_parts[count++].iov_len = take;
        size -= (uint32_t)take;
        offset = 0;
    }
    return count;
}

static void move_on(struct place *place, size_t size)
{
    place->offset += size;
    while (place->left > 0 && place->offset >= place->parts->iov_len) {
        place->offset -= place->parts->iov_len;
        place->parts++;
        place->left--;
    }
}

static void fill_with_zeros(struct place *place, uint32_t size)
{
    struct iovec parts[RANGE_PARTS_MAX];

    while (size > 0) {
        int count = gather(place, size, parts);

        for (int i = 0; i < count; i++) {
            memset(parts[i].iov_base, 0, parts[i].iov_len);
            size -= (uint32_t)parts[i].iov_len;
            move_on(place, parts[i].iov_len);
        }
    }
}

static ssize_t call_kernel(int fd, const struct iovec *parts, int count, off_t at,
                           enum motion motion)
{
    switch (motion) {
    case MOTION_READ:
        return preadv(fd, parts, count, at);
    case MOTION_READ_NOW:
        return preadv2(fd, parts, count, at, RWF_NOWAIT);
    case MOTION_WRITE:
        return pwritev(fd, parts, count, at);
    }
    return -1;
}

/* One span: all of it lies in one file, open as fd. */
static lb_err move_span(struct disk_job *job, const struct layout_span *span, int fd,
                        enum motion motion, struct place *place)
{
    const bool write = motion == MOTION_WRITE;
    struct iovec parts[RANGE_PARTS_MAX];
    uint32_t done = 0;

    while (done < span->size) {
        int count = gather(place, span->size - done, parts);
        off_t at = (off_t)(span->offset + done);
        ssize_t moved = call_kernel(fd, parts, count, at, motion);

        if (moved < 0 && errno == EINTR)
            continue;
        if (moved <= 0 && motion == MOTION_READ_NOW)
            return LB_UNAVAILABLE; /* or it fails, which is for a job to complain of */
        if (moved < 0)
            return job_fail(job, write ? "write" : "read", span->file,
                            errno == ENOSPC || errno == EDQUOT ? LB_NO_SPACE : LB_IO, errno);
        if (moved == 0) {
            job_fail(job, write ? "write" : "read", span->file, write ? LB_IO : LB_NOT_FOUND, EIO);
            snprintf(job->problem, sizeof(job->problem), "%.380s is shorter than it was",
                     path_of(job, span->file));
            return job->err;
        }
        done += (uint32_t)moved;
        move_on(place, (size_t)moved);
    }
    return LB_OK;
}

static lb_err open_for(struct disk_job *job, uint32_t file, enum motion motion,
                       struct files_use *ret_use)
{
    if (motion == MOTION_READ_NOW)
        return open_file_now(job, file, ret_use) ? LB_OK : LB_UNAVAILABLE;
    return job_open_file(job, file, motion == MOTION_WRITE, ret_use);
}

static lb_err move_in_file(struct disk_job *job, const struct layout_span *span, enum motion motion,
                           struct place *place)
{
    struct files_use use;
    lb_err err = open_for(job, span->file, motion, &use);

    if (err != LB_OK)
        return err;
    err = move_span(job, span, use.fd, motion, place);
    /* Looked at after reading: a change during it shows, too. */
    if (err == LB_OK && motion != MOTION_WRITE)
        err = job_touch(job, span->file, use.fd);
    job_close_file(job, &use);
    return err;
}

static lb_err move_range(struct disk_job *job, const struct range *range, enum motion motion)
{
    const bool write = motion == MOTION_WRITE;
    struct place place = { .parts = range->parts, .left = range->parts_count };
    struct layout_cursor cursor;
    struct layout_span span;
    uint32_t size = 0;

    for (uint32_t i = 0; i < range->parts_count; i++)
        size += (uint32_t)range->parts[i].iov_len;
    cursor = layout_spans(&job->storage->metainfo->layout, range->piece, range->offset, size);
    while (layout_spans_next(&cursor, &span)) {
        lb_err err = LB_OK;

        if (!span.padding)
            err = move_in_file(job, &span, motion, &place);
        else if (write)
            move_on(&place, span.size);
        else
            fill_with_zeros(&place, span.size);
        if (err != LB_OK)
            return err;
    }
    if (write)
        job->written_bytes += size;
    else
        job->read_bytes += size;
    return LB_OK;
}

static lb_err zero_in_file(struct disk_job *job, const struct layout_span *span)
{
    struct files_use use;
    lb_err err = job_open_file(job, span->file, true, &use);

    if (err != LB_OK)
        return err;
    if (holes_make(use.fd, span->offset, span->size) < 0)
        err = job_fail(job, "write", span->file, beneath_error(errno), errno);
    job_close_file(job, &use);
    return err;
}

lb_err range_zero(struct disk_job *job, uint32_t piece, uint32_t offset, uint32_t size)
{
    struct layout_cursor cursor =
        layout_spans(&job->storage->metainfo->layout, piece, offset, size);
    struct layout_span span;
    lb_err err = LB_OK;

    while (err == LB_OK && layout_spans_next(&cursor, &span)) {
        if (!span.padding)
            err = zero_in_file(job, &span);
    }
    return err;
}

lb_err range_read(struct disk_job *job, const struct range *range)
{
    return move_range(job, range, MOTION_READ);
}

lb_err range_read_now(struct disk_job *job, const struct range *range)
{
    return move_range(job, range, MOTION_READ_NOW);
}

lb_err range_write(struct disk_job *job, const struct range *range)
{
    return move_range(job, range, MOTION_WRITE);
}
