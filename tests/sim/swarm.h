/*
 * Simulated swarms: the scheduler's core as the service runs it (services/swarm/torrent.h), one for
 * each member, over the wires of swarm_net.h. One seed decides everything.
 *
 * Content is not kept: a block is its numbers, and whether its sender spoilt it. Members know the
 * metainfo from the start. They find each other as through the DHT: an announcement takes a while,
 * gives some of those who announced before, and makes the member known. A piece is verified after
 * SWARM_VERIFY_US and the time hashing takes; a member with a slow disk writes one after the other.
 */
#pragma once

#include "libcommon/random.h"
#include "services/swarm/torrent.h"
#include "tests/sim/swarm_net.h"

#include <stdbool.h>
#include <stdint.h>

#define SWARM_START_MS         1000000u /* the core's clock at 0 */
#define SWARM_VERIFY_US        1000u
#define SWARM_HASH_RATE        1000000000u /* bytes/s */
#define SWARM_DISCOVERED       50u /* addresses an announcement gives (BEP 5: a packet's worth) */
#define SWARM_ANNOUNCE_US      50000u  /* it takes that long at least: some round trips of a LAN */
#define SWARM_ANNOUNCE_MOST_US 150000u /* and at most */
#define SWARM_NEVER            UINT64_MAX

struct swarm_options {
    uint64_t seed;
    struct picker_shape shape;
    uint64_t latency_us;
    uint64_t kernel_bytes; /* of a connection's send buffer */
    uint32_t peers_max, peers_wanted, upload_slots, discovered;
    enum cooperate_mode mode;
    bool super_seeding;
};

struct swarm_member_options {
    uint64_t up, down;  /* bytes/s */
    bool is_origin;     /* has everything */
    bool poisons;       /* has nothing, says it has, and sends what is not it */
    uint64_t disk;      /* bytes/s it writes; 0: no limit */
    uint64_t starts_us; /* SWARM_NEVER: by swarm_start() */
};

struct swarm;

struct swarm_member {
    struct swarm *swarm;
    struct swarm_member_options options;
    uint32_t index; /* its host's number, too */
    bool up;
    uint32_t life; /* how often it was started */
    struct torrent torrent;
    struct random random;
    struct net_end **ends; /* by slot of the torrent's number */
    uint32_t ends_count;
    uint8_t *have;   /* while it is down: what it has, a bitfield */
    uint8_t *spoilt; /* pieces with a bad block */
    bool announced;
    uint64_t timer_us; /* when it is looked at next */
    uint64_t disk_free_us;
    uint64_t first_us, completed_us; /* its first block came; SWARM_NEVER: not yet */
    uint64_t received_bytes, sent_bytes, wasted_bytes; /* payload, of lives before */
};

struct swarm {
    struct swarm_options options;
    struct net *net;
    struct random random;
    struct swarm_member **members; /* 0 is the first that was added */
    uint32_t members_count, members_capacity;
    uint32_t *known; /* those who announced */
    uint32_t known_count;
    uint32_t complete_count;
};

struct swarm *swarm_new(const struct swarm_options *options);
void swarm_free(struct swarm **self);

/* Returns its number. */
uint32_t swarm_add(struct swarm *self, const struct swarm_member_options *options);
void swarm_run(struct swarm *self, uint64_t until_us);

/* As by SIGKILL: it keeps what is verified. Starting again is later, with a new peer id. */
void swarm_kill(struct swarm *self, uint32_t member);
void swarm_start(struct swarm *self, uint32_t member);

uint64_t swarm_now_us(const struct swarm *self);
bool swarm_is_complete(const struct swarm *self, uint32_t member);
uint64_t swarm_have_bytes(const struct swarm *self, uint32_t member);
uint64_t swarm_sent_bytes(const struct swarm *self, uint32_t member);
uint64_t swarm_received_bytes(const struct swarm *self, uint32_t member);
uint64_t swarm_wasted_bytes(const struct swarm *self, uint32_t member);

/* How many pieces nobody who is up, but this one, has. */
uint32_t swarm_only_at(const struct swarm *self, uint32_t member);

/* All invariants of `most` members, drawn at random. */
void swarm_check(struct swarm *self, uint32_t most);
