/*
 * What the files of a simulated node share: node.c, its transport and its time; errands.c, what it
 * does for somebody; holding.c, what it stores for others.
 */
#pragma once

#include "tests/sim/dht.h"

/* ---- node.c ---- */

/* Do what is due now, and set the timer. */
void node_pump(struct dht_node *self);

/* All datagrams that honest cores send leave here. */
void node_send(struct dht_node *self, const struct address *to, struct bytes datagram);

/* Whose query it was: a kind, and a number of the kind's own of up to 60 bits. */
uint64_t cookie_of(enum cookie_kind kind, uint64_t number);

/* False: it could not be sent. */
bool node_ask(struct dht_node *self, const struct carrier_query *query);

uint64_t node_now_ms(const struct dht_node *self);
uint64_t node_store_ms(const struct dht_node *self); /* store_clock.h */
uint64_t node_store_s(const struct dht_node *self);

/* An item as a reply or a put carries it. False: none that keeps BEP 44. */
bool node_read_item(const struct krpc_message *message, struct item *ret_item);
struct krpc_item node_krpc_item(const struct item *item, uint64_t ends_s, uint64_t now_s);

extern const struct behaviour node_behaviour;

/* ---- errands.c ---- */

enum errand_kind { ERRAND_LOOKUP, ERRAND_GET, ERRAND_PUT, ERRAND_CHECK };

struct errand {
    struct errand *next;
    struct dht_node *node;
    uint64_t serial;
    enum errand_kind kind;
    bool searching, ended; /* an ended one waits for its search */
    struct node_id target;
    struct dht_lookup *lookup; /* the caller's, as are the next two */
    struct dht_get *get;
    struct dht_put *put;
    uint64_t deadline_ms;
    struct spread spread; /* PUT, CHECK */
    struct item *item;
    uint32_t ttl_s;   /* PUT: 0: not said */
    uint64_t ends_s;  /* CHECK */
    uint32_t ticket;  /* CHECK: of the upkeep */
    uint32_t check_s; /* CHECK */
};

/* The router has ended a search of an errand's. */
void errand_found(struct errand *self, const struct search *search);

/* A put of an errand's was answered; message NULL: it was not. */
void errand_answered(struct dht_node *node, uint64_t number, const struct krpc_message *message);

void errands_pump(struct dht_node *node);
uint64_t errands_deadline_ms(const struct dht_node *node);

/* The node stops: whoever waits for an errand is told so. */
void errands_abandon(struct dht_node *node);

void errand_begin_check(struct dht_node *node, const struct upkeep_action *action);

/* ---- holding.c ---- */

/* Another node's question, answered from the store; what is to be sent, or nothing. */
struct bytes holding_answer(struct dht_node *node, const struct krpc_message *message,
                            const struct responder_ask *ask);

/* A query of upkeep's was answered; message NULL: it was not. */
void holding_answered(struct dht_node *node, uint32_t ticket, const struct krpc_message *message);

/* Tell upkeep of the view, and do what it says. True: something was done. */
bool holding_pump(struct dht_node *node);
uint64_t holding_deadline_ms(const struct dht_node *node);
