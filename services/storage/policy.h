/*
 * What the store keeps, for how long, for whom, and what gives way (THREATS 2, row 5).
 *
 * The space is limited as pages in use, so that copy-on-write always finds room: items may take
 * POLICY_ITEMS_PERCENT of the map, everything together POLICY_ALL_PERCENT. When items are full, the
 * one farthest from our own id gives way to a nearer one; among the equally far the oldest. No
 * source takes more than its share: on public addresses a source is a /24 or a /56, inside a site
 * (where a whole class is one /24) a single address. This node's own programs are not counted.
 * Pure.
 */
#pragma once

#include "libcommon/address.h"
#include "services/storage/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLICY_ITEMS_PERCENT 60u
#define POLICY_ALL_PERCENT   75u
#define POLICY_PEERS_MAX     2000u    /* of one infohash; then a random one gives way */
#define POLICY_PEERS_ANSWER  100u     /* in one answer */
#define POLICY_PUBLISHED_MAX 100000u  /* items this node puts again */
#define POLICY_SEEN_MAX      100000u  /* and of a small store less: policy_seen_max() */
#define POLICY_SEEN_S        2592000u /* 30 days: the life a value has by default */
#define POLICY_EVICT_MAX     4u       /* items that may give way to one */
#define POLICY_KEY_MAX       40u

/* What a limit counts: the first byte of its key in the quotas table. */
enum policy_kind {
    POLICY_ITEMS_OF_SOURCE = 'i',
    POLICY_ITEMS_OF_KEY = 'k', /* a public key, over all its salts */
    POLICY_PEERS_OF_SOURCE = 'p',
    POLICY_MAIL = 'M', /* box.h: all of it */
    POLICY_MAIL_OF_SENDER = 'f',
    POLICY_MAIL_OF_RECIPIENT = 't',
    POLICY_MAIL_DROPPED = 'd'
};

/* Who a limit counts, as a key of the quotas table. */
struct policy_key {
    uint8_t bytes[POLICY_KEY_MAX];
    size_t size;     /* 0: not counted */
    bool is_private; /* inside a site */
};
struct policy_key policy_source_key(enum policy_kind kind, const struct record_source *source);

/* For unsalted and immutable items size is 0: they are counted by their source alone. */
struct policy_key policy_publisher_key(const struct item *item, const struct record_source *source);

/* May `used` grow by `more` (bytes for items, count for peers)? map_bytes is the size of the map.
 */
bool policy_allows(const struct policy_key *key, const struct quota_record *used, uint64_t more,
                   uint64_t map_bytes);

/* The pages that items, and everything, may take of a map of this many. */
uint64_t policy_item_pages(uint64_t map_pages);
uint64_t policy_all_pages(uint64_t map_pages);

/*
 * The free space of the file system below which nothing new is stored: 5 %, at least 256 KiB and at
 * most 256 MiB. Removing needs a little of it, for LMDB copies what it changes.
 */
uint64_t policy_reserve_bytes(uint64_t file_system_bytes);

struct policy_candidate {
    struct node_id target;
    uint64_t stored_s;
};

/*
 * Which of the candidates (all far from own id) gives way to an item at `offered`; SIZE_MAX: none,
 * since the offered one is as far. own_id NULL: not known, the oldest gives way.
 */
size_t policy_victim(const struct node_id *own_id, const struct node_id *offered,
                     const struct policy_candidate *candidates, size_t count);

/*
 * When an item of our own is put again, in seconds from now: about hourly (BEP 44), with jitter so
 * that what was put together does not return together; sooner, by doubling steps from a minute,
 * while fewer than `wanted` nodes hold it (a network that is just starting). tries counts the puts
 * so far. random is uniform.
 */
uint64_t policy_republish_s(unsigned acknowledged, unsigned wanted, unsigned tries,
                            uint64_t item_ttl_s, uint64_t random);

bool policy_is_expired(uint64_t stored_s, uint64_t ttl_s, uint64_t now_s);

/* ends_s is its last second. */
bool policy_is_over(uint64_t ends_s, uint64_t now_s);

/*
 * How long the number of an item that ended at ends_s, or goes before, is remembered: a copy with a
 * longer life may come back from a node that was away.
 */
uint64_t policy_seen_until_s(uint64_t ends_s, uint64_t now_s);

/* How many numbers are remembered; when full, the one that would be forgotten first gives way. */
uint64_t policy_seen_max(uint64_t map_bytes);
