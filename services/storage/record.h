/*
 * What stands in the database, byte by byte (db.h names the tables). Big endian throughout, so that
 * LMDB's order of keys is the order of numbers. Every record carries a version; reading one trusts
 * nothing: a record that does not parse is LB_CORRUPT and its reader leaves it out. Times are
 * seconds of the store clock (store_clock.h). Pure.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/bytes.h"
#include "services/storage/item.h"

#include <stdbool.h>
#include <stdint.h>

#define RECORD_VERSION    1
#define RECORD_VERSION_2  2     /* of items and publications; version 1 is read */
#define RECORD_ITEM_MAX   1280u /* bytes of an item's record */
#define RECORD_PEER_MAX   64u
#define RECORD_PEER_HEAD  23u /* the most bytes of a peer record that name the peer */
#define RECORD_DUE_MAX    64u
#define RECORD_DUE_ID_MAX (RECORD_DUE_MAX - 9u)

/* Where a put came from; the port is kept to tell one sender's duplicates from another's put. */
struct record_source {
    bool is_self;           /* this node's own programs */
    struct address address; /* unless is_self */
};

bool record_source_equal(const struct record_source *a, const struct record_source *b);

/* items: target -> this. Version 1 had no times of upkeep: they are read as 0. */
struct item_record {
    struct item item;            /* points into the record */
    uint64_t first_s;            /* since when this target is here */
    uint64_t stored_s;           /* last put or refreshed */
    uint64_t ends_s;             /* its last second; 0: not said, so item_ttl after stored_s */
    uint64_t check_s;            /* when its replicas are to be checked; 0: never */
    uint64_t checked_s;          /* when this node last did so itself, or received it first */
    uint8_t calm;                /* how often in a row nothing was lacking (upkeep.h) */
    struct record_source source; /* of the last change */
};
void item_record_put(const struct item_record *self, struct writer *to);
LB_MUST_CHECK lb_err item_record_get(struct bytes from, struct item_record *ret_self);

/*
 * peers: infohash -> many of these, sorted. They begin with a hash of the peer's address, so that
 * starting at a random place gives a fair choice even when all addresses are neighbours.
 */
struct peer_record {
    struct address peer; /* is_self: IP 0.0.0.0, for whatever address we are seen under */
    bool is_self;
    bool seed;
    uint64_t announced_s;
    struct record_source source;
};
void peer_record_put(const struct peer_record *self, struct writer *to);
/* Only the part that names the peer: what all its records begin with. */
void peer_record_put_head(const struct address *peer, struct writer *to);
LB_MUST_CHECK lb_err peer_record_get(struct bytes from, struct peer_record *ret_self);

/* published: group (20 bytes: the target of the root) + target (20 bytes) -> this */
struct publication_record {
    uint64_t version;   /* which version of the group it belongs to */
    uint64_t due_s;     /* when it is put again */
    uint8_t tries;      /* how often it was put again, up to 255 */
    uint64_t renewed_s; /* when it was last put on all replicas; 0: never (version 1) */
    struct bytes item;  /* an item record */
};
void publication_record_put(const struct publication_record *self, struct writer *to);
LB_MUST_CHECK lb_err publication_record_get(struct bytes from, struct publication_record *ret_self);

/* seen: target -> this: the sequence number of an item we no longer keep */
struct seen_record {
    uint64_t seq;
    uint64_t until_s;
};
void seen_record_put(const struct seen_record *self, struct writer *to);
LB_MUST_CHECK lb_err seen_record_get(struct bytes from, struct seen_record *ret_self);

/* quotas: who (policy.h) -> this */
struct quota_record {
    uint64_t count;
    uint64_t bytes;
};
void quota_record_put(const struct quota_record *self, struct writer *to);
LB_MUST_CHECK lb_err quota_record_get(struct bytes from, struct quota_record *ret_self);

/* due: this as the key, nothing as the value */
/* The numbers stand in the store: new ones at the end. */
enum due_kind {
    DUE_ITEM = 1,
    DUE_PEER,
    DUE_SEEN,
    DUE_PUBLISH,
    DUE_CHECK,
    DUE_MAIL,
    DUE_CERTIFICATE,
    DUE_BOX, /* when its replicas are to be checked */
    DUE_KINDS
};
struct due_record {
    enum due_kind kind;
    uint64_t due_s;
    struct bytes id; /* ITEM, SEEN, CHECK: target; PEER: infohash and head; PUBLISH: group and
                        target; MAIL: recipient and id; CERTIFICATE, BOX: node id */
};
void due_record_put(const struct due_record *self, struct writer *to);
LB_MUST_CHECK lb_err due_record_get(struct bytes from, struct due_record *ret_self);
