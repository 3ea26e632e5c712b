/*
 * The end of a worker. It asks nothing new from now on, answers what comes, and waits for what is
 * under way: the answers to its queries, those of storage to other nodes' questions.
 *
 * A worker that is started anew leaves its socket to the next process, with all that comes in
 * between, so it waits DRAIN_MS at most, in which nearly all answers come. One that is not to come
 * back (the workers have become fewer, and datagrams are steered to the others by now) waits until
 * all its queries have ended and its socket is empty.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DRAIN_MS       500u
#define DRAIN_FINAL_MS 4500u /* the actor ends us after 5 s */
#define DRAIN_LOOK_MS  10u

struct transport;

struct drain {
    uint64_t began_ms;
    uint64_t packets_in; /* when we looked last */
};

/* Calls transport_end() when it is over. */
void drain_begin(struct transport *self);
