/*
 * sim-swarm: simulated swarms of the real scheduler, and how near they come to the least time there
 * can be, as tables. See `usage` below.
 */
#include "tests/sim/swarm_scene.h"
#include "tests/sim/swarm_svg.h"

#include "libcommon/clock.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MBIT UINT64_C(125000) /* bytes/s */
#define KIB  UINT64_C(1024)
#define MB   UINT64_C(1000000)

#define GBIT UINT64_C(125000000)

static const char usage[] =
    "usage: sim-swarm [SCENE] [--peers N] [--mbit R] [--origin-mbit R] [--size BYTES]\n"
    "                 [--piece BYTES] [--block BYTES] [--latency US] [--kernel BYTES] [--slots N]\n"
    "                 [--mode auto|open|cooperative] [--super-seeding] [--phases] [--svg FILE]\n"
    "                 [--seed S]\n"
    "Simulated swarms of the real scheduler on one virtual clock: when the first, the median and\n"
    "the last student has everything, beside the least time the links allow (the bound, on raw\n"
    "rates; headers alone cost 4.6 %), and how often the origin sent the content.\n"
    "  equal   one origin, and students on links as fast as its own (the default)\n"
    "  mix     a third of the students on 100 Mbit/s, the others on 1 Gbit/s\n"
    "  third   a third of them killed half-way and started again with what they had\n"
    "  origin  the origin killed after 1.3 copies; and when everything is out once\n"
    "  flash   they come within ten seconds\n"
    "  late    two more come when the others have 90 %\n"
    "  slow    one on a tenth of the others' bandwidth\n"
    "  poison  one sends bad blocks\n"
    "  class   5 GB to 1000 students from a server of 1 GB/s: on 1 Gbit/s, on 100 Mbit/s, mixed\n"
    "  all     all of these\n"
    "Columns: seconds; last / bound; copies the origin sent; received in vain; when the last had\n"
    "its first block. --phases prints how much of the links was used in each twentieth of the\n"
    "time, --svg draws completion over time (of the last row). Sizes may end in K, M or G (1024).\n"
    "Exit code 1: not all finished, or a figure is not as it has to be.\n";

/* What was asked for on the command line; 0: as the scene has it. */
struct arguments {
    uint64_t seed;
    uint32_t peers, slots;
    double mbit, origin_mbit;
    uint64_t size, piece, block, latency_us, kernel_bytes;
    bool phases;
    const char *svg;
    enum cooperate_mode mode;
    bool super_seeding;
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

static bool parse_mode(const char *text, enum cooperate_mode *ret_mode)
{
    static const char *const modes[] = {
        [COOPERATE_AUTO] = "auto",
        [COOPERATE_NEVER] = "open",
        [COOPERATE_ALWAYS] = "cooperative",
    };

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(text, modes[i]) == 0) {
            *ret_mode = (enum cooperate_mode)i;
            return true;
        }
    }
    return false;
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
    case 'm':
        return parse_mode(text, &ret->mode);
    case 'S':
        ret->super_seeding = true;
        return true;
    case 'g':
        ret->svg = text;
        return true;
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
                                             { "svg", required_argument, NULL, 'g' },
                                             { "mode", required_argument, NULL, 'm' },
                                             { "super-seeding", no_argument, NULL, 'S' },
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

/* What a scene is to reach; 0: nothing is said of it. That everybody finishes is always asked. */
struct goal {
    double ratio, copies, waste;
};

static void apply(struct swarm_scene *scene, const struct arguments *arguments)
{
    scene->seed = arguments->seed;
    scene->mode = arguments->mode;
    scene->super_seeding = arguments->super_seeding;
    if (arguments->peers > 0) {
        scene->slower = (uint32_t)((uint64_t)scene->slower * arguments->peers / scene->students);
        scene->killed = (uint32_t)((uint64_t)scene->killed * arguments->peers / scene->students);
        scene->students = arguments->peers;
    }
    if (arguments->mbit > 0) {
        const double times = arguments->mbit * MBIT / (double)scene->rate;
        scene->rate = (uint64_t)((double)scene->rate * times);
        scene->slower_rate = (uint64_t)((double)scene->slower_rate * times);
        scene->origin_rate = (uint64_t)((double)scene->origin_rate * times);
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
    printf("  %9s %9s %9s %9s %9s %9s %9s\n", "until s", "progress", "unfin.", "origin up",
           "others up", "down", "in vain");
    for (uint32_t i = 0; i < SCENE_PHASES; i++) {
        const struct swarm_phase *phase = &report->phases[i];
        printf("  %9.2f %8.1f%% %9u %8.1f%% %8.1f%% %8.1f%% %8.1f%%\n", phase->until_s,
               100 * phase->progress, phase->unfinished, 100 * phase->origin_up, 100 * phase->up,
               100 * phase->down, 100 * phase->wasted);
    }
}

static void print_heading(void)
{
    printf("%-40s %8s %8s %8s %8s %6s %6s %6s %6s\n", "", "bound s", "first", "median", "last",
           "ratio", "copies", "waste", "begin");
}

static void print_details(const struct swarm_scene *scene, const struct swarm_report *report)
{
    if (scene->slower > 0) {
        printf("  of the faster ones the last %.2f s, bound %.2f (%.3f); of the slower %.2f, %.2f "
               "(%.3f)\n",
               report->others_last_s, report->others_bound_s,
               report->others_last_s / report->others_bound_s, report->slower_last_s,
               report->slower_bound_s, report->slower_last_s / report->slower_bound_s);
    }
    if (report->gone_s > 0) {
        printf("  the origin was killed after %.2f s\n", report->gone_s);
    }
    if (scene->late > 0) {
        printf("  the late ones took %.3f x the time their links need\n", report->late_ratio);
    }
    if (scene->poisoners > 0) {
        printf("  %u bans, %u bad pieces\n", report->banned, report->bad_pieces);
    }
}

/* What is not as it has to be; NULL: nothing. */
static const char *judge(const struct swarm_report *report, const struct goal *goal)
{
    if (report->unfinished > 0) {
        return "not all finished";
    }
    if (goal->ratio > 0 && swarm_report_ratio(report) > goal->ratio) {
        return "the last is late";
    }
    if (goal->copies > 0 && report->copies > goal->copies) {
        return "the origin sent too much";
    }
    if (goal->waste > 0 && report->wasted > goal->waste) {
        return "too much was in vain";
    }
    return NULL;
}

static bool draw(const struct swarm_scene *scene, const struct swarm_report *report,
                 const char *path)
{
    FILE *file = fopen(path, "w");

    if (file == NULL) {
        perror(path);
        return false;
    }
    swarm_svg_write(file, scene, report);
    return fclose(file) == 0;
}

static bool run(struct swarm_scene *scene, struct goal goal, const struct arguments *arguments)
{
    struct swarm_report report;
    const uint64_t begin_ms = clock_monotonic_ms();

    apply(scene, arguments);
    swarm_scene_run(scene, &report);
    const char *fault = judge(&report, &goal);
    printf("%-40s %8.2f %8.2f %8.2f %8.2f %6.3f %6.3f %5.2f%% %6.2f%s%s\n", scene->what,
           report.bound_s, report.first_s, report.median_s, report.last_s,
           swarm_report_ratio(&report), report.copies, 100 * report.wasted, report.begin_s,
           fault != NULL ? "  NO: " : "", fault != NULL ? fault : "");
    print_details(scene, &report);
    if (arguments->phases) {
        print_phases(&report);
    }
    printf("  %" PRIu64 " events in %" PRIu64 " ms, seed %" PRIu64 ", trace %016" PRIx64 "\n",
           report.steps, clock_monotonic_ms() - begin_ms, scene->seed, report.hash);
    fflush(stdout);
    const bool drawn = arguments->svg == NULL || draw(scene, &report, arguments->svg);
    swarm_report_done(&report);
    return fault == NULL && drawn;
}

/* ---- scenes ---- */

static const struct goal near_the_bound = { .ratio = 1.10, .copies = 1.1, .waste = 0.01 };
static const struct goal all_finish = { 0 };

/*
 * Copies beyond 1.1 where nothing is said of them (mix, flash, late, class). Until each piece is
 * out once the origin sends none twice. After that it is one seed among others, with an uplink that
 * would be idle; so it gives whoever still lacks something its equal share, 1 of so many seeds:
 * of five slow ones, or of two late ones, whose own links are full all the time. It could refuse
 * that without costing them time, but only if it knew for sure that others can give as much; a
 * class of equals needs it, since there all uplinks together hardly carry what all downlinks take.
 */
static const struct goal in_time = { .ratio = 1.10, .waste = 0.01 };

static struct swarm_scene fifteen(const char *what)
{
    return swarm_scene_new(what, 15, 25 * MBIT, 64 * MB, 32 * KIB);
}

static bool equal(const struct arguments *arguments)
{
    struct swarm_scene few = fifteen("1 to 15 at 25 Mbit/s, 64 MB");
    struct swarm_scene many =
        swarm_scene_new("1 to 31 at 12.5 Mbit/s, 64 MB", 31, 25 * MBIT / 2, 64 * MB, 32 * KIB);

    if (arguments->peers > 0) {
        few.what = "1 to as many as asked for";
        return run(&few, near_the_bound, arguments);
    }
    bool good = run(&few, near_the_bound, arguments);
    good &= run(&many, near_the_bound, arguments);
    return good;
}

static bool mix(const struct arguments *arguments)
{
    struct swarm_scene scene =
        swarm_scene_new("1 to 15, a third at 100 Mbit/s, 1 Gbit/s", 15, GBIT, 640 * MB, 512 * KIB);

    scene.slower = 5;
    scene.slower_rate = 100 * MBIT;
    return run(&scene, in_time, arguments); /* its copies: 1 + 5 x 0.9 / 11 seeds */
}

static bool third(const struct arguments *arguments)
{
    struct swarm_scene scene = fifteen("a third killed half-way, and restarted");

    scene.killed = scene.students / 3;
    return run(&scene, all_finish, arguments);
}

static bool origin(const struct arguments *arguments)
{
    struct swarm_scene some = fifteen("the origin killed after 1.3 copies");
    struct swarm_scene once = fifteen("the origin killed when all is out once");

    some.origin_copies = 1.3;
    once.origin_out = true;
    bool good = run(&some, all_finish, arguments);
    good &= run(&once, all_finish, arguments);
    return good;
}

static bool flash(const struct arguments *arguments)
{
    struct swarm_scene scene = fifteen("a crowd that comes within 10 s");

    /* Copies 1.2: when all is out once, at 21 s, the last have come but lack half of it. */
    scene.spread_ms = 10000;
    return run(&scene, all_finish, arguments);
}

static bool late(const struct arguments *arguments)
{
    struct swarm_scene scene = fifteen("two more at 90 %");

    scene.late = 2; /* copies: 1.04 + 2 / 16 seeds */
    return run(&scene, all_finish, arguments);
}

static bool slow(const struct arguments *arguments)
{
    struct swarm_scene scene = fifteen("one on a tenth of the bandwidth");

    scene.slower = 1;
    scene.slower_rate = scene.rate / 10;
    return run(&scene, all_finish, arguments);
}

static bool poison(const struct arguments *arguments)
{
    struct swarm_scene scene = fifteen("one more sends bad blocks");

    scene.poisoners = 1;
    return run(&scene, all_finish, arguments);
}

static struct swarm_scene class_of_1000(const char *what, uint64_t rate)
{
    struct swarm_scene scene = swarm_scene_new(what, 1000, rate, 5000 * MB, 2 * KIB * KIB);

    /* Its uplink is that of eight students and idle after the first copy: up to 8 x 5 copies. */
    scene.origin_rate = 1000 * MB;
    scene.block = 64 * KIB; /* of 16 KiB it is four times the work, and the same figures */
    return scene;
}

static bool class(const struct arguments *arguments)
{
    const struct goal goal = { .ratio = 1.10 };
    struct swarm_scene fast = class_of_1000("1000 x 5 GB from 1 GB/s, on 1 Gbit/s", GBIT);
    struct swarm_scene slow_ones =
        class_of_1000("1000 x 5 GB from 1 GB/s, on 100 Mbit/s", 100 * MBIT);
    struct swarm_scene mixed = class_of_1000("1000 x 5 GB, a third on 100 Mbit/s", GBIT);

    mixed.slower = 333;
    mixed.slower_rate = 100 * MBIT;
    bool good = run(&fast, goal, arguments);
    if (arguments->svg != NULL) {
        return good; /* it is this one the picture is of */
    }
    good &= run(&slow_ones, goal, arguments);
    good &= run(&mixed, goal, arguments);
    return good;
}

static bool all(const struct arguments *arguments);

static const struct command {
    const char *name;
    bool (*run)(const struct arguments *arguments);
} commands[] = {
    { "equal", equal }, { "mix", mix },   { "third", third }, { "origin", origin },
    { "flash", flash }, { "late", late }, { "slow", slow },   { "poison", poison },
    { "class", class }, { "all", all }, /* the last */
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static bool all(const struct arguments *arguments)
{
    bool good = true;

    for (size_t i = 0; i + 1 < COMMANDS; i++) {
        good &= commands[i].run(arguments);
    }
    return good;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++) {
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
    print_heading();
    return command->run(&arguments) ? 0 : 1;
}
