#include "tests/sim/scenes.h"

#include "libcommon/memory.h"
#include "services/transport/overload.h"
#include "tests/sim/attack.h"

#include <stdlib.h>

#define SETTLE_MS 30000u
#define CALM_MS   10000u
#define FLOOD_MS  15000u
#define GRACE_MS  2000u /* until the flood has been understood */
#define CLIENTS   20u
#define EACH_MS   100u /* a client asks */
#define QUEUE_MS  20u  /* of work that a node's socket holds */
#define FLOODED   1u   /* the node */

/* Somebody with a lasting address who asks the flooded node, as a node asks another. */
struct client {
    struct dht *dht;
    uint32_t host;
    struct random random;
    struct carrier *carrier;
    struct node_id id;
    uint32_t asked, answered;
};

static void client_ask(struct client *self)
{
    struct krpc_query krpc = { .method = KRPC_FIND_NODE, .target = node_id_random(&self->random) };
    const struct carrier_query query = {
        .krpc = &krpc, .to = { .address = world_address(self->dht->world, FLOODED) }
    };
    struct address from = world_address(self->dht->world, self->host);
    struct bytes datagram;

    if (carrier_start(self->carrier, &query, world_now_ms(self->dht->world), &datagram) == LB_OK) {
        self->asked++;
        world_send(self->dht->world, self->host, &from, &query.to.address, datagram.data,
                   datagram.size);
    }
}

static void client_due(struct client *self)
{
    struct address from = world_address(self->dht->world, self->host);
    struct carrier_result result;

    while (carrier_next(self->carrier, world_now_ms(self->dht->world), &result)) {
        if (result.verdict == CARRIER_SEND) {
            world_send(self->dht->world, self->host, &from, &result.to, result.datagram.data,
                       result.datagram.size);
        }
    }
}

static void client_receive(void *ctx, const struct address *from, const void *data, size_t size)
{
    struct client *self = ctx;
    struct address own = world_address(self->dht->world, self->host);
    struct carrier_result result;

    carrier_receive(self->carrier, from, bytes_of(data, size), world_now_ms(self->dht->world),
                    &result);
    self->answered += result.verdict == CARRIER_ANSWERED;
    if (result.verdict == CARRIER_SEND) {
        world_send(self->dht->world, self->host, &own, from, result.datagram.data,
                   result.datagram.size);
    }
}

static void client_timer(void *ctx, uint64_t cookie)
{
    (void)ctx;
    (void)cookie;
}

static const struct behaviour client_behaviour = { .receive = client_receive,
                                                   .timer = client_timer };

/* ---- whom the flooded node hears ---- */

struct ear {
    struct overload overload;
    struct overload_period period;
    struct random random;
    uint64_t overruns;
    bool is_shaped;
};

static bool ear_admits(void *ctx, const struct address *from)
{
    struct ear *self = ctx;

    if (overload_admits(&self->overload, from, &self->random)) {
        return true;
    }
    self->period.dropped++;
    return false;
}

static void ear_taken(void *ctx, const struct address *from)
{
    struct ear *self = ctx;

    self->period.taken++;
    if (self->overload.counting) {
        overload_count(&self->overload, from);
    }
}

static const struct world_gate ear_gate = { .admits = ear_admits, .taken = ear_taken };

/* As shaping.c does at the end of a period. */
static void ear_end_period(struct ear *self, struct world *world)
{
    uint64_t overruns = world_overruns(world, FLOODED);

    self->period.dropped += overruns - self->overruns;
    self->period.busy = overruns > self->overruns || world_is_busy(world, FLOODED);
    self->overruns = overruns;
    (void)overload_end_period(&self->overload, &self->period);
    if (self->overload.stale) {
        world_discard(world, FLOODED);
    }
    self->period = (struct overload_period){ .taken = 0 };
}

/* ---- the scene ---- */

struct stage {
    const struct flood_scene *scene;
    struct dht *dht;
    struct client clients[CLIENTS];
    struct ear ear;
};

static void add_client(struct stage *self, uint32_t number)
{
    static const struct carrier_options options = CARRIER_OPTIONS_SMALL;
    struct client *client = &self->clients[number];
    struct address address =
        address_v4((uint8_t)(self->scene->is_public ? 90 : 172), (uint8_t)(16 + number % 16), 9,
                   (uint8_t)(number + 1), WORLD_PORT);

    client->dht = self->dht;
    random_init(&client->random, random_u64(&self->dht->random));
    client->id = node_id_random(&client->random);
    client->carrier = carrier_new(&options, &client->id, &client->random);
    client->host = world_add(self->dht->world, &client_behaviour, client, &address);
}

static void play(struct stage *self, uint64_t duration_ms)
{
    for (uint64_t ms = 0; ms < duration_ms; ms += EACH_MS) {
        for (uint32_t i = 0; i < CLIENTS; i++) {
            client_ask(&self->clients[i]);
            client_due(&self->clients[i]);
        }
        dht_run(self->dht, EACH_MS);
        if (self->scene->is_shaped) {
            ear_end_period(&self->ear, self->dht->world);
        }
    }
}

/* Takes the counts of all clients and begins them anew. */
static void take_counts(struct stage *self, uint32_t *ret_asked, uint32_t *ret_answered)
{
    *ret_asked = *ret_answered = 0;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        *ret_asked += self->clients[i].asked;
        *ret_answered += self->clients[i].answered;
        self->clients[i].asked = self->clients[i].answered = 0;
    }
}

static void flood(struct stage *self, struct flood_report *report)
{
    const struct flood_scene *scene = self->scene;
    const struct attack_options options = { .kind = scene->sources > 0 ? ATTACK_FLOOD
                                                                       : ATTACK_FLOOD_FORGED,
                                            .per_s = scene->capacity_s * scene->times,
                                            .hosts = scene->sources,
                                            .node = FLOODED,
                                            .is_public = scene->is_public };
    struct attack *attack = attack_start(self->dht, &options);
    uint32_t ignored;

    play(self, GRACE_MS);
    take_counts(self, &ignored, &ignored);
    play(self, FLOOD_MS);
    take_counts(self, &report->asked, &report->answered);
    report->flood_sent = attack_counts(attack).sent;
    report->flood_answered = attack_counts(attack).answers;
    attack_stop(&attack);
}

void scene_flood(const struct flood_scene *scene, struct flood_report *ret_report)
{
    const struct dht_options options = { .world = { .seed = scene->seed },
                                         .nodes = scene->nodes,
                                         .spread_ms = 1000,
                                         .is_public = scene->is_public };
    struct stage *self = xcalloc(1, sizeof(*self));

    *ret_report = (struct flood_report){ .asked = 0 };
    self->scene = scene;
    self->dht = dht_new(&options);
    random_init(&self->ear.random, scene->seed);
    overload_init(&self->ear.overload, scene->seed);
    dht_start_all(self->dht, SETTLE_MS);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        add_client(self, i);
    }
    world_set_capacity(self->dht->world, FLOODED, scene->capacity_s,
                       scene->capacity_s * QUEUE_MS / 1000);
    if (scene->is_shaped) {
        world_set_gate(self->dht->world, FLOODED, &ear_gate, &self->ear);
    }
    play(self, CALM_MS);
    take_counts(self, &ret_report->calm_asked, &ret_report->calm_answered);
    flood(self, ret_report);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        carrier_free(&self->clients[i].carrier);
    }
    overload_done(&self->ear.overload);
    dht_free(&self->dht);
    free(self);
}
