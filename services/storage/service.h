/*
 * lb-storage: the state of the service and what its files offer each other.
 *
 *     questions.c   what other nodes ask, through transport
 *     puts.c gets.c removes.c announces.c   what this node's programs ask
 *     replicas.c    keeps every key on the k closest (upkeep.h decides)
 *     boxes.c       on a private network: what is kept here for other members (box.h), likewise
 *     errand.c      one item or announcement on its way to the k closest (spread.h decides)
 *     watches.c     gets that wait for a newer version
 *     audits.c      how many replicas there are
 *     find.c        one lookup
 *     republish.c   what was put here is kept alive while we run
 *     commits.c     the way to disk
 *     share.c       what this instance sees to, when there are several
 *
 * Several instances share one LMDB environment, and any of them can carry out any request: what
 * decides (versions, sequence numbers seen, compare-and-set, quotas, what gives way) is read and
 * written in one write transaction, and LMDB has one writer at a time, over all processes. So it
 * does no harm when two hold themselves for the owner of a key while their number changes.
 *
 *     in the environment   items, peers, numbers seen, quotas, publications, what is due and when,
 *                          the store clock
 *     in shared memory     the presence page: made by the first instance, added to by all
 *     in each instance     requests under way, the commits' queue, watches, lookups and errands;
 * the upkeep of its share of the keys (share.h), whose times stand in the environment; the samples
 * of BEP 51, asked of the first alone
 *
 * The first instance sweeps, keeps the clock, clears readers that dead processes left and tells the
 * figures of the whole store, so that the counters of all instances add up.
 */
#pragma once

#include "libcommon/actor.h"
#include "libcommon/grace.h"
#include "libcommon/identity.h"
#include "libcommon/instances.h"
#include "libcommon/random.h"
#include "proto/routing.pb-c.h"
#include "proto/storage.pb-c.h"
#include "proto/transport.pb-c.h"
#include "services/storage/commits.h"
#include "services/storage/db.h"
#include "services/storage/node_key.h"
#include "services/storage/presence.h"
#include "services/storage/share.h"
#include "services/storage/value.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define STORAGE_ERRANDS_MAX   512u /* on their way at once; more answers FULL */
#define STORAGE_FINDS_MAX     512u
#define STORAGE_PUTS_MAX      256u
#define STORAGE_GETS_MAX      256u
#define STORAGE_WATCHES_MAX   64u /* gets that wait for a newer version; more answers FULL */
#define STORAGE_PARALLEL      16u /* parts of one large value on their way */
#define STORAGE_REPAIRS_MAX   8u
#define STORAGE_REPUBLISH_MAX 4u
#define STORAGE_TIME_MS       60000u /* for a caller that names no time */
#define STORAGE_PACE_MS       50u

struct answer_memory;
struct auditing;
struct boxes;
struct errand;
struct find;
struct getting;
struct local_address;
struct putting;
struct replicas;

struct storage {
    struct actor *actor; /* borrowed, as the links and counters */
    struct db *db;
    struct presence presence;
    struct commits *commits;
    struct link *routing;
    struct grace grace;
    struct instances transports;
    struct share share;
    struct random random;
    struct node_key key;
    lb_err key_err;
    bool is_member; /* of a private network, as `identity` says */
    struct identity identity;
    struct local_address *local_address;
    struct answer_memory *answer_memory; /* of questions.c */

    struct replicas *replicas;
    struct boxes *boxes; /* NULL on the open network */
    struct errand *errands;
    unsigned errands_count;
    unsigned repairs_count;
    struct find *finds;
    unsigned finds_count;
    struct putting *puttings;
    unsigned puttings_count;
    unsigned gettings_count;
    struct getting *watches;
    unsigned watches_count;    /* those being answered too */
    uint64_t watched_commit;   /* they were looked for after this one (db_last_commit) */
    struct auditing *auditing; /* NULL: none */
    unsigned republishing;
    bool is_taking; /* a look for what is to be put again is under way */
    bool is_sweeping;
    bool is_saving_clock;
    bool is_asked_to_stop;
    bool is_draining;  /* and nothing serves in our place: nothing new */
    bool is_stopping;  /* the process ends now */
    uint64_t drain_ms; /* when we were asked to stop */
    uint64_t removed;  /* since the presence page was built */

    uv_timer_t tick;  /* care: every second */
    uv_timer_t pace;  /* retries of errands and finds, while there are any */
    uint64_t tick_ms; /* when the next is due */
    unsigned ticks;
    struct commit sweep_commit;
    struct commit clock_commit;
    struct status_counter *counters[32];
};

enum storage_counter {
    COUNTER_ITEMS,
    COUNTER_ITEM_BYTES,
    COUNTER_PEERS,
    COUNTER_PUBLISHED,
    COUNTER_DISK_BYTES,
    COUNTER_QUESTIONS,
    COUNTER_STORED,
    COUNTER_REFUSED,
    COUNTER_PUTS,
    COUNTER_GETS,
    COUNTER_REPUBLISHED,
    COUNTER_REPAIRED,
    COUNTER_EXPIRED,
    COUNTER_COMMITS,
    COUNTER_COMMIT_US,
    COUNTER_CHECKS,
    COUNTER_CHECKS_FAILED,
    COUNTER_REPLICAS_MIN, /* as the last checks found them, our own copy counted */
    COUNTER_REPLICAS_MEDIAN,
    COUNTER_OVERDUE,
    COUNTER_OFFERED,
    COUNTER_HANDED_OVER,
    COUNTER_DROPPED,
    COUNTER_BOX_MAILS,
    COUNTER_BOX_BYTES,
    COUNTER_BOX_CERTIFICATES,
    COUNTER_BOX_KEPT,
    COUNTER_BOX_REFUSED,
    COUNTER_BOX_CHECKS,
    COUNTER_BOX_DROPPED,
    COUNTER_BOX_PARTS
};

extern const struct service_definition storage_definition;

void storage_count(struct storage *self, enum storage_counter counter, uint64_t by);
void storage_set_counter(struct storage *self, enum storage_counter counter, uint64_t value);
uint64_t storage_now_s(const struct storage *self); /* store clock */
uint64_t storage_now_ms(const struct storage *self);

/* Seconds an item that is stored here still has, at least 1. */
uint64_t storage_rest_of_life_s(const struct storage *self, const struct item_record *record);

/* storage.value_ttl, in seconds. */
uint64_t storage_value_ttl_s(const struct storage *self);

/* The seed of the key pair that a shared KEY has in our network. LB_INVALID: value.h. */
LB_MUST_CHECK lb_err storage_shared_seed(const struct storage *self, struct bytes key,
                                         uint8_t ret_seed[ED25519_SEED_SIZE]);

/* When to be finished with a call: a little before its caller gives up. */
uint64_t storage_deadline_ms(const struct storage *self, const struct call *call);

/* See that errand_pace() and find_pace() are called after this time, at the latest. */
void storage_need_pace(struct storage *self, uint64_t delay_ms);

/* Who asks at this address. */
struct link *storage_transport(const struct storage *self, const struct address *address);

handler_fn on_questions, on_put, on_get, on_remove, on_audit, on_announce, on_get_stats;

/* Keep alive what is due. Every second. */
void republish_tick(struct storage *self);

/* Remember an item of our own, which has just been put for storage_value_ttl_s(); the first time it
 * is due is chosen by how many acknowledged it. */
struct db_publication republish_first(struct storage *self, const struct node_id *group,
                                      const struct node_id *target, uint64_t version,
                                      unsigned acknowledged);

/* The process ends: free what is still kept, answer nothing. */
void puts_cancel(struct storage *self);
