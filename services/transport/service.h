/*
 * lb-transport's shell: joins the KRPC endpoint to sockets, to the pages in shared memory, and to
 * routing and storage. What it decides itself is only where a datagram leaves and what a neighbour
 * that is not there means. The parts stand in files of their own:
 *
 *     queries.c    Query: other services' questions to other nodes, and their answers
 *     questions.c  other nodes' questions to storage, in batches
 *     reports.c    sightings for routing, in batches
 *     resolve.c    Resolve
 *     shaping.c    who is heard less while too much is asked;  gate.c  by the kernel
 *     lan.c        nodes of the local net, found by multicast;  lan_torrents.c  and torrents' peers
 *     pages.c      shared memory;  udp.c  sockets
 *     crossing.c   answers that reached another worker of this node;  drain.c  our end
 *     member.c     DTLS, on a member of a private network;  calls.c  others' calls to lb-member
 *
 * Of several workers each has a socket on the same port, and the kernel steers by source address
 * (libcommon/listen.h). Any of them can answer any query and ask any node: the tables lie in shared
 * memory, the token key in the private folder, and answers are handed on. What each keeps for
 * itself is what it has learnt of addresses (round-trip times, budgets, sightings): who is steered
 * to another worker begins there anew. Each attaches the steering program, at its start and when
 * the number of workers has changed; whoever is last says the same as who was first.
 */
#pragma once

#include "libcommon/actor.h"
#include "libcommon/grace.h"
#include "libcommon/identity.h"
#include "libcommon/instances.h"
#include "libcommon/random.h"
#include "services/transport/crossing.h"
#include "services/transport/datagram.h"
#include "services/transport/drain.h"
#include "services/transport/endpoint.h"
#include "services/transport/lan.h"
#include "services/transport/member.h"
#include "services/transport/pages.h"
#include "services/transport/questions.h"
#include "services/transport/reports.h"
#include "services/transport/resolve.h"
#include "services/transport/shaping.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define TRANSPORT_PORTS 2 /* node.listen: at most one address of each family */

struct transport {
    struct actor *actor; /* borrowed: loop, configuration, clock, status */
    struct random random;
    struct endpoint endpoint;
    struct endpoint_result result; /* of the datagram or moment being looked at */
    struct datagram_receiver receiver;
    struct datagram_port ports[TRANSPORT_PORTS];
    unsigned ports_count;
    struct identity identity;
    struct member *member; /* NULL: this node is of the open network */
    struct pages pages;
    struct questions questions;
    struct reports reports;
    struct crossings crossings;
    struct resolver resolver;
    struct lan lan;
    struct shaping shaping;
    struct link *routing;
    struct instances storages;
    struct status_counter *counters[COUNTERS_COUNT];
    uv_timer_t deadline_timer, care_timer;
    uv_prepare_t prepare;
    unsigned handles_open;
    struct grace grace;   /* of a further worker */
    uint64_t now_us;      /* of this turn or batch */
    uint64_t deadline_us; /* what the timer is armed for */
    bool in_batch;
    bool stopping; /* nothing new is asked any more */
    struct drain drain;
    uint64_t published[COUNTERS_COUNT]; /* as they stand in the status page */
};

extern const struct service_definition transport_service;

/* The drain is over: close what is open and end. */
void transport_end(struct transport *self);

/* The port for addresses of this family, or NULL. */
struct datagram_port *transport_port(struct transport *self, const struct address *to);

/* Copy a datagram to where it goes out; dropped when there is no port of its family. */
void transport_send(struct transport *self, const struct address *to, struct bytes datagram);
