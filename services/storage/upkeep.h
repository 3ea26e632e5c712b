/*
 * Upkeep: that every key held here is on the k closest nodes, whoever comes and goes.
 *
 *     check      now and then, by a lookup over the network, never from the own table alone: a
 *                spread in mode SPREAD_CHECK brings the item to those of the k closest that lack it
 *     newcomer   a contact that enters the view is offered the keys it is now among the k closest
 *                of, by the nearest of the older holders at once, by the next nearest a little
 *                later, by nobody else: the checks see to the rest
 *     drain      before the end: each key is offered to those who become responsible without us
 *
 * A conversation without I/O, shared by lb-storage and the simulator: upkeep_next() says what to
 * do, upkeep_checked(), upkeep_answered() and upkeep_written() bring what came of it,
 * upkeep_deadline_ms() says when to call upkeep_next() again though nothing came. It keeps no copy
 * of the keys: it asks the store by struct upkeep_store, only from inside upkeep_next(). Everything
 * is paced and bounded by the constants below, so that thirty nodes that start at once make no
 * storm.
 *
 * The interval of a key's checks doubles from check_least_s to 6 times that while nothing was
 * lacking, and falls back when something was. A holder that checks tells the others so by its get,
 * and each of them puts its own check off (upkeep_postpone): k holders make one check an interval.
 * A put received does the same: the paper's rule. Sources: Maymounkov and Mazieres 2002, 2.3 and
 * 2.5.
 *
 * Times: now_ms is the store clock in milliseconds (store_clock.h), which never goes back; _s is
 * the same clock in seconds. Pure; allocates.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/error.h"
#include "libcommon/random.h"
#include "libcommon/routing_page.h"
#include "services/storage/spread.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UPKEEP_K             SPREAD_K
#define UPKEEP_CHECKS_MAX    4u      /* under way */
#define UPKEEP_CHECK_GAP_MS  200u    /* between the beginnings of two checks: 5 a second */
#define UPKEEP_CATCH_UP_MS   600000u /* what is overdue at the start is spread over this ... */
#define UPKEEP_CATCH_GAP_MS  30000u  /* ... but one check is begun at least every so often */
#define UPKEEP_CALM_MAX      3u      /* doublings of the interval: 8 times, limited to 6 times */
#define UPKEEP_MOST          6u      /* the longest interval, in least intervals */
#define UPKEEP_SILENCE       3u      /* others may put a check off so many longest intervals */
#define UPKEEP_RETRY_S       60u     /* after a check that did not come to its end */
#define UPKEEP_GRACE_MS      10000u /* after the start the table fills: who is met is served then */
#define UPKEEP_SETTLE_MS     60000u /* a contact so new is not counted on to hold anything yet */
#define UPKEEP_FIRST_MS      1000u  /* the nearest holder offers within this */
#define UPKEEP_SECOND_MS     10000u /* the next nearest after this */
#define UPKEEP_DIGESTS_MAX   40u    /* in one offer */
#define UPKEEP_TRANSFERS_MAX 4u     /* newcomers being served at once; the others wait */
#define UPKEEP_DRAINS_MAX    64u    /* nodes that keys go to at once while draining */
#define UPKEEP_PUTS_MAX      8u     /* under way to one node */
#define UPKEEP_SILENCES_MAX  3u     /* in a row, then a node is given up; 1 while draining */
#define UPKEEP_OFFERS_S      50u    /* pings and offers a second; 4 times that while draining */
#define UPKEEP_PUTS_S        200u   /* gets and puts a second; 4 times that while draining */
#define UPKEEP_WALK_MAX      256u   /* keys looked at in one call of upkeep_next */
#define UPKEEP_SAMPLES       64u    /* checks that replicas_min and replicas_median look back on */
#define UPKEEP_SLACK         2u /* so many more than k may be nearer than we to a key that we accept */
#define UPKEEP_ENDING_S      30u /* who ends so soon is not brought anywhere any more */

/* ---- the store ---- */

/* One key held here. */
struct upkeep_item {
    struct node_id target;
    uint64_t seq;       /* 0: immutable */
    uint64_t ends_s;    /* when its life ends */
    uint64_t check_s;   /* when its replicas are to be checked */
    uint64_t checked_s; /* when this node last checked them itself, or received it first */
    uint8_t calm;       /* how often in a row nothing was lacking, up to UPKEEP_CALM_MAX */
};

/* Asked from inside upkeep_next() only, and answered at once. Only keys that have not ended. */
struct upkeep_store {
    void *ctx;
    /* The key with the least target that is not less than `from`. False: there is none. */
    bool (*next)(void *ctx, const struct node_id *from, struct upkeep_item *ret_item);
    /* In the order of check_s, whether it has come or not: the key behind `skip` others. */
    bool (*due)(void *ctx, uint32_t skip, struct upkeep_item *ret_item);
    /* How many keys have check_s < before_s. */
    uint32_t (*overdue)(void *ctx, uint64_t before_s);
};

/* ---- what to do ---- */

enum upkeep_step {
    UPKEEP_CHECK, /* spread the item at target in mode SPREAD_CHECK, saying that the next check is
                     in check_s seconds; then upkeep_checked() */
    UPKEEP_PING,  /* ask contact who it is; then upkeep_answered() */
    UPKEEP_OFFER, /* offer the digests to contact; then upkeep_answered() */
    UPKEEP_GET,   /* get target from contact, for a token; then upkeep_answered() */
    UPKEEP_PUT,   /* put the item at target, as it is now, with token and the time it has left; then
                     upkeep_answered() */
    UPKEEP_SET,   /* write check_s, checked_s and calm of item, unless its seq is higher by now;
                     then upkeep_written() */
    UPKEEP_DROP,  /* remove the item at target, unless its seq is higher by now, and remember the
                     number; then upkeep_written() */
    UPKEEP_STEPS  /* how many there are */
};

struct upkeep_digest {
    struct node_id target;
    uint64_t seq; /* 0: immutable */
};

struct upkeep_action {
    enum upkeep_step step;
    uint32_t ticket;         /* give it back with the result */
    struct node_id target;   /* CHECK, GET, PUT, SET, DROP */
    uint64_t seq;            /* CHECK, SET, DROP: the version meant */
    struct upkeep_item item; /* SET */
    uint32_t check_s;        /* CHECK */
    struct contact contact;  /* PING, OFFER, GET, PUT */
    size_t token_size;       /* PUT */
    uint8_t token[SPREAD_TOKEN_MAX];
    size_t digests_count; /* OFFER */
    struct upkeep_digest digests[UPKEEP_DIGESTS_MAX];
};

/* What a check came to: mostly what spread_result() says. */
struct upkeep_check {
    lb_err err;       /* LB_OK: the lookup came to an end */
    uint64_t seq;     /* the version checked: higher than asked when a newer one was met */
    unsigned nodes;   /* the closest that answered, ourselves not counted */
    unsigned holders; /* of them, that had the item before */
    unsigned lacking; /* of them, that did not */
    bool may_drop;    /* we need not keep it: see spread_result */
    bool gone;        /* the item is not held here any more: there was nothing to check */
};

enum upkeep_outcome {
    UPKEEP_DONE,    /* it answered what was asked; a put: it stored it */
    UPKEEP_REFUSED, /* it answered with an error */
    UPKEEP_SILENT   /* no answer, or it could not be asked */
};

/* What a node answered. Pointers are borrowed. */
struct upkeep_answer {
    enum upkeep_outcome outcome;
    bool littlebird;  /* PING: it is of our kind */
    const char *need; /* OFFER: one UPKEEP_HAS, UPKEEP_WANTS or UPKEEP_DECLINES a digest */
    size_t need_size;
    const uint8_t *token; /* OFFER, GET; longer than SPREAD_TOKEN_MAX counts as none */
    size_t token_size;
    bool has_item; /* GET */
    uint64_t seq;  /* GET: of the item it has */
};

#define UPKEEP_HAS      '0' /* that version or a newer one */
#define UPKEEP_WANTS    '1'
#define UPKEEP_DECLINES '2' /* not among the closest by its own view, or no room */

/* ---- the conversation ---- */

struct upkeep; /* upkeep_inside.h */

struct upkeep_options {
    struct node_id self_id;
    struct upkeep_store store;
    uint64_t check_least_s; /* the shortest interval of checks, at least 1; 600 by default */
    uint64_t seed;
};

struct upkeep *upkeep_new(const struct upkeep_options *options, uint64_t now_ms);
void upkeep_free(struct upkeep **self);

/*
 * The contacts of one family as routing publishes them: ascending by id, never ourselves, at most
 * ROUTING_PAGE_CONTACTS_MAX. Call whenever they have changed. Who was not there before is a
 * newcomer. Those met within UPKEEP_GRACE_MS of the start, while joining fills the table, most
 * likely were there before us: they are offered what is ours to offer once the table has filled,
 * and are counted on as holders at once.
 */
void upkeep_view(struct upkeep *self, enum routing_family family, const struct contact *sorted,
                 uint32_t count, uint64_t now_ms);

/*
 * The store answers for other keys than before: several processes share them out. What is due among
 * them is looked for anew; and who came within UPKEEP_SETTLE_MS is served once more, in case that
 * whoever had these keys before had not got to it.
 */
void upkeep_shared(struct upkeep *self, uint64_t now_ms);

/* What to do now; false: nothing, until an answer comes or the deadline. */
bool upkeep_next(struct upkeep *self, uint64_t now_ms, struct upkeep_action *ret_action);

/* In ms of the same clock; may have passed: then call upkeep_next() in the next turn of the loop.
 */
uint64_t upkeep_deadline_ms(const struct upkeep *self);

/* A ticket that is not on its way is ignored. */
void upkeep_checked(struct upkeep *self, uint32_t ticket, const struct upkeep_check *check,
                    uint64_t now_ms);
void upkeep_answered(struct upkeep *self, uint32_t ticket, const struct upkeep_answer *answer,
                     uint64_t now_ms);

/* written: false when the store could not, as on a full disk; then no check is begun for a while.
 */
void upkeep_written(struct upkeep *self, uint32_t ticket, bool written, uint64_t now_ms);

/* Begin to hand over, and nothing else any more. What was under way is forgotten. */
void upkeep_drain(struct upkeep *self);
bool upkeep_is_drained(const struct upkeep *self); /* every key was offered, and nothing is open */

/* ---- what others say ---- */

/* By the view we have: are we among the k closest to the target, in either family? */
bool upkeep_is_close(const struct upkeep *self, const struct node_id *target);

/* Borrowed. */
const struct node_id *upkeep_self(const struct upkeep *self);

/* Is this node, ourselves or another one, among the k and `slack` more, at most UPKEEP_SLACK? */
bool upkeep_is_near(const struct upkeep *self, const struct node_id *id,
                    const struct node_id *target, unsigned slack);

/*
 * The answer to one digest of an offer. held: what stands here, or NULL; seen_seq: the highest
 * number that stood here and is remembered, 0 when none; has_room: for one more item.
 */
char upkeep_need(const struct upkeep *self, const struct upkeep_digest *digest,
                 const struct upkeep_item *held, uint64_t seen_seq, bool has_room);

/*
 * Another holder of this version sees to the replicas, next in chk_s seconds: put our own check off
 * until a little after, but never farther than UPKEEP_SILENCE longest intervals after the last that
 * we made ourselves, else a liar could silence us. False when that is little or nothing; else write
 * the item as for UPKEEP_SET. An offer received of a key held counts as chk_s = check_least_s.
 */
bool upkeep_postpone(struct upkeep *self, struct upkeep_item *item, uint32_t chk_s, uint64_t now_s);

/* When a key that is put here now is to be checked. */
uint64_t upkeep_first_check_s(struct upkeep *self, uint64_t now_s);

struct upkeep_stats {
    uint64_t checks;       /* that came to their end */
    uint64_t failed;       /* that did not */
    uint64_t lacking;      /* replicas that checks found missing */
    uint64_t dropped;      /* keys we are not responsible for any more */
    uint64_t newcomers;    /* served */
    uint64_t offers;       /* datagrams */
    uint64_t offered;      /* keys in them, or got from nodes of other kinds */
    uint64_t handed_over;  /* puts to newcomers, or while draining, that were acknowledged */
    unsigned samples;      /* that the next two look back on, at most UPKEEP_SAMPLES; 0: none yet */
    unsigned replicas_min; /* ourselves counted when among the k closest or dropped never */
    unsigned replicas_median;
};
struct upkeep_stats upkeep_stats(const struct upkeep *self);

/* A key whose check_s is before this is late: by more than half the longest interval. */
uint64_t upkeep_late_s(const struct upkeep *self, uint64_t now_s);

/* For tests: NULL, or what is broken. */
const char *upkeep_broken(const struct upkeep *self);
