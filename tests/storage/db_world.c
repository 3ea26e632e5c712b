#include "tests/storage/db_world.h"

#include <dirent.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MONOTONIC_MS 1000u

void world_init(struct world *self, uint64_t map_bytes)
{
    *self = (struct world){ .map_bytes = map_bytes };
    snprintf(self->folder, sizeof self->folder, "/tmp/lb-storage-test-XXXXXX");
    assert_non_null(mkdtemp(self->folder));
    world_open(self);
}

lb_err world_try_open(struct world *self)
{
    const struct db_options options = { .folder = self->folder,
                                        .map_bytes = self->map_bytes,
                                        .item_ttl_s = WORLD_ITEM_TTL_S,
                                        .peer_ttl_s = WORLD_PEER_TTL_S };
    const struct store_moment now = { { 1 }, MONOTONIC_MS, 0 };

    return db_open(&self->db, &options, &now);
}

void world_open(struct world *self)
{
    assert_int_equal(world_try_open(self), LB_OK);
    if (self->now_s == 0)
        self->now_s = db_now_s(self->db, MONOTONIC_MS);
}

void world_close(struct world *self)
{
    db_close(&self->db);
    assert_null(self->db);
}

void world_done(struct world *self)
{
    DIR *folder;
    struct dirent *entry;
    char path[400];

    world_close(self);
    folder = opendir(self->folder);
    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", self->folder, entry->d_name);
        (void)unlink(path);
    }
    closedir(folder);
    (void)rmdir(self->folder);
}

struct record_source world_source(const char *text)
{
    struct record_source source = { .is_self = strcmp(text, "self") == 0 };

    if (!source.is_self)
        assert_int_equal(address_parse(text, &source.address), LB_OK);
    return source;
}

struct item world_item(unsigned number, size_t size, uint8_t buffer[ITEM_VALUE_MAX])
{
    int head = snprintf((char *)buffer, ITEM_VALUE_MAX, "%zu:", size);

    assert_true(size >= 8 && (size_t)head + size <= ITEM_VALUE_MAX);
    memset(buffer + head, 'x', size);
    snprintf((char *)buffer + head, 9, "%08u", number);
    buffer[head + 8] = size > 8 ? 'x' : buffer[head + 8];
    return (struct item){ .value = bytes_of(buffer, (size_t)head + size) };
}

struct item world_mutable(unsigned number, uint64_t seq, const char *value)
{
    struct item item = { .value = bytes_of_text(value), .is_mutable = true, .seq = seq };

    memcpy(item.public_key, &number, sizeof number);
    return item;
}

struct db_op world_put_op(const struct world *self, const struct item *item, const char *source)
{
    return (struct db_op){
        .kind = DB_PUT,
        .now_s = self->now_s,
        .put = { .target = item_target(item), .item = *item, .source = world_source(source) }
    };
}

void world_apply_list(struct world *self, struct db_op *ops, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ops[i].next = i + 1 < count ? &ops[i + 1] : NULL;
    assert_int_equal(db_apply(self->db, ops, self->own_id_known ? &self->own_id : NULL), LB_OK);
}

void world_apply(struct world *self, struct db_op *op)
{
    world_apply_list(self, op, 1);
}

lb_err world_put(struct world *self, const struct item *item, const char *source)
{
    struct db_op op = world_put_op(self, item, source);

    world_apply(self, &op);
    return op.err;
}

unsigned world_put_many(struct world *self, unsigned first, unsigned count, size_t size,
                        const char *source)
{
    enum { TOGETHER = 64 };
    static uint8_t buffers[TOGETHER][ITEM_VALUE_MAX];
    struct db_op ops[TOGETHER];
    unsigned stored = 0;

    for (unsigned done = 0; done < count;) {
        unsigned group = count - done < TOGETHER ? count - done : TOGETHER;

        for (unsigned i = 0; i < group; i++) {
            struct item item = world_item(first + done + i, size, buffers[i]);

            ops[i] = world_put_op(self, &item, source);
        }
        world_apply_list(self, ops, group);
        for (unsigned i = 0; i < group; i++)
            stored += ops[i].err == LB_OK;
        done += group;
    }
    return stored;
}

bool world_has_number(struct world *self, unsigned number, size_t size)
{
    uint8_t buffer[ITEM_VALUE_MAX];
    struct item item = world_item(number, size, buffer);

    return world_has(self, &item);
}

bool world_has(struct world *self, const struct item *item)
{
    struct node_id target = item_target(item);
    struct item_record record;
    bool has;

    assert_int_equal(db_read_begin(self->db), LB_OK);
    has = db_read_item(self->db, &target, self->now_s, &record) == LB_OK &&
          item_is_same(&record.item, item);
    db_read_end(self->db);
    return has;
}

lb_err world_announce(struct world *self, const struct node_id *infohash, const char *peer,
                      bool seed, const char *source)
{
    struct db_op op = { .kind = DB_ANNOUNCE,
                        .now_s = self->now_s,
                        .announce = { .infohash = *infohash,
                                      .seed = seed,
                                      .source = world_source(source),
                                      .random = 12345 } };

    assert_int_equal(address_parse(peer, &op.announce.peer), LB_OK);
    world_apply(self, &op);
    return op.err;
}

size_t world_peers(struct world *self, const struct node_id *infohash, bool v6, bool no_seeds,
                   struct peer_record *ret_peers, size_t max)
{
    const struct db_peers_query query = { .infohash = *infohash,
                                          .v6 = v6,
                                          .no_seeds = no_seeds,
                                          .random = 0x80000000u,
                                          .peers_max = max };
    size_t count;

    assert_int_equal(db_read_begin(self->db), LB_OK);
    count = db_read_peers(self->db, &query, self->now_s, ret_peers);
    db_read_end(self->db);
    return count;
}

uint32_t world_sweep(struct world *self)
{
    struct db_op op = { .kind = DB_SWEEP, .now_s = self->now_s };
    uint32_t removed = 0;

    do {
        op.sweep.budget = 64;
        world_apply(self, &op);
        assert_int_equal(op.err, LB_OK);
        removed += op.sweep.removed;
    } while (op.sweep.more);
    return removed;
}

uint64_t world_seq(struct world *self, unsigned number)
{
    struct item item = world_mutable(number, 1, "1:v");
    struct node_id target = item_target(&item);
    struct item_record record;
    uint64_t seq = 0;

    assert_int_equal(db_read_begin(self->db), LB_OK);
    if (db_read_item(self->db, &target, self->now_s, &record) == LB_OK)
        seq = record.item.seq;
    db_read_end(self->db);
    return seq;
}

struct db_stats world_stats(struct world *self)
{
    struct db_stats stats;

    assert_int_equal(db_read_begin(self->db), LB_OK);
    db_read_stats(self->db, &stats);
    db_read_end(self->db);
    return stats;
}

void world_write_row(struct world *self, const char *table, struct bytes key_bytes,
                     struct bytes value)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val key = { .mv_size = key_bytes.size, .mv_data = (void *)(uintptr_t)key_bytes.data };
    MDB_val data = { .mv_size = value.size, .mv_data = (void *)(uintptr_t)value.data };

    assert_int_equal(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, 16);
    mdb_env_set_maxdbs(env, 16);
    assert_int_equal(mdb_env_open(env, self->folder, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, table, 0, &dbi), 0);
    assert_int_equal(mdb_put(txn, dbi, &key, &data, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}
