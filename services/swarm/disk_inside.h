/*
 * The inside of disk.h, shared by disk.c (the process, its jobs), storage.c (open, close, record),
 * storage_sync.c, storage_check.c, storage_reuse.c, storage_read.c (the cache), assembly.c
 * (writing) and spans.c (what runs on the workers). Everything is the loop's but the fields of a
 * job under way, the files cache, and what of a storage never changes once it is open: number,
 * root, metainfo, zeros.
 */
#pragma once

#include "libcommon/pool.h"
#include "services/swarm/blocks.h"
#include "services/swarm/disk.h"
#include "services/swarm/files.h"

#include <stdatomic.h>
#include <uv.h>

/* ---- jobs ---- */

/* The order in which jobs get a worker. */
enum urgency { URGENCY_READ, URGENCY_SYNC, URGENCY_WRITE, URGENCY_CHECK, URGENCIES };

/* A file a job had its hands on, as it was afterwards. */
struct touched {
    uint32_t file;
    bool present; /* false: deleted meanwhile */
    uint64_t size;
    int64_t mtime_ns;
};

/*
 * One job: embed it first. work runs on a worker, finished on the loop, where the job frees itself.
 * On failure the worker sets err and problem.
 */
struct disk_job {
    struct job job;
    struct disk *disk;
    struct storage *storage;
    void (*work)(struct disk_job *self);
    void (*finished)(struct disk_job *self);
    struct disk_job *next;
    enum urgency urgency;
    uint64_t lane; /* not 0: those of one lane run one after the other, in order */
    lb_err err;
    uint32_t problem_file; /* UINT32_MAX: of no file */
    uint32_t touched_count, touched_capacity;
    struct touched *touched;
    uint64_t read_bytes, written_bytes, hashed_bytes;
    char problem[DISK_PROBLEM_SIZE];
};

/* Queue a job; its storage counts it as under way until finished has returned. */
void disk_submit(struct disk_job *job, struct storage *storage, enum urgency urgency);

/* What finished calls last; the job is from malloc. */
void disk_job_free(struct disk_job *job);

/* Something was freed or has to be told: a turn of disk soon, from the loop. */
void disk_wake(struct disk *self);
void disk_active(struct disk *self); /* something is read or written */

/* ---- the process ---- */

struct line;

#define LINES_BUCKETS 1024u

struct disk {
    struct uv_loop_s *loop;
    struct pool *pool;
    struct pool *sync_pool; /* NULL: nothing was synced yet */
    struct files *files;
    struct blocks blocks;
    size_t dirty;   /* blocks held by assemblies */
    size_t writing; /* of these: in a write job */

    struct disk_job *queue[URGENCIES], **queue_end[URGENCIES];
    struct disk_job *running; /* in the pool */
    uint32_t jobs_waiting, jobs_running, jobs_picked;
    uint32_t jobs_syncing; /* in that of its own */

    struct line *lines[LINES_BUCKETS];
    struct line *newest, *oldest;        /* ready lines by use */
    struct line *starved, **starved_end; /* lines to be read once there is memory */
    struct disk_read *failed;            /* to be answered in the next turn */
    uint32_t reads_waiting;
    bool never_at_once;    /* disk_never_read_at_once() */
    uint64_t active_at_ms; /* of the last read or write */

    struct storage *storages;
    struct assembly *assemblies;
    uint64_t storages_made;

    bool paused;
    void (*on_resume)(void *ctx);
    void *on_resume_ctx;

    uv_timer_t soon;  /* the next turn of the loop */
    uv_timer_t clock; /* while something is dirty or cached */
    unsigned timers_open;
    bool soon_set, clock_set, freed;
    bool trimmed;            /* nothing was read or written since the cache was given back */
    struct disk_stats stats; /* the counters of it */
};

/* ---- a storage ---- */

struct storage_file {
    _Atomic bool unwanted;    /* not selected; read by the workers */
    struct resume_file state; /* as last seen */
    bool settled;             /* whole, durable, nobody may change it */
    bool dirty;               /* written since the last sync */
};

struct check;
struct reuse;

struct storage {
    struct disk *disk;
    struct storage *next;
    struct metainfo *metainfo;
    char *folder;
    uint64_t number;
    int root_fd;    /* -1: none */
    char *device;   /* path of a block device, which is file 0 then; or NULL */
    char *identity; /* of it */
    int device_fd;  /* -1: none; never changes once it is open, as the two below */
    uint64_t device_size;
    int64_t device_ns; /* wall clock: when it was opened, for a time of change */
    bool device_check;
    enum storage_mode mode;
    struct storage_events events;
    bool open, closing, broken;
    bool sync_wanted, syncing, tell_synced;
    bool closed_files;

    struct storage_file *files;
    uint8_t *zeros; /* pieces whose hash is that of zeros; never changes once it is open */
    uint8_t *have;  /* verified */
    uint8_t *doubtful;
    uint8_t *durable;        /* of have: what the record says */
    uint8_t *syncing_pieces; /* of have: what the sync under way covers */
    uint32_t dirty_files;
    uint64_t dirty_bytes;
    uint64_t dirty_since_ms;
    uint64_t flush_after_ms; /* writing incomplete pieces out failed: not before */

    struct check *check;
    struct reuse *reuse;
    uint32_t jobs;           /* under way */
    uint32_t leaves;         /* of these: storage_leaves() */
    uint32_t assemblies;     /* not freed */
    struct disk_read *reads; /* waiting for a line */
    char problem[DISK_PROBLEM_SIZE];
};

/* From each turn of disk: syncs that are due, the end of a close (then it is freed). */
void storage_turn(struct storage *self, uint64_t now_ms);

/* Keep what a failed job says went wrong. */
void storage_complain(struct storage *self, const struct disk_job *job);

/* The files of a piece were written to. */
void storage_mark_dirty(struct storage *self, uint32_t piece, uint64_t bytes);
void storage_piece_good(struct storage *self, uint32_t piece);
void storage_piece_lost(struct storage *self, uint32_t piece);
void storage_settle_files(struct storage *self);

/*
 * Compare what a job saw with what is known of settled files. LB_CONFLICT, LB_NOT_FOUND: their
 * pieces are lost and `trouble` is told.
 */
LB_MUST_CHECK lb_err storage_compare(struct storage *self, const struct disk_job *job);

/* Whether it would find nothing. */
bool storage_agrees(const struct storage *self, const struct disk_job *job);
void storage_start_sync(struct storage *self);
void storage_check_step(struct storage *self);
void storage_reuse_step(struct storage *self);

/* ---- the cache ---- */

/* Make room by forgetting lines, oldest first, until so many blocks may be taken. */
void cache_shrink(struct disk *self, size_t blocks_wanted);
void cache_forget_piece(struct storage *self, uint32_t piece);
void cache_forget_storage(struct storage *self);
void cache_feed(struct disk *self); /* start starved lines that fit now */

/* Keep blocks of a verified piece, as many as a line has; holds them. */
void cache_keep(struct storage *self, uint32_t piece, uint32_t line, struct disk_block **blocks,
                uint32_t count);
void reads_cancel(struct storage *self);

/* ---- assemblies ---- */

/* Too much is received and not written: write incomplete pieces out. */
void assemblies_flush(struct disk *self);

/* ---- on the workers ---- */

#define RANGE_PARTS_MAX 64u /* of one call of the kernel */

/* Bytes of a piece in memory: parts one behind the other. */
struct range {
    uint32_t piece;
    uint32_t offset;
    uint32_t parts_count;
    const struct iovec *parts;
};

LB_MUST_CHECK lb_err range_read(struct disk_job *job, const struct range *range);

/* Also on the loop: LB_UNAVAILABLE when the disk would have to be waited for. */
LB_MUST_CHECK lb_err range_read_now(struct disk_job *job, const struct range *range);
LB_MUST_CHECK lb_err range_write(struct disk_job *job, const struct range *range);

/* The same with zeros, as holes where they are long enough (holes.h). */
LB_MUST_CHECK lb_err range_zero(struct disk_job *job, uint32_t piece, uint32_t offset,
                                uint32_t size);

/* One file, opened for a job; complains into the job. */
LB_MUST_CHECK lb_err job_open_file(struct disk_job *job, uint32_t file, bool writable,
                                   struct files_use *ret_use);
/* After job_touch(): a file that was removed is not kept open. */
void job_close_file(struct disk_job *job, struct files_use *use);
lb_err job_fail(struct disk_job *job, const char *verb, uint32_t file, lb_err err, int number);
LB_MUST_CHECK lb_err job_touch(struct disk_job *job, uint32_t file, int fd);
