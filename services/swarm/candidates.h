/*
 * Candidates: addresses at which a torrent has peers, as far as we were told, and when to try them.
 *
 * An address that fails is tried again after 2 s, doubling to 10 minutes, and forgotten after
 * CANDIDATES_TRIES_MAX failures in a row; one that was banned is refused for good. When the table
 * is full the address with most failures makes room. Of those equal in this, who is in our own
 * subnet comes first, then by canonical priority (priority.h). Pure; allocates.
 */
#pragma once

#include "libcommon/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random;

#define CANDIDATES_MAX            1000u
#define CANDIDATES_BANNED_MAX     256u /* then the oldest ban is lifted */
#define CANDIDATES_TRIES_MAX      9u
#define CANDIDATES_BACKOFF_MS     2000u
#define CANDIDATES_BACKOFF_MAX_MS 600000u
#define CANDIDATES_STAY_MS        10000u /* a connection that held so long was no failure */

enum candidate_state { CANDIDATE_IDLE, CANDIDATE_CONNECTING, CANDIDATE_CONNECTED };

struct candidate {
    struct address address;
    uint64_t next_try_ms;
    enum candidate_state state;
    uint8_t failures;
    bool seed;     /* it is said to have everything */
    bool own;      /* it is ourselves: never tried */
    uint64_t rank; /* the greatest first: in our subnet, then canonical priority */
};

struct candidate_ban {
    struct address address;
    uint8_t peer_id[20];
};

struct candidates {
    struct candidate *items;
    uint32_t count;
    uint32_t capacity;
    uint32_t connecting;
    struct candidate_ban *banned; /* a ring */
    uint32_t banned_count;
    struct address here[2]; /* where we are, IPv4 and IPv6; port 0: not known */
};

void candidates_init(struct candidates *self);
void candidates_done(struct candidates *self);

/*
 * Where we are, as peers see us; one address a family, before candidates are added. Without, they
 * are drawn at random.
 */
void candidates_set_here(struct candidates *self, const struct address *here);

/* False: not usable, banned, or known already (then only `seed` is learnt). */
bool candidates_add(struct candidates *self, const struct address *address, bool seed);
struct candidate *candidates_find(const struct candidates *self, const struct address *address);

/*
 * One to connect to now: of those with fewest failures the one of highest rank, drawn at random
 * when several are; it is then CONNECTING.
 * skip_seeds: we have everything ourselves.
 */
bool candidates_next(struct candidates *self, bool skip_seeds, struct random *random,
                     uint64_t now_ms, struct address *ret_address);

/* When candidates_next() may find one; UINT64_MAX: never. */
uint64_t candidates_deadline_ms(const struct candidates *self, bool skip_seeds);
void candidates_connected(struct candidates *self, const struct address *address);

/* Connecting failed (stayed_ms 0), or the connection ended after so long. */
void candidates_left(struct candidates *self, const struct address *address, uint64_t stayed_ms,
                     uint64_t now_ms);
void candidates_remove(struct candidates *self, const struct address *address);
void candidates_own(struct candidates *self, const struct address *address);

/* Loopback addresses are banned by port and peer id alone: there all peers share one IP. */
void candidates_ban(struct candidates *self, const struct address *address,
                    const uint8_t peer_id[20]);
bool candidates_is_banned(const struct candidates *self, const struct address *address,
                          const uint8_t *peer_id);
