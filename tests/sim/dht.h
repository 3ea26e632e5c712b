/*
 * A simulated DHT: nodes in a world, each with the cores of lb-routing, lb-transport and lb-storage
 * themselves: router, endpoint (carrier.h), upkeep and spread, in the place of their shells a few
 * lines, in the place of LMDB a store in memory (store.h), in the place of Ed25519 a stand-in
 * (signing.h). What goes over the wire are the bytes of KRPC.
 *
 * Used by the tests and by the programs sim-dht and sim-nemesis. What the nodes do is judged by
 * what the simulator knows: which nodes live, hence which are truly the closest to a target, and
 * what was stored.
 */
#pragma once

#include "services/routing/router.h"
#include "services/storage/spread.h"
#include "services/storage/upkeep.h"
#include "tests/sim/carrier.h"
#include "tests/sim/store.h"
#include "tests/sim/world.h"

/* How a node behaves. All but HONEST are told in hostile.h. */
enum dht_role {
    ROLE_HONEST,
    ROLE_SILENT,   /* answers pings only */
    ROLE_FRIENDS,  /* names only those of its kind */
    ROLE_MADE_UP,  /* names nodes that do not exist, close to what is asked for */
    ROLE_CLAIMING, /* takes whatever id is closest to what is asked for, and has no values */
    ROLE_STALE,    /* stores the first version it gets, and brings it back again and again */
    ROLES_COUNT
};

struct dht_options {
    struct world_options world;
    uint32_t nodes;
    uint32_t check_every; /* events between checks of a node's invariants; 0: never */
    uint32_t spread_ms;   /* the nodes start at random times within this */
    uint8_t top_sizes[TABLE_TOP_LEVELS]; /* all 0: the table's own */
    bool is_public;                      /* each node in a /24 of its own, on public addresses */
    uint32_t hostile_ppm;                /* share of the nodes that play hostile_role */
    enum dht_role hostile_role;          /* ROLES_COUNT: any, by lot */
    uint32_t items_max;                  /* of a node's store; 0: nodes store nothing */
    uint32_t check_least_s;              /* upkeep; 0: 600 */
    bool no_upkeep;                      /* items are kept, and nothing more */
    bool check_all;                      /* checks.h: the invariants of THREATS 3.4 */
    struct carrier_options carrier;      /* all 0: CARRIER_OPTIONS_SMALL */
    uint32_t k;                          /* closest nodes looked for by dht_look_up; 0: TABLE_K */
    uint32_t paths;                      /* disjoint ones of a lookup; 0: one */
    uint32_t enough; /* a get ends when so many have returned the same; 0: never before the end */
};

struct dht;
struct errand;

/* Whose query it was that is on its way. */
enum cookie_kind { COOKIE_ROUTER, COOKIE_ERRAND, COOKIE_UPKEEP, COOKIE_MISCHIEF, COOKIE_KINDS };

#define DHT_ADDRESSES_MAX 8u /* a node has in its life; it moves no more then */

struct dht_node {
    struct dht *dht;
    uint32_t host;
    enum dht_role role;
    struct node_id id;
    struct random random;
    struct router *router; /* NULL: it is not running */
    struct carrier *carrier;
    struct store *store; /* outlives a crash when the disk does; NULL: it stores nothing */
    struct upkeep *upkeep;
    bool upkeep_ready;              /* there may be something to do before its deadline */
    uint64_t view_version, view_ms; /* of the router, as upkeep knows it; and when it was told */
    struct errand *errands;
    uint64_t errands_serial;
    uint64_t timer_ms;                           /* the timer that counts; others are stale */
    uint64_t started_ms, joined_ms;              /* 0: not yet */
    void *mischief;                              /* hostile.c's */
    uint32_t open[COOKIE_KINDS];                 /* queries on their way */
    struct address addresses[DHT_ADDRESSES_MAX]; /* where it has stood; the last: where it stands */
    uint32_t addresses_count;
};

/* How one lookup went. */
struct dht_lookup {
    struct node_id target;
    uint32_t origin;
    bool done, exact;
    uint32_t rounds, queries;
    uint32_t expected, found; /* the true closest, and those of them in the result */
    uint64_t started_ms, elapsed_ms;
};

/* A value put, and how that went. name and content say which it is: dht_make_item. */
struct dht_put {
    uint64_t name, content;
    bool is_mutable;
    uint16_t size; /* bytes of the value */
    bool has_cas;
    uint64_t cas;
    uint32_t ttl_s; /* 0: not said on the wire; kept DHT_TTL_S */
    bool done;
    struct node_id target;
    struct spread_result result;
};

#define DHT_TTL_S     7200u         /* config/littlebird.conf, storage.item_ttl */
#define DHT_VALUE_TTL (720u * 3600) /* storage.value_ttl */
#define DHT_PUT_MS    30000u        /* a put ends by then */

/* A value read by a lookup. */
struct dht_get {
    struct node_id target;
    bool done, found;
    uint64_t seq, content; /* of the newest valid version */
    unsigned holders;      /* that returned it, the node's own store included */
    uint32_t queries;
    uint64_t started_ms, elapsed_ms;
};

/* Datagrams sent by what they are, of all nodes. */
struct dht_traffic {
    uint64_t queries, answers, resent;
    uint64_t gets, puts, offers; /* of the queries */
};

struct checks;

struct dht {
    struct dht_options options;
    struct world *world;
    struct dht_node *nodes;
    struct contact *hostile; /* all of them, ascending by id */
    uint32_t hostile_count;
    void **attackers; /* attack.c's, freed at the end */
    uint32_t attackers_count;
    struct random random; /* of the scenario, apart from the world's */
    struct dht_traffic traffic;
    uint64_t steps;
    const char *problem; /* the first broken invariant */
    uint32_t problem_node;
    uint64_t problem_ms;
    uint32_t renewed;      /* how often dht_renew was called */
    struct checks *checks; /* checks.h; NULL: only what check_every says */
};

struct dht *dht_new(const struct dht_options *options);
void dht_free(struct dht **self);

/* The world keeps a pointer to this: free() it at the end. */
void dht_keep_attacker(struct dht *self, void *attacker);

/* Start a node; bootstrap NULL: it is the first. snapshot NULL: it comes with nothing. */
void dht_start(struct dht *self, uint32_t node, const struct address *bootstrap,
               const struct snapshot *snapshot);

/* Stop it without a word; its table is lost unless saved before with router_save. */
void dht_kill(struct dht *self, uint32_t node);

/* And what it stored. */
void dht_lose_disk(struct dht *self, uint32_t node);

/* In the place of a node that is down, another one: a new id, a new address, nothing stored. */
void dht_renew(struct dht *self, uint32_t node);

/* Give it another address, as a NAT does (at most DHT_ADDRESSES_MAX - 1 times). */
void dht_move(struct dht *self, uint32_t node);
bool dht_is_live(const struct dht *self, uint32_t node);
uint32_t dht_live_count(const struct dht *self);
uint32_t dht_pick_live(struct dht *self); /* an honest one, by lot */

/* Node 0 first, the others through it within options.spread_ms, and then settle_ms of time. */
void dht_start_all(struct dht *self, uint64_t settle_ms);

/* Kill percent of the nodes, chosen at random, at once. */
void dht_kill_some(struct dht *self, uint32_t percent);

void dht_run(struct dht *self, uint64_t duration_ms);

/* The first invariant found broken is kept; what is static. */
void dht_note_problem(struct dht *self, uint32_t node, const char *what);

/* A live node asks for the k closest to target; runs on until *ret_lookup is done. */
void dht_look_up(struct dht *self, uint32_t origin, const struct node_id *target,
                 struct dht_lookup *ret_lookup);
void dht_begin_lookup(struct dht *self, struct dht_lookup *lookup);

/* ---- values ---- */

/* The item of a name in the version of its content, for free(). seq: mutable only. */
struct item *dht_make_item(uint64_t name, uint64_t content, bool is_mutable, uint64_t seq,
                           uint16_t size);

/* The content that dht_make_item has put there. */
uint64_t dht_item_content(const struct item *item);

/* A live node puts a value, or reads one; done is set when it has ended, also by its death. */
void dht_begin_put(struct dht *self, uint32_t origin, struct dht_put *put);
void dht_begin_get(struct dht *self, uint32_t origin, struct dht_get *get);
void dht_put(struct dht *self, uint32_t origin, struct dht_put *put);
void dht_get(struct dht *self, uint32_t origin, struct dht_get *get);

/* How many live nodes hold a version not lower than seq, and of the k closest live ones. */
struct dht_replicas {
    uint32_t live, closest, expected;
};
struct dht_replicas dht_replicas(const struct dht *self, const struct node_id *target,
                                 uint64_t seq);

/* ---- judging ---- */

struct dht_report {
    uint32_t lookups, exact, live;
    uint64_t expected, found; /* true closest nodes over all lookups */
    uint32_t rounds_max, rounds_mean_tenths, queries_mean_tenths, queries_max;
    uint64_t elapsed_p50_ms, elapsed_p95_ms, elapsed_p99_ms;
    uint64_t joined_p50_ms, joined_max_ms; /* from a node's start until it had joined */
    uint32_t unjoined;
};

/* Lookups of random targets by random live nodes, all judged. */
void dht_measure(struct dht *self, uint32_t lookups, struct dht_report *ret_report);

/*
 * Whether the own contacts of those among the k closest to random targets are enough to know all of
 * the k closest: what handing values over to newcomers rests on.
 */
struct dht_views {
    uint32_t views, complete;
};
void dht_measure_views(struct dht *self, uint32_t targets, uint32_t k, struct dht_views *ret_views);

/*
 * The true k closest live nodes to target but for origin (UINT32_MAX: all), nearest first. Hostile
 * ones do not count. Returns how many.
 */
size_t dht_oracle(const struct dht *self, uint32_t origin, const struct node_id *target, size_t k,
                  uint32_t *ret_nodes);
