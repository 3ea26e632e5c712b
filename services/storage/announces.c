/* Announce: tell the closest nodes that this one has a torrent, and learn who else has it. */
#include "libcommon/memory.h"
#include "services/storage/errand.h"
#include "services/storage/find.h"
#include "services/storage/service.h"

#include <stdlib.h>
#include <string.h>

#define PEERS_MAX 1000u

struct announcing {
    struct storage *storage;
    struct call *call;
    struct node_id infohash;
};

/* ---- the answer ---- */

struct peer_list {
    uint8_t memory[PEERS_MAX][ADDRESS_COMPACT_V6];
    struct bytes peers[2 * PEERS_MAX];
    size_t count;
    struct peer_record records[PEERS_MAX / 2];
};

static int compare_peers(const void *a, const void *b)
{
    const struct bytes *left = a;
    const struct bytes *right = b;

    if (left->size != right->size)
        return left->size < right->size ? -1 : 1;
    return memcmp(left->data, right->data, left->size);
}

static size_t sort_unique(struct bytes *peers, size_t count)
{
    size_t kept = 0;

    qsort(peers, count, sizeof *peers, compare_peers);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || compare_peers(&peers[kept - 1], &peers[i]) != 0)
            peers[kept++] = peers[i];
    }
    return kept;
}

/* Those announced to us; ourselves excluded, since our own address is for others to see. */
static void add_own_store(struct storage *storage, const struct node_id *infohash, bool v6,
                          struct peer_list *list)
{
    struct peer_record *records = list->records;
    struct db_peers_query query = { .infohash = *infohash,
                                    .v6 = v6,
                                    .random = (uint32_t)random_u64(&storage->random),
                                    .peers_max = PEERS_MAX / 2 };
    size_t count;

    if (db_read_begin(storage->db) != LB_OK)
        return;
    count = db_read_peers(storage->db, &query, storage_now_s(storage), records);
    db_read_end(storage->db);
    for (size_t i = 0; i < count && list->count < PEERS_MAX; i++) {
        uint8_t *compact = list->memory[list->count];

        if (records[i].is_self)
            continue;
        list->peers[list->count] = bytes_of(compact, address_to_compact(&records[i].peer, compact));
        list->count++;
    }
}

static void reply(struct announcing *self, const struct bytes *found, size_t found_count,
                  unsigned acknowledged)
{
    Lb__Storage__Reply message = LB__STORAGE__REPLY__INIT;
    Lb__Storage__Announced announced = LB__STORAGE__ANNOUNCED__INIT;
    struct peer_list *list = xcalloc(1, sizeof *list);
    ProtobufCBinaryData *peers = xcalloc(PEERS_MAX, sizeof *peers);

    add_own_store(self->storage, &self->infohash, false, list);
    add_own_store(self->storage, &self->infohash, true, list);
    for (size_t i = 0; i < found_count && list->count < 2 * PEERS_MAX; i++)
        list->peers[list->count++] = found[i];
    list->count = sort_unique(list->peers, list->count);
    announced.n_peers = list->count < PEERS_MAX ? list->count : PEERS_MAX;
    for (size_t i = 0; i < announced.n_peers; i++)
        peers[i] = binary_of(list->peers[i]);
    announced.peers = peers;
    announced.acknowledged = acknowledged;
    message.body_case = LB__STORAGE__REPLY__BODY_ANNOUNCED;
    message.announced = &announced;
    call_reply(&self->call, &message.base);
    free(peers);
    free(list);
    free(self);
}

static void fail(struct announcing *self, lb_err err)
{
    call_fail(&self->call, err == LB_CANCELLED ? LB_UNAVAILABLE : err, "not announced: %s",
              lb_err_text(err));
    free(self);
}

/* ---- with and without announcing ---- */

/* That nobody took it is told by the count; who else has it is an answer all the same. */
static void on_announced(void *ctx, const struct errand_result *result)
{
    struct announcing *self = ctx;

    if (result->spread.err != LB_OK && result->spread.asked == 0)
        fail(self, result->spread.err);
    else
        reply(self, result->peers, result->peers_count, result->spread.acknowledged);
}

static void on_looked(void *ctx, lb_err err, const Lb__Routing__Found *found)
{
    struct announcing *self = ctx;
    struct bytes *peers;
    size_t count = 0;

    if (err != LB_OK) {
        fail(self, err);
        return;
    }
    peers = xcalloc(PEERS_MAX, sizeof *peers);
    for (size_t i = 0; i < found->n_peers && count < PEERS_MAX; i++) {
        struct bytes peer = bytes_of_binary(&found->peers[i]);

        if (peer.size == ADDRESS_COMPACT_V4 || peer.size == ADDRESS_COMPACT_V6)
            peers[count++] = peer;
    }
    reply(self, peers, count, 0);
    free(peers);
}

static void announce(struct announcing *self, uint16_t port, bool seed, uint64_t deadline_ms)
{
    const struct errand_options options = { .spread = { .mode = SPREAD_FIXED,
                                                        .deadline_ms = deadline_ms },
                                            .target = self->infohash,
                                            .is_announce = true,
                                            .port = port,
                                            .seed_flag = seed,
                                            .on_done = on_announced,
                                            .ctx = self };

    if (errand_start(self->storage, &options) != LB_OK)
        fail(self, LB_FULL);
}

void on_announce(void *ctx, struct call *call, const void *body)
{
    struct storage *storage = ctx;
    const Lb__Storage__Announce *request = body;
    struct announcing *self;
    uint64_t deadline_ms;

    if (request->infohash.len != NODE_ID_SIZE || request->port > UINT16_MAX) {
        call_fail(&call, LB_INVALID, "an infohash has 20 bytes, a port is at most 65535");
        return;
    }
    self = xcalloc(1, sizeof *self);
    self->storage = storage;
    self->call = call;
    self->infohash = node_id_from(request->infohash.data);
    deadline_ms = storage_deadline_ms(storage, call);
    if (request->port == 0)
        find_start(storage, LB__ROUTING__LOOKUP__KIND__PEERS, &self->infohash, deadline_ms,
                   on_looked, self);
    else
        announce(self, (uint16_t)request->port, request->seed, deadline_ms);
}
