#include "tests/sim/dht.h"

#include "libcommon/memory.h"
#include "libcommon/secure_id.h"
#include "tests/sim/checks.h"
#include "tests/sim/hostile.h"
#include "tests/sim/node.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the network ---- */

/* A /24 of its own for each, none of them private or reserved. */
static struct address public_address(uint32_t number)
{
    return address_v4((uint8_t)(20 + (number >> 16)), (uint8_t)(number >> 8), (uint8_t)number, 77,
                      WORLD_PORT);
}

static enum dht_role draw_role(struct dht *self)
{
    const struct dht_options *options = &self->options;

    if (options->hostile_ppm == 0 || random_below(&self->random, 1000000) >= options->hostile_ppm) {
        return ROLE_HONEST;
    }
    if (options->hostile_role != ROLES_COUNT) {
        return options->hostile_role;
    }
    return (enum dht_role)(1 + random_below(&self->random, ROLES_COUNT - 1));
}

static void add_node(struct dht *self, uint32_t number)
{
    struct dht_node *node = &self->nodes[number];
    struct address address = public_address(number);

    node->dht = self;
    random_init(&node->random, random_u64(&self->random));
    node->role = number == 0 ? ROLE_HONEST : draw_role(self);
    node->host =
        world_add(self->world, &node_behaviour, node, self->options.is_public ? &address : NULL);
    node->addresses[node->addresses_count++] = world_address(self->world, number);
    node->id = secure_id_random(&node->addresses[0], &self->random);
    world_set_up(self->world, number, false);
}

struct dht *dht_new(const struct dht_options *options)
{
    static const struct carrier_options small = CARRIER_OPTIONS_SMALL;
    struct dht *self = xcalloc(1, sizeof(*self));

    self->options = *options;
    if (options->carrier.queries_max == 0) {
        self->options.carrier = small;
        self->options.carrier.queries_max = options->items_max > 0 ? 256 : small.queries_max;
    }
    if (options->check_least_s == 0) {
        self->options.check_least_s = 600;
    }
    self->world = world_new(&options->world);
    random_init(&self->random, options->world.seed ^ 0x5ce7a210u);
    self->nodes = xcalloc(options->nodes, sizeof(*self->nodes));
    for (uint32_t i = 0; i < options->nodes; i++) {
        add_node(self, i);
    }
    hostile_meet(self);
    if (options->check_all) {
        self->checks = checks_new(self);
    }
    return self;
}

static void node_clear(struct dht_node *self)
{
    errands_abandon(self);
    hostile_stop(self);
    router_free(&self->router);
    carrier_free(&self->carrier);
    upkeep_free(&self->upkeep);
    self->timer_ms = 0;
    self->joined_ms = 0;
    memset(self->open, 0, sizeof(self->open));
}

void dht_free(struct dht **self)
{
    if (*self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < (*self)->options.nodes; i++) {
        node_clear(&(*self)->nodes[i]);
        store_free(&(*self)->nodes[i].store);
    }
    for (uint32_t i = 0; i < (*self)->attackers_count; i++) {
        free((*self)->attackers[i]);
    }
    free((*self)->attackers);
    free((*self)->nodes);
    free((*self)->hostile);
    checks_free(&(*self)->checks);
    world_free(&(*self)->world);
    free(*self);
    *self = NULL;
}

void dht_keep_attacker(struct dht *self, void *attacker)
{
    self->attackers =
        xrealloc(self->attackers, (self->attackers_count + 1) * sizeof(*self->attackers));
    self->attackers[self->attackers_count++] = attacker;
}

void dht_note_problem(struct dht *self, uint32_t node, const char *what)
{
    if (self->problem == NULL) {
        self->problem = what;
        self->problem_node = node;
        self->problem_ms = world_now_ms(self->world);
    }
}

/* ---- starting and stopping ---- */

static void start_storage(struct dht_node *node)
{
    const struct dht_options *options = &node->dht->options;

    if (options->items_max == 0) {
        return;
    }
    if (node->store == NULL) {
        node->store = store_new(&node->id, options->items_max);
    }
    if (options->no_upkeep) {
        return;
    }
    const struct upkeep_options upkeep = { .self_id = node->id,
                                           .store = { .ctx = node->store,
                                                      .next = store_next,
                                                      .due = store_due,
                                                      .overdue = store_overdue },
                                           .check_least_s = options->check_least_s,
                                           .seed = random_u64(&node->random) };
    node->upkeep = upkeep_new(&upkeep, node_store_ms(node));
    node->upkeep_ready = true;
    node->view_version = UINT64_MAX;
    node->view_ms = 0;
}

static void start_routing(struct dht_node *node, const struct address *bootstrap,
                          const struct snapshot *snapshot)
{
    struct dht *dht = node->dht;
    uint64_t now_ms = world_now_ms(dht->world);

    node->router = router_new(&node->id, random_u64(&dht->random), bootstrap != NULL, now_ms);
    if (dht->options.top_sizes[0] != 0) {
        memcpy(node->router->tables[ROUTING_V4].top_sizes, dht->options.top_sizes,
               TABLE_TOP_LEVELS);
    }
    if (bootstrap != NULL) {
        router_add_bootstrap(node->router, bootstrap);
    }
    if (snapshot != NULL) {
        router_load(node->router, snapshot);
    }
}

void dht_start(struct dht *self, uint32_t number, const struct address *bootstrap,
               const struct snapshot *snapshot)
{
    struct dht_node *node = &self->nodes[number];
    uint64_t now_ms = world_now_ms(self->world);

    assert(node->router == NULL);
    start_routing(node, bootstrap, snapshot);
    node->carrier = carrier_new(&self->options.carrier, &node->id, &node->random);
    start_storage(node);
    node->started_ms = now_ms;
    world_set_up(self->world, number, true);
    node_pump(node);
}

void dht_kill(struct dht *self, uint32_t number)
{
    world_set_up(self->world, number, false);
    node_clear(&self->nodes[number]);
}

void dht_lose_disk(struct dht *self, uint32_t number)
{
    assert(!dht_is_live(self, number));
    store_free(&self->nodes[number].store);
    checks_disk_lost(&self->nodes[number]);
}

void dht_renew(struct dht *self, uint32_t number)
{
    struct dht_node *node = &self->nodes[number];
    uint32_t fresh = (1u << 22) + self->renewed++;
    struct address address =
        self->options.is_public ? public_address(fresh) : world_default_address(fresh);

    dht_lose_disk(self, number);
    node->id = secure_id_random(&address, &self->random);
    node->addresses_count = 1;
    node->addresses[0] = address;
    world_move(self->world, number, &address);
}

void dht_move(struct dht *self, uint32_t number)
{
    struct dht_node *node = &self->nodes[number];
    uint32_t fresh = (1u << 20) + number * DHT_ADDRESSES_MAX + node->addresses_count;
    struct address address =
        self->options.is_public ? public_address(fresh) : world_default_address(fresh);

    if (node->addresses_count < DHT_ADDRESSES_MAX) {
        node->addresses[node->addresses_count++] = address;
        world_move(self->world, number, &address);
    }
}

bool dht_is_live(const struct dht *self, uint32_t number)
{
    return self->nodes[number].router != NULL;
}

uint32_t dht_live_count(const struct dht *self)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < self->options.nodes; i++) {
        count += dht_is_live(self, i);
    }
    return count;
}

uint32_t dht_pick_live(struct dht *self)
{
    uint32_t number;

    do {
        number = (uint32_t)random_below(&self->random, self->options.nodes);
    } while (!dht_is_live(self, number) || self->nodes[number].role != ROLE_HONEST);
    return number;
}

void dht_run(struct dht *self, uint64_t duration_ms)
{
    uint64_t until_ms = world_now_ms(self->world) + duration_ms;

    while (world_step(self->world, until_ms)) {
    }
}

static int compare_times(const void *a, const void *b)
{
    uint64_t time_a = *(const uint64_t *)a, time_b = *(const uint64_t *)b;

    return (time_a > time_b) - (time_a < time_b);
}

void dht_start_all(struct dht *self, uint64_t settle_ms)
{
    struct address first = world_address(self->world, 0);
    uint64_t start_ms = world_now_ms(self->world);
    uint32_t others = self->options.nodes - 1;
    uint64_t *times = xcalloc(self->options.nodes, sizeof(*times));

    dht_start(self, 0, NULL, NULL);
    for (uint32_t i = 0; i < others; i++) {
        times[i] = start_ms + random_below(&self->random, self->options.spread_ms + 1);
    }
    if (others > 0) {
        qsort(times, others, sizeof(*times), compare_times);
    }
    for (uint32_t i = 0; i < others; i++) {
        dht_run(self, times[i] - world_now_ms(self->world));
        dht_start(self, i + 1, &first, NULL);
    }
    free(times);
    dht_run(self, settle_ms);
}

void dht_kill_some(struct dht *self, uint32_t percent)
{
    uint32_t left = (uint32_t)((uint64_t)self->options.nodes * percent / 100);

    while (left > 0) {
        uint32_t victim = (uint32_t)random_below(&self->random, self->options.nodes);
        if (dht_is_live(self, victim)) {
            dht_kill(self, victim);
            left--;
        }
    }
}

/* ---- values ---- */

struct item *dht_make_item(uint64_t name, uint64_t content, bool is_mutable, uint64_t seq,
                           uint16_t size)
{
    uint8_t text[ITEM_VALUE_MAX], *at = text;
    struct random random;
    struct item item = { .is_mutable = is_mutable, .seq = seq };

    /* A byte string: the content's number, the name, and random bytes up to its size. */
    assert(size >= 32 && size <= ITEM_VALUE_MAX);
    unsigned length = size - (size < 103 ? 3u : 4u);
    at += sprintf((char *)at, "%u:", length);
    store_u64(at, content);
    store_u64(at + 8, name);
    random_init(&random, name ^ content << 32);
    random_bytes(&random, at + 16, length - 16);
    item.value = bytes_of(text, (size_t)(at - text) + length); /* no string makes 103 bytes */
    if (is_mutable) {
        random_init(&random, name);
        random_bytes(&random, item.public_key, sizeof(item.public_key));
    }
    return store_copy(&item);
}

uint64_t dht_item_content(const struct item *item)
{
    struct bytes raw = item->value;

    return raw.size < 32 ? 0 : load_u64(raw.data + (raw.data[2] == ':' ? 3 : 4));
}

void dht_put(struct dht *self, uint32_t origin, struct dht_put *put)
{
    dht_begin_put(self, origin, put);
    while (!put->done && world_step(self->world, UINT64_MAX)) {
    }
}

void dht_get(struct dht *self, uint32_t origin, struct dht_get *get)
{
    dht_begin_get(self, origin, get);
    while (!get->done && world_step(self->world, UINT64_MAX)) {
    }
}

void dht_look_up(struct dht *self, uint32_t origin, const struct node_id *target,
                 struct dht_lookup *ret_lookup)
{
    *ret_lookup = (struct dht_lookup){ .target = *target, .origin = origin };
    dht_begin_lookup(self, ret_lookup);
    while (!ret_lookup->done && world_step(self->world, UINT64_MAX)) {
    }
}
