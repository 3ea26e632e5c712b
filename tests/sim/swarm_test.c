/*
 * The scenes of sim-swarm in small: everybody finishes, near the bound, and one seed is one run.
 */
#include "tests/sim/swarm_scene.h"
#include "tests/sim/swarm_svg.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATE  3125000u /* 25 Mbit/s */
#define SIZE  32000000u
#define PIECE 32768u

static const struct row {
    const char *what;
    struct swarm_scene befalls; /* only what befalls it */
    double ratio, copies;       /* at most */
} rows[] = {
    { "equal links", { 0 }, 1.15, 1.1 },
    { "equal links, rate for rate", { .mode = COOPERATE_NEVER }, 1.5, 1.6 },
    { "equal links, super-seeding", { .mode = COOPERATE_NEVER, .super_seeding = true }, 1.35, 1.3 },
    { "a third on a quarter of the bandwidth", { .slower = 3, .slower_rate = RATE / 4 }, 1.1, 0 },
    { "one on a tenth of the bandwidth", { .slower = 1, .slower_rate = RATE / 10 }, 1.1, 0 },
    { "a third killed half-way and restarted", { .killed = 3 }, 1.15, 0 },
    { "the origin killed when all is out once", { .origin_out = true }, 1.2, 1.1 },
    { "a crowd that comes within five seconds", { .spread_ms = 5000 }, 1.1, 0 },
    { "two more at 90 %", { .late = 2 }, 1.1, 0 },
    { "one more sends bad blocks", { .poisoners = 1 }, 1.2, 0 },
    { "slow disks", { .disk = RATE }, 1.2, 0 },
};

static struct swarm_scene scene_of(const struct row *row)
{
    struct swarm_scene scene = swarm_scene_new(row->what, 9, RATE, SIZE, PIECE);

    scene.slower = row->befalls.slower;
    scene.slower_rate = row->befalls.slower_rate;
    scene.killed = row->befalls.killed;
    scene.origin_copies = row->befalls.origin_copies;
    scene.origin_out = row->befalls.origin_out;
    scene.spread_ms = row->befalls.spread_ms;
    scene.late = row->befalls.late;
    scene.poisoners = row->befalls.poisoners;
    scene.disk = row->befalls.disk;
    scene.mode = row->befalls.mode;
    scene.super_seeding = row->befalls.super_seeding;
    return scene;
}

static void all_finish_in_time(void **state)
{
    const struct row *row = *state;
    const struct swarm_scene scene = scene_of(row);
    struct swarm_report report;

    swarm_scene_run(&scene, &report);
    print_message("%.3f x the bound, %.3f copies, %.2f %% in vain\n", swarm_report_ratio(&report),
                  report.copies, 100 * report.wasted);
    assert_int_equal(report.unfinished, 0);
    assert_true(swarm_report_ratio(&report) <= row->ratio);
    assert_true(row->copies == 0 || report.copies <= row->copies);
    assert_true(report.wasted <= 0.02);
    assert_true(scene.poisoners == 0 || report.banned >= scene.students);
    swarm_report_done(&report);
}

static void one_seed_is_one_run(void **state)
{
    struct swarm_scene scene = swarm_scene_new("twice", 5, RATE, SIZE / 8, PIECE);
    struct swarm_report first, second, other;

    (void)state;
    swarm_scene_run(&scene, &first);
    swarm_scene_run(&scene, &second);
    scene.seed++;
    swarm_scene_run(&scene, &other);
    assert_int_equal(first.hash, second.hash);
    assert_int_equal(first.steps, second.steps);
    assert_int_not_equal(first.hash, other.hash);
    swarm_report_done(&first);
    swarm_report_done(&second);
    swarm_report_done(&other);
}

/* With nobody else the links alone decide: what the wires cost is what was modelled. */
static void one_to_one_takes_what_the_link_needs(void **state)
{
    const struct swarm_scene scene = swarm_scene_new("one to one", 1, RATE, SIZE, PIECE);
    struct swarm_report report;

    (void)state;
    swarm_scene_run(&scene, &report);
    const double headers = (NET_SEGMENT + NET_HEADERS) / (double)NET_SEGMENT;
    assert_true(report.last_s >= report.bound_s * headers);
    assert_true(report.last_s <= report.bound_s * headers + 1);
    assert_true(report.copies == 1);
    swarm_report_done(&report);
}

struct heard {
    uint32_t blocks, blocks_first; /* before the request */
    bool request;
};

static void hear(void *ctx, struct net_end *end, const struct wire_message *message, bool spoilt)
{
    struct heard *heard = ctx;

    (void)end;
    (void)spoilt;
    if (message->kind == WIRE_REQUEST) {
        heard->request = true;
        heard->blocks_first = heard->blocks;
    }
    heard->blocks += message->kind == WIRE_PIECE;
}

static void ignore_end(void *ctx, struct net_end *end)
{
    (void)ctx;
    (void)end;
}

static void ignore_taken(void *ctx, struct net_end *end, const struct wire_message *block)
{
    (void)ctx;
    (void)end;
    (void)block;
}

static void ignore_settle(void *ctx, uint32_t host)
{
    (void)ctx;
    (void)host;
}

/* Those the kernel has go first; those that wait in the program do not. */
static void a_request_overtakes_blocks(void **state)
{
    enum { BLOCKS = 20 };
    const struct wire_message request = { .kind = WIRE_REQUEST, .length = WIRE_BLOCK_SIZE };
    const struct wire_message block = { .kind = WIRE_PIECE, .length = WIRE_BLOCK_SIZE };
    struct heard heard = { 0 };
    const struct net_events events = { .ctx = &heard,
                                       .hello = ignore_end,
                                       .message = hear,
                                       .taken = ignore_taken,
                                       .closed = ignore_end,
                                       .settle = ignore_settle };
    const struct net_options options = { .latency_us = 100,
                                         .kernel_bytes = NET_KERNEL_BYTES,
                                         .block_bytes = WIRE_BLOCK_SIZE };
    struct net *net = net_new(&options, &events);
    const uint32_t from = net_add(net, RATE, RATE), to = net_add(net, RATE, RATE);
    struct net_end *end = net_connect(net, from, to);

    (void)state;
    while (net_step(net, 1000000)) {
    }
    for (uint32_t i = 0; i < BLOCKS; i++) {
        net_send(net, end, &block, false);
    }
    net_send(net, end, &request, false);
    while (net_step(net, 100000000)) {
    }
    assert_true(heard.request);
    assert_int_equal(heard.blocks, BLOCKS);
    assert_in_range(heard.blocks_first, 1, NET_KERNEL_BYTES / WIRE_BLOCK_SIZE);
    net_free(&net);
}

static void a_picture_is_small(void **state)
{
    const struct swarm_scene scene = swarm_scene_new("drawn", 3, RATE, SIZE / 8, PIECE);
    struct swarm_report report;
    char *drawn = NULL;
    size_t size = 0;

    (void)state;
    swarm_scene_run(&scene, &report);
    FILE *file = open_memstream(&drawn, &size);
    assert_non_null(file);
    swarm_svg_write(file, &scene, &report);
    fclose(file);
    assert_true(size > 1000 && size < 15000);
    assert_non_null(strstr(drawn, "</svg>\n"));
    assert_null(strstr(drawn, "nan"));
    assert_null(strstr(drawn, "inf"));
    free(drawn);
    swarm_report_done(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_seed_is_one_run),
        cmocka_unit_test(one_to_one_takes_what_the_link_needs),
        cmocka_unit_test(a_request_overtakes_blocks),
        cmocka_unit_test(a_picture_is_small),
    };

    return RUN_ROWS(rows, all_finish_in_time) + cmocka_run_group_tests(tests, NULL, NULL);
}
