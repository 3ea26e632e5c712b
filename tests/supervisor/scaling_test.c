/*
 * Scaling, on a virtual clock. A row is a line of steps, and the orders that came of each:
 *
 *     want:N                        so many are wanted
 *     ready:I fail:I end:I busy:I   instance I is ready, has failed, has ended, is being restarted
 *     unbound:I                     the next start of instance I cannot be carried out
 *     +MS                           time passes
 *
 * An instance that is started or stopped is busy until a step says what has become of it; one that
 * had failed ends at once when it is stopped. Between any two orders the invariants are checked.
 */
#include "services/supervisor/scaling.h"

#include "tests/libcommon/cmocka_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORDERS_MAX 200

struct world {
    struct scaling scaling;
    enum manager_condition conditions[SCALING_MAX];
    unsigned published;
    int unbound; /* instance, or -1 */
    uint64_t now_ms;
    uint64_t lowered_ms; /* when `published` last fell */
    char trace[1024];
};

static void note(struct world *world, const char *what, int instance)
{
    size_t used = strlen(world->trace);
    char number[16] = "";

    if (instance >= 0) {
        snprintf(number, sizeof number, "%d", instance);
    }
    snprintf(world->trace + used, sizeof world->trace - used, "%s%s%s", used ? " " : "", what,
             number);
}

static void carry_out(struct world *world, struct scaling_order order)
{
    enum manager_condition *condition = &world->conditions[order.instance];

    switch (order.verb) {
    case SCALING_START:
        note(world, "start", (int)order.instance);
        *condition = MANAGER_BUSY;
        if (world->unbound == (int)order.instance) {
            *condition = MANAGER_ENDED;
            scaling_fail(&world->scaling, order.instance);
        }
        break;
    case SCALING_PUBLISH:
        note(world, "publish", (int)order.instance);
        if (order.instance < world->published) {
            world->lowered_ms = world->now_ms;
        }
        for (unsigned i = world->published; i < order.instance; i++) {
            assert_int_equal(world->conditions[i], MANAGER_READY);
        }
        world->published = order.instance;
        break;
    case SCALING_STOP:
        note(world, "stop", (int)order.instance);
        assert_true(order.instance >= world->published);
        assert_true(world->lowered_ms == 0 ||
                    world->now_ms >= world->lowered_ms + STATUS_SETTLE_MS);
        *condition = *condition == MANAGER_FAILED || *condition == MANAGER_ENDED ? MANAGER_ENDED
                                                                                 : MANAGER_BUSY;
        break;
    case SCALING_RELEASE:
        note(world, "release", (int)order.instance);
        assert_true(*condition == MANAGER_ENDED || *condition == MANAGER_FAILED);
        assert_int_equal(order.instance, world->scaling.running);
        break;
    default:
        break;
    }
}

static void follow(struct world *world)
{
    for (int i = 0; i < ORDERS_MAX; i++) {
        unsigned wanted = world->scaling.wanted;
        struct scaling_order order =
            scaling_next(&world->scaling, world->conditions, world->now_ms);

        if (world->scaling.wanted < wanted) {
            note(world, "failed", (int)world->scaling.failed_instance);
        }
        if (order.verb == SCALING_DONE) {
            note(world, "done", -1);
            return;
        }
        if (order.verb == SCALING_WAIT) {
            return;
        }
        carry_out(world, order);
        assert_int_equal(world->scaling.active, world->published);
        assert_true(world->published >= 1 && world->published <= world->scaling.running);
    }
    fail_msg("it never waits: %s", world->trace);
}

static void step(struct world *world, const char *word)
{
    static const struct {
        const char *text;
        enum manager_condition condition;
    } conditions[] = { { "ready", MANAGER_READY },
                       { "fail", MANAGER_FAILED },
                       { "end", MANAGER_ENDED },
                       { "busy", MANAGER_BUSY } };
    const char *colon = strchr(word, ':');
    unsigned number = (unsigned)atoi(colon ? colon + 1 : word + 1);

    for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++) {
        if (strncmp(word, conditions[i].text, strlen(conditions[i].text)) == 0) {
            world->conditions[number] = conditions[i].condition;
        }
    }
    if (word[0] == '+') {
        world->now_ms += number;
    } else if (strncmp(word, "want", 4) == 0) {
        scaling_want(&world->scaling, number);
    } else if (strncmp(word, "unbound", 7) == 0) {
        world->unbound = (int)number;
        return;
    }
    note(world, "|", -1);
    follow(world);
}

static const struct row {
    const char *what;
    unsigned instances; /* at first, all of them ready */
    const char *steps;
    const char *orders; /* "|" begins those of a step */
} rows[] = {
    { "as many as there are: done", 2, "want:2", "| done" },
    { "one more is told to others once it is ready", 1, "want:2 +500 ready:1",
      "| start1 | | publish2 done" },
    { "several are started together", 1, "want:4 ready:1 ready:2 ready:3",
      "| start1 start2 start3 | publish2 | publish3 | publish4 done" },
    { "they are told of in their order, also when the later is ready before", 1,
      "want:3 ready:2 ready:1", "| start1 start2 | | publish2 publish3 done" },
    { "one that is restarted on the way is waited for", 1, "want:2 busy:1 ready:1",
      "| start1 | | publish2 done" },
    { "sixteen at most", 15, "want:16 ready:15", "| start15 | publish16 done" },

    { "one less: others are told first, it is stopped a second later", 2, "want:1 +999 +1 end:1",
      "| publish1 | | stop1 | release1 done" },
    { "several less are stopped together and released from the last one on", 4,
      "want:1 +1000 end:1 end:3 end:2",
      "| publish1 | stop3 stop2 stop1 | | release3 | release2 release1 done" },
    { "one that has failed is scaled away", 3, "fail:2 want:2 +1000",
      "| done | publish2 | stop2 release2 done" },
    { "one that fails while it drains is gone as well", 2, "want:1 +1000 fail:1",
      "| publish1 | stop1 | release1 done" },
    { "one that had ended already is released", 2, "end:1 want:1 +1000",
      "| done | publish1 | stop1 release1 done" },

    { "a new one that fails: back to what there was", 1, "want:2 fail:1",
      "| start1 | failed1 stop1 release1 done" },
    { "those after it go too, those before it stay", 1, "want:4 ready:1 ready:3 fail:2 end:3",
      "| start1 start2 start3 | publish2 | | failed2 stop3 stop2 | release3 release2 done" },
    { "those before it that are still to come are told of", 1, "want:4 fail:2 ready:1 end:3",
      "| start1 start2 start3 | failed2 stop3 stop2 | publish2 | release3 release2 done" },
    { "unless they fail as well", 1, "want:4 fail:2 fail:1 end:3",
      "| start1 start2 start3 | failed2 stop3 stop2 | failed1 stop1 | release3 release2 release1 "
      "done" },
    { "one whose sockets cannot be bound", 1, "unbound:2 want:3 ready:1",
      "| start1 start2 stop2 release2 | publish2 done" },
    { "after a failure it can be tried again", 1, "want:2 fail:1 want:2 ready:1",
      "| start1 | failed1 stop1 release1 done | start1 | publish2 done" },
    { "an old one that fails does not hold up a new one", 2, "fail:1 want:3 ready:2",
      "| done | start2 | publish3 done" },
    { "an old one that fails, and the scaling is taken back: it stays", 2, "fail:1 want:3 fail:2",
      "| done | start2 | failed2 stop2 release2 done" },

    { "up again before it was stopped: nothing has happened to it", 3, "want:1 +500 want:3",
      "| publish1 | | publish2 publish3 done" },
    { "up again while it drains: it is started once it has ended", 2,
      "want:1 +1000 want:2 end:1 ready:1", "| publish1 | stop1 | | start1 | publish2 done" },
    { "up again while it drains, and it fails in that: it is started", 2,
      "want:1 +1000 want:2 fail:1 ready:1", "| publish1 | stop1 | | start1 | publish2 done" },
    { "one that still seems ready after it was told to stop is not told to others", 2,
      "want:1 +1000 want:2 ready:1 end:1 ready:1",
      "| publish1 | stop1 | | | start1 | publish2 done" },
    { "one that is ready long after it was told to stop was started by somebody: it is told of", 2,
      "want:1 +1000 want:2 ready:1 +14999 +1", "| publish1 | stop1 | | | | publish2 done" },
    { "also when it is ready later than that", 2, "want:1 +1000 want:2 +20000 ready:1",
      "| publish1 | stop1 | | | publish2 done" },
    { "not wanted still, it is told to stop once more", 2, "want:1 +1000 ready:1 +15000 end:1",
      "| publish1 | stop1 | | stop1 | release1 done" },
    { "one that drains for long is not told twice", 2, "want:1 +1000 +20000 end:1",
      "| publish1 | stop1 | | release1 done" },
    { "down before the new ones were ready", 1, "want:3 want:1 end:1 end:2",
      "| start1 start2 | stop2 stop1 | | release2 release1 done" },
    { "down further, each time a second", 4, "want:3 +600 want:2 +600 +400 end:3 end:2",
      "| publish3 | | publish2 | | stop3 stop2 | release3 | release2 done" },
    { "up a little while going down", 4, "want:1 want:2 +1000 end:3 end:2",
      "| publish1 | publish2 | stop3 stop2 | release3 | release2 done" },
    { "the newest wish counts", 1, "want:8 want:2 ready:1 end:7 end:6 end:5 end:4 end:3 end:2",
      "| start1 start2 start3 start4 start5 start6 start7 "
      "| stop7 stop6 stop5 stop4 stop3 stop2 | publish2 | release7 | release6 | release5 "
      "| release4 | release3 | release2 done" },
};

static void scaled(void **state)
{
    const struct row *row = *state;
    struct world world = { .now_ms = 1000000, .unbound = -1, .published = row->instances };
    char words[256];
    char *rest = NULL;

    for (unsigned i = 0; i < row->instances; i++) {
        world.conditions[i] = MANAGER_READY;
    }
    scaling_init(&world.scaling, row->instances);
    strcpy(words, row->steps);
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        step(&world, word);
    }
    assert_string_equal(world.trace, row->orders);
}

/* The deadline is the end of the second in which others learn of it, and no other. */
static void the_deadline_is_when_nobody_sends_any_more(void **state)
{
    struct scaling scaling;
    enum manager_condition conditions[SCALING_MAX] = { MANAGER_READY, MANAGER_READY };

    (void)state;
    scaling_init(&scaling, 2);
    assert_true(scaling_deadline_ms(&scaling, 5000) == SCALING_NEVER);
    scaling_want(&scaling, 1);
    assert_int_equal(scaling_next(&scaling, conditions, 5000).verb, SCALING_PUBLISH);
    assert_true(scaling_deadline_ms(&scaling, 5000) == 5000 + STATUS_SETTLE_MS);
    assert_true(scaling_deadline_ms(&scaling, 5000 + STATUS_SETTLE_MS) == SCALING_NEVER);
    assert_int_equal(scaling_next(&scaling, conditions, 5000 + STATUS_SETTLE_MS).verb,
                     SCALING_STOP);
}

/* Whoever is still ready then is looked at though nothing has happened. */
static void a_stop_has_a_deadline_too(void **state)
{
    struct scaling scaling;
    enum manager_condition conditions[SCALING_MAX] = { MANAGER_READY, MANAGER_READY };
    const uint64_t stop_ms = 5000 + STATUS_SETTLE_MS;

    (void)state;
    scaling_init(&scaling, 2);
    scaling_want(&scaling, 1);
    assert_int_equal(scaling_next(&scaling, conditions, 5000).verb, SCALING_PUBLISH);
    assert_int_equal(scaling_next(&scaling, conditions, stop_ms).verb, SCALING_STOP);
    assert_true(scaling_deadline_ms(&scaling, stop_ms) == stop_ms + SCALING_STOP_MAX_MS);
    assert_true(scaling_deadline_ms(&scaling, stop_ms + SCALING_STOP_MAX_MS) == SCALING_NEVER);
    conditions[1] = MANAGER_ENDED;
    assert_int_equal(scaling_next(&scaling, conditions, stop_ms).verb, SCALING_RELEASE);
    assert_true(scaling_deadline_ms(&scaling, stop_ms) == SCALING_NEVER);
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(the_deadline_is_when_nobody_sends_any_more),
        cmocka_unit_test(a_stop_has_a_deadline_too),
    };

    return RUN_ROWS(rows, scaled) + cmocka_run_group_tests_name("scaling", others, NULL, NULL);
}
