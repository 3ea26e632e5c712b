/* A store in a temporary folder, and one call for each thing the tests do to it. */
#pragma once

#include "services/storage/db.h"
#include "tests/libcommon/cmocka_row.h"

#include <stdbool.h>

#define WORLD_ITEM_TTL_S 7200u
#define WORLD_PEER_TTL_S 1800u
#define WORLD_MAP        (16u * 1024 * 1024)

struct world {
    char folder[64];
    struct db *db;
    uint64_t map_bytes;
    uint64_t now_s; /* store clock */
    struct node_id own_id;
    bool own_id_known;
};

void world_init(struct world *self, uint64_t map_bytes);
void world_done(struct world *self); /* removes the folder */
void world_open(struct world *self);
void world_close(struct world *self);
lb_err world_try_open(struct world *self);

struct record_source world_source(const char *text); /* "self" or an address */

/* An immutable item whose value is a string of size bytes made from number. */
struct item world_item(unsigned number, size_t size, uint8_t buffer[ITEM_VALUE_MAX]);

/* A mutable one; its signature is not looked at by the store. */
struct item world_mutable(unsigned number, uint64_t seq, const char *value);

struct db_op world_put_op(const struct world *self, const struct item *item, const char *source);
void world_apply(struct world *self, struct db_op *op);
void world_apply_list(struct world *self, struct db_op *ops, size_t count);

/* Put, and what it came to. */
lb_err world_put(struct world *self, const struct item *item, const char *source);

/* Immutable items number first to first + count - 1; returns how many were stored when they came.
 */
unsigned world_put_many(struct world *self, unsigned first, unsigned count, size_t size,
                        const char *source);
bool world_has(struct world *self, const struct item *item);
bool world_has_number(struct world *self, unsigned number, size_t size);
uint64_t world_seq(struct world *self, unsigned number); /* of the mutable one; 0: there is none */
lb_err world_announce(struct world *self, const struct node_id *infohash, const char *peer,
                      bool seed, const char *source);
size_t world_peers(struct world *self, const struct node_id *infohash, bool v6, bool no_seeds,
                   struct peer_record *ret_peers, size_t max);
uint32_t world_sweep(struct world *self); /* all of it; returns how many were removed */
struct db_stats world_stats(struct world *self);

/* Write a row of a table, behind the back of the store, which is closed. */
void world_write_row(struct world *self, const char *table, struct bytes key, struct bytes value);
