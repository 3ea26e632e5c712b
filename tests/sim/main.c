/*
 * sim-dht: a simulated network of any size, and how its lookups fare.
 *
 *   sim-dht [--nodes N] [--seed S] [--dead PERCENT] [--lookups N] [--spread MS] [--settle MS]
 *           [--loss PPM] [--internet] [--top A,B,C,...] [--k N] [--hours N] [--check N]
 *
 * Exit status 0: every invariant held and at least 99.9 % of the lookups were exact.
 */
#include "tests/sim/dht.h"

#include "libcommon/clock.h"

#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments {
    struct dht_options dht;
    uint32_t dead, lookups, hours;
    uint64_t settle_ms;
};

static void parse_sizes(char *text, uint8_t ret_sizes[TABLE_TOP_LEVELS])
{
    unsigned count = 0;

    memset(ret_sizes, TABLE_K, TABLE_TOP_LEVELS);
    for (char *item = strtok(text, ","); item != NULL && count < TABLE_TOP_LEVELS;
         item = strtok(NULL, ",")) {
        unsigned long size = strtoul(item, NULL, 10);
        ret_sizes[count++] = (uint8_t)(size >= 1 && size <= TABLE_TOP_SIZE_MAX ? size : TABLE_K);
    }
}

static bool parse(int argc, char **argv, struct arguments *ret)
{
    static const struct option options[] = { { "nodes", required_argument, NULL, 'n' },
                                             { "seed", required_argument, NULL, 's' },
                                             { "dead", required_argument, NULL, 'd' },
                                             { "lookups", required_argument, NULL, 'l' },
                                             { "spread", required_argument, NULL, 'p' },
                                             { "settle", required_argument, NULL, 't' },
                                             { "loss", required_argument, NULL, 'o' },
                                             { "internet", no_argument, NULL, 'i' },
                                             { "top", required_argument, NULL, 'b' },
                                             { "k", required_argument, NULL, 'k' },
                                             { "hours", required_argument, NULL, 'h' },
                                             { "check", required_argument, NULL, 'c' },
                                             { NULL, 0, NULL, 0 } };
    int option;

    *ret = (struct arguments){ .dht = { .nodes = 1000, .world = { .seed = 1 } },
                               .lookups = 1000,
                               .settle_ms = 120000 };
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        uint64_t number = optarg == NULL ? 0 : strtoull(optarg, NULL, 0);
        switch (option) {
        case 'n':
            ret->dht.nodes = (uint32_t)number;
            break;
        case 's':
            ret->dht.world.seed = number;
            break;
        case 'd':
            ret->dead = (uint32_t)number;
            break;
        case 'l':
            ret->lookups = (uint32_t)number;
            break;
        case 'p':
            ret->dht.spread_ms = (uint32_t)number;
            break;
        case 't':
            ret->settle_ms = number;
            break;
        case 'o':
            ret->dht.world.loss_ppm = (uint32_t)number;
            break;
        case 'i':
            ret->dht.world.latency_ms = world_internet;
            break;
        case 'b':
            parse_sizes(optarg, ret->dht.top_sizes);
            break;
        case 'k':
            ret->dht.k = (uint32_t)(number <= LOOKUP_K_MAX ? number : LOOKUP_K_MAX);
            break;
        case 'h':
            ret->hours = (uint32_t)number;
            break;
        case 'c':
            ret->dht.check_every = (uint32_t)number;
            break;
        default:
            return false;
        }
    }
    if (ret->dht.spread_ms == 0) {
        ret->dht.spread_ms = ret->dht.nodes * 10; /* 100 nodes start in a second */
    }
    return ret->dht.nodes >= 2 && ret->dht.nodes <= 1000000 && ret->dead < 100 && ret->lookups > 0;
}

static unsigned log2_ceiling(uint32_t number)
{
    unsigned bits = 0;

    while ((1u << bits) < number) {
        bits++;
    }
    return bits;
}

static void print_report(const struct arguments *arguments, const struct dht *dht,
                         const struct dht_report *report)
{
    printf("%-34s %u of %u\n", "nodes alive", report->live, arguments->dht.nodes);
    printf("%-34s %.3f %% (%u of %u)\n", "lookups exact", 100.0 * report->exact / report->lookups,
           report->exact, report->lookups);
    printf("%-34s %.3f %%\n", "true closest found",
           100.0 * (double)report->found / (double)report->expected);
    printf("%-34s %.1f mean, %u most (bound %u)\n", "rounds", report->rounds_mean_tenths / 10.0,
           report->rounds_max, log2_ceiling(arguments->dht.nodes) + 4);
    printf("%-34s %.1f mean, %u most\n", "queries a lookup", report->queries_mean_tenths / 10.0,
           report->queries_max);
    printf("%-34s %" PRIu64 " / %" PRIu64 " / %" PRIu64 " ms\n", "lookup time p50 / p95 / p99",
           report->elapsed_p50_ms, report->elapsed_p95_ms, report->elapsed_p99_ms);
    printf("%-34s %" PRIu64 " ms p50, %" PRIu64 " ms most, %u not\n", "joined after",
           report->joined_p50_ms, report->joined_max_ms, report->unjoined);
    printf("%-34s %s\n", "invariants", dht->problem == NULL ? "hold" : dht->problem);
}

static void print_traffic(const struct dht *dht)
{
    struct router_stats sum = { 0 };

    for (uint32_t i = 0; i < dht->options.nodes; i++) {
        const struct router_stats *stats = &dht->nodes[i].router->stats;
        sum.probes += stats->probes;
        sum.refreshes += stats->refreshes;
        sum.added += stats->added;
        sum.queries += stats->queries;
    }
    double nodes = dht->options.nodes;
    printf("%-34s %.1f probes, %.1f bucket lookups, %.1f contacts added\n", "of these, a node",
           (double)sum.probes / nodes, (double)sum.refreshes / nodes, (double)sum.added / nodes);
}

static void measure_upkeep(struct dht *dht, uint32_t hours)
{
    uint64_t before = dht->traffic.queries + dht->traffic.resent;

    dht_run(dht, (uint64_t)hours * 3600 * 1000);
    printf("%-34s %.1f\n", "queries a node and hour, idle",
           (double)(dht->traffic.queries + dht->traffic.resent - before) / dht->options.nodes /
               hours);
}

/* Of the nodes among the 20 closest to some target, how many know all of these themselves. */
static void print_views(struct dht *dht)
{
    struct dht_views views;

    dht_measure_views(dht, 1000, 20, &views);
    printf("%-34s %.3f %%\n", "holders that know all 20 holders",
           100.0 * views.complete / views.views);
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    struct dht_report report;

    if (!parse(argc, argv, &arguments)) {
        fprintf(stderr, "usage: sim-dht [--nodes N] [--seed S] [--dead PERCENT] [--lookups N]\n"
                        "  [--spread MS] [--settle MS] [--loss PPM] [--internet] [--top A,B,...]\n"
                        "  [--k N] [--hours N] [--check N]\n");
        return 2;
    }
    uint64_t begin_ms = clock_monotonic_ms();
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    struct dht *dht = dht_new(&arguments.dht);
    dht_start_all(dht, arguments.settle_ms);
    size_t bytes = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    printf("%-34s %u, seed %" PRIu64 ", %u %% dead, loss %u ppm\n", "network", arguments.dht.nodes,
           arguments.dht.world.seed, arguments.dead, arguments.dht.world.loss_ppm);
    printf("%-34s %.1f\n", "queries a node to join and settle",
           (double)(dht->traffic.queries + dht->traffic.resent) / arguments.dht.nodes);
    print_traffic(dht);
    printf("%-34s %zu bytes\n", "memory a node", bytes / arguments.dht.nodes);
    if (arguments.hours > 0) {
        measure_upkeep(dht, arguments.hours);
    }
    print_views(dht);
    dht_kill_some(dht, arguments.dead);
    dht_measure(dht, arguments.lookups, &report);
    print_report(&arguments, dht, &report);
    printf("%-34s %" PRIu64 " events in %" PRIu64 " ms, trace %016" PRIx64 "\n", "simulated",
           world_events(dht->world), clock_monotonic_ms() - begin_ms, world_hash(dht->world));
    bool good =
        dht->problem == NULL && (uint64_t)report.exact * 1000 >= (uint64_t)report.lookups * 999;
    dht_free(&dht);
    return good ? 0 : 1;
}
