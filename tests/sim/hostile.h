/*
 * Nodes that take part as the others do, so that they get into tables, and answer as they like
 * (THREATS 2, rows 1, 3, 4, 8):
 *
 *     SILENT     answers pings only
 *     FRIENDS    names those of its kind alone, the closest of them, and never a value
 *     MADE_UP    names nodes that do not exist, as close to the target as one may wish
 *     CLAIMING   takes an id beside the target, whatever that is, and names others that do
 *     STALE      keeps the first version of each value it gets, serves that one for ever, and puts
 *                it on others again
 */
#pragma once

#include "tests/sim/dht.h"

/* Every hostile node, ascending by id; called once, when all have their ids. */
void hostile_meet(struct dht *dht);

/* True: it has dealt with the datagram. */
bool hostile_receive(struct dht_node *node, const struct address *from, struct bytes datagram);

/* A query of COOKIE_MISCHIEF was answered; message NULL: it was not. */
void hostile_answered(struct dht_node *node, uint64_t number, const struct krpc_message *message);

/* What is due now; and when it is. */
void hostile_pump(struct dht_node *node);
uint64_t hostile_deadline_ms(const struct dht_node *node);
void hostile_stop(struct dht_node *node);
