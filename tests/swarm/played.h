/*
 * Peers of our kind that a test plays itself: what they say is put into a torrent. Peer i is at
 * 10.0.0.(i + 1) and has the id 'a' + i.
 */
#pragma once

#include "services/swarm/torrent.h"

#define PLAYED_PLAN 7u /* the number they have for lb_plan */

/* It connects, with the fast extension and BEP 10's, and says hello. Returns its number. */
uint32_t played_join(struct torrent *torrent, uint32_t i, uint32_t metadata, uint64_t now_ms);

/* Its handshake of BEP 10, the first or another. metadata: bytes of it, 0 while it has none. */
void played_say_hello(struct torrent *torrent, uint32_t peer, uint32_t metadata, uint64_t now_ms);
