/*
 * Ownership: which of a node's swarm workers has a transfer, and what a worker does about it.
 *
 * Each transfer has one owner, who fetches, writes, keeps its records and lists it. Who that is
 * follows from the infohash and the number of workers alone, so that nothing has to be agreed on
 * and a crash at any moment leaves no doubt. Workers learn of a new number at different times; what
 * keeps two of them from writing the same records meanwhile is a lock for each transfer
 * (catalogue_shared.h), which dies with its process: by the rule a worker wants a transfer, by the
 * lock it has it. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* As libcommon/owner.h says: by the first two bytes. active: at least 1. */
unsigned ownership_of(const uint8_t infohash[20], unsigned active);

/* What a worker has of a transfer. */
enum ownership_place {
    OWNERSHIP_ABSENT,  /* nothing */
    OWNERSHIP_AWAITED, /* it wants it, and another had the lock when it looked */
    OWNERSHIP_HELD,    /* the lock: it runs here */
    OWNERSHIP_LEAVING, /* the lock still: it is being stopped, for another to go on */
    OWNERSHIP_LEFT,    /* it gave it away a moment ago, and still answers for it in lists */
    OWNERSHIP_MIRROR,  /* it serves a complete one beside the owner; without the lock */
};

enum ownership_step {
    OWNERSHIP_STAY,
    OWNERSHIP_TAKE,   /* try the lock; with it, go on from the records */
    OWNERSHIP_HAND,   /* stop it in order, then give the lock back */
    OWNERSHIP_FORGET, /* nothing of it is needed here any more */
};

struct ownership_facts {
    enum ownership_place place;
    bool ours;    /* ownership_of() is this worker */
    bool ordered; /* its order lies in the catalogue */
    bool listed;  /* LEFT: its new owner has had the time to list it */
};

enum ownership_step ownership_step(const struct ownership_facts *facts);
