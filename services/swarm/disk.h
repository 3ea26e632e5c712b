/*
 * Disk: the content of all torrents of this process. Reading for peers, writing what came from
 * them, checking what is there, and making it durable; all in the pool, so the loop never waits.
 *
 * Three objects, used from the loop's thread only; every callback comes from the loop and never
 * from inside the call that asked, once for each.
 *
 *     struct disk       the process: memory, descriptors, the order of jobs
 *     struct storage    one torrent's files below one folder
 *     struct assembly   one piece on its way in
 *
 * Memory. Content lives in blocks of 16 KiB from one arena of `memory_size` bytes for the process
 * (default DISK_MEMORY_DEFAULT), however large the files are: received blocks and the read cache
 * alike; plus DISK_HASH_BUFFER for each checking job (at most DISK_CHECK_JOBS of a storage). After
 * DISK_IDLE_MS without a read or write the cache is given back. A received block is
 * read from the socket to where it stays, or copied there once, hashed there, written from there
 * (pwritev, the whole piece at once) and then is the read cache's: a piece just completed is served
 * without reading it. When received blocks fill 3/4 of the arena, incomplete pieces are written out
 * early, so that some can always complete; what was written out is hashed from the disk. At 7/8
 * disk_wants_pause() becomes true.
 *
 * Reads come in lines: up to DISK_LINE_SIZE aligned bytes of one piece; all who want a line while
 * it is being read share one read. A line that is in the page cache whole, of a file that is open,
 * is read at once and on the loop (RWF_NOWAIT); the disk itself is waited for by jobs alone.
 *
 * Room. When a file is made, room is reserved for all of it but the pieces that are zeros (their
 * hash tells), so that a full disk shows before anything is fetched and the file lies in one run.
 * Runs of zeros of at least HOLES_MIN in other pieces become holes as they come; a sparse file thus
 * stays sparse. A disk that is full all the same is LB_NO_SPACE, and nothing is lost by it.
 *
 * Paths. Everything is opened below the folder by openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
 * RESOLVE_NO_MAGICLINKS), folders are made component by component likewise; only regular files are
 * touched. A symlink in the way is LB_DENIED. See beneath.h.
 *
 * Durability. A piece is verified before it is written, and enters the resume record only after
 * fdatasync of its files (syncfs, when they are many). A sync runs when DISK_SYNC_MS passed since
 * the first write it covers or DISK_SYNC_BYTES were written; on a thread of its own, since it does
 * nothing but wait, and a worker that waits hashes nothing meanwhile (of two workers, and 128 MB
 * every seventh of a second, one waited half of its time). After a failed fsync the storage takes
 * no more writes and its record keeps what was durable: close it and open it again.
 */
#pragma once

#include "libcommon/error.h"
#include "services/swarm/layout.h"
#include "services/swarm/metainfo.h"
#include "services/swarm/resume.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_MEMORY_DEFAULT (64u * 1024 * 1024)
#define DISK_MEMORY_MIN     (4u * 1024 * 1024)
#define DISK_IDLE_MS        10000u
#define DISK_LINE_SIZE      (1024u * 1024)
#define DISK_READ_MAX       (128u * 1024) /* bytes of one storage_read() */
#define DISK_PARTS_MAX      (DISK_READ_MAX / LAYOUT_BLOCK_SIZE + 1)
#define DISK_READS_MAX      16384u /* reads waiting; one more is LB_FULL */
#define DISK_JOBS_WORKER    2u     /* of ours with each worker at once; others wait, reads first */
#define DISK_CHECK_JOBS     4u
#define DISK_HASH_BUFFER    (1024u * 1024)
#define DISK_FILES_MAX      256u /* descriptors kept open */
#define DISK_SYNC_MS        5000u
#define DISK_SYNC_BYTES     (128u * 1024 * 1024)
#define DISK_PROBLEM_SIZE   512

struct assembly;
struct disk;
struct disk_block;
struct line;
struct pool;
struct storage;
struct uv_loop_s;

/* ---- the process ---- */

/* pool and loop are borrowed. memory_size: 0 for the default, at least DISK_MEMORY_MIN. */
struct disk *disk_new(struct uv_loop_s *loop, struct pool *pool, size_t memory_size);

/* After every storage is closed. Its timer is closed by the loop's next turns; run the loop. */
void disk_free(struct disk **self);

/*
 * Memory is used up by what came from peers and is not written yet: stop reading from sockets. When
 * there is room again, on_resume is called, once for each time it was true. assembly_put() works
 * all the same, so the bound is memory_size and what was read already. It stays true while a disk
 * that fails keeps assemblies: free them (see `trouble` and assembly_finish()).
 */
bool disk_wants_pause(const struct disk *self);
void disk_on_resume(struct disk *self, void (*on_resume)(void *ctx), void *ctx);

/* Every read that is not in memory waits for a job: for tests of those that wait. */
void disk_never_read_at_once(struct disk *self);

/* Memory for one block, LAYOUT_BLOCK_SIZE, to receive it into; for assembly_take(). */
struct disk_block *disk_block_take(struct disk *self, uint8_t **ret_data);
void disk_block_drop(struct disk *self, struct disk_block **block);

struct disk_stats {
    uint64_t read_bytes; /* from files */
    uint64_t written_bytes;
    uint64_t hashed_bytes;
    uint64_t cache_hits; /* reads answered at once, from memory or the page cache */
    uint64_t cache_misses;
    uint64_t syncs;
    size_t memory_bytes; /* blocks in use */
    size_t dirty_bytes;  /* of these: received, not written */
    uint32_t files_open;
    uint32_t jobs; /* waiting and under way */
};
void disk_stats(const struct disk *self, struct disk_stats *ret_stats);

/* ---- one torrent ---- */

enum storage_mode {
    STORAGE_SHARE, /* read only: files are never made, changed or resized */
    STORAGE_FETCH  /* missing folders and files are made, with room reserved at the first write */
};

struct storage_events {
    void *ctx;

    /*
     * Opened: storage_have() and storage_doubtful() are set from the resume record. LB_NOT_FOUND:
     * no such folder. LB_EXISTS: a file is longer than the torrent's, so it is another (nothing is
     * touched). LB_DENIED: a symlink or special file is in the way. The storage must be closed all
     * the same. Not called once storage_close() was.
     */
    void (*opened)(void *ctx, lb_err err);

    /*
     * A sync ended: storage_record() has changed and wants saving. On an error the storage takes no
     * writes any more.
     */
    void (*synced)(void *ctx, lb_err err);

    /*
     * LB_CONFLICT, LB_NOT_FOUND: somebody changed or removed a file that was whole; the pieces in
     * it lost their have bits and are doubtful. LB_NO_SPACE, LB_IO ...: incomplete pieces could not
     * be written out: stop receiving and free this storage's assemblies.
     */
    void (*trouble)(void *ctx, lb_err err);

    /* One piece of storage_check() is done; have is set when it matched. May be NULL. */
    void (*checked)(void *ctx, uint32_t piece, bool good);

    /* storage_check() ended: LB_OK, LB_CANCELLED, or why it could not go on. */
    void (*check_done)(void *ctx, lb_err err);

    /* storage_reuse() found a piece on this disk: it is in have. May be NULL. */
    void (*reused)(void *ctx, uint32_t piece);

    /*
     * storage_reuse() ended: LB_OK, LB_CANCELLED, or why its writes failed: LB_NO_SPACE, LB_IO,
     * LB_DENIED. Needed only by who calls it.
     */
    void (*reuse_done)(void *ctx, lb_err err);

    /* Closed and freed, by storage_close(). May be NULL. */
    void (*closed)(void *ctx);
};

/*
 * Open the content of metainfo (keeps a reference) below folder (absolute, copied). record: the
 * resume record read from the catalogue, or empty: a missing or damaged one costs hashing again.
 * events is copied.
 */
struct storage *storage_open(struct disk *disk, struct metainfo *metainfo, const char *folder,
                             enum storage_mode mode, struct bytes record,
                             const struct storage_events *events);

/* A block device as a storage's only file. */
struct storage_device {
    const char *path;     /* copied, as is identity */
    const char *identity; /* device.h: it must be this one */
    bool check;           /* look at all that is on it when there is no record */
};

/*
 * The same for a torrent of one file, to be written to a block device; opened is LB_DENIED,
 * LB_UNAVAILABLE (in use), LB_CONFLICT (another device), LB_TOO_BIG, LB_INVALID, LB_NOT_FOUND,
 * LB_IO when device.h refuses it. Zeros are written to it as zeros, by whatever the device does
 * fastest (holes.h). A device has no time of its last change: its record stands for RESUME_LEASE_S
 * after the last sync, as that of a file being written, and after that all of it is hashed again.
 */
struct storage *storage_open_device(struct disk *disk, struct metainfo *metainfo,
                                    const struct storage_device *device, struct bytes record,
                                    const struct storage_events *events);

/*
 * End it: reads that wait are answered LB_CANCELLED, a check ends without check_done, assemblies
 * must be freed already (their writes under way are awaited), what was written is synced and
 * `synced` called, then `closed` comes. Takes the storage at once.
 */
void storage_close(struct storage **self);

/*
 * Only these files are wanted (a bitfield; NULL: all), once it is open. Of the others no more is
 * written than what wanted files share a piece with: such a file is then a part of itself, without
 * room reserved for the rest.
 */
void storage_select(struct storage *self, const uint8_t *files);

/* What went wrong last, with the file's name: "write NAME/a.iso: No space left on device". */
const char *storage_problem(const struct storage *self);

/* Bitfields, borrowed: verified pieces, and those storage_check() should hash. */
const uint8_t *storage_have(const struct storage *self);
const uint8_t *storage_doubtful(const struct storage *self);

/*
 * Hash pieces and compare: those of the bitfield `pieces` (copied), or NULL for all. In order, in
 * large reads, DISK_CHECK_JOBS at once. A piece that does not match, or is not there, loses its bit
 * in have. One check at a time per storage: another is LB_EXISTS. LB_UNAVAILABLE before it is
 * opened.
 */
LB_MUST_CHECK lb_err storage_check(struct storage *self, const uint8_t *pieces);
void storage_check_cancel(struct storage *self);

/*
 * The same, asking the disk itself and not the page cache (O_DIRECT where there is such). What is
 * not synced yet is written first by the kernel.
 */
LB_MUST_CHECK lb_err storage_read_back(struct storage *self, const uint8_t *pieces);

/* Everything that is in have is durable, and no sync is under way. */
bool storage_is_synced(const struct storage *self);

/* ---- what is on this disk already ---- */

#define STORAGE_BASES_MAX 8u

/* Where content may lie: a file or a folder. Never written to. */
struct storage_base {
    const char *path;       /* absolute */
    struct metainfo *known; /* of the torrent that lies there, or NULL; kept while needed */
};

/*
 * Find pieces that are not in have without asking anybody: those that are zeros, told by their hash
 * alone; then those that lie in the bases (the first STORAGE_BASES_MAX), by SHA-1 of what is there.
 * In a folder the files of the same names are looked at where the new torrent has its pieces; in a
 * file alone every place that is a multiple of the piece length. Where the torrent of the base is
 * known and has pieces of this length, only pieces of the same hash are looked at, wherever they
 * lie. What is found is written, hashed again on its way, and then in have. wanted: a bitfield, or
 * NULL for all; a base that is not there, or is the storage's own, is passed over. At most
 * DISK_CHECK_JOBS at once. Nothing may be fetched meanwhile. LB_UNAVAILABLE: not open, or a share;
 * LB_EXISTS: one is under way; LB_NOT_FOUND: there is nowhere to look.
 */
LB_MUST_CHECK lb_err storage_reuse(struct storage *self, const struct storage_base *bases,
                                   uint32_t count, const uint8_t *wanted);
void storage_reuse_cancel(struct storage *self);

/* Sync now what was written: `synced` is called also when there was nothing to do. */
void storage_sync(struct storage *self);

/*
 * The resume record as it stands: what is verified and durable. now_s: wall clock. The caller frees
 * *ret_data; catalogue_write() takes it.
 */
void storage_record(const struct storage *self, uint64_t now_s, uint8_t **ret_data,
                    size_t *ret_size);

/* ---- reading ---- */

/* The bytes of a read, in order, in at most DISK_PARTS_MAX parts; each holds a block in memory. */
struct disk_data {
    uint32_t parts_count;
    struct disk_part {
        const uint8_t *data;
        uint32_t size;
        struct disk_block *block;
    } parts[DISK_PARTS_MAX];
};

/*
 * Embed one for each request, zeroed before its first use; it must stay until done is called or it
 * is cancelled.
 */
struct disk_read {
    uint32_t piece;
    uint32_t offset;
    uint32_t size; /* at most DISK_READ_MAX */
    void *ctx;

    /*
     * err LB_OK: data is filled and yours: give it back with disk_data_release() as soon as the
     * bytes are sent, since it holds 16 KiB a part. LB_CONFLICT: the file was changed by somebody
     * since it was verified (its pieces lost their have bits: check again); LB_NOT_FOUND: gone;
     * LB_IO; LB_CANCELLED: the storage is closing; LB_FULL. storage_problem() names the file.
     */
    void (*done)(struct disk_read *self, lb_err err);
    struct disk_data data;

    struct storage *storage; /* from here on: the disk's own */
    struct line *line;
    struct disk_read *next, *previous;
    lb_err err;
    enum { DISK_READ_NONE, DISK_READ_WAITS, DISK_READ_FAILED } state;
};

/*
 * Read a range of a piece that is in have (else LB_INVALID). True: it was in memory, data is
 * filled, and done will not be called. False: done will be called later.
 */
bool storage_read(struct storage *self, struct disk_read *read);

/* Not wanted any more; done will not be called. Fine when it is not under way. */
void disk_read_cancel(struct disk_read *read);
void disk_data_release(struct disk *disk, struct disk_data *data);

/* ---- leaves of v2 ---- */

#define STORAGE_LEAVES_MAX 2u /* pieces being hashed for it at once; one more is LB_FULL */

/* LB_OK: the SHA-256 of each block (MERKLE_HASH_SIZE each, BEP 52), borrowed until it returns. */
typedef void storage_leaves_fn(void *ctx, lb_err err, const uint8_t *leaves);

/*
 * Hash the blocks of a piece that is in have, read from the disk. LB_INVALID: it is not; LB_FULL.
 * After LB_OK done is called once, with LB_CANCELLED when the storage is closing meanwhile.
 */
LB_MUST_CHECK lb_err storage_leaves(struct storage *self, uint32_t piece, storage_leaves_fn *done,
                                    void *ctx);

/* ---- writing ---- */

/*
 * Begin a piece that is not in have. One assembly a piece at a time. NULL when the storage is not
 * open, takes no writes, or is a share.
 */
struct assembly *assembly_new(struct storage *storage, uint32_t piece);

/* Drop it and its blocks, also while a write is under way (then done is not called). */
void assembly_free(struct assembly **self);

uint32_t assembly_piece(const struct assembly *self);

/*
 * A block came: layout_block_size() bytes, copied. False when that block is here already, there is
 * no such block, or the piece is being finished: nothing is taken.
 */
bool assembly_put(struct assembly *self, uint32_t block, const uint8_t *data);

/* The same without a copy: when true, it has taken what lies in *memory from its start on. */
bool assembly_take(struct assembly *self, uint32_t block, struct disk_block **memory);
bool assembly_has(const struct assembly *self, uint32_t block);
bool assembly_complete(const struct assembly *self);

/*
 * All blocks are here: hash, compare, write. done is called once:
 *   LB_OK       the piece is in have and can be read and announced; free the assembly;
 *   LB_CORRUPT  the hash differs: nothing of it counts. assembly_digests() says by block what came;
 *               free it and begin again;
 *   LB_NO_SPACE, LB_IO, LB_DENIED ...  it could not be written; storage_problem() says which file.
 *               The blocks are kept: call assembly_finish() again later, or free it.
 */
typedef void assembly_fn(void *ctx, lb_err err);
void assembly_finish(struct assembly *self, assembly_fn *done, void *ctx);

/*
 * SHA-1 of each block (20 bytes each, layout_block_count() of them), to tell who sent the bad ones
 * once the piece is good: there after LB_CORRUPT, and after LB_OK when assembly_want_digests() was
 * called before assembly_finish(). Else NULL.
 */
void assembly_want_digests(struct assembly *self);
const uint8_t *assembly_digests(const struct assembly *self);
