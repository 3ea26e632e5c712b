/*
 * Whole torrents, joined by an in-memory wire with a virtual clock: every message takes one step of
 * 10 ms. A piece of content is a number; blocks carry whether their sender spoilt them.
 */
#pragma once

#include "libcommon/random.h"
#include "services/swarm/torrent.h"
#include "tests/libcommon/cmocka_row.h"

#define NODES_MAX 24
#define LINKS_MAX 1024
#define STEP_MS   10u
#define BLOCK     PICKER_BLOCK_SIZE

struct parcel;

struct node {
    struct world *world;
    unsigned index;
    struct random random;
    struct torrent torrent;
    bool running;
    bool poisons; /* its blocks are bad */
    bool mute;    /* takes requests and answers none */
    bool floods;  /* sends a block nobody asked for with each message */
    bool *spoilt; /* of each block: a bad one came */
    bool blind;   /* its disk gives no digests */
    uint32_t banned;
    uint32_t bad_at_ban; /* pieces that had failed when it banned somebody last */
    uint32_t completed;
    uint32_t announced;
    uint32_t connects;
    uint64_t done_ms;
};

struct link {
    bool up;
    struct {
        unsigned node;
        uint32_t peer;
    } end[2];
};

struct world {
    uint64_t now_ms;
    uint8_t info[20000]; /* more than one part of metadata */
    uint8_t infohash[20];
    struct picker_shape shape;
    struct node nodes[NODES_MAX];
    struct link links[LINKS_MAX];
    uint32_t links_count;
    struct parcel *first;
    struct parcel **last;
    uint64_t requests; /* sent, all together */
};

/* Each of the pieces has so many blocks, but the last of them is 1000 bytes short of that. */
void world_init(struct world *world, uint32_t pieces, uint32_t blocks);
void world_done(struct world *world); /* stops the nodes that run */

/*
 * A node that knows the metainfo, or does not. have: "all", or a letter for each piece, '#' for one
 * that it has; NULL: nothing.
 */
struct node *node_start(struct world *world, unsigned index, bool knows, const char *have);
void node_stop(struct world *world, unsigned index);

/* The address of a node, and who hears of whose address (and calls it). */
struct address world_address(unsigned node);
void world_meet(struct world *world, unsigned who, unsigned whom);

/* Do what the torrents want done now; let time pass, and check each torrent at its end. */
void world_drain(struct world *world);
void world_run(struct world *world, uint64_t ms);

struct torrent_stats world_stats(const struct world *world, unsigned index);
