/*
 * sim-nemesis: many small networks to which everything happens that may, one a seed (nemesis.h).
 *
 *   sim-nemesis [--seeds FROM-TO] [--seed S] [--twice N]
 *
 *   --seeds   1-200 by default
 *   --seed    that one, and print what happened in it, a line an event
 *   --twice   each N-th seed is run twice, and must leave the same trace; 20, 0: none
 *
 * A seed in which an invariant breaks is printed with the command that runs it again; the exit
 * status is 1 then. Tens of thousands: several of these side by side, each with a part of the
 * seeds.
 */
#include "tests/sim/nemesis.h"

#include "libcommon/clock.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments {
    uint64_t from, to, twice;
    bool tell;
};

static const char usage[] =
    "usage: sim-nemesis [--seeds FROM-TO] [--seed S] [--twice N]\n"
    "Many small simulated networks to which everything happens that may, one a seed.\n"
    "  --seeds FROM-TO  these seeds; 1-200 when not given\n"
    "  --seed S         that one, and what happened in it, a line an event\n"
    "  --twice N        each N-th seed twice, for the same trace; 20 when not given, 0: none\n"
    "Exit code 1: an invariant broke; the seed is printed with the command that runs it again.\n"
    "Tens of thousands: several of these side by side, each with a part of the seeds.\n";

static bool parse(int argc, char **argv, struct arguments *ret)
{
    static const struct option options[] = { { "seeds", required_argument, NULL, 'r' },
                                             { "seed", required_argument, NULL, 's' },
                                             { "twice", required_argument, NULL, 't' },
                                             { "help", no_argument, NULL, 'h' },
                                             { NULL, 0, NULL, 0 } };
    int option;
    char *rest;

    *ret = (struct arguments){ .from = 1, .to = 200, .twice = 20 };
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'r':
            ret->from = strtoull(optarg, &rest, 10);
            ret->to = *rest == '-' ? strtoull(rest + 1, NULL, 10) : ret->from;
            break;
        case 's':
            ret->from = ret->to = strtoull(optarg, NULL, 10);
            ret->tell = true;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        case 't':
            ret->twice = strtoull(optarg, NULL, 10);
            break;
        default:
            return false;
        }
    }
    return ret->from <= ret->to && optind == argc;
}

struct totals {
    uint64_t seeds, broken, virtual_ms, events, puts, judged, lookups, exact;
};

static void print_broken(uint64_t seed, const struct nemesis_report *report)
{
    char node[32] = "";

    if (report->node != UINT32_MAX) {
        snprintf(node, sizeof(node), ", node %u", report->node);
    }
    printf("seed %" PRIu64 ": %s (%u nodes, %u hostile%s, at %.3f s)\n", seed, report->problem,
           report->nodes, report->hostile, node, (double)report->problem_ms / 1000);
    printf("    run it again: sim-nemesis --seed %" PRIu64 "\n", seed);
}

static void run(uint64_t seed, const struct arguments *arguments, struct totals *totals)
{
    struct nemesis_report report, again;

    nemesis_run(seed, arguments->tell, &report);
    if (arguments->twice != 0 && seed % arguments->twice == 0) {
        nemesis_run(seed, false, &again);
        if (again.hash != report.hash) {
            report.problem = "two runs of it differ";
        }
    }
    if (report.problem != NULL) {
        totals->broken++;
        print_broken(seed, &report);
        fflush(stdout);
    }
    totals->seeds++;
    totals->virtual_ms += report.virtual_ms;
    totals->events += report.events;
    totals->puts += report.acknowledged;
    totals->judged += report.judged;
    totals->lookups += report.lookups;
    totals->exact += report.exact;
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    struct totals totals = { .seeds = 0 };

    if (!parse(argc, argv, &arguments)) {
        fputs(usage, stderr);
        return 2;
    }
    uint64_t begin_ms = clock_monotonic_ms();
    for (uint64_t seed = arguments.from; seed <= arguments.to; seed++) {
        run(seed, &arguments, &totals);
    }
    uint64_t took_ms = clock_monotonic_ms() - begin_ms;
    printf("%" PRIu64 " seeds, %" PRIu64 " broken; %" PRIu64 " puts acknowledged, %" PRIu64
           " values read at the end, lookups exact %" PRIu64 " of %" PRIu64 "\n",
           totals.seeds, totals.broken, totals.puts, totals.judged, totals.exact, totals.lookups);
    printf("%.1f virtual hours, %" PRIu64 " events in %.1f s: %.0f times real time\n",
           (double)totals.virtual_ms / 3600000, totals.events, (double)took_ms / 1000,
           (double)totals.virtual_ms / (double)(took_ms + 1));
    return totals.broken == 0 ? 0 : 1;
}
