#include "tests/sim/nemesis.h"

#include "libcommon/memory.h"
#include "tests/sim/attack.h"
#include "tests/sim/checks.h"
#include "tests/sim/dht.h"
#include "tests/sim/node.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_MS      60000u
#define NODES_LEAST    8u
#define NODES_MOST     64u
#define CHAOS_LEAST_MS (2u * MINUTE_MS)
#define CHAOS_MOST_MS  (6u * MINUTE_MS)
#define HEAL_MS        (15u * MINUTE_MS) /* I10 */
#define HEAL_STEP_MS   (3u * MINUTE_MS)
#define GAP_MOST_MS    3000u /* between two events */
#define NAMES          12u
#define PUTS_MAX       256u
#define LOOKUPS        50u
#define READERS        3u
#define CHECK_LEAST_S  60u
#define ITEMS_MAX      400u
#define DISK_LOST_MS   (6u * CHECK_LEAST_S * 1000) /* one in a longest interval of checks */
#define HOLDERS_LEAST  3u                          /* of a put that is judged */
#define STORE_PER_S    10u
#define FLOOD_TTL_S    300u
#define DAY_MS         86400000

/* What befell a node, and when it ends; 0: nothing. */
struct plight {
    uint64_t restart_ms, resume_ms, loss_ms;
    struct snapshot *snapshot;
};

/* What must be found at the end. */
struct promise {
    bool is_mutable, made;
    struct node_id target;
    uint64_t seq;
};

struct nemesis {
    struct dht *dht;
    struct random random;
    bool tell;
    uint64_t now_ms; /* of the world */
    struct plight plights[NODES_MOST];
    uint64_t heal_ms; /* of the partition; 0: there is none */
    uint64_t disk_ms; /* the last disk lost */
    struct attack *attack;
    uint64_t attack_ms;
    struct promise promises[NAMES];
    struct dht_put puts[PUTS_MAX];
    bool counted[PUTS_MAX];
    uint32_t puts_count;
    struct dht_get gets[PUTS_MAX];
    uint32_t gets_count;
    uint64_t contents;
    struct nemesis_report *report;
};

static uint64_t below(struct nemesis *self, uint64_t limit)
{
    return random_below(&self->random, limit);
}

static void tell(const struct nemesis *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void tell(const struct nemesis *self, const char *format, ...)
{
    va_list arguments;

    if (!self->tell) {
        return;
    }
    printf("%10.3f ", (double)(world_now_ms(self->dht->world) - WORLD_START_MS) / 1000);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

/* ---- what may happen ---- */

static void put_value(struct nemesis *self)
{
    uint64_t name = below(self, NAMES);
    struct promise *promise = &self->promises[name];

    if (self->puts_count == PUTS_MAX) {
        return;
    }
    struct dht_put *put = &self->puts[self->puts_count++];
    promise->is_mutable = name % 3 != 0;
    *put = (struct dht_put){ .name = name,
                             .content = promise->is_mutable ? ++self->contents : name,
                             .is_mutable = promise->is_mutable,
                             .size = (uint16_t)(40 + below(self, 900)),
                             .ttl_s = DHT_VALUE_TTL };
    if (!put->is_mutable) {
        put->size = (uint16_t)(40 + 10 * name); /* one name, one value */
    }
    if (put->is_mutable && below(self, 4) == 0) {
        put->has_cas = true;
        put->cas = promise->seq;
    }
    uint32_t node = dht_pick_live(self->dht);
    tell(self, "node %u puts value %u%s", node, (unsigned)name, put->has_cas ? " with CAS" : "");
    dht_begin_put(self->dht, node, put);
}

static void get_value(struct nemesis *self)
{
    const struct promise *promise = &self->promises[below(self, NAMES)];

    if (self->gets_count < PUTS_MAX && promise->made) {
        struct dht_get *get = &self->gets[self->gets_count++];
        get->target = promise->target;
        dht_begin_get(self->dht, dht_pick_live(self->dht), get);
    }
}

static void change_weather(struct nemesis *self)
{
    bool calm = below(self, 2) == 0;
    uint32_t loss = calm ? 0 : (uint32_t)below(self, 200000);
    uint32_t duplicate = calm ? 0 : (uint32_t)below(self, 50000);
    uint32_t reorder = calm ? 0 : (uint32_t)below(self, 250000);

    tell(self, "loss %u, doubles %u, reordering %u ppm", loss, duplicate, reorder);
    world_set_weather(self->dht->world, loss, duplicate, reorder);
}

static void part(struct nemesis *self)
{
    if (self->heal_ms != 0) {
        return;
    }
    uint64_t share = 1 + below(self, 9);
    self->heal_ms = self->now_ms + 5000 + below(self, 120000);
    tell(self, "partition, %u of 10 nodes apart", (unsigned)share);
    for (uint32_t i = 0; i < self->dht->options.nodes; i++) {
        world_set_group(self->dht->world, i, below(self, 10) < share);
    }
}

static void heal(struct nemesis *self)
{
    tell(self, "the partition heals");
    self->heal_ms = 0;
    for (uint32_t i = 0; i < self->dht->options.nodes; i++) {
        world_set_group(self->dht->world, i, 0);
    }
}

static uint32_t any_node(struct nemesis *self)
{
    return (uint32_t)below(self, self->dht->options.nodes);
}

/* Half of the nodes stay up. */
static void crash(struct nemesis *self)
{
    uint32_t node = any_node(self);
    struct plight *plight = &self->plights[node];
    bool loses =
        below(self, 3) == 0 && (self->disk_ms == 0 || self->now_ms > self->disk_ms + DISK_LOST_MS);

    if (!dht_is_live(self->dht, node) || plight->resume_ms != 0 ||
        2 * dht_live_count(self->dht) <= self->dht->options.nodes) {
        return;
    }
    if (!loses && below(self, 2) == 0) {
        plight->snapshot = xcalloc(1, sizeof(*plight->snapshot));
        router_save(self->dht->nodes[node].router, self->now_ms, plight->snapshot);
    }
    dht_kill(self->dht, node);
    if (loses && self->dht->nodes[node].role == ROLE_HONEST) {
        self->disk_ms = self->now_ms;
        dht_lose_disk(self->dht, node);
    }
    plight->restart_ms = self->now_ms + 100 + below(self, 120000);
    tell(self, "node %u crashes%s%s", node, loses ? " and loses its disk" : "",
         plight->snapshot != NULL ? ", with a snapshot" : "");
}

static void restart(struct nemesis *self, uint32_t node)
{
    struct plight *plight = &self->plights[node];
    struct address well_known = world_address(self->dht->world, 0),
                   bootstrap = world_address(self->dht->world,
                                             self->dht->nodes[dht_pick_live(self->dht)].host);

    tell(self, "node %u starts again", node);
    plight->restart_ms = 0;
    dht_start(self->dht, node, node == 0 ? &bootstrap : &well_known, plight->snapshot);
    router_add_bootstrap(self->dht->nodes[node].router, &bootstrap);
    free(plight->snapshot);
    plight->snapshot = NULL;
}

static void stop_for_a_while(struct nemesis *self)
{
    uint32_t node = any_node(self);
    struct plight *plight = &self->plights[node];

    if (!dht_is_live(self->dht, node) || plight->resume_ms != 0) {
        return;
    }
    plight->resume_ms = self->now_ms + 500 + below(self, 60000);
    tell(self, "node %u stands still", node);
    world_set_paused(self->dht->world, node, true);
}

static void resume(struct nemesis *self, uint32_t node)
{
    tell(self, "node %u goes on", node);
    self->plights[node].resume_ms = 0;
    world_set_paused(self->dht->world, node, false);
}

static void lose_one_way(struct nemesis *self)
{
    uint32_t node = any_node(self);
    bool out = below(self, 2) == 0;
    uint32_t ppm = (uint32_t)(200000 + below(self, 800001));

    self->plights[node].loss_ms = self->now_ms + 1000 + below(self, 60000);
    tell(self, "node %u loses %u ppm of what it %s", node, ppm, out ? "sends" : "is sent");
    world_set_loss(self->dht->world, node, out ? ppm : 0, out ? 0 : ppm);
}

static void find_again(struct nemesis *self, uint32_t node)
{
    tell(self, "node %u loses no more than others", node);
    self->plights[node].loss_ms = 0;
    world_set_loss(self->dht->world, node, 0, 0);
}

/* All but node 0, through which the others start. */
static void move(struct nemesis *self)
{
    uint32_t node = 1 + (uint32_t)below(self, self->dht->options.nodes - 1);

    tell(self, "node %u has another address", node);
    dht_move(self->dht, node);
}

static void set_clock(struct nemesis *self)
{
    uint32_t node = any_node(self);
    int64_t skew_ms = (int64_t)below(self, 2 * DAY_MS) - DAY_MS;

    tell(self, "the wall clock of node %u is wrong by %d s", node, (int)(skew_ms / 1000));
    world_set_skew_ms(self->dht->world, node, skew_ms);
}

static void attack(struct nemesis *self)
{
    struct attack_options options = { .kind = (enum attack_kind)below(self, ATTACKS_COUNT),
                                      .per_s = (uint32_t)(20 + below(self, 400)),
                                      .hosts = (uint32_t)(1 + below(self, 2)),
                                      .node = dht_pick_live(self->dht),
                                      .target = self->promises[below(self, NAMES)].target,
                                      .ttl_s = FLOOD_TTL_S,
                                      .is_public = self->dht->options.is_public };

    if (self->attack != NULL) {
        return;
    }
    if (options.kind == ATTACK_STORE_FLOOD) {
        options.per_s = STORE_PER_S; /* each item makes twenty replicas */
    }
    options.victim = below(self, 2) == 0 ? world_address(self->dht->world, dht_pick_live(self->dht))
                                         : address_v4(198, 51, 100, 7, WORLD_PORT);
    tell(self, "attack %d at node %u, %u datagrams a second", (int)options.kind, options.node,
         options.per_s);
    self->attack = attack_start(self->dht, &options);
    self->attack_ms = self->now_ms + 1000 + below(self, 20000);
}

static void end_attack(struct nemesis *self)
{
    tell(self, "the attack is over");
    attack_stop(&self->attack);
    self->attack_ms = 0;
}

static const struct trouble {
    unsigned weight;
    void (*happen)(struct nemesis *self);
} troubles[] = {
    { 30, put_value }, { 12, get_value },       { 6, change_weather }, { 3, part },
    { 8, crash },      { 4, stop_for_a_while }, { 4, lose_one_way },   { 2, move },
    { 2, set_clock },  { 3, attack },
};

static void happen(struct nemesis *self)
{
    unsigned sum = 0;

    for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++) {
        sum += troubles[i].weight;
    }
    unsigned drawn = (unsigned)below(self, sum);
    const struct trouble *trouble = troubles;
    while (drawn >= trouble->weight) {
        drawn -= trouble->weight;
        trouble++;
    }
    trouble->happen(self);
}

/* ---- time ---- */

static bool is_over(uint64_t at_ms, uint64_t now_ms)
{
    return at_ms != 0 && at_ms <= now_ms;
}

/* What ends by now; everything when now_ms is UINT64_MAX. */
static void end_troubles(struct nemesis *self, uint64_t now_ms)
{
    if (is_over(self->heal_ms, now_ms)) {
        heal(self);
    }
    if (is_over(self->attack_ms, now_ms)) {
        end_attack(self);
    }
    for (uint32_t i = 0; i < self->dht->options.nodes; i++) {
        const struct plight *plight = &self->plights[i];
        if (is_over(plight->restart_ms, now_ms)) {
            restart(self, i);
        }
        if (is_over(plight->resume_ms, now_ms)) {
            resume(self, i);
        }
        if (is_over(plight->loss_ms, now_ms)) {
            find_again(self, i);
        }
    }
}

static uint32_t count_holders(const struct dht *dht, const struct node_id *target, uint64_t seq)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < dht->options.nodes; i++) {
        const struct dht_node *node = &dht->nodes[i];
        const struct stored *stored = node->store != NULL && node->role == ROLE_HONEST
                                          ? store_find(node->store, target, node_store_s(node))
                                          : NULL;
        count += stored != NULL && stored->upkeep.seq >= seq;
    }
    return count;
}

/* Puts that have ended become promises when they stand on enough nodes. */
static void count_puts(struct nemesis *self)
{
    for (uint32_t i = 0; i < self->puts_count; i++) {
        const struct dht_put *put = &self->puts[i];
        struct promise *promise = &self->promises[put->name];
        if (!put->done || self->counted[i]) {
            continue;
        }
        self->counted[i] = true;
        if (put->result.err != LB_OK) {
            continue;
        }
        self->report->acknowledged++;
        uint64_t seq = put->is_mutable ? put->result.seq : 0;
        if (count_holders(self->dht, &put->target, seq) >= HOLDERS_LEAST && seq >= promise->seq) {
            promise->made = true;
            promise->target = put->target;
            promise->seq = seq;
        }
    }
}

static void go_on(struct nemesis *self, uint64_t duration_ms)
{
    dht_run(self->dht, duration_ms);
    self->now_ms = world_now_ms(self->dht->world);
    count_puts(self);
}

/* ---- the whole ---- */

static struct dht_options draw_options(struct nemesis *self, uint64_t seed)
{
    bool hostile = below(self, 2) == 0;
    uint32_t nodes =
        NODES_LEAST + (uint32_t)below(self, below(self, NODES_MOST - NODES_LEAST + 1) + 1);

    return (struct dht_options){
        .world = { .seed = seed, .latency_ms = below(self, 2) ? world_lan : world_internet },
        .nodes = nodes,
        .spread_ms = (uint32_t)below(self, 10000),
        .is_public = below(self, 2) == 0,
        .hostile_ppm = hostile ? (uint32_t)below(self, 300000) : 0,
        .hostile_role = (enum dht_role)(1 + below(self, ROLES_COUNT)),
        .items_max = ITEMS_MAX,
        .check_least_s = CHECK_LEAST_S,
        .check_every = 97,
        .check_all = true
    };
}

static void tell_traffic(const struct nemesis *self)
{
    const struct dht *dht = self->dht;
    struct router_stats sum = { 0 };
    struct upkeep_stats upkeep = { 0 };

    for (uint32_t i = 0; i < dht->options.nodes; i++) {
        const struct dht_node *node = &dht->nodes[i];
        if (node->router != NULL) {
            sum.probes += node->router->stats.probes;
            sum.lookups += node->router->stats.lookups;
            sum.refreshes += node->router->stats.refreshes;
            sum.conflicts += node->router->stats.conflicts;
        }
        if (node->upkeep != NULL) {
            upkeep.checks += upkeep_stats(node->upkeep).checks;
            upkeep.offers += upkeep_stats(node->upkeep).offers;
        }
    }
    tell(self,
         "%" PRIu64 " queries and %" PRIu64 " again, of them %" PRIu64 " gets, %" PRIu64
         " puts, %" PRIu64 " offers, %" PRIu64 " probes; %" PRIu64 " lookups, %" PRIu64
         " refreshes, %" PRIu64 " checks, %" PRIu64 " conflicts",
         dht->traffic.queries, dht->traffic.resent, dht->traffic.gets, dht->traffic.puts,
         dht->traffic.offers, sum.probes, sum.lookups, sum.refreshes, upkeep.checks, sum.conflicts);
}

static void rage(struct nemesis *self)
{
    uint64_t end_ms = self->now_ms + CHAOS_LEAST_MS + below(self, CHAOS_MOST_MS - CHAOS_LEAST_MS);

    while (self->now_ms < end_ms && self->dht->problem == NULL) {
        go_on(self, 1 + below(self, GAP_MOST_MS));
        end_troubles(self, self->now_ms);
        happen(self);
    }
    end_troubles(self, UINT64_MAX);
    tell_traffic(self);
    world_set_weather(self->dht->world, 0, 0, 0);
    tell(self, "calm");
}

static void fail(struct nemesis *self, const char *what)
{
    dht_note_problem(self->dht, UINT32_MAX, what);
}

/* I1 */
static void judge_values(struct nemesis *self)
{
    for (unsigned i = 0; i < NAMES && self->dht->problem == NULL; i++) {
        const struct promise *promise = &self->promises[i];
        bool found = !promise->made;
        for (unsigned j = 0; j < READERS && !found; j++) {
            struct dht_get get = { .target = promise->target };
            dht_get(self->dht, dht_pick_live(self->dht), &get);
            found = get.found && get.seq >= promise->seq;
        }
        self->report->judged += promise->made;
        if (!found) {
            tell(self, "value %u is lost: seq %" PRIu64 ", now on %u honest nodes", i, promise->seq,
                 count_holders(self->dht, &promise->target, promise->seq));
            fail(self, "I1: a value that was acknowledged is not found");
        }
    }
}

/* I10 */
static void judge_lookups(struct nemesis *self)
{
    struct dht_report report = { .exact = 0 };

    for (unsigned i = 0; i < HEAL_MS / HEAL_STEP_MS && report.exact * 100 < LOOKUPS * 99; i++) {
        go_on(self, HEAL_STEP_MS);
        dht_measure(self->dht, LOOKUPS, &report);
    }
    self->report->lookups = report.lookups;
    self->report->exact = report.exact;
    if (self->dht->hostile_count == 0 && report.exact * 100 < LOOKUPS * 99) {
        fail(self, "I10: lookups are not exact a quarter of an hour after all was well again");
    }
}

/* I6: once nothing is asked of it, nothing is under way at a node; but liars keep others busy. */
static void judge_quiet(struct nemesis *self)
{
    bool quiet[NODES_MOST] = { false };
    uint32_t left = self->dht->options.nodes;

    for (unsigned i = 0; i < 600 && left > 0; i++) {
        dht_run(self->dht, 100);
        left = 0;
        for (uint32_t j = 0; j < self->dht->options.nodes; j++) {
            quiet[j] = quiet[j] || checks_is_quiet(&self->dht->nodes[j]);
            left += !quiet[j];
        }
    }
    for (uint32_t j = 0; j < self->dht->options.nodes; j++) {
        const struct dht_node *node = &self->dht->nodes[j];
        if (!quiet[j]) {
            tell(self, "node %u (role %d): router %u, upkeep %u, mischief %u on their way, %s", j,
                 (int)node->role, node->open[COOKIE_ROUTER], node->open[COOKIE_UPKEEP],
                 node->open[COOKIE_MISCHIEF], node->errands == NULL ? "idle" : "busy");
        }
    }
    if (left > 0 && self->dht->hostile_count == 0) {
        fail(self, "I6: something is left under way");
    }
}

static void write_report(struct nemesis *self)
{
    struct nemesis_report *report = self->report;
    const struct dht *dht = self->dht;

    report->problem = dht->problem;
    report->node = dht->problem_node;
    report->problem_ms = dht->problem != NULL ? dht->problem_ms - WORLD_START_MS : 0;
    report->hash = world_hash(dht->world);
    report->events = world_events(dht->world);
    report->virtual_ms = world_now_ms(dht->world) - WORLD_START_MS;
    report->nodes = dht->options.nodes;
    report->hostile = dht->hostile_count;
    report->puts = self->puts_count;
}

static void nemesis_free(struct nemesis **self)
{
    attack_stop(&(*self)->attack);
    for (unsigned i = 0; i < NODES_MOST; i++) {
        free((*self)->plights[i].snapshot);
    }
    dht_free(&(*self)->dht);
    free(*self);
    *self = NULL;
}

void nemesis_run(uint64_t seed, bool tells, struct nemesis_report *ret_report)
{
    struct nemesis *self = xcalloc(1, sizeof(*self));

    *ret_report = (struct nemesis_report){ .problem = NULL };
    self->report = ret_report;
    self->tell = tells;
    random_init(&self->random, seed * 0x9e3779b97f4a7c15u + 1);
    const struct dht_options options = draw_options(self, seed);
    self->dht = dht_new(&options);
    tell(self, "%u nodes, %u of them hostile (role %d), %s addresses, %s", options.nodes,
         self->dht->hostile_count, (int)options.hostile_role,
         options.is_public ? "public" : "private",
         options.world.latency_ms == world_lan ? "LAN" : "internet");
    dht_start_all(self->dht, 30000);
    self->now_ms = world_now_ms(self->dht->world);
    rage(self);
    if (self->dht->problem == NULL) {
        judge_lookups(self);
        judge_values(self);
        judge_quiet(self);
    }
    tell_traffic(self);
    write_report(self);
    nemesis_free(&self);
}
