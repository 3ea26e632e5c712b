/*
 * Pieces of a world's torrent (disk_world.h), written, checked and read: each byte that is read is
 * compared with what the torrent has.
 */
#pragma once

#include "tests/libcommon/cmocka_row.h"
#include "tests/swarm/disk_world.h"

#define KIB       1024u
#define MIB       (1024u * 1024)
#define NO_RECORD bytes_of(NULL, 0)

/* Some files, a folder and padding: six pieces of SEVERAL_PIECE, class/b is in the last three. */
#define SEVERAL_PIECE (32 * KIB)
extern const struct world_file pieces_several[];

/* ---- a storage ---- */

/* The torrent is made up, nothing of it is there; the storage has been opened, well or not. */
struct storage *pieces_begin_fetch(struct world *world, const struct world_file *files,
                                   uint32_t piece_length, struct told *told);

/* All of it is there, and checked. */
struct storage *pieces_begin_share(struct world *world, const struct world_file *files,
                                   uint32_t piece_length, struct told *told);

void pieces_check_all(struct world *world, struct storage *storage, struct told *told);
uint32_t pieces_count(const struct world *world, const struct storage *storage); /* that it has */
uint64_t pieces_hashed_bytes(const struct world *world);

/* As of now; the caller frees the data. */
struct bytes pieces_record(const struct storage *storage);

/* ---- written ---- */

void pieces_finished(void *ctx, lb_err err); /* ctx is a struct told */

const uint8_t *pieces_block(const struct world *world, uint32_t piece, uint32_t block);
void pieces_put_all(const struct world *world, struct assembly *assembly);

/* LB_UNAVAILABLE: there is no assembly, it takes no writes or has it. */
lb_err pieces_write(struct world *world, struct storage *storage, uint32_t piece);

void pieces_assert_files(const struct world *world); /* whole, all of them */

/* ---- read ---- */

struct pieces_reading {
    struct disk_read read;
    unsigned done;
    lb_err err;
};

/* As storage_read(): true when it is there at once. */
bool pieces_ask(struct pieces_reading *self, struct storage *storage, struct disk_read range);

/* What has been read is right; it is released. */
void pieces_take(struct pieces_reading *self, struct world *world);

/* Ask, wait and take; an error is the answer. */
lb_err pieces_read(struct world *world, struct storage *storage, struct disk_read range);

/* The same, and there is no error. Was it in memory? */
bool pieces_read_well(struct world *world, struct storage *storage, struct disk_read range);
