/*
 * The simulated world: a virtual clock, an in-memory network, and nothing else.
 *
 * A host's behaviour is two functions, so honest nodes, storing nodes and hostile ones are hosts
 * alike; a sender says itself which address a datagram comes from, so that it may lie. Unless it is
 * given an address, a host stands at 10.a.b.c:6881, the address telling the number. Latency comes
 * from a table of quantiles; loss, duplication and reordering are shares of a million.
 *
 * What may befall a host: it is down; it is in a group that cannot reach other groups; it loses
 * more of what it sends, or of what it receives, than others; it is paused, as by SIGSTOP, and gets
 * late what its socket held; it has moved to another address, as behind a NAT; its wall clock is
 * wrong (the monotonic one never is); it can handle only so many datagrams a second.
 *
 * One seed decides everything; world_hash sums up what was delivered, so two runs of one seed can
 * be compared. Time is whole milliseconds from WORLD_START_MS.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORLD_START_MS   1000000u
#define WORLD_WALL_MS    1800000000000u /* what a right wall clock shows at WORLD_START_MS */
#define WORLD_PORT       6881u
#define WORLD_QUANTILES  16u
#define WORLD_SOCKET_MAX 256u /* datagrams that a paused host's socket keeps; more are lost */

struct world_options {
    uint64_t seed;
    const uint16_t *latency_ms; /* WORLD_QUANTILES one-way delays, ascending; NULL: world_lan */
    uint32_t loss_ppm, duplicate_ppm, reorder_ppm;
};

extern const uint16_t world_lan[WORLD_QUANTILES];
extern const uint16_t world_internet[WORLD_QUANTILES];

struct world;

struct behaviour {
    void (*receive)(void *ctx, const struct address *from, const void *data, size_t size);
    void (*timer)(void *ctx, uint64_t cookie);
};

struct world *world_new(const struct world_options *options);
void world_free(struct world **self);

/* Change what the network does from now on; the latency table stays. */
void world_set_weather(struct world *self, uint32_t loss_ppm, uint32_t duplicate_ppm,
                       uint32_t reorder_ppm);

/*
 * A new host, up. Returns its number, from 0. ctx is kept. address NULL: the one of its number,
 * world_default_address().
 */
uint32_t world_add(struct world *self, const struct behaviour *behaviour, void *ctx,
                   const struct address *address);
struct address world_default_address(uint32_t host);
struct address world_address(const struct world *self, uint32_t host);

/* Whose address it is now; UINT32_MAX: nobody's. */
uint32_t world_host(const struct world *self, const struct address *address);

/* ---- what befalls a host ---- */

/* A host that is down receives nothing, its timers do not fire, and what it sends is lost. */
void world_set_up(struct world *self, uint32_t host, bool up);
bool world_is_up(const struct world *self, uint32_t host);
void world_set_group(struct world *self, uint32_t host, unsigned group);
void world_set_loss(struct world *self, uint32_t host, uint32_t out_ppm, uint32_t in_ppm);

/* Timers that came due, and the first WORLD_SOCKET_MAX datagrams, come when it goes on. */
void world_set_paused(struct world *self, uint32_t host, bool paused);
bool world_is_paused(const struct world *self, uint32_t host);

/* What is on its way to the old address is lost. Nobody stands at the new one. */
void world_move(struct world *self, uint32_t host, const struct address *address);

void world_set_skew_ms(struct world *self, uint32_t host, int64_t skew_ms);
uint64_t world_wall_ms(const struct world *self, uint32_t host);

/*
 * per_s datagrams a second (0: as many as come) and queue_max that wait; what comes to a full queue
 * is lost.
 */
void world_set_capacity(struct world *self, uint32_t host, uint32_t per_s, uint32_t queue_max);

/* What stands before a host's queue, as a filter on its socket; both may be NULL. */
struct world_gate {
    bool (*admits)(void *ctx, const struct address *from); /* false: it is dropped unheard */
    void (*taken)(void *ctx, const struct address *from);  /* it came out of the queue */
};

/* gate is borrowed, ctx is kept; NULL: none. */
void world_set_gate(struct world *self, uint32_t host, const struct world_gate *gate, void *ctx);

/* Throw away what waits in its queue. */
void world_discard(struct world *self, uint32_t host);

/* Has it anything left to do, of what came by now? */
bool world_is_busy(const struct world *self, uint32_t host);

/* ---- events ---- */

/* data is copied. */
void world_send(struct world *self, uint32_t host, const struct address *from,
                const struct address *to, const void *data, size_t size);

/* Call the host's timer with this cookie at that time; there is no taking back. */
void world_timer(struct world *self, uint32_t host, uint64_t at_ms, uint64_t cookie);

uint64_t world_now_ms(const struct world *self);
struct random *world_random(struct world *self);

/* Carry out the next event. False: there is none at or before until_ms; then the clock stands
 * there. */
bool world_step(struct world *self, uint64_t until_ms);

/* Inside behaviour.receive: what is being delivered has been delivered before, as the network
 * doubled it. */
bool world_is_repeat(const struct world *self);

/* ---- counts ---- */

/* What a host has sent, payload bytes; what the network lost included. */
struct world_counts {
    uint64_t datagrams, bytes;
};
struct world_counts world_sent(const struct world *self, uint32_t host);
struct world_counts world_sent_by_all(const struct world *self);

/* Datagrams lost to a full queue. */
uint64_t world_overruns(const struct world *self, uint32_t host);

uint64_t world_hash(const struct world *self);
uint64_t world_events(const struct world *self);
