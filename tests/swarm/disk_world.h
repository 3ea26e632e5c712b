/*
 * A temporary folder, a loop, a pool and a disk for the tests of what touches files; and a made-up
 * torrent. Tests wait for events of the loop, never for time.
 */
#pragma once

#include "libcommon/pool.h"
#include "services/swarm/disk.h"
#include "services/swarm/metainfo.h"

#include <uv.h>

struct world {
    uv_loop_t loop;
    struct pool *pool;
    struct disk *disk;
    char folder[64]; /* absolute */
    struct metainfo *metainfo;
    uint8_t *content;                              /* the stream of the torrent */
    void (*change)(uint8_t *content, size_t size); /* of what world_torrent() makes up, or NULL */
};

/* What the callbacks told, cleared by nobody. */
struct told {
    unsigned opened, synced, troubled, check_done, closed, done, resumed;
    unsigned checked_good, checked_bad;
    unsigned reused, reuse_done;
    lb_err err; /* of the last */
    lb_err check_err;
    struct storage *cancel; /* when a piece is checked: its check is cancelled */
};

void world_init(struct world *self, size_t memory_size);
void world_done(struct world *self); /* removes the folder with all in it */

/*
 * A torrent of these files, as "NAME" or "NAME/a/b" with their sizes, ended by a NULL path; content
 * by a seed. Padding: the path "".
 */
struct world_file {
    const char *path;
    uint64_t size;
};
void world_torrent(struct world *self, const struct world_file *files, uint32_t piece_length);

/* The bytes of a file of the torrent. */
const uint8_t *world_file_content(const struct world *self, uint32_t file);

/* Turn the loop until is_so; fails the test after 30 s. */
typedef bool world_condition(void *ctx);
void world_until(struct world *self, world_condition *is_so, void *ctx);

/* Until *count is at least least. */
void world_wait(struct world *self, const unsigned *count, unsigned least);
void world_wait_jobs(struct world *self); /* until the pool is idle */

/* Files of the folder, by relative path; missing folders are made. */
void world_write(const struct world *self, const char *path, const uint8_t *data, size_t size);
void world_write_all(const struct world *self); /* the whole torrent */
uint8_t *world_read(const struct world *self, const char *path, size_t *ret_size);
void world_path(const struct world *self, const char *path, char ret_path[512]);

extern const struct storage_events world_events; /* their ctx is a struct told */

struct storage *world_open(struct world *self, enum storage_mode mode, struct bytes record,
                           struct told *told);
void world_close(struct world *self, struct storage **storage, struct told *told);
