#include "services/supervisor/unit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What systemd tells, one report after the other: the words it uses, the process, its own count. */
static const struct unit_report waits = { .active = "inactive", .sub = "dead", .has_job = true };
static const struct unit_report starts = { .active = "activating", .sub = "start", .pid = 10 };
static const struct unit_report runs = { .active = "active", .sub = "running", .pid = 10 };
static const struct unit_report reloads = { .active = "reloading", .sub = "reload", .pid = 10 };
static const struct unit_report to_stop = {
    .active = "active", .sub = "running", .pid = 10, .has_job = true
};
static const struct unit_report drains = { .active = "deactivating",
                                           .sub = "stop-sigterm",
                                           .pid = 10 };
static const struct unit_report barked = {
    .active = "deactivating", .sub = "stop-watchdog", .result = "watchdog", .pid = 10
};
static const struct unit_report killed = { .active = "activating",
                                           .sub = "auto-restart",
                                           .result = "signal",
                                           .exit_code = 2,
                                           .exit_status = 9,
                                           .restart_ms = 100,
                                           .changed_ms = 5000 };
static const struct unit_report again = { .active = "activating",
                                          .sub = "start",
                                          .restarts = 1 }; /* no process yet */
static const struct unit_report runs_again = {
    .active = "active", .sub = "running", .pid = 11, .restarts = 1
};
static const struct unit_report runs_anew = { .active = "active", .sub = "running", .pid = 11 };
static const struct unit_report starts_anew = { .active = "activating", .sub = "start", .pid = 11 };
static const struct unit_report twice_later = {
    .active = "active", .sub = "running", .pid = 12, .restarts = 2
};
static const struct unit_report stopped = {
    .active = "inactive", .sub = "dead", .result = "success", .exit_code = 1
};
static const struct unit_report misconfigured = {
    .active = "failed", .sub = "failed", .result = "exit-code", .exit_code = 1, .exit_status = 78
};
static const struct unit_report forbidden = {
    .active = "failed", .sub = "failed", .result = "exit-code", .exit_code = 1, .exit_status = 77
};
static const struct unit_report no_folder = {
    .active = "activating", .sub = "auto-restart", .exit_code = 1, .exit_status = 226
};
static const struct unit_report given_up = { .active = "failed",
                                             .sub = "failed",
                                             .result = "start-limit-hit",
                                             .exit_code = 3,
                                             .exit_status = 6,
                                             .restarts = 5 };
static const struct unit_report killed_by_78 = {
    .active = "failed", .sub = "failed", .result = "signal", .exit_code = 2, .exit_status = 78
};

#define REPORTS_MAX 6

/*
 * The phases after each report: A absent, X stopped, s starting, R running, d draining, H hung, b
 * backoff, F failed, r refused.
 */
static const struct row {
    const char *what;
    const struct unit_report *reports[REPORTS_MAX];
    const char *phases;
    uint32_t restarts;
    int32_t last_exit;
} rows[] = {
    { "it starts and is ready", { &waits, &starts, &runs }, "ssR", 0, 0 },
    { "while it reloads it serves", { &runs, &reloads, &runs }, "RRR", 0, 0 },
    { "it is killed and comes back", { &runs, &killed, &runs_again }, "RbR", 1, -9 },
    { "a restart is counted once, however often it is told of",
      { &runs, &killed, &again, &runs_again, &runs_again },
      "RbsRR",
      1,
      -9 },
    { "a restart that was missed is counted", { &runs, &runs_again }, "RR", 1, 0 },
    { "two that were missed are two", { &runs, &twice_later }, "RR", 2, 0 },
    { "those before us are counted", { &twice_later }, "R", 2, 0 },
    { "its watchdog strikes", { &runs, &barked, &killed, &runs_again }, "RHbR", 1, -9 },
    { "a restart by hand is one", { &runs, &drains, &waits, &runs_anew }, "RdsR", 1, 0 },
    { "a stop and a start are none", { &runs, &drains, &stopped, &runs_anew }, "RdXR", 0, 0 },
    { "a code that is not retried", { &starts, &misconfigured }, "sr", 0, 78 },
    { "its socket activates it once more and is closed: it stays refused, with its code",
      { &starts, &misconfigured, &starts_anew, &stopped, &stopped },
      "srsrr",
      1,
      78 },
    { "what was refused and has run since is stopped by request",
      { &starts, &misconfigured, &starts_anew, &runs_anew, &stopped },
      "srsRX",
      1,
      0 },
    { "a permission that is missing", { &starts, &forbidden }, "sr", 0, 77 },
    { "a signal of that number is no code", { &starts, &killed_by_78 }, "sF", 0, -78 },
    { "it ended too often", { &runs, &killed, &given_up }, "RbF", 5, -6 },
    { "a failed one is started again", { &given_up, &waits, &runs_again }, "FsR", 6, -6 },
    { "it was never there", { &(struct unit_report){ .active = "inactive" } }, "A", 0, 0 },
};

static void its_life(void **state)
{
    static const char letters[] = "AXsRdHbFr";
    const struct row *row = *state;
    struct unit unit = { .phase = UNIT_ABSENT };
    char phases[REPORTS_MAX + 1] = "";

    for (int i = 0; i < REPORTS_MAX && row->reports[i]; i++) {
        unit_take(&unit, row->reports[i]);
        phases[i] = letters[unit.phase];
    }
    assert_string_equal(phases, row->phases);
    assert_int_equal(unit.restarts, row->restarts);
    assert_int_equal(unit.last_exit, row->last_exit);
}

static void what_was_ordered_holds_until_the_job_has_run(void **state)
{
    struct unit unit = { .phase = UNIT_ABSENT };

    (void)state;
    unit_take(&unit, &runs);
    unit_expect(&unit, UNIT_DRAINING);
    unit_take(&unit, &to_stop);
    assert_int_equal(unit.phase, UNIT_DRAINING);
    unit_take(&unit, &runs); /* somebody cancelled the job */
    assert_int_equal(unit.phase, UNIT_RUNNING);
}

static void one_that_is_released_stays_absent(void **state)
{
    struct unit unit = { .phase = UNIT_ABSENT };

    (void)state;
    unit_take(&unit, &runs);
    unit_take(&unit, &stopped);
    unit_expect(&unit, UNIT_ABSENT);
    unit_take(&unit, &stopped);
    assert_int_equal(unit.phase, UNIT_ABSENT);
    assert_int_equal(unit_state(unit.phase), STATE_ABSENT);
}

static void one_that_was_refused_is_so_until_it_is_ordered_anew(void **state)
{
    struct unit unit = { .phase = UNIT_ABSENT };

    (void)state;
    unit_take(&unit, &starts);
    unit_take(&unit, &misconfigured);
    unit_expect(&unit, UNIT_DRAINING);
    unit_take(&unit, &stopped);
    assert_int_equal(unit.phase, UNIT_STOPPED);
}

static void it_says_when_it_is_started_again(void **state)
{
    struct unit unit = { .phase = UNIT_ABSENT };

    (void)state;
    unit_take(&unit, &runs);
    unit_take(&unit, &killed);
    assert_int_equal(unit.next_ms, 5100);
    unit_take(&unit, &runs_again);
    assert_int_equal(unit.next_ms, 0);
}

static void its_end_is_told_in_words(void **state)
{
    struct unit unit = { .phase = UNIT_ABSENT };
    char note[STATUS_NOTE_SIZE];

    (void)state;
    unit_take(&unit, &starts);
    unit_take(&unit, &misconfigured);
    unit_format_end(&unit, note);
    assert_string_equal(note, "ended with code 78, which is not retried; see the journal");
    unit_take(&unit, &killed);
    unit_format_end(&unit, note);
    assert_string_equal(note, "ended by signal 9 (KILL)");
    unit_take(&unit, &no_folder);
    unit_format_end(&unit, note);
    assert_string_equal(note, "systemd could not start it (code 226); see the journal");
}

static void every_name_is_found_again(void **state)
{
    char name[UNIT_NAME_SIZE];
    enum service service;
    unsigned instance;

    (void)state;
    for (int i = 0; i < SERVICES_COUNT; i++) {
        unit_service_name((enum service)i, 0, name);
        assert_true(unit_parse_name(name, &service, &instance));
        assert_int_equal(service, i);
        assert_int_equal(instance, 0);
    }
    unit_service_name(SERVICE_SWARM, 15, name);
    assert_string_equal(name, "littlebird-swarm@15.service");
    assert_true(unit_parse_name(name, &service, &instance));
    assert_int_equal(instance, 15);
    unit_socket_name(SERVICE_ROUTING, 0, name);
    assert_string_equal(name, "littlebird-routing.socket");
}

static void other_names_are_none_of_ours(void **state)
{
    static const char *const names[] = { "littlebird-swarm@16.service",
                                         "littlebird-swarm.service",
                                         "littlebird-routing@0.service",
                                         "littlebird.target",
                                         "littlebird-swarm@01.service",
                                         "ssh.service",
                                         "" };
    enum service service;
    unsigned instance;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_false(unit_parse_name(names[i], &service, &instance));
    }
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(what_was_ordered_holds_until_the_job_has_run),
        cmocka_unit_test(one_that_is_released_stays_absent),
        cmocka_unit_test(one_that_was_refused_is_so_until_it_is_ordered_anew),
        cmocka_unit_test(it_says_when_it_is_started_again),
        cmocka_unit_test(its_end_is_told_in_words),
        cmocka_unit_test(every_name_is_found_again),
        cmocka_unit_test(other_names_are_none_of_ours),
    };
    struct CMUnitTest lives[sizeof rows / sizeof rows[0]];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lives[i] = (struct CMUnitTest){ .name = rows[i].what,
                                        .test_func = its_life,
                                        .initial_state = (void *)&rows[i] };
    }
    return cmocka_run_group_tests_name("lives", lives, NULL, NULL) +
           cmocka_run_group_tests_name("others", others, NULL, NULL);
}
