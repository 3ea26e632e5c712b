/*
 * The routing table of one address family: the contacts we know, by distance from our own id.
 *
 * One bucket for each length of the id prefix shared with our own id, which is what BEP 5's
 * splitting of the one bucket that covers our own id comes to. A bucket holds so many contacts and
 * K spares (the replacement list); a spare moves up when a contact turns bad. Contacts that answer
 * are never displaced, so the long-lived stay; but on public addresses one whose id does not fit
 * its address gives its place to one whose id does (BEP 42). Only who has answered a query of ours
 * enters, one entry per id and per address; on public addresses also one per IP, and one per /24
 * (IPv6: /64) in a bucket. BEP 32 keeps two families as two tables. Sources: BEP 5, "Routing
 * Table"; Maymounkov and Mazieres 2002, 2.2 and 2.4; the subnet limits are those of clients of BEP
 * 42's time. Where the two differ we follow BEP 5 (k is 8, not 20). On a private network ids are
 * assigned and stand in certificates (THREATS 2.1): nobody chooses one, so neither BEP 42 nor the
 * limits by subnet and IP hold there, and a whole school may stand behind one public address. Pure;
 * a bucket is allocated at its first use and bounded.
 *
 * Deep down a bucket has K places, in the first TABLE_TOP_LEVELS TABLE_TOP_SIZE: those that hold a
 * key, 20 nodes (storage), must know each other, and those are all nodes of the deepest buckets
 * that are not nearly empty. 1000 simulated nodes, 30 % dead, settled for half a minute (sim-dht
 * --k 20
 * --dead 30 --hours 1 --top A,B,...):
 *
 *                                8 x 16   128,64,32,16,8..   40 x 16   64 x 16
 *     holders that know all 20      7 %          7 %           100 %     100 %
 *     lookups of the 20 exact    96.7 %       98.0 %           100 %     100 %
 *     rounds, mean                  4.3          3.1             3.1       3.1
 *     queries a node and hour       605          950             843       935
 *     memory a node                41.8         54.4            60.6      61.0 kB
 *
 * Right after a class has come up all at once 40 places are too few in one seed of three (99.6 %).
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/routing_page.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TABLE_K            8u /* BEP 5 */
#define TABLE_SPARES_MAX   8u
#define TABLE_FAILURES_BAD 2u  /* unanswered queries in a row; transport has tried each twice */
#define TABLE_TOP_LEVELS   16u /* buckets whose size may be other than K */
#define TABLE_TOP_SIZE     64u
#define TABLE_TOP_SIZE_MAX 128u
#define TABLE_CONTACTS_MAX (TABLE_TOP_LEVELS * TABLE_TOP_SIZE_MAX + NODE_ID_BITS * TABLE_K)

#define TABLE_GOOD_MS        (15u * 60 * 1000) /* BEP 5: good for 15 minutes after it was seen */
#define TABLE_REFRESH_MS     (15u * 60 * 1000) /* BEP 5: a bucket untouched that long is refreshed */
#define TABLE_FORGET_MS      (24u * 3600 * 1000) /* a bad contact is tried again for this long */
#define TABLE_FAILURE_GAP_MS 1000u /* failures closer together are one: parallel queries */
#define TABLE_RETRY_LEAST_MS 4000u /* then doubled with each unanswered query */
#define TABLE_RETRY_MOST_MS  (10u * 60 * 1000)

_Static_assert(TABLE_CONTACTS_MAX <= ROUTING_PAGE_CONTACTS_MAX, "a table fits into its page");

struct random;

enum table_state { TABLE_GOOD, TABLE_QUESTIONABLE, TABLE_BAD, TABLE_SPARE };

enum table_verdict {
    TABLE_ADDED,    /* it has a place now */
    TABLE_KEPT,     /* it had one already, or is a known spare */
    TABLE_WAITING,  /* its bucket is full; it is a spare now */
    TABLE_PROBE,    /* ping *ret_probe, and say how it went */
    TABLE_CONFLICT, /* another address holds this id: ping that one, *ret_probe; who answers stays
                     */
    TABLE_REFUSED,  /* no place for it: ourselves, an unusable address, a limit */
    TABLE_UNKNOWN   /* it is not in the table */
};

struct table_entry {
    struct contact contact;
    uint32_t rtt_us;
    uint64_t entered_ms;
    uint64_t answered_ms; /* its last answer to us */
    uint64_t seen_ms;     /* its last answer or query */
    uint64_t failed_ms;   /* its last failure; 0: none since its last answer */
    uint64_t asked_ms;    /* when table_next_probe() last named it */
    uint8_t failures;     /* that count, see table_silent() */
    bool misfit;          /* its id does not fit its public address (BEP 42) */
    uint8_t unanswered;   /* all of them since its last answer; saturates */
};

struct table_row {
    struct table_entry *entries; /* in the order in which they came */
    uint32_t count, capacity;
};

struct table_bucket {
    struct table_row places, spares;
    uint64_t refresh_ms; /* when it is due for a refresh */
};

struct table {
    struct node_id self_id;
    enum routing_family family;
    struct random *random; /* borrowed */
    uint8_t top_sizes[TABLE_TOP_LEVELS];
    struct table_bucket *buckets[NODE_ID_BITS]; /* NULL: never used */
    uint32_t count;                             /* of all places */
    uint32_t silent_count;                      /* places that left our last query unanswered */
    uint64_t answered_ms;                       /* the last answer of anybody */
    uint64_t due_ms;                            /* no place is due for a ping before */
    uint64_t version;   /* grows when the contacts worth passing on change */
    bool are_certified; /* ids are, on a private network; to be set before the first contact */
};

/* random is kept. Free with table_done. */
void table_init(struct table *self, const struct node_id *self_id, enum routing_family family,
                struct random *random);
void table_done(struct table *self);

/*
 * A contact has just answered a query of ours. TABLE_ADDED, TABLE_KEPT, TABLE_WAITING, TABLE_PROBE
 * (it waits as a spare; *ret_probe is the questionable contact that was not seen for the longest
 * time), TABLE_CONFLICT or TABLE_REFUSED. *ret_probe is untouched but for the two that say so.
 */
enum table_verdict table_answered(struct table *self, const struct contact *contact,
                                  uint32_t rtt_us, uint64_t now_ms, struct contact *ret_probe);

/*
 * A contact has sent us a query, which proves nothing about its address. TABLE_KEPT when we know
 * it, TABLE_PROBE when it is worth a ping (*ret_probe is the contact itself), else TABLE_REFUSED.
 */
enum table_verdict table_heard(struct table *self, const struct contact *contact, uint64_t now_ms,
                               struct contact *ret_probe);

/*
 * A contact left our query unanswered. A failure counts only when somebody else has answered since
 * the one before: when everything is silent it is we who are cut off, and contacts turn
 * questionable but not bad. TABLE_KEPT, or TABLE_UNKNOWN when it is not there or has lost its
 * place.
 */
enum table_verdict table_silent(struct table *self, const struct contact *contact, uint64_t now_ms);

/* The holder of an id did not answer the challenge of TABLE_CONFLICT: it is bad at once. */
void table_lost_challenge(struct table *self, const struct contact *contact, uint64_t now_ms);

/*
 * A node has been put out of the network: it loses its place. *ret_contact is what stood there.
 * False: it did not.
 */
bool table_forget(struct table *self, const struct node_id *id, struct contact *ret_contact);

/* Whether a contact that only others have told us of would find a free place or a bad contact's. */
bool table_has_place(const struct table *self, const struct contact *contact, uint64_t now_ms);

/* The next contact due for a ping: questionable ones, failures to confirm, bad ones now and then.
 */
bool table_next_probe(struct table *self, uint64_t now_ms, struct contact *ret_contact);
/* Not later than the next is due, and exact after table_next_probe(). */
uint64_t table_probe_deadline_ms(struct table *self);

/* A lookup of target begins: its bucket needs no refresh for a while. */
void table_touch(struct table *self, const struct node_id *target, uint64_t now_ms);

/* Likewise for all buckets from this one on: a lookup of our own id has found all in them. */
void table_touch_from(struct table *self, unsigned bucket, uint64_t now_ms);

/* A bucket that is due for a refresh, of those up to our nearest neighbour's. */
bool table_next_refresh(const struct table *self, uint64_t now_ms, unsigned *ret_bucket);
uint64_t table_refresh_deadline_ms(const struct table *self);

/* One more than the number of the deepest bucket with a contact; 0: the table is empty. */
unsigned table_depth(const struct table *self);

unsigned table_bucket_size(const struct table *self, unsigned bucket);

enum table_state table_entry_state(const struct table_entry *entry, uint64_t now_ms);

/* How many contacts are good. */
size_t table_good_count(const struct table *self, uint64_t now_ms);

/*
 * The contacts to pass on and to begin lookups with (good and questionable), ascending by id.
 * ret_contacts has room for self->count. Returns how many.
 */
size_t table_sorted(const struct table *self, struct contact *ret_contacts);

/* Calls visit for every entry, bucket by bucket, places before spares. */
typedef void table_visit_fn(void *ctx, unsigned bucket, enum table_state state,
                            const struct table_entry *entry);
void table_each(const struct table *self, uint64_t now_ms, table_visit_fn *visit, void *ctx);

/* For tests: every invariant above. Returns NULL, or what is broken. */
const char *table_check(const struct table *self);
