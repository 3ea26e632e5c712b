#include "services/supervisor/roster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define BIT(name) (1u << SERVICE_##name)
#define OPEN      (BIT(ROUTING) | BIT(STORAGE) | BIT(TRANSPORT) | BIT(SWARM) | BIT(GATEWAY))
#define ALL       (OPEN | BIT(MEMBER) | BIT(COORDINATOR) | BIT(SIGNER))

static void every_service_but_the_supervisor_has_one_row(void **state)
{
    size_t count;
    const struct roster_row *rows = roster_rows(&count);

    (void)state;
    assert_int_equal(count, SERVICES_COUNT - 1);
    for (int service = 0; service < SERVICES_COUNT; service++) {
        const struct roster_row *row = roster_find((enum service)service);

        assert_true((row != NULL) == (service != SERVICE_SUPERVISOR));
        if (row) {
            assert_true(row >= rows && row < rows + count);
            assert_int_equal(strncmp(row->program, "lb-", 3), 0);
        }
    }
}

static void a_service_needs_only_what_stands_above_it(void **state)
{
    size_t count;
    const struct roster_row *rows = roster_rows(&count);
    unsigned above = 0;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(rows[i].needs & ~above, 0);
        above |= 1u << rows[i].service;
    }
}

static void the_order_is_that_of_the_status_page(void **state)
{
    size_t count;
    const struct roster_row *rows = roster_rows(&count);

    (void)state;
    for (size_t i = 1; i < count; i++) {
        assert_true(rows[i - 1].service < rows[i].service);
    }
}

static unsigned wanted_by(bool is_member, bool is_coordinator)
{
    const struct roster_node node = { .is_member = is_member, .is_coordinator = is_coordinator };
    size_t count;
    const struct roster_row *rows = roster_rows(&count);
    unsigned wanted = 0;

    for (size_t i = 0; i < count; i++) {
        if (roster_wants(&rows[i], &node)) {
            wanted |= 1u << rows[i].service;
        }
    }
    return wanted;
}

static void what_the_node_is_decides_who_runs(void **state)
{
    (void)state;
    assert_int_equal(wanted_by(false, false), OPEN);
    assert_int_equal(wanted_by(true, false), OPEN | BIT(MEMBER));
    assert_int_equal(wanted_by(true, true), ALL);
}

static void who_does_not_run_everywhere_is_optional_and_one(void **state)
{
    size_t count;
    const struct roster_row *rows = roster_rows(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(rows[i].when != ROSTER_ALWAYS, service_is_optional(rows[i].service));
        assert_false(rows[i].when != ROSTER_ALWAYS && rows[i].scales);
    }
}

static const struct row {
    const char *what;
    enum service service;
    unsigned running;
    bool may_stop;
} rows[] = {
    { "the gateway goes first", SERVICE_GATEWAY, ALL, true },
    { "the swarm waits for the gateway", SERVICE_SWARM, ALL, false },
    { "then it goes", SERVICE_SWARM, ALL & ~BIT(GATEWAY), true },
    { "the coordinator waits for the gateway", SERVICE_COORDINATOR, ALL, false },
    { "the signer waits for the coordinator", SERVICE_SIGNER, ALL & ~BIT(GATEWAY), false },
    { "transport waits for a member's goodbye", SERVICE_TRANSPORT, BIT(TRANSPORT) | BIT(MEMBER),
      false },
    { "storage waits for the swarm", SERVICE_STORAGE, ALL & ~BIT(GATEWAY), false },
    { "transport waits until storage has handed its keys over", SERVICE_TRANSPORT,
      BIT(ROUTING) | BIT(STORAGE) | BIT(TRANSPORT), false },
    { "then it goes", SERVICE_TRANSPORT, BIT(ROUTING) | BIT(TRANSPORT), true },
    { "routing waits for transport", SERVICE_ROUTING, BIT(ROUTING) | BIT(TRANSPORT), false },
    { "routing waits for storage", SERVICE_ROUTING, BIT(ROUTING) | BIT(STORAGE), false },
    { "routing goes last", SERVICE_ROUTING, BIT(ROUTING), true },
    { "a dead gateway holds nobody up", SERVICE_SWARM, BIT(SWARM) | BIT(ROUTING), true },
};

static void who_may_stop(void **state)
{
    const struct row *row = *state;

    assert_int_equal(roster_may_stop(row->service, row->running), row->may_stop);
}

static void everybody_stops_in_the_end(void **state)
{
    unsigned running = ALL;
    int rounds = 0;

    (void)state;
    while (running != 0) {
        unsigned before = running;

        for (int service = 0; service < SERVICES_COUNT; service++) {
            if ((before & (1u << service)) && roster_may_stop((enum service)service, before)) {
                running &= ~(1u << service);
            }
        }
        assert_true(++rounds <= SERVICES_COUNT);
    }
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(every_service_but_the_supervisor_has_one_row),
        cmocka_unit_test(a_service_needs_only_what_stands_above_it),
        cmocka_unit_test(what_the_node_is_decides_who_runs),
        cmocka_unit_test(who_does_not_run_everywhere_is_optional_and_one),
        cmocka_unit_test(the_order_is_that_of_the_status_page),
        cmocka_unit_test(everybody_stops_in_the_end),
    };
    struct CMUnitTest stops[sizeof rows / sizeof rows[0]];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        stops[i] = (struct CMUnitTest){ .name = rows[i].what,
                                        .test_func = who_may_stop,
                                        .initial_state = (void *)&rows[i] };
    }
    return cmocka_run_group_tests_name("who may stop", stops, NULL, NULL) +
           cmocka_run_group_tests_name("roster", others, NULL, NULL);
}
