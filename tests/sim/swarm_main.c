/*
 * sim-swarm: simulated swarms of the real scheduler, and how near they come to the least time there
 * can be, as tables. See `usage` below.
 */
#include "tests/sim/swarm_scene.h"

#include "libcommon/clock.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MBIT 125000u /* bytes/s */
#define KIB  1024u
#define MB   1000000u

static const char usage[] =
    "usage: sim-swarm [equal] [--peers N] [--mbit R] [--origin-mbit R] [--size BYTES]\n"
    "                 [--piece BYTES] [--block BYTES] [--latency US] [--kernel BYTES] [--slots N]\n"
    "                 [--phases] [--seed S]\n"
    "Simulated swarms of the real scheduler on one virtual clock: when the first, the median and\n"
    "the last student has everything, beside the least time the links allow (the bound, on raw\n"
    "rates; headers alone cost 4.6 %), and how often the origin sent the content.\n"
    "  equal  one origin, and students on links as fast as its own\n"
    "--phases prints how much of the links was used in each twentieth of the time. Sizes may end\n"
    "in K, M or G (1024). Exit code 1: not all finished, or a figure is not as it has to be.\n";

/* What was asked for on the command line; 0: as the scene has it. */
struct arguments {
    uint64_t seed;
    uint32_t peers, slots;
    double mbit, origin_mbit;
    uint64_t size, piece, block, latency_us, kernel_bytes;
    bool phases;
};

/* ---- arguments ---- */

static uint64_t parse_size(const char *text)
{
    char *end;
    const double number = strtod(text, &end);

    switch (*end) {
    case 'K':
        return (uint64_t)(number * KIB);
    case 'M':
        return (uint64_t)(number * KIB * KIB);
    case 'G':
        return (uint64_t)(number * KIB * KIB * KIB);
    default:
        return (uint64_t)number;
    }
}

static bool take_option(struct arguments *ret, int option, const char *text)
{
    switch (option) {
    case 'n':
        ret->peers = (uint32_t)strtoul(text, NULL, 0);
        return ret->peers > 0 && ret->peers <= 10000;
    case 's':
        ret->seed = strtoull(text, NULL, 0);
        return true;
    case 'r':
        ret->mbit = strtod(text, NULL);
        return ret->mbit > 0;
    case 'o':
        ret->origin_mbit = strtod(text, NULL);
        return ret->origin_mbit > 0;
    case 'z':
        ret->size = parse_size(text);
        return ret->size > 0;
    case 'p':
        ret->piece = parse_size(text);
        return ret->piece >= PICKER_BLOCK_SIZE;
    case 'b':
        ret->block = parse_size(text);
        return ret->block >= PICKER_BLOCK_SIZE && (ret->block & (ret->block - 1)) == 0;
    case 'l':
        ret->latency_us = strtoull(text, NULL, 0);
        return ret->latency_us > 0;
    case 'k':
        ret->kernel_bytes = parse_size(text);
        return ret->kernel_bytes > 0;
    case 'u':
        ret->slots = (uint32_t)strtoul(text, NULL, 0);
        return ret->slots > 0;
    case 'f':
        ret->phases = true;
        return true;
    case 'H':
        fputs(usage, stdout);
        exit(0);
    default:
        return false;
    }
}

static bool parse(int argc, char **argv, struct arguments *ret)
{
    static const struct option options[] = { { "peers", required_argument, NULL, 'n' },
                                             { "seed", required_argument, NULL, 's' },
                                             { "mbit", required_argument, NULL, 'r' },
                                             { "origin-mbit", required_argument, NULL, 'o' },
                                             { "size", required_argument, NULL, 'z' },
                                             { "piece", required_argument, NULL, 'p' },
                                             { "block", required_argument, NULL, 'b' },
                                             { "latency", required_argument, NULL, 'l' },
                                             { "kernel", required_argument, NULL, 'k' },
                                             { "slots", required_argument, NULL, 'u' },
                                             { "phases", no_argument, NULL, 'f' },
                                             { "help", no_argument, NULL, 'H' },
                                             { NULL, 0, NULL, 0 } };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!take_option(ret, option, optarg)) {
            return false;
        }
    }
    return optind == argc;
}

/* ---- running and printing ---- */

static void apply(struct swarm_scene *scene, const struct arguments *arguments)
{
    scene->seed = arguments->seed;
    if (arguments->peers > 0) {
        scene->students = arguments->peers;
    }
    if (arguments->mbit > 0) {
        scene->rate = (uint64_t)(arguments->mbit * MBIT);
        scene->origin_rate = scene->rate;
    }
    if (arguments->origin_mbit > 0) {
        scene->origin_rate = (uint64_t)(arguments->origin_mbit * MBIT);
    }
    if (arguments->size > 0) {
        scene->size = arguments->size;
    }
    if (arguments->piece > 0) {
        scene->piece = arguments->piece;
    }
    if (arguments->block > 0) {
        scene->block = arguments->block;
    }
    if (arguments->latency_us > 0) {
        scene->latency_us = arguments->latency_us;
    }
    if (arguments->kernel_bytes > 0) {
        scene->kernel_bytes = arguments->kernel_bytes;
    }
    if (arguments->slots > 0) {
        scene->upload_slots = arguments->slots;
    }
}

static void print_phases(const struct swarm_report *report)
{
    printf("  %9s %9s %9s %9s %9s %9s\n", "until s", "progress", "unfin.", "origin up", "others up",
           "down");
    for (uint32_t i = 0; i < SCENE_PHASES; i++) {
        const struct swarm_phase *phase = &report->phases[i];
        printf("  %9.2f %8.1f%% %9u %8.1f%% %8.1f%% %8.1f%%\n", phase->until_s,
               100 * phase->progress, phase->unfinished, 100 * phase->origin_up, 100 * phase->up,
               100 * phase->down);
    }
}

static void print_heading(void)
{
    printf("%-34s %8s %8s %8s %8s %6s %6s %6s %6s\n", "", "bound s", "first", "median", "last",
           "ratio", "copies", "waste", "begin");
}

static void print_report(const struct swarm_scene *scene, const struct swarm_report *report)
{
    printf("%-34s %8.2f %8.2f %8.2f %8.2f %6.3f %6.3f %5.2f%% %6.2f", scene->what, report->bound_s,
           report->first_s, report->median_s, report->last_s, swarm_report_ratio(report),
           report->copies, 100 * report->wasted, report->begin_s);
    if (report->unfinished > 0) {
        printf("  %u NOT FINISHED", report->unfinished);
    }
    printf("\n");
}

static bool run(struct swarm_scene *scene, const struct arguments *arguments)
{
    struct swarm_report report;
    const uint64_t begin_ms = clock_monotonic_ms();

    apply(scene, arguments);
    swarm_scene_run(scene, &report);
    print_report(scene, &report);
    if (arguments->phases) {
        print_phases(&report);
    }
    printf("  %" PRIu64 " events in %" PRIu64 " ms, seed %" PRIu64 ", trace %016" PRIx64 "\n",
           report.steps, clock_monotonic_ms() - begin_ms, scene->seed, report.hash);
    const bool good = report.unfinished == 0;
    swarm_report_done(&report);
    return good;
}

/* ---- scenes ---- */

static bool equal(const struct arguments *arguments)
{
    struct swarm_scene few =
        swarm_scene_new("1 to 15 at 25 Mbit/s, 64 MB", 15, 25 * MBIT, 64 * MB, 32 * KIB);
    struct swarm_scene many =
        swarm_scene_new("1 to 31 at 12.5 Mbit/s, 64 MB", 31, 25 * MBIT / 2, 64 * MB, 32 * KIB);

    print_heading();
    if (arguments->peers > 0) {
        few.what = "1 to as many as asked for";
        return run(&few, arguments);
    }
    bool good = run(&few, arguments);
    good &= run(&many, arguments);
    return good;
}

static const struct command {
    const char *name;
    bool (*run)(const struct arguments *arguments);
} commands[] = { { "equal", equal } };

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
    struct arguments arguments = { .seed = 1 };
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
