/*
 * The plan of a seed among peers that cooperate: whom it gives which piece first.
 *
 * While there are pieces that no other peer has, the seed's uplink is the swarm's bottleneck and
 * carries each of them once: the seed gives a piece to one peer, who alone asks for it, and all
 * others get it from there. Few gifts are under way at once (as much as its rate needs), so that
 * each is through soon and can be passed on; the next goes to who has fewest under way, then to who
 * waited longest. A peer that takes much longer than the others is given the next one only when
 * there is nobody else. Gifts that do not come through in time are given again.
 *
 * Invariant: each gift is of a piece that was waiting; a piece has at most one gift. Sources:
 * Mundinger, Weber, Weiss 2008, "Optimal Scheduling of Peer-to-Peer File Dissemination"; BEP 16 for
 * what a seed without a plan does. Pure; allocates.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random;

#define PLAN_GIFTS_MAX  1024u /* of ours under way at once; then it waits */
#define PLAN_TAKEN_MAX  64u   /* of other seeds' under way to one peer; more it says is not heard */
#define PLAN_OTHERS_MAX 1024u /* of other seeds' at all, likewise */
#define PLAN_AHEAD_MIN  2u    /* pieces under way */
#define PLAN_WINDOW_MS  200u  /* what comes through in such a time is under way, and half more */
#define PLAN_STALE_MS                                                                              \
    1000u                     /* a gift under way for longer holds nobody up; or than the time of: \
                               */
#define PLAN_STALE_PIECES 4u  /* so many pieces, at our rate */
#define PLAN_LOST_FACTOR  10u /* after so many times that it is given anew */
#define PLAN_SLOW_FACTOR  4u  /* so much slower than the middle one is slow */
#define PLAN_NOBODY       UINT32_MAX

struct plan_gift {
    uint32_t piece;
    uint32_t peer;
    bool ours; /* else another seed's */
    uint64_t given_ms;
};

enum plan_way {
    PLAN_WAITING, /* or there already */
    PLAN_GIVEN,   /* and to be asked for */
    PLAN_ASKED    /* or given long ago, or by another seed */
};

/* One who may be given pieces, as the caller knows it. */
struct plan_peer {
    uint32_t peer;
    uint32_t under_way;  /* gifts */
    uint64_t given_ms;   /* when it was given one last; 0: never */
    uint32_t latency_ms; /* how long gifts take to come through; 0: not known */
    bool slow;           /* set by plan_rank() */
};

struct plan {
    uint32_t pieces;
    uint32_t piece_size;
    uint32_t stale_ms;
    uint32_t *order;      /* all pieces, shuffled */
    uint32_t cursor;      /* those before it in order need no gift, as far as known */
    uint8_t *under_way;   /* of each piece: enum plan_way */
    uint32_t unasked;     /* gifts that were not yet asked for */
    uint64_t window_ms;   /* when the window began */
    uint32_t came;        /* gifts that came through in it */
    uint32_t came_before; /* and in the one before */
    struct plan_gift *gifts;
    uint32_t gifts_count;
    uint32_t ours_count; /* of them */
    uint32_t gifts_capacity;
};

void plan_init(struct plan *self, uint32_t pieces, uint32_t piece_size, struct random *random);
void plan_done(struct plan *self);

/* So many bytes a second we send now. */
void plan_set_rate(struct plan *self, uint64_t rate);

/*
 * May another gift be made now? idle_bytes: what our uplink could take beyond what it was asked
 * for. Gifts flow slowly when their receivers are busy with others, so their number alone does not
 * tell whether we are.
 */
bool plan_has_room(struct plan *self, uint64_t idle_bytes, uint64_t now_ms);

/* A gift was asked for. */
void plan_asked(struct plan *self, uint32_t piece);

/*
 * The next piece to give: one that, by available[], no peer has, and that is not under way.
 * PLAN_NOBODY: there is none.
 */
uint32_t plan_piece(struct plan *self, const uint16_t *available);

/* Who is slow, of all that may be given pieces. */
void plan_rank(struct plan_peer *peers, uint32_t count);

/* Who is to be given the next piece: an index into peers; PLAN_NOBODY: count is 0. */
uint32_t plan_choose(const struct plan_peer *peers, uint32_t count);
void plan_give(struct plan *self, uint32_t piece, uint32_t peer, uint64_t now_ms);

/* The peer has the piece. True if it was given it: *ret_ms is how long that took. */
bool plan_came(struct plan *self, uint32_t piece, uint32_t peer, uint64_t now_ms, uint32_t *ret_ms);

/* Another seed gives it to a peer, as that says: it may lie, so little hangs on it. */
void plan_taken(struct plan *self, uint32_t piece, uint32_t peer, uint64_t now_ms);

/* The peer is gone: what it was given waits again; what it had may wait. */
void plan_left(struct plan *self, uint32_t peer);

/* Gifts that took too long wait again. */
void plan_turn(struct plan *self, uint64_t now_ms);
uint32_t plan_under_way(const struct plan *self, uint32_t peer);
