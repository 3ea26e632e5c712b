#include "services/swarm/disk_inside.h"

#include "libcommon/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_MS   500 /* how exactly DISK_SYNC_MS and DISK_IDLE_MS are kept */
#define FAIR_EVERY 4u

/* ---- jobs ---- */

static void pump(struct disk *self);

static void job_work(struct job *job)
{
    struct disk_job *self = (struct disk_job *)job;

    self->work(self);
}

static void leave_running(struct disk *self, struct disk_job *job)
{
    struct disk_job **link = &self->running;

    if (job->urgency == URGENCY_SYNC) {
        self->jobs_syncing--;
        return;
    }
    while (*link != job)
        link = &(*link)->next;
    *link = job->next;
    job->next = NULL;
    self->jobs_running--;
}

/* The storage outlives finished: it is freed in a turn, when it has no job left. */
static void job_done(struct job *job, void *ctx)
{
    struct disk_job *done = (struct disk_job *)job;
    struct storage *storage = done->storage;
    struct disk *self = ctx;

    leave_running(self, done);
    self->stats.read_bytes += done->read_bytes;
    self->stats.written_bytes += done->written_bytes;
    self->stats.hashed_bytes += done->hashed_bytes;
    if (done->problem[0])
        storage_complain(storage, done);
    done->finished(done);
    storage->jobs--;
    pump(self);
    disk_wake(self);
}

void disk_job_free(struct disk_job *job)
{
    free(job->touched);
    free(job);
}

static bool is_lane_free(const struct disk *self, const struct disk_job *job)
{
    for (const struct disk_job *at = self->running; at && job->lane != 0; at = at->next) {
        if (at->lane == job->lane)
            return false;
    }
    return true;
}

/* The first that may run now; only pieces thrown away while they are written have to wait. */
static struct disk_job **first_free(const struct disk *self, struct disk_job **queue)
{
    while (*queue && !is_lane_free(self, *queue))
        queue = &(*queue)->next;
    return *queue ? queue : NULL;
}

/*
 * The most urgent job first, but each FAIR_EVERYth time the least urgent: none waits for ever.
 * NULL: there is none that may run.
 */
static struct disk_job **next_job(struct disk *self, enum urgency *ret_urgency)
{
    bool least = ++self->jobs_picked % FAIR_EVERY == 0;
    struct disk_job **found = NULL;

    for (unsigned i = 0; i < URGENCIES; i++) {
        struct disk_job **first = i == URGENCY_SYNC ? NULL : first_free(self, &self->queue[i]);

        if (!first || (found && !least))
            continue;
        found = first;
        *ret_urgency = (enum urgency)i;
    }
    return found;
}

static void take_out(struct disk *self, struct disk_job **link, enum urgency urgency)
{
    struct disk_job *job = *link;

    *link = job->next;
    if (!job->next)
        self->queue_end[urgency] = link;
    job->next = NULL;
    self->jobs_waiting--;
}

static void pump_syncs(struct disk *self)
{
    struct disk_job **first = &self->queue[URGENCY_SYNC];

    if (*first && !self->sync_pool)
        self->sync_pool = pool_new(self->loop, 1);
    while (*first && pool_submit(self->sync_pool, &(*first)->job) == LB_OK) {
        self->jobs_syncing++;
        take_out(self, first, URGENCY_SYNC);
    }
}

/* Few are with a worker at once: if it is kept waiting, the others are to do what waits. */
static void pump(struct disk *self)
{
    const uint32_t most = DISK_JOBS_WORKER * pool_workers(self->pool);
    struct disk_job **link;
    enum urgency urgency;

    pump_syncs(self);
    while (self->jobs_running < most && (link = next_job(self, &urgency))) {
        struct disk_job *job = *link;

        if (pool_submit(self->pool, &job->job) != LB_OK)
            break; /* others filled it; the clock tries again */
        take_out(self, link, urgency);
        job->next = self->running;
        self->running = job;
        self->jobs_running++;
    }
}

void disk_submit(struct disk_job *job, struct storage *storage, enum urgency urgency)
{
    struct disk *self = storage->disk;

    job->disk = self;
    job->storage = storage;
    job->urgency = urgency;
    job->job.work = job_work;
    job->job.done = job_done;
    job->job.ctx = self;
    job->next = NULL;
    storage->jobs++;
    *self->queue_end[urgency] = job;
    self->queue_end[urgency] = &job->next;
    self->jobs_waiting++;
    disk_wake(self);
    pump(self);
}

/* ---- turns ---- */

static void answer_failed(struct disk *self)
{
    struct disk_read *read;

    while ((read = self->failed)) {
        disk_read_cancel(read); /* takes it off the list */
        read->done(read, read->err);
    }
}

static void tell_resume(struct disk *self)
{
    if (!self->paused || self->dirty >= self->blocks.limit / 4 * 3)
        return;
    self->paused = false;
    if (self->on_resume)
        self->on_resume(self->on_resume_ctx);
}

static bool needs_clock(const struct disk *self)
{
    if (self->jobs_waiting > 0 || !self->trimmed)
        return true;
    for (const struct storage *at = self->storages; at; at = at->next) {
        if (at->dirty_files > 0)
            return true;
    }
    return false;
}

static void on_clock(uv_timer_t *timer);

static void turn(struct disk *self)
{
    uint64_t now_ms = uv_now(self->loop);
    struct storage *next;

    answer_failed(self);
    for (struct storage *storage = self->storages; storage; storage = next) {
        next = storage->next;
        storage_turn(storage, now_ms);
    }
    if (self->freed) /* by whom the last one told that it is closed */
        return;
    assemblies_flush(self);
    cache_feed(self);
    pump(self);
    tell_resume(self);
    if (!self->clock_set && needs_clock(self)) {
        self->clock_set = true;
        uv_timer_start(&self->clock, on_clock, CLOCK_MS, CLOCK_MS);
    }
}

static void on_clock(uv_timer_t *timer)
{
    struct disk *self = timer->data;

    if (!self->trimmed && uv_now(self->loop) - self->active_at_ms >= DISK_IDLE_MS) {
        cache_shrink(self, SIZE_MAX);
        blocks_trim(&self->blocks);
        self->trimmed = true;
    }
    turn(self);
    if (needs_clock(self))
        return;
    self->clock_set = false;
    uv_timer_stop(&self->clock);
}

void disk_active(struct disk *self)
{
    self->active_at_ms = uv_now(self->loop);
    self->trimmed = false;
}

static void on_soon(uv_timer_t *timer)
{
    struct disk *self = timer->data;

    self->soon_set = false;
    turn(self);
}

void disk_wake(struct disk *self)
{
    if (self->soon_set || self->freed)
        return;
    self->soon_set = true;
    uv_timer_start(&self->soon, on_soon, 0, 0);
}

/* ---- the object ---- */

struct disk *disk_new(struct uv_loop_s *loop, struct pool *pool, size_t memory_size)
{
    struct disk *self = xcalloc(1, sizeof(*self));

    if (memory_size == 0)
        memory_size = DISK_MEMORY_DEFAULT;
    if (memory_size < DISK_MEMORY_MIN)
        memory_size = DISK_MEMORY_MIN;
    self->loop = loop;
    self->pool = pool;
    self->files = files_new(DISK_FILES_MAX);
    blocks_init(&self->blocks, memory_size / BLOCKS_SIZE);
    self->trimmed = true;
    for (unsigned i = 0; i < URGENCIES; i++)
        self->queue_end[i] = &self->queue[i];
    self->starved_end = &self->starved;
    uv_timer_init(loop, &self->soon);
    uv_timer_init(loop, &self->clock);
    self->soon.data = self;
    self->clock.data = self;
    self->timers_open = 2;
    return self;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct disk *self = handle->data;

    if (--self->timers_open == 0)
        free(self);
}

void disk_free(struct disk **self)
{
    struct disk *freed = *self;

    *self = NULL;
    if (!freed)
        return;
    assert(!freed->storages && freed->jobs_waiting == 0 && freed->jobs_running == 0 &&
           freed->jobs_syncing == 0);
    freed->freed = true;
    pool_free(&freed->sync_pool);
    files_free(&freed->files);
    blocks_done(&freed->blocks);
    uv_close((uv_handle_t *)&freed->soon, on_timer_closed);
    uv_close((uv_handle_t *)&freed->clock, on_timer_closed);
}

void disk_never_read_at_once(struct disk *self)
{
    self->never_at_once = true;
}

struct disk_block *disk_block_take(struct disk *self, uint8_t **ret_data)
{
    struct disk_block *block;

    if (blocks_room(&self->blocks) == 0)
        cache_shrink(self, 1);
    block = blocks_take(&self->blocks);
    *ret_data = block->data;
    return block;
}

void disk_block_drop(struct disk *self, struct disk_block **block)
{
    blocks_drop(&self->blocks, block);
}

bool disk_wants_pause(const struct disk *self)
{
    return self->paused;
}

void disk_on_resume(struct disk *self, void (*on_resume)(void *ctx), void *ctx)
{
    self->on_resume = on_resume;
    self->on_resume_ctx = ctx;
}

void disk_stats(const struct disk *self, struct disk_stats *ret_stats)
{
    *ret_stats = self->stats;
    ret_stats->memory_bytes = self->blocks.used * BLOCKS_SIZE;
    ret_stats->dirty_bytes = self->dirty * BLOCKS_SIZE;
    ret_stats->files_open = files_count(self->files);
    ret_stats->jobs = self->jobs_waiting + self->jobs_running + self->jobs_syncing;
}
