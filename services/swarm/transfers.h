/*
 * Transfers: everything this node shares and fetches, running. Joins each torrent core to the disk,
 * to the connections, to the catalogue and to the DHT (lb-storage announces and finds peers).
 *
 * Each order stands in the catalogue before it is answered, and is taken up again at the next
 * start. A transfer that cannot go on (a full disk, a folder that is not there) says why and tries
 * again every TRANSFERS_RETRY_MS. All callbacks come later, from the loop. Shell.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/bytes.h"
#include "libcommon/error.h"
#include "services/swarm/metainfo.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRANSFERS_RETRY_MS      10000u
#define TRANSFERS_ANNOUNCES_MAX 16u /* asked of storage at once; others wait */
#define TRANSFERS_ANNOUNCE_MS   30000u
#define TRANSFERS_TOLD_MS       3000u /* so long a share waits for its first announcement */
#define TRANSFERS_WAITERS_MAX   64u   /* who ordered the same thing while it is being begun */
#define TRANSFERS_NOTE_SIZE     256u
#define TRANSFERS_MIRROR_MS     10000u /* so long one is seeded beside its owner unasked */
#define TRANSFERS_PASSED_PEERS  64u    /* addresses that one worker tells another at once */

struct actor;
struct call;
struct link;
struct transfer;
struct transfers;

/* ctx is what was given; transfer is NULL on errors and after a removal. reason: for a person. */
typedef void transfers_fn(void *ctx, lb_err err, const char *reason,
                          const struct transfer *transfer);

/* Opens catalogue, disk, sockets; LB_DENIED, LB_IO, LB_INVALID when one of them cannot be. */
LB_MUST_CHECK lb_err transfers_new(struct actor *actor, struct transfers **ret_self);

/* Ends everything in order; on_stopped is called when all is on the disk. */
void transfers_stop(struct transfers *self, void (*on_stopped)(void *ctx), void *ctx);
void transfers_free(struct transfers **self);

struct transfers_share {
    const char *path;             /* absolute */
    uint32_t piece_length;        /* 0: by size */
    enum metainfo_kind kind;      /* 0: v1 */
    bool is_private;              /* BEP 27 */
    const char *const *web_seeds; /* http or https URLs */
    size_t web_seeds_count;
};

/*
 * Everything is copied. done: LB_OK once it is being seeded and announced, or TRANSFERS_TOLD_MS
 * later when the network does not answer.
 */
void transfers_share(struct transfers *self, const struct transfers_share *share,
                     transfers_fn *done, void *ctx);

struct transfers_fetch {
    const char *magnet;    /* or NULL */
    struct bytes metainfo; /* a .torrent file, when there is no magnet */
    const char *folder;    /* absolute; not used with a device */
    const char *device;    /* absolute: a block device instead; NULL or "": none */
    const char *base;      /* absolute: a file or folder to take pieces from; NULL or "": none */
    bool verify;           /* read everything back from the disk when it is complete */
    bool has_seed_for;
    uint32_t seed_for_s;
    const char *const *select; /* entries of select.h; none: everything */
    size_t select_count;
    uint32_t priority;           /* 1 to ORDER_PRIORITY_MAX, 0: the usual one */
    const struct address *peers; /* to call at once */
    size_t peers_count;
};

/* Everything is copied. done: LB_OK once the order is on the disk. */
void transfers_fetch(struct transfers *self, const struct transfers_fetch *fetch,
                     transfers_fn *done, void *ctx);
void transfers_remove(struct transfers *self, const uint8_t infohash[20], transfers_fn *done,
                      void *ctx);

/* LB_NOT_FOUND; LB_INVALID: not usable, or our own; LB_UNAVAILABLE: it is not running now. */
LB_MUST_CHECK lb_err transfers_add_peer(struct transfers *self, const uint8_t infohash[20],
                                        const struct address *address);

struct transfers_limits {
    bool has_receive;
    bool has_send;
    uint64_t receive; /* bytes per second, 0: none */
    uint64_t send;
    uint32_t priority; /* 0: as it is */
};

/* The configuration has other values: they are used for what runs, too. */
void transfers_reload(struct transfers *self);

/* Of one, kept over restarts, or (infohash NULL) of all together. LB_NOT_FOUND; LB_INVALID. */
LB_MUST_CHECK lb_err transfers_set_limits(struct transfers *self, const uint8_t *infohash,
                                          const struct transfers_limits *limits);

/*
 * Hash all that is there, and compare: what is bad is fetched again, or, of a share, makes it fail.
 * LB_OK once it is begun, or is under way. LB_NOT_FOUND; LB_UNAVAILABLE: it is not open now.
 */
LB_MUST_CHECK lb_err transfers_check(struct transfers *self, const uint8_t infohash[20]);

/* ---- among several workers of a node; see ownership.h ---- */

/* How many there are has changed, perhaps, or how many lb-storage has. */
void transfers_scaled(struct transfers *self);

/*
 * Does this worker answer for it? LB_OK: whether it is there or not. LB_UNAVAILABLE: another has
 * it, or it passes from one to another just now: ask again.
 */
LB_MUST_CHECK lb_err transfers_answers_for(const struct transfers *self,
                                           const uint8_t infohash[20]);

/* Another worker is to have it, and it does not run here, but perhaps as a mirror. */
bool transfers_is_elsewhere(const struct transfers *self, const uint8_t infohash[20]);

/* The worker to pass an order to fetch on to; NULL: do it here, or find what is wrong with it. */
struct link *transfers_fetch_elsewhere(const struct transfers *self,
                                       const struct transfers_fetch *fetch);

/* A transfer's last owner has given it back. peers: to call at once. */
void transfers_take_up(struct transfers *self, const uint8_t infohash[20],
                       const struct address *peers, size_t peers_count);

/* As transfers_share(), of what another worker hashed; its files are there (catalogue_shared.h). */
void transfers_adopt(struct transfers *self, const uint8_t infohash[20], const char *folder,
                     unsigned from, transfers_fn *done, void *ctx);

/*
 * Seed what another has complete, for those peers, until it is not asked for again for
 * TRANSFERS_MIRROR_MS. What was sent of it lately, in bytes per second.
 */
uint64_t transfers_seed(struct transfers *self, const uint8_t infohash[20],
                        const struct address *peers, size_t peers_count);
void transfers_unseed(struct transfers *self, const uint8_t infohash[20]);

/* The book of worker 0, and what it answers; to be packed at once. */
struct Lb__Swarm__Allot;
struct Lb__Swarm__Allotment;
void transfers_allot(struct transfers *self, const struct Lb__Swarm__Allot *allot,
                     struct Lb__Swarm__Allotment *ret_allotment);

/* ---- looking ---- */

size_t transfers_count(const struct transfers *self);
const struct transfer *transfers_at(const struct transfers *self, size_t index);
const struct transfer *transfers_find(const struct transfers *self, const uint8_t infohash[20]);

/* What is seeded here beside its owner, or NULL; transfers_find() finds what is this worker's. */
const struct transfer *transfers_mirror(const struct transfers *self, const uint8_t infohash[20]);

enum transfer_state {
    TRANSFER_CHECKING,
    TRANSFER_METADATA,
    TRANSFER_FETCHING,
    TRANSFER_SEEDING,
    TRANSFER_PAUSED,
    TRANSFER_FAILED
};

struct transfer_status {
    const uint8_t *infohash;
    const char *name;
    const char *note;
    enum transfer_state state;
    uint64_t size_bytes;
    uint64_t have_bytes;
    uint64_t received_bytes;
    uint64_t sent_bytes;
    uint64_t wasted_bytes;
    uint64_t reused_bytes; /* found on this disk, or zeros: not fetched */
    uint64_t verified_s;   /* wall clock, when all was read back; 0: it was not */
    uint64_t receive_rate;
    uint64_t send_rate;
    uint32_t peers;
    uint32_t seeds;
    uint64_t wanted_bytes;
    uint64_t receive_limit;
    uint64_t send_limit;
    uint64_t copies_permille;
    uint32_t finished;
    uint64_t checked_bytes; /* of the check under way */
    uint64_t damaged_bytes; /* found by the last check */
    uint32_t priority;
    uint32_t queue; /* its place among those who wait, 0: does not */
    bool passing;   /* to another worker */
    bool mirror;    /* of another worker's */
};

/* Borrows from the transfer until the next event. */
void transfer_status(const struct transfer *self, struct transfer_status *ret_status);

/* Where it lies, and its magnet link; the caller frees. */
char *transfer_path(const struct transfer *self);
char *transfer_magnet(const struct transfer *self);

/* A peer that is connected, or finished here and went. */
struct transfer_peer {
    struct address address;
    const char *client; /* borrowed until the next event; may be "" */
    const char *host;
    uint64_t have_bytes;
    uint64_t received_bytes;
    uint64_t sent_bytes;
    uint64_t receive_rate;
    uint64_t send_rate;
    unsigned why;        /* enum report_why */
    uint64_t finished_s; /* wall clock, 0: it has not */
    bool connected;
    bool verified;
    bool cooperative;
};

/* All of them; the caller frees *ret_peers. */
size_t transfer_peers(const struct transfer *self, struct transfer_peer **ret_peers);

#define TRANSFER_SOURCE_HOST_SIZE 128u /* with the NUL */
#define TRANSFER_SOURCE_WHY_SIZE  192u

/* A web seed that was asked since the transfer began here. */
struct transfer_source {
    char host[TRANSFER_SOURCE_HOST_SIZE];
    unsigned state; /* enum webseed_state */
    uint64_t received_bytes;
    uint64_t receive_rate;
    char why[TRANSFER_SOURCE_WHY_SIZE]; /* why it gives nothing, for a person; "": it does */
};

/* All of them; the caller frees *ret_sources. */
size_t transfer_sources(const struct transfer *self, struct transfer_source **ret_sources);

struct transfer_file {
    const char *path; /* borrowed */
    uint64_t size_bytes;
    uint64_t have_bytes; /* verified */
    bool selected;
};

/* Files, padding included; 0 while they are not known. */
uint32_t transfer_files_count(const struct transfer *self);
void transfer_file(const struct transfer *self, uint32_t index, struct transfer_file *ret_file);

/* NULL while it is not known. */
const struct metainfo *transfer_metainfo(const struct transfer *self);
