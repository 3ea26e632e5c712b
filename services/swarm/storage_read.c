#include "services/swarm/disk_inside.h"

#include "libcommon/memory.h"
#include "services/swarm/bitfield.h"

#include <assert.h>
#include <stdlib.h>

#define LINE_BLOCKS (DISK_LINE_SIZE / LAYOUT_BLOCK_SIZE)

enum line_state {
    LINE_STARVED, /* waits for memory, in that list */
    LINE_READING, /* a job fills the blocks */
    LINE_READY    /* in the list by use */
};

/* Aligned bytes of a piece. */
struct line {
    struct storage *storage;
    uint32_t piece;
    uint32_t index; /* in the piece */
    uint32_t blocks_count;
    enum line_state state;
    bool answering; /* its reads are being answered: do not free it */
    bool forgotten; /* no longer to be found; freed by whoever holds it */
    struct disk_read *waiting;
    struct line *same_bucket;
    struct line *newer, *older;
    struct line *next_starved;
    struct disk_block *blocks[LINE_BLOCKS];
};

struct read_job {
    struct disk_job base;
    struct line *line;
    struct iovec parts[LINE_BLOCKS];
};

static_assert(LINE_BLOCKS <= RANGE_PARTS_MAX, "a line is read with one call");

/* ---- the table and the list by use ---- */

static struct line **bucket_of(struct disk *disk, uint64_t storage, uint32_t piece, uint32_t index)
{
    uint64_t hash = (storage << 40) ^ ((uint64_t)piece << 8) ^ index;

    hash *= 0x9e3779b97f4a7c15u; /* Fibonacci hashing: 2^64 / golden ratio */
    return &disk->lines[hash >> 32 & (LINES_BUCKETS - 1)];
}

static struct line *find_line(const struct storage *storage, uint32_t piece, uint32_t index)
{
    struct line *line = *bucket_of(storage->disk, storage->number, piece, index);

    while (line && (line->storage != storage || line->piece != piece || line->index != index))
        line = line->same_bucket;
    return line;
}

static struct line *add_line(struct storage *storage, uint32_t piece, uint32_t index)
{
    struct line **bucket = bucket_of(storage->disk, storage->number, piece, index);
    uint32_t blocks = layout_block_count(&storage->metainfo->layout, piece) - index * LINE_BLOCKS;
    struct line *line = xcalloc(1, sizeof(*line));

    line->storage = storage;
    line->piece = piece;
    line->index = index;
    line->blocks_count = blocks < LINE_BLOCKS ? blocks : LINE_BLOCKS;
    line->same_bucket = *bucket;
    *bucket = line;
    return line;
}

static void leave_uses(struct line *line)
{
    struct disk *disk = line->storage->disk;

    *(line->newer ? &line->newer->older : &disk->newest) = line->older;
    *(line->older ? &line->older->newer : &disk->oldest) = line->newer;
    line->newer = line->older = NULL;
}

static void enter_uses(struct line *line)
{
    struct disk *disk = line->storage->disk;

    line->newer = NULL;
    line->older = disk->newest;
    *(disk->newest ? &disk->newest->newer : &disk->oldest) = line;
    disk->newest = line;
}

static void leave_starved(struct line *line)
{
    struct disk *disk = line->storage->disk;
    struct line **link = &disk->starved;

    while (*link != line)
        link = &(*link)->next_starved;
    *link = line->next_starved;
    if (!*link)
        disk->starved_end = link;
}

static void leave_bucket(struct line *line)
{
    struct line **link =
        bucket_of(line->storage->disk, line->storage->number, line->piece, line->index);

    while (*link != line)
        link = &(*link)->same_bucket;
    *link = line->same_bucket;
}

static void free_line(struct line *line)
{
    for (uint32_t i = 0; i < line->blocks_count; i++)
        blocks_drop(&line->storage->disk->blocks, &line->blocks[i]);
    free(line);
}

/* ---- reads ---- */

static void join_list(struct disk_read **head, struct disk_read *read)
{
    read->previous = NULL;
    read->next = *head;
    if (*head)
        (*head)->previous = read;
    *head = read;
}

static void leave_list(struct disk_read **head, struct disk_read *read)
{
    *(read->previous ? &read->previous->next : head) = read->next;
    if (read->next)
        read->next->previous = read->previous;
    read->next = read->previous = NULL;
}

static void leave_wait(struct disk_read *read)
{
    struct disk *disk = read->storage->disk;

    if (read->state == DISK_READ_WAITS) {
        leave_list(&read->line->waiting, read);
        disk->reads_waiting--;
    } else if (read->state == DISK_READ_FAILED) {
        leave_list(&disk->failed, read);
    }
    read->state = DISK_READ_NONE;
    read->line = NULL;
}

/* To be answered with err in the next turn. */
static void fail_read(struct disk_read *read, lb_err err)
{
    leave_wait(read);
    disk_data_release(read->storage->disk, &read->data);
    read->err = err;
    read->state = DISK_READ_FAILED;
    join_list(&read->storage->disk->failed, read);
    disk_wake(read->storage->disk);
}

static void fail_waiting(struct line *line, lb_err err)
{
    while (line->waiting)
        fail_read(line->waiting, err);
}

/* Nobody finds it any more; freed now, or by the job or the loop that holds it, which fails what
 * waits. */
static void forget_line(struct line *line)
{
    leave_bucket(line);
    line->forgotten = true;
    if (line->state == LINE_READY)
        leave_uses(line);
    if (line->state == LINE_STARVED) {
        leave_starved(line);
        fail_waiting(line, LB_CONFLICT);
    }
    if (line->state != LINE_READING && !line->answering)
        free_line(line);
}

static uint32_t filled(const struct disk_read *read)
{
    uint32_t size = 0;

    for (uint32_t i = 0; i < read->data.parts_count; i++)
        size += read->data.parts[i].size;
    return size;
}

/* Take what a ready line has of a read that has come to it. */
static void take_parts(struct disk_read *read, struct line *line)
{
    uint32_t start = line->index * DISK_LINE_SIZE;
    uint32_t end = start + line->blocks_count * LAYOUT_BLOCK_SIZE;
    uint32_t at = read->offset + filled(read);
    uint32_t stop = read->offset + read->size < end ? read->offset + read->size : end;

    while (at < stop) {
        uint32_t inside = at % LAYOUT_BLOCK_SIZE, size = LAYOUT_BLOCK_SIZE - inside;
        struct disk_block *block = line->blocks[(at - start) / LAYOUT_BLOCK_SIZE];
        struct disk_part *part = &read->data.parts[read->data.parts_count++];

        if (size > stop - at)
            size = stop - at;
        blocks_hold(block);
        *part = (struct disk_part){ .data = block->data + inside, .size = size, .block = block };
        at += size;
    }
}

/* ---- filling lines ---- */

/* Blocks for what is to be read. */
static void take_blocks(struct line *line, struct read_job *job)
{
    struct disk *disk = line->storage->disk;
    uint32_t size = layout_piece_size(&line->storage->metainfo->layout, line->piece) -
                    line->index * DISK_LINE_SIZE;

    for (uint32_t i = 0; i < line->blocks_count; i++) {
        line->blocks[i] = blocks_take(&disk->blocks);
        job->parts[i].iov_base = line->blocks[i]->data;
        job->parts[i].iov_len = size < LAYOUT_BLOCK_SIZE ? size : LAYOUT_BLOCK_SIZE;
        size -= (uint32_t)job->parts[i].iov_len;
    }
    job->line = line;
}

static struct range range_of(const struct read_job *job)
{
    return (struct range){ .piece = job->line->piece,
                           .offset = job->line->index * DISK_LINE_SIZE,
                           .parts_count = job->line->blocks_count,
                           .parts = job->parts };
}

/*
 * A new line from the page cache, at once: two messages between threads, and what wakes them, cost
 * as much as a line's copy. False: the disk is to be waited for, or memory, or somebody.
 */
static bool fill_now(struct line *line)
{
    struct storage *storage = line->storage;
    struct disk *disk = storage->disk;
    struct read_job job = { .base = { .disk = disk, .storage = storage } };
    struct range range;
    bool filled;

    if (disk->starved || disk->never_at_once)
        return false;
    cache_shrink(disk, line->blocks_count);
    if (blocks_room(&disk->blocks) < line->blocks_count)
        return false;
    take_blocks(line, &job);
    range = range_of(&job);
    job.base.err = range_read_now(&job.base, &range);
    /* Trouble is found anew by a job, and told. */
    filled = storage_agrees(storage, &job.base);
    disk->stats.read_bytes += job.base.read_bytes;
    free(job.base.touched);
    for (uint32_t i = 0; i < line->blocks_count && !filled; i++)
        blocks_drop(&disk->blocks, &line->blocks[i]);
    return filled;
}

static struct line *want_line(struct storage *storage, uint32_t piece, uint32_t index)
{
    struct disk *disk = storage->disk;
    struct line *line = find_line(storage, piece, index);

    if (line)
        return line;
    line = add_line(storage, piece, index);
    if (fill_now(line)) {
        line->state = LINE_READY;
        enter_uses(line);
        return line;
    }
    line->state = LINE_STARVED;
    *disk->starved_end = line;
    disk->starved_end = &line->next_starved;
    return line;
}

/* True when the read is complete; else it waits for the line that comes next. */
static bool go_on(struct disk_read *read)
{
    uint32_t have;

    while ((have = filled(read)) < read->size) {
        struct line *line =
            want_line(read->storage, read->piece, (read->offset + have) / DISK_LINE_SIZE);

        if (line->state != LINE_READY) {
            read->line = line;
            read->state = DISK_READ_WAITS;
            join_list(&line->waiting, read);
            read->storage->disk->reads_waiting++;
            return false;
        }
        take_parts(read, line);
        leave_uses(line);
        enter_uses(line);
    }
    return true;
}

bool storage_read(struct storage *self, struct disk_read *read)
{
    struct disk *disk = self->disk;
    bool valid =
        self->open && read->size <= DISK_READ_MAX &&
        layout_range_is_valid(&self->metainfo->layout, read->piece, read->offset, read->size) &&
        bitfield_has(self->have, read->piece);

    read->storage = self;
    read->state = DISK_READ_NONE;
    read->data.parts_count = 0;
    disk_active(disk);
    if (!valid || disk->reads_waiting >= DISK_READS_MAX) {
        fail_read(read, valid ? LB_FULL : LB_INVALID);
        return false;
    }
    if (go_on(read)) {
        disk->stats.cache_hits++;
        return true;
    }
    disk->stats.cache_misses++;
    cache_feed(disk);
    return false;
}

void disk_read_cancel(struct disk_read *read)
{
    if (read->state == DISK_READ_NONE)
        return;
    leave_wait(read);
    disk_data_release(read->storage->disk, &read->data);
}

void disk_data_release(struct disk *disk, struct disk_data *data)
{
    for (uint32_t i = 0; i < data->parts_count; i++)
        blocks_drop(&disk->blocks, &data->parts[i].block);
    data->parts_count = 0;
    if (disk->starved)
        disk_wake(disk);
}

void reads_cancel(struct storage *self)
{
    for (size_t i = 0; i < LINES_BUCKETS; i++) {
        for (struct line *line = self->disk->lines[i]; line; line = line->same_bucket) {
            if (line->storage == self)
                fail_waiting(line, LB_CANCELLED);
        }
    }
}

/* ---- filling lines by jobs ---- */

static void work_read(struct disk_job *job)
{
    const struct range range = range_of((struct read_job *)job);

    job->err = range_read(job, &range);
}

static void answer_waiting(struct line *line)
{
    line->answering = true;
    while (line->waiting && !line->forgotten) {
        struct disk_read *read = line->waiting;

        leave_wait(read);
        if (go_on(read))
            read->done(read, LB_OK);
    }
    line->answering = false;
    fail_waiting(line, LB_CONFLICT);
    if (line->forgotten)
        free_line(line);
}

static void finished_read(struct disk_job *job)
{
    struct read_job *self = (struct read_job *)job;
    struct line *line = self->line;
    struct storage *storage = line->storage;
    lb_err err = storage_compare(storage, job);

    if (err == LB_OK && line->forgotten)
        err = LB_CONFLICT; /* its piece was lost while it was read */
    line->state = LINE_READY;
    if (!line->forgotten)
        enter_uses(line);
    if (err == LB_OK) {
        answer_waiting(line);
    } else {
        fail_waiting(line, err);
        if (line->forgotten)
            free_line(line);
        else
            forget_line(line);
    }
    disk_job_free(job);
}

static void start_line(struct line *line)
{
    struct read_job *job = xcalloc(1, sizeof(*job));

    line->state = LINE_READING;
    take_blocks(line, job);
    job->base.work = work_read;
    job->base.finished = finished_read;
    disk_submit(&job->base, line->storage, URGENCY_READ);
}

void cache_feed(struct disk *self)
{
    struct line *line;

    while ((line = self->starved)) {
        if (!line->waiting) {
            forget_line(line);
            continue;
        }
        cache_shrink(self, line->blocks_count);
        if (blocks_room(&self->blocks) < line->blocks_count)
            return; /* until somebody releases */
        leave_starved(line);
        start_line(line);
    }
}

void cache_shrink(struct disk *self, size_t blocks_wanted)
{
    struct line *line = self->oldest;

    while (line && blocks_room(&self->blocks) < blocks_wanted) {
        struct line *newer = line->newer;

        if (!line->answering)
            forget_line(line);
        line = newer;
    }
}

void cache_forget_piece(struct storage *self, uint32_t piece)
{
    uint32_t blocks = layout_block_count(&self->metainfo->layout, piece);

    for (uint32_t index = 0; index * LINE_BLOCKS < blocks; index++) {
        struct line *line = find_line(self, piece, index);

        if (line)
            forget_line(line);
    }
}

void cache_forget_storage(struct storage *self)
{
    for (size_t i = 0; i < LINES_BUCKETS; i++) {
        struct line *next;

        for (struct line *line = self->disk->lines[i]; line; line = next) {
            next = line->same_bucket;
            if (line->storage == self)
                forget_line(line);
        }
    }
}

void cache_keep(struct storage *self, uint32_t piece, uint32_t index, struct disk_block **blocks,
                uint32_t count)
{
    struct line *line = find_line(self, piece, index);

    if (line)
        return;
    line = add_line(self, piece, index);
    assert(line->blocks_count == count);
    for (uint32_t i = 0; i < count; i++) {
        blocks_hold(blocks[i]);
        line->blocks[i] = blocks[i];
    }
    line->state = LINE_READY;
    enter_uses(line);
}
