/*
 * The invariants of THREATS 3.4, watched from outside while a network runs (dht_options.check_all):
 *
 *     I2  no node serves or accepts a lower sequence number than it once acknowledged
 *     I3  of the puts with one CAS number a replica accepts one
 *     I4  tables are well formed and hold only contacts that were true once
 *     I5  lookups end in so many rounds and queries, and ask nobody twice
 *     I6  what is under way is within its limits and accounted for
 *     I7  an accepted token was given to that IP at most 10 minutes before
 *     I8  bytes to a public address that has not proved itself: three times what came from it, and
 *         its budget
 *     I9  the second copy of a datagram changes nothing that is stored
 *
 * I1 and I10 are judged at the end of a run (nemesis.h). Cheap ones at every event, the walk
 * through a node's tables at every check_every-th. The first that fails is dht.problem.
 */
#pragma once

#include "tests/sim/dht.h"

struct checks *checks_new(struct dht *dht);
void checks_free(struct checks **self);

/* All that follows does nothing unless dht.checks is there, but for checks_node. */
void checks_node(struct dht_node *node); /* it has done what was due */
void checks_sent(struct dht_node *node, const struct address *to, struct bytes datagram);
void checks_receive(struct dht_node *node, const struct address *from, struct bytes datagram);
void checks_answered(struct dht_node *node, const struct address *from); /* a query of ours */
void checks_received(struct dht_node *node);
void checks_query(struct dht_node *node, const struct query *query);
void checks_search(struct dht_node *node, const struct search *search);
void checks_served(struct dht_node *node, const struct node_id *target, uint64_t seq);

/* was_here: there was an item at target before. */
void checks_stored(struct dht_node *node, const struct node_id *target, const struct store_put *put,
                   bool was_here, enum item_verdict verdict);

/* Its disk was lost: what it acknowledged is forgotten with it. */
void checks_disk_lost(struct dht_node *node);

/* Nothing of it is under way (I6). */
bool checks_is_quiet(const struct dht_node *node);
