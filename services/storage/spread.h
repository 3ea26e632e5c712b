/*
 * Spreading: one item or announcement brought to the k nodes closest to its target.
 *
 *     look up -> (choose a sequence number, sign) -> store on each, our own store included -> count
 *
 * A conversation without I/O: spread_next() says what to do, the other calls bring what came of it.
 * - A lookup that could not be made is tried again until the deadline: services restart.
 * - A token may have aged between lookup and put: refused with 203, one more lookup brings a fresh
 * one. Likewise who said nothing or was busy is tried once more if it is still there, or else whom
 * that lookup finds in its place.
 * - Two writers may meet. Without CAS the later one looks again and signs a higher number, so that
 * its version ends up on all k. With CAS each node stores for one of them only; who got more than
 * half of those that answered has won and then brings its version to the others too; the rest lose
 * with CONFLICT and should read again. BEP 44 advises against CAS towards nodes that returned
 * nothing; we send it, since else two first writers could both win there, and a node that has
 * nothing ignores it. Sources: BEP 44; Maymounkov and Mazieres 2002, 2.3 (STORE to the k closest).
 * Pure, no allocation.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/bytes.h"
#include "libcommon/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPREAD_K            20u
#define SPREAD_NODES_MAX    40u
#define SPREAD_KEEPERS      4u  /* of our kind, before we drop: the others forget in two hours */
#define SPREAD_TOKEN_MAX    64u /* a longer token counts as none */
#define SPREAD_ROUNDS_MAX   3u
#define SPREAD_SELF         SIZE_MAX /* our own store, among the nodes */
#define SPREAD_BUSY_MS      300u     /* before those who were busy are tried again */
#define SPREAD_PAUSE_MS     100u     /* after a lookup that could not be made; doubles to ... */
#define SPREAD_PAUSE_MAX_MS 1600u

enum spread_mode {
    SPREAD_FIXED,   /* what is stored stands already: an immutable item, a signed one, a peer */
    SPREAD_VERSION, /* a mutable item that gets the next sequence number */
    SPREAD_REPAIR,  /* as FIXED, but only to nodes that lack it, by a lookup made before */
    SPREAD_CHECK    /* what stands is counted, a newer version met is taken over, and it is stored
                       on those that lack it; again on nodes of other kinds, which forget */
};

/* One of the closest nodes, as the lookup found it. */
struct spread_node {
    struct contact contact;
    uint8_t token[SPREAD_TOKEN_MAX];
    size_t token_size; /* 0: it gave none, nothing can be stored there */
    bool has_item;     /* it returned one, or said that it has what was asked about */
    uint64_t item_seq; /* of that item */
    bool littlebird;   /* it is of our kind: it keeps an item to its end and sees to its replicas */
};

struct spread_found {
    const struct spread_node *nodes; /* nearest first */
    size_t nodes_count;
    bool self_is_close;
    bool has_item; /* a valid one, of those returned, our own store's and what we published */
    uint64_t highest_seq; /* its number */
    bool is_removal;      /* it is the mark of a removal (value.h): with CAS 0 it counts as none */
    bool self_has_item;   /* our own store has one */
    uint64_t self_seq;    /* its number */
};

enum spread_answer {
    SPREAD_ACCEPTED,
    SPREAD_OUTDATED, /* 301, 302: another version stands there */
    SPREAD_STALE,    /* 203: the token, most likely */
    SPREAD_NO_SPACE, /* our own store only */
    SPREAD_BUSY,     /* 202, or silence: it may be another time, or another node in its place */
    SPREAD_FAILED    /* any other refusal, or silence */
};

struct spread_options {
    enum spread_mode mode;
    bool is_mutable;
    uint64_t seq; /* FIXED, REPAIR and CHECK of a mutable item: its number */
    bool has_cas;
    uint64_t cas; /* VERSION: the number that must stand now; 0: none must, or a removal */
    uint64_t deadline_ms;
    bool is_patient; /* one more round, after a pause, for those that were SPREAD_BUSY */
};

enum spread_state { SPREAD_LOOKING, SPREAD_CHOOSING, SPREAD_STORING, SPREAD_ENDED };
enum spread_place { SPREAD_UNASKED, SPREAD_ASKED, SPREAD_ANSWERED };

/* Why a round is made. */
enum spread_purpose {
    SPREAD_FIRST,
    SPREAD_TOKENS,  /* the same version, to those whose token had aged or who were busy */
    SPREAD_AGAIN,   /* a higher number, since a newer version stands */
    SPREAD_CONVERGE /* a higher number, since a vote was won and the others are to follow */
};

struct spread {
    struct spread_options options;
    enum spread_state state;
    enum spread_purpose purpose;
    unsigned round;
    bool asked; /* the action of this state was handed out */
    uint64_t wait_until_ms;
    uint64_t pause_ms;
    uint64_t seq;
    bool self_is_close;
    bool self_has_item;
    uint64_t self_seq;
    struct spread_node nodes[SPREAD_NODES_MAX];
    size_t nodes_count;
    enum spread_place places[SPREAD_NODES_MAX + 1]; /* the last is our own store */
    enum spread_answer answers[SPREAD_NODES_MAX + 1];
    lb_err err;
    unsigned won_acknowledged;        /* of the vote that was won */
    unsigned found, holders, lacking; /* CHECK: as in the result */
    unsigned keepers;                 /* of the holders, those of our kind */
};

enum spread_step {
    SPREAD_LOOK_UP, /* then spread_found or spread_lookup_failed */
    SPREAD_SIGN,    /* with action.seq, then spread_signed */
    SPREAD_STORE,   /* on action.node, which may be SPREAD_SELF; then spread_answered */
};

struct spread_action {
    enum spread_step step;
    uint64_t seq;
    size_t node;
    bool has_cas;
    uint64_t cas;
};

void spread_init(struct spread *self, const struct spread_options *options);

/* What to do now; false: nothing, wait. */
bool spread_next(struct spread *self, uint64_t now_ms, struct spread_action *ret_action);

/* When to call spread_next again though nothing came; UINT64_MAX: not needed. */
uint64_t spread_deadline_ms(const struct spread *self);

/* next_seq: what value_next_seq gives for found->highest_seq; used when mode is SPREAD_VERSION. */
void spread_found(struct spread *self, const struct spread_found *found, uint64_t next_seq);
void spread_lookup_failed(struct spread *self, lb_err err, uint64_t now_ms);
void spread_signed(struct spread *self);
void spread_answered(struct spread *self, size_t node, enum spread_answer answer);

/* End now with what there is. */
void spread_give_up(struct spread *self, lb_err err);

bool spread_is_done(const struct spread *self);

struct spread_result {
    /*
     * LB_OK: stored on at least one. LB_CONFLICT: another version stands. LB_NO_SPACE: nowhere but
     * here, and here the disk is full. LB_UNAVAILABLE: no node stored it. Or the lookup's error.
     */
    lb_err err;
    unsigned acknowledged; /* our own store included, as in asked */
    unsigned asked;
    uint64_t seq; /* CHECK: higher than asked for when a newer version was met */

    /* CHECK only, whose err is LB_OK whenever the lookup came to an end. */
    unsigned found;    /* the closest nodes that answered, ourselves not counted, as below */
    unsigned holders;  /* of them, that had this version or a newer one before */
    unsigned lacking;  /* of them, that had not */
    unsigned repaired; /* of these, that took it now */
    bool superseded;   /* most of them remember a newer version, which has ended meanwhile */
    /* We are not among the k closest and k others have it now, SPREAD_KEEPERS of them of our kind;
     * or it is superseded. */
    bool may_drop;
};
struct spread_result spread_result(const struct spread *self);
