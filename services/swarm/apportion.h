/*
 * Apportioning: one limit of the node, shared out over its workers by what they need.
 *
 * One worker keeps the book. Each of the others tells it once in a while what it used and whether
 * more would have gone, and is told how much it holds from then on. Whoever waits gets an equal
 * part of what is left when those who do not wait have what they use (max-min fairness); what
 * nobody needs is spread evenly. Nobody is given what another still holds, so what all hold
 * together never exceeds the limit; a part moves as soon as its holder has asked again. Everybody
 * holds at least a small part, to begin with. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define APPORTION_WORKERS_MAX 16u

struct apportion_claim {
    uint64_t used;  /* bytes per second */
    bool waits;     /* more would have gone */
    uint64_t holds; /* bytes per second */
};

/* What everybody may take before it was told anything; at least 1. */
uint64_t apportion_least(uint64_t limit, unsigned count);

/*
 * What `asker` holds from now on, of claims[0 .. count - 1]; the caller writes it down there. limit
 * 0: none, and so is the answer.
 */
uint64_t apportion(uint64_t limit, const struct apportion_claim *claims, unsigned count,
                   unsigned asker);
