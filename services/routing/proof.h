/*
 * What a lookup has still to ask before it knows that it missed nobody.
 *
 * An answer names the 8 contacts nearest to the id that was asked for (BEP 5), dead ones included:
 * it tells of all that its node knows up to the farthest of them, and of nobody beyond. Where the
 * last result is farther than that, the rest of the way is cut into parts, the subtrees of the id
 * space beside the target's own; the node nearest to each is asked who is there. When all of a full
 * answer lies in one part, that part is cut again in the same way. So it costs few queries where
 * few nodes died, and is exact for k above 8. A liar that names nodes deep down, made up beside
 * what it was asked for, has only the widest of the parts asked for, in which true nodes may be.
 * Pure.
 */
#pragma once

#include "libcommon/node_id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROOF_ANSWER_FULL 8u  /* an answer that names as many may know of more (BEP 5) */
#define PROOF_PARTS_MAX   64u /* waiting to be asked; when full the farthest are left out */
#define PROOF_ASKS_MAX    48u /* in all; then what is left counts as looked through */
#define PROOF_LEVELS_MAX  8u  /* cut at once: the next one is the 256th part of what is looked at */

/* All ids that share at least so many bits with id. */
struct part {
    struct node_id id;
    unsigned bits;
    bool again;    /* somebody outside was asked before: now somebody inside, or nobody */
    unsigned told; /* bits around id of which that one told all it knows */
};

struct contact;

struct proof {
    struct node_id target;
    unsigned bits; /* of the target: all nearer is looked through, or stands in parts */
    struct part parts[PROOF_PARTS_MAX];
    unsigned count;
    struct part asked[PROOF_ASKS_MAX];
    unsigned asks;
};

void proof_init(struct proof *self, const struct node_id *target);

/* Of what nodes_count contacts, named when asked for id, tell: the bits of the subtree around it.
 */
unsigned proof_told(const struct node_id *id, const struct contact *nodes, size_t nodes_count);

/*
 * Answers to the target itself have told of the subtree of so many of its bits. near_bits: that one
 * of the nearest who answered shares with it; what is said to be far deeper is a lie.
 */
void proof_begin(struct proof *self, unsigned told_bits, unsigned near_bits);

/* Look through all that shares at least so many bits with the target. */
void proof_widen(struct proof *self, unsigned bits);

/* Parts that are farther than last altogether are of no interest. */
void proof_prune(struct proof *self, const struct node_id *last);

bool proof_is_inside(const struct part *part, const struct node_id *id);

/* The index-th of the parts is asked for. Returns the number of the ask. */
unsigned proof_ask(struct proof *self, unsigned index);

/* Nobody inside it answers: what somebody outside told has to do. */
void proof_settle(struct proof *self, unsigned index);

/*
 * The answer of `who` to that ask. Somebody outside of the part may know few there: then it is
 * asked for again, once.
 */
void proof_answered(struct proof *self, unsigned ask, const struct node_id *who,
                    const struct contact *nodes, size_t nodes_count);
