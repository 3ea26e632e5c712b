#include "tests/sim/swarm_scene.h"

#include "libcommon/memory.h"

#include <stdlib.h>

#define US_PER_S     1000000u
#define TICKS        400u /* looks at the swarm in the time of the bound */
#define GIVE_UP      20u  /* bounds, and a minute */
#define LATE_PERCENT 90u
#define DOWN_US      (2u * US_PER_S) /* who is killed is started again after that */
#define JITTER_MS    200u            /* nobody starts at the same moment */
#define CHECKED      5u              /* members at each of CHECKS looks */
#define CHECK_EVERY  50u

struct run {
    const struct swarm_scene *scene;
    struct swarm *swarm;
    struct random random;
    uint32_t first_late, first_poisoner, end; /* members: origin, students, late, poisoners */
    bool late_came, killed, restarted, origin_gone;
    uint64_t killed_us;
    double again_bound_s; /* those started again cannot be done before */
    uint64_t tick_us;
    uint32_t ticks;
    struct swarm_point *points;
    uint32_t points_capacity;
    struct swarm_phase *history; /* sums since the start, one for each point */
    struct swarm_report *report;
};

static double seconds(uint64_t us)
{
    return (double)us / US_PER_S;
}

/* ---- the bound ---- */

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* Of those whose rate is `rate`, when `count` of them have to have all; starting at begin_s. */
static double bound_of(const struct run *self, double begin_s, uint64_t rate, uint32_t count)
{
    const struct swarm_scene *scene = self->scene;
    const double size = (double)scene->size;
    double up = (double)scene->origin_rate;

    for (uint32_t i = 1; i < self->end; i++) {
        up += (double)self->swarm->members[i]->options.up;
    }
    const double bound = larger(size / (double)scene->origin_rate, count * size / up);
    return larger(bound, begin_s + size / (double)rate);
}

static void find_bounds(struct run *self)
{
    const struct swarm_scene *scene = self->scene;
    struct swarm_report *report = self->report;
    const uint32_t count = self->end - 1 - scene->poisoners;
    const double spread_s = scene->spread_ms / 1000.0;

    report->others_bound_s = bound_of(self, spread_s, scene->rate, count - scene->slower);
    report->slower_bound_s =
        scene->slower > 0 ? bound_of(self, spread_s, scene->slower_rate, count) : 0;
    report->bound_s = larger(bound_of(self, spread_s, scene->rate, count), report->slower_bound_s);
    report->bound_s = larger(report->bound_s, self->again_bound_s);
    for (uint32_t i = self->first_late; i < self->first_poisoner; i++) {
        const struct swarm_member_options *late = &self->swarm->members[i]->options;
        if (late->starts_us == SWARM_NEVER) {
            continue; /* so far */
        }
        report->bound_s = larger(report->bound_s, seconds(late->starts_us) +
                                                      (double)scene->size / (double)late->down);
    }
}

/* ---- the cast ---- */

static void add(struct run *self, uint64_t rate, uint64_t starts_us, bool poisons)
{
    const struct swarm_member_options options = {
        .up = rate,
        .down = rate,
        .is_origin = self->swarm->members_count == 0,
        .poisons = poisons,
        .disk = self->scene->disk,
        .starts_us = starts_us,
    };

    swarm_add(self->swarm, &options);
}

/* `some` of `all`, spread among the others. */
static bool is_one_of(uint32_t i, uint64_t some, uint64_t all)
{
    return (i + 1) * some / all > i * some / all;
}

static void cast(struct run *self)
{
    const struct swarm_scene *scene = self->scene;
    const uint32_t spread_ms = scene->spread_ms > 0 ? scene->spread_ms : JITTER_MS;

    add(self, scene->origin_rate, 0, false);
    for (uint32_t i = 0; i < scene->students; i++) {
        add(self, is_one_of(i, scene->slower, scene->students) ? scene->slower_rate : scene->rate,
            random_below(&self->random, spread_ms * 1000u), false);
    }
    self->first_late = self->swarm->members_count;
    for (uint32_t i = 0; i < scene->late; i++) {
        add(self, scene->rate, SWARM_NEVER, false);
    }
    self->first_poisoner = self->swarm->members_count;
    for (uint32_t i = 0; i < scene->poisoners; i++) {
        add(self, scene->rate, random_below(&self->random, spread_ms * 1000u), true);
    }
    self->end = self->swarm->members_count;
}

/* ---- what befalls it ---- */

static void let_late_in(struct run *self, double progress)
{
    if (self->scene->late == 0 || self->late_came || progress * 100 < LATE_PERCENT) {
        return;
    }
    self->late_came = true;
    for (uint32_t i = self->first_late; i < self->first_poisoner; i++) {
        self->swarm->members[i]->options.starts_us = swarm_now_us(self->swarm);
        swarm_start(self->swarm, i);
    }
}

/* What it still lacks has to come through its link. */
static void start_again(struct run *self, uint32_t member)
{
    const uint64_t lacks = self->scene->size - swarm_have_bytes(self->swarm, member);
    const double at_s = seconds(swarm_now_us(self->swarm)) +
                        (double)lacks / (double)self->swarm->members[member]->options.down;

    self->again_bound_s = larger(self->again_bound_s, at_s);
    swarm_start(self->swarm, member);
}

static void kill_and_restart(struct run *self, double progress)
{
    if (self->scene->killed == 0 || progress < 0.5) {
        return;
    }
    const bool again =
        self->killed && !self->restarted && swarm_now_us(self->swarm) >= self->killed_us + DOWN_US;
    for (uint32_t i = 0; i < self->scene->students; i++) {
        if (!is_one_of(i, self->scene->killed, self->scene->students)) {
            continue;
        }
        if (!self->killed) {
            swarm_kill(self->swarm, i + 1);
        } else if (again) {
            start_again(self, i + 1);
        }
    }
    if (!self->killed) {
        self->killed = true;
        self->killed_us = swarm_now_us(self->swarm);
    }
    self->restarted |= again;
}

static void kill_origin(struct run *self)
{
    const struct swarm_scene *scene = self->scene;

    if (self->origin_gone || (scene->origin_copies <= 0 && !scene->origin_out)) {
        return;
    }
    const double copies = (double)swarm_sent_bytes(self->swarm, 0) / (double)scene->size;
    if (scene->origin_out ? copies < 1 || swarm_only_at(self->swarm, 0) > 0
                          : copies < scene->origin_copies) {
        return;
    }
    swarm_kill(self->swarm, 0);
    self->origin_gone = true;
    self->report->gone_s = seconds(swarm_now_us(self->swarm));
}

/* ---- looking ---- */

static void look(struct run *self)
{
    const struct swarm_scene *scene = self->scene;
    const uint32_t at = self->report->points_count;
    uint64_t have = 0;
    uint32_t complete = 0;

    if (at == self->points_capacity) {
        self->points_capacity = at == 0 ? 2 * TICKS : 2 * at;
        self->points = xrealloc(self->points, self->points_capacity * sizeof(*self->points));
        self->history = xrealloc(self->history, self->points_capacity * sizeof(*self->history));
    }
    struct swarm_phase sums = { .origin_up = (double)net_counts(self->swarm->net, 0).up };
    for (uint32_t i = 1; i < self->first_late; i++) {
        const struct net_counts counts = net_counts(self->swarm->net, i);
        have += swarm_have_bytes(self->swarm, i);
        complete += swarm_is_complete(self->swarm, i);
        sums.up += (double)counts.up;
        sums.down += (double)counts.down;
        sums.wasted += (double)swarm_wasted_bytes(self->swarm, i);
    }
    self->points[at] = (struct swarm_point){
        .at_s = seconds(swarm_now_us(self->swarm)),
        .complete = (double)complete / scene->students,
        .progress = (double)have / (double)scene->size / scene->students,
    };
    sums.until_s = self->points[at].at_s;
    sums.progress = self->points[at].progress;
    sums.unfinished = scene->students - complete;
    self->history[at] = sums;
    self->report->points_count++;
}

static bool is_over(const struct run *self)
{
    if (self->scene->late > 0 && !self->late_came) {
        return false;
    }
    for (uint32_t i = 1; i < self->first_poisoner; i++) {
        if (!swarm_is_complete(self->swarm, i)) {
            return false;
        }
    }
    return true;
}

static void play(struct run *self)
{
    const uint64_t give_up_us =
        (uint64_t)(self->report->bound_s * GIVE_UP * US_PER_S) + 60u * US_PER_S;

    self->tick_us = (uint64_t)(self->report->bound_s * US_PER_S / TICKS) + 1;
    look(self);
    while (!is_over(self) && swarm_now_us(self->swarm) < give_up_us) {
        swarm_run(self->swarm, swarm_now_us(self->swarm) + self->tick_us);
        look(self);
        const double progress = self->points[self->report->points_count - 1].progress;
        let_late_in(self, progress);
        kill_and_restart(self, progress);
        kill_origin(self);
        if (++self->ticks % CHECK_EVERY == 0) {
            swarm_check(self->swarm, CHECKED);
        }
    }
    swarm_check(self->swarm, self->end < 100 ? self->end : CHECKED);
}

/* ---- figures ---- */

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void report_times(struct run *self)
{
    struct swarm_report *report = self->report;
    const uint32_t count = self->first_poisoner - 1;
    double *times = xcalloc(count, sizeof(*times));
    uint32_t finished = 0;

    for (uint32_t i = 1; i < self->first_poisoner; i++) {
        const struct swarm_member *member = self->swarm->members[i];
        if (!swarm_is_complete(self->swarm, i)) {
            report->unfinished++;
            continue;
        }
        const double at_s = seconds(member->completed_us);
        times[finished++] = at_s;
        report->begin_s = larger(report->begin_s, seconds(member->first_us));
        if (i >= self->first_late) {
            const double own_s = at_s - seconds(member->options.starts_us);
            report->late_ratio = larger(report->late_ratio, own_s * (double)member->options.down /
                                                                (double)self->scene->size);
        }
        if (self->scene->slower > 0 && member->options.up == self->scene->slower_rate) {
            report->slower_last_s = larger(report->slower_last_s, at_s);
        } else {
            report->others_last_s = larger(report->others_last_s, at_s);
        }
    }
    qsort(times, finished, sizeof(*times), compare);
    if (finished > 0) {
        report->first_s = times[0];
        report->median_s = times[finished / 2];
        report->last_s = times[finished - 1];
    }
    free(times);
}

static void report_bytes(struct run *self)
{
    const double size = (double)self->scene->size;
    uint64_t wasted = 0;

    for (uint32_t i = 1; i < self->first_poisoner; i++) {
        const struct swarm_member *member = self->swarm->members[i];
        wasted += swarm_wasted_bytes(self->swarm, i);
        self->report->banned += member->up ? member->torrent.stats.banned : 0;
        self->report->bad_pieces += member->up ? member->torrent.stats.bad_pieces : 0;
    }
    self->report->copies = (double)swarm_sent_bytes(self->swarm, 0) / size;
    self->report->wasted = (double)wasted / size / (self->first_poisoner - 1);
}

/* The differences of the sums, as shares of what the links could carry meanwhile. */
static void report_phases(struct run *self)
{
    const struct swarm_scene *scene = self->scene;
    const uint32_t last = self->report->points_count - 1;
    double rate = 0;

    for (uint32_t i = 1; i < self->first_late; i++) {
        rate += (double)self->swarm->members[i]->options.up;
    }
    for (uint32_t i = 0; i < SCENE_PHASES; i++) {
        const struct swarm_phase *from = &self->history[i * last / SCENE_PHASES];
        const struct swarm_phase *to = &self->history[(i + 1) * last / SCENE_PHASES];
        const double time_s = to->until_s > from->until_s ? to->until_s - from->until_s : 1;
        self->report->phases[i] = *to;
        self->report->phases[i].origin_up =
            (to->origin_up - from->origin_up) / time_s / (double)scene->origin_rate;
        self->report->phases[i].up = (to->up - from->up) / time_s / rate;
        self->report->phases[i].down = (to->down - from->down) / time_s / rate;
        self->report->phases[i].wasted = (to->wasted - from->wasted) / (to->down - from->down + 1);
    }
}

/* ---- entry points ---- */

struct swarm_scene swarm_scene_new(const char *what, uint32_t students, uint64_t rate,
                                   uint64_t size, uint64_t piece)
{
    return (struct swarm_scene){
        .what = what,
        .seed = 1,
        .students = students,
        .size = size,
        .piece = piece,
        .block = PICKER_BLOCK_SIZE,
        .origin_rate = rate,
        .rate = rate,
        .latency_us = 200,
        .kernel_bytes = NET_KERNEL_BYTES,
        .peers_max = 200,
        .peers_wanted = 80,
        .upload_slots = 8,
        .discovered = SWARM_DISCOVERED,
    };
}

void swarm_scene_run(const struct swarm_scene *scene, struct swarm_report *ret_report)
{
    const struct swarm_options options = {
        .seed = scene->seed,
        .shape = { .pieces = (uint32_t)((scene->size + scene->piece - 1) / scene->piece),
                   .piece_size = (uint32_t)scene->piece,
                   .total_size = scene->size,
                   .block_size = (uint32_t)scene->block },
        .latency_us = scene->latency_us,
        .kernel_bytes = scene->kernel_bytes,
        .peers_max = scene->peers_max,
        .peers_wanted = scene->peers_wanted,
        .upload_slots = scene->upload_slots,
        .discovered = scene->discovered,
        .mode = scene->mode,
        .super_seeding = scene->super_seeding,
    };
    struct run self = {
        .scene = scene,
        .swarm = swarm_new(&options),
        .report = ret_report,
    };

    *ret_report = (struct swarm_report){ 0 };
    random_init(&self.random, scene->seed ^ 0x73776172u);
    cast(&self);
    find_bounds(&self);
    play(&self);
    find_bounds(&self);
    report_times(&self);
    report_bytes(&self);
    report_phases(&self);
    ret_report->points = self.points;
    ret_report->hash = net_hash(self.swarm->net);
    ret_report->steps = net_steps(self.swarm->net);
    free(self.history);
    swarm_free(&self.swarm);
}

void swarm_report_done(struct swarm_report *self)
{
    free(self->points);
    self->points = NULL;
}

double swarm_report_ratio(const struct swarm_report *self)
{
    return self->last_s / self->bound_s;
}
