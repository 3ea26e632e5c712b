#include "services/swarm/disk_inside.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/merkle.h"

#include <stdlib.h>

struct leaves_job {
    struct disk_job base;
    uint32_t piece;
    storage_leaves_fn *done;
    void *ctx;
    uint8_t *leaves;
};

/* ---- on a worker ---- */

static lb_err hash_part(struct leaves_job *self, uint8_t *buffer, uint32_t offset, uint32_t size)
{
    struct iovec part = { .iov_base = buffer, .iov_len = size };
    const struct range range = {
        .piece = self->piece, .offset = offset, .parts_count = 1, .parts = &part
    };
    lb_err err = range_read(&self->base, &range);

    for (uint32_t at = 0; at < size && err == LB_OK; at += MERKLE_BLOCK_SIZE)
        sha256(bytes_of(buffer + at, size - at < MERKLE_BLOCK_SIZE ? size - at : MERKLE_BLOCK_SIZE),
               self->leaves + (size_t)((offset + at) / MERKLE_BLOCK_SIZE) * MERKLE_HASH_SIZE);
    self->base.hashed_bytes += size;
    return err;
}

static void work_leaves(struct disk_job *job)
{
    struct leaves_job *self = (struct leaves_job *)job;
    const uint32_t whole = layout_piece_size(&job->storage->metainfo->layout, self->piece);
    uint8_t *buffer = xmalloc(DISK_HASH_BUFFER);

    for (uint32_t at = 0; at < whole && job->err == LB_OK; at += DISK_HASH_BUFFER)
        job->err = hash_part(self, buffer, at,
                             whole - at < DISK_HASH_BUFFER ? whole - at : DISK_HASH_BUFFER);
    free(buffer);
}

/* ---- on the loop ---- */

static void finished_leaves(struct disk_job *job)
{
    struct leaves_job *self = (struct leaves_job *)job;
    struct storage *storage = job->storage;
    lb_err err = storage_compare(storage, job);

    storage->leaves--;
    self->done(self->ctx, storage->closing ? LB_CANCELLED : err, self->leaves);
    free(self->leaves);
    disk_job_free(job);
}

lb_err storage_leaves(struct storage *self, uint32_t piece, storage_leaves_fn *done, void *ctx)
{
    const uint32_t blocks = layout_block_count(&self->metainfo->layout, piece);
    struct leaves_job *job;

    if (!self->open || blocks == 0 || !bitfield_has(self->have, piece))
        return LB_INVALID;
    if (self->leaves >= STORAGE_LEAVES_MAX)
        return LB_FULL;
    job = xcalloc(1, sizeof(*job));
    job->piece = piece;
    job->done = done;
    job->ctx = ctx;
    job->leaves = xcalloc(blocks, MERKLE_HASH_SIZE);
    job->base.work = work_leaves;
    job->base.finished = finished_leaves;
    self->leaves++;
    disk_submit(&job->base, self, URGENCY_READ);
    return LB_OK;
}
