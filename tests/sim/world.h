/*
 * The simulated world: a virtual clock, an in-memory network, and nothing else.
 *
 * Hosts stand at 10.a.b.c:6881, the address telling the number. A host's behaviour is two
 * functions, so honest nodes, storing nodes and hostile ones are hosts alike; a sender says itself
 * which address a datagram comes from, so that it may lie. Latency comes from a table of quantiles;
 * loss, duplication and reordering are shares of a million; a host may be down, or in a group that
 * cannot reach other groups. One seed decides everything; world_hash sums up what was delivered, so
 * two runs of one seed can be compared. Time is whole milliseconds from WORLD_START_MS.
 */
#pragma once

#include "libcommon/address.h"
#include "libcommon/random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORLD_START_MS  1000000u
#define WORLD_PORT      6881u
#define WORLD_QUANTILES 16u

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

/* A new host, up. Returns its number, from 0. ctx is kept. */
uint32_t world_add(struct world *self, const struct behaviour *behaviour, void *ctx);
struct address world_address(uint32_t host);

/* Whose address it is; UINT32_MAX: nobody's. */
uint32_t world_host(const struct world *self, const struct address *address);

/* A host that is down receives nothing, its timers do not fire, and what it sends is lost. */
void world_set_up(struct world *self, uint32_t host, bool up);
bool world_is_up(const struct world *self, uint32_t host);
void world_set_group(struct world *self, uint32_t host, unsigned group);

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

uint64_t world_hash(const struct world *self);
uint64_t world_events(const struct world *self);
