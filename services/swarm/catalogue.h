/*
 * The catalogue: every transfer this service was ordered to do, on the disk, so that kill -9 loses
 * none. In FOLDER, for each torrent (named by its infohash in hexadecimal):
 *
 *     HASH.order    what to do (order.h); a transfer exists while this file does
 *     HASH.torrent  the .torrent file, once it is known
 *     HASH.resume   the resume record (resume.h)
 *     HASH.outcomes who finished and went (outcomes.h), once anybody has
 *
 * A file is replaced as a whole: temporary name, fsync, rename, fsync of the folder; the caller
 * hears of it when it is durable. Writes run in the pool, those of one torrent in order. A damaged
 * order is renamed to HASH.order.damaged, counted and never deleted; one that cannot be read, since
 * the disk fails or descriptors are lacking, is counted and stays for the next time. Several
 * workers may have one folder: catalogue_shared.h. Shell.
 */
#pragma once

#include "libcommon/bytes.h"
#include "libcommon/error.h"
#include "services/swarm/order.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CATALOGUE_MAX 4096u /* transfers; one more is LB_FULL */

struct catalogue; /* opaque */
struct pool;

enum catalogue_part { CATALOGUE_TORRENT, CATALOGUE_RESUME, CATALOGUE_OUTCOMES };

typedef void catalogue_fn(void *ctx, lb_err err);

/*
 * Open FOLDER, made when it is not there (mode 0700), and read all orders; at start only, since it
 * waits for the disk. Files without an order and temporary ones are deleted. LB_IO, LB_DENIED with
 * errno left set. pool is borrowed.
 */
LB_MUST_CHECK lb_err catalogue_open(struct catalogue **ret_self, const char *folder,
                                    struct pool *pool);

/* After pool_pending() is 0, so that no write is under way. */
void catalogue_close(struct catalogue **self);

size_t catalogue_count(const struct catalogue *self);
size_t catalogue_damaged(const struct catalogue *self);

/* Borrowed until the next put or remove; index < catalogue_count(), in no stated order. */
const struct order *catalogue_at(const struct catalogue *self, size_t index);
const struct order *catalogue_find(const struct catalogue *self, const uint8_t infohash[20]);

/*
 * Read a part, at start or in a pool job: it waits for the disk. LB_NOT_FOUND, LB_IO, LB_TOO_BIG
 * (over METAINFO_SIZE_MAX + 1 MiB). The caller frees *ret_data. Safe from any thread.
 */
LB_MUST_CHECK lb_err catalogue_read(const struct catalogue *self, const uint8_t infohash[20],
                                    enum catalogue_part part, uint8_t **ret_data, size_t *ret_size);

/*
 * Its .torrent file, parsed: the errors of catalogue_read() and of metainfo_parse_as(). At start or
 * in a pool job.
 */
struct metainfo;
LB_MUST_CHECK lb_err catalogue_read_metainfo(const struct catalogue *self,
                                             const uint8_t infohash[20],
                                             struct metainfo **ret_metainfo);

/*
 * The three below: LB_FULL when the pool (or, for a new order, the catalogue) is full;
 * LB_UNAVAILABLE when another worker has the new one (catalogue_shared.h); then nothing is done.
 * After LB_OK done is called exactly once, later, from the loop: LB_OK once it is durable, else
 * LB_NO_SPACE, LB_IO, LB_DENIED. done may be NULL.
 */

/*
 * Add or replace an order, with its .torrent when torrent.size > 0 (written first). All is copied.
 * After a failure a new order is no longer in the catalogue; one that was there stands in memory
 * as it was given.
 */
LB_MUST_CHECK lb_err catalogue_put(struct catalogue *self, const struct order *order,
                                   struct bytes torrent, catalogue_fn *done, void *ctx);

/* Write a part of a transfer; takes *data (from malloc) and leaves NULL, whatever it returns. */
LB_MUST_CHECK lb_err catalogue_write(struct catalogue *self, const uint8_t infohash[20],
                                     enum catalogue_part part, uint8_t **data, size_t size,
                                     catalogue_fn *done, void *ctx);

/* Forget a transfer: its order goes first, so that a crash between leaves none. Content stays. */
LB_MUST_CHECK lb_err catalogue_remove(struct catalogue *self, const uint8_t infohash[20],
                                      catalogue_fn *done, void *ctx);
