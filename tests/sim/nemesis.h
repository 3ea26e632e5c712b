/*
 * Nemesis: a small network, 8 to 64 nodes, to which everything happens that may, from one seed
 * (THREATS 3.4): how many nodes, where they stand, how many of them are hostile and how, the
 * weather, partitions, crashes with and without disk, pauses, NATs, wall clocks, attacks; and
 * meanwhile nodes put values and read them. Then all of it ends, and within a quarter of an hour
 *
 *     I1   what was put and stood on enough honest nodes is there, in that version or a newer one
 *     I6   nothing is left under way
 *     I10  lookups are exact, 99 of a hundred
 *
 * and all the while the invariants of checks.h hold.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct nemesis_report {
    const char *problem; /* NULL: all held */
    uint32_t node;       /* of the problem; UINT32_MAX: of no single one */
    uint64_t problem_ms; /* since the start */
    uint64_t hash;       /* of what was delivered */
    uint64_t events;
    uint64_t virtual_ms;
    uint32_t nodes, hostile, puts, acknowledged, judged, lookups, exact;
};

/* tell: print what happens to stdout, a line an event, with its virtual time. */
void nemesis_run(uint64_t seed, bool tell, struct nemesis_report *ret_report);
