/*
 * Torrents on the local net: which of the torrents of this node to announce next, and whether one
 * that was heard of is ours (BEP 14; the message is libcommon/lsd.h).
 *
 * Each lb-swarm names its torrents and its TCP port. A torrent is announced soon after it was named
 * and then about every LOCAL_INTERVAL_MS. A message holds torrents of one lb-swarm, those longest
 * due first, and those due soon with them. LOCAL_BURST messages may go out at once, then one in
 * LOCAL_MESSAGE_MS (BEP 14: "no more than 1 announce per minute"): so many torrents are announced
 * less often, and still all. Pure.
 */
#pragma once

#include "libcommon/lsd.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOCAL_START_MS    1000u /* the first announcement comes within this time */
#define LOCAL_INTERVAL_MS 300000u
#define LOCAL_AHEAD_MS    60000u /* what is due so soon goes along */
#define LOCAL_MESSAGE_MS  60000u
#define LOCAL_BURST       4u
#define LOCAL_OWNERS_MAX  16u   /* lb-swarm processes; others are not taken */
#define LOCAL_MAX         1000u /* torrents of one lb-swarm; more are passed over */

struct random;

struct local_torrent {
    uint8_t hash[LSD_HASH_SIZE];
    uint64_t due_ms;
};

struct local_owner {
    uint32_t number; /* of the lb-swarm */
    uint16_t port;   /* where it listens; 0: the place is free */
    struct local_torrent *torrents;
    size_t count;
};

struct local {
    struct random *random; /* borrowed */
    struct local_owner owners[LOCAL_OWNERS_MAX];
    uint64_t message_ms; /* a message goes when this is at most LOCAL_BURST - 1 messages ahead */
};

/* random is kept. */
void local_init(struct local *self, struct random *random);
void local_done(struct local *self);

/*
 * These are all torrents of this lb-swarm: `count` infohashes, one behind the other. Those named
 * before keep their time. port 0, or none: it has none any more. False: LOCAL_OWNERS_MAX others
 * have some.
 */
bool local_set(struct local *self, uint32_t owner, uint16_t port, const uint8_t *hashes,
               size_t count, uint64_t now_ms);

/* Has this lb-swarm that torrent? */
bool local_has(const struct local *self, uint32_t owner, const uint8_t hash[LSD_HASH_SIZE]);

/* A message that is to be sent now: port and hashes are set. */
bool local_next(struct local *self, uint64_t now_ms, struct lsd_message *ret_message);

/* When to call local_next() again; UINT64_MAX: never. */
uint64_t local_deadline_ms(const struct local *self);
