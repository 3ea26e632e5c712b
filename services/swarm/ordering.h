/*
 * Orderings: something being begun, until a transfer is there or the reason why not is told.
 * Shared by transfers_order.c (their life), transfers_share.c, transfers_fetch.c and
 * transfers_adopt.c (a share that another worker is to have). Not for others.
 */
#pragma once

#include "libcommon/pool.h"
#include "services/swarm/create.h"
#include "services/swarm/device.h"
#include "services/swarm/order.h"
#include "services/swarm/transfers.h"

struct waiter {
    transfers_fn *done;
    void *ctx;
};

/* What is to be shared is hashed, what is to be fetched is written down. */
struct ordering {
    struct job job; /* first: the pool hands it back */
    struct ordering *next;
    struct transfers *owner;
    struct waiter waiters[TRANSFERS_WAITERS_MAX];
    size_t waiters_count;
    struct order order;
    struct address *calls; /* fetching: peers to call at once */
    size_t calls_count;
    struct metainfo *metainfo;
    struct create *create;         /* sharing, while hashing */
    struct create_request request; /* sharing; its path is `path` */
    char *path;                    /* sharing: what was asked for */
    struct webseed_urls web_seeds; /* sharing */
    uint8_t *record;               /* sharing: the resume record */
    size_t record_size;
    lb_err err;
    char reason[DEVICE_PROBLEM_SIZE];

    /* Among several workers. */
    bool has_before; /* what the path held before, wherever that is shared */
    uint8_t before[20];
    struct catalogue_share *found; /* while it is looked for */
    unsigned from;                 /* adopting: whose files they are */
    bool handed;                   /* files of ours lie there for the owner */
    uint64_t again_ms;             /* ask the owner again; 0: not now */
    uint64_t give_up_ms;
};

struct ordering *ordering_new(struct transfers *owner, transfers_fn *done, void *ctx);

/* One more who waits for the same. */
void ordering_join(struct ordering *self, transfers_fn *done, void *ctx);

/* Why it is refused: an order of another kind, or for another path, came first. */
extern const char ordering_being_begun[];

/* Answer who waits; it is gone then. transfer: what they are shown, or NULL. */
void ordering_end(struct ordering *self, lb_err err, const char *reason,
                  const struct transfer *transfer);

/* Hash it; known, known_resume: of an earlier share of the same path, or NULL. */
void ordering_create(struct ordering *self, struct metainfo *known, const struct resume *resume);

/* What is hashed becomes a transfer of this worker. folder: where its paths begin. */
void ordering_seed(struct ordering *self, const char *folder);
