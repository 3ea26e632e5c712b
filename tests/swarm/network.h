/*
 * A network in memory for whole torrents: links with rates, connections with buffers, one virtual
 * clock. What a node sends takes its uplink's time and then the receiver's downlink's; connections
 * of a node share its uplink by turns, each has at most a window under way and a socket buffer in
 * front of it, as TCP has. A node's share of a message is a few kilobytes at once, so that a small
 * message waits behind what is in its connection's buffer and no more than that.
 */
#pragma once

#include "libcommon/random.h"
#include "services/swarm/torrent.h"

#include <stdbool.h>
#include <stdint.h>

#define NETWORK_NODES_MAX 64u

struct network;

struct network_plan {
    uint32_t nodes; /* node 0 has everything, unless have says otherwise */
    uint32_t pieces;
    uint32_t piece_size;
    uint32_t block_size; /* 0: 16 KiB */
    uint64_t rate;       /* bytes/s of every link, each way */
    uint64_t seed;
    uint32_t socket_buffer; /* bytes the kernel takes of a connection; 0: 64 KiB */
    uint32_t window;        /* bytes under way in a connection; 0: 64 KiB */
    uint32_t latency_us;    /* 0: 500 */
    uint32_t peers_max;     /* of each node; 0: as many as there are */
    bool foreign;           /* nobody knows our extension */
};

struct network_node {
    struct torrent torrent;
    struct random random;
    bool running;
    bool complete;
    uint64_t up_rate;
    uint64_t down_rate;
    uint64_t start_us;
    uint64_t done_us;
    uint64_t sent_bytes; /* payload, on its uplink */
    uint64_t received_bytes;
    uint64_t control_bytes; /* everything else it sent */
    uint64_t up_busy_us;
    uint64_t down_busy_us;
    uint64_t wasted_bytes;
};

struct network *network_new(const struct network_plan *plan);
void network_free(struct network **self);
struct network_node *network_node(struct network *self, uint32_t node);

/* Begin with everything or nothing; it knows the metainfo and where all who run are. */
void network_start(struct network *self, uint32_t node, bool complete);
void network_stop(struct network *self, uint32_t node);

/* Until all who run are complete or `us` are over; true: they are. */
bool network_run(struct network *self, uint64_t us);
uint64_t network_now_us(const struct network *self);

/* The least time in which all could have everything, from the links' rates alone. */
uint64_t network_bound_us(const struct network *self);
