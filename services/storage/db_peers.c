/* The table peers: one key an infohash, its announcements as sorted duplicates. */
#include "services/storage/db_tables.h"

#include <assert.h>
#include <string.h>

#define SCAN_FACTOR                                                                                \
    4u /* records looked at for each peer wanted: others are expired or filtered                   \
        */

static MDB_val infohash_key(const struct node_id *infohash)
{
    return db_val(infohash->bytes, NODE_ID_SIZE);
}

static bool begins_with(const MDB_val *data, const MDB_val *head)
{
    return data->mv_size >= head->mv_size &&
           memcmp(data->mv_data, head->mv_data, head->mv_size) == 0;
}

/* Stand on the record that begins with head. MDB_NOTFOUND: there is none. */
static int seek(MDB_cursor *cursor, const struct node_id *infohash, const MDB_val *head,
                MDB_val *ret_data)
{
    MDB_val key = infohash_key(infohash);
    int rc;

    *ret_data = *head;
    rc = mdb_cursor_get(cursor, &key, ret_data, MDB_GET_BOTH_RANGE);
    if (rc == 0 && !begins_with(ret_data, head))
        rc = MDB_NOTFOUND;
    return rc;
}

/* Stand somewhere among the records of the infohash; after the last comes the first. */
static int seek_random(MDB_cursor *cursor, const struct node_id *infohash, uint32_t random,
                       MDB_val *ret_data)
{
    uint8_t start[4];
    MDB_val key = infohash_key(infohash);
    int rc;

    store_u32(start, random);
    *ret_data = db_val(start, sizeof start);
    rc = mdb_cursor_get(cursor, &key, ret_data, MDB_GET_BOTH_RANGE);
    if (rc == MDB_NOTFOUND) {
        key = infohash_key(infohash);
        rc = mdb_cursor_get(cursor, &key, ret_data, MDB_SET_KEY);
    }
    return rc;
}

static int count_peer(struct db_write *write, const struct record_source *source, int64_t count)
{
    struct policy_key key = policy_source_key(POLICY_PEERS_OF_SOURCE, source);

    return db_quota_add(write, &key, count, 0);
}

/* Remove the record the cursor stands on. */
static int remove_here(struct db_write *write, MDB_cursor *cursor, const MDB_val *data)
{
    struct peer_record record;
    int rc = 0;

    if (peer_record_get(db_bytes(data), &record) == LB_OK)
        rc = count_peer(write, &record.source, -1);
    return rc != 0 ? rc : mdb_cursor_del(cursor, 0);
}

static int give_way(struct db_write *write, MDB_cursor *cursor, const struct db_announce *announce)
{
    MDB_val data;
    int rc = seek_random(cursor, &announce->infohash, announce->random, &data);

    return rc != 0 ? rc : remove_here(write, cursor, &data);
}

static int peers_of(MDB_cursor *cursor, const struct node_id *infohash, size_t *ret_count)
{
    MDB_val key = infohash_key(infohash);
    MDB_val data;
    int rc = mdb_cursor_get(cursor, &key, &data, MDB_SET);

    *ret_count = 0;
    if (rc == 0)
        rc = mdb_cursor_count(cursor, ret_count);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* A peer that is new here: is there room, by the quotas and on the disk? */
static int admit(struct db_write *write, MDB_cursor *cursor, struct db_op *op)
{
    const struct db_announce *announce = &op->announce;
    struct policy_key key = policy_source_key(POLICY_PEERS_OF_SOURCE, &announce->source);
    struct quota_record used;
    size_t peers;
    int rc = db_quota_read(write, &key, &used);

    if (rc == 0)
        rc = peers_of(cursor, &announce->infohash, &peers);
    if (rc != 0)
        return rc;
    if (write->low_space)
        op->err = LB_NO_SPACE;
    else if (!policy_allows(&key, &used, 1, write->db->options.map_bytes) ||
             db_all_pages(write) >= policy_all_pages(write->db->map_pages))
        op->err = LB_FULL;
    else if (peers >= POLICY_PEERS_MAX)
        return give_way(write, cursor, announce);
    return 0;
}

static size_t due_id(const struct node_id *infohash, const MDB_val *head,
                     uint8_t ret_id[RECORD_DUE_ID_MAX])
{
    memcpy(ret_id, infohash->bytes, NODE_ID_SIZE);
    memcpy(ret_id + NODE_ID_SIZE, head->mv_data, head->mv_size);
    return NODE_ID_SIZE + head->mv_size;
}

static int write_peer(struct db_write *write, const struct db_op *op)
{
    const struct db_announce *announce = &op->announce;
    const struct peer_record record = { .peer = announce->peer,
                                        .seed = announce->seed,
                                        .announced_s = op->now_s,
                                        .source = announce->source };
    uint8_t buffer[RECORD_PEER_MAX];
    struct writer writer;
    MDB_val key = infohash_key(&announce->infohash);
    MDB_val data;

    writer_init(&writer, buffer, sizeof buffer);
    peer_record_put(&record, &writer);
    data = db_val_of(&writer);
    return mdb_put(write->txn, write->db->peers, &key, &data, 0);
}

static int announce_with(struct db_write *write, MDB_cursor *cursor, struct db_op *op)
{
    const struct db_announce *announce = &op->announce;
    uint8_t buffer[RECORD_PEER_HEAD];
    uint8_t id[RECORD_DUE_ID_MAX];
    struct writer writer;
    MDB_val head;
    MDB_val data;
    bool is_new;
    int rc;

    writer_init(&writer, buffer, sizeof buffer);
    peer_record_put_head(&announce->peer, &writer);
    head = db_val_of(&writer);
    rc = seek(cursor, &announce->infohash, &head, &data);
    is_new = rc == MDB_NOTFOUND;
    if (is_new)
        rc = admit(write, cursor, op);
    else if (rc == 0)
        rc = remove_here(write, cursor, &data);
    if (rc != 0 || op->err != LB_OK)
        return rc;
    rc = write_peer(write, op);
    if (rc == 0)
        rc = count_peer(write, &announce->source, 1);
    if (rc == 0 && is_new)
        rc = db_due_set(write, DUE_PEER, op->now_s + write->db->options.peer_ttl_s + 1,
                        bytes_of(id, due_id(&announce->infohash, &head, id)));
    return rc;
}

int db_announce_apply(struct db_write *write, struct db_op *op)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(write->txn, write->db->peers, &cursor);

    if (rc != 0)
        return rc;
    rc = announce_with(write, cursor, op);
    mdb_cursor_close(cursor);
    return rc;
}

static int expire(struct db_write *write, MDB_cursor *cursor, struct bytes id, uint64_t now_s,
                  bool *ret_removed)
{
    struct node_id infohash = node_id_from(id.data);
    MDB_val head = db_val(id.data + NODE_ID_SIZE, id.size - NODE_ID_SIZE);
    uint64_t peer_ttl_s = write->db->options.peer_ttl_s;
    struct peer_record record;
    MDB_val data;
    int rc;

    if (head.mv_size == 0)
        return 0;
    rc = seek(cursor, &infohash, &head, &data);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    if (peer_record_get(db_bytes(&data), &record) == LB_OK &&
        !policy_is_expired(record.announced_s, peer_ttl_s, now_s)) {
        uint64_t due_s = record.announced_s + peer_ttl_s + 1;

        return db_due_set(write, DUE_PEER, due_s > now_s ? due_s : now_s + peer_ttl_s, id);
    }
    *ret_removed = true;
    return remove_here(write, cursor, &data);
}

int db_peer_due(struct db_write *write, struct bytes id, uint64_t now_s, bool *ret_removed)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(write->txn, write->db->peers, &cursor);

    if (rc != 0)
        return rc;
    rc = expire(write, cursor, id, now_s, ret_removed);
    mdb_cursor_close(cursor);
    return rc;
}

/* ---- reading ---- */

static bool is_wanted(const struct db *self, const struct db_peers_query *query,
                      const struct peer_record *record, uint64_t now_s)
{
    if (policy_is_expired(record->announced_s, self->options.peer_ttl_s, now_s))
        return false;
    if (query->no_seeds && record->seed)
        return false;
    return record->is_self || address_is_v4(&record->peer) != query->v6;
}

static size_t collect(const struct db *self, MDB_cursor *cursor, const struct db_peers_query *query,
                      uint64_t now_s, struct peer_record *ret_peers)
{
    MDB_val key;
    MDB_val data;
    size_t total = 0;
    size_t looked = 0;
    size_t count = 0;
    int rc = seek_random(cursor, &query->infohash, query->random, &data);

    if (rc == 0)
        rc = mdb_cursor_count(cursor, &total);
    while (rc == 0 && count < query->peers_max && looked < total &&
           looked < query->peers_max * SCAN_FACTOR) {
        if (peer_record_get(db_bytes(&data), &ret_peers[count]) == LB_OK &&
            is_wanted(self, query, &ret_peers[count], now_s))
            count++;
        looked++;
        rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT_DUP);
        if (rc == MDB_NOTFOUND)
            rc = mdb_cursor_get(cursor, &key, &data, MDB_FIRST_DUP);
    }
    return count;
}

size_t db_read_peers(struct db *self, const struct db_peers_query *query, uint64_t now_s,
                     struct peer_record *ret_peers)
{
    MDB_cursor *cursor;
    size_t count;

    assert(self->is_reading);
    if (query->peers_max == 0 || mdb_cursor_open(self->reader, self->peers, &cursor) != 0)
        return 0;
    count = collect(self, cursor, query, now_s, ret_peers);
    mdb_cursor_close(cursor);
    return count;
}

static void each_with(const struct db *self, MDB_cursor *cursor, const struct node_id *infohash,
                      uint64_t now_s, db_peer_fn *each, void *ctx)
{
    MDB_val key = infohash_key(infohash);
    MDB_val data;
    struct peer_record record;
    int rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_KEY);

    while (rc == 0) {
        if (peer_record_get(db_bytes(&data), &record) == LB_OK &&
            !policy_is_expired(record.announced_s, self->options.peer_ttl_s, now_s))
            each(ctx, &record);
        rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT_DUP);
    }
}

void db_each_peer(struct db *self, const struct node_id *infohash, uint64_t now_s, db_peer_fn *each,
                  void *ctx)
{
    MDB_cursor *cursor;

    assert(self->is_reading);
    if (mdb_cursor_open(self->reader, self->peers, &cursor) != 0)
        return;
    each_with(self, cursor, infohash, now_s, each, ctx);
    mdb_cursor_close(cursor);
}

/* ---- samples ---- */

/* Stand on the first infohash from `from` on; after the last comes the first. */
static int seek_infohash(MDB_cursor *cursor, const struct node_id *from, MDB_val *ret_key)
{
    MDB_val data;
    int rc;

    *ret_key = infohash_key(from);
    rc = mdb_cursor_get(cursor, ret_key, &data, MDB_SET_RANGE);
    return rc == MDB_NOTFOUND ? mdb_cursor_get(cursor, ret_key, &data, MDB_FIRST) : rc;
}

static int next_infohash(MDB_cursor *cursor, MDB_val *ret_key)
{
    MDB_val data;
    int rc = mdb_cursor_get(cursor, ret_key, &data, MDB_NEXT_NODUP);

    return rc == MDB_NOTFOUND ? mdb_cursor_get(cursor, ret_key, &data, MDB_FIRST) : rc;
}

/* Returns how many peers the infohashes walked over have. */
static uint64_t walk(MDB_cursor *cursor, struct random *random, struct samples *samples)
{
    struct node_id first;
    uint64_t peers = 0;
    size_t count;
    MDB_val key;
    int rc;

    random_bytes(random, first.bytes, sizeof first.bytes);
    rc = seek_infohash(cursor, &first, &key);
    if (rc == 0)
        first = db_target_of(&key);
    while (rc == 0 && samples->seen < DB_SAMPLE_WALK_MAX) {
        samples_see(samples, key.mv_data, random);
        if (mdb_cursor_count(cursor, &count) == 0)
            peers += count;
        rc = next_infohash(cursor, &key);
        if (rc == 0 && memcmp(key.mv_data, first.bytes, NODE_ID_SIZE) == 0)
            break; /* round */
    }
    return peers;
}

void db_read_samples(struct db *self, uint64_t now_s, struct random *random,
                     struct samples *ret_samples)
{
    MDB_cursor *cursor;
    MDB_stat stat;
    uint64_t peers;

    assert(self->is_reading);
    samples_begin(ret_samples, now_s);
    if (mdb_cursor_open(self->reader, self->peers, &cursor) != 0)
        return;
    peers = walk(cursor, random, ret_samples);
    ret_samples->total = ret_samples->seen;
    if (mdb_stat(self->reader, self->peers, &stat) == 0 && peers > 0)
        ret_samples->total = ret_samples->seen * stat.ms_entries / peers;
    mdb_cursor_close(cursor);
}
