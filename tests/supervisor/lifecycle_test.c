/*
 * Every state by every event, then whole lives on a virtual clock. A life is a line of steps:
 *
 *     start ready beat broken stuck exit:CODE timer restart stop
 *                 the events; exit:-9 is a signal, broken:1, stuck:1 and timer:1 say that the
 *                 process is stopped
 *     +MS         time passes
 *     wait        time passes to the deadline; timer
 *     crash*N     N times: exit:1, then wait if it waits
 *
 * and its trace is what came of it: "spawn>starting", "->ready" for each event.
 */
#include "services/supervisor/lifecycle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WATCHDOG_MS  10000u
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct world {
    struct lifecycle life;
    uint64_t now_ms;
    char trace[2048];
};

static const char *order_text(enum life_order order)
{
    static const char *const texts[] = { "-", "spawn", "term", "abort", "kill" };

    return texts[order];
}

static void tell(struct world *world, enum life_event event, int32_t detail)
{
    enum life_order order = lifecycle_event(&world->life, event, detail, world->now_ms);
    size_t used = strlen(world->trace);

    snprintf(world->trace + used, sizeof world->trace - used, "%s%s>%s", used ? " " : "",
             order_text(order), life_state_text(world->life.state));
}

static void wait_for_deadline(struct world *world)
{
    assert_true(lifecycle_deadline_ms(&world->life) != LIFECYCLE_NEVER);
    if (world->now_ms < lifecycle_deadline_ms(&world->life)) {
        world->now_ms = lifecycle_deadline_ms(&world->life);
    }
    tell(world, LIFE_ON_TIMER, 0);
}

static void crash(struct world *world, int times)
{
    for (int i = 0; i < times; i++) {
        tell(world, LIFE_ON_EXIT, 1);
        if (world->life.state == LIFE_BACKOFF) {
            wait_for_deadline(world);
        }
    }
}

static void step(struct world *world, const char *word)
{
    const char *colon = strchr(word, ':');
    size_t size = colon ? (size_t)(colon - word) : strlen(word);

    if (word[0] == '+') {
        world->now_ms += strtoull(word + 1, NULL, 10);
        return;
    }
    if (strcmp(word, "wait") == 0) {
        wait_for_deadline(world);
        return;
    }
    if (strncmp(word, "crash*", 6) == 0) {
        crash(world, atoi(word + 6));
        return;
    }
    for (int event = 0; event < LIFE_EVENTS_COUNT; event++) {
        const char *text = life_event_text((enum life_event)event);

        if (strlen(text) == size && strncmp(text, word, size) == 0) {
            tell(world, (enum life_event)event, colon ? atoi(colon + 1) : 0);
            return;
        }
    }
    fail_msg("no such step: %s", word);
}

static void live(struct world *world, const char *script)
{
    char words[512];
    char *rest = NULL;

    assert_true(strlen(script) < sizeof words);
    strcpy(words, script);
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        step(world, word);
    }
}

static void begin(struct world *world, const char *script)
{
    memset(world, 0, sizeof *world);
    world->now_ms = 1000000;
    lifecycle_init(&world->life, WATCHDOG_MS, 7);
    live(world, script);
    world->trace[0] = '\0';
}

/* ---- every state by every event ---- */

struct cell_row {
    enum life_state state;
    const char *reached_by;
    const char *after[LIFE_EVENTS_COUNT]; /* NULL: it changes nothing */
};

static const struct cell_row cells[] = {
    { LIFE_STOPPED,
      "",
      { [LIFE_ON_START] = "spawn>starting", [LIFE_ON_RESTART] = "spawn>starting" } },
    { LIFE_STARTING,
      "start",
      { [LIFE_ON_READY] = "->ready",
        [LIFE_ON_BROKEN] = "abort>hung",
        [LIFE_ON_EXIT] = "spawn>starting",
        [LIFE_ON_TIMER] = "abort>hung",
        [LIFE_ON_RESTART] = "term>restarting",
        [LIFE_ON_STOP] = "term>draining" } },
    { LIFE_READY,
      "start ready",
      { [LIFE_ON_BROKEN] = "abort>hung",
        [LIFE_ON_STUCK] = "abort>hung",
        [LIFE_ON_EXIT] = "spawn>starting",
        [LIFE_ON_TIMER] = "abort>hung",
        [LIFE_ON_RESTART] = "term>restarting",
        [LIFE_ON_STOP] = "term>draining" } },
    { LIFE_HUNG,
      "start ready wait",
      { [LIFE_ON_EXIT] = "spawn>starting",
        [LIFE_ON_TIMER] = "kill>hung",
        [LIFE_ON_STOP] = "->draining" } },
    { LIFE_DRAINING,
      "start ready stop",
      { [LIFE_ON_EXIT] = "->stopped", [LIFE_ON_TIMER] = "kill>draining" } },
    { LIFE_RESTARTING,
      "start ready restart",
      { [LIFE_ON_EXIT] = "spawn>starting",
        [LIFE_ON_TIMER] = "kill>restarting",
        [LIFE_ON_STOP] = "->draining" } },
    { LIFE_BACKOFF,
      "start exit:1 exit:1",
      { [LIFE_ON_TIMER] = "spawn>starting",
        [LIFE_ON_RESTART] = "spawn>starting",
        [LIFE_ON_STOP] = "->stopped" } },
    { LIFE_FAILED,
      "start crash*6",
      { [LIFE_ON_TIMER] = "spawn>starting",
        [LIFE_ON_RESTART] = "spawn>starting",
        [LIFE_ON_STOP] = "->stopped" } },
    { LIFE_REFUSED,
      "start exit:78",
      { [LIFE_ON_RESTART] = "spawn>starting", [LIFE_ON_STOP] = "->stopped" } },
};

static void every_event_in(void **state)
{
    const struct cell_row *row = *state;

    for (int event = 0; event < LIFE_EVENTS_COUNT; event++) {
        struct world world;
        char nothing[40];
        const char *expected = row->after[event];

        begin(&world, row->reached_by);
        assert_int_equal(world.life.state, row->state);
        snprintf(nothing, sizeof nothing, "->%s", life_state_text(row->state));
        if (event == LIFE_ON_TIMER && lifecycle_deadline_ms(&world.life) != LIFECYCLE_NEVER) {
            tell(&world, LIFE_ON_TIMER, 0);
            assert_string_equal(world.trace, nothing); /* a timer before its time */
            world.trace[0] = '\0';
            wait_for_deadline(&world);
        } else {
            tell(&world, (enum life_event)event, event == LIFE_ON_EXIT ? -6 : 0);
        }
        assert_string_equal(world.trace, expected ? expected : nothing);
        assert_true((lifecycle_deadline_ms(&world.life) == LIFECYCLE_NEVER) ==
                    (world.life.state == LIFE_STOPPED || world.life.state == LIFE_REFUSED));
    }
}

/* ---- whole lives ---- */

struct life_row {
    const char *what;
    const char *before; /* its trace is not looked at */
    const char *steps;
    const char *trace;
};

static const struct life_row lives[] = {
    { "the first crash is met at once", "start ready +10000", "exit:-9", "spawn>starting" },
    { "the second waits", "start exit:1", "exit:1", "->backoff" },
    { "five restarts in 30 s are made, the sixth end fails it", "start", "crash*6",
      "spawn>starting ->backoff spawn>starting ->backoff spawn>starting ->backoff spawn>starting "
      "->backoff spawn>starting ->failed" },
    { "crashes 10 s apart never fail it",
      "start ready +10000 crash*1 ready +10000 crash*1 ready +10000 crash*1 ready +10000 crash*1 "
      "ready +10000 crash*1",
      "ready +10000 exit:1", "->ready ->backoff" },
    { "60 s of being ready forget the past", "start crash*3 ready +60000", "exit:1",
      "spawn>starting" },
    { "less than 60 s do not", "start crash*3 ready +59999", "exit:1", "->backoff" },
    { "a hang after 60 s is met at once too", "start crash*3 ready +59999 beat +10000",
      "timer exit:-6", "abort>hung spawn>starting" },
    { "a failed service is tried again and fails at the next end", "start crash*6", "wait exit:1",
      "spawn>starting ->failed" },
    { "also when it was ready for a while", "start crash*6 wait ready +30000", "exit:1",
      "->failed" },
    { "60 s of being ready redeem it", "start crash*6 wait ready +60000", "exit:1",
      "spawn>starting" },
    { "a configuration error is not retried", "start", "exit:78 timer", "->refused ->refused" },
    { "nor is a missing permission", "start ready", "exit:77", "->refused" },
    { "a request brings it back", "start exit:78", "restart ready exit:1",
      "spawn>starting ->ready spawn>starting" },
    { "code 78 while it is being restarted is not looked at", "start ready restart", "exit:78",
      "spawn>starting" },
    { "an exit with code 0 that nobody asked for is an end too", "start ready", "exit:0",
      "spawn>starting" },
    { "beats keep it alive", "start ready +9999 beat +9999 beat +9999", "timer", "->ready" },
    { "one missed beat does not", "start ready +9999 beat +10000", "timer", "abort>hung" },
    { "a second READY is no beat", "start ready +9999 ready +1", "timer", "abort>hung" },
    { "who hangs is told to abort, then killed, and killed again", "start ready",
      "wait wait wait exit:-9", "abort>hung kill>hung kill>hung spawn>starting" },
    { "who beats and is stuck is told to abort too", "start ready beat", "stuck wait exit:-9",
      "abort>hung kill>hung spawn>starting" },
    { "who hangs and is stopped is killed at once: no abort reaches it", "start ready +10000",
      "timer:1 wait exit:-9", "kill>hung kill>hung spawn>starting" },
    { "who hangs at its start, too", "start +60000", "timer:1", "kill>hung" },
    { "who is stuck, too", "start ready beat", "stuck:1", "kill>hung" },
    { "who is broken, too", "start ready beat", "broken:1", "kill>hung" },
    { "who is stopped and not late yet is let be", "start ready +9999", "timer:1", "->ready" },
    { "being stuck again and again is a crash loop",
      "start ready stuck exit:-6 ready stuck exit:-6 wait ready stuck exit:-6 wait ready stuck "
      "exit:-6 wait ready stuck exit:-6 wait ready",
      "stuck exit:-6", "abort>hung ->failed" },
    { "stuck after 60 s of being ready, it is started again at once",
      "start crash*3 ready +60000 beat", "stuck exit:-6", "abort>hung spawn>starting" },
    { "who drains is not stuck", "start ready stop", "stuck", "->draining" },
    { "who does not get ready in 60 s hangs", "start +59999", "timer +1 timer",
      "->starting abort>hung" },
    { "who does not stop is killed", "start ready stop +9999", "timer +1 timer exit:-9",
      "->draining kill>draining ->stopped" },
    { "who does not stop for a restart is killed", "start ready restart", "wait exit:-9",
      "kill>restarting spawn>starting" },
    { "stopped while it restarts, it stays stopped", "start ready restart", "stop exit:0",
      "->draining ->stopped" },
    { "stopped while it hangs, it stays stopped", "start ready wait", "stop wait exit:-9",
      "->draining kill>draining ->stopped" },
    { "stopped while it backs off, it stays stopped", "start exit:1 exit:1", "stop timer",
      "->stopped ->stopped" },
    { "a restart by request does not wait", "start crash*4", "exit:1 restart",
      "->backoff spawn>starting" },
    { "a restart by request forgets the past", "start crash*5 restart exit:0", "exit:1",
      "spawn>starting" },
    { "after a stop it can be started", "start ready stop exit:0", "start ready",
      "spawn>starting ->ready" },
};

static void one_life(void **state)
{
    const struct life_row *row = *state;
    struct world world;

    begin(&world, row->before);
    live(&world, row->steps);
    assert_string_equal(world.trace, row->trace);
}

static void the_delay_doubles_within_its_jitter(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct lifecycle life;
        uint64_t now_ms = 5000000;
        uint64_t full_ms = LIFECYCLE_BACKOFF_MS;

        lifecycle_init(&life, WATCHDOG_MS, seed);
        assert_int_equal(lifecycle_event(&life, LIFE_ON_START, 0, now_ms), LIFE_DO_SPAWN);
        assert_int_equal(lifecycle_event(&life, LIFE_ON_EXIT, 1, now_ms), LIFE_DO_SPAWN);
        for (int i = 0; i < 14; i++) {
            uint64_t delay_ms;

            assert_int_equal(lifecycle_event(&life, LIFE_ON_READY, 0, now_ms), LIFE_DO_NOTHING);
            now_ms += 30001; /* seldom enough not to fail, too short to be forgotten */
            assert_int_equal(lifecycle_event(&life, LIFE_ON_EXIT, 1, now_ms), LIFE_DO_NOTHING);
            assert_int_equal(life.state, LIFE_BACKOFF);
            delay_ms = lifecycle_deadline_ms(&life) - now_ms;
            assert_in_range(delay_ms, full_ms / 2, full_ms);
            full_ms =
                full_ms * 2 > LIFECYCLE_BACKOFF_MAX_MS ? LIFECYCLE_BACKOFF_MAX_MS : full_ms * 2;
            now_ms += delay_ms;
            assert_int_equal(lifecycle_event(&life, LIFE_ON_TIMER, 0, now_ms), LIFE_DO_SPAWN);
        }
        assert_int_equal(full_ms, LIFECYCLE_BACKOFF_MAX_MS);
    }
}

static void nodes_part_by_their_jitter(void **state)
{
    uint64_t first = 0;
    bool parted = false;

    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world world;

        memset(&world, 0, sizeof world);
        lifecycle_init(&world.life, WATCHDOG_MS, seed);
        live(&world, "start exit:1 exit:1");
        parted = parted || (seed > 1 && lifecycle_deadline_ms(&world.life) != first);
        first = lifecycle_deadline_ms(&world.life);
    }
    assert_true(parted);
}

static void it_counts_what_it_did(void **state)
{
    struct world world;

    (void)state;
    begin(&world, "start ready exit:-11 exit:-9 wait ready restart exit:0 ready");
    assert_int_equal(world.life.generation, 4);
    assert_int_equal(world.life.restarts, 3);
    assert_int_equal(world.life.last_exit, 0);
    live(&world, "exit:-9");
    assert_int_equal(world.life.last_exit, -9);
}

static void without_a_watchdog_silence_is_no_hang(void **state)
{
    struct world world;

    (void)state;
    begin(&world, "");
    world.life.watchdog_ms = 0;
    live(&world, "start ready +100000000 timer");
    assert_int_equal(world.life.state, LIFE_READY);
    assert_true(lifecycle_deadline_ms(&world.life) == LIFECYCLE_NEVER);
}

/* A random life never loses its process, never waits without a deadline, never spawns twice. */
static void random_lives_keep_the_invariants(void **state)
{
    struct random random;

    (void)state;
    random_init(&random, 20);
    for (int run = 0; run < 200; run++) {
        struct lifecycle life;
        uint64_t now_ms = 1;
        bool process = false;

        lifecycle_init(&life, WATCHDOG_MS, random_u64(&random));
        for (int i = 0; i < 300; i++) {
            enum life_event event = (enum life_event)random_below(&random, LIFE_EVENTS_COUNT);
            enum life_order order;

            if (event == LIFE_ON_EXIT && !process) {
                continue;
            }
            process = process && event != LIFE_ON_EXIT;
            now_ms += random_below(&random, 20000);
            order = lifecycle_event(&life, event, (int32_t)random_below(&random, 90) - 10, now_ms);
            assert_true(order != LIFE_DO_SPAWN || !process);
            process = process || order == LIFE_DO_SPAWN;
            assert_true(process || order == LIFE_DO_NOTHING);
            assert_int_equal(lifecycle_has_process(&life), process);
            assert_true((lifecycle_deadline_ms(&life) == LIFECYCLE_NEVER) ==
                        (life.state == LIFE_STOPPED || life.state == LIFE_REFUSED));
        }
    }
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(the_delay_doubles_within_its_jitter),
        cmocka_unit_test(nodes_part_by_their_jitter),
        cmocka_unit_test(it_counts_what_it_did),
        cmocka_unit_test(without_a_watchdog_silence_is_no_hang),
        cmocka_unit_test(random_lives_keep_the_invariants),
    };
    struct CMUnitTest states[COUNT(cells)];
    struct CMUnitTest rows[COUNT(lives)];

    _Static_assert(COUNT(cells) == LIFE_STATES_COUNT, "a row for each state");
    for (size_t i = 0; i < COUNT(cells); i++) {
        states[i] = (struct CMUnitTest){ .name = life_state_text(cells[i].state),
                                         .test_func = every_event_in,
                                         .initial_state = (void *)&cells[i] };
    }
    for (size_t i = 0; i < COUNT(lives); i++) {
        rows[i] = (struct CMUnitTest){ .name = lives[i].what,
                                       .test_func = one_life,
                                       .initial_state = (void *)&lives[i] };
    }
    return cmocka_run_group_tests_name("every event in every state", states, NULL, NULL) +
           cmocka_run_group_tests_name("lives", rows, NULL, NULL) +
           cmocka_run_group_tests_name("others", others, NULL, NULL);
}
