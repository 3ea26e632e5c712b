/*
 * Addresses that left a query unanswered a short while ago, so that lookups need not wait for the
 * same dead node again and again. A small cache that forgets: a new entry overwrites what stands in
 * its place. Pure.
 */
#pragma once

#include "libcommon/address.h"

#define SILENCE_SLOTS 128u
#define SILENCE_MS    60000u

struct silence {
    uint64_t seed;
    struct {
        uint64_t hash; /* of the address, whole: 2^-64 is no risk here */
        uint64_t at_ms;
    } slots[SILENCE_SLOTS];
};

void silence_init(struct silence *self, uint64_t seed);
void silence_note(struct silence *self, const struct address *address, uint64_t now_ms);

/* It has answered. */
void silence_clear(struct silence *self, const struct address *address);

/* Whether it was silent within the last `within_ms`, at most SILENCE_MS. */
bool silence_is_recent(const struct silence *self, const struct address *address,
                       uint64_t within_ms, uint64_t now_ms);
