/*
 * What a simulated swarm goes through, and the figures that come of it beside the least time there
 * can be. The command sim-swarm prints them as tables; tests play small ones.
 *
 * The bound is the fluid one, on the raw rates of the links, without headers: nobody can be done
 * before the origin has sent everything once (F / u), the slowest has received everything from when
 * it joined (t + F / d; who was started again: what it lacked then), and all together have sent
 * what all need (N F / (u + sum of u_i)).
 */
#pragma once

#include "tests/sim/swarm.h"

#define SCENE_PHASES 20u /* of equal length, for which the links' use is told */

struct swarm_scene {
    const char *what;
    uint64_t seed;
    uint32_t students;
    uint64_t size, piece, block; /* bytes */
    uint64_t origin_rate;        /* bytes/s, up and down alike, as all rates here */
    uint64_t rate;
    uint32_t slower; /* so many students have that rate instead */
    uint64_t slower_rate;
    uint64_t disk; /* bytes/s one writes; 0: no limit */
    uint64_t latency_us, kernel_bytes;
    uint32_t peers_max, peers_wanted, upload_slots, discovered;
    enum cooperate_mode mode;
    bool super_seeding; /* of everybody; the addresses are private ones */

    uint32_t spread_ms;   /* students come within that time */
    uint32_t poisoners;   /* more, who send bad blocks; they count for nothing else */
    uint32_t late;        /* more, who come when the others have LATE_PERCENT of all */
    uint32_t killed;      /* so many students, half-way, and started again 2 s later */
    double origin_copies; /* the origin is killed when it has sent so many; 0: never */
    bool origin_out;      /* the origin is killed when every piece is among the students */
};

/* One instant of the run. */
struct swarm_point {
    double at_s;
    double complete; /* share of the students */
    double progress; /* mean, of 1 */
};

/* How much of what the links could carry they did, of 1. */
struct swarm_phase {
    double until_s, progress;
    double origin_up, up, down;
    double wasted; /* of what was received: in vain */
    uint32_t unfinished;
};

struct swarm_report {
    double bound_s, first_s, median_s, last_s; /* finishers */
    double slower_bound_s, slower_last_s;      /* of the slower ones; the above is of all */
    double others_bound_s, others_last_s;      /* of the others */
    double late_ratio;                         /* the last of the late: its own time / (F / d) */
    double begin_s;                            /* the last to get its first block */
    double copies, wasted; /* sent by the origin, received in vain: shares of one content, of all */
    double gone_s;         /* the origin was killed; 0: was not */
    uint32_t unfinished;
    uint32_t banned, bad_pieces; /* as the members count them, all together */
    uint64_t hash, steps;
    struct swarm_point *points;
    uint32_t points_count;
    struct swarm_phase phases[SCENE_PHASES];
};

/* What all scenes begin with: a LAN, the service's own options. */
struct swarm_scene swarm_scene_new(const char *what, uint32_t students, uint64_t rate,
                                   uint64_t size, uint64_t piece);

void swarm_scene_run(const struct swarm_scene *scene, struct swarm_report *ret_report);
void swarm_report_done(struct swarm_report *self);

/* last_s / bound_s */
double swarm_report_ratio(const struct swarm_report *self);
