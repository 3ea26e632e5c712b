/*
 * A fetch whose pieces are written, read and synced while something fails around it, and what must
 * be true of the folder afterwards.
 */
#pragma once

#include "tests/swarm/disk_pieces.h"

#define FETCH_PIECE      (32u * 1024)
#define FETCH_BITS_SIZE  64
#define FETCH_RECORD_MAX 4096

extern const struct world_file fetch_files[];

/* What was there when it was synced last. */
struct fetch_promise {
    uint8_t durable[FETCH_BITS_SIZE]; /* pieces */
    uint8_t record[FETCH_RECORD_MAX]; /* to resume by */
    size_t record_size;
};

/* Each byte is right, or it is told that it cannot be read. */
lb_err fetch_read_piece(struct world *world, struct storage *storage, uint32_t piece);

/* Opens, writes and reads all pieces, syncs, closes. */
void fetch_work(struct world *world, struct fetch_promise *promise);

/* As the record that was saved last says, after whatever happened: none of it is wrong; then it is
 * completed. */
void fetch_check(struct world *world, const struct fetch_promise *promise);
