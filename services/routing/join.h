/*
 * Joining, and staying joined: which addresses to ask, and when to look up our own id.
 *
 * Seeds (bootstrap addresses, then contacts of the snapshot) are asked for the nodes closest to our
 * id. With the first contact in the table we look up our own id, then refresh each bucket farther
 * than our nearest neighbour, JOIN_LOOKUPS_MAX at a time. Our own id is looked up again after a
 * second or two, and then at intervals that double to 15 minutes unless it finds nodes it had not
 * found before: a class that starts all at once finds itself in seconds, a settled one is quiet.
 * The second of these, one soon after, and those of a settled node are wide: they look for more
 * neighbours than the k closest, so that a node knows all around the keys it holds.
 * While nobody answers, all seeds are asked again after 1, 2, 4 ... 60 s with jitter; bootstrap
 * addresses also every quarter of an hour, so that a healed partition grows together. Sources:
 * Maymounkov and Mazieres 2002, 2.3; BEP 5. Pure.
 */
#pragma once

#include "libcommon/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOIN_SEEDS_MAX                                                                             \
    576u /* bootstrap addresses and contacts of the snapshot; more are ignored                     \
          */
#define JOIN_ASKS_MAX       16u /* seeds asked at once while nobody has answered, then a quarter */
#define JOIN_LOOKUPS_MAX    3u  /* buckets refreshed at once */
#define JOIN_NEIGHBOURS     8u  /* of whom we remember whether they are new */
#define JOIN_RETRY_LEAST_MS 1000u
#define JOIN_RETRY_MOST_MS  60000u
#define JOIN_SETTLE_MS      1500u
#define JOIN_WIDE_MS        (8 * JOIN_SETTLE_MS)
#define JOIN_SETTLED_MS     (15u * 60 * 1000)

struct random;

enum join_seed_state { JOIN_SEED_NEW, JOIN_SEED_ASKED, JOIN_SEED_DONE };

struct join_seed {
    struct address address;
    enum join_seed_state state;
    bool bootstrap;
};

enum join_step {
    JOIN_NOTHING,
    JOIN_ASK,        /* find_node(own id) to order.address; tell join_asked() */
    JOIN_FIND_SELF,  /* look up our own id, as order.is_wide says; tell join_found_self() */
    JOIN_FIND_BUCKET /* look up a random id in order.bucket; tell join_found_bucket() */
};

struct join_order {
    struct address address;
    uint32_t seed;
    unsigned bucket;
    bool is_wide; /* JOIN_FIND_SELF: more neighbours than the k closest are wanted */
};

/* What the tables hold now. */
struct join_view {
    size_t contacts; /* that have a place */
    size_t live;     /* of these, that answered our last query */
    unsigned depth;  /* number of buckets to look into, those the lookup of our own id did not */
};

struct join {
    struct random *random; /* borrowed */
    struct join_seed *seeds;
    uint32_t seeds_count, fresh, asking; /* fresh: in JOIN_SEED_NEW */
    bool passed;                         /* all seeds were asked once */
    bool expects_seeds; /* bootstrap addresses are configured, maybe still to be resolved */
    uint64_t retry_ms;  /* when to ask again, while nobody answers; 0: not set */
    uint64_t backoff_ms;
    uint64_t reask_ms; /* when to ask the bootstrap addresses again in any case */
    bool finding_self;
    bool joined;
    uint64_t wide_ms;      /* the interval from which on such a lookup is wide again */
    bool content;          /* there was nobody to be found through */
    uint64_t find_self_ms; /* when to look up our own id next */
    uint64_t settle_ms;    /* the interval that led there */
    struct node_id neighbours[JOIN_NEIGHBOURS];
    size_t neighbours_count;
    unsigned bucket, buckets_running; /* the next to refresh; bucket >= depth: done */
    struct join_view view;            /* of the last join_next() */
};

/* expects_seeds: a bootstrap node is configured, so a node alone is not content. random is kept. */
void join_init(struct join *self, bool expects_seeds, struct random *random);
void join_done(struct join *self);

/* Ignored when it is there already, or JOIN_SEEDS_MAX are. */
void join_add_seed(struct join *self, const struct address *address, bool bootstrap);

enum join_step join_next(struct join *self, const struct join_view *view, uint64_t now_ms,
                         struct join_order *ret_order);

/* How asking a seed ended. sent is false when the question could not be put: it is put again. */
void join_asked(struct join *self, uint32_t seed, bool sent);

/* Our own id was looked up: the closest nodes that answered, nearest first. */
void join_found_self(struct join *self, const struct node_id *closest, size_t count,
                     uint64_t now_ms);
void join_found_bucket(struct join *self);

/* Something new came by hand: look around again now. */
void join_hurry(struct join *self, uint64_t now_ms);

/* The lookup of our own id has found somebody, or there is nobody to be found through. */
bool join_is_joined(const struct join *self);
uint64_t join_deadline_ms(const struct join *self);
