#include "services/swarm/disk_inside.h"

#include "libcommon/crypto.h"
#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"
#include "services/swarm/holes.h"
#include "services/swarm/piece_hash.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BLOCKS    (DISK_LINE_SIZE / LAYOUT_BLOCK_SIZE)
#define FLUSH_RETRY_MS 5000u

struct assembly {
    struct storage *storage;
    struct assembly *next, *previous; /* of the process */
    uint32_t piece;
    uint32_t blocks_count;
    uint32_t here;      /* blocks that came */
    uint32_t in_memory; /* of these, not written out */
    bool busy;          /* a job has its blocks */
    bool finishing;     /* assembly_finish() was called */
    bool freed;         /* by its owner; the job ends it */
    bool want_digests;
    assembly_fn *done;
    void *ctx;
    uint8_t *digests;
    uint8_t *came;               /* one byte a block: it is in memory or written out */
    struct disk_block *blocks[]; /* NULL: did not come, or written out */
};

/* Writing blocks of a piece: all of it once verified, or what is there, unverified. */
struct write_job {
    struct disk_job base;
    struct assembly *assembly;
    uint32_t piece;
    uint32_t blocks_count;
    bool whole;        /* hash and compare first */
    bool want_digests; /* also when it is good */
    uint8_t *digests;
    struct disk_block *blocks[]; /* held by the assembly; NULL: already written, or did not come */
};

/* ---- on a worker ---- */

static uint32_t block_size(const struct write_job *self, uint32_t block)
{
    return layout_block_size(&self->base.storage->metainfo->layout, self->piece, block);
}

/* The bytes of a block, from memory or read back into buffer. */
static lb_err block_bytes(struct write_job *self, uint32_t block, uint8_t *buffer,
                          struct bytes *ret_bytes)
{
    uint32_t size = block_size(self, block);
    struct iovec part = { .iov_base = buffer, .iov_len = size };
    struct range range = {
        .piece = self->piece, .offset = block * LAYOUT_BLOCK_SIZE, .parts_count = 1, .parts = &part
    };

    if (self->blocks[block]) {
        *ret_bytes = bytes_of(self->blocks[block]->data, size);
        return LB_OK;
    }
    *ret_bytes = bytes_of(buffer, size);
    return range_read(&self->base, &range);
}

/* LB_CORRUPT: it is not what it should be. */
static lb_err hash_blocks(struct write_job *self)
{
    const struct metainfo *metainfo = self->base.storage->metainfo;
    uint8_t buffer[LAYOUT_BLOCK_SIZE];
    struct piece_hasher *hasher = piece_hasher_new(metainfo->kind);
    lb_err err = LB_OK;

    piece_hasher_begin_piece(hasher, metainfo, self->piece);
    for (uint32_t i = 0; i < self->blocks_count && err == LB_OK; i++) {
        struct bytes bytes;

        err = block_bytes(self, i, buffer, &bytes);
        if (err != LB_OK)
            break;
        piece_hasher_add(hasher, bytes);
        self->base.hashed_bytes += bytes.size;
    }
    if (err == LB_OK && !piece_hasher_is_good(hasher, metainfo, self->piece))
        err = LB_CORRUPT;
    piece_hasher_free(&hasher);
    return err;
}

/* What of a leaf's hash tells blocks apart. */
static void digest_block(const struct metainfo *metainfo, struct bytes bytes, uint8_t *ret_digest)
{
    uint8_t leaf[SHA256_SIZE];

    if (!(metainfo->kind & METAINFO_V2)) {
        sha1(bytes, ret_digest);
        return;
    }
    sha256(bytes, leaf);
    memcpy(ret_digest, leaf, SHA1_SIZE);
}

static lb_err digest_blocks(struct write_job *self)
{
    uint8_t buffer[LAYOUT_BLOCK_SIZE];

    self->digests = xcalloc(self->blocks_count, SHA1_SIZE);
    for (uint32_t i = 0; i < self->blocks_count; i++) {
        struct bytes bytes;
        lb_err err = block_bytes(self, i, buffer, &bytes);

        if (err != LB_OK)
            return err;
        digest_block(self->base.storage->metainfo, bytes, self->digests + (size_t)i * SHA1_SIZE);
    }
    return LB_OK;
}

static bool is_zero_block(const struct write_job *self, uint32_t block)
{
    return holes_are_zeros(self->blocks[block]->data, block_size(self, block));
}

/* Blocks of zeros in memory from `first` on. */
static lb_err write_zeros(struct write_job *self, uint32_t first, uint32_t *ret_next)
{
    uint32_t block = first, size = 0;

    while (block < self->blocks_count && self->blocks[block] && is_zero_block(self, block))
        size += block_size(self, block++);
    *ret_next = block;
    self->base.written_bytes += size;
    return range_zero(&self->base, self->piece, first * LAYOUT_BLOCK_SIZE, size);
}

/*
 * Other blocks in memory from `first` on, without a gap: one call of the kernel for each file they
 * touch.
 */
static lb_err write_run(struct write_job *self, uint32_t first, uint32_t *ret_next)
{
    struct iovec parts[RANGE_PARTS_MAX];
    struct range range = { .piece = self->piece,
                           .offset = first * LAYOUT_BLOCK_SIZE,
                           .parts = parts };
    uint32_t block = first;

    while (block < self->blocks_count && self->blocks[block] &&
           range.parts_count < RANGE_PARTS_MAX && !is_zero_block(self, block)) {
        parts[range.parts_count].iov_base = self->blocks[block]->data;
        parts[range.parts_count++].iov_len = block_size(self, block);
        block++;
    }
    *ret_next = block;
    return range_write(&self->base, &range);
}

static lb_err write_blocks(struct write_job *self)
{
    for (uint32_t block = 0; block < self->blocks_count;) {
        lb_err err = LB_OK;

        if (!self->blocks[block])
            block++;
        else if (is_zero_block(self, block))
            err = write_zeros(self, block, &block);
        else
            err = write_run(self, block, &block);
        if (err != LB_OK)
            return err;
    }
    return LB_OK;
}

static lb_err verify(struct write_job *self)
{
    lb_err verdict = hash_blocks(self), err = LB_OK;

    if (verdict == LB_CORRUPT || (verdict == LB_OK && self->want_digests))
        err = digest_blocks(self);
    return err == LB_OK ? verdict : err;
}

static void work_write(struct disk_job *job)
{
    struct write_job *self = (struct write_job *)job;

    job->err = self->whole ? verify(self) : LB_OK;
    if (job->err == LB_OK)
        job->err = write_blocks(self);
}

/* ---- on the loop ---- */

static void list_add(struct assembly *self)
{
    struct disk *disk = self->storage->disk;

    self->next = disk->assemblies;
    if (self->next)
        self->next->previous = self;
    disk->assemblies = self;
}

static void list_remove(struct assembly *self)
{
    *(self->previous ? &self->previous->next : &self->storage->disk->assemblies) = self->next;
    if (self->next)
        self->next->previous = self->previous;
}

static void drop_blocks(struct assembly *self)
{
    struct disk *disk = self->storage->disk;

    for (uint32_t i = 0; i < self->blocks_count; i++)
        blocks_drop(&disk->blocks, &self->blocks[i]);
    disk->dirty -= self->in_memory;
    self->in_memory = 0;
    disk_wake(disk);
}

static void destroy(struct assembly *self)
{
    drop_blocks(self);
    list_remove(self);
    free(self->digests);
    free(self->came);
    free(self);
}

struct assembly *assembly_new(struct storage *storage, uint32_t piece)
{
    uint32_t blocks = layout_block_count(&storage->metainfo->layout, piece);
    struct assembly *self;

    if (!storage->open || storage->broken || storage->mode != STORAGE_FETCH || blocks == 0 ||
        bitfield_has(storage->have, piece))
        return NULL;
    self = xcalloc(1, sizeof(*self) + blocks * sizeof(self->blocks[0]));
    self->storage = storage;
    self->piece = piece;
    self->blocks_count = blocks;
    self->came = xcalloc(blocks, 1);
    storage->assemblies++;
    list_add(self);
    return self;
}

void assembly_free(struct assembly **self)
{
    struct assembly *freed = *self;

    *self = NULL;
    if (!freed)
        return;
    freed->storage->assemblies--;
    if (freed->busy)
        freed->freed = true;
    else
        destroy(freed);
}

uint32_t assembly_piece(const struct assembly *self)
{
    return self->piece;
}

bool assembly_has(const struct assembly *self, uint32_t block)
{
    return block < self->blocks_count && self->came[block];
}

bool assembly_complete(const struct assembly *self)
{
    return self->here == self->blocks_count;
}

static bool is_wanted(const struct assembly *self, uint32_t block)
{
    return block < self->blocks_count && !self->came[block] && !self->finishing;
}

static void add_block(struct assembly *self, uint32_t block, struct disk_block *memory)
{
    struct disk *disk = self->storage->disk;

    self->blocks[block] = memory;
    self->came[block] = 1;
    self->here++;
    self->in_memory++;
    disk->dirty++;
    disk_active(disk);
    if (disk->dirty >= disk->blocks.limit / 8 * 7)
        disk->paused = true;
    if (disk->dirty >= disk->blocks.limit / 4 * 3)
        disk_wake(disk);
}

bool assembly_put(struct assembly *self, uint32_t block, const uint8_t *data)
{
    struct disk_block *memory;
    uint8_t *to;

    if (!is_wanted(self, block))
        return false;
    memory = disk_block_take(self->storage->disk, &to);
    memcpy(to, data, layout_block_size(&self->storage->metainfo->layout, self->piece, block));
    add_block(self, block, memory);
    return true;
}

bool assembly_take(struct assembly *self, uint32_t block, struct disk_block **memory)
{
    if (!is_wanted(self, block))
        return false;
    add_block(self, block, *memory);
    *memory = NULL;
    return true;
}

/* ---- writing ---- */

static void finish_step(struct assembly *self);

static void piece_is_good(struct assembly *self)
{
    struct storage *storage = self->storage;

    storage_piece_good(storage, self->piece);
    storage_mark_dirty(storage, self->piece,
                       layout_piece_size(&storage->metainfo->layout, self->piece));
    for (uint32_t first = 0; first < self->blocks_count; first += LINE_BLOCKS) {
        uint32_t count = self->blocks_count - first, held = 0;

        if (count > LINE_BLOCKS)
            count = LINE_BLOCKS;
        while (held < count && self->blocks[first + held])
            held++;
        if (held == count)
            cache_keep(storage, self->piece, first / LINE_BLOCKS, &self->blocks[first], count);
    }
    drop_blocks(self);
}

static void finished_whole(struct assembly *self, lb_err err)
{
    assembly_fn *done = self->done;

    self->finishing = false;
    if (err == LB_OK)
        piece_is_good(self);
    done(self->ctx, err);
}

/* Incomplete blocks are on the disk: they are read back when the piece is hashed. */
static void finished_flush(struct write_job *job, struct assembly *self, lb_err err)
{
    struct storage *storage = self->storage;
    struct disk *disk = storage->disk;

    if (err == LB_OK) {
        for (uint32_t i = 0; i < self->blocks_count; i++) {
            if (!job->blocks[i])
                continue;
            blocks_drop(&disk->blocks, &self->blocks[i]);
            self->in_memory--;
            disk->dirty--;
        }
        storage_mark_dirty(storage, self->piece, 0);
    } else {
        storage->flush_after_ms = uv_now(disk->loop) + FLUSH_RETRY_MS;
        if (!storage->closing)
            storage->events.trouble(storage->events.ctx, err);
    }
}

static void finished_write(struct disk_job *base)
{
    struct write_job *job = (struct write_job *)base;
    struct assembly *self = job->assembly;
    struct disk *disk = base->disk;
    lb_err err = base->err;

    for (uint32_t i = 0; i < job->blocks_count; i++)
        disk->writing -= job->blocks[i] != NULL;
    free(self->digests);
    self->digests = job->digests;
    self->busy = false;
    if (self->freed) {
        destroy(self);
    } else if (job->whole) {
        finished_whole(self, err);
    } else {
        self->busy = true; /* not freed under us by `trouble` */
        finished_flush(job, self, err);
        self->busy = false;
        if (self->freed)
            destroy(self);
        else if (self->finishing)
            finish_step(self);
    }
    disk_job_free(base);
}

static void start_write(struct assembly *self, bool whole)
{
    struct storage *storage = self->storage;
    struct write_job *job = xcalloc(1, sizeof(*job) + self->blocks_count * sizeof(job->blocks[0]));

    job->assembly = self;
    job->piece = self->piece;
    job->blocks_count = self->blocks_count;
    job->whole = whole;
    job->want_digests = self->want_digests;
    memcpy(job->blocks, self->blocks, self->blocks_count * sizeof(job->blocks[0]));
    storage->disk->writing += self->in_memory;
    self->busy = true;
    job->base.work = work_write;
    job->base.finished = finished_write;
    /* Writes of one piece stay in order, also those of an assembly that was freed meanwhile. */
    job->base.lane = storage->number << 32 | (self->piece + 1);
    disk_submit(&job->base, storage, URGENCY_WRITE);
}

static void finish_step(struct assembly *self)
{
    if (!self->busy)
        start_write(self, true);
}

void assembly_finish(struct assembly *self, assembly_fn *done, void *ctx)
{
    assert(assembly_complete(self) && !self->finishing);
    self->finishing = true;
    self->done = done;
    self->ctx = ctx;
    finish_step(self);
}

void assembly_want_digests(struct assembly *self)
{
    self->want_digests = true;
}

const uint8_t *assembly_digests(const struct assembly *self)
{
    return self->digests;
}

static struct assembly *fullest(struct disk *disk)
{
    struct assembly *best = NULL;

    for (struct assembly *at = disk->assemblies; at; at = at->next) {
        if (at->busy || at->in_memory == 0 || at->storage->broken ||
            uv_now(disk->loop) < at->storage->flush_after_ms)
            continue;
        if (!best || at->in_memory > best->in_memory)
            best = at;
    }
    return best;
}

void assemblies_flush(struct disk *self)
{
    struct assembly *assembly;

    if (self->dirty < self->blocks.limit / 4 * 3)
        return;
    while (self->dirty - self->writing > self->blocks.limit / 2 && (assembly = fullest(self)))
        start_write(assembly, false);
}
