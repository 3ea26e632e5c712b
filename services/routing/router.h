/*
 * The whole of lb-routing but its sockets: both tables, joining, lookups, probes.
 *
 * One conversation for the shell and the simulator alike: router_next says which query to send,
 * router_reply and router_sighting take what came, router_deadline_ms says when to call router_next
 * again even if nothing comes. After each of these, router_finished hands out the searches that
 * ended, and router_version tells whether the contacts to publish have changed. Pure.
 */
#pragma once

#include "services/routing/external.h"
#include "services/routing/join.h"
#include "services/routing/probes.h"
#include "services/routing/query.h"
#include "services/routing/recall.h"
#include "services/routing/search.h"
#include "services/routing/silence.h"
#include "services/routing/snapshot.h"
#include "services/routing/table.h"

#include "libcommon/random.h"

#define ROUTER_LOOKUPS_MAX   256u /* searches running at once for others */
#define ROUTER_WAITING_MAX   64u  /* and waiting for one of these; more are refused */
#define ROUTER_OWN_MAX       8u   /* searches of our own */
#define ROUTER_SEARCHES_MAX  (ROUTER_LOOKUPS_MAX + ROUTER_WAITING_MAX + ROUTER_OWN_MAX)
#define ROUTER_REFRESHES_MAX 2u     /* of our own that refresh buckets, at once */
#define ROUTER_FLIGHTS_MAX   1024u  /* queries on their way; then nothing new is asked */
#define ROUTER_PROBES_MAX    32u    /* pings on their way */
#define ROUTER_INTROS_MAX    16u    /* addresses being tried by hand at once */
#define ROUTER_SEARCH_MS     60000u /* a search ends with what it has after this */
#define ROUTER_JOIN_MS       2000u  /* a search waits for a join under way, this long at most */
#define ROUTER_PAUSE_MS      50u    /* after transport was not there */
#define ROUTER_SLOW_LEAST_MS 100u   /* bounds of the time after which a query gives its slot away */
#define ROUTER_SLOW_MOST_MS  1000u
#define ROUTER_SEEDS         16u /* contacts a search begins with, and for each path */
#define ROUTER_SEEDS_MAX     (ROUTER_SEEDS * SEARCH_PATHS_MAX)
#define ROUTER_WIDE_K        48u  /* neighbours that a wide lookup of our own id looks for */
#define ROUTER_MET_DELAY_MS  400u /* a lookup under way may ask those it met itself */
#define ROUTER_REPROBE_MS                                                                          \
    5000u /* who was silent is not pinged again sooner because it queries us */

enum flight_purpose { FLIGHT_FREE, FLIGHT_LOOKUP, FLIGHT_PROBE, FLIGHT_SEED, FLIGHT_INTRO };

struct flight {
    enum flight_purpose purpose;
    uint32_t serial;
    struct contact contact; /* id all zero when not known */
    struct probe probe;
    uint32_t search_serial, lookup_ticket, seed;
    uint16_t search, intro;
    uint8_t lookup; /* of the search's */
};

/* An address somebody asked us to join through. */
struct intro {
    enum { INTRO_FREE, INTRO_WAITING, INTRO_ASKED, INTRO_ANSWERED, INTRO_SILENT } state;
    struct address address;
    struct node_id id; /* INTRO_ANSWERED */
    void *ctx;
    uint8_t unsent;
};

enum sighting_kind { SIGHTING_QUERIED, SIGHTING_ANSWERED, SIGHTING_SILENT };

struct router_stats {
    uint64_t queries, answers, refused, silent, unsent;
    uint64_t probes, lookups, refreshes, conflicts, added, forgotten;
};

struct router {
    struct node_id self_id;
    struct random random;
    struct table tables[ROUTING_FAMILIES];
    struct silence silence;
    struct recall recall;
    struct external externals[ROUTING_FAMILIES];
    struct probes probes;
    struct join join;
    struct search **searches; /* searches_count of them, NULL where one has ended */
    uint32_t searches_count, searches_asked, searches_running, searches_own, searches_refresh;
    uint32_t next_search, next_serial;
    struct flight *flights;
    uint32_t flights_count, flights_used, probing;
    struct intro intros[ROUTER_INTROS_MAX];
    unsigned far_buckets; /* the first so many, which the last lookup of our own id left out */
    unsigned paths;       /* of searches that do not say how many; 1 until it is set */
    bool are_certified;   /* ids are: router_trust_ids() */
    uint64_t began_ms;
    uint64_t paused_ms;                /* nothing is sent before */
    uint64_t maintenance_ms;           /* when tables are looked through next */
    uint64_t rtt_us, rtt_deviation_us; /* of all answers; 0: none yet */
    struct contact *sorted[ROUTING_FAMILIES];
    uint32_t sorted_count[ROUTING_FAMILIES];
    uint64_t sorted_version[ROUTING_FAMILIES];
    struct router_stats stats;
};

/* seed: of all random choices. expects_bootstrap: as join_init. Free with router_free. */
struct router *router_new(const struct node_id *self_id, uint64_t seed, bool expects_bootstrap,
                          uint64_t now_ms);
void router_free(struct router **self);

/*
 * We are on a private network: ids are assigned, and transport lets nobody say another than his
 * own. What is there against made-up ids does not hold then (table.h, crowd.h), and no id, ours
 * neither, has to fit an address. To be said before anything else.
 */
void router_trust_ids(struct router *self);

/* Where to join: bootstrap addresses, and what the snapshot kept (asked, not trusted). */
void router_add_bootstrap(struct router *self, const struct address *address);
void router_add_seed(struct router *self, const struct address *address);
void router_load(struct router *self, const struct snapshot *snapshot);

/* Fills the snapshot with the contacts worth keeping, those that entered first first. */
void router_save(const struct router *self, uint64_t now_ms, struct snapshot *ret_snapshot);

/* ---- the conversation ---- */

bool router_next(struct router *self, uint64_t now_ms, struct query *ret_query);

/* ticket: of the query. A ticket that is not on its way is ignored. */
void router_reply(struct router *self, uint32_t ticket, const struct reply *reply, uint64_t now_ms);

void router_sighting(struct router *self, enum sighting_kind kind, const struct contact *contact,
                     uint32_t rtt_us, uint64_t now_ms);

/* A node was put out of the private network: nothing is known of it any more. */
void router_forget(struct router *self, const struct node_id *id);

/* UINT64_MAX: nothing is due. */
uint64_t router_deadline_ms(const struct router *self);

/* ---- searches ---- */

/*
 * Begin a search; order is copied and comes back with it. While we are joining it waits,
 * ROUTER_JOIN_MS or half of its time at most: from an empty table it would find nobody. LB_FULL
 * when ROUTER_LOOKUPS_MAX run and ROUTER_WAITING_MAX wait.
 */
LB_MUST_CHECK lb_err router_search(struct router *self, const struct search_order *order,
                                   uint64_t now_ms);

/* The next search that ended, or NULL. The caller frees it with search_free. */
struct search *router_finished(struct router *self, uint64_t now_ms);

/* For the end: take out a search asked for that has not ended; NULL: there is none. */
struct search *router_drop_search(struct router *self);

/* ---- introductions ---- */

/* Ask who is at an address and join through it. LB_FULL when ROUTER_INTROS_MAX are being asked. */
LB_MUST_CHECK lb_err router_introduce(struct router *self, const struct address *address,
                                      void *ctx);

/* The next introduction that ended (state INTRO_ANSWERED or INTRO_SILENT). */
bool router_introduced(struct router *self, struct intro *ret_intro);

/* For the end: take out one that has not ended. */
bool router_drop_intro(struct router *self, struct intro *ret_intro);

/* ---- views ---- */

/* Grows whenever the contacts of router_sorted change. */
uint64_t router_version(const struct router *self);

/* The contacts of one family to publish, ascending by id; borrowed until the next call. */
const struct contact *router_sorted(struct router *self, enum routing_family family,
                                    uint32_t *ret_count);
struct join_view router_view(const struct router *self);
bool router_is_joined(const struct router *self);
/*
 * Whether our id is known not to fit our public address; then *ret_address is that one (BEP 42).
 * With a public address in both families the IPv4 one counts.
 */
bool router_is_misfit(const struct router *self, struct address *ret_address);
size_t router_good_count(const struct router *self, uint64_t now_ms);

/* For tests: NULL, or what is broken. */
const char *router_check(const struct router *self);
