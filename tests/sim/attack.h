/*
 * Hosts that are no nodes and only do harm (THREATS 2, rows 4, 5, 6):
 *
 *     SPOOF_QUERIES   asks nodes in the name of a victim, who gets the answers
 *     SPOOF_REPLIES   answers what it was not asked, from the addresses of true nodes
 *     FLOOD           asks one node more than it can answer, from a few addresses
 *     FLOOD_FORGED    the same from ever new addresses
 *     STORE_FLOOD     has one node store items of its own, as many as it can
 */
#pragma once

#include "tests/sim/dht.h"

enum attack_kind {
    ATTACK_SPOOF_QUERIES,
    ATTACK_SPOOF_REPLIES,
    ATTACK_FLOOD,
    ATTACK_FLOOD_FORGED,
    ATTACK_STORE_FLOOD,
    ATTACKS_COUNT
};

struct attack_options {
    enum attack_kind kind;
    uint32_t per_s;        /* datagrams a second, of all its hosts */
    uint32_t hosts;        /* FLOOD, STORE_FLOOD: how many, each in a subnet of its own; 0: 1 */
    uint32_t node;         /* whom it floods */
    struct address victim; /* SPOOF_QUERIES: in whose name */
    struct node_id target; /* what it asks for */
    uint32_t ttl_s;        /* STORE_FLOOD: of its items */
    bool is_public;
};

struct attack;

/* Begins at once. The attack lives until attack_stop; its hosts stay in the world, and are down. */
struct attack *attack_start(struct dht *dht, const struct attack_options *options);
void attack_stop(struct attack **self);

struct attack_counts {
    uint64_t sent, answers, stored; /* answers: that its own hosts got */
};
struct attack_counts attack_counts(const struct attack *self);
