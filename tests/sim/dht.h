/*
 * A simulated DHT: honest nodes in a world, each with the router of lb-routing itself, and in the
 * place of lb-transport a model of it (answers from the table, transactions, two tries).
 *
 * Used by the tests and by the program sim-dht. What the nodes do is checked against what the
 * simulator knows: which nodes live, hence which are truly the closest to a target.
 */
#pragma once

#include "services/routing/router.h"
#include "tests/sim/world.h"

struct dht_options {
    struct world_options world;
    uint32_t nodes;
    uint32_t check_every; /* events between checks of a node's invariants; 0: never */
    uint32_t spread_ms;   /* the nodes start at random times within this */
    uint8_t top_sizes[TABLE_TOP_LEVELS]; /* all 0: the table's own */
    uint32_t k;                          /* closest nodes looked for; 0: TABLE_K */
};

#define DHT_CONTACTS_MAX 8u /* in one answer: BEP 5 */

enum message_type { MESSAGE_PING, MESSAGE_FIND_NODE, MESSAGE_ANSWER };

/* In place of KRPC; only contacts_count contacts are sent. */
struct message {
    uint32_t transaction;
    uint8_t type;
    uint8_t contacts_count;
    struct node_id sender, target;
    struct contact contacts[DHT_CONTACTS_MAX];
};

struct transaction {
    uint32_t serial, ticket;
    bool used;
    uint8_t tries;
    uint64_t sent_ms;
    struct address to;
    struct message message;
};

struct dht;

struct dht_node {
    struct dht *dht;
    uint32_t host;
    struct node_id id;
    struct router *router; /* NULL: not started */
    struct transaction *transactions;
    uint32_t transactions_count, transactions_used;
    uint64_t timer_ms;              /* the router's timer that counts; others are stale */
    uint64_t started_ms, joined_ms; /* 0: not yet */
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

struct dht {
    struct dht_options options;
    struct world *world;
    struct dht_node *nodes;
    struct random random; /* of the scenario, apart from the world's */
    uint64_t queries_sent, answers_sent;
    uint64_t steps;
    const char *problem; /* the first broken invariant */
    uint32_t problem_node;
};

struct dht *dht_new(const struct dht_options *options);
void dht_free(struct dht **self);

/* Start a node; bootstrap NULL: it is the first. snapshot NULL: it comes with nothing. */
void dht_start(struct dht *self, uint32_t node, const struct address *bootstrap,
               const struct snapshot *snapshot);

/* Stop it without a word; its table is lost unless saved before with router_save. */
void dht_kill(struct dht *self, uint32_t node);
bool dht_is_live(const struct dht *self, uint32_t node);

/* Node 0 first, the others through it within options.spread_ms, and then settle_ms of time. */
void dht_start_all(struct dht *self, uint64_t settle_ms);

/* Kill percent of the nodes, chosen at random, at once. */
void dht_kill_some(struct dht *self, uint32_t percent);

void dht_run(struct dht *self, uint64_t duration_ms);

/* A live node asks for the k closest to target; runs on until *ret_lookup is done. */
void dht_look_up(struct dht *self, uint32_t origin, const struct node_id *target,
                 struct dht_lookup *ret_lookup);

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

/* The true k closest live nodes to target but for origin, nearest first. Returns how many. */
size_t dht_oracle(const struct dht *self, uint32_t origin, const struct node_id *target, size_t k,
                  uint32_t *ret_nodes);
