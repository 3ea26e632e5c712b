/* Peers that are announced; and of all targets the presence page is made. */
#include "services/storage/db.h"

#include "libcommon/memory.h"
#include "libcommon/random.h"
#include "tests/storage/db_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct node_id infohash = { { 1, 2, 3 } };
static const struct node_id other_infohash = { { 9 } };

static void peers_are_found(void **state)
{
    struct peer_record peers[10];

    (void)state;
    assert_int_equal(world_peers(&world, &infohash, false, false, peers, 10), 0);
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.4:5", false, "1.2.3.4:9"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.4:6", true, "1.2.3.4:9"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "[2a00::1]:7", false, "[2a00::1]:9"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "0.0.0.0:8", true, "self"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.4:5", false, "1.2.3.4:9"), LB_OK);
    assert_int_equal(world_peers(&world, &infohash, false, false, peers, 10), 3);
    assert_int_equal(world_peers(&world, &infohash, false, true, peers, 10), 1);
    assert_int_equal(peers[0].peer.port, 5);
    assert_int_equal(world_peers(&world, &infohash, true, false, peers, 10), 2);
    assert_int_equal(world_peers(&world, &infohash, false, false, peers, 2), 2);
    assert_int_equal(world_peers(&world, &other_infohash, false, false, peers, 10), 0);
    assert_int_equal(world_stats(&world).peers, 4);
}

static void peers_expire(void **state)
{
    struct peer_record peers[10];

    (void)state;
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.4:5", false, "1.2.3.4:9"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.5:5", false, "1.2.3.5:9"), LB_OK);
    world.now_s += WORLD_PEER_TTL_S - 5;
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.5:5", false, "1.2.3.5:9"), LB_OK);
    world.now_s += 10;
    assert_int_equal(world_peers(&world, &infohash, false, false, peers, 10), 1);
    assert_int_equal(world_sweep(&world), 1);
    assert_int_equal(world_stats(&world).peers, 1);
    world.now_s += WORLD_PEER_TTL_S;
    assert_int_equal(world_sweep(&world), 1);
    assert_int_equal(world_stats(&world).peers, 0);
}

struct counted {
    unsigned v4, v6, own, seeds;
};

static void count_peer(void *ctx, const struct peer_record *peer)
{
    struct counted *self = ctx;

    if (peer->is_self)
        self->own++;
    else if (address_is_v4(&peer->peer))
        self->v4++;
    else
        self->v6++;
    self->seeds += peer->seed;
}

static struct counted count_peers(const struct node_id *of)
{
    struct counted counted = { 0 };

    assert_int_equal(db_read_begin(world.db), LB_OK);
    db_each_peer(world.db, of, world.now_s, count_peer, &counted);
    db_read_end(world.db);
    return counted;
}

static void every_peer_is_told_whatever_it_is(void **state)
{
    struct counted counted;

    (void)state;
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.4:5", false, "1.2.3.4:9"), LB_OK);
    world.now_s += WORLD_PEER_TTL_S - 5;
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.4:6", true, "1.2.3.4:9"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "[2a00::1]:7", true, "[2a00::1]:9"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "0.0.0.0:8", true, "self"), LB_OK);
    assert_int_equal(world_announce(&world, &other_infohash, "1.2.3.4:5", false, "1.2.3.4:9"),
                     LB_OK);
    counted = count_peers(&infohash);
    assert_memory_equal(&counted, &((struct counted){ 2, 1, 1, 3 }), sizeof counted);
    world.now_s += 10; /* not swept yet, but expired */
    counted = count_peers(&infohash);
    assert_memory_equal(&counted, &((struct counted){ 1, 1, 1, 3 }), sizeof counted);
    counted = count_peers(&world.own_id);
    assert_memory_equal(&counted, &((struct counted){ 0 }), sizeof counted);
}

/* Infohashes first to first + count - 1, with two peers each. */
static void announce_infohashes(unsigned first, unsigned count)
{
    struct db_op *ops = xcalloc(2 * (size_t)count, sizeof *ops);

    for (unsigned i = 0; i < 2 * count; i++) {
        struct db_announce *announce = &ops[i].announce;

        ops[i].kind = DB_ANNOUNCE;
        ops[i].now_s = world.now_s;
        store_u32(announce->infohash.bytes, (first + i / 2) * 2654435761u);
        announce->peer = address_v4(10, 0, (uint8_t)(i >> 8), (uint8_t)i, 1);
        announce->source.address = announce->peer;
    }
    world_apply_list(&world, ops, 2 * (size_t)count);
    for (unsigned i = 0; i < 2 * count; i++)
        assert_int_equal(ops[i].err, LB_OK);
    free(ops);
}

static struct samples sample(struct random *random)
{
    struct samples samples;

    assert_int_equal(db_read_begin(world.db), LB_OK);
    db_read_samples(world.db, world.now_s, random, &samples);
    db_read_end(world.db);
    for (unsigned i = 1; i < samples.count; i++)
        assert_memory_not_equal(samples.infohashes[0], samples.infohashes[i], NODE_ID_SIZE);
    return samples;
}

static void infohashes_are_sampled(void **state)
{
    struct random random;
    struct samples samples;

    (void)state;
    random_init(&random, 3);
    samples = sample(&random);
    assert_int_equal(samples.count + samples.total, 0);
    announce_infohashes(0, 3);
    samples = sample(&random);
    assert_int_equal(samples.count, 3);
    assert_int_equal(samples.total, 3);
    announce_infohashes(3, 97);
    samples = sample(&random);
    assert_int_equal(samples.count, SAMPLES_MAX);
    assert_int_equal(samples.total, 100);
    announce_infohashes(100, DB_SAMPLE_WALK_MAX); /* more than are walked over: estimated */
    samples = sample(&random);
    assert_int_equal(samples.seen, DB_SAMPLE_WALK_MAX);
    assert_in_range(samples.total, DB_SAMPLE_WALK_MAX, DB_SAMPLE_WALK_MAX + 200);
}

static void announce_many(unsigned count, unsigned first)
{
    struct db_op *ops = xcalloc(count, sizeof *ops);

    for (unsigned i = 0; i < count; i++) {
        unsigned number = first + i;

        ops[i] = (struct db_op){
            .kind = DB_ANNOUNCE,
            .now_s = world.now_s,
            .announce = { .infohash = infohash,
                          .peer = address_v4(10, (uint8_t)(number >> 16), (uint8_t)(number >> 8),
                                             (uint8_t)number, 6881),
                          .random = number * 2654435761u },
        };
        ops[i].announce.source.address = ops[i].announce.peer;
    }
    world_apply_list(&world, ops, count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(ops[i].err, LB_OK);
    free(ops);
}

static void a_crowd_is_bounded_and_the_choice_is_fair(void **state)
{
    static struct peer_record peers[POLICY_PEERS_ANSWER];
    unsigned seen[1000] = { 0 };
    unsigned never = 0;

    (void)state;
    announce_many(1000, 0);
    assert_int_equal(world_stats(&world).peers, 1000);
    for (uint32_t i = 0; i < 400; i++) {
        const struct db_peers_query query = { .infohash = infohash,
                                              .random = i * 2654435761u,
                                              .peers_max = 50 };
        size_t count;

        assert_int_equal(db_read_begin(world.db), LB_OK);
        count = db_read_peers(world.db, &query, world.now_s, peers);
        db_read_end(world.db);
        assert_int_equal(count, 50);
        for (size_t k = 0; k < count; k++)
            seen[(unsigned)peers[k].peer.ip[14] * 256 + peers[k].peer.ip[15]]++;
    }
    for (unsigned i = 0; i < 1000; i++)
        never += seen[i] == 0;
    assert_int_equal(never, 0); /* each is wanted 20 times on average */
    announce_many(1500, 1000);
    assert_int_equal(world_stats(&world).peers, POLICY_PEERS_MAX);
    world.now_s += WORLD_PEER_TTL_S + 1;
    assert_int_equal(world_sweep(&world), POLICY_PEERS_MAX);
}

static void a_source_may_not_announce_without_end(void **state)
{
    static struct db_op ops[1010];
    unsigned refused = 0;

    (void)state;
    for (unsigned i = 0; i < 1010; i++)
        ops[i] = (struct db_op){ .kind = DB_ANNOUNCE,
                                 .now_s = world.now_s,
                                 .announce = { .infohash = infohash,
                                               .peer = address_v4(66, 6, 6, 6, (uint16_t)(i + 1)),
                                               .source = world_source("66.6.6.6:6") } };
    world_apply_list(&world, ops, 1010);
    for (unsigned i = 0; i < 1010; i++)
        refused += ops[i].err == LB_FULL;
    assert_int_equal(refused, 10);
    assert_int_equal(world_announce(&world, &infohash, "7.7.7.7:7", false, "7.7.7.7:7"), LB_OK);
}

/* ---- the presence page's source ---- */

struct collected {
    unsigned targets;
    bool finished;
};

static void collect(void *ctx, const struct node_id *target)
{
    struct collected *collected = ctx;

    assert_true(target->bytes[0] == 1 || target->bytes[0] == 9 || target->bytes[0] != 0);
    collected->targets++;
}

static lb_err finished(void *ctx)
{
    struct collected *collected = ctx;

    collected->finished = true;
    return LB_OK;
}

static void every_target_is_told_once(void **state)
{
    uint8_t buffer[ITEM_VALUE_MAX];
    struct item item = world_item(1, 100, buffer);
    struct collected collected = { 0 };

    (void)state;
    assert_int_equal(world_put(&world, &item, "self"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.4:5", false, "1.2.3.4:9"), LB_OK);
    assert_int_equal(world_announce(&world, &infohash, "1.2.3.4:6", false, "1.2.3.4:9"), LB_OK);
    assert_int_equal(world_announce(&world, &other_infohash, "1.2.3.4:6", false, "1.2.3.4:9"),
                     LB_OK);
    assert_int_equal(db_each_target(world.db, collect, finished, &collected), LB_OK);
    assert_int_equal(collected.targets, 3);
    assert_true(collected.finished);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN(set_up, peers_are_found),
        IN(set_up, peers_expire),
        IN(set_up, every_peer_is_told_whatever_it_is),
        IN(set_up, infohashes_are_sampled),
        IN(set_up, a_crowd_is_bounded_and_the_choice_is_fair),
        IN(set_up, a_source_may_not_announce_without_end),
        IN(set_up, every_target_is_told_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
