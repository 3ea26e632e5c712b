/*
 * sim-dht: simulated networks of any size, and figures of how they fare, as tables.
 *
 *   sim-dht [lookups] [--nodes N] [--dead PERCENT] [--hostile PERCENT] [--role ROLE] [--lookups N]
 *           [--k N] [--paths D] [--spread MS] [--settle MS] [--loss PPM] [--internet] [--public]
 *           [--top A,B,C,...] [--hours N] [--check N]
 *       lookups of random targets, each judged: how many found exactly the k closest live nodes.
 *       ROLE: silent, friends, made-up, claiming, stale (hostile.h)
 *   sim-dht values [--nodes N] [--values N] [--dead PERCENT] [--churn PERCENT] [--hours N]
 *       values are put, then a share of the nodes dies at once, or a share of them each hour while
 *       as many come; how many values are lost, when all have 20 replicas, and what it costs
 *   sim-dht newcomer [--nodes N] [--values N] [--newcomers N]
 *       what a newcomer is handed over, against what is due
 *   sim-dht restart [--nodes N] [--values N]
 *       all nodes start again at once: messages a node
 *   sim-dht flood [--nodes N] [--capacity N] [--times N]
 *       one node gets that many times what it can handle; what others get of it
 *   sim-dht all
 *       the tables of issue 3: all of the above in their full sizes, but for 100,000 nodes
 *
 * All take --seed S. 100,000 nodes: sim-dht --nodes 100000 --dead 30 (11 GB, an hour). Exit
 * status 0: every invariant held and the figures are those that are asked for: at least 99.9 % of
 * the lookups exact unless there are hostile nodes, no value lost, every due transfer made and no
 * other, 90 % of what others asked of a flooded node answered.
 */
#include "tests/sim/scenes.h"

#include "libcommon/clock.h"

#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments {
    struct dht_options dht;
    uint32_t dead, lookups, hours, values, churn, newcomers, capacity, times;
    uint64_t settle_ms;
};

/* ---- arguments ---- */

static const char usage[] =
    "usage: sim-dht [lookups] [--nodes N] [--dead PERCENT] [--hostile PERCENT] [--role ROLE]\n"
    "               [--lookups N] [--k N] [--paths D] [--spread MS] [--settle MS] [--loss PPM]\n"
    "               [--internet] [--public] [--top A,B,...] [--hours N] [--check N]\n"
    "       sim-dht values [--nodes N] [--values N] [--dead PERCENT] [--churn PERCENT] [--hours "
    "N]\n"
    "       sim-dht newcomer [--nodes N] [--values N] [--newcomers N]\n"
    "       sim-dht restart [--nodes N] [--values N]\n"
    "       sim-dht flood [--nodes N] [--capacity N] [--times N]\n"
    "       sim-dht all\n"
    "Simulated networks of any size, and figures of how they fare, as tables.\n"
    "  lookups   random targets, each judged: were exactly the k closest live nodes found?\n"
    "  values    put, then nodes die at once or leave and come each hour: lost, replicas, cost\n"
    "  newcomer  what one is handed over, against what is due\n"
    "  restart   all nodes start again at once: messages a node\n"
    "  flood     one node gets many times what it can handle: what others get of it\n"
    "  all       all of these in their full sizes\n"
    "All take --seed S. ROLE: silent, friends, made-up, claiming, stale. 100,000 nodes:\n"
    "sim-dht --nodes 100000 --dead 30, 11 GB and an hour. Exit code 1: a figure or an\n"
    "invariant is not as it has to be.\n";

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

static const char *const roles[ROLES_COUNT] = {
    [ROLE_HONEST] = "honest",   [ROLE_SILENT] = "silent",     [ROLE_FRIENDS] = "friends",
    [ROLE_MADE_UP] = "made-up", [ROLE_CLAIMING] = "claiming", [ROLE_STALE] = "stale",
};

static enum dht_role parse_role(const char *text)
{
    for (unsigned i = 0; i < ROLES_COUNT; i++) {
        if (strcmp(text, roles[i]) == 0) {
            return (enum dht_role)i;
        }
    }
    return ROLES_COUNT;
}

static bool take_option(struct arguments *ret, int option, char *text)
{
    uint64_t number = text == NULL ? 0 : strtoull(text, NULL, 0);

    switch (option) {
    case 'n':
        ret->dht.nodes = (uint32_t)number;
        return true;
    case 's':
        ret->dht.world.seed = number;
        return true;
    case 'd':
        ret->dead = (uint32_t)number;
        return true;
    case 'q':
        ret->dht.hostile_ppm = (uint32_t)number * 10000;
        return true;
    case 'r':
        ret->dht.hostile_role = parse_role(text);
        return ret->dht.hostile_role != ROLES_COUNT;
    case 'l':
        ret->lookups = (uint32_t)number;
        return true;
    case 'p':
        ret->dht.spread_ms = (uint32_t)number;
        return true;
    case 't':
        ret->settle_ms = number;
        return true;
    case 'o':
        ret->dht.world.loss_ppm = (uint32_t)number;
        return true;
    case 'i':
        ret->dht.world.latency_ms = world_internet;
        return true;
    case 'u':
        ret->dht.is_public = true;
        return true;
    case 'b':
        parse_sizes(text, ret->dht.top_sizes);
        return true;
    case 'k':
        ret->dht.k = (uint32_t)(number <= LOOKUP_K_MAX ? number : LOOKUP_K_MAX);
        return true;
    case 'H':
        fputs(usage, stdout);
        exit(0);
    case 'a':
        ret->dht.paths = (uint32_t)(number <= SEARCH_PATHS_MAX ? number : SEARCH_PATHS_MAX);
        return true;
    case 'h':
        ret->hours = (uint32_t)number;
        return true;
    case 'c':
        ret->dht.check_every = (uint32_t)number;
        return true;
    case 'v':
        ret->values = (uint32_t)number;
        return true;
    case 'y':
        ret->churn = (uint32_t)number;
        return true;
    case 'w':
        ret->newcomers = (uint32_t)number;
        return true;
    case 'x':
        ret->capacity = (uint32_t)number;
        return true;
    case 'm':
        ret->times = (uint32_t)number;
        return true;
    default:
        return false;
    }
}

static bool parse(int argc, char **argv, struct arguments *ret)
{
    static const struct option options[] = { { "nodes", required_argument, NULL, 'n' },
                                             { "seed", required_argument, NULL, 's' },
                                             { "dead", required_argument, NULL, 'd' },
                                             { "hostile", required_argument, NULL, 'q' },
                                             { "role", required_argument, NULL, 'r' },
                                             { "lookups", required_argument, NULL, 'l' },
                                             { "spread", required_argument, NULL, 'p' },
                                             { "settle", required_argument, NULL, 't' },
                                             { "loss", required_argument, NULL, 'o' },
                                             { "internet", no_argument, NULL, 'i' },
                                             { "public", no_argument, NULL, 'u' },
                                             { "top", required_argument, NULL, 'b' },
                                             { "k", required_argument, NULL, 'k' },
                                             { "paths", required_argument, NULL, 'a' },
                                             { "hours", required_argument, NULL, 'h' },
                                             { "check", required_argument, NULL, 'c' },
                                             { "values", required_argument, NULL, 'v' },
                                             { "churn", required_argument, NULL, 'y' },
                                             { "newcomers", required_argument, NULL, 'w' },
                                             { "capacity", required_argument, NULL, 'x' },
                                             { "times", required_argument, NULL, 'm' },
                                             { "help", no_argument, NULL, 'H' },
                                             { NULL, 0, NULL, 0 } };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!take_option(ret, option, optarg)) {
            return false;
        }
    }
    return optind == argc && ret->dht.nodes >= 2 && ret->dht.nodes <= 1000000 && ret->dead < 100 &&
           ret->lookups > 0;
}

/* ---- lookups ---- */

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
    }
    double nodes = dht->options.nodes;
    printf("%-34s %.1f\n", "queries a node to join and settle",
           (double)(dht->traffic.queries + dht->traffic.resent) / nodes);
    printf("%-34s %.1f probes, %.1f bucket lookups, %.1f contacts added\n", "of these, a node",
           (double)sum.probes / nodes, (double)sum.refreshes / nodes, (double)sum.added / nodes);
}

static void measure_upkeep(struct dht *dht, uint32_t hours)
{
    uint64_t before = dht->traffic.queries + dht->traffic.resent;

    dht_run(dht, (uint64_t)hours * 3600 * 1000);
    uint64_t after = dht->traffic.queries + dht->traffic.resent;
    printf("%-34s %.1f\n", "queries a node and hour, idle",
           (double)(after - before) / dht->options.nodes / hours);
}

/* Of the nodes among the 20 closest to some target, how many know all of these themselves. */
static void print_views(struct dht *dht)
{
    struct dht_views views;

    dht_measure_views(dht, 1000, 20, &views);
    printf("%-34s %.3f %%\n", "holders that know all 20 holders",
           100.0 * views.complete / views.views);
}

static size_t allocated_bytes(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static bool lookups(struct arguments *arguments)
{
    struct dht_report report;
    uint64_t begin_ms = clock_monotonic_ms();
    size_t before = allocated_bytes();

    if (arguments->dht.spread_ms == 0) {
        arguments->dht.spread_ms = arguments->dht.nodes * 10; /* 100 nodes start in a second */
    }
    struct dht *dht = dht_new(&arguments->dht);
    printf("%-34s %u, seed %" PRIu64 ", %u %% dead, loss %u ppm\n", "network", arguments->dht.nodes,
           arguments->dht.world.seed, arguments->dead, arguments->dht.world.loss_ppm);
    if (dht->hostile_count > 0) {
        printf("%-34s %u, %s\n", "of them hostile", dht->hostile_count,
               roles[arguments->dht.hostile_role]);
    }
    dht_start_all(dht, arguments->settle_ms);
    size_t bytes = allocated_bytes() - before;
    print_traffic(dht);
    printf("%-34s %zu bytes\n", "memory a node", bytes / arguments->dht.nodes);
    if (arguments->hours > 0) {
        measure_upkeep(dht, arguments->hours);
    }
    print_views(dht);
    dht_kill_some(dht, arguments->dead);
    dht_measure(dht, arguments->lookups, &report);
    print_report(arguments, dht, &report);
    printf("%-34s %" PRIu64 " events in %" PRIu64 " ms, trace %016" PRIx64 "\n\n", "simulated",
           world_events(dht->world), clock_monotonic_ms() - begin_ms, world_hash(dht->world));
    bool good =
        dht->problem == NULL &&
        (dht->hostile_count > 0 || (uint64_t)report.exact * 1000 >= (uint64_t)report.lookups * 999);
    dht_free(&dht);
    return good;
}

/* ---- values ---- */

static void print_cost(const struct arguments *arguments, const struct values_report *report)
{
    printf("%-34s %.1f queries, %.1f datagrams, %.0f bytes\n", "a put costs", report->put_queries,
           report->put_datagrams, report->put_bytes);
    if (arguments->hours == 0) {
        return;
    }
    printf("%-34s %.0f datagrams, %.0f kB\n", "a node sends in an hour", report->datagrams_hour,
           report->bytes_hour / 1000);
    printf("%-34s %.0f datagrams, %.0f kB\n", "    without values and churn",
           report->idle_datagrams_hour, report->idle_bytes_hour / 1000);
    printf("%-34s %.0f datagrams, %.0f kB\n", "    hourly puts by every holder",
           report->republish_datagrams_hour, report->republish_bytes_hour / 1000);
}

static bool values(struct arguments *arguments)
{
    const struct values_scene scene = { .seed = arguments->dht.world.seed,
                                        .nodes = arguments->dht.nodes,
                                        .values = arguments->values,
                                        .kill_percent = arguments->dead,
                                        .churn_percent = arguments->churn,
                                        .hours = arguments->hours };
    struct values_report report;
    uint64_t begin_ms = clock_monotonic_ms();

    printf("%-34s %u on %u nodes, seed %" PRIu64 "\n", "values", scene.values, scene.nodes,
           scene.seed);
    scene_values(&scene, &report);
    printf("%-34s %u\n", "least acknowledgements of a put", report.acknowledged_least);
    if (scene.kill_percent > 0) {
        printf("%-34s %u %% of the nodes\n", "killed at once", scene.kill_percent);
        printf("%-34s %u least, %u values below 20\n", "replicas right after",
               report.replicas_least, report.replicas_below);
        printf("%-34s %u\n", "values lost at once", report.lost_at_once);
        printf("%-34s %.0f min, %u the least\n", "until all have 20 replicas",
               (double)report.whole_ms / 60000, report.whole_least);
    }
    if (scene.churn_percent > 0) {
        printf("%-34s %u h, %u %% an hour: %u nodes left and came\n", "churn", scene.hours,
               scene.churn_percent, report.left);
        printf("%-34s %u meanwhile, %u at the end\n", "least replicas of a value", report.lowest,
               report.end_least);
    }
    printf("%-34s %u\n", "values lost", report.lost);
    printf("%-34s %.1f ms mean\n", "read in", report.read_ms);
    print_cost(arguments, &report);
    printf("%-34s %.1f s\n\n", "simulated in", (double)(clock_monotonic_ms() - begin_ms) / 1000);
    return report.lost == 0;
}

/* ---- nodes ---- */

static bool newcomer(struct arguments *arguments)
{
    const struct newcomer_scene scene = { .seed = arguments->dht.world.seed,
                                          .nodes = arguments->dht.nodes,
                                          .values = arguments->values,
                                          .newcomers = arguments->newcomers };
    struct newcomer_report report;

    scene_newcomer(&scene, &report);
    printf("%-34s %u, one after another, to %u nodes with %u values\n", "newcomers",
           scene.newcomers, scene.nodes, scene.values);
    printf("%-34s %u due, %u made, %u not due\n", "transfers", report.due, report.made,
           report.undue);
    printf("%-34s %u\n", "puts that newcomers took", report.puts);
    printf("%-34s %" PRIu64 " ms p50, %" PRIu64 " ms most\n", "all that was due after",
           report.took_p50_ms, report.took_most_ms);
    printf("%-34s %.1f\n\n", "offers and puts for a newcomer", report.messages);
    return report.made == report.due && report.undue == 0;
}

static bool restart(struct arguments *arguments)
{
    const struct restart_scene scene = { .seed = arguments->dht.world.seed,
                                         .nodes = arguments->dht.nodes,
                                         .values = arguments->values };
    struct restart_report report;

    scene_restart(&scene, &report);
    printf("%-34s %u with %u values\n", "nodes that start again at once", scene.nodes,
           scene.values);
    printf("%-34s %.0f in the first minute, %.0f in the first hour\n", "datagrams a node",
           report.minute_datagrams, report.hour_datagrams);
    printf("%-34s %.0f\n", "    in an hour before", report.calm_hour_datagrams);
    printf("%-34s %.0f\n", "    in the busiest second", report.busiest_second);
    printf("%-34s %u\n\n", "values lost", report.lost);
    return report.lost == 0;
}

static bool flood_row(const struct arguments *arguments, uint32_t sources, bool is_shaped)
{
    const struct flood_scene scene = { .seed = arguments->dht.world.seed,
                                       .nodes = arguments->dht.nodes,
                                       .capacity_s = arguments->capacity,
                                       .times = arguments->times,
                                       .sources = sources,
                                       .is_shaped = is_shaped,
                                       .is_public = true };
    struct flood_report report;
    char from[32] = "forged addresses";

    if (sources > 0) {
        snprintf(from, sizeof(from), "%u address%s", sources, sources == 1 ? "" : "es");
    }
    scene_flood(&scene, &report);
    printf("%-20s %-10s %9.1f %% %9.1f %% %12.3f\n", from, is_shaped ? "yes" : "no",
           100.0 * report.calm_answered / report.calm_asked, 100.0 * report.answered / report.asked,
           (double)report.flood_answered / (double)report.flood_sent);
    return 10 * report.answered >= 9 * report.asked;
}

static bool flood(struct arguments *arguments)
{
    bool good;

    printf("a node that can handle %u datagrams a second gets %u times as many\n",
           arguments->capacity, arguments->times);
    printf("%-20s %-10s %11s %11s %12s\n", "flood from", "shaping", "answered", "meanwhile",
           "flood heard");
    good = flood_row(arguments, 1, true);
    good &= flood_row(arguments, 8, true);
    (void)flood_row(arguments, 1, false);
    (void)flood_row(arguments, 0, true);
    printf("\n");
    return good;
}

/* ---- all ---- */

static const struct arguments defaults = {
    .dht = { .nodes = 1000, .world = { .seed = 1 }, .hostile_role = ROLE_FRIENDS },
    .lookups = 1000,
    .settle_ms = 120000,
    .values = 1000,
    .newcomers = 20,
    .capacity = 5000,
    .times = 10
};

static bool run_with(bool (*command)(struct arguments *), const char *options)
{
    struct arguments arguments = defaults;
    char text[256], *argv[32] = { "sim-dht" };
    int argc = 1;

    snprintf(text, sizeof(text), "%s", options);
    for (char *word = strtok(text, " "); word != NULL && argc < 31; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    optind = 0;
    if (!parse(argc, argv, &arguments)) {
        return false;
    }
    bool good = command(&arguments);
    fflush(stdout);
    return good;
}

static bool all(struct arguments *arguments)
{
    bool good = true;

    (void)arguments;
    good &= run_with(lookups, "--nodes 10000 --dead 30");
    good &= run_with(lookups, "--nodes 10000 --hostile 1");
    good &= run_with(lookups, "--nodes 10000 --hostile 20");
    good &= run_with(values, "--nodes 1000 --values 10000 --dead 30");
    good &= run_with(values, "--nodes 1000 --values 10000 --dead 50");
    good &= run_with(values, "--nodes 1000 --values 10000 --churn 30 --hours 24");
    good &= run_with(newcomer, "--nodes 1000 --values 10000 --newcomers 50");
    good &= run_with(restart, "--nodes 30 --values 1000");
    good &= run_with(flood, "--nodes 50");
    return good;
}

static const struct command {
    const char *name;
    bool (*run)(struct arguments *arguments);
} commands[] = {
    { "lookups", lookups }, { "values", values }, { "newcomer", newcomer },
    { "restart", restart }, { "flood", flood },   { "all", all },
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct arguments arguments = defaults;
    const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;

    if (command != NULL) {
        argc--;
        argv++;
    } else {
        command = &commands[0];
    }
    if (!parse(argc, argv, &arguments)) {
        fputs(usage, stderr);
        return 2;
    }
    return command->run(&arguments) ? 0 : 1;
}
