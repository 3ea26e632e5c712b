/*
 * Replicas: upkeep.h over this node's store and the network. It follows the routing table by its
 * page, carries checks out as errands and offers, puts and gets through transport, and writes what
 * came of it. Each instance of lb-storage sees to its share of the keys (share.h).
 */
#pragma once

#include "libcommon/error.h"
#include "libcommon/node_id.h"
#include "services/storage/db.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct replicas; /* opaque */
struct storage;

struct replicas *replicas_new(struct storage *storage);

/* The process ends: what was asked of others has been cancelled. */
void replicas_free(struct replicas **self);

/* Every second: who has come and gone. */
void replicas_tick(struct storage *storage);

/* When an item that is put here now is to be checked; ttl_s is the caller's. */
void replicas_set_times(struct storage *storage, struct db_put *put);

/*
 * Another node holds this item and sees to its replicas, next in chk_s seconds; 0: it offered it.
 * Between db_read_begin() and db_read_end().
 */
void replicas_heard(struct storage *storage, const struct node_id *target,
                    const struct item_record *record, uint32_t chk_s);

/*
 * The answer to `count` digests of an offer, one letter each (proto/transport.proto, Answer.need).
 * Between db_read_begin() and db_read_end().
 */
void replicas_answer_offer(struct storage *storage, const uint8_t *digests, size_t count,
                           uint8_t *ret_need);

/* The share is another: what is due among its keys, and whom they are to be offered to. */
void replicas_shared(struct storage *storage);

/* The node leaves: begin to hand over. */
void replicas_drain(struct storage *storage);
bool replicas_are_drained(const struct storage *storage);

/* Log how far it came. */
void replicas_log_drain(const struct storage *storage);

/*
 * Keys of our share whose check is late by more than half its longest interval, as they were
 * counted lately; of all shares, now. Among the 100,000 that were due first.
 */
uint32_t replicas_overdue(struct storage *storage);
uint32_t replicas_overdue_in_all(struct storage *storage);
