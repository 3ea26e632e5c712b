/*
 * One catalogue for several workers: each order belongs to whoever holds its lock.
 *
 * The locks are byte ranges of FOLDER/locks, one byte for each infohash at an offset taken from it,
 * of the open file description (fcntl(2), F_OFD_SETLK): they cost no descriptor, leave nothing to
 * clean up, and the kernel gives them back when their process ends, however it ends. A worker's
 * catalogue_count(), _at() and _find() are of the orders that it holds; putting a new one takes its
 * lock, removing it gives the lock back once the files are gone. Shell.
 */
#pragma once

#include "services/swarm/catalogue.h"

#define CATALOGUE_HAND_MAX 16u /* workers that may hand files to others */

/*
 * As catalogue_open(), but takes no order yet. What a crash left is deleted where nobody holds the
 * lock; files that this worker meant to hand over, too.
 */
LB_MUST_CHECK lb_err catalogue_open_shared(struct catalogue **ret_self, const char *folder,
                                           unsigned worker, struct pool *pool);

/* LB_OK: it is held now, or was already. LB_EXISTS: another worker has it. */
LB_MUST_CHECK lb_err catalogue_lock(struct catalogue *self, const uint8_t infohash[20]);
void catalogue_unlock(struct catalogue *self, const uint8_t infohash[20]);

/*
 * Infohashes of all orders in the folder, whoever holds them, 20 bytes each; the caller frees. At
 * start or in a pool job. Safe from any thread.
 */
LB_MUST_CHECK lb_err catalogue_list(const struct catalogue *self, uint8_t **ret_infohashes,
                                    size_t *ret_count);

/*
 * Take the lock of an order that lies in the folder, and read it (a small file, which was written a
 * moment ago or is read at start). LB_EXISTS: another worker has it; LB_NOT_FOUND: there is none
 * any more; LB_CORRUPT: it was damaged, and is set aside; LB_FULL; LB_IO ...: it cannot be read
 * now.
 */
LB_MUST_CHECK lb_err catalogue_take(struct catalogue *self, const uint8_t infohash[20]);

/*
 * After all writes of it that are under way: forget the order and give the lock back; the files
 * stay for whoever takes it next. LB_FULL: the pool is full, try again.
 */
LB_MUST_CHECK lb_err catalogue_give(struct catalogue *self, const uint8_t infohash[20],
                                    catalogue_fn *done, void *ctx);

/* An order as it lies there, without its lock: whole, since orders are replaced as a whole. */
LB_MUST_CHECK lb_err catalogue_peek(const struct catalogue *self, const uint8_t infohash[20],
                                    struct order *ret_order);

/*
 * The order to share what lies at path, whoever holds it: LB_NOT_FOUND. In a pool job: it reads
 * every order. Its metainfo and record (NULL: there is none) are the caller's to free.
 */
struct catalogue_share {
    uint8_t infohash[20];
    struct metainfo *metainfo;
    uint8_t *record;
    size_t record_size;
};
LB_MUST_CHECK lb_err catalogue_find_share(const struct catalogue *self, const char *path,
                                          struct catalogue_share *ret_share);

/*
 * Files for the owner of an infohash, by a worker that is not: written beside the others, named by
 * who writes them, read and deleted by the owner. Put takes both; read (LB_NOT_FOUND: there is
 * none) and drop wait for the disk: in a pool job.
 */
LB_MUST_CHECK lb_err catalogue_hand(struct catalogue *self, const uint8_t infohash[20],
                                    unsigned worker, uint8_t **torrent, size_t torrent_size,
                                    uint8_t **record, size_t record_size, catalogue_fn *done,
                                    void *ctx);
LB_MUST_CHECK lb_err catalogue_handed(const struct catalogue *self, const uint8_t infohash[20],
                                      unsigned worker, enum catalogue_part part, uint8_t **ret_data,
                                      size_t *ret_size);
void catalogue_drop_handed(const struct catalogue *self, const uint8_t infohash[20],
                           unsigned worker);
