/*
 * The store on disk: one LMDB environment, shared by all instances of lb-storage of a node.
 *
 * Tables (their records stand in record.h and box.h): items, peers, published, seen, quotas, due,
 * meta, and those of the box (db_box.h). What must be taken up again at some time has one row in
 * `due`. Refreshing a peer does not move its row: whoever finds the row due looks at the record
 * and, when it is too early, sets the row again.
 *
 * LMDB runs with its default flags: every commit is synced, readers never wait, no SIGBUS on a full
 * disk (THREATS 2, rows 21 and 24). Writes come as a list of operations and share transactions;
 * db_apply() is called by one thread of the process. Reads belong to the thread that opened it. Two
 * rules of LMDB: not to be used after fork(), not to be opened twice in one process.
 */
#pragma once

#include "libcommon/error.h"
#include "services/storage/db_box.h"
#include "services/storage/item.h"
#include "services/storage/policy.h"
#include "services/storage/record.h"
#include "services/storage/samples.h"
#include "services/storage/store_clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct db; /* opaque */

/* The targets from first to last, those included. Where a pointer to one is wanted NULL is all. */
struct db_range {
    struct node_id first, last;
};

struct db_options {
    const char *folder; /* made when it is missing */
    uint64_t map_bytes; /* the most the data file may take */
    uint64_t item_ttl_s;
    uint64_t peer_ttl_s;
};

/*
 * LB_CORRUPT: the file is none of ours; LB_UNSUPPORTED: a newer version of the store; LB_NO_SPACE,
 * LB_DENIED, LB_IO: the system said so, errno tells. Clears the readers that dead processes left.
 */
LB_MUST_CHECK lb_err db_open(struct db **ret_db, const struct db_options *options,
                             const struct store_moment *now);
void db_close(struct db **self);

/*
 * Move a file that is LB_CORRUPT aside, so that nothing is lost and db_open can begin a new one.
 * LB_EXISTS: another process has it open, and would go on writing to it.
 */
LB_MUST_CHECK lb_err db_set_aside(const char *folder);

/* The store clock at this monotonic time. */
uint64_t db_now_ms(const struct db *self, uint64_t monotonic_ms);
uint64_t db_now_s(const struct db *self, uint64_t monotonic_ms);

/* ---- writing: operations ---- */

enum db_op_kind {
    DB_PUT,       /* store an item, or refresh it */
    DB_ANNOUNCE,  /* store a peer */
    DB_PUBLISH,   /* remember an item of our own, to be put again */
    DB_PRUNE,     /* forget the parts of a group that are of another version */
    DB_UNPUBLISH, /* forget a whole group, but for parts of a later version */
    DB_TAKE_DUE,  /* the publications that are due; they are set back by retry_s */
    DB_SWEEP,     /* remove what has expired */
    DB_SAVE_CLOCK,
    DB_SET_CHECK, /* when the replicas of an item are to be checked */
    DB_DROP,      /* an item that others keep; its number is remembered */

    DB_KEEP_MAIL, /* db_box.h */
    DB_DROP_MAIL,
    DB_PUT_CERTIFICATE,
    DB_SET_BOX, /* when the replicas of a box are to be checked */
    DB_DROP_BOX /* that others keep */
};

#define DB_TAKE_MAX 8u

struct db_put {
    struct node_id target;
    struct item
        item; /* verified; the bytes are the submitter's and stay until the operation ends */
    struct record_source source;
    bool
        keeps_source; /* of what stands there, if anything does: a check brings it, nobody put it */
    bool has_cas;
    uint64_t cas;
    uint64_t ttl_s; /* it ends so long from now, unless it has longer already; 0: item_ttl_s */
    /*
     * When its replicas are to be checked; 0: never. A refresh puts the check off until then, but
     * not farther than silence_s after this node's own last one.
     */
    uint64_t check_s, silence_s;
    enum item_verdict verdict; /* result */
};

/* SET_CHECK, DROP: of this version or an older one. Else LB_NOT_FOUND. */
struct db_check {
    struct node_id target;
    uint64_t seq; /* 0: immutable */
    uint64_t check_s, checked_s;
    uint8_t calm;
};

struct db_announce {
    struct node_id infohash;
    struct address peer; /* with IP 0.0.0.0: ourselves */
    bool seed;
    struct record_source source;
    uint32_t random; /* picks the one that gives way */
};

struct db_publication {
    struct node_id group;
    struct node_id target;
    uint64_t version;
    uint64_t due_s;
    uint64_t renewed_s; /* when it was last put on all replicas; 0: never */
    uint8_t tries;
};

struct db_publish {
    struct db_publication publication;
    struct item item;
    bool is_again; /* only if this version of it stands there; else LB_NOT_FOUND */
};

/* A publication that is due, copied out. */
struct db_taken {
    struct db_publication publication;
    size_t record_size;
    uint8_t record[RECORD_ITEM_MAX];
};

struct db_take {
    uint32_t wanted; /* at most DB_TAKE_MAX */
    uint64_t retry_s;
    const struct db_range *range; /* of the groups; the submitter's */
    struct db_taken *taken;       /* the submitter's array of DB_TAKE_MAX */
    uint32_t taken_count;         /* result */
};

struct db_sweep {
    uint32_t budget;  /* rows to look at */
    uint32_t removed; /* result */
    bool more;        /* result: the budget did not suffice */
};

struct db_op {
    struct db_op *next;
    enum db_op_kind kind;
    uint64_t now_s; /* store clock */
    /*
     * Result: LB_OK, LB_NO_SPACE (disk or map), LB_FULL (a limit of policy.h), LB_CONFLICT (DB_PUT:
     * see verdict), LB_NOT_FOUND (PUBLISH, SET_CHECK, DROP), LB_IO or LB_CORRUPT (the store is
     * unusable).
     */
    lb_err err;
    union {
        struct db_put put;
        struct db_announce announce;
        struct db_publish publish;
        struct db_publication group; /* PRUNE, UNPUBLISH: group and version */
        struct db_take take;
        struct db_sweep sweep;
        struct store_moment moment; /* SAVE_CLOCK */
        struct db_check check;      /* SET_CHECK, DROP */
        struct db_keep keep;
        struct db_drop_mail drop_mail;
        struct db_certify certify;
        struct db_box_check box; /* SET_BOX, DROP_BOX */
    };
};

/*
 * Carry out a list of operations in order and commit them, together when there is room, else in
 * smaller groups. Each has its result when this returns, and what is LB_OK is on disk. own_id (may
 * be NULL) decides what gives way. Returns LB_OK, or LB_IO or LB_CORRUPT when the store is
 * unusable: end the process, a failed fsync must not be tried again.
 */
LB_MUST_CHECK lb_err db_apply(struct db *self, struct db_op *first, const struct node_id *own_id);

typedef void db_target_fn(void *ctx, const struct node_id *target);
typedef lb_err db_finish_fn(void *ctx);

/*
 * Call each() for every target and infohash there is, then finish(), while no process can commit: a
 * point at which the presence page is exact. The thread of db_apply.
 */
LB_MUST_CHECK lb_err db_each_target(struct db *self, db_target_fn *each, db_finish_fn *finish,
                                    void *ctx);

/* ---- reading ---- */

/* What was read stays valid between these. LB_IO when LMDB refuses. Short: a batch, no longer. */
LB_MUST_CHECK lb_err db_read_begin(struct db *self);
void db_read_end(struct db *self);

/* LB_NOT_FOUND when there is none, or it has expired. ends_s is always set. */
LB_MUST_CHECK lb_err db_read_item(struct db *self, const struct node_id *target, uint64_t now_s,
                                  struct item_record *ret_record);

/* The item with the least target that is not less than `from`, and has not expired. LB_NOT_FOUND
 * when there is none. */
LB_MUST_CHECK lb_err db_read_next_item(struct db *self, const struct node_id *from, uint64_t now_s,
                                       struct node_id *ret_target, struct item_record *ret_record);

/*
 * Of the items in this range, in the order of their check_s, the one behind `skip` others that have
 * not ended either. LB_NOT_FOUND, too, when more than DB_ENDED_WALK_MAX that wait for the sweep, or
 * DB_OTHERS_WALK_MAX that lie outside, are in the way.
 */
#define DB_ENDED_WALK_MAX  1024u
#define DB_OTHERS_WALK_MAX 16384u
LB_MUST_CHECK lb_err db_read_check(struct db *self, const struct db_range *range, uint32_t skip,
                                   uint64_t now_s, struct node_id *ret_target,
                                   struct item_record *ret_record);

/* How many items of this range have a check_s before that; looks at max, of all, at most. */
uint32_t db_read_overdue(struct db *self, const struct db_range *range, uint64_t before_s,
                         uint32_t max);

/* The highest number that once stood there and is remembered, 0 when none is. */
uint64_t db_read_seen(struct db *self, const struct node_id *target, uint64_t now_s);

/* The disk takes new items: its free space is above the reserve. */
bool db_has_room(const struct db *self);

/* The item of our own that lies at this target, in the group it is the root of. */
LB_MUST_CHECK lb_err db_read_published(struct db *self, const struct node_id *root,
                                       struct item_record *ret_record);

struct db_peers_query {
    struct node_id infohash;
    bool v6; /* else IPv4; ourselves are in both */
    bool no_seeds;
    uint32_t random;  /* where to start */
    size_t peers_max; /* at most POLICY_PEERS_MAX */
};
size_t db_read_peers(struct db *self, const struct db_peers_query *query, uint64_t now_s,
                     struct peer_record *ret_peers);

/* Call each() for every peer of the infohash, of both families, seeds and others. */
typedef void db_peer_fn(void *ctx, const struct peer_record *peer);
void db_each_peer(struct db *self, const struct node_id *infohash, uint64_t now_s, db_peer_fn *each,
                  void *ctx);

/*
 * Choose infohashes anew: at most DB_SAMPLE_WALK_MAX are walked over, from a random one on. Is that
 * not all, total is estimated from how many peers they have. An infohash whose peers have just
 * expired may be among them until it is swept.
 */
#define DB_SAMPLE_WALK_MAX 16384u
void db_read_samples(struct db *self, uint64_t now_s, struct random *random,
                     struct samples *ret_samples);

/*
 * Is anything of this kind due, the id of which begins with a target of this range? Looks at
 * DB_OTHERS_WALK_MAX that do not.
 */
bool db_read_is_due(struct db *self, enum due_kind kind, const struct db_range *range,
                    uint64_t now_s);

/* Grows with each commit of any process: is it another than before, something was written. */
uint64_t db_last_commit(const struct db *self);

struct db_stats {
    uint64_t items;
    uint64_t item_bytes; /* of the pages they take */
    uint64_t peers;
    uint64_t published;
    uint64_t disk_bytes;
};
void db_read_stats(struct db *self, struct db_stats *ret_stats);

/* Readers that dead processes left behind keep old pages alive: call now and then. */
void db_check_readers(struct db *self);
