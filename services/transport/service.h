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
 */
#pragma once

#include "libcommon/actor.h"
#include "libcommon/random.h"
#include "services/transport/datagram.h"
#include "services/transport/endpoint.h"
#include "services/transport/lan.h"
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
    struct pages pages;
    struct questions questions;
    struct reports reports;
    struct resolver resolver;
    struct lan lan;
    struct shaping shaping;
    struct link *routing, *storage;
    struct status_counter *counters[COUNTERS_COUNT];
    uv_timer_t deadline_timer, care_timer;
    uv_prepare_t prepare;
    unsigned handles_open;
    uint64_t now_us;      /* of this turn or batch */
    uint64_t deadline_us; /* what the timer is armed for */
    bool in_batch;
    bool stopping;
    uint64_t published[COUNTERS_COUNT]; /* as they stand in the status page */
};

extern const struct service_definition transport_service;

/* The port for addresses of this family, or NULL. */
struct datagram_port *transport_port(struct transport *self, const struct address *to);

/* Copy a datagram to where it goes out; dropped when there is no port of its family. */
void transport_send(struct transport *self, const struct address *to, struct bytes datagram);
