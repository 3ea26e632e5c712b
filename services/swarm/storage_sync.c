#include "services/swarm/disk_inside.h"

#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * With more files than this their whole file system is synced in one call: it takes about as long
 * as a few files, each of which costs a commit of its journal (a fetch of 10,000 files of 25 kB on
 * ext4: 47 s one by one, 5 to 13 s so). What others have written there is waited for, too.
 */
#define ONE_BY_ONE_MAX 16u

/* The files to make durable; each is looked at afterwards (touched). */
struct sync_job {
    struct disk_job base;
    dev_t synced; /* the file system that was synced as a whole, 0: none */
    uint32_t count;
    uint32_t files[];
};

static int sync_one(struct sync_job *self, int fd)
{
    struct stat found;

    if (self->count <= ONE_BY_ONE_MAX)
        return fdatasync(fd);
    if (fstat(fd, &found) < 0)
        return -1;
    if (found.st_dev == self->synced)
        return 0;
    self->synced = found.st_dev;
    return syncfs(fd);
}

static void work_sync(struct disk_job *job)
{
    struct sync_job *self = (struct sync_job *)job;

    for (uint32_t i = 0; i < self->count && job->err == LB_OK; i++) {
        uint32_t file = self->files[i];
        struct files_use use;

        if (job_open_file(job, file, false, &use) != LB_OK)
            return;
        if (sync_one(self, use.fd) < 0)
            job_fail(job, "sync", file, errno == ENOSPC ? LB_NO_SPACE : LB_IO, errno);
        else if (job_touch(job, file, use.fd) == LB_OK &&
                 !job->touched[job->touched_count - 1].present)
            job_fail(job, "sync", file, LB_NOT_FOUND, ENOENT); /* removed: we write to nowhere */
        job_close_file(job, &use);
    }
}

static void sync_good(struct storage *self, const struct disk_job *job)
{
    size_t size = bitfield_size(self->metainfo->layout.piece_count);

    self->disk->stats.syncs++;
    for (size_t i = 0; i < size; i++)
        self->durable[i] |= self->syncing_pieces[i];
    for (uint32_t i = 0; i < job->touched_count; i++) {
        const struct touched *seen = &job->touched[i];

        self->files[seen->file].state = (struct resume_file){ .present = seen->present,
                                                              .size = seen->size,
                                                              .mtime_ns = seen->mtime_ns };
    }
    storage_settle_files(self);
}

static void finished_sync(struct disk_job *job)
{
    struct storage *storage = job->storage;
    lb_err err = job->err;

    storage->syncing = false;
    if (err == LB_OK)
        sync_good(storage, job);
    else
        storage->broken = true; /* what was dropped cannot be told: never try again (ATC'20) */
    memset(storage->syncing_pieces, 0, bitfield_size(storage->metainfo->layout.piece_count));
    disk_job_free(job);
    storage->events.synced(storage->events.ctx, err);
}

/* What is written from now on belongs to the next sync. */
void storage_start_sync(struct storage *self)
{
    const struct layout *layout = &self->metainfo->layout;
    struct sync_job *job = xcalloc(1, sizeof(*job) + self->dirty_files * sizeof(job->files[0]));

    for (uint32_t file = 0; file < layout->files_count; file++) {
        if (!self->files[file].dirty)
            continue;
        self->files[file].dirty = false;
        job->files[job->count++] = file;
    }
    memcpy(self->syncing_pieces, self->have, bitfield_size(layout->piece_count));
    self->dirty_files = 0;
    self->dirty_bytes = 0;
    self->sync_wanted = false;
    self->syncing = true;
    job->base.work = work_sync;
    job->base.finished = finished_sync;
    disk_submit(&job->base, self, URGENCY_SYNC);
}

void storage_sync(struct storage *self)
{
    self->sync_wanted = true;
    disk_wake(self->disk);
}
