/*
 * One iterative lookup in one address family: the k nodes closest to a target that answer.
 *
 * Candidates are kept by distance. The nearest ones not yet asked are asked, LOOKUP_ALPHA at a
 * time, more while answers bring nothing nearer. A query that stays unanswered for slow_ms gives
 * its slot away but is still waited for; one to a suspect (recently silent) node is not. The lookup
 * ends when the k nearest of all candidates have answered, or none is left to ask, and no answer
 * can have left out a nearer one (proof.h). A node that is named at several addresses is asked at
 * each in turn until one answers, so that whoever names it at a wrong one does not hide it. Of a
 * public subnet one counts among the k (crowd.h).
 * Sources: Maymounkov and Mazieres 2002, 2.3; BEP 5; BEP 44. Pure; everything is bounded by the
 * constants below.
 *
 * It converses by lookup_next (what to ask), lookup_reply (what came) and lookup_deadline_ms (when
 * to call lookup_next again even if nothing came).
 */
#pragma once

#include "libcommon/routing_page.h"
#include "services/routing/crowd.h"
#include "services/routing/findings.h"
#include "services/routing/proof.h"
#include "services/routing/query.h"

#define LOOKUP_K_MAX           48u
#define LOOKUP_ALPHA           3u
#define LOOKUP_PARALLEL_MAX    8u       /* while answers bring nothing nearer */
#define LOOKUP_UNANSWERED_MAX  24u      /* queries on their way, the slow ones included */
#define LOOKUP_QUERIES_MAX     200u     /* in all; what is unasked then stays so */
#define LOOKUP_CANDIDATES_MAX  128u     /* when full, the farthest not yet asked gives way */
#define LOOKUP_REPLY_NODES_MAX 32u      /* taken from one answer */
#define LOOKUP_TOKEN_MAX       64u      /* a longer token is taken for none */
#define LOOKUP_UNSENT_MAX      200u     /* times one query is tried while transport is away */
#define LOOKUP_ADDRESSES_MAX   4u       /* tried for one id; more are taken for lies */
#define LOOKUP_WITNESSES       8u       /* results whose answers tell how far all is known */
#define LOOKUP_NEAR            4u       /* results about as near as a true answer tells */
#define LOOKUP_PROOF           0x10000u /* marks the ticket of a query for a part (proof.h) */

enum lookup_kind { LOOKUP_NODES, LOOKUP_PEERS, LOOKUP_VALUE };

enum candidate_state {
    CANDIDATE_NEW,
    CANDIDATE_ASKED,
    CANDIDATE_SLOW, /* asked, its slot given away */
    CANDIDATE_ANSWERED,
    CANDIDATE_FAILED
};

/* What is looked for. */
struct lookup_aim {
    enum lookup_kind kind;
    struct node_id target;
    unsigned k;   /* 1 to LOOKUP_K_MAX */
    bool has_seq; /* LOOKUP_VALUE: goes with each get, as do seq and check_s (query.h) */
    uint64_t seq;
    uint32_t check_s;
    bool are_certified; /* the ids of the network are: no subnet is limited (crowd.h) */
};

struct candidate {
    struct contact contact;
    enum candidate_state state;
    bool suspect;   /* silent lately: not waited for beyond slow_ms */
    bool no_values; /* refused get or get_peers: asked with find_node, is no result */
    bool is_full;   /* its answer may have left out who is farther than far */
    bool has_item;  /* it sent an item, or said that it stores one */
    bool littlebird;
    uint8_t unsent;
    uint8_t token_size;
    uint8_t token[LOOKUP_TOKEN_MAX];
    uint16_t round; /* length of the chain of nodes that led here, from 1 */
    uint64_t asked_ms;
    uint64_t item_seq;
    const struct found_item *item; /* in findings; NULL: stored, but not sent */
    /* Where it is said to be too; the first others_tried of them are where it was not. */
    struct address others[LOOKUP_ADDRESSES_MAX - 1];
    uint8_t others_count, others_tried;
    struct node_id far; /* the farthest from the target that it named */
};

/* On what it depends who is asked for the parts that are left. */
struct parts_view {
    uint32_t answers;
    unsigned count, asks;
    bool asking;
};

struct lookup {
    struct node_id self_id;
    struct lookup_aim aim;
    enum routing_family family;
    unsigned parallel; /* how many queries may hold a slot now */
    uint64_t slow_ms;  /* set by lookup_set_slow */
    uint32_t queries, answers, rounds;
    bool finished;
    bool are_few; /* public subnets are fewer than k: those that are crowded out count too */

    struct candidate *candidates;          /* LOOKUP_CANDIDATES_MAX; an index is a query's ticket */
    uint16_t order[LOOKUP_CANDIDATES_MAX]; /* indices, nearest first */
    uint16_t count;

    struct proof proof;
    uint16_t proof_rounds[PROOF_ASKS_MAX];
    bool proving;
    unsigned proof_open; /* parts asked for and not yet told of */
    uint64_t proof_asked_ms;
    struct parts_view parts_seen; /* then nobody was to be asked for any of them */

    struct lookup *const *paths; /* NULL: it is the only one */
    unsigned paths_count;

    struct findings findings;
};

/* aim is copied. The caller frees with lookup_free. */
struct lookup *lookup_new(const struct node_id *self_id, const struct lookup_aim *aim,
                          enum routing_family family);
void lookup_free(struct lookup **self);

/*
 * Before it starts: this is one of several disjoint paths to one target in one family (S/Kademlia,
 * Baumgart and Mies 2007, 4.3): a node that another of them has asked is not asked again, but
 * counts as answered or failed as it did there (a node is its address: of the id that stands beside
 * it a liar may have told). What a node tells is known to its own path only, so
 * a liar leads one path astray. paths is borrowed for the life of self; its cells may be NULL.
 */
void lookup_share(struct lookup *self, struct lookup *const *paths, unsigned paths_count);

/* A node to begin with. Ignored when it is unusable, known, or farther than all of a full list. */
void lookup_seed(struct lookup *self, const struct contact *contact);

/* The seeds are where the last lookup of this target ended: ask them together. */
void lookup_expect_near(struct lookup *self);

/* No more seeds will come; a lookup without any is finished. */
void lookup_start(struct lookup *self);

/* After how long a query gives its slot away: from the round-trip times the caller sees. */
void lookup_set_slow(struct lookup *self, uint64_t slow_ms);

bool lookup_next(struct lookup *self, uint64_t now_ms, struct query *ret_query);

/* The node of this query has been silent lately. Only right after lookup_next. */
void lookup_suspect(struct lookup *self, uint32_t ticket);

/* ticket is the query's; a second reply to one query is ignored. */
void lookup_reply(struct lookup *self, uint32_t ticket, const struct reply *reply);

/* UINT64_MAX: nothing but a reply can bring it forward. */
uint64_t lookup_deadline_ms(const struct lookup *self);
bool lookup_is_finished(const struct lookup *self);

/*
 * The k closest that answered, nearest first; borrowed until lookup_free. Returns how many, at most
 * max. Before the end: what is known so far.
 */
size_t lookup_closest(const struct lookup *self, const struct candidate **ret_closest, size_t max);
