/*
 * Scenes: what a network goes through, and the figures that come of it. The program sim-dht prints
 * them as tables; tests play small ones.
 */
#pragma once

#include "tests/sim/dht.h"

/* ---- values: put, then half or less of the nodes die, or a share of them each hour ---- */

struct values_scene {
    uint64_t seed;
    uint32_t nodes, values;
    uint32_t kill_percent;  /* at once */
    uint32_t churn_percent; /* of the nodes, an hour, leave without a word; as many new ones come */
    uint32_t hours;         /* of churn */
};

struct values_report {
    uint32_t acknowledged_least;
    double put_queries, put_datagrams, put_bytes; /* what one put costs, all datagrams counted */
    uint32_t lost_at_once, lost; /* of the values: not read right after the kill; at the end */
    uint32_t replicas_least, replicas_below; /* right after the kill; values below 20 */
    uint64_t whole_ms;                       /* after the kill all values had 20 live replicas */
    uint32_t whole_least, end_least;         /* live replicas of the worst value then; at the end */
    uint32_t lowest;                   /* the fewest live replicas any value had while churning */
    uint32_t left, came;               /* nodes, by churn */
    double datagrams_hour, bytes_hour; /* sent by a node in an hour of it, all counted */
    double idle_datagrams_hour, idle_bytes_hour; /* the same network without values and churn */
    double republish_datagrams_hour, republish_bytes_hour; /* had every holder put it hourly */
    double read_ms;                                        /* mean, at the end */
};

void scene_values(const struct values_scene *scene, struct values_report *ret_report);

/* ---- a newcomer: what it is handed over against what is due ---- */

struct newcomer_scene {
    uint64_t seed;
    uint32_t nodes, values, newcomers;
};

struct newcomer_report {
    uint32_t due, made; /* values that came to be among whose 20 closest; those it now holds */
    uint32_t undue;     /* others that it was given */
    uint32_t puts;      /* that it took: one a value, were nobody to do it twice */
    uint64_t took_p50_ms, took_most_ms; /* from its start until it held all that was due */
    double messages;                    /* offers and puts that all nodes sent for one newcomer */
};

void scene_newcomer(const struct newcomer_scene *scene, struct newcomer_report *ret_report);

/* ---- all nodes of a class start again at once ---- */

struct restart_scene {
    uint64_t seed;
    uint32_t nodes, values;
};

struct restart_report {
    double minute_datagrams, hour_datagrams; /* a node, in the first minute and hour */
    double calm_hour_datagrams;              /* and in an hour before */
    double busiest_second; /* the most that a node sent within one second, on average */
    uint32_t lost;
};

void scene_restart(const struct restart_scene *scene, struct restart_report *ret_report);

/* ---- a flood ---- */

struct flood_scene {
    uint64_t seed;
    uint32_t nodes;
    uint32_t capacity_s; /* datagrams a second that a node can handle */
    uint32_t times;      /* the flood, in capacities */
    uint32_t sources;    /* it comes from so many addresses; 0: forged ones, ever new */
    bool is_shaped;      /* overload.h decides whom the node hears */
    bool is_public;
};

struct flood_report {
    uint32_t asked, answered;           /* by the other nodes, of the flooded one, meanwhile */
    uint32_t calm_asked, calm_answered; /* and before */
    uint64_t flood_sent, flood_answered;
};

void scene_flood(const struct flood_scene *scene, struct flood_report *ret_report);
