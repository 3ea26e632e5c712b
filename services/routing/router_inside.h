/*
 * What the files of the router share: router.c, what to ask next and what there is;
 * router_searches.c, searches and introductions; router_replies.c, what is learnt.
 */
#pragma once

#include "services/routing/router.h"

struct flight *router_flight_find(struct router *self, uint32_t ticket);
bool router_flights_are_full(const struct router *self);

/* There is room: router_flights_are_full() was asked. Sets the query's ticket. */
struct flight *router_flight_add(struct router *self, enum flight_purpose purpose,
                                 struct query *query);

/* Begin a search of our own; ROUTER_OWN_MAX were not running. */
void router_search_own(struct router *self, enum search_purpose purpose,
                       const struct node_id *target, uint64_t now_ms);

/* Start the searches that wait, for a place or for us to have joined. */
void router_start_waiting(struct router *self, uint64_t now_ms);

struct table *router_table_of(struct router *self, const struct address *address);
